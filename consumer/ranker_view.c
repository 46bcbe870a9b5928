#include "consumer/ranker_view.h"

#include <math.h>

enum { PER_LINE = 4 };

struct entry {
    struct ranker_column c;
    double of_part; /* sum of the part's absolute weights */
};

static int heavier(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->of_part != y->of_part)
        return x->of_part > y->of_part ? -1 : 1;
    int part = strcmp(x->c.part, y->c.part);
    float v = fabsf(x->c.weight), w = fabsf(y->c.weight);
    return part ? part : v != w ? (v > w ? -1 : 1) : strcmp(x->c.name, y->c.name);
}

size_t ranker_columns(const struct ranker *r, struct ranker_column ret[SHORTLIST_COLUMNS_MAX]) {
    struct entry e[SHORTLIST_COLUMNS_MAX];
    size_t n = shortlist_columns();
    for (uint32_t i = 0; i < n; i++)
        e[i].c = (struct ranker_column){shortlist_column_part(i), shortlist_column_name(i),
                                        ranker_weight(r, i)};
    for (size_t i = 0; i < n; i++) {
        e[i].of_part = 0;
        for (size_t k = 0; k < n; k++)
            if (strcmp(e[k].c.part, e[i].c.part) == 0)
                e[i].of_part += (double)fabsf(e[k].c.weight);
    }
    qsort(e, n, sizeof *e, heavier);
    for (size_t i = 0; i < n; i++)
        ret[i] = e[i].c;
    return n;
}

static bool begins_part(const struct ranker_column *c, size_t i) {
    return i == 0 || strcmp(c[i].part, c[i - 1].part) != 0;
}

void ranker_view_text(const struct ranker *r, FILE *to) {
    struct ranker_column c[SHORTLIST_COLUMNS_MAX];
    size_t n = ranker_columns(r, c), on_line = 0;
    fprintf(to,
            "\n  ranker: cases %llu   loss %.3f   weight of each column, per standard deviation",
            (unsigned long long)ranker_cases(r), ranker_loss(r));
    for (size_t i = 0; i < n; i++) {
        bool begins = begins_part(c, i);
        if (begins || on_line++ % PER_LINE == 0) {
            fprintf(to, "\n  %-11s", begins ? c[i].part : "");
            on_line = 1;
        }
        fprintf(to, "  %-16s %+6.3f", c[i].name, (double)c[i].weight);
    }
    fprintf(to, "\n");
}

json_t *ranker_view_json(const struct ranker *r) {
    struct ranker_column c[SHORTLIST_COLUMNS_MAX];
    size_t n = ranker_columns(r, c);
    json_t *parts = json_object();
    for (size_t i = 0; i < n; i++) {
        if (begins_part(c, i))
            json_object_set_new(parts, c[i].part, json_object());
        json_object_set_new(json_object_get(parts, c[i].part), c[i].name,
                            json_real((double)c[i].weight));
    }
    return json_pack("{s:I,s:f,s:o}", "cases", (json_int_t)ranker_cases(r), "loss", ranker_loss(r),
                     "weights", parts);
}

void ranker_view_page(const struct ranker *r, struct page *p) {
    static const char *const head[] = {"part", "column", "weight"};
    static const bool number[] = {false, false, true};
    struct ranker_column c[SHORTLIST_COLUMNS_MAX];
    size_t n = ranker_columns(r, c);
    page_heading(p, "What the ranker goes by");
    page_text(p,
              "Learned from %llu cases; what one standard deviation of each column adds to the "
              "score of a candidate. The network beside these weights is not shown.",
              (unsigned long long)ranker_cases(r));
    page_table(p, head, number, ARRAY_LEN(head));
    for (size_t i = 0; i < n; i++) {
        page_cell(p, "%s", begins_part(c, i) ? c[i].part : "");
        page_cell(p, "%s", c[i].name);
        page_cell(p, "%+.3f", (double)c[i].weight);
    }
    page_table_end(p);
}

void ranker_view_tally(const struct ranker *r, struct tally *t) {
    struct ranker_column c[SHORTLIST_COLUMNS_MAX];
    size_t n = ranker_columns(r, c);
    tally_put(t, "cases", "%llu", (unsigned long long)ranker_cases(r));
    tally_put(t, "loss", "%.4f", ranker_loss(r));
    for (size_t i = 0; i < n; i++) {
        char key[TALLY_KEY];
        snprintf(key, sizeof key, "weight:%s:%s", c[i].part, c[i].name);
        tally_put(t, key, "%.4f", (double)c[i].weight);
    }
}
