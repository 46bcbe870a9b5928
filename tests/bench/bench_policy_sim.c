/* What policies earn in a simulated market (tests/support/market.h): nothing, fixed rules, random,
 * bandits, uplift and a deep Q-network from their first day, and oracles that know everything.
 *
 *   bench_policy_sim [--users N] [--days N] [--seeds N] [--first SEED] [--calm] [--only NAME]
 *
 * A fixed rule sends everybody the same at every occasion, an aimed one the campaign that fits best
 * by what the shop knows of him; either may also be nothing. First with messages that weary people,
 * so that what is sent today costs tomorrow, then (--calm: only) without. Money is the margin of
 * everything that customers buy in that time, less discounts and the cost of messages, relative to
 * what sending nothing earns on the same days: mean over seeds and its standard deviation. Exit
 * code 1 if a learned policy misses a bar. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "tests/support/contender.h"

enum { SEEDS_MAX = 64, QUIET_DAYS = 10 };

struct entry {
    char name[64];
    enum { NOTHING, RULE, LEARNED, DEEP, RANDOM, ORACLE_NOW, ORACLE_EVER } role;
    struct contender_config c;
    double sum[SEEDS_MAX], seconds;
    double worst; /* day after QUIET_DAYS, over what nothing earned on it */
};

struct bench {
    uint32_t users, days, seeds, first;
    const char *only;
    struct entry entry[RULES + 16];
    size_t n;
    double nothing[PLAN_DAYS_MAX]; /* of this seed */
};

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void oracle(struct market *m, const struct bench *b, const struct entry *e, double *earned) {
    static struct market_plan plan;
    for (uint32_t user = 0; user < b->users; user++) {
        if (e->role == ORACLE_EVER)
            market_plan(m, user, &plan);
        for (uint32_t day = 0; day < b->days; day++) {
            enum occasion o = market_occasion(m, user, day);
            uint32_t action = o == OCCASION_NONE       ? 0
                              : e->role == ORACLE_EVER ? market_best_ever(m, &plan, user, day, o)
                                                       : market_best_now(m, user, o);
            earned[day] += market_day(m, user, day, action);
        }
    }
}

static int compete(struct market *m, const struct bench *b, const struct entry *e, uint64_t seed,
                   double *earned) {
    autofree(contender_free) struct contender *k = NULL;
    struct contender_config c = e->c;
    c.users = b->users;
    c.seed = seed + 1000;
    int r = contender_new(&c, &k);
    for (uint32_t day = 0; r == 0 && day < b->days; day++)
        for (uint32_t user = 0; user < b->users; user++) {
            enum occasion o = market_occasion(m, user, day);
            uint32_t action = 0;
            if (o != OCCASION_NONE) {
                struct market_sight s;
                market_look(m, user, o, &s);
                action = contender_choose(k, user, day, &s);
            }
            double brought = market_day(m, user, day, action);
            if (o != OCCASION_NONE)
                contender_told(k, user, brought);
            earned[day] += brought;
        }
    return r;
}

static int run(struct bench *b, struct entry *e, struct market *m, uint32_t s) {
    double earned[PLAN_DAYS_MAX] = {0}, from = cpu_s();
    int r = 0;
    market_reset(m);
    if (e->role == ORACLE_NOW || e->role == ORACLE_EVER)
        oracle(m, b, e, earned);
    else
        r = compete(m, b, e, b->first + s, earned);
    e->seconds += cpu_s() - from;
    for (uint32_t day = 0; day < b->days; day++) {
        e->sum[s] += earned[day];
        if (e->role == NOTHING)
            b->nothing[day] = earned[day];
        if (day >= QUIET_DAYS)
            e->worst = fmin(e->worst, earned[day] / b->nothing[day]);
    }
    return r;
}

static struct entry *add(struct bench *b, int role, const char *name) {
    struct entry *e = &b->entry[b->n++];
    *e = (struct entry){.role = role, .worst = INFINITY};
    snprintf(e->name, sizeof e->name, "%s", name);
    return e;
}

static void line_up(struct bench *b) {
    static const char *const depth[MARKET_DEPTHS] = {"message", "5 %", "10 %", "20 %"};
    char name[64];
    add(b, NOTHING, "nothing");
    for (uint32_t r = 1; r < RULES; r++) {
        uint32_t d = (r - 1) % MARKET_DEPTHS, campaign = (r - 1) / MARKET_DEPTHS;
        if (r < RULE_FITTING)
            snprintf(name, sizeof name, "campaign %u, %s", campaign + 1, depth[d]);
        else
            snprintf(name, sizeof name, "%s, %s", r < RULE_CARTS ? "fitting" : "fitting to carts",
                     depth[d]);
        add(b, RULE, name)->c.rule = r;
    }
    add(b, RANDOM, "random")->c = contender_defaults(CONTENDER_BANDIT, BANDIT_RANDOM);
    for (enum bandit_kind k = BANDIT_GREEDY; k < BANDIT_KIND_COUNT; k++)
        add(b, LEARNED, bandit_kind_name(k))->c = contender_defaults(CONTENDER_BANDIT, k);
    add(b, LEARNED, "uplift")->c = contender_defaults(CONTENDER_UPLIFT, 0);
    add(b, DEEP, "dqn")->c = contender_defaults(CONTENDER_DQN, BANDIT_THOMPSON);
    add(b, ORACLE_NOW, "oracle of the day");
    add(b, ORACLE_EVER, "oracle");
}

