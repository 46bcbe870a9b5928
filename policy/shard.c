/* What one partition spent and since when it knows its campaigns. */
#include <math.h>

#include "model/block.h"
#include "policy/evidence_internal.h"

/* Days of spending kept per campaign; older days are closed: nothing more goes out. */
enum { DAYS_KEPT = 8 };

/* Version 1 had no coupon codes, version 2 no evidence; they are still read. */
enum { SHARD_VERSION = 3, SHARD_VERSION_CODES = 2, SHARD_VERSION_FIRST = 1 };

struct spend {
    struct cell *cell; /* NULL: free slot */
    int32_t day;
    uint32_t used;
};

struct policy_shard {
    const struct policy_set *set;
    struct spend (*spend)[DAYS_KEPT]; /* per campaign */
    int64_t *since_ms;                /* per campaign, TIME_UNSET: not begun */
    uint32_t partition, total;
    uint32_t codes[POOLS_MAX]; /* given so far; UINT32_MAX: none may be given any more */
    bool begun, dirty;
    struct policy_counts counts;
    struct evidence *evidence;
};

int policy_shard_new(const struct policy_set *set, struct policy_shard **ret) {
    autofree(policy_shard_free) struct policy_shard *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->set = set;
    s->total = 1;
    s->spend = calloc(set->n + 1, sizeof *s->spend);
    s->since_ms = calloc(set->n + 1, sizeof *s->since_ms);
    if (!s->spend || !s->since_ms)
        return -ENOMEM;
    for (size_t i = 0; i < set->n; i++)
        s->since_ms[i] = TIME_UNSET;
    int r = evidence_new(set, &s->evidence);
    if (r == 0)
        *ret = TAKE(s);
    return r;
}

/* Takes this shard's part off the totals. */
static void release(const struct policy_set *set, struct spend (*spend)[DAYS_KEPT]) {
    for (size_t i = 0; spend && i < set->n; i++)
        for (size_t d = 0; d < DAYS_KEPT; d++)
            if (spend[i][d].cell)
                ledger_take(spend[i][d].cell, spend[i][d].used);
    free(spend);
}

void policy_shard_free(struct policy_shard *s) {
    if (!s)
        return;
    release(s->set, s->spend);
    evidence_free(s->evidence);
    free(s->since_ms);
    free(s);
}

struct evidence *shard_evidence_look(struct policy_shard *s) {
    return s->evidence;
}

struct evidence *shard_evidence(struct policy_shard *s) {
    s->dirty = true;
    return s->evidence;
}

const char *policy_shard_conflict(const struct policy_shard *s) {
    return evidence_conflict(s->evidence);
}

void policy_shard_place(struct policy_shard *s, uint32_t partition, uint32_t total) {
    s->partition = partition;
    s->total = total;
}

bool shard_code_left(const struct policy_shard *s, size_t pool) {
    return s->partition + (uint64_t)s->codes[pool] * s->total < s->set->pool[pool].n;
}

struct str shard_code_take(struct policy_shard *s, size_t pool) {
    s->dirty = true;
    return pool_code(&s->set->pool[pool], s->partition + s->codes[pool]++ * s->total);
}

void shard_begin(struct policy_shard *s, int64_t now_ms) {
    if (s->begun)
        return;
    s->begun = true;
    for (size_t i = 0; i < s->set->n; i++)
        if (s->since_ms[i] == TIME_UNSET) {
            s->since_ms[i] = now_ms;
            s->dirty = true;
        }
}

int64_t shard_since_ms(const struct policy_shard *s, size_t campaign) {
    return s->since_ms[campaign];
}

/* A changed trigger is a new beginning, too. */
static uint64_t since_key(const struct campaign *k) {
    return k->hash ^ (uint64_t)k->spec.trigger.days_ms * 0x9e3779b97f4a7c15u;
}

/* The slot of a day, made in place of the oldest one. NULL: the day is closed
 * (*ret_closed) or memory is out. */
static struct spend *spend_slot(struct policy_shard *s, size_t campaign, int32_t day,
                                bool *ret_closed) {
    struct spend *slots = s->spend[campaign], *oldest = slots;
    *ret_closed = false;
    for (size_t d = 0; d < DAYS_KEPT; d++) {
        if (slots[d].cell && slots[d].day == day)
            return &slots[d];
        if (!slots[d].cell || (oldest->cell && slots[d].day < oldest->day))
            oldest = &slots[d];
    }
    if (oldest->cell && oldest->day > day) {
        *ret_closed = true;
        return NULL;
    }
    struct cell *cell = ledger_cell(s->set->ledger, (uint16_t)campaign, day);
    if (!cell)
        return NULL;
    *oldest = (struct spend){cell, day, 0};
    return oldest;
}

