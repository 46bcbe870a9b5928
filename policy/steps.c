#include "policy/steps.h"

#include <math.h>

#include "model/wire.h"

static uint16_t group_of(const struct policy_set *set, const struct step *s) {
    return set->c[s->campaign].group;
}

/* So long another decision is awaited: half the horizon, as verdicts do (policy/verdict.h). */
static int64_t patience_ms(const struct policy_set *set, const struct step *s) {
    return set->group[group_of(set, s)].spec.horizon_ms / 2;
}

void step_state(const struct policy_context *c, const struct arms *arms, float *ret) {
    static const uint8_t item[] = {FO_DROP, FO_MARGIN, FO_VALUE};
    const struct user_ext *x = c->user->ext;
    memcpy(ret, arms->shared, FEATURES_SHARED * sizeof *ret);
    memset(ret + STATE_HISTORY, 0, (STATE_ITEM - STATE_HISTORY) * sizeof *ret);
    for (size_t i = 0; x && i < x->n_sends; i++)
        ret[STATE_HISTORY + x->sends[i].campaign % FEATURES_CAMPAIGNS] += 1.0f / 3;
    for (size_t i = 0; i < arms->n; i += 1u + arms->cand[i].more)
        ret[STATE_FIT + c->set->c[arms->cand[i].campaign].hash % FEATURES_CAMPAIGNS] =
            arms->own[i * FEATURES_OWN + FO_FIT];
    for (size_t i = 0; i < ARRAY_LEN(item); i++)
        ret[STATE_ITEM + i] = arms->own[item[i]];
}

struct step *step_new(const struct policy_context *c, int64_t now_ms, const struct arms *arms,
                      const struct choice *choice) {
    bool nothing = choice->index < 0;
    const struct candidate *cand = &arms->cand[nothing ? 0 : choice->index];
    struct step *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    s->trigger = cand->trigger_hash[0]; /* field by field: most of it is the columns */
    s->before = 0;
    s->at_ms = now_ms;
    step_state(c, arms, s->columns);
    if (nothing)
        memset(s->columns + STATE_COLUMNS, 0, FEATURES_OWN * sizeof *s->columns);
    else
        memcpy(s->columns + STATE_COLUMNS, arms->own + (size_t)choice->index * FEATURES_OWN,
               FEATURES_OWN * sizeof *s->columns);
    s->reward = 0;
    s->propensity = (float)choice->propensity;
    s->by_network = (float)choice->by_network;
    s->campaign = cand->campaign;
    s->by = (uint8_t)choice->by;
    s->closed = false;
    return s;
}

static void take_out(struct user_ext *x, size_t i) {
    free(x->steps[i]);
    memmove(x->steps + i, x->steps + i + 1, (x->n_steps - i - 1u) * sizeof *x->steps);
    if (--x->n_steps == 0) {
        free(x->steps);
        x->steps = NULL;
    }
}

/* n_steps: there is none. */
static size_t next_of(const struct policy_set *set, const struct user_ext *x, size_t from,
                      uint16_t group) {
    while (from < x->n_steps && group_of(set, x->steps[from]) != group)
        from++;
    return from;
}

static bool tell(const struct policy_context *c, const struct step *s, const struct step *next,
                 struct decisions *out) {
    if (out->n_p == out->cap_p) {
        size_t cap = out->cap_p ? 2 * out->cap_p : 16;
        struct passage *p = reallocarray(out->p, cap, sizeof *p);
        if (!p)
            return false;
        out->p = p;
        out->cap_p = cap;
    }
    autofree(free) float *columns = malloc(sizeof s->columns), *ahead = NULL;
    if (next)
        ahead = malloc(sizeof next->columns);
    if (!columns || (next && !ahead))
        return false;
    memcpy(columns, s->columns, sizeof s->columns);
    if (next)
        memcpy(ahead, next->columns, sizeof next->columns);
    out->p[out->n_p++] = (struct passage){
        .group = group_of(c->set, s),
        .user = hash_str(c->user->id, 0),
        .trigger = s->trigger,
        .before = s->before,
        .at_ms = s->at_ms,
        .next_ms = next ? next->at_ms : 0,
        .step = TAKE(columns),
        .next = TAKE(ahead),
        .by = (enum decider)s->by,
        .reward = s->reward,
        .propensity = (double)s->propensity,
        .by_network = (double)s->by_network,
    };
    return true;
}

/* In the order of the decisions: one whose window is open holds up those after it. */
static void release(const struct policy_context *c, uint16_t group, int64_t now_ms,
                    struct decisions *out) {
    struct user_ext *x = c->user->ext;
    while (!out->failed) {
        size_t i = next_of(c->set, x, 0, group);
        if (i == x->n_steps || !x->steps[i]->closed)
            return;
        size_t k = next_of(c->set, x, i + 1, group);
        struct step *s = x->steps[i], *next = k < x->n_steps ? x->steps[k] : NULL;
        if (!next && now_ms < s->at_ms + patience_ms(c->set, s))
            return;
        if (!tell(c, s, next, out)) {
            out->failed = true;
            return;
        }
        if (next)
            next->before = s->trigger;
        take_out(x, i);
    }
}

