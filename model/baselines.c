#include "model/baselines.h"

#include <math.h>

enum { NEIGHBOURS = 100, SAMPLE = 1000, HOUR_MS = 3600 * 1000 };
/* Sums that are equal but for the order of their terms are ties. */
#define SAME (1 - 1e-9)
/* Weights of events grow by the hour until all are scaled back. */
#define SCALE_BACK 0x1p500

struct counts { /* of item j beside another */
    uint32_t *item, *n;
    uint32_t used, mask; /* mask 0: empty */
};

struct joined {
    uint32_t owner;
    uint64_t when; /* in events */
};

struct item {
    struct joined *owners; /* who took it up, each once, oldest first */
    uint32_t n_owners, cap_owners;
    struct counts beside;
};

struct owner {
    uint32_t *item; /* as they came, with repeats */
    uint32_t n, learned, cap;
};

struct scored {
    uint32_t item;
    double score;
};

/* A count per item that fades; half_life_ms 0: it does not. */
struct popularity {
    int64_t half_life_ms, landmark_ms;
    double *score;
    struct scored *top; /* the best as they are now, best first */
    uint32_t n_top, cap_top;
    bool stale;
};

struct baselines {
    uint64_t events;
    struct item *items;
    uint32_t n_items;
    struct owner *owners;
    uint32_t n_owners;
    struct popularity popular[3];
    /* Scratch per item. A mark says whether the entry is of this question. */
    double *score;
    uint32_t *mark, *out_mark, *weight_mark;
    uint32_t
        *weight;    /* of an owner's item: its place, in whole numbers, so that equals are equal */
    uint32_t *step; /* distance of an owner's item from his newest */
    uint32_t *touched, n_touched;
    uint32_t question;
    /* Scratch per owner. */
    uint32_t *owner_mark;
};

const char *baseline_name(enum baseline b) {
    static const char *const names[] = {"popularity", "recent popularity, 1h",
                                        "recent popularity, 1d", "item-kNN", "session-kNN"};
    return (unsigned)b < BASELINES ? names[b] : "";
}

int baselines_new(struct baselines **ret) {
    struct baselines *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->popular[BASELINE_RECENT_HOUR].half_life_ms = HOUR_MS;
    b->popular[BASELINE_RECENT_DAY].half_life_ms = 24 * HOUR_MS;
    *ret = b;
    return 0;
}

void baselines_free(struct baselines *b) {
    if (!b)
        return;
    for (uint32_t i = 0; i < b->n_items; i++) {
        free(b->items[i].owners);
        free(b->items[i].beside.item);
        free(b->items[i].beside.n);
    }
    for (uint32_t i = 0; i < b->n_owners; i++)
        free(b->owners[i].item);
    for (size_t i = 0; i < ARRAY_LEN(b->popular); i++) {
        free(b->popular[i].score);
        free(b->popular[i].top);
    }
    free(b->items);
    free(b->owners);
    free(b->score);
    free(b->mark);
    free(b->out_mark);
    free(b->weight_mark);
    free(b->weight);
    free(b->step);
    free(b->touched);
    free(b->owner_mark);
    free(b);
}

/* ---- tables ---------------------------------------------------------------- */

/* Makes an array `want` long, zeroed behind `n`. */
static bool lengthen(void *array, size_t n, size_t want, size_t size) {
    char *p = reallocarray(*(void **)array, want, size);
    if (!p)
        return false;
    memset(p + n * size, 0, (want - n) * size);
    *(void **)array = p;
    return true;
}

static bool reserve_items(struct baselines *b, uint32_t item) {
    uint32_t n = b->n_items;
    if (item < n)
        return true;
    if (item == UINT32_MAX)
        return false;
    uint32_t want = (uint32_t)MIN((uint64_t)UINT32_MAX, MAX((uint64_t)item + 1, 2 * (uint64_t)n));
    bool ok = lengthen(&b->items, n, want, sizeof *b->items) &&
              lengthen(&b->score, n, want, sizeof *b->score) &&
              lengthen(&b->mark, n, want, sizeof *b->mark) &&
              lengthen(&b->out_mark, n, want, sizeof *b->out_mark) &&
              lengthen(&b->weight_mark, n, want, sizeof *b->weight_mark) &&
              lengthen(&b->weight, n, want, sizeof *b->weight) &&
              lengthen(&b->step, n, want, sizeof *b->step) &&
              lengthen(&b->touched, n, want, sizeof *b->touched);
    for (size_t i = 0; i < ARRAY_LEN(b->popular); i++)
        ok = ok && lengthen(&b->popular[i].score, n, want, sizeof(double));
    if (ok)
        b->n_items = want;
    return ok;
}

