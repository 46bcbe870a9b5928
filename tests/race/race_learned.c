/* Threads with a shard each decide by what they learn together, of a bandit, of effects and of a
 * network; records are written, and those of other processes taken over, meanwhile. Nothing that
 * was told is lost. */
#include <pthread.h>
#include <stdatomic.h>

#include "policy/deep.h"
#include "policy/passage.h"
#include "tests/support/policy_kit.h"

enum { THREADS = 4, USERS = 12, DAYS = 60 };
static const enum policy_method methods[] = {METHOD_THOMPSON, METHOD_UPLIFT, METHOD_DQN};

static struct kit *k;
static _Atomic uint64_t told[ARRAY_LEN(methods)];
static _Atomic bool done;

static void *live(void *arg) {
    size_t me = (size_t)arg;
    struct policy_shard *shard;
    struct decisions out = {0};
    static struct kit_user all[THREADS][USERS];
    KIT_CHECK(policy_shard_new(k->set, &shard) == 0);
    for (size_t i = 0; i < USERS; i++) {
        char id[32];
        snprintf(id, sizeof id, "t%zu-%zu", me, i);
        kit_user(&all[me][i], id);
    }
    for (size_t n = 0; n < USERS * DAYS * ARRAY_LEN(methods); n++) {
        static const uint8_t types[] = {EV_FAVORITE, EV_SEARCH, EV_REVIEW};
        struct kit_user *u = &all[me][n % USERS];
        char id[32];
        snprintf(id, sizeof id, "e%zu-%zu", me, n);
        struct event e = {.id = str_of(id),
                          .type = types[n / USERS % ARRAY_LEN(types)],
                          .time_ms = MONDAY + (int64_t)(n / USERS) * 8 * HOUR,
                          .value = NAN,
                          .dwell_ms = NAN};
        struct policy_context c = kit_context(k, u);
        c.shard = shard;
        policy_on_time(&c, e.time_ms, &out);
        policy_on_event(&c, &e, k->item[1], &out);
        KIT_CHECK(!out.failed);
        for (size_t i = 0; i < out.n_o; i++) {
            policy_learn(k->set, &out.o[i]);
            atomic_fetch_add(&told[out.o[i].campaign], 1);
        }
        for (size_t i = 0; i < out.n_p; i++)
            policy_follow(k->set, &out.p[i]);
        policy_decisions_reset(&out);
    }
    for (size_t i = 0; i < USERS; i++)
        kit_user_free(&all[me][i]);
    policy_decisions_free(&out);
    policy_shard_free(shard);
    return NULL;
}

static void *save(void *arg) {
    for (uint64_t round = 0; !atomic_load(&done); round++)
        for (size_t g = 1; g <= ARRAY_LEN(methods); g++) {
            struct buf b = {0};
            uint64_t n;
            struct learned *l = policy_group_learned(k->set, g);
            KIT_CHECK(learned_encode(l, &b, &n) == 0);
            KIT_CHECK(learned_restore(l, 1 + round % 3, b.p, round % 4 ? b.n : 0) == 0);
            buf_reset(&b);
            if (policy_group_deep(k->set, g)) {
                struct deep_state s;
                deep_look(policy_group_deep(k->set, g), &s);
                KIT_CHECK(deep_encode(policy_group_deep(k->set, g), &b, &n) == 0);
            }
            buf_free(&b);
        }
    return arg;
}

int main(void) {
    static const char *const id[] = {"bandit", "effects", "network"};
    static const uint8_t types[] = {EV_FAVORITE, EV_SEARCH, EV_REVIEW};
    pthread_t thread[THREADS], other;
    k = kit_new();
    k->spec.n_groups = ARRAY_LEN(methods);
    for (size_t g = 0; g < ARRAY_LEN(methods); g++) {
        struct campaign_spec *c = kit_campaign(k, id[g], types[g]);
        c->group = str_of(id[g]);
        c->window_ms = HOUR;
        c->n_offers = 2;
        c->offer[0] = (struct offer_spec){.name = STR("plain"), .json = STR("{}")};
        c->offer[1] = (struct offer_spec){
            .name = STR("tenth"), .json = STR("{}"), .discount = true, .percent = 10};
        k->spec.group[g] =
            (struct group_spec){.name = str_of(id[g]), .method = methods[g], .horizon_ms = 4 * DAY};
    }
    kit_start(k);
    for (size_t i = 0; i < THREADS; i++)
        KIT_CHECK(pthread_create(&thread[i], NULL, live, (void *)i) == 0);
    KIT_CHECK(pthread_create(&other, NULL, save, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&done, true);
    pthread_join(other, NULL);
    for (size_t g = 0; g < ARRAY_LEN(methods); g++) {
        struct buf b = {0};
        uint64_t n;
        KIT_CHECK(learned_encode(policy_group_learned(k->set, 1 + g), &b, &n) == 0);
        KIT_CHECK(n == atomic_load(&told[g]) && n > THREADS * USERS * (DAYS - 2));
        buf_free(&b);
    }
    kit_free(k);
    return 0;
}
