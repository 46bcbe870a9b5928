#include "consumer/metrics.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <sys/socket.h>

Test(hist, percentiles_lie_within_the_error_of_a_bucket) {
    static struct hist h;
    for (int i = 1; i <= 100000; i++)
        hist_add(&h, i);
    cr_assert_eq(hist_count(&h), 100000);
    const double q[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        double want = q[i] * 100000, got = hist_percentile(&h, q[i]);
        cr_assert(got <= want * M_SQRT2 && got >= want / M_SQRT2, "%g: %g instead of %g", q[i], got,
                  want);
    }
    cr_assert_eq(hist_percentile(&h, 1), 100000, "the largest is known exactly");
}

Test(hist, every_size_has_its_bucket) {
    for (int e = 0; e < 50; e++) {
        for (int d = -1; d <= 1; d++) {
            struct hist h = {0};
            int64_t v = (INT64_C(1) << e) + d;
            hist_add(&h, v);
            cr_assert_eq(hist_count(&h), 1);
            double p = hist_percentile(&h, 1);
            cr_assert_float_eq(p, (double)v, 1e-9, "%g instead of %lld", p, (long long)v);
            double m = hist_percentile(&h, 0.5);
            cr_assert(m <= (double)v && (v <= 8 || e > 30 || m >= (double)v / 1.5), "%g for %lld",
                      m, (long long)v);
        }
    }
}

Test(hist, nothing_and_less_than_nothing) {
    struct hist h = {0};
    cr_assert(isnan(hist_percentile(&h, 0.5)));
    hist_add(&h, -5);
    cr_assert_eq(hist_percentile(&h, 0.5), 0);
    cr_assert_eq(metric_get(&h.sum_us), 0);
}

static struct metrics a, b, sum;

static void fill(void) {
    metric_add(&a.events, 3);
    metric_add(&b.events, 4);
    metric_add(&a.dead[DEAD_JSON], 2);
    metric_add(&b.suppressed[PR_HOLDOUT], 5);
    metric_set(&a.users, 10);
    metric_set(&b.users, 20);
    metric_set(&a.items, 7);
    metric_set(&b.items, 7);
    metric_set(&a.restore_ms, 1500);
    hist_add(&a.commit_latency, 1000);
    hist_add(&b.commit_latency, 3000);
    metrics_merge((const struct metrics *const[]){&a, &b}, 2, &sum);
}

Test(metrics, workers_merge_by_the_kind_of_each_number) {
    fill();
    cr_assert_eq(metric_get(&sum.events), 7);
    cr_assert_eq(metric_get(&sum.dead[DEAD_JSON]), 2);
    cr_assert_eq(metric_get(&sum.suppressed[PR_HOLDOUT]), 5);
    cr_assert_eq(metric_gauge(&sum.users), 30);
    cr_assert_eq(metric_gauge(&sum.items), 7);
    cr_assert_eq(metric_gauge(&sum.restore_ms), 1500);
    cr_assert_eq(hist_count(&sum.commit_latency), 2);
    cr_assert_eq(metric_get(&sum.commit_latency.sum_us), 4000);
    cr_assert_eq(metric_get(&sum.commit_latency.max_us), 3000);
}

static const char *prometheus(void) {
    static char text[1 << 17];
    struct buf out = {0};
    metrics_prometheus(&sum, &out);
    cr_assert(!out.failed && out.n < sizeof text);
    memcpy(text, out.p, out.n);
    text[out.n] = '\0';
    buf_free(&out);
    return text;
}

Test(metrics, prometheus_reads_them) {
    fill();
    const char *t = prometheus();
    const char *want[] = {
        "# HELP beckon_events_total events consumed from the clickstream\n"
        "# TYPE beckon_events_total counter\nbeckon_events_total 7\n",
        "\nbeckon_dead_letters_total{reason=\"bad-json\"} 2\n",
        "\nbeckon_dead_letters_total{reason=\"duplicate\"} 0\n",
        "\nbeckon_suppressed_total{reason=\"holdout\"} 5\n",
        "# TYPE beckon_users gauge\nbeckon_users 30\n",
        "\nbeckon_restore_seconds 1.500\n",
        "# TYPE beckon_commit_latency_seconds "
        "histogram\nbeckon_commit_latency_seconds_bucket{le=\"8e-06\"} 0\n",
        "\nbeckon_commit_latency_seconds_bucket{le=\"0.001024\"} 1\n",
        "\nbeckon_commit_latency_seconds_bucket{le=\"0.004096\"} 2\n",
        "\nbeckon_commit_latency_seconds_bucket{le=\"+Inf\"} 2\n"
        "beckon_commit_latency_seconds_sum 0.004000\nbeckon_commit_latency_seconds_count 2\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        cr_assert_not_null(strstr(t, want[i]), "no \"%s\" in:\n%s", want[i], t);
}

