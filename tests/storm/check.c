#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "consumer/kafka_util.h"
#include "tests/storm/storm.h"
#include "tests/support/feed.h"

enum { DRAIN_MS = 300000, SETTLE_MS = 30000, SHARED_MIN = 10 /* of 20 */ };

/* What came of it: found wanting, said and counted. */
struct verdict {
    struct storm *st;
    bool good;
};

static void count(struct verdict *v, const char *what, size_t lost, size_t repeated) {
    if (!lost && !repeated)
        return;
    v->good = false;
    v->st->row->lost += lost;
    v->st->row->repeated += repeated;
    storm_say(v->st, "%s: %zu lost, %zu too many", what, lost, repeated);
}

/* ---- records ---- */

static void compare_sents(struct verdict *v, struct service *even, bool triggers) {
    struct service *s = &v->st->s;
    struct sents x, y;
    service_sents(s, triggers ? s->triggers : s->decisions, &x);
    service_sents(even, triggers ? even->triggers : even->decisions, &y);
    size_t more, less;
    sents_tally(&x, &y, &more, &less);
    const char *what = triggers ? "triggers" : "decisions", *differ = sents_differ(&x, &y);
    if (differ)
        storm_say(v->st, "%s: %s", what, differ);
    count(v, what, less, more);
    if (triggers)
        count(v, "triggers with the same id", 0, more ? 0 : sents_repeated(&x));
    if (y.n == 0)
        count(v, "no triggers at all", 1, 0);
    storm_say(v->st, "%zu %s", x.n, what);
    sents_free(&x);
    sents_free(&y);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct texts {
    char **v;
    size_t n;
};

static void texts_add(struct texts *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if ((t->n & (t->n - 1)) == 0)
        t->v = reallocarray(t->v, MAX((size_t)1, 2 * t->n), sizeof *t->v);
    if (!t->v || vasprintf(&t->v[t->n++], fmt, ap) < 0)
        test_die("out of memory");
    va_end(ap);
}

static void texts_free(struct texts *t) {
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i]);
    free(t->v);
}

static void compare_texts(struct verdict *v, const char *what, const struct texts *x,
                          const struct texts *y) {
    size_t lost = 0, more = 0;
    for (size_t i = 0, k = 0; i < x->n || k < y->n;) {
        int c = i == x->n ? 1 : k == y->n ? -1 : strcmp(x->v[i], y->v[k]);
        if (c && lost + more < 3)
            storm_say(v->st, "%s: only %s has %s", what, c < 0 ? "this" : "the other",
                      c < 0 ? x->v[i] : y->v[k]);
        more += c < 0;
        lost += c > 0;
        i += c <= 0;
        k += c >= 0;
    }
    count(v, what, lost, more);
}

/* "PARTITION OFFSET REASON" of each. */
static void letters(struct service *s, struct texts *ret) {
    struct records r;
    kafka_read(s->kafka, s->dead, true, &r);
    *ret = (struct texts){0};
    for (size_t i = 0; i < r.n; i++) {
        json_t *j = json_loadb(r.v[i].value.p, r.v[i].value.n, 0, NULL);
        texts_add(ret, "%lld %lld %s", json_integer_value(json_object_get(j, "partition")),
                  json_integer_value(json_object_get(j, "offset")),
                  json_string_value(json_object_get(j, "reason")));
        json_decref(j);
    }
    records_free(&r);
    qsort(ret->v, ret->n, sizeof *ret->v, by_text);
}

/* ---- Redis ---- */

/* "KEY field value field value …" of all keys like `pattern`; `step` 2: hashes, their fields
 * sorted, categories left out, whose shares are rounded at the time of writing. */
static void redis_texts(struct service *s, const char *pattern, const char *command, size_t step,
                        struct texts *ret) {
    redisReply *keys = redisCommand(s->eye, "KEYS %s", pattern);
    *ret = (struct texts){0};
    for (size_t i = 0; keys && i < keys->elements; i++)
        redisAppendCommand(s->eye, command, keys->element[i]->str);
    for (size_t i = 0; keys && i < keys->elements; i++) {
        redisReply *r;
        if (redisGetReply(s->eye, (void **)&r) != REDIS_OK)
            test_die("%s", s->eye->errstr);
        struct texts parts = {0};
        for (size_t k = 0; k + step <= r->elements; k += step)
            if (step == 1)
                texts_add(&parts, " %s", r->element[k]->str);
            else if (strcmp(r->element[k]->str, "categories") != 0)
                texts_add(&parts, " %s %s", r->element[k]->str, r->element[k + 1]->str);
        if (step > 1)
            qsort(parts.v, parts.n, sizeof *parts.v, by_text);
        struct buf b = {0};
        for (size_t k = 0; k < parts.n; k++)
            buf_put(&b, parts.v[k], strlen(parts.v[k]));
        buf_put(&b, "", 1);
        texts_add(ret, "%s%s", keys->element[i]->str, (char *)b.p);
        buf_free(&b);
        texts_free(&parts);
        freeReplyObject(r);
    }
    freeReplyObject(keys);
    qsort(ret->v, ret->n, sizeof *ret->v, by_text);
}

static void profiles(struct service *s, struct texts *ret) {
    redis_texts(s, "beckon:user:*", "HGETALL %s", 2, ret);
}

static uint64_t events_of(const struct texts *profiles) {
    uint64_t sum = 0;
    for (size_t i = 0; i < profiles->n; i++) {
        const char *p = strstr(profiles->v[i], " events ");
        sum += p ? strtoull(p + strlen(" events "), NULL, 10) : 0;
    }
    return sum;
}

