#include "consumer/letter.h"
#include "consumer/stream_internal.h"
#include "consumer/why.h"

int stream_dead(struct stream *s, const struct input *in, const struct dead *why) {
    metric_add(&s->metrics->dead[why->reason], 1);
    return letter_put(&s->outbox, s->cfg, s->encoder, &s->scratch, in->msg, &in->origin, why);
}

static uint64_t sample_hash(const struct trigger_record *t) {
    return hash_bytes(t->id, strlen(t->id), 1) >> 11;
}

/* What beckon:triggers shows, as field NUL value NUL … behind a count. */
static void notice(struct stream *s, const struct trigger_record *t) {
    char time[24];
    snprintf(time, sizeof time, "%lld", (long long)t->time_ms);
    const struct str kv[] = {
        STR("id"),      str_of(t->id),  STR("user"),  t->user,     STR("campaign"),
        t->campaign,    STR("channel"), t->channel,   STR("item"), t->item,
        STR("time_ms"), str_of(time),   STR("offer"), t->offer,
    };
    for (size_t i = 0; i < ARRAY_LEN(kv); i++) {
        uint32_t n = (uint32_t)kv[i].n;
        buf_put(&s->notices, &n, sizeof n);
        buf_put(&s->notices, kv[i].p, kv[i].n);
        buf_put(&s->notices, "", 1);
    }
}

enum { NOTICE_STRINGS = 14 };

static int on_decision(void *ctx, const struct decision *d, const struct trigger_record *t) {
    struct stream *s = ctx;
    int r = 0;
    campaign_sums_decision(&s->c->sums[d->campaign], d->reason);
    if (!t->sent)
        metric_add(&s->metrics->suppressed[d->reason], 1);
    if (t->sent) {
        metric_add(&s->metrics->triggers, 1);
        r = encode_trigger(s->encoder, t, &s->scratch);
        if (r == 0)
            r = outbox_put(&s->outbox, s->cfg->topics_triggers, RD_KAFKA_PARTITION_UA, t->user.p,
                           t->user.n, s->scratch.p, s->scratch.n, 0, NULL);
        notice(s, t);
    }
    if (r < 0 || !*s->cfg->topics_decisions)
        return r;
    if (!t->sent && !t->exposed &&
        (double)sample_hash(t) * 0x1p-53 >= s->cfg->topics_decision_sample)
        return 0;
    r = encode_decision(s->encoder, t, &s->scratch);
    if (r < 0)
        return r;
    return outbox_put(&s->outbox, s->cfg->topics_decisions, RD_KAFKA_PARTITION_UA, t->user.p,
                      t->user.n, s->scratch.p, s->scratch.n, 0, NULL);
}

static int on_outcome(void *ctx, const struct outcome_record *o) {
    struct stream *s = ctx;
    campaign_sums_outcome(&s->c->sums[o->o->campaign], o->o);
    if (!*s->cfg->topics_outcomes)
        return 0;
    int r = encode_outcome(s->encoder, o, &s->scratch);
    return r < 0 ? r
                 : outbox_put(&s->outbox, s->cfg->topics_outcomes, RD_KAFKA_PARTITION_UA, o->user.p,
                              o->user.n, s->scratch.p, s->scratch.n, 0, NULL);
}

static size_t entries_of(struct stream *s, const struct list *l, struct cache_entry *ret) {
    for (uint32_t i = 0; i < l->n; i++) {
        struct item_view v;
        model_item_view(s->c->world->model, l->e[i].item, &v);
        ret[i] = (struct cache_entry){v.id, l->e[i].score};
    }
    return l->n;
}

int stream_tell(struct stream *s) {
    if (s->told.buf.n == 0)
        return 0;
    uint64_t number = __atomic_fetch_add(&s->c->world->told, 1, __ATOMIC_RELEASE);
    buf_reset(&s->scratch);
    share_end(&s->told, s->c->world->run, number, &s->scratch);
    int r = s->told.buf.failed || s->scratch.failed
                ? -ENOMEM
                : outbox_put(&s->outbox, s->model_topic, 0, s->scratch.p, s->scratch.n,
                             s->told.buf.p, s->told.buf.n, 0, NULL);
    share_reset(&s->told);
    return r;
}

static int on_learned(void *ctx, const struct event *e, bool known) {
    struct stream *s = ctx;
    share_put(&s->told, e, known);
    return s->told.buf.n < SHARE_BYTES ? 0 : stream_tell(s);
}

static void on_list(void *ctx, const struct user *u, const struct list *l) {
    struct stream *s = ctx;
    struct cache_entry e[TOP_MAX];
    cache_top(s->cache, u->id, e, entries_of(s, l, e));
    if (!s->cfg->lists_reasons)
        return;
    buf_reset(&s->scratch);
    why_write(&s->scratch, l);
    if (!s->scratch.failed)
        cache_why(s->cache, u->id, (struct str){(const char *)s->scratch.p, s->scratch.n});
}

static void on_similar(void *ctx, uint32_t item, const struct list *l) {
    struct stream *s = ctx;
    struct cache_entry e[TOP_MAX];
    struct item_view v;
    model_item_view(s->c->world->model, item, &v);
    cache_similar(s->cache, v.id, e, entries_of(s, l, e));
}

static void on_profile(void *ctx, const struct user *u, int64_t now_ms) {
    struct stream *s = ctx;
    cache_user(s->cache, s->c->world->model, u, now_ms);
}

void stream_show_notices(struct stream *s) {
    const uint8_t *p = s->notices.p, *end = p + s->notices.n;
    while (p < end && !s->notices.failed) {
        char *str[NOTICE_STRINGS];
        for (size_t i = 0; i < NOTICE_STRINGS; i++) {
            uint32_t n;
            memcpy(&n, p, sizeof n);
            str[i] = (char *)p + sizeof n;
            p += sizeof n + n + 1;
        }
        struct key_value kv[NOTICE_STRINGS / 2];
        for (size_t i = 0; i < ARRAY_LEN(kv); i++)
            kv[i] = (struct key_value){.key = str[2 * i], .value = str[2 * i + 1]};
        cache_trigger(s->cache, kv, ARRAY_LEN(kv));
    }
    buf_reset(&s->notices);
}

static int on_dead(void *ctx, const struct input *in, const struct dead *why) {
    return stream_dead(ctx, in, why);
}

struct sink stream_sink(struct stream *s) {
    return (struct sink){
        .ctx = s,
        .dead = on_dead,
        .decision = on_decision,
        .outcome = on_outcome,
        .learned = world_shares(s->c->world) ? on_learned : NULL,
        .list = on_list,
        .similar = on_similar,
        .profile = on_profile,
    };
}
