#include "policy/dqn.h"

#include <criterion/criterion.h>
#include <math.h>

static struct dqn *made(const struct dqn_config *c) {
    struct dqn *d = NULL;
    cr_assert_eq(dqn_new(c, &d), 0);
    return d;
}

static struct mlp_pass *pass_of(const struct dqn *d) {
    struct mlp_pass *p = NULL;
    cr_assert_eq(mlp_pass_new(dqn_network(d), 8, &p), 0);
    return p;
}

static struct dqn_actions actions(uint64_t bits) {
    return (struct dqn_actions){.bits = {bits}};
}

/* ---- a customer who tires ------------------------------------------------------
 * Tiredness 0 to 3; a coupon pays by how rested he is and tires him, a deep one more; nothing
 * pays nothing and rests him. What pays most now is not what pays most in the long run. */
enum { TIRED = 4, OFFERS = 3 };
static const double discount = 0.9;

static double pays(int tired, int offer) {
    static const double by[OFFERS][TIRED] = {{0, 0, 0, 0}, {2, 0.6, 0.2, 0.1}, {3, 0.9, 0.3, -1}};
    return by[offer][tired];
}

static int after(int tired, int offer) {
    return offer == 0 ? MAX(tired - 1, 0) : MIN(tired + (offer == 1 ? 1 : 3), TIRED - 1);
}

/* Value iteration over the offers that are open. */
static void solve(uint64_t open, double q[TIRED][OFFERS]) {
    double v[TIRED] = {0};
    for (int round = 0; round < 500; round++)
        for (int s = 0; s < TIRED; s++) {
            double best = -INFINITY;
            for (int a = 0; a < OFFERS; a++) {
                q[s][a] = pays(s, a) + discount * v[after(s, a)];
                if (open >> a & 1)
                    best = fmax(best, q[s][a]);
            }
            v[s] = best;
        }
}

static struct dqn_config small(void) {
    struct dqn_config c = dqn_defaults(TIRED, OFFERS);
    c.hidden[0] = 24;
    c.hidden[1] = 0;
    c.replay = 2000;
    c.batch = 32;
    c.warm = 500;
    c.optim.rate = 3e-3f;
    c.target_rate = 0.02f;
    c.familiar_min = 0;
    return c;
}

static void one_hot(int tired, float *x) {
    for (int i = 0; i < TIRED; i++)
        x[i] = i == tired;
}

static void live(struct dqn *d, uint64_t open, int n, uint64_t seed) {
    struct rng r;
    rng_seed(&r, seed);
    int tired = 0;
    for (int i = 0; i < n; i++) {
        int a = (int)rng_below(&r, OFFERS), next = after(tired, a);
        float x[TIRED], y[TIRED];
        one_hot(tired, x);
        one_hot(next, y);
        struct dqn_transition t = {.state = x,
                                   .next = y,
                                   .action = (uint32_t)a,
                                   .reward = (float)(pays(tired, a) + 0.05 * rng_normal(&r)),
                                   .discount = (float)discount,
                                   .next_allowed = actions(open)};
        cr_assert(dqn_remember(d, &t, i));
        tired = next;
    }
}

Test(dqn, finds_the_best_policy_of_a_customer_who_tires) {
    static const uint64_t opens[] = {7, 3};
    int patient = 0;
    for (size_t o = 0; o < ARRAY_LEN(opens); o++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct dqn_config c = small();
            c.seed = seed;
            autofree(dqn_free) struct dqn *d = made(&c);
            autofree(mlp_pass_free) struct mlp_pass *p = pass_of(d);
            struct rng r;
            rng_seed(&r, seed);
            cr_assert_eq(dqn_learn(d, &r, NULL), -EAGAIN);
            live(d, opens[o], 2000, seed);
            for (int i = 0; i < 12000; i++)
                cr_assert_eq(dqn_learn(d, &r, NULL), 0);
            double want[TIRED][OFFERS];
            solve(opens[o], want);
            struct dqn_actions open = actions(opens[o]);
            for (int s = 0; s < TIRED; s++) {
                float x[TIRED], q[OFFERS];
                one_hot(s, x);
                mlp_forward(dqn_network(d), p, 1, x, TIRED, q);
                int best = 0, now = 0;
                for (int a = 0; a < OFFERS; a++) {
                    cr_assert_float_eq(q[a], want[s][a], 0.25, "q(%d, %d) is %g, not %g", s, a,
                                       q[a], want[s][a]);
                    if (opens[o] >> a & 1 && want[s][a] > want[s][best])
                        best = a;
                    if (opens[o] >> a & 1 && pays(s, a) > pays(s, now))
                        now = a;
                }
                patient += best != now;
                struct dqn_choice got = dqn_decide(d, p, x, &open, 0, &r);
                cr_assert_eq(got.action, best, "tired %d: %d, not %d", s, got.action, best);
                cr_assert_eq(got.propensity, 1);
            }
        }
    cr_assert_gt(patient, 6, "the best policy has to differ from the greedy one");
}

