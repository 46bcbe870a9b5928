/* A user's learned state as a durable record:
 *
 *   u8 version | u32 length of all of it | payload | u32 checksum of all before
 *
 * The payload is the embedding, the fixed part of the profile, the ids of the items it
 * remembers (each once) and the sections of the variable part in their order, items by
 * their place among the ids. Values that decide anything later are kept bit for bit. */
#include "model/context.h"
#include "model/internal.h"
#include "model/profile_more.h"
#include "model/sessions.h"
#include "model/wire.h"

#include <math.h>

enum { VERSION = 2, HEAD = 5, TAIL = 4, ITEMS_MAX = PROFILE_SEEN_MAX };
/* Entries of the longest history. */
enum {
    SECTION_MAX =
        MAX(MAX(PROFILE_BOUGHT_MAX, PROFILE_CART_MAX), MAX(PROFILE_RECENT_MAX, PROFILE_TRAIL_MAX))
};
_Static_assert(ITEMS_MAX <= UINT8_MAX, "places are bytes");

static uint32_t checksum(const uint8_t *p, size_t n) {
    return (uint32_t)hash_bytes(p, n, 0);
}

/* ---- encoding -------------------------------------------------------------- */

/* Rows of the histories, each once. */
struct item_set {
    uint32_t n, row[ITEMS_MAX];
};

static uint32_t place_of(struct item_set *set, uint32_t row) {
    uint32_t i = 0;
    while (i < set->n && set->row[i] != row)
        i++;
    if (i == set->n)
        set->row[set->n++] = row;
    return i;
}

static void put_fixed(const struct profile *p, struct buf *out) {
    wire_put_signed(out, p->last_ms);
    wire_put_u32(out, p->first_s);
    wire_put_u32(out, p->prev_s);
    wire_put_varint(out, p->events);
    wire_put_f32(out, p->avg_price);
    wire_put_f32(out, p->price_weight);
    wire_put_u32(out, p->session);
    wire_put_u32(out, p->minute);
    wire_put_varint(out, p->minute_count);
    wire_put_varint(out, p->late_count);
    wire_put_varint(out, p->late_back);
    wire_put_varint(out, p->sessions);
    wire_put_varint(out, p->session_events);
    wire_put_u8(out, p->bot);
}

static void put_words(const uint32_t *w, uint32_t n, struct buf *out) {
    wire_put(out, w, n * sizeof *w);
}

/* Entries of a section, but for those whose rows no longer are the items they were. */
struct written_section {
    uint8_t n, entry[SECTION_MAX], place[SECTION_MAX];
};

static void collect(const struct model *m, const struct profile *p, enum pm_section s,
                    struct item_set *set, struct written_section *ret) {
    const uint32_t *w = pm_at(p, s);
    uint32_t mask = pm_row_mask(s);
    ret->n = 0;
    for (uint32_t i = 0, n = pm_n(p, s); i < n; i++, w += pm_width[s]) {
        if (!item_ref_valid(m, w[0] & mask, w[1]))
            continue;
        ret->entry[ret->n] = (uint8_t)i;
        ret->place[ret->n++] = (uint8_t)place_of(set, w[0] & mask);
    }
}

static void put_section(const struct profile *p, enum pm_section s,
                        const struct written_section *from, struct buf *out) {
    const uint32_t *first = pm_at(p, s);
    const uint16_t *prices = s == PM_RECENT ? pm_prices(p) : NULL;
    wire_put_u8(out, from->n);
    for (uint32_t i = 0; i < from->n; i++) {
        const uint32_t *w = first + from->entry[i] * pm_width[s];
        wire_put_u8(out, from->place[i]);
        wire_put_u32(out, w[1]);
        if (s == PM_CART)
            wire_put_u32(out, w[2]);
        if (s == PM_RECENT || s == PM_TRAIL)
            wire_put_u8(out, (uint8_t)(w[0] >> PM_TYPE_SHIFT));
        if (prices) {
            wire_put(out, &prices[from->entry[i]], sizeof *prices);
        }
    }
}

