/* The durable form of a user's part. */
#include <math.h>

#include "model/block.h"
#include "policy/features.h"
#include "policy/steps.h"

/* Version 1 had no windows and no denials, version 2 no steps; both are still read. */
enum {
    EXT_VERSION = 4,
    EXT_VERSION_STEPS = 3, /* with numbers of offers */
    EXT_VERSION_WINDOWS = 2,
    EXT_VERSION_FIRST = 1,
    NO_EXT = 0
};

/* Beside the version: a block of exposures, traits and habits follows; version 1 had no habits. */
enum { EXT_MORE = 0x40, MORE_VERSION = 2, MORE_VERSION_TRAITS = 1 };

DEFINE_CLEANUP(struct user_ext, policy_user_free)

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
        wire_put_f64(out, t->old_price);
        wire_put_f64(out, t->new_price);
    }
    wire_put_str(out, item.id);
}

/* Offers are known again by their name, or what they say. */
static uint64_t offer_hash(const struct offer_spec *o) {
    return hash_str(o->name.n ? o->name : o->json, 0);
}

static void encode_answers(const struct policy_set *set, const struct user_ext *x,
                           struct buf *out) {
    wire_put_varint(out, x->n_pending);
    for (size_t i = 0; i < x->n_pending; i++) {
        const struct pending *p = &x->pending[i];
        wire_put_u64(out, set->c[p->campaign].hash);
        wire_put_u64(out, p->trigger[0]);
        wire_put_u64(out, p->trigger[1]);
        wire_put_signed(out, p->sent_ms);
        wire_put_signed(out, p->until_ms);
        wire_put_f32(out, p->propensity);
        wire_put_u8(out, p->flags);
        wire_put_u64(out, offer_hash(&set->c[p->campaign].spec.offer[p->offer]));
        wire_put_u8(out, p->x ? FEATURES_VERSION : 0);
        if (p->x)
            wire_put(out, p->x, FEATURES_BYTES);
        wire_put_f32(out, p->survey);
        wire_put_f64(out, p->paid);
        wire_put_f64(out, p->given_back);
        wire_put_f64(out, p->margin);
        wire_put_f64(out, p->off);
        wire_put_varint(out, p->purchases);
        for (size_t b = 0; b < BOUGHT_MAX; b++)
            wire_put_u32(out, p->bought[b]);
    }
    wire_put_u8(out, x->minor);
    wire_put_varint(out, x->n_denials);
    for (size_t i = 0; i < x->n_denials; i++) {
        wire_put_u32(out, x->denials[i].channel);
        wire_put_signed(out, x->denials[i].time_ms);
    }
}

static int encode_more(const struct user_ext *x, struct buf *out) {
    size_t at = block_begin(out, MORE_VERSION);
    wire_put_varint(out, x->n_exposures);
    for (size_t i = 0; i < x->n_exposures; i++) {
        const struct exposure *e = &x->exposures[i];
        wire_put_u64(out, e->experiment);
        wire_put_signed(out, e->time_ms);
        wire_put_signed(out, e->until_ms);
        wire_put_f64(out, e->before);
        wire_put_f64(out, e->paid);
        wire_put_f64(out, e->margin);
        wire_put_f32(out, e->survey);
        wire_put_u8(out, e->arm);
        wire_put_u8(out, (uint8_t)(e->bought | e->open << 1));
    }
    wire_put_varint(out, x->n_traits);
    for (size_t i = 0; i < x->n_traits; i++) {
        wire_put_u32(out, x->traits[i].attribute);
        wire_put_u32(out, x->traits[i].value);
    }
    wire_put_u8(out, x->messages);
    wire_put_u8(out, x->opened);
    wire_put_u8(out, x->redeemed);
    return block_end(out, at);
}

