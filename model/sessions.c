#include "model/sessions.h"

#include "model/index.h"
#include "model/wire.h"

enum {
    CHUNK = 14,
    CHUNKS_PER_SESSION = 2,
    FORGOTTEN = 4096, /* sessions an item that goes is taken out of: the newest */
};

/* 64 bytes: a cache line. */
struct chunk {
    uint32_t item; /* whose postings these are; the chunk was taken for another if it differs */
    uint32_t prev; /* older chunk + 1, 0: none */
    uint32_t number[CHUNK];
};
_Static_assert(sizeof(struct chunk) == 64, "postings are read by cache lines");

struct slot {
    uint32_t number, n;
    uint32_t item[SESSION_ITEMS];
};

struct sessions {
    uint32_t max_items, capacity, chunks;
    uint32_t count;      /* newest number */
    uint32_t next_chunk; /* taken so far; a ring */
    struct slot *slot;
    struct chunk *chunk;
    uint32_t *head; /* per item: newest chunk + 1 */
    struct session_facts *facts;
    bool *dirty; /* per slot: changed since last handed out */
};

static uint32_t load(const uint32_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store(uint32_t *p, uint32_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static void add(uint32_t *p, uint32_t v) {
    __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

static uint32_t power_of_two(uint32_t n) {
    uint32_t p = 16;
    while (p < n && p < UINT32_C(1) << 30)
        p *= 2;
    return p;
}

int sessions_new(uint32_t max_items, uint32_t capacity, struct sessions **ret) {
    if (max_items == 0 || capacity == 0 || capacity > SESSIONS_MAX)
        return -EINVAL;
    autofree(sessions_free) struct sessions *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->max_items = max_items;
    s->capacity = power_of_two(capacity);
    s->chunks = s->capacity * CHUNKS_PER_SESSION;
    s->slot = rows_map(s->capacity, sizeof *s->slot);
    s->chunk = rows_map(s->chunks, sizeof *s->chunk);
    s->head = rows_map(max_items, sizeof *s->head);
    s->facts = rows_map(max_items, sizeof *s->facts);
    s->dirty = rows_map(s->capacity, sizeof *s->dirty);
    if (!s->slot || !s->chunk || !s->head || !s->facts || !s->dirty)
        return -ENOMEM;
    *ret = TAKE(s);
    return 0;
}

void sessions_free(struct sessions *s) {
    if (!s)
        return;
    rows_unmap(s->slot, s->capacity, sizeof *s->slot);
    rows_unmap(s->chunk, s->chunks, sizeof *s->chunk);
    rows_unmap(s->head, s->max_items, sizeof *s->head);
    rows_unmap(s->facts, s->max_items, sizeof *s->facts);
    rows_unmap(s->dirty, s->capacity, sizeof *s->dirty);
    free(s);
}

uint32_t sessions_count(const struct sessions *s) {
    return load(&s->count);
}

uint32_t sessions_capacity(const struct sessions *s) {
    return s->capacity;
}

uint32_t sessions_slot(const struct sessions *s, uint32_t number) {
    return number & (s->capacity - 1);
}

static void post(struct sessions *s, uint32_t item, uint32_t number) {
    uint32_t head = load(&s->head[item]);
    if (head) {
        struct chunk *c = &s->chunk[head - 1];
        for (size_t i = 0; load(&c->item) == item && i < CHUNK; i++)
            if (load(&c->number[i]) == 0) {
                store(&c->number[i], number);
                return;
            }
    }
    uint32_t at = __atomic_fetch_add(&s->next_chunk, 1, __ATOMIC_RELAXED) & (s->chunks - 1);
    struct chunk *c = &s->chunk[at];
    store(&c->item, item);
    store(&c->prev, head == at + 1 ? 0 : head);
    store(&c->number[0], number);
    for (size_t i = 1; i < CHUNK; i++)
        store(&c->number[i], 0);
    store(&s->head[item], at + 1);
}

uint32_t sessions_add(struct sessions *s, uint32_t number, uint32_t item) {
    if (item >= s->max_items)
        return number;
    struct slot *t = &s->slot[sessions_slot(s, number)];
    uint32_t n = number && load(&t->number) == number ? load(&t->n) : SESSION_ITEMS;
    bool there = false;
    if (n >= SESSION_ITEMS) {
        number = __atomic_add_fetch(&s->count, 1, __ATOMIC_RELAXED);
        if (number == 0) /* 2^32 sessions later */
            number = __atomic_add_fetch(&s->count, 1, __ATOMIC_RELAXED);
        t = &s->slot[sessions_slot(s, number)];
        n = 0;
        store(&t->n, 0);
        store(&t->number, number);
        add(&s->facts[item].begins, 1);
    } else {
        uint32_t last = load(&t->item[n - 1]);
        if (last < s->max_items)
            add(&s->facts[last].ends, -1u);
        if (last == item)
            add(&s->facts[item].again, 1);
        for (uint32_t i = 0; i < n && !there; i++)
            there = load(&t->item[i]) == item;
    }
    store(&t->item[n], item);
    store(&t->n, n + 1);
    __atomic_store_n(&s->dirty[sessions_slot(s, number)], true, __ATOMIC_RELAXED);
    add(&s->facts[item].ends, 1);
    if (!there) {
        add(&s->facts[item].sessions, 1);
        post(s, item, number);
    }
    return number;
}

bool sessions_get(const struct sessions *s, uint32_t number, struct session *ret) {
    const struct slot *t = &s->slot[sessions_slot(s, number)];
    if (load(&t->number) != number || number == 0)
        return false;
    *ret = (struct session){MIN(load(&t->n), (uint32_t)SESSION_ITEMS), t->item};
    return ret->n > 0;
}

void sessions_prefetch(const struct sessions *s, uint32_t slot) {
    __builtin_prefetch(&s->slot[slot]);
    __builtin_prefetch(&s->slot[slot].item[14]);
}

size_t sessions_with(const struct sessions *s, uint32_t item, uint32_t *ret, size_t max) {
    size_t n = 0;
    if (item >= s->max_items)
        return 0;
    uint32_t head = load(&s->head[item]), at = head;
    /* Chunks taken for others end the walk; so does one that this item took anew, which is newer
     * than what leads to it. */
    for (uint32_t age = 0; at && n < max;) {
        const struct chunk *c = &s->chunk[at - 1];
        uint32_t prev = load(&c->prev), older = (head - prev) & (s->chunks - 1);
        if (prev)
            __builtin_prefetch(&s->chunk[prev - 1]);
        if (load(&c->item) != item)
            break;
        for (size_t i = CHUNK; i-- > 0 && n < max;) {
            uint32_t number = load(&c->number[i]);
            if (number)
                ret[n++] = number;
        }
        at = older > age ? prev : 0;
        age = older;
    }
    return n;
}

struct session_facts sessions_facts(const struct sessions *s, uint32_t item) {
    const struct session_facts *f = &s->facts[item];
    return (struct session_facts){load(&f->sessions), load(&f->begins), load(&f->ends),
                                  load(&f->again)};
}

void sessions_facts_set(struct sessions *s, uint32_t item, const struct session_facts *facts) {
    if (item < s->max_items)
        s->facts[item] = *facts;
}

uint32_t sessions_dirty_next(struct sessions *s, uint32_t slot) {
    for (; slot < s->capacity; slot++)
        if (__atomic_load_n(&s->dirty[slot], __ATOMIC_RELAXED) &&
            __atomic_exchange_n(&s->dirty[slot], false, __ATOMIC_RELAXED))
            return slot;
    return ROW_NONE;
}

bool sessions_encode(const struct sessions *s, uint32_t slot,
                     struct str (*id_of)(const void *ctx, uint32_t row), const void *ctx,
                     struct buf *out) {
    struct session session;
    struct str id[SESSION_ITEMS];
    uint32_t n = 0, number = slot < s->capacity ? load(&s->slot[slot].number) : 0;
    if (!sessions_get(s, number, &session))
        return false;
    for (uint32_t i = 0; i < session.n; i++) {
        id[n] = id_of(ctx, load(&session.item[i]));
        n += id[n].n > 0;
    }
    wire_put_u32(out, number);
    wire_put_u8(out, (uint8_t)n);
    for (uint32_t i = 0; i < n; i++)
        wire_put_str(out, id[i]);
    return true;
}

/* Numbers go round after 2^32 sessions. */
static bool newer(uint32_t number, uint32_t than) {
    return than == 0 || (int32_t)(number - than) > 0;
}

int sessions_restore(struct sessions *s, uint32_t (*row_of_id)(void *ctx, struct str id), void *ctx,
                     const void *p, size_t n) {
    struct wire w = wire_of(p, n);
    struct slot read = {.number = wire_get_u32(&w)};
    struct str id[SESSION_ITEMS];
    uint8_t items = wire_get_u8(&w);
    if (w.bad || read.number == 0 || items > SESSION_ITEMS)
        return -EBADMSG;
    for (uint32_t i = 0; i < items; i++) {
        id[i] = wire_get_str(&w);
        w.bad |= id[i].n == 0;
    }
    if (w.bad || w.p != w.end)
        return -EBADMSG;
    uint32_t slot = sessions_slot(s, read.number);
    if (read.number != s->slot[slot].number && !newer(read.number, s->slot[slot].number))
        return 0;
    for (uint32_t i = 0; i < items; i++) {
        uint32_t row = row_of_id(ctx, id[i]);
        if (row < s->max_items)
            read.item[read.n++] = row;
    }
    if (newer(read.number, s->count))
        s->count = read.number;
    if (read.n == 0)
        return 0;
    s->slot[slot] = read;
    s->dirty[slot] = false;
    return 0;
}

void sessions_index(struct sessions *s) {
    memset(s->head, 0, s->max_items * sizeof *s->head);
    s->next_chunk = 0;
    for (uint32_t age = s->capacity; age-- > 0;) {
        uint32_t number = s->count - age;
        struct slot *t = &s->slot[sessions_slot(s, number)];
        if (t->number && t->number != number)
            *t = (struct slot){0};
        for (uint32_t i = 0; i < t->n; i++) {
            bool there = false;
            for (uint32_t j = 0; j < i && !there; j++)
                there = t->item[j] == t->item[i];
            if (!there)
                post(s, t->item[i], number);
        }
    }
}

void sessions_forget_row(struct sessions *s, uint32_t row) {
    if (row >= s->max_items)
        return;
    /* What takes the row next was in none of these. */
    uint32_t found[FORGOTTEN];
    size_t n = sessions_with(s, row, found, FORGOTTEN);
    for (size_t i = 0; i < n; i++) {
        struct slot *t = &s->slot[sessions_slot(s, found[i])];
        for (uint32_t k = 0; t->number == found[i] && k < t->n; k++)
            if (t->item[k] == row)
                t->item[k] = ROW_NONE;
    }
    s->head[row] = 0;
    s->facts[row] = (struct session_facts){0};
}

void sessions_regions(struct sessions *s, uint32_t rows, struct regions *to) {
    bool round = s->slot[s->capacity - 1].number != 0; /* slots are taken from 1 on, 0 last */
    uint32_t slots = round ? s->capacity : MIN(s->count + 1, s->capacity);
    bool chunks_round = s->chunk[s->chunks - 1].number[0] != 0;
    uint32_t chunks = chunks_round ? s->chunks : MIN(s->next_chunk, s->chunks);
    to->layout ^= s->capacity; /* which decides who shares a slot */
    regions_one(to, &s->count);
    regions_one(to, &s->next_chunk);
    regions_add(to, s->slot, sizeof *s->slot, slots, s->capacity);
    regions_add(to, s->chunk, sizeof *s->chunk, chunks, s->chunks);
    regions_add(to, s->head, sizeof *s->head, rows, s->max_items);
    regions_add(to, s->facts, sizeof *s->facts, rows, s->max_items);
}

bool sessions_sound(const struct sessions *s, uint32_t rows) {
    bool sound = true;
    for (uint32_t i = 0; i < s->capacity && sound; i++) {
        const struct slot *t = &s->slot[i];
        sound = t->n <= SESSION_ITEMS && (!t->number || sessions_slot(s, t->number) == i);
        for (uint32_t k = 0; sound && k < t->n; k++)
            sound = t->item[k] < rows || t->item[k] == ROW_NONE;
    }
    for (uint32_t i = 0; i < s->chunks && sound; i++)
        sound = s->chunk[i].prev <= s->chunks;
    for (uint32_t i = 0; i < rows && sound; i++)
        sound = s->head[i] <= s->chunks;
    return sound;
}

size_t sessions_bytes(const struct sessions *s) {
    return (size_t)MIN(s->count, s->capacity) * sizeof *s->slot +
           (size_t)MIN(s->next_chunk, s->chunks) * sizeof *s->chunk;
}
