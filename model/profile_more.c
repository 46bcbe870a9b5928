#include "model/profile_more.h"
#include "model/context.h"

#include <math.h>

const uint8_t pm_width[PM_SECTIONS] = {1, 2, 3, 2, 2, 1, 2};
const uint8_t pm_max[PM_SECTIONS] = {EV_MAX,
                                     PROFILE_AFFINITY_MAX,
                                     PROFILE_CART_MAX,
                                     PROFILE_BOUGHT_MAX,
                                     PROFILE_RECENT_MAX,
                                     PROFILE_DEDUP_MAX,
                                     PROFILE_TRAIL_MAX};
const uint8_t pm_extra_width[PX_COUNT] = {2, 1, 1, 2, 2, CONTEXT_SLOTS};

static uint32_t extras_before(uint8_t extras, uint32_t x) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < x; i++)
        n += extras >> i & 1 ? pm_extra_width[i] : 0;
    return n;
}

static uint32_t words_before(const struct profile_more *m, uint32_t s) {
    uint32_t n = extras_before(m->extras, PX_COUNT);
    for (uint32_t i = 0; i < s; i++)
        n += pm_width[i] * m->n[i];
    return n;
}

uint32_t *pm_at(const struct profile *p, enum pm_section s) {
    return p->more ? p->more->w + words_before(p->more, s) : NULL;
}

uint16_t *pm_prices(const struct profile *p) {
    return (uint16_t *)pm_at(p, PM_SECTIONS);
}

size_t pm_size(const struct profile *p) {
    return p->more ? sizeof *p->more + 4 * words_before(p->more, PM_SECTIONS) +
                         2 * p->more->n[PM_RECENT]
                   : 0;
}

/* Makes the block larger by `bytes`, to be used by what follows; makes it if need be. */
static bool reserve(struct profile *p, size_t bytes) {
    bool fresh = !p->more;
    size_t size = fresh ? sizeof *p->more : pm_size(p);
    struct profile_more *m = realloc(p->more, size + bytes);
    if (!m)
        return false;
    if (fresh)
        memset(m, 0, sizeof *m);
    p->more = m;
    return true;
}

/* Moves the block's bytes from `at` on up by `bytes` and zeroes the gap. */
static void open_gap(struct profile *p, size_t at, size_t bytes, size_t size) {
    uint8_t *b = (uint8_t *)p->more;
    memmove(b + at + bytes, b + at, size - at);
    memset(b + at, 0, bytes);
}

static size_t offset_of(const struct profile *p, const void *at) {
    return (size_t)((const uint8_t *)at - (const uint8_t *)p->more);
}

bool pm_insert(struct profile *p, enum pm_section s, uint32_t i) {
    size_t words = 4 * pm_width[s], price = s == PM_RECENT ? 2 : 0;
    if (!reserve(p, words + price))
        return false;
    size_t size = pm_size(p);
    if (price) {
        open_gap(p, offset_of(p, pm_prices(p) + i), price, size);
        size += price;
    }
    open_gap(p, offset_of(p, pm_at(p, s)) + i * words, words, size);
    p->more->n[s]++;
    return true;
}

void pm_erase(struct profile *p, enum pm_section s, uint32_t i) {
    uint8_t *b = (uint8_t *)p->more;
    size_t words = 4 * pm_width[s], size = pm_size(p);
    size_t at = offset_of(p, pm_at(p, s)) + i * words;
    if (s == PM_RECENT) {
        size_t price = offset_of(p, pm_prices(p) + i);
        memmove(b + price, b + price + 2, size - price - 2);
        size -= 2;
    }
    memmove(b + at, b + at + words, size - at - words);
    p->more->n[s]--;
    struct profile_more *m = realloc(p->more, size - words);
    if (m)
        p->more = m;
}

void pm_move(struct profile *p, enum pm_section s, uint32_t from, uint32_t to) {
    uint32_t keep[4], width = pm_width[s], *w = pm_at(p, s);
    uint32_t low = MIN(from, to), n = MAX(from, to) - low;
    memcpy(keep, w + from * width, 4 * width);
    memmove(w + (from < to ? from : low + 1) * width, w + (from < to ? from + 1 : low) * width,
            4 * n * width);
    memcpy(w + to * width, keep, 4 * width);
    if (s == PM_RECENT) {
        uint16_t *v = pm_prices(p), kept = v[from];
        memmove(v + (from < to ? from : low + 1), v + (from < to ? from + 1 : low), 2 * n);
        v[to] = kept;
    }
}

uint32_t *pm_extra(const struct profile *p, enum pm_extra x) {
    if (!p->more || !(p->more->extras >> x & 1))
        return NULL;
    return p->more->w + extras_before(p->more->extras, x);
}

uint32_t *pm_extra_make(struct profile *p, enum pm_extra x) {
    uint32_t *w = pm_extra(p, x);
    if (w || !reserve(p, 4 * pm_extra_width[x]))
        return w;
    size_t at = sizeof *p->more + 4 * extras_before(p->more->extras, x);
    open_gap(p, at, 4 * pm_extra_width[x], pm_size(p));
    p->more->extras = (uint8_t)(p->more->extras | 1 << x);
    return pm_extra(p, x);
}

/* Exponents 2^-20 to 2^41, which no price leaves; 0 is 0, 0xffff is NAN. */
enum { PRICE_BIAS = 127 - 21, PRICE_TOP = 62 };

uint16_t price_pack(float price) {
    if (!(price >= 0))
        return 0xffff;
    uint32_t bits = pm_word(price) + 0x1000; /* half of the last place kept */
    int exponent = (int)(bits >> 23) - PRICE_BIAS;
    if (exponent < 1)
        return 0;
    if (exponent > PRICE_TOP)
        return PRICE_TOP << 10 | 0x3ff;
    return (uint16_t)(exponent << 10 | (bits >> 13 & 0x3ff));
}

float price_unpack(uint16_t v) {
    if (v == 0xffff)
        return NAN;
    if (v == 0)
        return 0;
    return pm_f32((uint32_t)((v >> 10) + PRICE_BIAS) << 23 | (uint32_t)(v & 0x3ff) << 13);
}
