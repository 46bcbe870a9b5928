/* Regret of the bandits on classification made up here: documents mix topics, a class is drawn
 * by the mix, and whoever names it earns 1 (the replay of Dudík, Langford and Li 2011). The chance
 * of a class is linear in the mix, as all of these bandits suppose.
 *
 *   bench_regret [CURVES.csv [CURVES.svg]]
 *
 * Cumulative expected regret, mean over seeds with its standard error. */
#include "policy/bandit.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { TOPICS = 12, CLASSES = 8, OWN = TOPICS * CLASSES, ROUNDS = 20000, SEEDS = 10, STEP = 100 };
enum { POINTS = ROUNDS / STEP };

static double regret[BANDIT_KIND_COUNT][SEEDS][POINTS];

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Shares that sum to 1, uneven: powers of exponential variables. */
static void shares(struct rng *r, size_t n, double power, double *ret) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ret[i] = pow(-log(1 - rng_unit(r)), power);
    for (size_t i = 0; i < n; i++)
        ret[i] /= sum;
}

static struct bandit_config config(enum bandit_kind kind, uint64_t seed) {
    struct bandit_config c = bandit_defaults(kind, 0, OWN);
    c.noise = 0.4; /* of a reward of 0 or 1, about */
    c.noise_n = INFINITY;
    c.explore = kind == BANDIT_GREEDY ? 0.1 : 0;
    c.alpha = kind == BANDIT_LINUCB ? 1 : 0.5;
    c.seed = seed;
    return c;
}

static int run(enum bandit_kind kind, uint64_t seed, double *curve) {
    static float own[CLASSES * OWN];
    autofree(bandit_free) struct bandit *b = NULL;
    autofree(bandit_room_free) struct bandit_room *room = NULL;
    struct bandit_config c = config(kind, seed);
    if (bandit_new(&c, &b) < 0 || bandit_room_new(b, &room) < 0)
        return -ENOMEM;
    struct rng world, coin; /* everyone meets the same documents */
    rng_seed(&world, seed);
    rng_seed(&coin, seed + 1000);
    double of_topic[TOPICS][CLASSES], mix[TOPICS], p[CLASSES], sum = 0;
    for (int k = 0; k < TOPICS; k++)
        shares(&world, CLASSES, 2, of_topic[k]);
    uint64_t refreshed = 0;
    for (uint64_t t = 0; t < ROUNDS; t++) {
        shares(&world, TOPICS, 2, mix);
        memset(own, 0, sizeof own);
        memset(p, 0, sizeof p);
        double best = 0, u = rng_unit(&world);
        for (int a = 0; a < CLASSES; a++) {
            for (int k = 0; k < TOPICS; k++) {
                p[a] += mix[k] * of_topic[k][a];
                own[a * OWN + a * TOPICS + k] = (float)mix[k];
            }
            best = fmax(best, p[a]);
        }
        struct bandit_choice got = bandit_decide(
            b, room, &(struct bandit_arms){.n = CLASSES, .shared = NULL, .own = own}, &coin);
        sum += best - (got.arm < 0 ? 0 : p[got.arm]);
        int label = 0;
        for (; label < CLASSES - 1 && u >= p[label]; label++)
            u -= p[label];
        bandit_learn(b, NULL, got.arm < 0 ? NULL : own + got.arm * OWN, got.arm == label, 1, 0);
        if (t + 1 - refreshed > t / 200) { /* the older, the less a sample changes */
            refreshed = t + 1;
            if (bandit_refresh(b, 0) < 0)
                return -EDOM;
        }
        if ((t + 1) % STEP == 0)
            curve[t / STEP] = sum;
    }
    return 0;
}

static double mean_at(size_t kind, size_t point, double *ret_se) {
    double sum = 0, square = 0;
    for (size_t s = 0; s < SEEDS; s++) {
        sum += regret[kind][s][point];
        square += regret[kind][s][point] * regret[kind][s][point];
    }
    double mean = sum / SEEDS;
    *ret_se = sqrt(fmax(0, square / SEEDS - mean * mean) / (SEEDS - 1));
    return mean;
}

