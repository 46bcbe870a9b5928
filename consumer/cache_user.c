#include <math.h>
#include <stdio.h>
#include <time.h>

#include "consumer/cache.h"

enum { SHOWN_CATEGORIES = 5, SHOWN_ITEMS = 10, FIELDS_MAX = 48 };

/* Where fields go, and one text being built. */
struct writer {
    void (*put)(void *ctx, const char *field, const char *value);
    void *ctx;
    struct buf text;
};

static void put_time(struct writer *w, const char *field, int64_t ms) {
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];
    if (ms > 0 && gmtime_r(&s, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        w->put(w->ctx, field, text);
}

static void put_number(struct writer *w, const char *field, double v) {
    char text[400]; /* the widest double in %f */
    if (!isfinite(v))
        return;
    int n = snprintf(text, sizeof text, "%.2f", v);
    while (n > 0 && text[n - 1] == '0')
        n--;
    text[text[n - 1] == '.' ? n - 1 : n] = 0;
    w->put(w->ctx, field, strcmp(text, "-0") == 0 ? "0" : text);
}

static void add_separator(struct buf *b) {
    if (b->n)
        buf_put(b, ", ", 2);
}

static void put_text(struct writer *w, const char *field) {
    if (w->text.n == 0)
        return;
    buf_put(&w->text, "", 1);
    if (!w->text.failed)
        w->put(w->ctx, field, (const char *)w->text.p);
}

static void put_categories(struct writer *w, const struct model *m, const struct profile *p,
                           int64_t now_ms) {
    uint32_t key[SHOWN_CATEGORIES];
    double share[SHOWN_CATEGORIES];
    size_t n = profile_top_categories(p, now_ms, key, share, SHOWN_CATEGORIES);
    buf_reset(&w->text);
    for (size_t i = 0; i < n; i++) {
        struct str name = model_category_name(m, key[i]);
        if (name.n == 0)
            continue;
        add_separator(&w->text);
        id_escape(&w->text, name);
        char percent[16];
        int k = snprintf(percent, sizeof percent, " %.0f%%", fmin(fmax(share[i], 0), 1) * 100);
        buf_put(&w->text, percent, (size_t)k);
    }
    put_text(w, "categories");
}

static void put_items(struct writer *w, const struct model *m, const char *field,
                      const struct recent_item *items, size_t n) {
    buf_reset(&w->text);
    for (size_t i = 0; i < n; i++) {
        struct item_view v;
        model_item_view(m, items[i].item, &v);
        if (v.id.n == 0)
            continue;
        add_separator(&w->text);
        id_escape(&w->text, v.id);
    }
    put_text(w, field);
}

void profile_words(const struct model *m, const struct user *u, int64_t now_ms,
                   void (*put)(void *ctx, const char *field, const char *value), void *ctx) {
    static const struct {
        const char *name;
        enum profile_field field;
    } numbers[] = {
        {"events", PF_EVENTS},
        {"views", PF_VIEWS},
        {"favorites", PF_FAVORITES},
        {"carts", PF_CARTS},
        {"purchases", PF_PURCHASES},
        {"returns", PF_RETURNS},
        {"spend", PF_SPEND},
        {"sessions", PF_SESSIONS},
        {"session_events", PF_SESSION_EVENTS},
        {"avg_price", PF_AVG_PRICE},
        {"avg_dwell_s", PF_AVG_DWELL_S},
        {"last_score", PF_LAST_SCORE},
        {"cart_items", PF_CART_ITEMS},
        {"cart_value", PF_CART_VALUE},
        {"bot", PF_BOT},
    };
    const struct profile *p = &u->prof;
    struct writer w = {.put = put, .ctx = ctx};
    put_time(&w, "first_seen", (int64_t)p->first_s * 1000);
    put_time(&w, "last_seen", p->last_ms);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        put_number(&w, numbers[i].name, profile_value(p, numbers[i].field, now_ms));
    double days = profile_value(p, PF_DAYS_SINCE_PURCHASE, now_ms);
    if (isfinite(days))
        put_time(&w, "last_purchase", now_ms - (int64_t)(days * 86400000));
    put_categories(&w, m, p, now_ms);
    struct recent_item items[SHOWN_ITEMS + PROFILE_CART_MAX];
    put_items(&w, m, "recent", items, profile_recent(p, items, SHOWN_ITEMS));
    put_items(&w, m, "cart", items, profile_cart(p, items, PROFILE_CART_MAX));
    buf_free(&w.text);
}

/* Fields as offsets into one growing text, because it moves while it grows. */
struct fields {
    struct buf text;
    size_t at[FIELDS_MAX][2];
    size_t n;
};

static void collect(void *ctx, const char *field, const char *value) {
    struct fields *f = ctx;
    if (f->n == FIELDS_MAX)
        return;
    f->at[f->n][0] = f->text.n;
    buf_put(&f->text, field, strlen(field) + 1);
    f->at[f->n++][1] = f->text.n;
    buf_put(&f->text, value, strlen(value) + 1);
}

void cache_user(struct cache *c, const struct model *m, const struct user *u, int64_t now_ms) {
    struct fields f = {0};
    profile_words(m, u, now_ms, collect, &f);
    if (!f.text.failed) {
        struct key_value kv[FIELDS_MAX];
        for (size_t i = 0; i < f.n; i++)
            kv[i] = (struct key_value){.key = (char *)f.text.p + f.at[i][0],
                                       .value = (char *)f.text.p + f.at[i][1]};
        cache_hash(c, "user", u->id, kv, f.n, 0);
    }
    buf_free(&f.text);
}
