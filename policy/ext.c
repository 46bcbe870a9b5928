/* A user's part: timers, sends, marks and views; nothing at all for most users. */
#include <math.h>

#include "model/block.h"
#include "policy/internal.h"

enum { EXT_VERSION = 1, NO_EXT = 0 };

/* Room for one more in an array whose capacity is the power of two at or above n. */
static int grow(void **array, size_t n, size_t width) {
    if (n >= UINT16_MAX)
        return -E2BIG;
    if (n & (n - 1))
        return 0;
    void *p = realloc(*array, (n ? 2 * n : 1) * width);
    if (!p)
        return -ENOMEM;
    *array = p;
    return 0;
}

static size_t capacity(size_t n) {
    size_t cap = n != 0;
    while (cap < n)
        cap *= 2;
    return cap;
}

static void *take_out(void *array, size_t i, uint16_t *n, size_t width) {
    uint8_t *p = array;
    memmove(p + i * width, p + (i + 1) * width, (*n - i - 1) * width);
    if (--*n == 0) {
        free(array);
        return NULL;
    }
    return array;
}

struct user_ext *ext_get(struct user *u) {
    if (!u->ext) {
        struct user_ext *x = calloc(1, sizeof *x);
        if (x)
            x->clock_ms = x->lapse_ms = TIME_UNSET;
        u->ext = x;
    }
    return u->ext;
}

void policy_user_free(void *ext) {
    struct user_ext *x = ext;
    if (!x)
        return;
    free(x->timers);
    free(x->sends);
    free(x->marks);
    free(x->views);
    free(x);
}
DEFINE_CLEANUP(struct user_ext, policy_user_free)

void ext_drop_if_empty(struct user *u) {
    const struct user_ext *x = u->ext;
    if (x && !x->n_timers && !x->n_sends && !x->n_marks && !x->n_views &&
        x->lapse_ms == TIME_UNSET) {
        policy_user_free(u->ext);
        u->ext = NULL;
    }
}

size_t policy_user_bytes(const struct user *u) {
    const struct user_ext *x = u->ext;
    return !x ? 0
              : sizeof *x + capacity(x->n_timers) * sizeof *x->timers +
                    capacity(x->n_sends) * sizeof *x->sends +
                    capacity(x->n_marks) * sizeof *x->marks +
                    capacity(x->n_views) * sizeof *x->views;
}

void ext_timer_remove(struct user_ext *x, size_t i) {
    x->timers = take_out(x->timers, i, &x->n_timers, sizeof *x->timers);
}

static size_t timer_at(const struct user_ext *x, uint16_t campaign, enum timer_kind k) {
    size_t i = 0;
    while (i < x->n_timers && (x->timers[i].campaign != campaign || x->timers[i].kind != k))
        i++;
    return i;
}

bool ext_timer_find(const struct user_ext *x, uint16_t campaign, enum timer_kind k,
                    struct timer *ret) {
    size_t i = timer_at(x, campaign, k);
    if (i == x->n_timers)
        return false;
    *ret = x->timers[i];
    return true;
}

int ext_timer_set(struct user_ext *x, const struct timer *t) {
    size_t old = timer_at(x, t->campaign, t->kind);
    if (old < x->n_timers) {
        memmove(x->timers + old, x->timers + old + 1, (x->n_timers - old - 1u) * sizeof *x->timers);
        x->n_timers--; /* its place is used again below, so no room is needed */
    } else {
        int r = grow((void **)&x->timers, x->n_timers, sizeof *x->timers);
        if (r < 0)
            return r;
    }
    size_t i = x->n_timers;
    for (; i && (x->timers[i - 1].due_ms > t->due_ms ||
                 (x->timers[i - 1].due_ms == t->due_ms && x->timers[i - 1].campaign > t->campaign));
         i--)
        x->timers[i] = x->timers[i - 1];
    x->timers[i] = *t;
    x->n_timers++;
    return 0;
}

int ext_sent_reserve(struct user_ext *x) {
    return grow((void **)&x->sends, x->n_sends, sizeof *x->sends);
}

/* How long a send matters to anybody's cap; campaigns and channels may have left the file. */
static int64_t sent_keep_ms(const struct policy_set *set, const struct sent *s) {
    int64_t keep = 0;
    if (s->counts) {
        keep = set->user_keep_ms;
        for (size_t i = 0; i < set->n_channels; i++)
            if (set->channel[i].hash == s->channel)
                keep = MAX(keep, set->channel[i].keep_ms);
    }
    for (size_t i = 0; i < set->n; i++)
        if (set->c[i].hash == s->campaign)
            keep = MAX(keep, set->c[i].keep_ms);
    return keep;
}