/* One plain gradient step shows the gradient; errors on both sides of the Huber limit. */
Test(dqn, gradients_are_those_of_finite_differences) {
    static const float rewards[] = {0.3f, -0.4f, 50, -50};
    for (size_t k = 0; k < ARRAY_LEN(rewards); k++) {
        struct dqn_config c = small();
        c.replay = c.batch = c.warm = 1;
        c.optim = (struct mlp_optim_config){.kind = MLP_SGD, .rate = 1};
        autofree(dqn_free) struct dqn *d = made(&c);
        autofree(mlp_pass_free) struct mlp_pass *p = pass_of(d);
        struct rng r;
        rng_seed(&r, 1);
        float x[TIRED] = {0.3f, -1, 2, 0.5f}, q[OFFERS];
        struct dqn_transition t = {.state = x, .action = 1, .reward = rewards[k]};
        cr_assert(dqn_remember(d, &t, 0));
        autofree(mlp_free) struct mlp *was = NULL;
        cr_assert_eq(mlp_new(&dqn_network(d)->c, &was), 0);
        mlp_copy(dqn_network(d), was);
        double loss;
        cr_assert_eq(dqn_learn(d, &r, &loss), 0);
        for (size_t i = 0; i < was->n; i++) {
            double slope = 0, step[2];
            float w = was->w[i], grad = w - dqn_network(d)->w[i];
            for (int side = 0; side < 2; side++) {
                was->w[i] = w + (side ? 1e-3f : -1e-3f);
                step[side] = was->w[i];
                mlp_forward(was, p, 1, x, TIRED, q);
                double e = fabs(q[1] - (double)rewards[k]);
                slope += (side ? 1 : -1) * (e <= 1 ? e * e / 2 : e - 0.5);
            }
            was->w[i] = w;
            slope /= step[1] - step[0];
            bool used = false; /* padding has neither weight nor gradient */
            for (uint32_t l = 0; l < was->c.layers; l++)
                if (i >= was->at[l] && (l + 1 == was->c.layers || i < was->at[l + 1]))
                    used = (i - was->at[l]) % mlp_pad(was->c.width[l + 1]) < was->c.width[l + 1];
            if (used)
                cr_assert_float_eq(grad, slope, 5e-3 * (1 + fabs(slope)), "weight %zu", i);
            else
                cr_assert_eq(grad, 0);
        }
    }
}

Test(dqn, propensities_are_those_of_the_choices) {
    enum { N = 20000 };
    struct dqn_config c = small();
    autofree(dqn_free) struct dqn *d = made(&c);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(d);
    struct rng r;
    rng_seed(&r, 3);
    float x[TIRED] = {1};
    static const uint64_t opens[] = {7, 5, 4, 0};
    for (size_t o = 0; o < ARRAY_LEN(opens); o++) {
        struct dqn_actions open = actions(opens[o]);
        int seen[OFFERS] = {0};
        double told[OFFERS] = {0};
        for (int i = 0; i < N; i++) {
            struct dqn_choice got = dqn_decide(d, p, x, &open, 0.3, &r);
            cr_assert(got.action == 0 || opens[o] >> got.action & 1);
            seen[got.action]++;
            told[got.action] = got.propensity;
        }
        double sum = 0;
        for (int a = 0; a < OFFERS; a++) {
            sum += told[a];
            cr_assert_float_eq(seen[a], N * told[a], 5 * sqrt(N * 0.25));
        }
        cr_assert_float_eq(sum, 1, 1e-9);
    }
}

Test(dqn, epsilon_falls_by_a_line) {
    struct dqn_config c = small();
    c.epsilon_first = 0.9f;
    c.epsilon_last = 0.1f;
    c.epsilon_steps = 8;
    autofree(dqn_free) struct dqn *d = made(&c);
    struct rng r;
    rng_seed(&r, 4);
    live(d, 7, 500, 1);
    cr_assert_float_eq(dqn_epsilon(d), 0.9, 1e-6);
    for (int i = 0; i < 4; i++)
        dqn_learn(d, &r, NULL);
    cr_assert_float_eq(dqn_epsilon(d), 0.5, 1e-6);
    for (int i = 0; i < 40; i++)
        dqn_learn(d, &r, NULL);
    cr_assert_float_eq(dqn_epsilon(d), 0.1, 1e-6);
    cr_assert_eq(dqn_steps(d), 44);
}