static int write_csv(const char *path) {
    FILE *f = fopen(path, "w");
    if (!f)
        return -errno;
    fprintf(f, "round");
    for (int k = 0; k < BANDIT_KIND_COUNT; k++)
        fprintf(f, ",%s,%s se", bandit_kind_name(k), bandit_kind_name(k));
    for (size_t i = 0; i < POINTS; i++) {
        fprintf(f, "\n%zu", (i + 1) * STEP);
        for (size_t k = 0; k < BANDIT_KIND_COUNT; k++) {
            double se, mean = mean_at(k, i, &se);
            fprintf(f, ",%.2f,%.2f", mean, se);
        }
    }
    fputc('\n', f);
    return fclose(f) ? -EIO : 0;
}

/* Random choice soon leaves the picture, which is scaled to the next worst. */
static int write_svg(const char *path) {
    enum { WIDTH = 640, HEIGHT = 400, LEFT = 60, BOTTOM = 40 };
    static const char *const color[] = {"#888", "#d62728", "#1f77b4", "#2ca02c", "#ff7f0e"};
    FILE *f = fopen(path, "w");
    if (!f)
        return -errno;
    double top = 0, se;
    for (size_t k = BANDIT_RANDOM + 1; k < BANDIT_KIND_COUNT; k++)
        top = fmax(top, mean_at(k, POINTS - 1, &se) * 1.1);
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' "
            "font-family='sans-serif' font-size='12'>\n"
            "<path d='M%d 10V%dH%d' fill='none' stroke='#000'/>\n"
            "<text x='%d' y='%d'>%d rounds</text><text x='4' y='20'>%.0f</text>\n"
            "<text x='4' y='36'>regret</text>\n",
            WIDTH, HEIGHT, LEFT, HEIGHT - BOTTOM, WIDTH - 10, WIDTH - 100, HEIGHT - BOTTOM + 20,
            ROUNDS, top);
    for (size_t k = 0; k < BANDIT_KIND_COUNT; k++) {
        fprintf(f, "<path fill='none' stroke='%s' stroke-width='2' d='M%d %d", color[k], LEFT,
                HEIGHT - BOTTOM);
        for (size_t i = 0; i < POINTS; i++) {
            double y = mean_at(k, i, &se) / top;
            if (y > 1)
                break;
            fprintf(f, "L%.1f %.1f", LEFT + (WIDTH - LEFT - 10.0) * (double)(i + 1) / POINTS,
                    HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 10) * y);
        }
        fprintf(f, "'/>\n<text x='%d' y='%zu' fill='%s'>%s</text>\n", LEFT + 20, 30 + 16 * k,
                color[k], bandit_kind_name((enum bandit_kind)k));
    }
    fprintf(f, "</svg>\n");
    return fclose(f) ? -EIO : 0;
}

int main(int argc, char **argv) {
    printf("%d classes, %d topics, %d seeds: cumulative expected regret\n", CLASSES, TOPICS, SEEDS);
    printf("%-15s", "round");
    for (int at = 1; at <= 4; at++)
        printf(" %9d +-     ", ROUNDS * at / 4);
    printf(" %8s\n", "s a run");
    for (int k = 0; k < BANDIT_KIND_COUNT; k++) {
        double from = now_s();
        for (uint64_t s = 0; s < SEEDS; s++)
            if (run(k, s + 1, regret[k][s]) < 0)
                return 1;
        printf("%-15s", bandit_kind_name(k));
        for (size_t at = 1; at <= 4; at++) {
            double se, mean = mean_at((size_t)k, POINTS * at / 4 - 1, &se);
            printf(" %9.1f %5.1f  ", mean, se);
        }
        printf(" %8.2f\n", (now_s() - from) / SEEDS);
    }
    int r = argc > 1 ? write_csv(argv[1]) : 0;
    if (r == 0 && argc > 2)
        r = write_svg(argv[2]);
    if (r < 0)
        fprintf(stderr, "%s\n", strerror(-r));
    return r < 0 ? 1 : 0;
}
