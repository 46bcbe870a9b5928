#include "model/covisit.h"

#include "model/decay.h"
#include "model/index.h"
#include "model/wire.h"

/* A slot is neighbour << 32 | f32 weight, where the neighbour is 27 bits of row and 5 of
 * the row's generation: a row that was given to another item leaves its old slots void. */
typedef uint64_t packed;

enum { ROW_BITS = 27, ROW_MASK = (1 << ROW_BITS) - 1 };

struct covisit {
    uint32_t max_items;
    int64_t half_life_ms;
    packed *head;                  /* epoch << 32 | f32 decayed popularity */
    packed (*slot)[COVISIT_SLOTS]; /* weights as of the head's epoch */
    uint8_t *generation;
    bool recycled; /* some generation is above 0 */
};

/* Found by replaying MovieLens 100K, Globo.com and RetailRocket in time order; the optimum
 * is flat. A pair's weight counts in full for what followed and in part for what went before;
 * a candidate's share is its weight over the popularity of the item it follows, so that it
 * tells how likely it is rather than how often it is seen (dividing by the candidate's own
 * popularity, as a cosine does, lost hits on all three). */
static const struct {
    float backward; /* part of a pair's weight that counts from the later to the earlier item */
    float inherit;  /* part of the weakest slot's weight that its successor takes over */
    float pause_s;  /* a pair so far apart counts half */
    float recency;  /* when reading, each older recent item counts so much of the one after it */
    float shrink;   /* added to the popularity of the item followed: few events prove little */
    float scale;    /* boost = scale * sqrt(share) */
} K = {
    .backward = 0.4f, .inherit = 0.25f, .pause_s = 1800, .recency = 0.5f, .shrink = 1, .scale = 13};

static packed pack(uint32_t high, float weight) {
    uint32_t w;
    memcpy(&w, &weight, sizeof w);
    return (packed)high << 32 | w;
}

static uint32_t high_of(packed v) {
    return (uint32_t)(v >> 32);
}

static float weight_of(packed v) {
    uint32_t w = (uint32_t)v;
    float f;
    memcpy(&f, &w, sizeof f);
    return f;
}

