#include "consumer/replay_page.h"

#include <math.h>

#include "consumer/plot.h"
#include "consumer/ranker_view.h"

enum { SHOWN = 8 }; /* recommenders in one plot at most */

static size_t last_k(const struct replay_report *rep) {
    return rep->c->n_k - 1;
}

static double value(const struct rankmetrics *m, const struct replay_report *rep) {
    return rankmetrics_value(m, RANK_HIT, last_k(rep));
}

static struct rank_interval interval(const struct rankmetrics *m, const struct replay_report *rep) {
    return rankmetrics_interval(m, RANK_HIT, last_k(rep), REPORT_LEVEL, REPORT_RESAMPLES,
                                REPORT_SEED);
}

/* ---- key numbers ----------------------------------------------------------- */

static void tiles(struct page *p, const struct replay_report *rep) {
    const struct rankmetrics *m = rep->result.beckon->all;
    struct rank_interval ci = interval(m, rep);
    char hit[32], more[72], low[32], high[32], mrr[32], ndcg[32], cases[32], speed[32], memory[32];
    char name[64];
    plot_number(hit, value(m, rep), UNIT_PERCENT, 0);
    plot_number(low, ci.low, UNIT_PERCENT, 0);
    plot_number(high, ci.high, UNIT_PERCENT, 0);
    snprintf(more, sizeof more, "%s to %s", low, high);
    snprintf(name, sizeof name, "hit rate at %u", rep->c->k[last_k(rep)]);
    plot_number(mrr, rankmetrics_value(m, RANK_MRR, last_k(rep)), UNIT_NUMBER, 0);
    plot_number(ndcg, rankmetrics_value(m, RANK_NDCG, last_k(rep)), UNIT_NUMBER, 0);
    plot_number(cases, (double)rankmetrics_cases(m), UNIT_NUMBER, 0);
    plot_number(speed, (double)rep->result.events / rep->result.engine_s, UNIT_NUMBER, 0);
    snprintf(memory, sizeof memory, "%.0f MB", (double)rep->rss_bytes / 1e6);
    const struct page_tile t[] = {
        {.value = hit, .name = name, .more = more},
        {.value = mrr, .name = "mean reciprocal rank"},
        {.value = ndcg, .name = "NDCG"},
        {.value = cases, .name = "cases"},
        {.value = speed, .name = "events a second and core, in the engine"},
        {.value = memory, .name = "peak memory"},
    };
    page_tiles(p, t, ARRAY_LEN(t));
}

static void table_rows(struct page *p, const struct replay_report *rep, const char *name,
                       const struct rankmetrics *m) {
    for (size_t i = 0; i < rep->c->n_k; i++) {
        struct rank_interval ci =
            rankmetrics_interval(m, RANK_HIT, i, REPORT_LEVEL, REPORT_RESAMPLES, REPORT_SEED);
        page_cell(p, "%s", i ? "" : name);
        page_cell(p, "%u", rep->c->k[i]);
        page_cell(p, "%.4f", rankmetrics_value(m, RANK_HIT, i));
        page_cell(p, "%.4f to %.4f", ci.low, ci.high);
        page_cell(p, "%.4f", rankmetrics_value(m, RANK_MRR, i));
        page_cell(p, "%.4f", rankmetrics_value(m, RANK_NDCG, i));
        page_cell(p, "%.1f %%",
                  100 * (double)rankmetrics_covered(m, i) / (double)MAX(rep->catalogue, 1u));
        page_cell(p, "%.3f", rankmetrics_gini(m, i, rep->catalogue));
        page_cell(p, "%.1f", rankmetrics_novelty(m, i));
    }
}

static void table(struct page *p, const struct replay_report *rep) {
    static const char *const head[] = {"",     "k",        "hit rate", "95 % interval", "MRR",
                                       "NDCG", "coverage", "Gini",     "novelty (bits)"};
    static const bool number[] = {false, true, true, true, true, true, true, true, true};
    page_heading(p, "Side by side, on the same cases");
    page_table(p, head, number, ARRAY_LEN(head));
    table_rows(p, rep, "Beckon", rep->result.beckon->all);
    for (size_t i = 0; i < rep->n_others; i++)
        table_rows(p, rep, rep->others[i].name, rep->others[i].score->all);
    page_table_end(p);
}

/* ---- over time, by age ----------------------------------------------------- */