Test(dqn, remembers_the_newest_and_refuses_what_makes_no_sense) {
    struct dqn_config c = small();
    autofree(dqn_free) struct dqn *d = made(&c);
    live(d, 7, 2500, 1);
    cr_assert_eq(dqn_remembered(d), 2000);
    float x[TIRED] = {0}, bad[TIRED] = {NAN};
    struct dqn_transition good = {.state = x, .next = x, .action = 2, .discount = 0.5f}, t;
#define REFUSED(change)                                                                            \
    t = good;                                                                                      \
    t.change;                                                                                      \
    cr_assert(!dqn_remember(d, &t, 0), #change)
    cr_assert(dqn_remember(d, &good, 0));
    REFUSED(state = bad);
    REFUSED(next = bad);
    REFUSED(action = OFFERS);
    REFUSED(reward = INFINITY);
    REFUSED(discount = 1.5f);
    REFUSED(discount = NAN);
#undef REFUSED
}

Test(dqn, leaves_unfamiliar_states_to_others) {
    struct dqn_config c = small();
    c.familiar_min = 20;
    autofree(dqn_free) struct dqn *d = made(&c);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(d);
    struct rng r;
    rng_seed(&r, 5);
    float known[TIRED] = {1}, strange[TIRED] = {9, 9, 9, 9};
    struct dqn_actions open = actions(7);
    cr_assert_eq(dqn_decide(d, p, known, &open, 0, &r).action, DQN_UNFAMILIAR);
    live(d, 7, 1000, 1);
    cr_assert_eq(dqn_refresh(d, 1000), 0);
    cr_assert_neq(dqn_decide(d, p, known, &open, 0, &r).action, DQN_UNFAMILIAR);
    cr_assert_eq(dqn_decide(d, p, strange, &open, 0, &r).action, DQN_UNFAMILIAR);
}

Test(dqn, a_restored_network_chooses_and_learns_on_alike) {
    struct dqn_config c = small();
    c.familiar_min = 5;
    autofree(dqn_free) struct dqn *a = made(&c), *b = made(&c);
    struct rng ra, rb;
    rng_seed(&ra, 6);
    live(a, 7, 600, 1);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(dqn_learn(a, &ra, NULL), 0);
    struct buf rec = {0};
    size_t used;
    cr_assert_eq(dqn_encode(a, &rec), 0);
    cr_assert_eq(dqn_restore(b, rec.p, rec.n, 0, &used), 0);
    cr_assert_eq(used, rec.n);
    cr_assert_eq(dqn_steps(b), 50);
    const struct mlp *x = dqn_network(a), *y = dqn_network(b);
    cr_assert_eq(memcmp(x->w, y->w, x->n * sizeof *x->w), 0);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(b);
    struct dqn_actions open = actions(7);
    cr_assert_neq(dqn_decide(b, p, (float[TIRED]){1}, &open, 0, &ra).action, DQN_UNFAMILIAR);
    for (size_t i = 0; i < rec.n; i += 11) {
        cr_assert_eq(dqn_restore(b, rec.p, i, 0, &used), -EBADMSG);
        rec.p[i] ^= 2;
        cr_assert_eq(dqn_restore(b, rec.p, rec.n, 0, &used), -EBADMSG);
        rec.p[i] ^= 2;
    }
    /* a memory full of the same: steps go on from the same optimiser and target */
    rng_seed(&ra, 7);
    rng_seed(&rb, 7);
    float same[TIRED] = {1};
    for (uint32_t i = 0; i < c.replay; i++) {
        struct dqn_transition t = {.state = same, .next = same, .action = 1, .discount = 0.5f};
        cr_assert(dqn_remember(a, &t, 0) && dqn_remember(b, &t, 0));
    }
    for (int i = 0; i < 5; i++)
        cr_assert(dqn_learn(a, &ra, NULL) == 0 && dqn_learn(b, &rb, NULL) == 0);
    cr_assert_eq(memcmp(x->w, y->w, x->n * sizeof *x->w), 0);
    c.states++;
    autofree(dqn_free) struct dqn *other = made(&c);
    cr_assert_eq(dqn_restore(other, rec.p, rec.n, 0, &used), -EBADMSG, "another shape");
    buf_free(&rec);
}
