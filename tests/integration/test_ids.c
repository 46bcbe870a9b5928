/* Ids made to look like something else: other people's keys, further lines of the log. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "tests/support/service.h"

/* As JSON writes them. */
static const char *const odd[] = {
    "v}", "{v", "v}:x{v", "a b", "beckon:top:{v}", "\\u202ev\\u202c", "\\\"=\\\\", "* \\u2028 ?"};
static const char *const refused[] = {"a\\nb", "a\\u0000b", "\\u001b[2J", "\xff\xfe", "\xc0\xaf"};

static void put(struct service *s, const char *user, const char *item, int64_t time_ms) {
    static unsigned n;
    char *json;
    int len = asprintf(&json,
                       "{\"event_id\":\"e%u\",\"user_id\":\"%s\",\"item_id\":\"%s\",\"type\":"
                       "\"view\",\"time\":%lld}",
                       n++, user, item, (long long)time_ms);
    if (len < 0)
        test_die("out of memory");
    service_raw(s, 0, str_of(user), (struct str){json, (size_t)len});
    free(json);
}

static bool all_listed(void *s) {
    return service_keys(s, "beckon:top:*") == (long long)ARRAY_LEN(odd) + 1;
}

/* One event a line, all of it plain. */
static void expect_plain(const char *log) {
    for (const char *line = log; *line;) {
        size_t n = strcspn(line, "\n");
        cr_assert(n > 24 && strncmp(line, "20", 2) == 0 && line[23] == 'Z', "%.*s", (int)n, line);
        for (size_t i = 0; i < n; i++)
            cr_assert(line[i] >= ' ' && line[i] < 0x7f, "%.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

Test(ids, cannot_forge_keys_or_lines_of_the_log, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start_mock(1);
    struct service s;
    service_open(&s, k, 1, NULL);
    service_option(&s, "app.log_level=debug");
    int64_t now = service_now_ms();
    char *huge = calloc(1, 10241);
    memset(huge, 'x', 10240);
    for (int round = 0; round < 4; round++) {
        char item[16];
        snprintf(item, sizeof item, "i%d", round);
        put(&s, "v", item, now - 9000 + round);
        for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
            put(&s, odd[i], item, now - 8000 + round);
            put(&s, odd[i], odd[(i + (size_t)round) % ARRAY_LEN(odd)], now - 7000 + round);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        put(&s, refused[i], "i1", now);
        put(&s, "v", refused[i], now);
    }
    put(&s, huge, "i1", now);
    put(&s, "v", huge, now);
    pid_t pid = service_run(&s, "ids", NULL);
    service_await(&s, "ids", " assigned ", 1);
    service_drain(&s, 60000);
    cr_assert(wait_until(all_listed, &s, 20000));
    cr_assert_eq(service_keys(&s, "[^b]*"), 0);
    struct records dead;
    kafka_read(k, s.dead, true, &dead);
    cr_assert_eq(dead.n, 2 * ARRAY_LEN(refused) + 2);
    records_free(&dead);
    autofree(free) char *list = service_list(&s, "v");
    cr_assert_gt(strlen(list), 0);
    cr_assert_eq(process_end(pid, SIGTERM, 20000), 0);
    autofree(free) char *log = service_log(&s, "ids");
    expect_plain(log);
    free(huge);
    service_close(&s);
}