/* A day's first half hour's worth may go at once, so that small budgets begin in time. */
uint32_t budget_by(const struct policy_set *set, size_t campaign, int64_t now_ms) {
    const struct campaign *k = &set->c[campaign];
    if (!k->spec.even)
        return k->spec.budget;
    int32_t day = tz_day(set->tz, now_ms);
    int64_t from = tz_day_start_ms(set->tz, day), to = tz_day_start_ms(set->tz, day + 1);
    double gone = (double)(now_ms - from + 1800000) / (double)(to - from);
    return (uint32_t)ceil(fmin(gone, 1) * k->spec.budget);
}

/* This partition's part of it, and the slack: all partitions together never send more than the
 * budget and its slack, wherever they are. Parts differ by one at most and add up. */
static uint32_t part_of(const struct policy_shard *s, uint32_t budget) {
    uint64_t most = (uint64_t)budget + (uint64_t)budget * s->set->budget_slack / 100;
    return (uint32_t)MIN(most * (s->partition + 1) / s->total - most * s->partition / s->total,
                         UINT32_MAX);
}

bool shard_budget_left(struct policy_shard *s, size_t campaign, int64_t now_ms) {
    const struct campaign *k = &s->set->c[campaign];
    bool closed;
    const struct spend *d = spend_slot(s, campaign, tz_day(s->set->tz, now_ms), &closed);
    return d ? d->used < part_of(s, k->spec.budget) &&
                   ledger_left(s->set->ledger, d->cell, budget_by(s->set, campaign, now_ms))
             : !closed;
}

enum policy_reason shard_budget_reserve(struct policy_shard *s, size_t campaign, int64_t now_ms) {
    const struct campaign *k = &s->set->c[campaign];
    bool closed;
    if (!k->has_budget)
        return PR_SENT;
    struct spend *d = spend_slot(s, campaign, tz_day(s->set->tz, now_ms), &closed);
    if (!d)
        return closed ? PR_BUDGET : PR_COUNT;
    if (d->used >= part_of(s, k->spec.budget) ||
        !ledger_reserve(s->set->ledger, d->cell, budget_by(s->set, campaign, now_ms)))
        return PR_BUDGET;
    d->used++;
    s->dirty = true;
    return PR_SENT;
}

void shard_count(struct policy_shard *s, size_t campaign, enum policy_reason r) {
    s->counts.by_reason[campaign][r]++;
}

const struct policy_counts *policy_shard_counts(const struct policy_shard *s) {
    return &s->counts;
}

bool policy_shard_dirty(const struct policy_shard *s) {
    return s->dirty;
}

int policy_shard_encode(struct policy_shard *s, struct buf *out) {
    size_t at = block_begin(out, SHARD_VERSION), n_spend = 0;
    for (size_t i = 0; i < s->set->n; i++)
        for (size_t d = 0; d < DAYS_KEPT; d++)
            n_spend += s->spend[i][d].used > 0;
    wire_put_varint(out, s->set->n);
    for (size_t i = 0; i < s->set->n; i++) {
        wire_put_u64(out, since_key(&s->set->c[i]));
        wire_put_u64(out, (uint64_t)s->since_ms[i]);
    }
    wire_put_varint(out, n_spend);
    for (size_t i = 0; i < s->set->n; i++)
        for (size_t d = 0; d < DAYS_KEPT; d++)
            if (s->spend[i][d].used) {
                wire_put_u64(out, s->set->c[i].hash);
                wire_put_signed(out, s->spend[i][d].day);
                wire_put_varint(out, s->spend[i][d].used);
            }
    wire_put_varint(out, s->total);
    wire_put_varint(out, s->set->n_pools);
    for (size_t i = 0; i < s->set->n_pools; i++) {
        wire_put_u64(out, s->set->pool[i].hash);
        wire_put_u32(out, s->codes[i]);
    }
    struct buf notes = {0};
    int r = evidence_encode(s->evidence, &notes);
    wire_put_str(out, (struct str){(const char *)notes.p, notes.n});
    buf_free(&notes);
    if (r == 0)
        r = block_end(out, at);
    if (r == 0)
        s->dirty = false;
    return r;
}

