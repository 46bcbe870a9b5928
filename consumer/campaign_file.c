#include "consumer/campaign_file.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "consumer/campaign_keys.h"
#include "consumer/log.h"
#include "consumer/options_table.h"
#include "consumer/parse.h"
#include "consumer/tz.h"

enum { FILE_BYTES_MAX = 4 << 20, ID_MAX = 64, PRIORITY_MAX = 1000000, BUDGET_SLACK = 20 };

/* ---- other keys ------------------------------------------------------------------ */

bool value_label(struct yaml_walk *w, const yaml_node_t *v, const char *what, struct str *ret) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const char *text = walk_need_text(w, v, what);
    if (!text)
        return false;
    if (strlen(text) > ID_MAX || strspn(text, allowed) != strlen(text)) {
        walk_fault(w, v, "must be %s of at most %d letters, digits, `-`, `_` and `.`, found %s",
                   what, ID_MAX, text);
        return false;
    }
    *ret = str_of(text);
    return true;
}

static void read_id(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_label(w, v, "a name", &draft_spec(draft)->id);
}

static void read_channel(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_label(w, v, "a channel's name", &draft_spec(draft)->channel);
}

static void read_priority(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    int64_t priority;
    if (value_integer(w, v, -PRIORITY_MAX, PRIORITY_MAX, &priority))
        draft_spec(draft)->priority = (int32_t)priority;
}

static void read_valid_for(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_span(w, v, &draft_spec(draft)->valid_ms);
}

static void read_reentry(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct campaign_spec *s = draft_spec(draft);
    const char *text = walk_need_text(w, v, "always, never or after 30d");
    if (!text)
        return;
    if (strcmp(text, "always") == 0)
        s->reentry = REENTRY_ALWAYS;
    else if (strcmp(text, "never") == 0)
        s->reentry = REENTRY_NEVER;
    else if (strncmp(text, "after ", 6) == 0 && parse_ms(text + 6, &s->reentry_ms) == 0 &&
             s->reentry_ms > 0)
        s->reentry = REENTRY_AFTER;
    else
        walk_fault(w, v, "must be always, never or after 30d, found %s", text);
}

static void read_window(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_span(w, v, &draft_spec(draft)->window_ms);
}

static void read_contact_cost(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_number(w, v, 0, MONEY_MAX, &draft_spec(draft)->contact_cost);
}

static void read_paused(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_bool(w, v, &draft_spec(draft)->paused);
}

static void read_transactional(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_bool(w, v, &draft_spec(draft)->transactional);
}

/* ---- the file -------------------------------------------------------------------- */

static void read_defaults(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    static const struct walk_key keys[] = {
        {"channel", read_channel, false},
        {"priority", read_priority, false},
        {"valid_for", read_valid_for, false},
        {"caps", read_campaign_caps, false},
        {"budget", read_budget, false},
        {"quiet_hours", read_quiet, false},
        {"reentry", read_reentry, false},
        {"window", read_window, false},
        {"contact_cost", read_contact_cost, false},
        {"pacing", read_pacing, false},
        {"fairness", read_fairness, false},
    };
    walk_map(w, v, keys, ARRAY_LEN(keys), &((struct file *)file)->defaults);
}

/* What campaigns refer to is read before them, wherever it stands. */
static void pass_over(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    (void)w;
    (void)v;
    (void)file;
}

static void read_holdout_percent(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    double percent;
    if (value_number(w, v, 0, 100, &percent))
        ((struct file *)file)->spec.holdout = (uint32_t)(percent * 100 + 0.5);
}

static void read_global_name(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    value_label(w, v, "a name", &((struct file *)file)->spec.holdout_name);
}

static void read_holdout(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    static const struct walk_key keys[] = {{"percent", read_holdout_percent, true},
                                           {"name", read_global_name, false}};
    walk_map(w, v, keys, ARRAY_LEN(keys), file);
}

static void read_user_caps(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    read_caps_value(w, v, &((struct file *)file)->spec.user_caps);
}