static bool reserve_owners(struct baselines *b, uint32_t owner) {
    uint32_t n = b->n_owners;
    if (owner < n)
        return true;
    if (owner == UINT32_MAX)
        return false;
    uint32_t want = (uint32_t)MIN((uint64_t)UINT32_MAX, MAX((uint64_t)owner + 1, 2 * (uint64_t)n));
    if (!lengthen(&b->owners, n, want, sizeof *b->owners) ||
        !lengthen(&b->owner_mark, n, want, sizeof *b->owner_mark))
        return false;
    b->n_owners = want;
    return true;
}

static uint32_t slot_of(const struct counts *c, uint32_t item) {
    uint32_t i = (item * UINT32_C(2654435761)) >> 7 & c->mask;
    while (c->n[i] && c->item[i] != item)
        i = (i + 1) & c->mask;
    return i;
}

static bool counts_grow(struct counts *c) {
    uint32_t slots = c->mask ? 2 * (c->mask + 1) : 8;
    struct counts to = {.used = c->used,
                        .mask = slots - 1,
                        .item = malloc(slots * sizeof *to.item),
                        .n = calloc(slots, sizeof *to.n)};
    if (!to.item || !to.n) {
        free(to.item);
        free(to.n);
        return false;
    }
    for (uint32_t i = 0; c->mask && i <= c->mask; i++)
        if (c->n[i]) {
            uint32_t k = slot_of(&to, c->item[i]);
            to.item[k] = c->item[i];
            to.n[k] = c->n[i];
        }
    free(c->item);
    free(c->n);
    *c = to;
    return true;
}

static bool counts_add(struct counts *c, uint32_t item) {
    if (2 * c->used >= c->mask && !counts_grow(c))
        return false;
    uint32_t i = slot_of(c, item);
    c->used += c->n[i] == 0;
    c->item[i] = item;
    c->n[i]++;
    return true;
}

/* ---- learning -------------------------------------------------------------- */

static void popularity_add(struct popularity *p, uint32_t n_items, uint32_t item, int64_t time_ms) {
    double weight = 1;
    if (p->half_life_ms) {
        if (p->landmark_ms == 0)
            p->landmark_ms = time_ms;
        weight = exp2((double)(time_ms - p->landmark_ms) / (double)p->half_life_ms);
        if (weight > SCALE_BACK) {
            for (uint32_t i = 0; i < n_items; i++)
                p->score[i] /= weight;
            p->landmark_ms = time_ms;
            weight = 1;
        }
    }
    p->score[item] += weight;
    p->stale = true;
}

static bool has(const uint32_t *v, uint32_t n, uint32_t item) {
    for (uint32_t i = 0; i < n; i++)
        if (v[i] == item)
            return true;
    return false;
}

/* The owner takes up an item that he did not have: what he had is beside it. */
static bool take_up(struct baselines *b, uint32_t owner, uint32_t item) {
    struct owner *o = &b->owners[owner];
    struct item *x = &b->items[item];
    if (x->n_owners == x->cap_owners) {
        uint32_t cap = x->cap_owners ? 2 * x->cap_owners : 4;
        if (!lengthen(&x->owners, x->cap_owners, cap, sizeof *x->owners))
            return false;
        x->cap_owners = cap;
    }
    x->owners[x->n_owners++] = (struct joined){owner, b->events};
    for (uint32_t i = 0; i < o->learned; i++) {
        uint32_t other = o->item[i];
        if (has(o->item, i, other))
            continue;
        if (!counts_add(&x->beside, other) || !counts_add(&b->items[other].beside, item))
            return false;
    }
    return true;
}

