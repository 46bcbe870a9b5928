#include "model/trend.h"

#include "model/decay.h"
#include "model/index.h"

/* epoch << 32 | f32 weight, so that both change at once */
typedef uint64_t packed;

struct trend {
    uint32_t max_items, hand;
    int64_t half_life_ms, newest_ms;
    packed *weight;
    uint32_t *count;
    float *score;
};

static packed pack(uint32_t epoch, float weight) {
    uint32_t w;
    memcpy(&w, &weight, sizeof w);
    return (packed)epoch << 32 | w;
}

static uint32_t epoch_of(packed v) {
    return (uint32_t)(v >> 32);
}

static float weight_of(packed v) {
    uint32_t w = (uint32_t)v;
    float f;
    memcpy(&f, &w, sizeof f);
    return f;
}

int trend_new(uint32_t max_items, int64_t half_life_ms, struct trend **ret) {
    if (max_items == 0)
        return -EINVAL;
    autofree(trend_free) struct trend *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->max_items = max_items;
    t->half_life_ms = half_life_ms;
    t->weight = rows_map(max_items, sizeof *t->weight);
    t->count = rows_map(max_items, sizeof *t->count);
    t->score = rows_map(max_items, sizeof *t->score);
    if (!t->weight || !t->count || !t->score)
        return -ENOMEM;
    *ret = TAKE(t);
    return 0;
}

void trend_free(struct trend *t) {
    if (!t)
        return;
    rows_unmap(t->weight, t->max_items, sizeof *t->weight);
    rows_unmap(t->count, t->max_items, sizeof *t->count);
    rows_unmap(t->score, t->max_items, sizeof *t->score);
    free(t);
}

static void set_score(struct trend *t, uint32_t row, float weight, uint32_t epoch, double x) {
    float score = log1pf(decay_worth(weight, epoch, x));
    __atomic_store(&t->score[row], &score, __ATOMIC_RELAXED);
}

void trend_observe(struct trend *t, uint32_t row, float weight, int64_t time_ms) {
    if (row >= t->max_items || !(weight > 0))
        return;
    double x = decay_time(time_ms, t->half_life_ms);
    uint32_t epoch = decay_epoch(x);
    packed v = __atomic_load_n(&t->weight[row], __ATOMIC_RELAXED);
    uint32_t kept = epoch_of(v);
    float sum = weight_of(v) * decay_carry(kept, epoch);
    if (epoch > kept)
        kept = epoch;
    sum = fminf(sum + weight * decay_unit(x, kept), 1e38f);
    __atomic_store_n(&t->weight[row], pack(kept, sum), __ATOMIC_RELAXED);
    uint32_t count = __atomic_load_n(&t->count[row], __ATOMIC_RELAXED);
    if (count < UINT32_MAX)
        __atomic_store_n(&t->count[row], count + 1, __ATOMIC_RELAXED);
    int64_t newest = trend_now(t);
    if (time_ms > newest)
        __atomic_store_n(&t->newest_ms, newest = time_ms, __ATOMIC_RELAXED);
    set_score(t, row, sum, kept, decay_time(newest, t->half_life_ms));
}

int64_t trend_now(const struct trend *t) {
    return __atomic_load_n(&t->newest_ms, __ATOMIC_RELAXED);
}

static float value_at(const struct trend *t, uint32_t row, double x) {
    packed v = __atomic_load_n(&t->weight[row], __ATOMIC_RELAXED);
    return v ? decay_worth(weight_of(v), epoch_of(v), x) : 0;
}

float trend_value(const struct trend *t, uint32_t row, int64_t now_ms) {
    return row < t->max_items ? value_at(t, row, decay_time(now_ms, t->half_life_ms)) : 0;
}

uint32_t trend_count(const struct trend *t, uint32_t row) {
    return row < t->max_items ? __atomic_load_n(&t->count[row], __ATOMIC_RELAXED) : 0;
}

const float *trend_scores(const struct trend *t) {
    return t->score;
}

void trend_refresh(struct trend *t, uint32_t n_rows, int64_t now_ms, uint32_t slice) {
    double x = decay_time(now_ms, t->half_life_ms);
    n_rows = MIN(n_rows, t->max_items);
    for (uint32_t i = MIN(slice, n_rows); i > 0; i--) {
        t->hand = t->hand + 1 < n_rows ? t->hand + 1 : 0;
        packed v = __atomic_load_n(&t->weight[t->hand], __ATOMIC_RELAXED);
        set_score(t, t->hand, weight_of(v), epoch_of(v), x);
    }
}

static bool better(struct trend_entry a, struct trend_entry b) {
    return a.value > b.value || (a.value == b.value && a.row < b.row);
}

/* Puts e where the worst of the heap was (index 0) and restores its order. */
static void sift_down(struct trend_entry *heap, size_t n, struct trend_entry e) {
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && better(heap[child], heap[child + 1]))
            child++;
        if (!better(e, heap[child]))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = e;
}

static void sift_up(struct trend_entry *heap, size_t i, struct trend_entry e) {
    for (; i > 0 && better(heap[(i - 1) / 2], e); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = e;
}

size_t trend_top(const struct trend *t, enum trend_kind kind, uint32_t n_rows, int64_t now_ms,
                 bool (*keep)(void *ctx, uint32_t row), void *ctx, struct trend_entry *ret,
                 size_t n) {
    double x = decay_time(now_ms, t->half_life_ms);
    size_t out = 0;
    for (uint32_t row = 0; row < MIN(n_rows, t->max_items) && n > 0; row++) {
        float value = kind == TREND_EVER ? (float)trend_count(t, row) : value_at(t, row, x);
        struct trend_entry e = {row, value};
        if (!(value > 0) || (out == n && !better(e, ret[0])) || (keep && !keep(ctx, row)))
            continue;
        if (out < n)
            sift_up(ret, out++, e);
        else
            sift_down(ret, out, e);
    }
    for (size_t left = out; left > 1; left--) { /* the worst goes to the end */
        struct trend_entry worst = ret[0];
        sift_down(ret, left - 1, ret[left - 1]);
        ret[left - 1] = worst;
    }
    return out;
}

void trend_forget_row(struct trend *t, uint32_t row) {
    trend_set(t, row, (struct trend_state){0});
}

struct trend_state trend_get(const struct trend *t, uint32_t row) {
    if (row >= t->max_items)
        return (struct trend_state){0};
    packed v = __atomic_load_n(&t->weight[row], __ATOMIC_RELAXED);
    return (struct trend_state){
        .epoch = epoch_of(v), .weight = weight_of(v), .count = trend_count(t, row)};
}

void trend_set(struct trend *t, uint32_t row, struct trend_state s) {
    if (row >= t->max_items)
        return;
    float weight = s.weight > 0 ? fminf(s.weight, 1e38f) : 0;
    t->weight[row] = weight > 0 ? pack(s.epoch, weight) : 0;
    t->count[row] = s.count;
    set_score(t, row, weight, s.epoch, decay_time(trend_now(t), t->half_life_ms));
}

void trend_regions(struct trend *t, uint32_t rows, struct regions *s) {
    regions_one(s, &t->hand);
    regions_one(s, &t->newest_ms);
    regions_add(s, t->weight, sizeof *t->weight, rows, t->max_items);
    regions_add(s, t->count, sizeof *t->count, rows, t->max_items);
    regions_add(s, t->score, sizeof *t->score, rows, t->max_items);
}

size_t trend_bytes_per_item(void) {
    return sizeof(packed) + sizeof(uint32_t) + sizeof(float);
}