/* Beckon and what was run beside it, without its own parts. */
static size_t rivals(const struct replay_report *rep, struct contender ret[SHOWN]) {
    size_t n = 0;
    ret[n++] = (struct contender){"Beckon", CONTENDER_BASELINE, rep->result.beckon};
    for (size_t i = 0; i < rep->n_others && n < SHOWN; i++)
        if (rep->others[i].kind == CONTENDER_BASELINE)
            ret[n++] = rep->others[i];
    return n;
}

/* The best of those run beside Beckon moves up behind it; returns how many that leaves. */
static size_t best_rival(const struct replay_report *rep, struct contender ret[SHOWN]) {
    size_t n = rivals(rep, ret), best = 1;
    for (size_t i = 2; i < n; i++)
        if (value(ret[i].score->all, rep) > value(ret[best].score->all, rep))
            best = i;
    if (n > 1)
        ret[1] = ret[best];
    return MIN(n, (size_t)2);
}

static void over_time(struct page *p, const struct replay_report *rep) {
    struct contender who[SHOWN];
    size_t n = rivals(rep, who);
    static double x[JUDGE_TIMES], y[SHOWN][JUDGE_TIMES], low[JUDGE_TIMES], high[JUDGE_TIMES];
    struct plot_series series[SHOWN];
    const struct judge *j = replay_judge(rep->replay);
    for (size_t t = 0; t < JUDGE_TIMES; t++) {
        x[t] = (double)judge_time(j, t);
        struct rank_interval ci = interval(rep->result.beckon->time[t], rep);
        low[t] = ci.low;
        high[t] = ci.high;
        for (size_t i = 0; i < n; i++)
            y[i][t] = value(who[i].score->time[t], rep);
    }
    for (size_t i = 0; i < n; i++)
        series[i] = (struct plot_series){.name = who[i].name,
                                         .mark = MARK_LINE,
                                         .dashed = i > 0,
                                         .n = JUDGE_TIMES,
                                         .x = x,
                                         .y = y[i],
                                         .low = i ? NULL : low,
                                         .high = i ? NULL : high};
    plot_draw(p, &(struct plot){.title = "Hit rate over time",
                                .text = "Forty spans of the judged part; the band is the 95 % "
                                        "interval.",
                                .x = {.unit = UNIT_TIME},
                                .y = {.unit = UNIT_PERCENT, .from_zero = true},
                                .series = series,
                                .n_series = n});
}

static void by_age(struct page *p, const struct replay_report *rep) {
    struct contender who[SHOWN];
    size_t n = rivals(rep, who);
    static double y[SHOWN][JUDGE_AGES], low[SHOWN][JUDGE_AGES], high[SHOWN][JUDGE_AGES];
    struct plot_series series[SHOWN];
    for (size_t i = 0; i < n; i++) {
        for (size_t a = 0; a < JUDGE_AGES; a++) {
            struct rank_interval ci = interval(who[i].score->age[a], rep);
            y[i][a] = value(who[i].score->age[a], rep);
            low[i][a] = ci.low;
            high[i][a] = ci.high;
        }
        series[i] = (struct plot_series){.name = who[i].name,
                                         .mark = MARK_BARS,
                                         .n = JUDGE_AGES,
                                         .y = y[i],
                                         .low = low[i],
                                         .high = high[i]};
    }
    plot_draw(p,
              &(struct plot){
                  .title = "Cold to warm",
                  .text = "Hit rate by how many events of the session (of the user, "
                          "where there are none) came before the case.",
                  .x = {.label = "events before", .names = judge_age_name, .n_names = JUDGE_AGES},
                  .y = {.unit = UNIT_PERCENT, .from_zero = true},
                  .series = series,
                  .n_series = n});
}

/* ---- parts ----------------------------------------------------------------- */