int baselines_event(struct baselines *b, uint32_t owner, uint32_t item, int64_t time_ms,
                    bool learn) {
    if (!reserve_items(b, item) || !reserve_owners(b, owner))
        return -ENOMEM;
    struct owner *o = &b->owners[owner];
    if (o->n == o->cap) {
        uint32_t cap = o->cap ? 2 * o->cap : 4;
        if (!lengthen(&o->item, o->cap, cap, sizeof *o->item))
            return -ENOMEM;
        o->cap = cap;
    }
    if (learn) {
        b->events++;
        for (size_t i = 0; i < ARRAY_LEN(b->popular); i++)
            popularity_add(&b->popular[i], b->n_items, item, time_ms);
        if (!has(o->item, o->learned, item) && !take_up(b, owner, item))
            return -ENOMEM;
    }
    o->item[o->n++] = item;
    if (learn)
        o->learned = o->n;
    return 0;
}

/* ---- the best of scored items ---------------------------------------------- */

/* Keeps the best `n` of what is offered, best first; equal ones as they came. */
static void offer(struct scored *top, uint32_t *n_top, uint32_t n, struct scored s) {
    if (*n_top == n && !(s.score > top[n - 1].score))
        return;
    uint32_t i = *n_top < n ? (*n_top)++ : n - 1;
    for (; i > 0 && top[i - 1].score < s.score; i--)
        top[i] = top[i - 1];
    top[i] = s;
}

static int rank_popular(struct baselines *b, struct popularity *p, size_t n_out, uint32_t target,
                        uint32_t n, struct baseline_list *ret) {
    /* one more than can be needed, so that a tie at the end shows */
    uint32_t want = (uint32_t)MIN((size_t)UINT32_MAX, n + n_out + 1);
    if (want > p->cap_top) {
        struct scored *top = reallocarray(p->top, want, sizeof *top);
        if (!top)
            return -ENOMEM;
        p->top = top;
        p->cap_top = want;
        p->stale = true;
    }
    if (p->stale) {
        p->n_top = 0;
        for (uint32_t i = 0; i < b->n_items; i++)
            if (p->score[i] > 0)
                offer(p->top, &p->n_top, p->cap_top, (struct scored){i, p->score[i]});
        p->stale = false;
    }
    double goal = target < b->n_items ? p->score[target] : 0;
    uint32_t place = 0;
    for (uint32_t i = 0; i < p->n_top; i++) {
        if (b->out_mark[p->top[i].item] == b->question)
            continue;
        place += p->top[i].score >= SAME * goal;
        if (ret->n < n)
            ret->items[ret->n++] = p->top[i].item;
    }
    bool out = target >= b->n_items || b->out_mark[target] == b->question;
    ret->place = goal > 0 && !out && place <= n ? place : 0;
    return 0;
}

/* ---- neighbours ------------------------------------------------------------ */

static void add_score(struct baselines *b, uint32_t item, double score) {
    if (b->mark[item] != b->question) {
        b->mark[item] = b->question;
        b->score[item] = 0;
        b->touched[b->n_touched++] = item;
    }
    b->score[item] += score;
}

static void score_items(struct baselines *b, const struct owner *o) {
    for (uint32_t i = 0; i < o->n; i++) {
        const struct item *x = &b->items[o->item[i]];
        if (has(o->item, i, o->item[i]) || !x->beside.mask)
            continue;
        for (uint32_t k = 0; k <= x->beside.mask; k++) {
            if (!x->beside.n[k])
                continue;
            double owners = (double)x->n_owners * b->items[x->beside.item[k]].n_owners;
            add_score(b, x->beside.item[k], x->beside.n[k] / sqrt(owners));
        }
    }
}

/* Weighs the owner's items by place; returns how many different ones there are. */
static uint32_t weigh(struct baselines *b, const struct owner *o) {
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < o->n; i++) {
        uint32_t item = o->item[i];
        distinct += b->weight_mark[item] != b->question;
        b->weight_mark[item] = b->question;
        b->weight[item] = i + 1;
        b->step[item] = o->n - i;
    }
    return distinct;
}

struct neighbour {
    double similarity;
    uint32_t owner, step;
};

