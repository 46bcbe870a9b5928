#include "consumer/replay_report.h"

#include <math.h>

#include "consumer/ranker_view.h"

static const struct {
    const char *key;
    enum rank_metric metric;
} metrics[] = {{"hr", RANK_HIT},
               {"recall", RANK_RECALL},
               {"precision", RANK_PRECISION},
               {"mrr", RANK_MRR},
               {"ndcg", RANK_NDCG}};

/* What is told of the lists themselves, at the i-th length. */
static double coverage(const struct rankmetrics *m, size_t i, uint64_t catalogue) {
    return (double)rankmetrics_covered(m, i) / (double)MAX(catalogue, (uint64_t)1);
}

static double novelty(const struct rankmetrics *m, size_t i, uint64_t catalogue) {
    (void)catalogue;
    return rankmetrics_novelty(m, i);
}

static const struct {
    const char *key;
    double (*value)(const struct rankmetrics *m, size_t i, uint64_t catalogue);
} shapes[] = {{"coverage", coverage}, {"gini", rankmetrics_gini}, {"novelty", novelty}};

/* ---- for people ---- */

static void print_row(FILE *to, const char *name, const struct replay_report *rep,
                      const struct rankmetrics *m) {
    for (size_t i = 0; i < rep->c->n_k; i++) {
        struct rank_interval ci =
            rankmetrics_interval(m, RANK_HIT, i, REPORT_LEVEL, REPORT_RESAMPLES, REPORT_SEED);
        fprintf(to, "  %-22s %4u  %8.4f  %.4f-%.4f  %8.4f  %8.4f  %8.4f  %8.4f  %8.2f\n",
                i ? "" : name, rep->c->k[i], rankmetrics_value(m, RANK_HIT, i), ci.low, ci.high,
                rankmetrics_value(m, RANK_MRR, i), rankmetrics_value(m, RANK_NDCG, i),
                coverage(m, i, rep->catalogue), rankmetrics_gini(m, i, rep->catalogue),
                rankmetrics_novelty(m, i));
    }
}

static void print_input(FILE *to, const struct replay_report *rep) {
    const struct replay_data *d = rep->data;
    const struct replay_result *res = &rep->result;
    for (int i = 0; i < DEAD_COUNT; i++)
        if (d->refused[i] + res->refused[i])
            fprintf(to, "  refused: %-20s %llu\n", dead_reason_name((enum dead_reason)i),
                    (unsigned long long)(d->refused[i] + res->refused[i]));
    if (d->broken)
        fprintf(to, "  broken rows, left out: %llu\n", (unsigned long long)d->broken);
    if (res->floods || res->bots)
        fprintf(to, "  judged but not learned: floods %llu, bots %llu\n",
                (unsigned long long)res->floods, (unsigned long long)res->bots);
    if (d->late)
        fprintf(to, "  put in order of time: %llu rows stood before an earlier one\n",
                (unsigned long long)d->late);
    if (d->renamed)
        fprintf(to, "  sessions of the judged part that had ids of others: %llu\n",
                (unsigned long long)d->renamed);
    if (d->shifted_ms)
        fprintf(to, "  the judged part's clock began anew: moved by %.1f days\n",
                (double)d->shifted_ms / 86400000);
}

static void print_ages(FILE *to, const struct replay_report *rep) {
    size_t i = rep->c->n_k - 1;
    fprintf(to, "\n  %-22s %4s  %8s  %8s  %13s  %8s\n", "events before the case", "k", "cases",
            "hit rate", "95 %", "MRR");
    for (size_t a = 0; a < JUDGE_AGES; a++) {
        const struct rankmetrics *m = rep->result.beckon->age[a];
        if (rankmetrics_cases(m) == 0)
            continue;
        struct rank_interval ci =
            rankmetrics_interval(m, RANK_HIT, i, REPORT_LEVEL, REPORT_RESAMPLES, REPORT_SEED);
        fprintf(to, "  %-22s %4u  %8llu  %8.4f  %.4f-%.4f  %8.4f\n", judge_age_name[a],
                rep->c->k[i], (unsigned long long)rankmetrics_cases(m),
                rankmetrics_value(m, RANK_HIT, i), ci.low, ci.high,
                rankmetrics_value(m, RANK_MRR, i));
    }
}

static void print_campaigns(FILE *to, const struct replay_report *rep) {
    const struct policy_set *policies = replay_policies(rep->replay);
    for (size_t i = 0; i < policy_campaigns(policies); i++) {
        struct str id = policy_campaign_id(policies, i);
        fprintf(to, "  campaign %.*s:", (int)id.n, id.p);
        for (int reason = 0; reason < PR_COUNT; reason++)
            if (rep->result.decided[i][reason])
                fprintf(to, "  %s %llu", policy_reason_name((enum policy_reason)reason),
                        (unsigned long long)rep->result.decided[i][reason]);
        fprintf(to, "\n");
    }
}