static void read_channel_caps(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    struct policy_spec *s = &((struct file *)file)->spec;
    if (v->type != YAML_MAPPING_NODE) {
        walk_fault(w, v, "must name channels, such as {email: 1 per 1d, push: 2 per 1d}");
        return;
    }
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; p < v->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = walk_node(w, p->key);
        if (s->n_channel_caps == POLICY_CHANNELS_MAX) {
            walk_fault(w, key, "more than %d channels", POLICY_CHANNELS_MAX);
            return;
        }
        struct str name;
        if (!value_label(w, key, "a channel's name", &name))
            continue;
        size_t mark = walk_enter(w, name.p);
        ((struct file *)file)->channel_cap[s->n_channel_caps] = key;
        s->channel_caps[s->n_channel_caps].channel = name;
        read_caps_value(w, walk_node(w, p->value), &s->channel_caps[s->n_channel_caps++].caps);
        walk_leave(w, mark);
    }
}

static void read_caps(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    static const struct walk_key keys[] = {{"user", read_user_caps, false},
                                           {"channels", read_channel_caps, false}};
    walk_map(w, v, keys, ARRAY_LEN(keys), file);
}

static void read_campaign(struct yaml_walk *w, const yaml_node_t *v, struct file *f,
                          size_t number) {
    struct draft *d = &f->draft[f->n_read++];
    const struct walk_key keys[] = {
        {"id", read_id, true},
        {"channel", read_channel, f->defaults.spec.channel.n == 0},
        {"priority", read_priority, false},
        {"trigger", read_trigger, true},
        {"audience", read_audience, false},
        {"offer", read_offer, !walk_find(w, v, "offers")},
        {"offers", read_offers, false},
        {"group", read_group, false},
        {"valid_for", read_valid_for, false},
        {"caps", read_campaign_caps, false},
        {"budget", read_budget, false},
        {"pacing", read_pacing, false},
        {"holdout_percent", read_campaign_holdout, false},
        {"holdout_name", read_holdout_name, false},
        {"fairness", read_fairness, false},
        {"starts", read_starts, false},
        {"ends", read_ends, false},
        {"quiet_hours", read_quiet, false},
        {"reentry", read_reentry, false},
        {"window", read_window, false},
        {"contact_cost", read_contact_cost, false},
        {"paused", read_paused, false},
        {"transactional", read_transactional, false},
    };
    const yaml_node_t *id = walk_find(w, v, "id");
    const char *name = id ? walk_text(id) : NULL;
    char numbered[32];
    *d = f->defaults;
    d->file = f;
    d->node = id ? id : v;
    snprintf(numbered, sizeof numbered, "%zu", number);
    size_t mark = walk_enter(w, name && *name && strlen(name) <= ID_MAX ? name : numbered);
    size_t faults = w->n_faults;
    walk_map(w, v, keys, ARRAY_LEN(keys), d);
    if (faults == w->n_faults) {
        check_audience(w, d);
        if (d->spec.end_day < d->spec.start_day)
            walk_fault(w, d->ends_node, "ends before it starts");
    }
    for (size_t i = 0; i + 1 < f->n_read; i++)
        if (d->spec.id.n && str_eq(d->spec.id, f->draft[i].spec.id))
            walk_fault(w, d->node, "the id is taken by the campaign in line %d; choose another",
                       (int)f->draft[i].node->start_mark.line + 1);
    walk_leave(w, mark);
}