static struct neighbour compare(const struct baselines *b, uint32_t owner, double weights) {
    const struct owner *o = &b->owners[owner];
    struct neighbour ret = {.owner = owner, .step = UINT32_MAX};
    uint64_t sum = 0;
    for (uint32_t i = 0; i < o->learned; i++) {
        uint32_t item = o->item[i];
        if (b->weight_mark[item] != b->question || has(o->item, i, item))
            continue;
        sum += b->weight[item];
        ret.step = MIN(ret.step, b->step[item]);
    }
    ret.similarity = (double)sum / weights;
    return ret;
}

static void score_sessions(struct baselines *b, uint32_t owner) {
    const struct owner *o = &b->owners[owner];
    uint32_t distinct = weigh(b, o), n_lists = 0, n = 0;
    struct {
        const struct joined *first, *next; /* newest first: from next - 1 down */
    } *lists = malloc(MAX(distinct, 1u) * sizeof *lists);
    struct neighbour best[NEIGHBOURS];
    if (!lists)
        return;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct item *x = &b->items[o->item[i]];
        if (!has(o->item, i, o->item[i]) && x->n_owners) {
            lists[n_lists].first = x->owners;
            lists[n_lists++].next = x->owners + x->n_owners;
        }
    }
    for (uint32_t taken = 0; taken < SAMPLE;) {
        uint32_t newest = n_lists;
        for (uint32_t i = 0; i < n_lists; i++)
            if (lists[i].next > lists[i].first &&
                (newest == n_lists || lists[i].next[-1].when > lists[newest].next[-1].when))
                newest = i;
        if (newest == n_lists)
            break;
        uint32_t other = (--lists[newest].next)->owner;
        if (other == owner || b->owner_mark[other] == b->question)
            continue;
        b->owner_mark[other] = b->question;
        taken++;
        struct neighbour s = compare(b, other, (double)o->n * distinct);
        if (n == NEIGHBOURS && !(s.similarity > best[n - 1].similarity))
            continue;
        uint32_t i = n < NEIGHBOURS ? n++ : n - 1;
        for (; i > 0 && best[i - 1].similarity < s.similarity; i--)
            best[i] = best[i - 1];
        best[i] = s;
    }
    free(lists);
    for (uint32_t k = 0; k < n; k++) {
        const struct owner *x = &b->owners[best[k].owner];
        for (uint32_t i = 0; i < x->learned; i++)
            if (!has(x->item, i, x->item[i]))
                add_score(b, x->item[i], best[k].similarity / best[k].step);
    }
}

static void rank_scored(struct baselines *b, uint32_t target, uint32_t n, struct scored *top,
                        struct baseline_list *ret) {
    double goal = target < b->n_items && b->mark[target] == b->question ? b->score[target] : 0;
    uint32_t place = 0, n_top = 0;
    for (uint32_t i = 0; i < b->n_touched; i++) {
        uint32_t item = b->touched[i];
        if (b->out_mark[item] == b->question)
            continue;
        place += b->score[item] >= SAME * goal;
        offer(top, &n_top, n, (struct scored){item, b->score[item]});
    }
    for (; ret->n < n_top; ret->n++)
        ret->items[ret->n] = top[ret->n].item;
    bool out = target >= b->n_items || b->out_mark[target] == b->question;
    ret->place = goal > 0 && !out && place <= n ? place : 0;
}

int baselines_rank(struct baselines *b, enum baseline kind, uint32_t owner, const uint32_t *out,
                   size_t n_out, uint32_t target, uint32_t n, struct baseline_list *ret) {
    ret->n = ret->place = 0;
    if (++b->question == 0)
        return -EOVERFLOW;
    for (size_t i = 0; i < n_out; i++)
        if (out[i] < b->n_items)
            b->out_mark[out[i]] = b->question;
    if (kind <= BASELINE_RECENT_DAY)
        return rank_popular(b, &b->popular[kind], n_out, target, n, ret);
    if (owner >= b->n_owners)
        return 0;
    b->n_touched = 0;
    if (kind == BASELINE_ITEM_KNN)
        score_items(b, &b->owners[owner]);
    else
        score_sessions(b, owner);
    autofree(free) struct scored *top = malloc(MAX(n, 1u) * sizeof *top);
    if (!top)
        return -ENOMEM;
    rank_scored(b, target, n, top, ret);
    return 0;
}
