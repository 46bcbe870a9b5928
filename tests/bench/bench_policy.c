/* What the policy costs per event: twenty campaigns of all kinds that do not fire, one that does,
 * and what stands behind a user. */
#include <time.h>

#include "tests/support/policy_kit.h"

enum { CAMPAIGNS = 20, USERS = 1000, ROUNDS = 200 };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct kit *shop(bool answering) {
    static const struct str audience[] = {STR("purchases >= 1"), STR("category_share(toys) > 0.9")};
    static char id[CAMPAIGNS][8];
    struct kit *k = kit_new();
    for (uint32_t i = 0; i < CAMPAIGNS; i++) {
        snprintf(id[i], sizeof id[i], "c%u", i);
        struct campaign_spec *c = kit_campaign(k, id[i], EV_SURVEY);
        c->priority = (int32_t)i;
        c->audience = audience;
        c->n_audience = 2;
        c->quiet = (struct quiet_hours){.on = true, .from_min = 21 * 60, .to_min = 8 * 60};
        c->caps = (struct caps){1, {{3, 7 * DAY}}};
        c->budget = 1000000;
        switch (i % 6) {
        case 0:
            c->trigger = (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = HOUR};
            break;
        case 1:
            c->trigger = (struct trigger_spec){.kind = TRIGGER_VIEWED,
                                               .subject = VIEWS_OF_CATEGORY,
                                               .category = STR("toys"),
                                               .times = 3,
                                               .within_ms = DAY};
            break;
        case 2:
            c->trigger =
                (struct trigger_spec){.kind = TRIGGER_PRICE_DROP, .percent = 10, .within_ms = DAY};
            break;
        case 3:
            c->trigger = (struct trigger_spec){.kind = TRIGGER_LAPSED, .days_ms = (30 + i) * DAY};
            break;
        case 4:
            c->trigger = (struct trigger_spec){.kind = TRIGGER_WELCOME, .session = 2};
            break;
        default:
            break;
        }
    }
    if (answering)
        kit_campaign(k, "answer", EV_VIEW)->caps = (struct caps){1, {{100, SECOND}}};
    kit_start(k);
    return k;
}

/* Nanoseconds per event that the policy alone takes. */
static double run(bool answering, const char *item, double *ret_bytes, double *ret_sent) {
    static struct kit_user user[USERS];
    static const struct profile_params params = {0};
    struct kit *k = shop(answering);
    uint32_t row = model_item_find(k->model, str_of(item));
    double spent = 0, bytes = 0;
    size_t sent = 0;
    for (int i = 0; i < USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "user-%d", i);
        kit_user(&user[i], id);
    }
    for (int64_t round = 0; round < ROUNDS; round++) {
        int64_t at = MONDAY + 12 * HOUR + round * 2 * SECOND;
        char id[32];
        int n = snprintf(id, sizeof id, "event-%lld", (long long)round);
        struct event e = {.id = {id, (size_t)n},
                          .item = str_of(item),
                          .type = EV_VIEW,
                          .time_ms = at,
                          .value = NAN,
                          .dwell_ms = NAN};
        for (int i = 0; i < USERS; i++)
            profile_observe(&user[i].u.prof, &e, (uint64_t)(round * USERS + i), row, 1, 10, 1,
                            &params, NULL);
        double start = now_s();
        for (int i = 0; i < USERS; i++) {
            struct policy_context c = kit_context(k, &user[i]);
            policy_on_time(&c, at, &k->out);
            policy_on_event(&c, &e, row, &k->out);
        }
        spent += now_s() - start;
        for (size_t i = 0; i < k->out.n; i++)
            sent += k->out.d[i].send;
        kit_forget(k);
    }
    for (int i = 0; i < USERS; i++) {
        bytes += (double)policy_user_bytes(&user[i].u);
        kit_user_free(&user[i]);
    }
    *ret_bytes = bytes / USERS;
    *ret_sent = (double)sent / (USERS * ROUNDS);
    kit_free(k);
    return spent / (USERS * ROUNDS) * 1e9;
}

int main(void) {
    static const struct {
        const char *what, *item;
        bool answering;
    } runs[] = {
        {"20 campaigns, none fires", "i0", false},
        {"20 campaigns, views counted", "i2", false},
        {"20 campaigns, one more fires", "i0", true},
    };
    printf("%-30s %10s %8s %12s\n", "", "ns/event", "sent", "bytes/user");
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        double bytes, sent, best = INFINITY;
        for (int again = 0; again < 3; again++)
            best = fmin(best, run(runs[i].answering, runs[i].item, &bytes, &sent));
        printf("%-30s %10.0f %8.2f %12.0f\n", runs[i].what, best, sent, bytes);
    }
    return 0;
}