static packed load(const packed *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store(packed *p, packed v) {
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

int covisit_new(const struct covisit_config *config, struct covisit **ret) {
    if (config->max_items == 0 || config->max_items > (uint32_t)ROW_MASK + 1)
        return -EINVAL;
    autofree(covisit_free) struct covisit *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->max_items = config->max_items;
    c->half_life_ms = config->half_life_ms;
    c->head = rows_map(c->max_items, sizeof *c->head);
    c->slot = rows_map(c->max_items, sizeof *c->slot);
    c->generation = rows_map(c->max_items, sizeof *c->generation);
    if (!c->head || !c->slot || !c->generation)
        return -ENOMEM;
    *ret = TAKE(c);
    return 0;
}

void covisit_free(struct covisit *c) {
    if (!c)
        return;
    rows_unmap(c->head, c->max_items, sizeof *c->head);
    rows_unmap(c->slot, c->max_items, sizeof *c->slot);
    rows_unmap(c->generation, c->max_items, sizeof *c->generation);
    free(c);
}

static uint32_t name_of(const struct covisit *c, uint32_t row) {
    return c->recycled ? row | (uint32_t)c->generation[row] << ROW_BITS : row;
}

/* Row a slot names, or ROW_NONE for an empty or void one. */
static uint32_t row_of(const struct covisit *c, packed v) {
    uint32_t name = high_of(v), row = name & ROW_MASK;
    return (uint32_t)v && row < c->max_items && name == name_of(c, row) ? row : ROW_NONE;
}

/* Brings an item's weights under the epoch of x and returns the epoch they are under
 * (a newer one if x is late). Two threads may find the old epoch at once: only the one that
 * changes the head carries the slots. */
static uint32_t touch(struct covisit *c, uint32_t row, double x, float popularity) {
    uint32_t epoch = decay_epoch(x);
    packed head = load(&c->head[row]), next;
    uint32_t kept = high_of(head);
    if (popularity <= 0 && kept >= epoch)
        return kept;
    do {
        kept = high_of(head);
        float sum = weight_of(head) * decay_carry(kept, epoch);
        uint32_t now = MAX(kept, epoch);
        next = pack(now, fminf(sum + popularity * decay_unit(x, now), 1e38f));
    } while (!__atomic_compare_exchange_n(&c->head[row], &head, next, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    if (epoch <= kept)
        return kept;
    float carry = decay_carry(kept, epoch);
    for (size_t i = 0; i < COVISIT_SLOTS; i++) {
        packed v = load(&c->slot[row][i]);
        store(&c->slot[row][i], pack(high_of(v), weight_of(v) * carry));
    }
    return epoch;
}

static void add(struct covisit *c, uint32_t row, uint32_t neighbour, float weight, double x) {
    uint32_t epoch = touch(c, row, x, 0), name = name_of(c, neighbour);
    packed *slot = c->slot[row];
    float add_weight = weight * decay_unit(x, epoch);
    /* The weakest slot without branches, which nothing could predict: weights are not
     * negative, so their bits order as they do. */
    uint64_t weakest = UINT64_MAX;
    for (size_t i = 0; i < COVISIT_SLOTS; i++) {
        packed v = load(&slot[i]);
        uint32_t bits = (uint32_t)v;
        if (high_of(v) == name && bits) {
            store(&slot[i], pack(name, fminf(weight_of(v) + add_weight, 1e38f)));
            return;
        }
        if (c->recycled && row_of(c, v) == ROW_NONE)
            bits = 0;
        weakest = MIN(weakest, (uint64_t)bits << 8 | i);
    }
    size_t at = weakest & 0xff;
    float least = weight_of(weakest >> 8);
    store(&slot[at], pack(name, fminf(least * K.inherit + add_weight, 1e38f)));
}

void covisit_observe(struct covisit *c, uint32_t item, const struct recent_item *recent, size_t n,
                     float weight, int64_t time_ms) {
    if (item >= c->max_items || !(weight > 0))
        return;
    double x = decay_time(time_ms, c->half_life_ms);
    touch(c, item, x, weight);
    float distance = 0;
    for (size_t i = 0; i < n && distance < COVISIT_RECENT; i++) {
        const struct recent_item *r = &recent[i];
        if (r->item == item || r->item >= c->max_items)
            continue;
        distance++;
        float pause_s = (float)fabs((double)time_ms / 1000 - r->time_s);
        float w = weight / distance / (1 + pause_s / K.pause_s);
        add(c, r->item, item, w, x);
        add(c, item, r->item, w * K.backward, x);
    }
}

size_t covisit_candidates(const struct covisit *c, const struct recent_item *recent, size_t n,
                          int64_t now_ms, struct covisit_pair *ret, size_t max) {
    enum { BUCKETS = 2 * COVISIT_CANDIDATES };
    uint16_t bucket[BUCKETS] = {0}; /* place in ret + 1 */
    double x = decay_time(now_ms, c->half_life_ms);
    size_t out = 0;
    float place = 1;
    for (size_t i = 0; i < MIN(n, (size_t)COVISIT_RECENT); i++, place *= K.recency) {
        uint32_t from = recent[i].item;
        if (from >= c->max_items)
            continue;
        packed head = load(&c->head[from]);
        float worth = decay_worth(1, high_of(head), x);
        float norm = place * worth / (weight_of(head) * worth + K.shrink);
        for (size_t s = 0; s < COVISIT_SLOTS; s++) {
            packed v = load(&c->slot[from][s]);
            uint32_t row = row_of(c, v);
            if (row == ROW_NONE)
                continue;
            float share = weight_of(v) * norm;
            uint32_t b = row * 0x9e3779b1u >> 23;
            _Static_assert(BUCKETS == 512, "9 bits of hash");
            while (bucket[b] && ret[bucket[b] - 1].item != row)
                b = (b + 1) % BUCKETS;
            if (bucket[b]) {
                ret[bucket[b] - 1].boost += share;
            } else if (out < max) {
                ret[out++] = (struct covisit_pair){row, share};
                bucket[b] = (uint16_t)out;
            }
        }
    }
    for (size_t i = 0; i < out; i++)
        ret[i].boost = K.scale * sqrtf(ret[i].boost);
    return out;
}

static float popularity_at(const struct covisit *c, uint32_t row, double x) {
    packed head = load(&c->head[row]);
    return decay_worth(weight_of(head), high_of(head), x);
}

size_t covisit_neighbours(const struct covisit *c, uint32_t item, int64_t now_ms,
                          struct covisit_pair *ret, size_t max) {
    struct covisit_pair found[COVISIT_SLOTS];
    size_t n = 0;
    if (item >= c->max_items)
        return 0;
    double x = decay_time(now_ms, c->half_life_ms);
    packed head = load(&c->head[item]);
    float worth = decay_worth(1, high_of(head), x), own = weight_of(head) * worth;
    for (size_t s = 0; s < COVISIT_SLOTS; s++) {
        packed v = load(&c->slot[item][s]);
        uint32_t row = row_of(c, v);
        if (row == ROW_NONE)
            continue;
        float both = (own + K.shrink) * (popularity_at(c, row, x) + K.shrink);
        struct covisit_pair e = {row, fminf(weight_of(v) * worth / sqrtf(both), 1)};
        size_t at = n++;
        for (; at > 0 && (found[at - 1].boost < e.boost ||
                          (found[at - 1].boost == e.boost && found[at - 1].item > e.item));
             at--)
            found[at] = found[at - 1];
        found[at] = e;
    }
    n = MIN(n, max);
    memcpy(ret, found, n * sizeof *found);
    return n;
}

void covisit_forget_row(struct covisit *c, uint32_t row) {
    if (row >= c->max_items)
        return;
    c->head[row] = 0;
    memset(c->slot[row], 0, sizeof c->slot[row]);
    c->recycled = true;
    c->generation[row] = (uint8_t)((c->generation[row] + 1) % (1 << (32 - ROW_BITS)));
}

void covisit_encode(const struct covisit *c, uint32_t row,
                    struct str (*id_of)(const void *ctx, uint32_t row), const void *ctx,
                    struct buf *out) {
    packed head = row < c->max_items ? load(&c->head[row]) : 0, slot[COVISIT_SLOTS];
    uint8_t n = 0;
    for (size_t s = 0; row < c->max_items && s < COVISIT_SLOTS; s++) {
        packed v = load(&c->slot[row][s]);
        if (row_of(c, v) != ROW_NONE)
            slot[n++] = v;
    }
    wire_put_u32(out, high_of(head));
    wire_put_f32(out, weight_of(head));
    wire_put_u8(out, n);
    for (size_t s = 0; s < n; s++) {
        wire_put_str(out, id_of(ctx, row_of(c, slot[s])));
        wire_put_f32(out, weight_of(slot[s]));
    }
}

/* A weight as it may stand in the table: finite and not negative. */
static bool sound(float w) {
    return w >= 0 && w <= 1e38f;
}

int covisit_restore(struct covisit *c, uint32_t row,
                    uint32_t (*row_of_id)(void *ctx, struct str id), void *ctx, const void *p,
                    size_t n, size_t *ret_n) {
    struct wire w = wire_of(p, n);
    struct str id[COVISIT_SLOTS];
    float weight[COVISIT_SLOTS];
    uint32_t epoch = wire_get_u32(&w);
    float popularity = wire_get_f32(&w);
    uint8_t slots = wire_get_u8(&w);
    if (w.bad || row >= c->max_items || slots > COVISIT_SLOTS || !sound(popularity))
        return -EBADMSG;
    for (size_t s = 0; s < slots; s++) {
        id[s] = wire_get_str(&w);
        weight[s] = wire_get_f32(&w);
        if (w.bad || !sound(weight[s]))
            return -EBADMSG;
    }
    c->head[row] = pack(epoch, popularity);
    memset(c->slot[row], 0, sizeof c->slot[row]);
    for (size_t s = 0; s < slots; s++) {
        uint32_t neighbour = row_of_id(ctx, id[s]);
        if (neighbour < c->max_items && weight[s] > 0)
            c->slot[row][s] = pack(name_of(c, neighbour), weight[s]);
    }
    *ret_n = (size_t)(w.p - (const uint8_t *)p);
    return 0;
}

void covisit_regions(struct covisit *c, uint32_t rows, struct regions *s) {
    regions_one(s, &c->recycled);
    regions_add(s, c->head, sizeof *c->head, rows, c->max_items);
    regions_add(s, c->slot, sizeof *c->slot, rows, c->max_items);
    regions_add(s, c->generation, sizeof *c->generation, rows, c->max_items);
}

size_t covisit_bytes_per_item(void) {
    return sizeof(packed) + sizeof(packed[COVISIT_SLOTS]) + sizeof(uint8_t);
}