/* Drops the oldest send that nobody needs, if there are more than are remembered anyway.
 * Called before each addition, so one is enough. */
static void forget_one(struct user_ext *x, const struct policy_set *set, int64_t now_ms) {
    for (size_t i = 0; i + SENDS_REMEMBERED <= x->n_sends; i++) {
        int64_t keep = sent_keep_ms(set, &x->sends[i]);
        if (keep != INT64_MAX && now_ms - x->sends[i].time_ms >= keep) {
            memmove(x->sends + i, x->sends + i + 1, (x->n_sends - i - 1u) * sizeof *x->sends);
            x->n_sends--;
            return;
        }
    }
}

void ext_sent_add(struct user_ext *x, const struct policy_set *set, const struct sent *s) {
    x->sends[x->n_sends++] = *s;
    forget_one(x, set, s->time_ms);
}

int64_t ext_mark(const struct user_ext *x, uint16_t campaign) {
    for (size_t i = 0; i < x->n_marks; i++)
        if (x->marks[i].campaign == campaign)
            return x->marks[i].time_ms;
    return TIME_UNSET;
}

int ext_mark_set(struct user_ext *x, uint16_t campaign, int64_t time_ms) {
    size_t i = 0;
    while (i < x->n_marks && x->marks[i].campaign < campaign)
        i++;
    if (i == x->n_marks || x->marks[i].campaign != campaign) {
        int r = grow((void **)&x->marks, x->n_marks, sizeof *x->marks);
        if (r < 0)
            return r;
        memmove(x->marks + i + 1, x->marks + i, (x->n_marks - i) * sizeof *x->marks);
        x->n_marks++;
    }
    x->marks[i] = (struct mark){time_ms, campaign};
    return 0;
}

int ext_view_add(struct user_ext *x, const struct policy_set *set, const struct viewed *v) {
    size_t old = x->n_views == VIEWS_MAX;
    while (old < x->n_views && (int64_t)x->views[old].time_s + set->views_keep_s < v->time_s)
        old++;
    if (old) {
        memmove(x->views, x->views + old, (x->n_views - old) * sizeof *x->views);
        x->n_views = (uint16_t)(x->n_views - old); /* not to 0 and freed: one comes right now */
    } else {
        int r = grow((void **)&x->views, x->n_views, sizeof *x->views);
        if (r < 0)
            return r;
    }
    x->views[x->n_views++] = *v;
    return 0;
}

/* ---- durable form ---------------------------------------------------------------- */

static void put_price(struct buf *out, double price) {
    uint64_t bits;
    memcpy(&bits, &price, sizeof bits);
    wire_put_u64(out, bits);
}

static double get_price(struct wire *w) {
    uint64_t bits = wire_get_u64(w);
    double price;
    memcpy(&price, &bits, sizeof price);
    return price;
}

static void encode_timer(const struct policy_set *set, const struct model *m, const struct timer *t,
                         struct buf *out) {
    struct item_view item = {0};
    bool priced = !isnan(t->old_price);
    if (t->item < model_items(m))
        model_item_view(m, t->item, &item);
    wire_put_u8(out, (uint8_t)(t->kind | priced << 7));
    wire_put_signed(out, t->due_ms);
    wire_put_signed(out, t->since_ms);
    wire_put_u64(out, t->cause_hash);
    wire_put_u64(out, set->c[t->campaign].hash);
    if (priced) {
        put_price(out, t->old_price);
        put_price(out, t->new_price);
    }
    wire_put_str(out, item.id);
}

int policy_user_encode(const struct policy_set *set, const struct user *u, const struct model *m,
                       struct buf *out) {
    const struct user_ext *x = u->ext;
    if (!x) {
        wire_put_u8(out, NO_EXT);
        return out->failed ? -ENOMEM : 0;
    }
    size_t at = block_begin(out, EXT_VERSION);
    wire_put_signed(out, x->clock_ms);
    wire_put_signed(out, x->lapse_ms);
    wire_put_varint(out, x->n_timers);
    for (size_t i = 0; i < x->n_timers; i++)
        encode_timer(set, m, &x->timers[i], out);
    wire_put_varint(out, x->n_sends);
    for (size_t i = 0; i < x->n_sends; i++) {
        wire_put_signed(out, x->sends[i].time_ms);
        wire_put_u64(out, x->sends[i].trigger);
        wire_put_u64(out, x->sends[i].campaign);
        wire_put_u32(out, x->sends[i].channel);
        wire_put_u8(out, x->sends[i].counts);
    }
    wire_put_varint(out, x->n_marks);
    for (size_t i = 0; i < x->n_marks; i++) {
        wire_put_u64(out, set->c[x->marks[i].campaign].hash);
        wire_put_signed(out, x->marks[i].time_ms);
    }
    wire_put_varint(out, x->n_views);
    for (size_t i = 0; i < x->n_views; i++) {
        wire_put_u32(out, x->views[i].time_s);
        wire_put_u32(out, x->views[i].item);
        wire_put_u32(out, x->views[i].category);
    }
    return block_end(out, at);
}

