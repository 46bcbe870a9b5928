/* What one decision costs by each policy: twenty campaigns of five offers each that all passed the
 * guards, features of user, moment and offers included. Median of many.
 *
 *   bench_decide [POLICY] */
#include <time.h>

#include "tests/support/policy_kit.h"

enum { CAMPAIGNS = 20, OFFERS = 5, DECISIONS = 4000, TAUGHT = 2000 };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct kit *shop(enum policy_method method) {
    static char id[CAMPAIGNS][8];
    static const char *const name[] = {"0", "1", "2", "3", "4"};
    struct kit *k = kit_new();
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        snprintf(id[i], sizeof id[i], "c%zu", i);
        struct campaign_spec *c = kit_campaign(k, id[i], EV_FAVORITE);
        c->n_offers = OFFERS;
        c->group = STR("g");
        c->window_ms = SECOND;
        for (size_t o = 0; o < OFFERS; o++)
            c->offer[o] = (struct offer_spec){.name = str_of(name[o]),
                                              .json = STR("{}"),
                                              .discount = o > 0,
                                              .percent = 5.0 * (double)o};
    }
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){.name = STR("g"), .method = method};
    kit_start(k);
    return k;
}

/* Microseconds: the median, and what most keep below. */
static double run(enum policy_method method, double *ret_p99) {
    static double us[DECISIONS];
    struct kit *k = shop(method);
    struct kit_user u;
    struct rng r;
    rng_seed(&r, 1);
    kit_user(&u, "user");
    for (size_t i = 0; i < ARRAY_LEN(u.emb); i++)
        u.emb[i] = (float)rng_normal(&r);
    for (int64_t n = 0; n < TAUGHT + DECISIONS; n++) {
        char id[32];
        struct timespec a, b;
        int len = snprintf(id, sizeof id, "e%lld", (long long)n);
        struct event e = {.id = {id, (size_t)len},
                          .type = EV_FAVORITE,
                          .time_ms = MONDAY + n * MINUTE,
                          .value = NAN,
                          .dwell_ms = NAN};
        struct policy_context c = kit_context(k, &u);
        policy_on_time(&c, e.time_ms, &k->out);
        clock_gettime(CLOCK_MONOTONIC, &a);
        policy_on_event(&c, &e, k->item[1], &k->out);
        clock_gettime(CLOCK_MONOTONIC, &b);
        if (n >= TAUGHT)
            us[n - TAUGHT] =
                (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) * 1e-3;
        for (size_t i = 0; i < k->out.n_o; i++) {
            k->out.o[i].reward = rng_normal(&r);
            policy_learn(k->set, &k->out.o[i]);
        }
        kit_forget(k);
    }
    kit_user_free(&u);
    kit_free(k);
    qsort(us, DECISIONS, sizeof *us, by_value);
    *ret_p99 = us[DECISIONS * 99 / 100];
    return us[DECISIONS / 2];
}

int main(int argc, char **argv) {
    printf("%-10s %10s %10s   µs a decision, %d campaigns of %d offers\n", "policy", "median",
           "p99", CAMPAIGNS, OFFERS);
    for (int m = METHOD_RULES; m < METHOD_COUNT; m++) {
        if (argc > 1 && strcmp(argv[1], policy_method_name((enum policy_method)m)) != 0)
            continue;
        double p99, median = run((enum policy_method)m, &p99);
        printf("%-10s %10.1f %10.1f\n", policy_method_name((enum policy_method)m), median, p99);
    }
    return 0;
}
