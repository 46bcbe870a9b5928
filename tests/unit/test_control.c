/* What people command while it runs, and the file that changes meanwhile. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/campaign_file.h"
#include "consumer/campaign_watch.h"
#include "consumer/control.h"

static const char campaigns[] =
    "approval: {discount_percent: 20}\n"
    "campaigns:\n"
    "  - {id: a, channel: email, trigger: {lapsed: {days: 30}}, offer: {kind: x}}\n"
    "  - {id: b, channel: email, trigger: {lapsed: {days: 30}},\n"
    "     offer: {kind: x, discount_percent: 30}}\n";

TestSuite(control);

static struct world *open_world(struct config **ret_cfg) {
    struct policy_set *set = NULL;
    struct world *w = NULL;
    cr_assert_eq(config_load(NULL, NULL, 0, ret_cfg), 0);
    cr_assert_eq(campaign_text_load(*ret_cfg, "test", campaigns, sizeof campaigns - 1, &set), 0);
    cr_assert_eq(world_new(*ret_cfg, set, 0, &w), 0);
    return w;
}

static void say(struct world *w, char *key, char *value) {
    struct key_value kv = {.key = key, .value = value};
    control_apply(w, &kv, key != NULL);
}

Test(control, pauses_last_as_long_as_they_are_said) {
    autofree(config_free) struct config *cfg = NULL;
    autofree(world_free) struct world *w = open_world(&cfg);
    say(w, "pause:b", "1");
    cr_assert(!w->paused_campaign[0] && w->paused_campaign[1] && !w->paused_all);
    say(w, "pause:nobody", "1");
    cr_assert(!w->paused_campaign[0] && !w->paused_campaign[1]);
    say(w, "all", "pause");
    cr_assert(w->paused_all);
    say(w, "all", "resume");
    cr_assert_not(w->paused_all);
    say(w, "all", "pause");
    say(w, NULL, NULL);
    cr_assert_not(w->paused_all);
}

Test(control, an_approval_is_of_the_campaign_as_it_is) {
    autofree(config_free) struct config *cfg = NULL;
    autofree(world_free) struct world *w = open_world(&cfg);
    char fingerprint[17];
    control_fingerprint(w->policies, 1, fingerprint);
    say(w, "approve:b", fingerprint);
    cr_assert(w->approved_campaign[1] && !w->approved_campaign[0]);
    fingerprint[0] = fingerprint[0] == '0' ? '1' : '0';
    say(w, "approve:b", fingerprint);
    cr_assert_not(w->approved_campaign[1]);
    say(w, "approve:b", "yes");
    cr_assert_not(w->approved_campaign[1]);
}

static void put_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

Test(control, a_changed_file_is_noticed_once_and_a_faulty_one_changes_nothing) {
    char path[] = "/tmp/beckon-watch-XXXXXX", option[80];
    close(mkstemp(path));
    snprintf(option, sizeof option, "policy.campaigns=%s", path);
    char *set[] = {option};
    autofree(config_free) struct config *cfg = NULL;
    cr_assert_eq(config_load(NULL, set, 1, &cfg), 0);
    struct campaign_watch w;
    put_file(path, campaigns);
    autofree(policy_set_free) struct policy_set *running = NULL;
    cr_assert_eq(campaign_file_load(cfg, &running), 0);
    campaign_watch_start(&w, cfg);
    cr_assert_not(campaign_watch_look(&w, false, running));
    cr_assert(campaign_watch_look(&w, true, running), "asked for");
    put_file(path, "campaigns: []\n");
    cr_assert(campaign_watch_look(&w, false, running));
    cr_assert_not(campaign_watch_look(&w, false, running));
    put_file(path, "campaigns: 5\n");
    cr_assert_not(campaign_watch_look(&w, false, running));
    cr_assert_not(campaign_watch_look(&w, true, running));
    remove(path);
    cr_assert_not(campaign_watch_look(&w, true, running));
    put_file(path, campaigns);
    cr_assert(campaign_watch_look(&w, false, running));
    remove(path);
}
