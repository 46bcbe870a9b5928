/* An experiment through the stream: users are exposed once, whatever is killed, a known effect is
 * found, and what is in use cannot change. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/support/service.h"

static const char campaigns[] =
    "defaults: {channel: push, valid_for: 2d}\n"
    "reward: {margin_percent: 50}\n"
    "campaigns:\n"
    "  - {id: hello, trigger: {event: {type: survey}}, reentry: never,\n"
    "     offer: {kind: message}}\n"
    "experiments:\n"
    "  - id: worth\n"
    "    window: 7d\n"
    "    arms: [{name: without, share: 1, off: [hello]}, {name: with, share: 1}]\n";

enum { USERS = 600 };
static const int64_t DAY_MS = 86400000;

static void each(struct service *s, char phase, const char *type, int64_t at_ms) {
    for (int u = 0; u < USERS; u++) {
        char id[24], user[16];
        snprintf(id, sizeof id, "%c%d", phase, u);
        snprintf(user, sizeof user, "u%d", u);
        service_click(s, (struct click){id, user, NULL, type, at_ms + u, 8});
    }
}

/* Half of those who got it buy for 20, of the others one in ten. */
static void buy(struct service *s, int64_t at_ms) {
    struct sents sent;
    service_sents(s, s->triggers, &sent);
    sents_unique(&sent);
    int with = 0, without = 0;
    for (int u = 0; u < USERS; u++) {
        char id[24], user[16];
        snprintf(id, sizeof id, "b%d", u);
        snprintf(user, sizeof user, "u%d", u);
        bool got = sents_count(&sent, user, "hello") > 0;
        if (got ? with++ % 2 == 0 : without++ % 10 == 0)
            service_click(s, (struct click){id, user, "i0", "purchase", at_ms + u, 20});
    }
    cr_assert(with > USERS / 3 && without > USERS / 3, "%d and %d", with, without);
    sents_free(&sent);
}

static double both(struct service *s, const char *field) {
    char with[48], without[48];
    snprintf(with, sizeof with, "with:%s", field);
    snprintf(without, sizeof without, "without:%s", field);
    return service_field(s, "beckon:experiment:{worth}", with) +
           service_field(s, "beckon:experiment:{worth}", without);
}

static bool all_exposed(void *s) {
    return both(s, "exposed") == USERS;
}

static bool all_closed(void *s) {
    return both(s, "users") == USERS;
}

static double of_arm(struct service *s, const char *field) {
    return service_field(s, "beckon:experiment:{worth}", field);
}

static void end(pid_t pid, int sig) {
    int status;
    kill(pid, sig);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
}

/* Exit code of `beckon A B C` on the service's Redis and campaigns; *ret_said is the caller's to
 * free. */
static int beckon(struct service *s, const char *a, const char *b, const char *c, char **ret_said) {
    autofree(free) char *log = temp_dir_file(&s->dir, "said"),
                        *file = temp_dir_file(&s->dir, "campaigns.yaml");
    char address[160], option[300];
    snprintf(address, sizeof address, "--redis.address=%s", redis_server_socket(s->redis));
    snprintf(option, sizeof option, "--policy.campaigns=%s", file);
    char *argv[] = {(char *)beckon_path(), (char *)a, (char *)b, address, option, (char *)c, NULL};
    int rc = process_end(process_start(argv, log), 0, 20000);
    *ret_said = read_file(log, NULL);
    return rc;
}