static int campaign_by_hash(const struct policy_set *set, uint64_t hash) {
    for (size_t i = 0; i < set->n; i++)
        if (set->c[i].hash == hash)
            return (int)i;
    return -1;
}

static int restore_timer(const struct policy_set *set, struct model *m, int64_t now_ms,
                         struct wire *w, struct user_ext *x) {
    uint8_t kind = wire_get_u8(w);
    struct timer t = {.kind = kind & 0x7f, .item = ROW_NONE, .old_price = NAN, .new_price = NAN};
    t.due_ms = wire_get_signed(w);
    t.since_ms = wire_get_signed(w);
    t.cause_hash = wire_get_u64(w);
    int campaign = campaign_by_hash(set, wire_get_u64(w));
    if (kind & 0x80) {
        t.old_price = get_price(w);
        t.new_price = get_price(w);
    }
    struct str id = wire_get_str(w);
    if (w->bad || t.kind >= TIMER_KINDS)
        return -EBADMSG;
    if (campaign < 0)
        return 0;
    t.campaign = (uint16_t)campaign;
    if (id.n) {
        t.item = model_item_find(m, id);
        if (t.item == ROW_NONE)
            t.item = model_item_admit(m, id, now_ms);
    }
    return ext_timer_set(x, &t);
}

static int restore_payload(const struct policy_set *set, struct model *m, int64_t now_ms,
                           struct wire *w, struct user_ext *x) {
    int r = 0;
    x->clock_ms = wire_get_signed(w);
    x->lapse_ms = wire_get_signed(w);
    for (uint64_t n = wire_get_varint(w); n && r == 0; n--)
        r = restore_timer(set, m, now_ms, w, x);
    for (uint64_t n = wire_get_varint(w); n && r == 0 && !w->bad; n--) {
        r = ext_sent_reserve(x);
        if (r < 0)
            break;
        struct sent *s = &x->sends[x->n_sends++];
        s->time_ms = wire_get_signed(w);
        s->trigger = wire_get_u64(w);
        s->campaign = wire_get_u64(w);
        s->channel = wire_get_u32(w);
        s->counts = wire_get_u8(w) != 0;
    }
    for (uint64_t n = wire_get_varint(w); n && r == 0 && !w->bad; n--) {
        int campaign = campaign_by_hash(set, wire_get_u64(w));
        int64_t time_ms = wire_get_signed(w);
        if (campaign >= 0)
            r = ext_mark_set(x, (uint16_t)campaign, time_ms);
    }
    uint64_t n_views = wire_get_varint(w);
    if (n_views > VIEWS_MAX)
        return -EBADMSG;
    for (; n_views && r == 0; n_views--) {
        r = grow((void **)&x->views, x->n_views, sizeof *x->views);
        if (r < 0)
            break;
        struct viewed *v = &x->views[x->n_views++];
        v->time_s = wire_get_u32(w);
        v->item = wire_get_u32(w);
        v->category = wire_get_u32(w);
    }
    return r ? r : w->bad || w->p != w->end ? -EBADMSG : 0;
}

int policy_user_restore(const struct policy_set *set, struct user *u, struct model *m,
                        const void *p, size_t n, size_t *ret_n) {
    autofree(policy_user_free) struct user_ext *x = NULL;
    struct user probe = {0};
    size_t used = 1;
    if (n == 0)
        return -EBADMSG;
    if (*(const uint8_t *)p != NO_EXT) {
        struct wire w;
        int r = block_open(p, n, EXT_VERSION, &w, &used);
        if (r < 0)
            return r;
        x = ext_get(&probe);
        if (!x)
            return -ENOMEM;
        r = restore_payload(set, m, u->prof.last_ms, &w, x);
        if (r < 0)
            return r;
    }
    policy_user_free(u->ext);
    u->ext = TAKE(x);
    ext_drop_if_empty(u);
    u->due_ms = next_due(set, NULL, u);
    *ret_n = used;
    return 0;
}
