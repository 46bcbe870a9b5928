/* A user's part: timers, sends, marks and views; nothing at all for most users. */
#include "policy/features.h"
#include "policy/steps.h"

int ext_grow(void **array, size_t n, size_t width) {
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
    for (size_t i = 0; i < x->n_pending; i++)
        free(x->pending[i].x);
    free(x->pending);
    free(x->denials);
    free(x->exposures);
    free(x->traits);
    steps_free(x);
    free(x);
}
void ext_drop_if_empty(struct user *u) {
    const struct user_ext *x = u->ext;
    if (x && !x->n_timers && !x->n_sends && !x->n_marks && !x->n_views && !x->n_pending &&
        !x->n_denials && !x->n_exposures && !x->n_traits && !x->n_steps && !x->minor &&
        !x->messages && !x->redeemed && x->lapse_ms == TIME_UNSET) {
        policy_user_free(u->ext);
        u->ext = NULL;
    }
}

size_t policy_user_bytes(const struct user *u) {
    const struct user_ext *x = u->ext;
    size_t features = 0;
    for (size_t i = 0; x && i < x->n_pending; i++)
        features += x->pending[i].x ? FEATURES_BYTES : 0;
    return !x ? 0
              : sizeof *x + capacity(x->n_timers) * sizeof *x->timers +
                    capacity(x->n_sends) * sizeof *x->sends +
                    capacity(x->n_marks) * sizeof *x->marks +
                    capacity(x->n_views) * sizeof *x->views +
                    capacity(x->n_pending) * sizeof *x->pending +
                    capacity(x->n_denials) * sizeof *x->denials +
                    capacity(x->n_exposures) * sizeof *x->exposures +
                    capacity(x->n_traits) * sizeof *x->traits + steps_bytes(x) + features;
}

void ext_messaged(struct user_ext *x) {
    if (x->messages == UINT8_MAX) {
        x->messages /= 2;
        x->opened /= 2;
    }
    x->messages++;
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
        int r = ext_grow((void **)&x->timers, x->n_timers, sizeof *x->timers);
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
    return ext_grow((void **)&x->sends, x->n_sends, sizeof *x->sends);
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
        int r = ext_grow((void **)&x->marks, x->n_marks, sizeof *x->marks);
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
        int r = ext_grow((void **)&x->views, x->n_views, sizeof *x->views);
        if (r < 0)
            return r;
    }
    x->views[x->n_views++] = *v;
    return 0;
}

int ext_pending_reserve(struct user_ext *x) {
    return ext_grow((void **)&x->pending, x->n_pending, sizeof *x->pending);
}

void ext_pending_remove(struct user_ext *x, size_t i) {
    x->pending = take_out(x->pending, i, &x->n_pending, sizeof *x->pending);
}

int ext_deny(struct user_ext *x, uint32_t channel, int64_t time_ms) {
    size_t i = 0;
    while (i < x->n_denials && x->denials[i].channel != channel)
        i++;
    if (i == DENIALS_MAX) {
        for (i = 0; i < DENIALS_MAX; i++)
            time_ms = MAX(time_ms, x->denials[i].time_ms);
        x->denials[0] = (struct denial){time_ms, 0};
        x->n_denials = 1;
        return 0;
    }
    if (i == x->n_denials) {
        int r = ext_grow((void **)&x->denials, x->n_denials, sizeof *x->denials);
        if (r < 0)
            return r;
        x->denials[x->n_denials++] = (struct denial){time_ms, channel};
    }
    x->denials[i].time_ms = MAX(x->denials[i].time_ms, time_ms);
    return 0;
}