static double mean_of(const struct bench *b, const struct entry *e, const struct entry *by,
                      double *ret_sd) {
    double sum = 0, square = 0;
    for (uint32_t s = 0; s < b->seeds; s++) {
        double x = e->sum[s] / by->sum[s];
        sum += x;
        square += x * x;
    }
    double mean = sum / b->seeds;
    *ret_sd = b->seeds > 1
                  ? sqrt(fmax(0, square / b->seeds - mean * mean) * b->seeds / (b->seeds - 1))
                  : 0;
    return mean;
}

/* Prints the table and says whether the bars are reached. */
static bool report(const struct bench *b, bool fatigue) {
    const struct entry *nothing = &b->entry[0], *rule = nothing, *aimed = nothing,
                       *oracle = &b->entry[b->n - 1], *bandit = NULL, *deep = NULL;
    double sd, best = 1, best_aimed = 1, bandit_mean = 0;
    for (size_t i = 0; i < b->n; i++) {
        double mean = mean_of(b, &b->entry[i], nothing, &sd);
        if (b->entry[i].role == RULE && b->entry[i].c.rule < RULE_FITTING && mean > best) {
            best = mean;
            rule = &b->entry[i];
        }
        if (b->entry[i].role == RULE && b->entry[i].c.rule >= RULE_FITTING && mean > best_aimed) {
            best_aimed = mean;
            aimed = &b->entry[i];
        }
        if (b->entry[i].role == LEARNED && mean > bandit_mean) {
            bandit_mean = mean;
            bandit = &b->entry[i];
        }
        if (b->entry[i].role == DEEP)
            deep = &b->entry[i];
    }
    printf("%-24s %8s %6s %8s %8s %9s %9s %7s\n", "policy", "margin", "+-", "x fixed", "x aimed",
           "of oracle", "worst day", "cpu s");
    bool all = true;
    for (size_t i = 0; i < b->n; i++) {
        const struct entry *e = &b->entry[i];
        double mean = mean_of(b, e, nothing, &sd), none;
        double by_rule = mean_of(b, e, rule, &none), share = mean_of(b, e, oracle, &none);
        double by_aimed = mean_of(b, e, aimed, &none);
        printf("%-24s %8.3f %6.3f %8.2f %8.2f %8.1f%% %9.2f %7.1f", e->name, mean, sd, by_rule,
               by_aimed, 100 * share, b->days > QUIET_DAYS ? e->worst : NAN, e->seconds / b->seeds);
        if (e == rule || e == aimed)
            printf("  best %s rule", e == rule ? "fixed" : "aimed");
        if (e->role == LEARNED || e->role == DEEP) {
            bool ok = share >= 0.85 && by_rule >= 1.3 && !(e->worst < 1);
            printf("  %s%s%s%s", ok ? "pass" : "FAIL", share < 0.85 ? ": of the oracle" : "",
                   by_rule < 1.3 ? ": over the rule" : "", e->worst < 1 ? ": worst day" : "");
            all &= ok;
        }
        putchar('\n');
    }
    if (fatigue && deep && bandit) {
        double ratio = mean_of(b, deep, bandit, &sd);
        printf("dqn over the best of the other learners (%s): %.3f +- %.3f  %s\n", bandit->name,
               ratio, sd, ratio >= 1 ? "pass" : "FAIL");
        all &= ratio >= 1;
    }
    putchar('\n');
    return all;
}

static int play(struct bench *b, bool fatigue, bool *ret_ok) {
    b->n = 0;
    line_up(b);
    for (uint32_t s = 0; s < b->seeds; s++) {
        struct market_config c = {b->users, b->days, b->first + s, customer_world_default()};
        c.world.fatigue = fatigue;
        autofree(market_free) struct market *m = NULL;
        int r = market_new(&c, &m);
        for (size_t i = 0; r == 0 && i < b->n; i++) {
            struct entry *e = &b->entry[i];
            bool asked =
                !b->only || e->role == NOTHING || e->role >= ORACLE_NOW || strstr(b->only, e->name);
            if (asked)
                r = run(b, e, m, s);
        }
        if (r < 0)
            return r;
    }
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->entry[i].seconds > 0)
            b->entry[kept++] = b->entry[i];
    b->n = kept;
    printf("%u users, %u days, seeds %u to %u, %s\n", b->users, b->days, b->first,
           b->first + b->seeds - 1, fatigue ? "messages weary" : "messages do not weary");
    *ret_ok &= report(b, fatigue);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    static struct bench b = {.users = 50000, .days = 60, .seeds = 5, .first = 101};
    bool calm = false, ok = true;
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *name;
            uint32_t *value;
        } numbers[] = {{"--users", &b.users},
                       {"--days", &b.days},
                       {"--seeds", &b.seeds},
                       {"--first", &b.first}};
        if (!strcmp(argv[i], "--calm"))
            calm = true;
        if (!strcmp(argv[i], "--only") && i + 1 < argc)
            b.only = argv[++i];
        for (size_t k = 0; k < ARRAY_LEN(numbers) && i + 1 < argc; k++)
            if (!strcmp(argv[i], numbers[k].name))
                *numbers[k].value = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    }
    b.seeds = MAX(1, MIN(b.seeds, SEEDS_MAX));
    int r = calm ? 0 : play(&b, true, &ok);
    if (r == 0)
        r = play(&b, false, &ok);
    if (r < 0)
        fprintf(stderr, "bench_policy_sim: %s\n", strerror(-r));
    return r < 0 || !ok;
}