static int restore_more(const void *p, size_t n, struct user_ext *x, size_t *ret_n) {
    struct wire w;
    uint8_t version = n ? *(const uint8_t *)p : 0;
    int r = version < MORE_VERSION_TRAITS || version > MORE_VERSION
                ? -EBADMSG
                : block_open(p, n, version, &w, ret_n);
    for (uint64_t k = r ? 0 : wire_get_varint(&w); k && r == 0 && !w.bad; k--) {
        r = ext_grow((void **)&x->exposures, x->n_exposures, sizeof *x->exposures);
        if (r < 0)
            break;
        struct exposure *e = &x->exposures[x->n_exposures++];
        *e = (struct exposure){.experiment = wire_get_u64(&w)};
        e->time_ms = wire_get_signed(&w);
        e->until_ms = wire_get_signed(&w);
        e->before = wire_get_f64(&w);
        e->paid = wire_get_f64(&w);
        e->margin = wire_get_f64(&w);
        e->survey = wire_get_f32(&w);
        e->arm = wire_get_u8(&w);
        uint8_t flags = wire_get_u8(&w);
        e->bought = flags & 1;
        e->open = flags >> 1 & 1;
    }
    for (uint64_t k = r ? 0 : wire_get_varint(&w); k && r == 0 && !w.bad; k--) {
        r = ext_grow((void **)&x->traits, x->n_traits, sizeof *x->traits);
        if (r < 0)
            break;
        struct trait *t = &x->traits[x->n_traits++];
        t->attribute = wire_get_u32(&w);
        t->value = wire_get_u32(&w);
    }
    if (r == 0 && version >= MORE_VERSION) {
        x->messages = wire_get_u8(&w);
        x->opened = wire_get_u8(&w);
        x->redeemed = wire_get_u8(&w);
    }
    return r ? r : w.bad || w.p != w.end ? -EBADMSG : 0;
}

int policy_user_encode(const struct policy_set *set, const struct user *u, const struct model *m,
                       struct buf *out) {
    const struct user_ext *x = u->ext;
    if (!x) {
        wire_put_u8(out, NO_EXT);
        return out->failed ? -ENOMEM : 0;
    }
    bool more = x->n_exposures || x->n_traits || x->messages || x->redeemed;
    size_t at = block_begin(out, (uint8_t)(EXT_VERSION | (more ? EXT_MORE : 0)));
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
    encode_answers(set, x, out);
    steps_encode(set, x, out);
    int r = block_end(out, at);
    return r == 0 && more ? encode_more(x, out) : r;
}

static int campaign_by_hash(const struct policy_set *set, uint64_t hash) {
    for (size_t i = 0; i < set->n; i++)
        if (set->c[i].hash == hash)
            return (int)i;
    return -1;
}

/* `admit`: false where the model is shared, and an item it does not know is -EAGAIN. */
static int restore_timer(const struct policy_set *set, struct model *m, bool admit, int64_t now_ms,
                         struct wire *w, struct user_ext *x) {
    uint8_t kind = wire_get_u8(w);
    struct timer t = {.kind = kind & 0x7f, .item = ROW_NONE, .old_price = NAN, .new_price = NAN};
    t.due_ms = wire_get_signed(w);
    t.since_ms = wire_get_signed(w);
    t.cause_hash = wire_get_u64(w);
    int campaign = campaign_by_hash(set, wire_get_u64(w));
    if (kind & 0x80) {
        t.old_price = wire_get_f64(w);
        t.new_price = wire_get_f64(w);
    }
    struct str id = wire_get_str(w);
    if (w->bad || t.kind >= TIMER_KINDS)
        return -EBADMSG;
    if (campaign < 0)
        return 0;
    t.campaign = (uint16_t)campaign;
    if (id.n) {
        t.item = model_item_find(m, id);
        if (t.item == ROW_NONE && !admit)
            return -EAGAIN;
        if (t.item == ROW_NONE)
            t.item = model_item_admit(m, id, now_ms);
    }
    return ext_timer_set(x, &t);
}

/* The offer that is like it; the first, if there is none any more. */
static uint8_t offer_by_hash(const struct campaign *k, uint64_t hash) {
    for (size_t i = 0; i < k->spec.n_offers; i++)
        if (offer_hash(&k->spec.offer[i]) == hash)
            return (uint8_t)i;
    return 0;
}

enum { FEATURES_BYTES_2 = 112 * sizeof(float) /* of version 1, too */ };

/* Older columns are read over: what was decided by them teaches nothing any more. */
static int restore_features(struct wire *w, float **ret) {
    uint8_t version = wire_get_u8(w);
    if (!version || w->bad)
        return 0;
    size_t n = version == FEATURES_VERSION ? FEATURES_BYTES : FEATURES_BYTES_2;
    if (version > FEATURES_VERSION || (size_t)(w->end - w->p) < n)
        return -EBADMSG;
    if (version < FEATURES_VERSION) {
        w->p += n;
        return 0;
    }
    *ret = malloc(FEATURES_BYTES);
    if (!*ret)
        return -ENOMEM;
    wire_get(w, *ret, FEATURES_BYTES);
    return 0;
}