void replay_report_text(const struct replay_report *rep, FILE *to) {
    const struct replay_result *res = &rep->result;
    fprintf(to,
            "events %llu, in the engine %.1f s of one core (%.0f/s), in all %.1f s   cases %llu   "
            "users %llu   "
            "items %llu   peak memory %.0f MB\n",
            (unsigned long long)res->events, res->engine_s, (double)res->events / res->engine_s,
            rep->seconds, (unsigned long long)rankmetrics_cases(res->beckon->all),
            (unsigned long long)res->users, (unsigned long long)res->items,
            (double)rep->rss_bytes / 1e6);
    print_input(to, rep);
    fprintf(to, "\n  %-22s %4s  %8s  %13s  %8s  %8s  %8s  %8s  %8s\n", "", "k", "hit rate", "95 %",
            "MRR", "NDCG", "coverage", "Gini", "novelty");
    print_row(to, "beckon", rep, res->beckon->all);
    for (size_t i = 0; i < rep->n_others; i++)
        print_row(to, rep->others[i].name, rep, rep->others[i].score->all);
    fprintf(to, "  With one relevant item per case, recall is the hit rate.\n");
    print_ages(to, rep);
    if (replay_ranker(rep->replay))
        ranker_view_text(replay_ranker(rep->replay), to);
    print_campaigns(to, rep);
}

/* ---- for scripts ---- */

static json_t *real_or_null(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static void set_at(json_t *by_k, uint32_t k, json_t *value) {
    char key[16];
    snprintf(key, sizeof key, "%u", k);
    json_object_set_new(by_k, key, value);
}

static json_t *accuracy_json(const struct replay_report *rep, const struct rankmetrics *m) {
    json_t *o = json_object();
    for (size_t j = 0; j < ARRAY_LEN(metrics); j++) {
        json_t *by_k = json_object();
        for (size_t i = 0; i < rep->c->n_k; i++)
            set_at(by_k, rep->c->k[i], real_or_null(rankmetrics_value(m, metrics[j].metric, i)));
        json_object_set_new(o, metrics[j].key, by_k);
    }
    json_object_set_new(o, "cases", json_integer((json_int_t)rankmetrics_cases(m)));
    return o;
}

static json_t *intervals_json(const struct replay_report *rep, const struct rankmetrics *m) {
    json_t *o = json_object();
    for (size_t j = 0; j < ARRAY_LEN(metrics); j++) {
        json_t *by_k = json_object();
        for (size_t i = 0; i < rep->c->n_k; i++) {
            struct rank_interval ci = rankmetrics_interval(m, metrics[j].metric, i, REPORT_LEVEL,
                                                           REPORT_RESAMPLES, REPORT_SEED);
            set_at(by_k, rep->c->k[i],
                   json_pack("[o,o]", real_or_null(ci.low), real_or_null(ci.high)));
        }
        json_object_set_new(o, metrics[j].key, by_k);
    }
    return o;
}

static json_t *score_json(const struct replay_report *rep, const struct score *s) {
    json_t *o = accuracy_json(rep, s->all), *ages = json_object();
    for (size_t j = 0; j < ARRAY_LEN(shapes); j++) {
        json_t *by_k = json_object();
        for (size_t i = 0; i < rep->c->n_k; i++)
            set_at(by_k, rep->c->k[i], real_or_null(shapes[j].value(s->all, i, rep->catalogue)));
        json_object_set_new(o, shapes[j].key, by_k);
    }
    json_object_set_new(o, "intervals", intervals_json(rep, s->all));
    for (size_t a = 0; a < JUDGE_AGES; a++)
        if (rankmetrics_cases(s->age[a]))
            json_object_set_new(ages, judge_age_name[a], accuracy_json(rep, s->age[a]));
    json_object_set_new(o, "by_age", ages);
    return o;
}

json_t *replay_report_json(const struct replay_report *rep) {
    const struct replay_result *res = &rep->result;
    json_t *o = score_json(rep, res->beckon), *others = json_object();
    for (size_t i = 0; i < rep->n_others; i++)
        json_object_set_new(others, rep->others[i].name, score_json(rep, rep->others[i].score));
    json_object_set_new(o, "baselines", others);
    if (replay_ranker(rep->replay))
        json_object_set_new(o, "ranker", ranker_view_json(replay_ranker(rep->replay)));
    json_object_set_new(o, "events", json_integer((json_int_t)res->events));
    json_object_set_new(o, "users", json_integer((json_int_t)res->users));
    json_object_set_new(o, "items", json_integer((json_int_t)res->items));
    json_object_set_new(o, "catalogue", json_integer((json_int_t)rep->catalogue));
    json_object_set_new(o, "not_learned", json_integer((json_int_t)(res->floods + res->bots)));
    json_object_set_new(o, "events_per_s", real_or_null((double)res->events / res->engine_s));
    json_object_set_new(o, "seconds", json_real(rep->seconds));
    json_object_set_new(o, "rss_bytes", json_integer((json_int_t)rep->rss_bytes));
    return o;
}