static int find_hash(const struct policy_set *set, uint64_t hash,
                     uint64_t (*of)(const struct campaign *)) {
    for (size_t i = 0; i < set->n; i++)
        if (of(&set->c[i]) == hash)
            return (int)i;
    return -1;
}

static uint64_t id_hash(const struct campaign *k) {
    return k->hash;
}

/* Reads it through once, so that a damaged record changes nothing. *ret_notes: the evidence. */
static bool well_formed(struct wire w, uint8_t version, struct str *ret_notes) {
    for (uint64_t n = wire_get_varint(&w); n && !w.bad; n--) {
        wire_get_u64(&w);
        wire_get_u64(&w);
    }
    for (uint64_t n = wire_get_varint(&w); n && !w.bad; n--) {
        wire_get_u64(&w);
        int64_t day = wire_get_signed(&w);
        w.bad |= wire_get_varint(&w) > UINT32_MAX || day != (int32_t)day;
    }
    if (version >= SHARD_VERSION_CODES) {
        wire_get_varint(&w);
        for (uint64_t n = wire_get_varint(&w); n && !w.bad; n--) {
            wire_get_u64(&w);
            wire_get_u32(&w);
        }
    }
    if (version >= SHARD_VERSION) {
        ret_notes->n = wire_get_varint(&w);
        ret_notes->p = (const char *)w.p;
        w.bad |= ret_notes->n > (size_t)(w.end - w.p);
        w.p += w.bad ? 0 : ret_notes->n;
    }
    return !w.bad && w.p == w.end;
}

/* Which codes went to whom follows from the number of partitions: with another one nobody knows,
 * and none is given twice by giving none. */
static void restore_codes(struct policy_shard *s, struct wire *w) {
    bool same = wire_get_varint(w) == s->total;
    memset(s->codes, 0, sizeof s->codes);
    for (uint64_t n = wire_get_varint(w); n; n--) {
        uint64_t hash = wire_get_u64(w);
        uint32_t given = wire_get_u32(w);
        for (size_t i = 0; i < s->set->n_pools; i++)
            if (s->set->pool[i].hash == hash)
                s->codes[i] = same || !given ? given : UINT32_MAX;
    }
}

int policy_shard_restore(struct policy_shard *s, const void *p, size_t n) {
    struct wire w;
    size_t used;
    uint8_t version = n ? *(const uint8_t *)p : 0;
    if (version < SHARD_VERSION_FIRST || version > SHARD_VERSION ||
        block_open(p, n, version, &w, &used) < 0 || used != n)
        return -EBADMSG;
    struct str notes = {0};
    if (!well_formed(w, version, &notes))
        return -EBADMSG;
    struct spend(*fresh)[DAYS_KEPT] = calloc(s->set->n + 1, sizeof *fresh),
           (*old)[DAYS_KEPT] = s->spend;
    if (!fresh)
        return -ENOMEM;
    int r = evidence_restore(s->evidence, notes.p, notes.n);
    if (r < 0) {
        free(fresh);
        return r;
    }
    s->spend = fresh;
    s->begun = s->dirty = false;
    for (size_t i = 0; i < s->set->n; i++)
        s->since_ms[i] = TIME_UNSET;
    for (uint64_t n_since = wire_get_varint(&w); n_since; n_since--) {
        int i = find_hash(s->set, wire_get_u64(&w), since_key);
        int64_t since = (int64_t)wire_get_u64(&w);
        if (i >= 0)
            s->since_ms[i] = since;
    }
    for (uint64_t n_spend = wire_get_varint(&w); n_spend; n_spend--) {
        int i = find_hash(s->set, wire_get_u64(&w), id_hash);
        int32_t day = (int32_t)wire_get_signed(&w);
        uint32_t spent = (uint32_t)wire_get_varint(&w);
        bool closed;
        struct spend *d = i >= 0 ? spend_slot(s, (size_t)i, day, &closed) : NULL;
        if (i >= 0 && !d && !closed)
            r = -ENOMEM;
        if (d) {
            d->used += spent;
            ledger_add(d->cell, spent);
        }
    }
    if (version >= SHARD_VERSION_CODES)
        restore_codes(s, &w);
    release(s->set, old); /* last, so that nobody sees the totals dip and spends the difference */
    return r;
}