static void put_items(const struct model *m, const struct profile *p, struct buf *out) {
    struct item_set set;
    struct written_section cart, bought, recent, trail;
    set.n = 0;
    collect(m, p, PM_CART, &set, &cart);
    collect(m, p, PM_BOUGHT, &set, &bought);
    collect(m, p, PM_RECENT, &set, &recent);
    collect(m, p, PM_TRAIL, &set, &trail);
    wire_put_varint(out, set.n);
    for (uint32_t i = 0; i < set.n; i++)
        wire_put_str(out, m->items.cold[set.row[i]].id);
    put_section(p, PM_CART, &cart, out);
    put_section(p, PM_BOUGHT, &bought, out);
    put_section(p, PM_RECENT, &recent, out);
    put_section(p, PM_TRAIL, &trail, out);
}

static void put_more(const struct model *m, const struct profile *p, struct buf *out) {
    const struct profile_more *more = p->more;
    wire_put_u8(out, more->extras);
    put_words(more->w, (uint32_t)(pm_at(p, PM_TYPES) - more->w), out);
    static const enum pm_section plain[] = {PM_TYPES, PM_AFFINITY, PM_DEDUP};
    for (size_t k = 0; k < ARRAY_LEN(plain); k++) {
        wire_put_u8(out, more->n[plain[k]]);
        put_words(pm_at(p, plain[k]), more->n[plain[k]] * pm_width[plain[k]], out);
    }
    wire_put_u8(out, more->dedup_head);
    put_items(m, p, out);
}

int user_encode(const struct model *m, const struct user *u, struct buf *out) {
    size_t start = out->n;
    wire_put_u8(out, VERSION);
    wire_put_u32(out, 0);
    wire_put_varint(out, m->c.dim);
    wire_put(out, u->emb, m->c.dim * sizeof *u->emb);
    wire_put_f32(out, u->acc);
    wire_put_f32(out, u->bias);
    wire_put_u32(out, u->session_no);
    wire_put_u32(out, u->session_before);
    put_fixed(&u->prof, out);
    wire_put_u8(out, u->prof.more ? 1 : 0);
    if (u->prof.more)
        put_more(m, &u->prof, out);
    if (out->failed || out->n - start > UINT32_MAX - TAIL)
        return -ENOMEM;
    uint32_t length = (uint32_t)(out->n - start + TAIL);
    memcpy(out->p + start + 1, &length, sizeof length);
    wire_put_u32(out, checksum(out->p + start, length - TAIL));
    return out->failed ? -ENOMEM : 0;
}

/* ---- restoring ------------------------------------------------------------- */

/* A history as read: places among the record's ids instead of rows. */
struct read_section {
    uint32_t n;
    struct {
        uint8_t place, type;
        uint16_t price;
        uint32_t time_s, cart_price;
    } e[SECTION_MAX];
};

struct read_user {
    const uint8_t *emb;
    float acc, bias;
    uint32_t session_no, session_before;
    struct profile prof; /* without the variable part */
    bool has_more;
    uint8_t extras, dedup_head, n_types, n_affinity, n_dedup;
    const uint8_t *extra_words, *types, *affinity, *dedup; /* unaligned words in the record */
    uint32_t n_items;
    struct str id[ITEMS_MAX];
    struct read_section cart, bought, recent, trail;
};

static const uint8_t *take_words(struct wire *w, uint32_t n) {
    const uint8_t *p = w->p;
    if (w->bad || n * 4u > (size_t)(w->end - w->p)) {
        w->bad = true;
        return NULL;
    }
    w->p += n * 4u;
    return p;
}

static uint16_t get_u16_varint(struct wire *w) {
    uint64_t v = wire_get_varint(w);
    w->bad |= v > UINT16_MAX;
    return (uint16_t)v;
}

static void get_fixed(struct wire *w, struct profile *p) {
    profile_init(p);
    p->last_ms = wire_get_signed(w);
    p->first_s = wire_get_u32(w);
    p->prev_s = wire_get_u32(w);
    uint64_t events = wire_get_varint(w);
    w->bad |= events > UINT32_MAX;
    p->events = (uint32_t)events;
    p->avg_price = wire_get_f32(w);
    p->price_weight = wire_get_f32(w);
    p->session = wire_get_u32(w);
    p->minute = wire_get_u32(w);
    p->minute_count = get_u16_varint(w);
    p->late_count = get_u16_varint(w);
    p->late_back = get_u16_varint(w);
    p->sessions = get_u16_varint(w);
    p->session_events = get_u16_varint(w);
    uint8_t bot = wire_get_u8(w);
    w->bad |= bot > 1;
    p->bot = bot;
}