/* ---- what is computed again ---- */

struct rewritten {
    struct service *s;
    double users;
};

static bool all_written(void *arg) {
    struct rewritten *w = arg;
    return service_field(w->s, "beckon:stats", "lists_written") >= w->users;
}

/* All lists as a process writes them that was just restored. */
static void lists(struct service *s, size_t users, struct texts *ret) {
    freeReplyObject(redisCommand(s->eye, "DEL beckon:stats"));
    pid_t pid = service_run(s, "again", NULL);
    struct rewritten w = {s, (double)users};
    if (!wait_until(all_written, &w, 120000)) {
        autofree(free) char *log = service_log(s, "again");
        test_die("lists are not written again: %g of %zu\n%s",
                 service_field(s, "beckon:stats", "lists_written"), users, log);
    }
    service_end(s, pid, "again");
    redis_texts(s, "beckon:top:*", "ZREVRANGE %s 0 -1", 1, ret);
}

/* Items of one text's list that stand in the other's; 0 if these are not of the same user. */
static size_t items_shared(const char *a, const char *b) {
    size_t key = strcspn(a, " "), n = 0;
    if (strncmp(a, b, key + 1) != 0)
        return 0;
    for (a += key; *a; a += 1 + strcspn(a + 1, " "))
        for (const char *p = b + key; *p; p += 1 + strcspn(p + 1, " "))
            n += strcspn(p + 1, " ") == strcspn(a + 1, " ") &&
                 memcmp(p + 1, a + 1, strcspn(a + 1, " ")) == 0;
    return n;
}

/* The order in which partitions are read back decides between items that score about the same, of
 * which a stream without any taste has many. What Redis was left with, brought up to date, against
 * what an empty one gets. */
static void compare_lists(struct verdict *v, size_t users) {
    struct service *s = &v->st->s;
    struct texts x, y;
    service_clock(s);
    int64_t start = test_clock_ms();
    lists(s, users, &x);
    freeReplyObject(redisCommand(s->eye, "FLUSHALL"));
    service_clock_shift(s, start - test_clock_ms()); /* popularity fades */
    lists(s, users, &y);
    if (x.n != users || y.n != users)
        count(v, "lists", users - MIN(users, x.n), x.n - MIN(users, x.n));
    size_t odd = 0, shared = 0;
    for (size_t i = 0; i < x.n && x.n == y.n; i++) {
        size_t n = items_shared(x.v[i], y.v[i]);
        odd += n < SHARED_MIN;
        shared += n;
    }
    count(v, "lists unlike what is computed again", odd, 0);
    storm_say(v->st, "%zu lists, %.1f of their items again", x.n,
              (double)shared / (double)MAX(x.n, (size_t)1));
    texts_free(&x);
    texts_free(&y);
}

/* ---- all of it ---- */

static uint64_t came_in(struct service *s) {
    uint64_t n = 0;
    for (int p = 0; p < s->partitions; p++) {
        int64_t low, high;
        if (kafka_ends(s->probe, s->clickstream, p, &low, &high, 30000))
            test_die("partition %d has no end", p);
        n += (uint64_t)high;
    }
    return n;
}

struct account {
    struct service *s;
    uint64_t events;
};

static bool accounted(void *arg) {
    const struct account *a = arg;
    struct texts t;
    profiles(a->s, &t);
    uint64_t n = events_of(&t);
    texts_free(&t);
    return n == a->events;
}

void storm_settle(struct storm *st) {
    struct texts dead;
    letters(&st->s, &dead);
    struct account a = {&st->s, came_in(&st->s) - dead.n};
    texts_free(&dead);
    int64_t since = test_clock_ms();
    bool settled = wait_until(accounted, &a, SETTLE_MS);
    storm_say(st, "profiles %s after %lld ms", settled ? "settled" : "NOT SETTLED",
              (long long)(test_clock_ms() - since));
}

bool storm_check(struct storm *st) {
    struct verdict v = {st, true};
    struct service even;
    service_open_twin(&even, &st->s, feed_campaigns);
    service_option(&even, "redis.profile_interval=0ms");
    service_option(&even, "model.flood_per_minute=0");
    service_option(&even, "stream.commit_interval=1s");
    if (st->fault->prepare)
        st->fault->prepare(st, &even);
    pid_t pid = service_run(&even, "even", NULL);
    service_drain(&even, DRAIN_MS);
    service_end(&even, pid, "even");

    compare_sents(&v, &even, true);
    compare_sents(&v, &even, false);
    struct texts dead, expected_dead, profile, expected_profile;
    letters(&st->s, &dead);
    letters(&even, &expected_dead);
    compare_texts(&v, "dead letters", &dead, &expected_dead);
    profiles(&st->s, &profile);
    profiles(&even, &expected_profile);
    compare_texts(&v, "profiles", &profile, &expected_profile);
    uint64_t in = came_in(&st->s), processed = events_of(&profile), refused = dead.n;
    storm_say(st, "%llu events in, %llu processed, %llu refused or seen before",
              (unsigned long long)in, (unsigned long long)processed, (unsigned long long)refused);
    st->row->events += in;
    if (processed + refused != in)
        count(&v, "events", in - MIN(in, processed + refused),
              processed + refused - MIN(in, processed + refused));
    compare_lists(&v, profile.n);
    texts_free(&dead);
    texts_free(&expected_dead);
    texts_free(&profile);
    texts_free(&expected_profile);
    service_close(&even);
    return v.good;
}