Test(experiments, find_a_known_effect_across_a_kill_and_refuse_a_change, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 2, campaigns);
    service_item(&s, "i0", "c", 20, true);
    kafka_flush(s.kafka);
    int64_t now = service_now_ms();
    each(&s, 'v', "survey", now - 10 * DAY_MS);
    pid_t pid = service_run(&s, "one", NULL);
    service_drain(&s, 60000);
    cr_assert(wait_until(all_exposed, &s, 20000), "%g exposed", both(&s, "exposed"));
    end(pid, SIGKILL);

    /* Met again, nobody is exposed again. */
    service_redis_restart(&s);
    buy(&s, now - 9 * DAY_MS);
    each(&s, 'w', "survey", now - 8 * DAY_MS);
    each(&s, 'x', "view", now - DAY_MS);
    pid = service_run(&s, "two", NULL);
    service_drain(&s, 60000);
    cr_assert(wait_until(all_closed, &s, 20000), "%g closed", both(&s, "users"));
    cr_assert_eq(both(&s, "exposed"), USERS);
    double low = of_arm(&s, "with:margin_difference_low"),
           high = of_arm(&s, "with:margin_difference_high");
    cr_assert(low > 0 && low < 4 && high > 4, "%g to %g", low, high);
    cr_assert_float_eq(of_arm(&s, "with:conversion"), .5, .01);
    cr_assert_float_eq(of_arm(&s, "without:revenue"), 2, .1);
    cr_assert_eq(of_arm(&s, "with:nps"), 0, "all said 8");

    /* The campaign's own record says what it earned, to people and programs. */
    cr_assert_float_eq(service_field(&s, "beckon:campaign:{hello}", "more_per_user"), 4, 1.5);
    cr_assert_gt(service_field(&s, "beckon:campaign:{hello}", "lift_low"), 0);
    autofree(free) char *table = NULL, *json = NULL;
    cr_assert_eq(beckon(&s, "campaigns", "results", NULL, &table), 0, "%s", table);
    cr_assert(strstr(table, "always within") && strstr(table, "hello "), "%s", table);
    cr_assert_eq(beckon(&s, "campaigns", "results", "--json", &json), 0, "%s", json);
    cr_assert(strstr(json, "\"lift_by\":\"worth\"") && strstr(json, "\"lift_verdict\":\"wins\""),
              "%s", json);
    end(pid, SIGTERM);

    pid = service_run(&s, "three", "policy.salt=another");
    service_await(&s, "three", "in-use", 1);
    service_await(&s, "three", "experiment worth", 1);
    end(pid, SIGTERM);
    service_close(&s);
}

static bool stopped(void *s) {
    return service_said(s, "one", "arm-stopped") > 0;
}

static bool kept(void *s) {
    return service_said(s, "one", "campaigns-kept") > 0;
}

Test(experiments, stop_an_arm_that_loses_and_keep_what_is_in_use_over_a_reload, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    char text[1000];
    size_t head =
        sizeof campaigns - 1 -
        strlen("    arms: [{name: without, share: 1, off: [hello]}, {name: with, share: 1}]\n");
    snprintf(text, sizeof text,
             "%.*s    stop: true\n"
             "    arms: [{name: with, share: 1}, {name: without, share: 1, off: [hello]}]\n",
             (int)head, campaigns);
    service_open(&s, k, 2, text);
    service_item(&s, "i0", "c", 20, true);
    kafka_flush(s.kafka);
    int64_t now = service_now_ms();
    each(&s, 'v', "survey", now - 10 * DAY_MS);
    pid_t pid = service_run(&s, "one", NULL);
    service_drain(&s, 60000);
    buy(&s, now - 9 * DAY_MS); /* those without are the arm on trial, and buy less */
    each(&s, 'x', "view", now - DAY_MS);
    service_drain(&s, 60000);
    cr_assert(wait_until(all_closed, &s, 20000), "%g closed", both(&s, "users"));
    cr_assert(wait_until(stopped, &s, 20000), "nothing was stopped");
    service_await(&s, "one", "arm=without", 1);

    /* Other shares: the running one keeps what it has, and says what is in the way. */
    autofree(free) char *file = temp_dir_file(&s.dir, "campaigns.yaml");
    char *share = strstr(text, "{name: without, share: 1");
    cr_assert_not_null(share);
    share[strlen("{name: without, share: ")] = '3';
    write_file(file, text, strlen(text));
    kill(pid, SIGHUP);
    cr_assert(wait_until(kept, &s, 20000), "the change was not refused");
    service_await(&s, "one", "experiment worth", 1);
    cr_assert_eq(service_said(&s, "one", "campaigns-change"), 0);
    end(pid, SIGTERM);
    service_close(&s);
}