static const uint8_t *get_plain(struct wire *w, enum pm_section s, uint8_t *ret_n) {
    *ret_n = wire_get_u8(w);
    w->bad |= *ret_n > pm_max[s];
    return take_words(w, (uint32_t)*ret_n * pm_width[s]);
}

static void get_section(struct wire *w, enum pm_section s, uint32_t n_items,
                        struct read_section *ret) {
    ret->n = wire_get_u8(w);
    w->bad |= ret->n > pm_max[s];
    for (uint32_t i = 0; i < ret->n && !w->bad; i++) {
        ret->e[i].place = wire_get_u8(w);
        ret->e[i].time_s = wire_get_u32(w);
        if (s == PM_CART)
            ret->e[i].cart_price = wire_get_u32(w);
        if (s == PM_RECENT || s == PM_TRAIL)
            ret->e[i].type = wire_get_u8(w);
        if (s == PM_RECENT) {
            wire_get(w, &ret->e[i].price, sizeof ret->e[i].price);
        }
        w->bad |= ret->e[i].place >= n_items || ret->e[i].type >= EV_MAX ||
                  (s != PM_TRAIL && i > 0 && ret->e[i].time_s < ret->e[i - 1].time_s);
    }
}

static void get_more(struct wire *w, uint8_t version, struct read_user *r) {
    r->extras = wire_get_u8(w);
    w->bad |= r->extras >> PX_COUNT;
    uint32_t words = 0;
    for (uint32_t x = 0; x < PX_COUNT; x++)
        words += r->extras >> x & 1 ? pm_extra_width[x] : 0;
    r->extra_words = take_words(w, words);
    r->types = get_plain(w, PM_TYPES, &r->n_types);
    r->affinity = get_plain(w, PM_AFFINITY, &r->n_affinity);
    r->dedup = get_plain(w, PM_DEDUP, &r->n_dedup);
    r->dedup_head = wire_get_u8(w);
    w->bad |= r->dedup_head > 0 && (r->n_dedup < PROFILE_DEDUP_MAX || r->dedup_head >= r->n_dedup);
    uint64_t n = wire_get_varint(w);
    w->bad |= n > ITEMS_MAX;
    for (; r->n_items < n && !w->bad; r->n_items++) {
        r->id[r->n_items] = wire_get_str(w);
        w->bad |= r->id[r->n_items].n == 0;
    }
    get_section(w, PM_CART, r->n_items, &r->cart);
    get_section(w, PM_BOUGHT, r->n_items, &r->bought);
    get_section(w, PM_RECENT, r->n_items, &r->recent);
    if (version >= 2)
        get_section(w, PM_TRAIL, r->n_items, &r->trail);
}

/* The same with what the model has already. Rows that were another item's when these were met would
 * have to be dated back. */
static bool find_section(const struct model *m, const struct read_user *r,
                         const struct read_section *s, uint32_t *row) {
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t *of = &row[s->e[i].place], time_s = s->e[i].time_s;
        if (*of == ROW_NONE)
            *of = id_index_find(&m->items.index, r->id[s->e[i].place]);
        if (*of == ROW_NONE || time_s < m->items.hot[*of].born_s)
            return false;
        item_seen(m, *of, time_s);
    }
    return true;
}

/* Row of each of the record's items, ROW_NONE where there is no room for one. The history
 * proves that the item lived when it was met. False: out of memory. */
static bool intern_section(struct model *m, const struct read_user *r, const struct read_section *s,
                           uint32_t *row) {
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t *of = &row[s->e[i].place], time_s = s->e[i].time_s;
        if (*of == ROW_NONE)
            *of = model_item_intern(m, r->id[s->e[i].place], (int64_t)time_s * 1000);
        if (*of == ROW_NONE && r->id[s->e[i].place].n && m->items.live < m->items.cap)
            return false;
        if (*of == ROW_NONE)
            continue;
        struct item_hot *h = &m->items.hot[*of];
        h->born_s = MIN(h->born_s, time_s);
        item_seen(m, *of, time_s);
    }
    return true;
}

