#include "consumer/judge.h"

#include <math.h>

enum { GROUP_SEED = 1 };

struct seen {
    uint32_t *item;
    uint32_t n, cap;
};

struct judge {
    const struct config *cfg;
    const struct positive *positive;
    const struct tape *tape;
    size_t first, end;
    enum evaluate evaluate;
    uint32_t texts; /* arrays below have one entry per text of the tape */
    uint32_t *user_events, *session_events;
    struct seen *seen;    /* NULL: not remembered */
    uint64_t *popularity; /* per item */
    uint64_t events;      /* their sum */
    bool *known;          /* per item: may be listed */
    uint64_t items;       /* their number */
    uint64_t *last;       /* bit per event, for `last` */
    int64_t begin_ms, end_ms;
};

const char *const judge_age_name[JUDGE_AGES] = {"0", "1", "2", "3-4", "5-9", "10+"};

static size_t age_of(uint32_t events) {
    return events < 3 ? events : events < 5 ? 3 : events < 10 ? 4 : 5;
}

bool judge_positive(const struct judge *j, size_t event) {
    const struct taped *e = tape_at(j->tape, event);
    return e->item && positive_match(j->cfg, j->positive, e->type, e->value);
}

/* Marks each owner's last case. */
static int find_last(struct judge *j) {
    size_t n = j->end;
    size_t *user = calloc(j->texts, sizeof *user), *session = calloc(j->texts, sizeof *session);
    j->last = calloc(n / 64 + 1, sizeof *j->last);
    if (user && session && j->last) {
        for (size_t i = j->first; i < n; i++) {
            const struct taped *e = tape_at(j->tape, i);
            size_t *last = e->session ? &session[e->session] : &user[e->user];
            if (!judge_positive(j, i))
                continue;
            if (*last) /* holds the place plus one */
                j->last[(*last - 1) / 64] &= ~(UINT64_C(1) << (*last - 1) % 64);
            j->last[i / 64] |= UINT64_C(1) << i % 64;
            *last = i + 1;
        }
    }
    int r = user && session && j->last ? 0 : -ENOMEM;
    free(user);
    free(session);
    return r;
}

int judge_new(const struct config *cfg, const struct positive *p, const struct tape *t,
              size_t first, size_t end, enum evaluate evaluate, bool remember, struct judge **ret) {
    autofree(judge_free) struct judge *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    *j = (struct judge){.cfg = cfg,
                        .positive = p,
                        .tape = t,
                        .first = first,
                        .end = end,
                        .evaluate = evaluate,
                        .texts = tape_texts(t),
                        .begin_ms = INT64_MAX,
                        .end_ms = INT64_MIN};
    j->user_events = calloc(j->texts, sizeof *j->user_events);
    j->session_events = calloc(j->texts, sizeof *j->session_events);
    j->popularity = calloc(j->texts, sizeof *j->popularity);
    j->known = calloc(j->texts, sizeof *j->known);
    if (remember || evaluate == EVALUATE_NEW)
        j->seen = calloc(j->texts, sizeof *j->seen);
    if (!j->user_events || !j->session_events || !j->popularity || !j->known ||
        ((remember || evaluate == EVALUATE_NEW) && !j->seen))
        return -ENOMEM;
    for (size_t i = first; i < end; i++) {
        j->begin_ms = MIN(j->begin_ms, tape_at(t, i)->time_ms);
        j->end_ms = MAX(j->end_ms, tape_at(t, i)->time_ms);
    }
    int r = evaluate == EVALUATE_LAST ? find_last(j) : 0;
    if (r < 0)
        return r;
    *ret = TAKE(j);
    return 0;
}

void judge_free(struct judge *j) {
    if (!j)
        return;
    for (uint32_t i = 0; j->seen && i < j->texts; i++)
        free(j->seen[i].item);
    free(j->seen);
    free(j->user_events);
    free(j->session_events);
    free(j->popularity);
    free(j->known);
    free(j->last);
    free(j);
}

static uint32_t *events_of_owner(const struct judge *j, const struct taped *e) {
    return e->session ? &j->session_events[e->session] : &j->user_events[e->user];
}

static bool has_seen(const struct judge *j, uint32_t user, uint32_t item) {
    const struct seen *s = &j->seen[user];
    for (uint32_t i = 0; i < s->n; i++)
        if (s->item[i] == item)
            return true;
    return false;
}