Test(metrics, names_are_unique_and_well_formed) {
    char text[1 << 17];
    strcpy(text, prometheus());
    int types = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "# TYPE ", 7) != 0)
            continue;
        types++;
        char needle[200];
        snprintf(needle, sizeof needle, "\n%s\n", line);
        const char *first = strstr(prometheus(), needle);
        cr_assert(!first || !strstr(first + 1, needle), "%s twice", line);
        char *name = line + 7, *kind = strchr(name, ' ');
        size_t n = (size_t)(kind - name);
        cr_assert_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), n);
        bool total = n > 6 && strncmp(kind - 6, "_total", 6) == 0;
        cr_assert_eq(total, strcmp(kind, " counter") == 0, "%s", line);
    }
    cr_assert(types > 30);
}

/* Labels are words known beforehand: no id, name or text of others is among them. */
Test(metrics, each_line_is_a_name_a_word_and_a_number) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_",
                      word[] = "abcdefghijklmnopqrstuvwxyz0123456789+-.Inf";
    char text[1 << 17];
    strcpy(text, prometheus());
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (*line == '#')
            continue;
        char *p = line + strspn(line, letters), *end;
        if (*p == '{') {
            p += 1 + strspn(p + 1, letters);
            cr_assert_eq(strncmp(p, "=\"", 2), 0, "%s", line);
            p += 2 + strspn(p + 2, word);
            cr_assert_eq(strncmp(p, "\"}", 2), 0, "%s", line);
            p += 2;
        }
        cr_assert_eq(*p, ' ', "%s", line);
        strtod(p + 1, &end);
        cr_assert(end > p + 1 && !*end, "%s", line);
    }
}

/* ---- over HTTP ---- */

static bool well;
static void collect(void *ctx, struct metrics *ret) {
    metrics_merge(ctx, 2, ret);
}
static bool healthy(void *ctx, char *why, size_t n) {
    (void)ctx;
    snprintf(why, n, "Redis is away");
    return well;
}

static size_t keep(char *p, size_t size, size_t n, void *to) {
    strncat(to, p, MIN(size * n, (size_t)(1 << 17) - 1 - strlen(to)));
    return size * n;
}

static long get(unsigned port, const char *path, const char *method, char *text) {
    char url[200];
    long status = 0;
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path);
    CURL *c = curl_easy_init();
    text[0] = '\0';
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, text);
    if (strcmp(method, "GET") != 0)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, "x=y");
    cr_assert_eq(curl_easy_perform(c), CURLE_OK);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    return status;
}

Test(metrics, are_served_with_the_state_of_health) {
    fill();
    const struct metrics *all[] = {&a, &b};
    const struct metrics_source source = {.ctx = all, .collect = collect, .healthy = healthy};
    struct metrics_server *s = NULL;
    cr_assert_eq(metrics_serve(":0", &source, &s), 0);
    unsigned port = metrics_port(s);
    cr_assert_neq(port, 0);
    static char text[1 << 17];
    cr_assert_eq(get(port, "/metrics", "GET", text), 200);
    cr_assert_not_null(strstr(text, "\nbeckon_events_total 7\n"));
    cr_assert_not_null(strstr(text, "\nprocess_resident_memory_bytes "));
    cr_assert_eq(get(port, "/health", "GET", text), 503);
    cr_assert_str_eq(text, "Redis is away\n");
    well = true;
    cr_assert_eq(get(port, "/health", "GET", text), 200);
    cr_assert_str_eq(text, "ok\n");
    cr_assert_eq(get(port, "/", "GET", text), 404);
    cr_assert_eq(get(port, "/metrics", "POST", text), 405);

    struct metrics_server *second = NULL;
    char at[40];
    snprintf(at, sizeof at, "127.0.0.1:%u", port);
    cr_redirect_stderr();
    cr_assert_eq(metrics_serve(at, &source, &second), -EADDRINUSE);
    cr_assert_null(second);
    metrics_stop(s);
}

Test(metrics, bad_addresses_are_refused_in_one_line) {
    cr_redirect_stderr();
    const struct metrics_source source = {.collect = collect, .healthy = healthy};
    struct metrics_server *s = NULL;
    cr_assert_eq(metrics_serve("somewhere", &source, &s), -EINVAL);
    char text[500];
    FILE *f = cr_get_redirected_stderr();
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    cr_assert_not_null(strstr(text, " error metrics listen=somewhere error=\"not address:port\"\n"),
                       "%s", text);
    cr_assert_eq(strcspn(text, "\n") + 1, strlen(text));
    struct sockaddr_storage at;
    const char *good[] = {"127.0.0.1:9464", ":9464", "localhost:9464", "[::1]:9464", "0.0.0.0:0"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        cr_assert_eq(listen_parse(good[i], &at), 0, "%s", good[i]);
    const char *bad[] = {
        "",         ":",     "9464",   "1.2.3.4",     "1.2.3.4:", "1.2.3.4:x",  "1.2.3.4:70000",
        "::1:9464", "[::1]", "[zz]:1", "256.0.0.1:1", "host:1",   "1.2.3.4:-1", "1.2.3.4:000080"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(listen_parse(bad[i], &at), -EINVAL, "%s", bad[i]);
}