static void read_campaigns(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    struct file *f = file;
    const char *text = walk_text(v);
    if (text && (!*text || !strcmp(text, "~") || !strcmp(text, "null")))
        return; /* the key with nothing below it */
    if (v->type != YAML_SEQUENCE_NODE) {
        walk_fault(w, v, "must be a list: each campaign begins with `- id: NAME`");
        return;
    }
    size_t n = (size_t)(v->data.sequence.items.top - v->data.sequence.items.start);
    if (n > POLICY_CAMPAIGNS_MAX) {
        walk_fault(w, v, "has %zu campaigns; at most %d", n, POLICY_CAMPAIGNS_MAX);
        return;
    }
    f->draft = calloc(n + 1, sizeof *f->draft);
    if (!f->draft) {
        w->no_memory = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        read_campaign(w, walk_node(w, v->data.sequence.items.start[i]), f, i + 1);
}

/* Channels are few, and a cap for one that nobody uses is as a rule a mistyped one. */
static void check_channels(struct yaml_walk *w, const struct file *f) {
    const char *names[POLICY_CHANNELS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < f->n_read; i++) {
        size_t k = 0;
        const struct str channel = f->draft[i].spec.channel;
        while (k < n && !str_eq(str_of(names[k]), channel))
            k++;
        if (k < n || !channel.n)
            continue;
        if (n == POLICY_CHANNELS_MAX) {
            walk_fault(w, f->draft[i].node, "more than %d channels", POLICY_CHANNELS_MAX);
            return;
        }
        names[n++] = channel.p;
    }
    size_t campaigns = n;
    for (size_t i = 0; i < f->spec.n_channel_caps; i++) {
        const char *name = f->spec.channel_caps[i].channel.p;
        char near[96];
        size_t k = 0;
        while (k < n && strcmp(names[k], name) != 0)
            k++;
        if (k < n)
            continue;
        size_t mark = walk_enter(w, "caps.channels");
        if (*walk_suggest(near, name, names, campaigns))
            walk_fault(w, f->channel_cap[i], "no campaign uses channel %s%s", name, near);
        else if (n == POLICY_CHANNELS_MAX)
            walk_fault(w, f->channel_cap[i], "more than %d channels", POLICY_CHANNELS_MAX);
        else
            names[n++] = name;
        walk_leave(w, mark);
    }
}

/* A campaign that follows another asks for its answer while the window is open. */
static void check_follows(struct yaml_walk *w, const struct file *f) {
    for (size_t i = 0; i < f->n_read; i++) {
        const struct trigger_spec *t = &f->draft[i].spec.trigger;
        size_t k = 0;
        if (t->kind != TRIGGER_FOLLOWS || !t->campaign.n)
            continue;
        while (k < f->n_read && !str_eq(f->draft[k].spec.id, t->campaign))
            k++;
        if (k == f->n_read || k == i)
            walk_fault(w, f->draft[i].node, "follows %s, and there is no other campaign %s",
                       t->campaign.p, t->campaign.p);
        else if (policy_window_ms(&f->draft[k].spec) <= t->after_ms)
            walk_fault(w, f->draft[i].node,
                       "asks for the answer to %s when its window is closed; give that one a "
                       "longer `window`",
                       t->campaign.p);
    }
}

static int compile(struct yaml_walk *w, struct file *f, struct policy_set **ret) {
    autofree(free) struct campaign_spec *specs = calloc(f->n_read + 1, sizeof *specs);
    if (!specs)
        return -ENOMEM;
    for (size_t i = 0; i < f->n_read; i++)
        specs[i] = f->draft[i].spec;
    f->spec.campaign = specs;
    f->spec.n = f->n_read;
    int r = policy_set_new(&f->spec, ret);
    if (r < 0 && r != -ENOMEM)
        walk_fault(w, NULL, "cannot be compiled: %s", strerror(-r));
    return r;
}

/* What others refer to. */
static void read_first(struct yaml_walk *w, const yaml_node_t *root, const char *folder,
                       struct file *f) {
    const yaml_node_t *defaults = walk_find(w, root, "defaults"),
                      *groups = walk_find(w, root, "groups"), *pools = walk_find(w, root, "pools"),
                      *segments = walk_find(w, root, "segments");
    size_t mark = walk_enter(w, "defaults");
    if (defaults)
        read_defaults(w, defaults, f);
    walk_leave(w, mark);
    mark = walk_enter(w, "groups");
    if (groups)
        read_groups(w, groups, &f->spec);
    walk_leave(w, mark);
    mark = walk_enter(w, "segments");
    if (segments)
        read_segments(w, segments, f);
    walk_leave(w, mark);
    mark = walk_enter(w, "pools");
    if (pools && folder)
        read_pools(w, pools, folder, &f->spec, f->pool);
    else if (pools)
        walk_fault(w, pools, "can be used in a file only");
    walk_leave(w, mark);
}

static void file_free(struct file *f) {
    for (size_t i = 0; i < f->n_read; i++) {
        for (size_t k = 0; k < OFFERS_MAX; k++)
            free(f->draft[i].json[k]);
        free(f->draft[i].audience);
        free(f->draft[i].condition);
    }
    free(f->draft);
    for (size_t i = 0; i < f->n_segments; i++)
        free(f->segment[i].condition);
    for (size_t i = 0; i < EXPERIMENTS_MAX; i++)
        free(f->experiment[i].arm);
    for (size_t i = 0; i < POOLS_MAX; i++) {
        free(f->pool[i].text);
        free(f->pool[i].code);
    }
}

/* `folder`: where the files are that it names; NULL: it may name none. */
static int check(const struct config *cfg, const char *folder, const char *text, size_t n,
                 struct yaml_walk *w, struct policy_set **ret) {
    static const struct walk_key keys[] = {
        {"defaults", pass_over, false},
        {"holdout", read_holdout, false},
        {"caps", read_caps, false},
        {"reward", read_reward, false},
        {"protect", read_protect, false},
        {"approval", read_approval, false},
        {"budget_slack_percent", read_budget_slack, false},
        {"groups", pass_over, false},
        {"pools", pass_over, false},
        {"segments", pass_over, false},
        {"campaigns", read_campaigns, true},
        {"experiments", pass_over, false},
    };
    struct file f = {
        .cfg = cfg,
        .spec = {.salt = str_of(cfg->policy_salt),
                 .tz = tz_get(str_of(cfg->policy_timezone)),
                 .approval = {INFINITY, UINT32_MAX},
                 .budget_slack = BUDGET_SLACK,
                 .consent_granted = cfg->policy_consent_default == CONSENT_GRANTED},
        .defaults = {.cfg = cfg,
                     .spec = {.valid_ms = INT64_C(48) * 3600 * 1000,
                              .budget = UINT32_MAX,
                              .start_day = INT32_MIN,
                              .end_day = INT32_MAX}},
    };
    int r = 0;
    if (walk_load(w, text, n)) {
        const yaml_node_t *root = yaml_document_get_root_node(&w->doc);
        read_first(w, root, folder, &f);
        walk_map(w, root, keys, ARRAY_LEN(keys), &f);
        const yaml_node_t *experiments = walk_find(w, root, "experiments");
        size_t mark = walk_enter(w, "experiments");
        if (experiments)
            read_experiments(w, experiments, &f);
        walk_leave(w, mark);
        check_channels(w, &f);
        check_follows(w, &f);
    } else if (w->loaded) {
        walk_fault(w, NULL, "the file is empty; begin with `campaigns:`");
    }
    if (!f.spec.tz)
        walk_fault(w, NULL, "policy.timezone of the configuration names no time zone: %s",
                   cfg->policy_timezone);
    if (!w->n_faults && !w->no_memory)
        r = compile(w, &f, ret);
    file_free(&f);
    walk_sort(w);
    return w->no_memory ? -ENOMEM : w->n_faults ? -EINVAL : r;
}

int campaign_text_check(const struct config *cfg, const char *text, size_t n, struct yaml_walk *w,
                        struct policy_set **ret) {
    return check(cfg, NULL, text, n, w, ret);
}

int campaign_file_check(const struct config *cfg, const char *path, struct yaml_walk *w,
                        struct policy_set **ret) {
    *w = (struct yaml_walk){0};
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    autofree(free) char *text = malloc(FILE_BYTES_MAX + 1);
    size_t n = text ? fread(text, 1, FILE_BYTES_MAX + 1, file) : 0;
    int r = !text ? -ENOMEM : ferror(file) ? -EIO : n > FILE_BYTES_MAX ? -EFBIG : 0;
    fclose(file);
    const char *slash = strrchr(path, '/');
    autofree(free) char *folder = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    if (r == 0 && !folder)
        r = -ENOMEM;
    return r ? r : check(cfg, folder, text, n, w, ret);
}

void campaign_faults_print(const char *name, const struct yaml_walk *w) {
    for (size_t i = 0; i < w->n_faults; i++)
        fprintf(stderr, "%s:%d: %s%s%s\n", name, w->fault[i].line, w->fault[i].key,
                *w->fault[i].key ? ": " : "", w->fault[i].text);
}

int campaign_text_load(const struct config *cfg, const char *name, const char *text, size_t n,
                       struct policy_set **ret) {
    struct yaml_walk w;
    int r = campaign_text_check(cfg, text, n, &w, ret);
    campaign_faults_print(name, &w);
    walk_free(&w);
    return r;
}

int campaign_file_load(const struct config *cfg, struct policy_set **ret) {
    struct yaml_walk w;
    if (!*cfg->policy_campaigns)
        return policy_set_empty(ret);
    int r = campaign_file_check(cfg, cfg->policy_campaigns, &w, ret);
    campaign_faults_print(cfg->policy_campaigns, &w);
    if (r < 0 && !w.n_faults)
        fprintf(stderr, "%s: %s\n", cfg->policy_campaigns, strerror(-r));
    walk_free(&w);
    return r;
}
