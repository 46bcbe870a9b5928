#include <jansson.h>
#include <stdio.h>

#include "consumer/cache.h"
#include "consumer/campaign_file.h"
#include "consumer/campaign_results.h"
#include "consumer/cli.h"
#include "consumer/control.h"
#include "consumer/log.h"
#include "consumer/look.h"
#include "policy/spec.h"

static void print_json(json_t *v) {
    json_dumpf(v, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(v);
}

static json_t *text_json(struct str s) {
    return json_stringn(s.p, s.n);
}

static json_t *campaign_json(const struct policy_set *set, size_t i) {
    const struct campaign_spec *c = policy_campaign_spec(set, i);
    json_t *j = json_object();
    json_object_set_new(j, "id", text_json(c->id));
    json_object_set_new(j, "channel", text_json(c->channel));
    json_object_set_new(j, "priority", json_integer(c->priority));
    json_object_set_new(j, "trigger", json_string(trigger_kind_name(c->trigger.kind)));
    json_t *offers = json_array();
    for (size_t k = 0; k < c->n_offers; k++)
        json_array_append_new(offers, json_loadb(c->offer[k].json.p, c->offer[k].json.n, 0, NULL));
    json_object_set_new(j, "offers", offers);
    json_object_set_new(j, "group", text_json(c->group));
    json_object_set_new(j, "valid_for_ms", json_integer(c->valid_ms));
    json_object_set_new(j, "budget_per_day",
                        c->budget == UINT32_MAX ? json_null() : json_integer(c->budget));
    json_object_set_new(j, "paused", json_boolean(c->paused));
    json_object_set_new(j, "transactional", json_boolean(c->transactional));
    return j;
}

static void list_json(const struct policy_set *set) {
    json_t *all = json_array();
    for (size_t i = 0; i < policy_campaigns(set); i++)
        json_array_append_new(all, campaign_json(set, i));
    print_json(all);
}

static void list_text(const struct policy_set *set) {
    size_t wide = strlen("CAMPAIGN");
    for (size_t i = 0; i < policy_campaigns(set); i++)
        wide = MAX(wide, policy_campaign_id(set, i).n);
    printf("%-*s  %8s  %-16s  %-10s  %10s  %s\n", (int)wide, "CAMPAIGN", "PRIORITY", "TRIGGER",
           "CHANNEL", "BUDGET", "STATE");
    for (size_t i = 0; i < policy_campaigns(set); i++) {
        const struct campaign_spec *c = policy_campaign_spec(set, i);
        char budget[16] = "-";
        if (c->budget != UINT32_MAX)
            snprintf(budget, sizeof budget, "%u/day", c->budget);
        printf("%-*s  %8d  %-16s  %-10s  %10s  %s\n", (int)wide, c->id.p, c->priority,
               trigger_kind_name(c->trigger.kind), c->channel.p, budget,
               c->paused          ? "paused"
               : c->transactional ? "transactional"
                                  : "active");
    }
}

static void faults_json(const char *path, const struct yaml_walk *w, size_t campaigns) {
    json_t *j = json_object(), *faults = json_array();
    for (size_t i = 0; i < w->n_faults; i++) {
        json_t *f = json_object();
        json_object_set_new(f, "line", json_integer(w->fault[i].line));
        json_object_set_new(f, "key", json_string(w->fault[i].key));
        json_object_set_new(f, "problem", json_string(w->fault[i].text));
        json_array_append_new(faults, f);
    }
    json_object_set_new(j, "file", json_string(path));
    json_object_set_new(j, "good", json_boolean(!w->n_faults));
    json_object_set_new(j, "campaigns", json_integer((json_int_t)campaigns));
    json_object_set_new(j, "faults", faults);
    print_json(j);
}

enum action { LIST, CHECK, RESULTS };

/* Lists or checks; an exit code. */
static int show(const struct config *cfg, const char *path, enum action action, bool json) {
    bool check = action == CHECK;
    struct yaml_walk w = {0};
    autofree(policy_set_free) struct policy_set *set = NULL;
    int r = campaign_file_check(cfg, path, &w, &set);
    if (r < 0 && !w.n_faults) {
        fprintf(stderr, "beckon campaigns: %s: %s\n", log_q(path), strerror(-r));
        walk_free(&w);
        return r == -ENOENT ? EXIT_USAGE : EXIT_FAILED;
    }
    if (check && json)
        faults_json(path, &w, set ? policy_campaigns(set) : 0);
    else
        campaign_faults_print(path, &w);
    if (set && check && !json)
        printf("%s: good, %zu campaign%s\n", path, policy_campaigns(set),
               policy_campaigns(set) == 1 ? "" : "s");
    else if (set && action == LIST)
        (json ? list_json : list_text)(set);
    walk_free(&w);
    return !set ? EXIT_USAGE : action == RESULTS ? campaign_results(cfg, set, json) : EXIT_DONE;
}

/* Writes beckon:control; the running processes obey within a second. An exit code. */
static int command(const struct config *cfg, const char *what, const char *id) {
    autofree(policy_set_free) struct policy_set *set = NULL;
    autofree(redis_free) struct redis *redis = NULL;
    bool all = strcmp(id, "all") == 0, pause = strcmp(what, "pause") == 0,
         approve = strcmp(what, "approve") == 0;
    if (campaign_file_load(cfg, &set) < 0)
        return EXIT_USAGE;
    int k = all ? 0 : policy_campaign_find(set, str_of(id));
    if (k < 0 || (all && approve)) {
        fprintf(stderr, "beckon campaigns: no campaign %s in %s; see beckon campaigns list\n",
                log_q(id), log_q(cfg->policy_campaigns));
        return EXIT_USAGE;
    }
    if (approve && !policy_campaign_needs_approval(set, (size_t)k)) {
        printf("%s needs no approval\n", id);
        return EXIT_DONE;
    }
    char field[96], value[17] = "pause";
    snprintf(field, sizeof field, all ? "all" : "%s:%s", approve ? "approve" : "pause", id);
    if (approve)
        control_fingerprint(set, (size_t)k, value);
    if (look_open(cfg, &redis) < 0)
        return EXIT_FAILED;
    struct buf key = {0};
    cache_key(&key, cfg->redis_prefix, "control", (struct str){0});
    const struct str args[] = {pause || approve ? STR("HSET") : STR("HDEL"),
                               {(const char *)key.p, key.n},
                               str_of(field),
                               str_of(value)};
    redisReply *reply = key.failed ? NULL : look_ask(redis, cfg, pause || approve ? 4 : 3, args);
    bool done = reply != NULL;
    freeReplyObject(reply);
    buf_free(&key);
    if (done)
        printf("%s: %s\n", id, pause ? "paused" : approve ? "approved" : "resumed");
    return done ? EXIT_DONE : EXIT_FAILED;
}

int cmd_campaigns(int argc, char **argv) {
    bool json = false;
    const struct flag flags[] = {
        {"json", FLAG_BOOL, &json, NULL, "one JSON value on standard output", 0, 0}};
    const struct usage usage = {
        .synopsis = "campaigns list|check|results [FILE] [--json]\n"
                    "       beckon campaigns pause|resume|approve ID",
        .text = "Lists the campaigns of a file in its order, tells from Redis what became of them "
                "(counts begin when `beckon run` starts) and who is in charge of groups of policy "
                "dqn, or checks the file: every fault is named at once "
                "with its line, its key and what to write instead, and the exit code is 2. Without "
                "FILE it is "
                "policy.campaigns of the configuration. What each key means is told in "
                "policy/README.md; "
                "deploy/campaigns.yaml has an example of every kind.\n\n"
                "pause, resume and approve write beckon:control in Redis, and what runs obeys "
                "within a second; ID may be `all` for pause and resume (the kill switch). An "
                "approval is of the campaign as it stands in policy.campaigns: once its offers, "
                "audience, trigger, channel or budget change it has to be approved again.",
        .examples = "  beckon campaigns check deploy/campaigns.yaml\n"
                    "  beckon campaigns list --json | jq -r '.[] | select(.paused) | .id'\n"
                    "  beckon campaigns results\n"
                    "  beckon campaigns results --json | jq '.[] | select(.group) | .in_charge'\n"
                    "  beckon campaigns pause all\n"
                    "  beckon campaigns approve spring-sale\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 2,
    };
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    const char *what = args.v[0];
    if (strcmp(what, "pause") == 0 || strcmp(what, "resume") == 0 || strcmp(what, "approve") == 0) {
        if (args.n < 2)
            fprintf(stderr, "beckon campaigns %s: name a campaign\n", what);
        r = args.n < 2 ? EXIT_USAGE : command(cfg, what, args.v[1]);
        flag_list_clear(&args);
        return r;
    }
    bool check = strcmp(what, "check") == 0, results = strcmp(what, "results") == 0,
         known = check || results || strcmp(what, "list") == 0;
    const char *path = args.n > 1 ? args.v[1] : cfg->policy_campaigns;
    if (!known)
        fprintf(stderr,
                "beckon campaigns: %s is none of list, check, results, pause, resume, approve\n",
                log_q(what));
    else if (!*path)
        fprintf(stderr, "beckon campaigns: name a file, or set policy.campaigns\n");
    r = known && *path ? show(cfg, path,
                              check     ? CHECK
                              : results ? RESULTS
                                        : LIST,
                              json)
                       : EXIT_USAGE;
    flag_list_clear(&args);
    if (fflush(stdout) != 0) {
        perror("beckon campaigns");
        return EXIT_FAILED;
    }
    return r;
}