static uint32_t *copy_words(uint32_t *to, const uint8_t *from, size_t n) {
    if (n)
        memcpy(to, from, n * sizeof *to);
    return to + n;
}

static uint32_t *build_section(struct profile_more *more, enum pm_section s,
                               const struct read_section *from, const uint32_t *row, uint32_t *w,
                               uint16_t *prices) {
    for (uint32_t i = 0; i < from->n; i++) {
        uint32_t of = row[from->e[i].place];
        if (of >= PROFILE_ROW_MAX)
            continue;
        w[0] = of | (uint32_t)from->e[i].type << PM_TYPE_SHIFT;
        w[1] = from->e[i].time_s;
        if (s == PM_CART)
            w[2] = from->e[i].cart_price;
        if (s == PM_RECENT)
            prices[more->n[s]] = from->e[i].price;
        more->n[s]++;
        w += pm_width[s];
    }
    return w;
}

static int build_more(const struct read_user *r, const uint32_t *row, struct profile *p) {
    struct {
        struct profile_more more;
        uint32_t w[PX_COUNT * 2 + CONTEXT_SLOTS + EV_MAX + 2 * PROFILE_AFFINITY_MAX +
                   3 * PROFILE_CART_MAX + 2 * PROFILE_BOUGHT_MAX + 2 * PROFILE_RECENT_MAX +
                   PROFILE_DEDUP_MAX + 2 * PROFILE_TRAIL_MAX + PROFILE_RECENT_MAX / 2];
    } block = {.more = {.extras = r->extras, .dedup_head = r->dedup_head}};
    struct profile_more *more = &block.more;
    uint16_t prices[PROFILE_RECENT_MAX];
    uint32_t extra_words = 0, *w = block.w;
    for (uint32_t x = 0; x < PX_COUNT; x++)
        extra_words += r->extras >> x & 1 ? pm_extra_width[x] : 0;
    w = copy_words(w, r->extra_words, extra_words);
    more->n[PM_TYPES] = r->n_types;
    w = copy_words(w, r->types, (size_t)r->n_types * pm_width[PM_TYPES]);
    more->n[PM_AFFINITY] = r->n_affinity;
    w = copy_words(w, r->affinity, (size_t)r->n_affinity * pm_width[PM_AFFINITY]);
    w = build_section(more, PM_CART, &r->cart, row, w, prices);
    w = build_section(more, PM_BOUGHT, &r->bought, row, w, prices);
    w = build_section(more, PM_RECENT, &r->recent, row, w, prices);
    more->n[PM_DEDUP] = r->n_dedup;
    w = copy_words(w, r->dedup, r->n_dedup);
    w = build_section(more, PM_TRAIL, &r->trail, row, w, prices);
    memcpy(w, prices, more->n[PM_RECENT] * sizeof *prices);
    size_t size =
        sizeof *more + (size_t)(w - block.w) * sizeof *w + more->n[PM_RECENT] * sizeof *prices;
    p->more = malloc(size);
    if (!p->more)
        return -ENOMEM;
    memcpy(p->more, &block, size);
    return 0;
}

static bool finite_words(const uint8_t *p, size_t n) {
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        float f;
        memcpy(&f, p + i * sizeof f, sizeof f);
        ok &= isfinite(f) != 0;
    }
    return ok;
}

/* Whether the user's session is the stored one of that number: it may be lost, or be another
 * process's. Then it stands where he does. */
static bool is_session_of(const struct model *m, const struct profile *p, uint32_t number) {
    struct trail_item newest;
    struct session s;
    return profile_trail(p, &newest, 1) == 1 && sessions_get(m->sessions, number, &s) &&
           s.item[s.n - 1] == newest.item;
}

