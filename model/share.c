#include "model/share.h"

#include <math.h>

enum {
    VERSION = 1,
    HEAD = 1 + 2 * sizeof(uint64_t),
    TOLD = 'd',
    MARK = 'k',
    LEARNER = 1 << 16, /* its random numbers are no worker's */
};

/* Above the type in an event's first byte. */
enum { TYPE = 31, KNOWN = 32, SESSION = 64, VALUE = 128 };
_Static_assert(EV_MAX - 1 <= TYPE && CONTEXT_SLOTS <= 8, "there is a bit for each");

/* ---- telling ---------------------------------------------------------------- */

void share_put(struct share_writer *w, const struct event *e, bool known) {
    struct buf *b = &w->buf;
    uint32_t context[CONTEXT_SLOTS];
    context_of(e, context);
    if (b->n == 0) {
        static const uint8_t head[HEAD];
        wire_put(b, head, HEAD);
        w->last_ms = 0;
    }
    float value = (float)e->value;
    uint32_t session = e->session.n ? (uint32_t)hash_str(e->session, 0) : 0;
    wire_put_u8(b, (uint8_t)((e->type & TYPE) | (known ? KNOWN : 0) | (session ? SESSION : 0) |
                             (isfinite(value) ? VALUE : 0)));
    wire_put_signed(b, e->time_ms - w->last_ms);
    w->last_ms = e->time_ms;
    wire_put_u64(b, hash_str(e->user, 0));
    if (session)
        wire_put_u32(b, session);
    if (isfinite(value))
        wire_put_f32(b, value);
    wire_put_str(b, e->item);
    uint8_t there = 0;
    for (int k = 0; k < CONTEXT_SLOTS; k++)
        there = (uint8_t)(there | (context[k] != 0) << k);
    wire_put_u8(b, there);
    for (int k = 0; k < CONTEXT_SLOTS; k++)
        if (context[k])
            wire_put_u32(b, context[k]);
}

void share_end(struct share_writer *w, uint64_t run, uint64_t number, struct buf *key) {
    if (w->buf.n >= HEAD) {
        w->buf.p[0] = VERSION;
        memcpy(w->buf.p + 1, &run, sizeof run);
        memcpy(w->buf.p + 1 + sizeof run, &number, sizeof number);
    }
    wire_put_u8(key, TOLD);
    wire_put_u32(key, (uint32_t)((run + number) % SHARE_KEYS));
}

void share_reset(struct share_writer *w) {
    buf_reset(&w->buf);
}

/* ---- reading ---------------------------------------------------------------- */

bool share_is_told(struct str key) {
    return key.n == 1 + sizeof(uint32_t) && key.p[0] == TOLD;
}

bool share_is_mark(struct str key) {
    return key.n == 1 && key.p[0] == MARK;
}

int share_open(struct share_reader *r, const void *p, size_t n) {
    *r = (struct share_reader){.wire = wire_of(p, n)};
    uint8_t version = wire_get_u8(&r->wire);
    r->run = wire_get_u64(&r->wire);
    r->number = wire_get_u64(&r->wire);
    return r->wire.bad ? -EBADMSG : version == VERSION ? 0 : -EPROTO;
}

bool share_next(struct share_reader *r, struct heard *ret) {
    struct wire *w = &r->wire;
    if (w->bad || w->p == w->end)
        return false;
    uint8_t head = wire_get_u8(w);
    w->bad |= __builtin_add_overflow(r->last_ms, wire_get_signed(w), &r->last_ms) || r->last_ms < 0;
    ret->user = wire_get_u64(w);
    ret->session = head & SESSION ? wire_get_u32(w) : 0;
    ret->known = head & KNOWN;
    ret->row = ROW_NONE;
    float value = head & VALUE ? wire_get_f32(w) : NAN;
    w->bad |= head & VALUE && !isfinite(value);
    struct event *e = &ret->e;
    e->id = e->session = e->query = e->decision = (struct str){0};
    e->user = (struct str){(const char *)&ret->user, sizeof ret->user};
    if (ret->session)
        e->session = (struct str){(const char *)&ret->session, sizeof ret->session};
    e->item = wire_get_str(w);
    e->time_ms = r->last_ms;
    e->value = (double)value;
    e->dwell_ms = NAN;
    e->type = head & TYPE;
    e->n_ctx = 0;
    uint8_t there = wire_get_u8(w);
    w->bad |= there >> CONTEXT_SLOTS;
    for (int k = 0; k < CONTEXT_SLOTS; k++)
        ret->context[k] = there >> k & 1 ? wire_get_u32(w) : 0;
    return !w->bad;
}

void share_mark_put(const struct share_mark *m, struct buf *key, struct buf *value) {
    wire_put_u8(key, MARK);
    wire_put_u8(value, VERSION);
    wire_put_u8(value, m->open);
    wire_put_u64(value, m->run);
    wire_put_u64(value, m->told);
    wire_put_signed(value, m->offset);
}

int share_mark_get(const void *p, size_t n, struct share_mark *ret) {
    struct wire w = wire_of(p, n);
    uint8_t version = wire_get_u8(&w), open = wire_get_u8(&w);
    ret->open = open;
    ret->run = wire_get_u64(&w);
    ret->told = wire_get_u64(&w);
    ret->offset = wire_get_signed(&w);
    if (w.bad || w.p != w.end || ret->offset < 0 || open > 1)
        return -EBADMSG;
    return version == VERSION ? 0 : -EPROTO;
}

/* ---- learning --------------------------------------------------------------- */

struct listener {
    struct model *m;
    struct learner *learner;
    struct shard *young, *old; /* users heard of; `old` may be NULL */
    uint64_t events;           /* so far: what they are told apart by */
};

int listener_new(struct model *m, struct listener **ret) {
    autofree(listener_free) struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->m = m;
    int r = learner_new(m, LEARNER, &l->learner);
    if (r == 0)
        r = shard_new(m, &l->young);
    if (r < 0)
        return r;
    learner_hear(l->learner);
    *ret = TAKE(l);
    return 0;
}

void listener_free(struct listener *l) {
    if (!l)
        return;
    learner_free(l->learner);
    shard_free(l->young);
    shard_free(l->old);
    free(l);
}

/* Where the user is, or is to be. */
static struct shard *home_of(struct listener *l, struct str user) {
    if (shard_find(l->young, user))
        return l->young;
    if (l->old && shard_find(l->old, user))
        return l->old;
    struct shard *fresh = NULL;
    if (shard_users(l->young) < SHARE_USERS || shard_new(l->m, &fresh) < 0)
        return l->young;
    shard_free(l->old);
    l->old = l->young;
    l->young = fresh;
    return l->young;
}

int listener_learn(struct listener *l, struct heard *h) {
    struct shard *s = home_of(l, h->e.user);
    struct user *u = shard_admit(s, h->e.user, h->e.time_ms);
    if (!u)
        return -ENOMEM;
    /* Who told it has made sure that it is not there twice. */
    h->id = ++l->events;
    h->e.id = (struct str){(const char *)&h->id, sizeof h->id};
    profile_set_context(&u->prof, h->context);
    model_learn(l->learner, s, u, &h->e, h->row);
    return 0;
}
