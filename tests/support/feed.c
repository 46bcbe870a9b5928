#include "tests/support/feed.h"

#include <signal.h>
#include <stdio.h>

const char feed_campaigns[] =
    "defaults: {channel: push, valid_for: 30d}\n"
    "caps:\n"
    "  user: 6 per 12h\n"
    "campaigns:\n"
    "  - {id: cart, priority: 50, trigger: {cart_abandoned: {after: 30m}}, caps: 2 per 1d,\n"
    "     offer: {kind: coupon, discount_percent: 10}}\n"
    "  - {id: shoes, priority: 40, trigger: {viewed: {category: shoes, times: 3, within: 2h}},\n"
    "     caps: 2 per 6h, offer: {kind: message, message: shoes}}\n"
    "  - {id: hello, priority: 10, trigger: {welcome: {}}, reentry: never,\n"
    "     offer: {kind: message, message: hello}}\n"
    "  - {id: sorry, priority: 90, trigger: {event: {type: survey, max: 6}},\n"
    "     transactional: true, offer: {kind: message, message: sorry}}\n";

const struct feed_cap feed_caps[FEED_CAPS] = {
    {"cart", 2, 86400000},
    {"shoes", 2, 6 * 3600000},
    {NULL, 6, 12 * 3600000},
};

static unsigned draw(struct feed *f, unsigned below) {
    f->state = f->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(f->state >> 33) % below;
}

void feed_start(struct feed *f, struct service *s) {
    *f = (struct feed){
        .s = s, .state = 42, .time_ms = service_now_ms() - 5 * 86400000ll, .users = FEED_USERS};
    for (int i = 0; i < FEED_ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        service_item(s, id, i % 4 ? "things" : "shoes", 10 + i, true);
    }
    kafka_flush(s->kafka);
}

void feed_some(struct feed *f, unsigned events) {
    static const char *const types[] = {"view", "view", "view", "view", "add-to-cart", "purchase"};
    for (unsigned i = 0; i < events; i++) {
        char id[24], user[16], item[16];
        bool same_user = f->lopsided && draw(f, 2), same_item = f->lopsided && draw(f, 2);
        snprintf(user, sizeof user, "u%u", same_user ? 0 : draw(f, f->users));
        snprintf(item, sizeof item, "i%u", same_item ? 0 : draw(f, FEED_ITEMS));
        snprintf(id, sizeof id, "e%u", f->n++);
        f->time_ms += 3000;
        bool survey = draw(f, 200) == 0;
        struct click c = {
            .id = id,
            .user = user,
            .item = survey ? NULL : item,
            .type = survey ? "survey" : types[draw(f, 6)],
            .time_ms = f->time_ms,
            .value = 5,
        };
        service_click(f->s, c);
        if (draw(f, 50) == 0)
            service_click(f->s, c);
    }
}

struct turn {
    struct feed *f;
    bool (*done)(void *arg);
    void *arg;
};

/* About as many as the other side takes in meanwhile; sanitizers slow it down. */
#ifdef __SANITIZE_ADDRESS__
enum { TURN_EVENTS = 3 };
#else
enum { TURN_EVENTS = 10 };
#endif

static bool take_turn(void *arg) {
    struct turn *t = arg;
    feed_some(t->f, TURN_EVENTS);
    return t->done(t->arg);
}

void feed_while_not(struct feed *f, bool (*done)(void *arg), void *arg) {
    struct turn t = {f, done, arg};
    if (!wait_until(take_turn, &t, 120000))
        test_die("what was fed for does not come");
}

static bool time_over(void *arg) {
    return test_clock_ms() >= *(int64_t *)arg;
}

void feed_for(struct feed *f, int64_t ms) {
    int64_t until = test_clock_ms() + ms;
    feed_while_not(f, time_over, &until);
}

struct awaited {
    struct service *s;
    const char *instance, *text;
    size_t times;
};

static bool said(void *arg) {
    struct awaited *a = arg;
    return service_said(a->s, a->instance, a->text) >= a->times;
}

void feed_until_said(struct feed *f, const char *instance, const char *text, size_t times) {
    struct awaited a = {f->s, instance, text, times};
    struct turn t = {f, said, &a};
    if (wait_until(take_turn, &t, 120000))
        return;
    autofree(free) char *log = service_log(f->s, instance);
    test_die("instance %s did not say %s %zu times:\n%s", instance, text, times, log);
}

void service_end(struct service *s, pid_t pid, const char *instance) {
    int code = process_end(pid, SIGTERM, 60000);
    autofree(free) char *log = service_log(s, instance);
    if (code != 0 || !strstr(log, "stopped clean=yes"))
        test_die("instance %s ended with %d:\n%s", instance, code, log);
}

/* ---- comparing ---- */

bool feed_is_in_profiles(void *feed) {
    const struct feed *f = feed;
    double sum = 0;
    for (int u = 0; u < FEED_USERS; u++) {
        char key[32];
        snprintf(key, sizeof key, "beckon:user:{u%d}", u);
        sum += MAX(service_field(f->s, key, "events"), 0.0); /* -1: no such user */
    }
    return sum == f->n;
}

static void expect_same(struct service *a, struct service *b, bool triggers, bool isolated) {
    struct sents x, y;
    const char *what = triggers ? "triggers" : "decisions";
    service_sents(a, triggers ? a->triggers : a->decisions, &x);
    service_sents(b, triggers ? b->triggers : b->decisions, &y);
    if (!isolated)
        sents_unique(&x), sents_unique(&y);
    if (triggers && sents_repeated(&x))
        test_die("%zu triggers were sent twice", sents_repeated(&x));
    const char *differ = sents_differ(&x, &y);
    if (differ)
        test_die("%s: %s", what, differ);
    if (x.n < FEED_USERS)
        test_die("only %zu %s", x.n, what);
    sents_free(&x);
    sents_free(&y);
}

static void expect_cap(const struct sents *all, const struct feed_cap *cap) {
    for (size_t i = 0; i < all->n; i++) {
        size_t n = 0;
        for (size_t k = 0; k < all->n; k++)
            n += strcmp(all->v[i].user, all->v[k].user) == 0 &&
                 (cap->campaign ? strcmp(all->v[k].campaign, cap->campaign) == 0
                                : strcmp(all->v[k].campaign, "sorry") != 0) &&
                 all->v[k].time_ms >= all->v[i].time_ms &&
                 all->v[k].time_ms < all->v[i].time_ms + cap->span_ms;
        if (n > cap->most)
            test_die("%s got %zu of %s", all->v[i].user, n, cap->campaign ? cap->campaign : "all");
    }
}

void feed_expect_as_even(struct service *s, bool isolated) {
    struct service even;
    service_open_twin(&even, s, feed_campaigns);
    service_start(&even);
    service_drain(&even, 60000);
    if (service_stop(&even) != STREAM_STOPPED)
        test_die("the even run failed");
    expect_same(s, &even, true, isolated);
    expect_same(s, &even, false, isolated);
    struct sents all;
    service_sents(s, s->triggers, &all);
    sents_unique(&all);
    for (size_t i = 0; i < FEED_CAPS; i++)
        expect_cap(&all, &feed_caps[i]);
    sents_free(&all);
    service_close(&even);
}