bool judge_is_case(const struct judge *j, size_t event) {
    const struct taped *e = tape_at(j->tape, event);
    if (event < j->first || !judge_positive(j, event))
        return false;
    switch (j->evaluate) {
    case EVALUATE_EVERY:
        return *events_of_owner(j, e) > 0;
    case EVALUATE_NEW:
        return !has_seen(j, e->user, e->item);
    case EVALUATE_LAST:
        return j->last[event / 64] >> event % 64 & 1;
    }
    return false;
}

void judge_item(struct judge *j, uint32_t item) {
    if (item >= j->texts || j->known[item])
        return;
    j->known[item] = true;
    j->items++;
}

bool judge_is_item(const struct judge *j, uint32_t item) {
    return item < j->texts && j->known[item];
}

uint64_t judge_items(const struct judge *j) {
    return j->items;
}

int judge_note(struct judge *j, size_t event, bool counts) {
    const struct taped *e = tape_at(j->tape, event);
    if (!e->item)
        return 0;
    ++*events_of_owner(j, e);
    if (counts)
        judge_item(j, e->item);
    if (!judge_positive(j, event))
        return 0;
    j->popularity[e->item] += counts;
    j->events += counts;
    if (!j->seen || has_seen(j, e->user, e->item))
        return 0;
    struct seen *s = &j->seen[e->user];
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? 2 * s->cap : 4;
        uint32_t *p = reallocarray(s->item, cap, sizeof *p);
        if (!p)
            return -ENOMEM;
        s->item = p;
        s->cap = cap;
    }
    s->item[s->n++] = e->item;
    return 0;
}

const uint32_t *judge_seen(const struct judge *j, uint32_t user, size_t *ret_n) {
    *ret_n = j->seen ? j->seen[user].n : 0;
    return *ret_n ? j->seen[user].item : NULL;
}

uint64_t judge_popularity(const struct judge *j, uint32_t item) {
    return item < j->texts ? j->popularity[item] : 0;
}

float judge_self_information(const struct judge *j, uint32_t item) {
    return log2f((float)(j->events + 1) / (float)(judge_popularity(j, item) + 1));
}

int64_t judge_time(const struct judge *j, size_t i) {
    double span = (double)(j->end_ms - j->begin_ms) + 1;
    return j->begin_ms + (int64_t)(span * (double)i / JUDGE_TIMES);
}

static size_t time_of(const struct judge *j, int64_t time_ms) {
    double span = (double)(j->end_ms - j->begin_ms) + 1;
    return (size_t)((double)(time_ms - j->begin_ms) / span * JUDGE_TIMES);
}

int score_init(struct score *s, const uint32_t *k, size_t n_k) {
    *s = (struct score){0};
    int r = rankmetrics_new(k, n_k, &s->all);
    for (size_t i = 0; i < JUDGE_AGES && r == 0; i++)
        r = rankmetrics_new(k, n_k, &s->age[i]);
    for (size_t i = 0; i < JUDGE_TIMES && r == 0; i++)
        r = rankmetrics_new(k, n_k, &s->time[i]);
    if (r < 0)
        score_done(s);
    return r;
}

void score_done(struct score *s) {
    rankmetrics_free(s->all);
    for (size_t i = 0; i < JUDGE_AGES; i++)
        rankmetrics_free(s->age[i]);
    for (size_t i = 0; i < JUDGE_TIMES; i++)
        rankmetrics_free(s->time[i]);
    *s = (struct score){0};
}

int score_add(struct score *s, const struct judge *j, size_t event, uint32_t place,
              const uint32_t *items, uint32_t n) {
    enum { LIST_MAX = 256 };
    const struct taped *e = tape_at(j->tape, event);
    struct rankmetrics *of[] = {s->all, s->age[age_of(*events_of_owner(j, e))],
                                s->time[time_of(j, e->time_ms)]};
    uint64_t group = hash_str(tape_text(j->tape, e->user), GROUP_SEED);
    float info[LIST_MAX];
    /* A user's cases are not independent: they are one group. */
    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        rankmetrics_add(of[i], group, &place, 1, n);
    n = MIN(n, (uint32_t)LIST_MAX);
    for (uint32_t i = 0; i < n; i++)
        info[i] = judge_self_information(j, items[i]);
    return rankmetrics_listed(s->all, items, info, n);
}
