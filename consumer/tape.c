#include "consumer/tape.h"

#include <math.h>

#include "model/index.h"

enum { ARENA_MAX = 8 * ARENA_CLASSES };

struct pair {
    uint32_t key, value;
};

struct tape {
    struct taped *e;
    size_t n, cap;
    struct pair *pairs;
    size_t n_pairs, cap_pairs;
    struct str *text;
    uint32_t n_text, cap_text;
    struct id_index index;
    struct id_arena arena;
};

static struct str text_of(const void *owner, uint32_t number) {
    return ((const struct tape *)owner)->text[number];
}

int tape_new(struct tape **ret) {
    autofree(tape_free) struct tape *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    int r = id_index_init(&t->index, 0, text_of, t);
    if (r < 0)
        return r;
    t->text = calloc(t->cap_text = 1024, sizeof *t->text);
    if (!t->text)
        return -ENOMEM;
    t->n_text = 1;
    *ret = TAKE(t);
    return 0;
}

void tape_free(struct tape *t) {
    if (!t)
        return;
    for (uint32_t i = 0; i < t->n_text; i++)
        if (t->text[i].n > ARENA_MAX)
            id_arena_drop(&t->arena, t->text[i].p, t->text[i].n);
    id_arena_done(&t->arena);
    id_index_done(&t->index);
    free(t->text);
    free(t->pairs);
    free(t->e);
    free(t);
}

/* Room for one more of `size` bytes; false: out of memory. */
static bool room(void *array, size_t *cap, size_t n, size_t size) {
    if (n < *cap)
        return true;
    size_t want = *cap ? *cap + *cap / 2 : 4096;
    void *p = reallocarray(*(void **)array, want, size);
    if (!p)
        return false;
    *(void **)array = p;
    *cap = want;
    return true;
}

uint32_t tape_find(const struct tape *t, struct str s) {
    return s.n ? id_index_find(&t->index, s) : 0;
}

uint32_t tape_intern(struct tape *t, struct str s) {
    uint32_t number = tape_find(t, s);
    size_t cap = t->cap_text;
    if (number != INDEX_NONE)
        return number;
    if (t->n_text == INDEX_NONE || !room(&t->text, &cap, t->n_text, sizeof *t->text))
        return 0;
    t->cap_text = (uint32_t)MIN(cap, (size_t)INDEX_NONE);
    number = t->n_text;
    if (!id_arena_copy(&t->arena, s, &t->text[number]))
        return 0;
    if (id_index_add(&t->index, s, number) < 0) {
        id_arena_drop(&t->arena, t->text[number].p, s.n);
        return 0;
    }
    t->n_text++;
    return number;
}

struct str tape_text(const struct tape *t, uint32_t number) {
    return number < t->n_text ? t->text[number] : (struct str){0};
}

uint32_t tape_texts(const struct tape *t) {
    return t->n_text;
}

int tape_add(struct tape *t, const struct event *e) {
    const struct str in[] = {e->user, e->item, e->session, e->query, e->decision};
    uint32_t out[ARRAY_LEN(in)];
    if (!room(&t->e, &t->cap, t->n, sizeof *t->e))
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_LEN(in); i++)
        if ((out[i] = tape_intern(t, in[i])) == 0 && in[i].n)
            return -ENOMEM;
    if (t->n_pairs + e->n_ctx > UINT32_MAX)
        return -E2BIG;
    size_t first = t->n_pairs;
    for (size_t i = 0; i < e->n_ctx; i++) {
        if (!room(&t->pairs, &t->cap_pairs, t->n_pairs, sizeof *t->pairs))
            return -ENOMEM;
        t->pairs[t->n_pairs++] =
            (struct pair){tape_intern(t, e->ctx[i].key), tape_intern(t, e->ctx[i].value)};
    }
    t->e[t->n++] = (struct taped){
        .time_ms = e->time_ms,
        .value = e->value,
        .id = hash_str(e->id, 0),
        .user = out[0],
        .item = out[1],
        .session = out[2],
        .query = out[3],
        .decision = out[4],
        .ctx = (uint32_t)first,
        .dwell_ms = (float)e->dwell_ms,
        .type = e->type,
        .n_ctx = e->n_ctx,
    };
    return 0;
}

size_t tape_n(const struct tape *t) {
    return t->n;
}

const struct taped *tape_at(const struct tape *t, size_t i) {
    return &t->e[i];
}

/* Merges two sorted runs that lie side by side; equal times keep their order. */
static void merge(const struct taped *a, size_t n_a, size_t n_b, struct taped *to) {
    const struct taped *b = a + n_a, *end_a = b, *end_b = b + n_b;
    while (a < end_a || b < end_b)
        *to++ = b == end_b || (a < end_a && a->time_ms <= b->time_ms) ? *a++ : *b++;
}

int64_t tape_sort(struct tape *t, size_t from) {
    size_t n = t->n - from;
    int64_t late = 0;
    for (size_t i = 1; i < n; i++)
        late += t->e[from + i].time_ms < t->e[from + i - 1].time_ms;
    if (!late)
        return 0;
    struct taped *spare = malloc(n * sizeof *spare), *at = t->e + from, *to = spare;
    if (!spare)
        return -ENOMEM;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t i = 0; i < n; i += 2 * run)
            merge(at + i, MIN(run, n - i), MIN(run, n - MIN(n, i + run)), to + i);
        struct taped *swap = at;
        at = to;
        to = swap;
    }
    if (at == spare)
        memcpy(t->e + from, spare, n * sizeof *spare);
    free(spare);
    return late;
}

void tape_rename(struct tape *t, size_t i, uint32_t user, uint32_t session) {
    t->e[i].user = user;
    t->e[i].session = session;
}

void tape_shift(struct tape *t, size_t from, int64_t ms) {
    for (size_t i = from; i < t->n; i++)
        t->e[i].time_ms += ms;
}

void tape_event(const struct tape *t, size_t i, char id[TAPE_ID], struct event *ret) {
    const struct taped *e = &t->e[i];
    for (int d = 0; d < TAPE_ID; d++)
        id[d] = "0123456789abcdef"[e->id >> (60 - 4 * d) & 15];
    *ret = (struct event){
        .id = {id, TAPE_ID},
        .user = t->text[e->user],
        .item = t->text[e->item],
        .session = t->text[e->session],
        .query = t->text[e->query],
        .decision = t->text[e->decision],
        .time_ms = e->time_ms,
        .value = e->value,
        .dwell_ms = (double)e->dwell_ms,
        .type = e->type,
        .n_ctx = e->n_ctx,
    };
    for (size_t k = 0; k < e->n_ctx; k++)
        ret->ctx[k] = (struct event_ctx){t->text[t->pairs[e->ctx + k].key],
                                         t->text[t->pairs[e->ctx + k].value]};
}