static void parts(struct page *p, const struct replay_report *rep, enum contender_kind kind,
                  const char *title, const char *text) {
    const struct rankmetrics *whole = rep->result.beckon->all;
    const double none = 0, all = value(whole, rep);
    struct plot_row rows[2 * SHOWN];
    size_t n = 0;
    for (size_t i = 0; i < rep->n_others && n < ARRAY_LEN(rows); i++) {
        const struct contender *c = &rep->others[i];
        struct rank_interval ci;
        if (c->kind != kind)
            continue;
        double v = value(c->score->all, rep);
        ci = kind == CONTENDER_ALONE
                 ? interval(c->score->all, rep)
                 : rankmetrics_difference(whole, c->score->all, RANK_HIT, last_k(rep), REPORT_LEVEL,
                                          REPORT_RESAMPLES, REPORT_SEED);
        if (kind == CONTENDER_WITHOUT)
            v = all - v;
        rows[n++] = (struct plot_row){c->name, v, ci.low, ci.high,
                                      kind == CONTENDER_WITHOUT && ci.high < 0};
    }
    if (n)
        plot_draw_rows(p, &(struct plot_rows){.title = title,
                                              .text = text,
                                              .x = {.unit = UNIT_PERCENT, .from_zero = true},
                                              .rows = rows,
                                              .n_rows = n,
                                              .level = kind == CONTENDER_ALONE ? &all : &none});
}

/* ---- popularity ------------------------------------------------------------ */

struct item_count {
    uint32_t item;
    uint64_t n;
};

static int by_count(const void *a, const void *b) {
    const struct item_count *x = a, *y = b;
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static int popularity_bias(struct page *p, const struct replay_report *rep) {
    enum { GROUPS = 5 };
    static const char *const names[GROUPS] = {"top 1 %", "to 5 %", "to 20 %", "to 50 %", "rest"};
    static const double until[GROUPS] = {.01, .05, .2, .5, 1};
    const struct judge *j = replay_judge(rep->replay);
    struct contender who[SHOWN];
    size_t n_who = best_rival(rep, who), n = 0, texts = tape_texts(rep->data->tape);
    struct item_count *items = calloc(texts, sizeof *items);
    if (!items)
        return -ENOMEM;
    for (uint32_t i = 1; i < texts; i++)
        if (judge_is_item(j, i))
            items[n++] = (struct item_count){i, judge_popularity(j, i)};
    qsort(items, n, sizeof *items, by_count);
    double share[3][GROUPS] = {0};
    struct plot_series series[3];
    for (size_t s = 0; s <= n_who; s++) {
        double sum = 0;
        for (size_t i = 0, g = 0; i < n; i++) {
            while (g + 1 < GROUPS && (double)i >= until[g] * (double)n)
                g++;
            uint64_t times =
                s == 0 ? items[i].n
                       : rankmetrics_times(who[s - 1].score->all, last_k(rep), items[i].item);
            share[s][g] += (double)times;
            sum += (double)times;
        }
        for (size_t g = 0; g < GROUPS; g++)
            share[s][g] /= sum;
        series[s] = (struct plot_series){.name = s ? who[s - 1].name : "what people chose",
                                         .mark = MARK_BARS,
                                         .n = GROUPS,
                                         .y = share[s]};
    }
    free(items);
    plot_draw(p, &(struct plot){.title = "Popularity bias",
                                .text = "Items by how popular they were, most popular first: their "
                                        "share of what people chose and of the places on lists, "
                                        "here and on those of the best baseline.",
                                .x = {.label = "items", .names = names, .n_names = GROUPS},
                                .y = {.unit = UNIT_PERCENT, .from_zero = true},
                                .series = series,
                                .n_series = n_who + 1});
    return 0;
}

int replay_page_write(const struct replay_report *rep, const char *path) {
    struct page p = {0};
    static const char *const rules[] = {
        "every event but the first of its session or user is a case",
        "every event on an item new to the user is a case",
        "the last event of each session or user is a case"};
    char lead[128];
    snprintf(lead, sizeof lead, "%s%s.", rules[rep->c->evaluate],
             rep->c->learn_on_test ? "" : "; nothing is learned in the judged part");
    page_begin(&p, "How good the lists are", lead);
    tiles(&p, rep);
    table(&p, rep);
    over_time(&p, rep);
    by_age(&p, rep);
    parts(&p, rep, CONTENDER_WITHOUT, "What each part adds",
          "Hit rate of the whole minus that of the engine without the part, over the same cases.");
    parts(&p, rep, CONTENDER_ALONE, "Each part alone", "The dashed line is the whole engine.");
    int err = popularity_bias(&p, rep);
    if (replay_ranker(rep->replay))
        ranker_view_page(replay_ranker(rep->replay), &p);
    if (err == 0)
        err = page_save(&p, path);
    page_free(&p);
    return err;
}