static int restore_answers(const struct policy_set *set, struct wire *w, struct user_ext *x) {
    int r = 0;
    for (uint64_t n = wire_get_varint(w); n && r == 0 && !w->bad; n--) {
        int campaign = campaign_by_hash(set, wire_get_u64(w));
        struct pending p = {.campaign = (uint16_t)campaign};
        p.trigger[0] = wire_get_u64(w);
        p.trigger[1] = wire_get_u64(w);
        p.sent_ms = wire_get_signed(w);
        p.until_ms = wire_get_signed(w);
        p.propensity = wire_get_f32(w);
        p.flags = wire_get_u8(w);
        uint64_t offer = wire_get_u64(w);
        autofree(free) float *features = NULL;
        r = restore_features(w, &features);
        if (r < 0)
            return r;
        if (campaign >= 0)
            p.offer = offer_by_hash(&set->c[campaign], offer);
        p.survey = wire_get_f32(w);
        p.paid = wire_get_f64(w);
        p.given_back = wire_get_f64(w);
        p.margin = wire_get_f64(w);
        p.off = wire_get_f64(w);
        p.purchases = (uint16_t)wire_get_varint(w);
        for (size_t b = 0; b < BOUGHT_MAX; b++)
            p.bought[b] = wire_get_u32(w);
        if (campaign < 0 || w->bad)
            continue;
        if (x->n_pending == PENDING_MAX)
            return -EBADMSG;
        r = ext_pending_reserve(x);
        if (r == 0) {
            p.x = TAKE(features);
            x->pending[x->n_pending++] = p;
        }
    }
    x->minor = wire_get_u8(w) != 0;
    for (uint64_t n = wire_get_varint(w); n && r == 0 && !w->bad; n--) {
        uint32_t channel = wire_get_u32(w);
        int64_t time_ms = wire_get_signed(w);
        r = ext_deny(x, channel, time_ms);
    }
    return r;
}

static int restore_payload(const struct policy_set *set, struct model *m, bool admit,
                           int64_t now_ms, uint8_t version, struct wire *w, struct user_ext *x) {
    int r = 0;
    x->clock_ms = wire_get_signed(w);
    x->lapse_ms = wire_get_signed(w);
    for (uint64_t n = wire_get_varint(w); n && r == 0; n--)
        r = restore_timer(set, m, admit, now_ms, w, x);
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
        r = ext_grow((void **)&x->views, x->n_views, sizeof *x->views);
        if (r < 0)
            break;
        struct viewed *v = &x->views[x->n_views++];
        v->time_s = wire_get_u32(w);
        v->item = wire_get_u32(w);
        v->category = wire_get_u32(w);
    }
    if (version >= EXT_VERSION_WINDOWS && r == 0)
        r = restore_answers(set, w, x);
    if (version >= EXT_VERSION_STEPS && r == 0)
        r = steps_restore(set, w, version == EXT_VERSION_STEPS, x);
    return r ? r : w->bad || w->p != w->end ? -EBADMSG : 0;
}

static int restore(const struct policy_set *set, struct user *u, struct model *m, bool admit,
                   const void *p, size_t n, size_t *ret_n) {
    autofree(policy_user_free) struct user_ext *x = NULL;
    struct user probe = {0};
    size_t used = 1;
    if (n == 0)
        return -EBADMSG;
    uint8_t tag = *(const uint8_t *)p, version = tag & (uint8_t)~EXT_MORE;
    if (tag != NO_EXT) {
        struct wire w;
        int r = version < EXT_VERSION_FIRST || version > EXT_VERSION
                    ? -EBADMSG
                    : block_open(p, n, tag, &w, &used);
        if (r < 0)
            return r;
        x = ext_get(&probe);
        if (!x)
            return -ENOMEM;
        r = restore_payload(set, m, admit, u->prof.last_ms, version, &w, x);
        size_t more = 0;
        if (r == 0 && tag & EXT_MORE)
            r = restore_more((const uint8_t *)p + used, n - used, x, &more);
        used += more;
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

int policy_user_restore(const struct policy_set *set, struct user *u, struct model *m,
                        const void *p, size_t n, size_t *ret_n) {
    return restore(set, u, m, true, p, n, ret_n);
}

int policy_user_restore_shared(const struct policy_set *set, struct user *u, const struct model *m,
                               const void *p, size_t n, size_t *ret_n) {
    return restore(set, u, (struct model *)(uintptr_t)m, false, p, n, ret_n);
}