void steps_add(const struct policy_context *c, struct step *step, struct decisions *out) {
    struct user_ext *x = c->user->ext;
    uint16_t group = group_of(c->set, step);
    int64_t at_ms = step->at_ms;
    if (x->n_steps == STEPS_MAX)
        take_out(x, 0);
    if (ext_grow((void **)&x->steps, x->n_steps, sizeof *x->steps) < 0) {
        free(step);
        out->failed = true;
        return;
    }
    x->steps[x->n_steps++] = step;
    release(c, group, at_ms, out);
}

void steps_close(const struct policy_context *c, const struct outcome *o, struct decisions *out) {
    struct user_ext *x = c->user->ext;
    for (size_t i = 0; i < x->n_steps; i++) {
        struct step *s = x->steps[i];
        if (s->trigger != o->trigger_hash[0] || s->closed)
            continue;
        s->closed = true;
        s->reward = o->reward;
        release(c, group_of(c->set, s), o->closed_ms, out);
        return;
    }
}

int64_t steps_due(const struct policy_set *set, const struct user_ext *x) {
    int64_t due = TIME_NEVER;
    for (size_t i = 0; x && i < x->n_steps; i++) {
        const struct step *s = x->steps[i];
        if (s->closed && next_of(set, x, i + 1, group_of(set, s)) == x->n_steps)
            due = MIN(due, s->at_ms + patience_ms(set, s));
    }
    return due;
}

void steps_end_due(const struct policy_context *c, int64_t now_ms, struct decisions *out) {
    struct user_ext *x = c->user->ext;
    for (uint16_t g = 0; x && x->n_steps && g < c->set->n_groups; g++)
        release(c, g, now_ms, out);
}

void steps_free(struct user_ext *x) {
    for (size_t i = 0; i < x->n_steps; i++)
        free(x->steps[i]);
    free(x->steps);
}

size_t steps_bytes(const struct user_ext *x) {
    return x->n_steps * (sizeof *x->steps + sizeof **x->steps);
}

/* ---- records ------------------------------------------------------------------ */

enum { NUMBERS = 33 /* bytes once: of the offer taken, and a bit for each that was open */ };

void steps_encode(const struct policy_set *set, const struct user_ext *x, struct buf *out) {
    wire_put_varint(out, x->n_steps);
    for (size_t i = 0; i < x->n_steps; i++) {
        const struct step *s = x->steps[i];
        wire_put_u64(out, set->c[s->campaign].hash);
        wire_put_u64(out, s->trigger);
        wire_put_u64(out, s->before);
        wire_put_signed(out, s->at_ms);
        wire_put_u8(out, (uint8_t)(s->by | s->closed << 7));
        wire_put_f64(out, s->reward);
        wire_put_f32(out, s->propensity);
        wire_put_f32(out, s->by_network);
        wire_put_u8(out, FEATURES_VERSION);
        wire_put(out, s->columns, sizeof s->columns);
    }
}

static bool window_open(const struct user_ext *x, uint64_t trigger) {
    for (size_t i = 0; i < x->n_pending; i++)
        if (x->pending[i].trigger[0] == trigger)
            return true;
    return false;
}

static int campaign_of(const struct policy_set *set, uint64_t hash) {
    for (size_t i = 0; i < set->n; i++)
        if (set->c[i].hash == hash)
            return (int)i;
    return -1;
}

int steps_restore(const struct policy_set *set, struct wire *w, bool numbered, struct user_ext *x) {
    uint8_t numbers[NUMBERS];
    for (uint64_t n = wire_get_varint(w); n && !w->bad; n--) {
        autofree(free) struct step *s = malloc(sizeof *s);
        if (!s)
            return -ENOMEM;
        int campaign = campaign_of(set, wire_get_u64(w));
        *s = (struct step){.trigger = wire_get_u64(w)};
        s->before = wire_get_u64(w);
        s->at_ms = wire_get_signed(w);
        uint8_t flags = wire_get_u8(w);
        s->by = flags & 0x7f;
        s->closed = flags >> 7;
        if (numbered)
            wire_get(w, numbers, sizeof numbers);
        s->reward = wire_get_f64(w);
        s->propensity = wire_get_f32(w);
        s->by_network = wire_get_f32(w);
        if (numbered)
            s->by_network = NAN; /* it was what the other policy would have done */
        uint8_t version = wire_get_u8(w);
        wire_get(w, s->columns, sizeof s->columns);
        if (w->bad || s->by > BY_NETWORK || x->n_steps == STEPS_MAX)
            return -EBADMSG;
        s->campaign = (uint16_t)campaign;
        if (campaign < 0 || version != FEATURES_VERSION ||
            !set->group[set->c[campaign].group].deep || (!s->closed && !window_open(x, s->trigger)))
            continue;
        if (ext_grow((void **)&x->steps, x->n_steps, sizeof *x->steps) < 0)
            return -ENOMEM;
        x->steps[x->n_steps++] = TAKE(s);
    }
    return 0;
}
