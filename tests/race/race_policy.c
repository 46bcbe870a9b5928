/* Threads with a shard each spend one budget: never more than it, and all of it; shares change and
 * shards come and go meanwhile. */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/policy_kit.h"

enum { THREADS = 4, EVENTS = 4000, BUDGET = 1000, DAYS = 3 };

static struct kit *k;
static _Atomic uint32_t sent[DAYS];
static _Atomic bool done;

static void *spend(void *arg) {
    size_t me = (size_t)arg;
    struct policy_shard *shard;
    struct decisions out = {0};
    struct kit_user u;
    KIT_CHECK(policy_shard_new(k->set, &shard) == 0);
    for (size_t n = 0; n < EVENTS; n++) {
        char id[32];
        snprintf(id, sizeof id, "t%zu-%zu", me, n);
        kit_user(&u, id);
        struct event e = {.id = str_of(id),
                          .type = EV_FAVORITE,
                          .time_ms = MONDAY + (int64_t)(n % DAYS) * DAY,
                          .value = NAN,
                          .dwell_ms = NAN};
        struct policy_context c = kit_context(k, &u);
        c.shard = shard;
        policy_on_event(&c, &e, ROW_NONE, &out);
        if (n % 500 == 499) { /* handed to another process and back */
            struct buf b = {0};
            KIT_CHECK(policy_shard_encode(shard, &b) == 0);
            KIT_CHECK(policy_shard_restore(shard, b.p, b.n) == 0);
            buf_free(&b);
        }
        kit_user_free(&u);
    }
    for (size_t i = 0; i < out.n; i++) {
        KIT_CHECK(out.d[i].reason == PR_SENT || out.d[i].reason == PR_BUDGET);
        if (out.d[i].send)
            atomic_fetch_add(&sent[(out.d[i].time_ms - MONDAY) / DAY], 1);
    }
    policy_decisions_free(&out);
    return shard;
}

static void *rebalance(void *arg) {
    for (uint32_t i = 0; !atomic_load(&done); i++)
        policy_set_budget_share(k->set, 1 + i % 4, 4);
    return arg;
}

int main(void) {
    pthread_t thread[THREADS], other;
    void *shard[THREADS];
    k = kit_new();
    kit_campaign(k, "a", EV_FAVORITE)->budget = BUDGET;
    kit_start(k);
    KIT_CHECK(pthread_create(&other, NULL, rebalance, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++)
        KIT_CHECK(pthread_create(&thread[i], NULL, spend, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        KIT_CHECK(pthread_join(thread[i], &shard[i]) == 0);
    atomic_store(&done, true);
    KIT_CHECK(pthread_join(other, NULL) == 0);
    for (size_t d = 0; d < DAYS; d++) {
        printf("day %zu: %u of %d\n", d, atomic_load(&sent[d]), BUDGET);
        KIT_CHECK(atomic_load(&sent[d]) <= BUDGET);
    }
    /* What is left of the last day, one by one: together exactly the budget. */
    policy_set_budget_share(k->set, 1, 1);
    uint32_t rest = 0;
    struct kit_user u;
    for (size_t n = 0; n <= BUDGET; n++) {
        char id[32];
        snprintf(id, sizeof id, "rest-%zu", n);
        kit_user(&u, id);
        struct event e = {.id = str_of(id),
                          .type = EV_FAVORITE,
                          .time_ms = MONDAY,
                          .value = NAN,
                          .dwell_ms = NAN};
        struct policy_context c = kit_context(k, &u);
        policy_on_event(&c, &e, ROW_NONE, &k->out);
        kit_user_free(&u);
    }
    for (size_t i = 0; i < k->out.n; i++)
        rest += k->out.d[i].send;
    KIT_CHECK(atomic_load(&sent[0]) + rest == BUDGET);
    for (size_t i = 0; i < THREADS; i++)
        policy_shard_free(shard[i]);
    kit_free(k);
    return 0;
}