static bool intern(struct model *m, const struct read_user *r, uint32_t *row) {
    if (!intern_section(m, r, &r->cart, row) || !intern_section(m, r, &r->bought, row) ||
        !intern_section(m, r, &r->recent, row) || !intern_section(m, r, &r->trail, row))
        return false;
    /* making room for one may have cost another its row */
    for (uint32_t i = 0; i < r->n_items; i++)
        if (row[i] != ROW_NONE && !str_eq(m->items.cold[row[i]].id, r->id[i]))
            row[i] = ROW_NONE;
    return true;
}

static bool find_all(const struct model *m, const struct read_user *r, uint32_t *row) {
    return find_section(m, r, &r->cart, row) && find_section(m, r, &r->bought, row) &&
           find_section(m, r, &r->recent, row) && find_section(m, r, &r->trail, row);
}

/* Of a model that goes on from its image: what it does not know any more, the user has forgotten.
 */
static void find_known(const struct model *m, struct read_user *r, uint32_t *row) {
    struct read_section *const all[] = {&r->cart, &r->bought, &r->recent, &r->trail};
    for (uint32_t i = 0; i < r->n_items; i++)
        row[i] = id_index_find(&m->items.index, r->id[i]);
    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < all[k]->n; i++)
            if (item_ref_valid(m, row[all[k]->e[i].place], all[k]->e[i].time_s))
                all[k]->e[kept++] = all[k]->e[i];
        all[k]->n = kept;
    }
}

/* `to`: where items are made known; NULL where the model is shared. */
static int restore(const struct model *m, struct model *to, struct user *u, const void *p, size_t n,
                   size_t *ret_n) {
    struct wire head = wire_of(p, n);
    uint8_t version = wire_get_u8(&head);
    uint32_t length = wire_get_u32(&head), sum;
    if (head.bad || length > n || length < HEAD + TAIL)
        return -EBADMSG;
    memcpy(&sum, (const uint8_t *)p + length - TAIL, sizeof sum);
    if (sum != checksum(p, length - TAIL))
        return -EBADMSG;
    struct wire w = wire_of((const uint8_t *)p + HEAD, length - HEAD - TAIL);
    uint64_t dim = wire_get_varint(&w);
    if (version < 1 || version > VERSION || (dim != m->c.dim && !w.bad))
        return -EPROTO;

    struct read_user r = {0};
    r.emb = take_words(&w, m->c.dim);
    r.acc = wire_get_f32(&w);
    r.bias = wire_get_f32(&w);
    if (version >= 2) { /* the first version knew no stored sessions, nor had it a trail */
        r.session_no = wire_get_u32(&w);
        r.session_before = wire_get_u32(&w);
    }
    get_fixed(&w, &r.prof);
    r.has_more = wire_get_u8(&w);
    if (r.has_more)
        get_more(&w, version, &r);
    if (w.bad || w.p != w.end || !finite_words(r.emb, m->c.dim) || !isfinite(r.acc) ||
        !isfinite(r.bias))
        return -EBADMSG;

    uint32_t row[ITEMS_MAX];
    memset(row, 0xff, sizeof row);
    if (m->exact)
        find_known(m, &r, row);
    else if (to && !intern(to, &r, row))
        return -ENOMEM;
    else if (!to && !find_all(m, &r, row))
        return -EAGAIN;
    if (r.has_more && build_more(&r, row, &r.prof) < 0)
        return -ENOMEM;
    profile_done(&u->prof);
    u->prof = r.prof;
    memcpy(u->emb, r.emb, m->c.dim * sizeof *u->emb);
    u->acc = r.acc;
    u->bias = r.bias;
    bool goes_on = m->exact || is_session_of(m, &u->prof, r.session_no);
    u->session_no = goes_on ? r.session_no : 0;
    u->session_before = goes_on ? r.session_before : 0;
    *ret_n = length;
    return 0;
}

int user_restore(struct model *m, struct shard *s, struct user *u, const void *p, size_t n,
                 size_t *ret_n) {
    (void)s;
    return restore(m, m, u, p, n, ret_n);
}

int user_restore_shared(const struct model *m, struct user *u, const void *p, size_t n,
                        size_t *ret_n) {
    return restore(m, NULL, u, p, n, ret_n);
}
