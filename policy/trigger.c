/* What sets a campaign off: events, timers, price drops. */
#include <math.h>

#include "policy/steps.h"

/* The earliest lapse that is still to fire, and which campaigns share it: those of
 * `lapsed` from *ret_from on with the same days. TIME_NEVER: none. */
static int64_t next_lapse(const struct policy_set *set, const struct policy_shard *s,
                          const struct user *u, size_t *ret_from) {
    const struct user_ext *x = u->ext;
    for (size_t i = 0; i < set->lapsed.n; i++) {
        int64_t due = u->prof.last_ms + set->c[set->lapsed.i[i]].spec.trigger.days_ms;
        if ((x && due <= x->lapse_ms) || (s && due <= shard_since_ms(s, set->lapsed.i[i])))
            continue;
        *ret_from = i;
        return due;
    }
    return TIME_NEVER;
}

int64_t next_due(const struct policy_set *set, const struct policy_shard *s, const struct user *u) {
    const struct user_ext *x = u->ext;
    size_t from;
    const int64_t of[] = {u->prof.last_ms ? next_lapse(set, s, u, &from) : TIME_NEVER,
                          feedback_due(x), exposure_due(x), steps_due(set, x),
                          x && x->n_timers ? x->timers[0].due_ms : TIME_NEVER};
    int64_t due = TIME_NEVER;
    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        due = MIN(due, of[i]);
    return due;
}

/* The event's item, looked at once and only if somebody asks. */
struct subject {
    const struct policy_context *c;
    uint32_t row;
    bool looked;
    struct item_view view;
};

static const struct item_view *subject_view(struct subject *s) {
    if (!s->looked && s->row < model_items(s->c->model))
        model_item_view(s->c->model, s->row, &s->view);
    s->looked = true;
    return &s->view;
}

/* Notes a view that a `viewed` campaign may count, now or later. */
static int note_view(const struct policy_context *c, const struct event *e,
                     struct subject *subject) {
    const struct policy_set *set = c->set;
    const struct item_view *item = subject_view(subject);
    struct viewed v = {
        .time_s = (uint32_t)MAX(e->time_ms / 1000, 0),
        .item = e->item.n ? (uint32_t)hash_str(e->item, 0) : 0,
        .category = item->category.n ? (uint32_t)hash_str(item->category, 0) : 0,
    };
    bool wanted = set->views_all;
    for (size_t i = 0; i < set->n && !wanted; i++)
        wanted =
            set->c[i].spec.trigger.kind == TRIGGER_VIEWED && set->c[i].category_hash == v.category;
    if (!wanted)
        return 0;
    struct user_ext *x = ext_get(c->user);
    return x ? ext_view_add(x, set, &v) : -ENOMEM;
}

/* The event's own view is the newest of the log. */
static bool viewed_enough(const struct policy_context *c, uint16_t campaign,
                          const struct event *e) {
    const struct campaign *k = &c->set->c[campaign];
    const struct trigger_spec *t = &k->spec.trigger;
    const struct user_ext *x = c->user->ext;
    if (!x || !x->n_views)
        return false;
    struct viewed like = x->views[x->n_views - 1];
    if (t->subject == VIEWS_OF_CATEGORY        ? like.category != k->category_hash
        : t->subject == VIEWS_OF_SAME_CATEGORY ? !like.category
                                               : t->subject == VIEWS_OF_SAME_ITEM && !like.item)
        return false;
    int64_t mark_ms = ext_mark(x, campaign), from_s = (e->time_ms - t->within_ms) / 1000;
    if (mark_ms != TIME_UNSET)
        from_s = MAX(from_s, mark_ms / 1000);
    uint32_t views = 0;
    for (size_t i = x->n_views; i-- && views < t->times;) {
        const struct viewed *v = &x->views[i];
        views += v->time_s > from_s &&
                 (t->subject == VIEWS_OF_ANYTHING ||
                  (t->subject == VIEWS_OF_SAME_ITEM ? v->item == like.item
                                                    : v->category == like.category));
    }
    if (views < t->times)
        return false;
    double bought = profile_value(&c->user->prof, PF_DAYS_SINCE_PURCHASE, e->time_ms);
    return !(t->without_purchase && bought * 86400e3 <= (double)t->within_ms);
}

static bool event_matches(const struct trigger_spec *t, const struct event *e,
                          struct subject *subject) {
    if (!isnan(t->min_value) && !(e->value >= t->min_value))
        return false;
    if (!isnan(t->max_value) && !(e->value <= t->max_value))
        return false;
    return !t->category.n || str_eq(subject_view(subject)->category, t->category);
}

/* A cart is abandoned so long after the last thing was put into it. */
static int start_cart_timer(const struct policy_context *c, uint16_t campaign,
                            const struct event *e, uint32_t item_row) {
    const struct campaign *k = &c->set->c[campaign];
    struct user_ext *x = c->user->ext;
    struct timer old;
    if (!audience_holds(c, k, e, item_row, e->time_ms, true))
        return 0;
    if (x && ext_timer_find(x, campaign, TIMER_CART, &old) && old.since_ms > e->time_ms)
        return 0;
    x = ext_get(c->user);
    return !x ? -ENOMEM
              : ext_timer_set(x, &(struct timer){
                                     .due_ms = e->time_ms + k->spec.trigger.after_ms,
                                     .since_ms = e->time_ms,
                                     .cause_hash = hash_str(e->id, 0),
                                     .old_price = NAN,
                                     .new_price = NAN,
                                     .item = item_row,
                                     .campaign = campaign,
                                     .kind = TIMER_CART,
                                 });
}

static bool is_cart_timer(const struct policy_set *set, const struct timer *t) {
    return set->c[t->campaign].spec.trigger.kind == TRIGGER_CART_ABANDONED;
}

/* Who buys is no longer to be won: waiting offers and abandoned carts are called off. */
static void convert(struct user_ext *x, int64_t at_ms) {
    for (size_t i = x->n_timers; i--;)
        if (x->timers[i].since_ms <= at_ms)
            ext_timer_remove(x, i);
}

static void cart_emptied(const struct policy_set *set, struct user_ext *x) {
    for (size_t i = x->n_timers; i--;)
        if (is_cart_timer(set, &x->timers[i]))
            ext_timer_remove(x, i);
}

static void finish(const struct policy_context *c) {
    ext_drop_if_empty(c->user);
    c->user->due_ms = next_due(c->set, c->shard, c->user);
}

void policy_on_event(const struct policy_context *c, const struct event *e, uint32_t item_row,
                     struct decisions *out) {
    const struct policy_set *set = c->set;
    struct candidate cand[POLICY_CAMPAIGNS_MAX];
    struct subject subject = {.c = c, .row = item_row};
    struct recent_item cart;
    size_t n = 0;
    if (feedback_on_event(c, e, item_row) < 0 || guard_note_age(c, e) < 0 ||
        fairness_note(c, e) < 0)
        out->failed = true;
    if (!set->n) {
        c->user->due_ms = TIME_NEVER;
        return;
    }
    shard_begin(c->shard, e->time_ms);
    if (c->user->ext && e->type == EV_PURCHASE)
        convert(c->user->ext, e->time_ms);
    if (c->user->ext && e->type == EV_CART_REMOVE && !profile_cart(&c->user->prof, &cart, 1))
        cart_emptied(set, c->user->ext);
    const struct index_list *answering =
        e->type < EV_MAX ? &set->by_type[e->type] : &(struct index_list){0};
    if (set->views_keep_s && (e->type == EV_VIEW || e->type == EV_CLICK) &&
        note_view(c, e, &subject) < 0)
        out->failed = true;
    for (size_t i = 0; i < answering->n; i++) {
        uint16_t k = answering->i[i];
        const struct trigger_spec *t = &set->c[k].spec.trigger;
        if (t->kind == TRIGGER_CART_ABANDONED) {
            if (start_cart_timer(c, k, e, item_row) < 0)
                out->failed = true;
        } else if (t->kind == TRIGGER_VIEWED ? viewed_enough(c, k, e)
                                             : event_matches(t, e, &subject)) {
            cand[n++].campaign = k;
        }
    }
    if (set->welcome.n && profile_value(&c->user->prof, PF_SESSION_EVENTS, e->time_ms) == 1) {
        double session = profile_value(&c->user->prof, PF_SESSIONS, e->time_ms);
        for (size_t i = 0; i < set->welcome.n; i++)
            if (set->c[set->welcome.i[i]].spec.trigger.session == session)
                cand[n++].campaign = set->welcome.i[i];
    }
    uint64_t cause = hash_str(e->id, 0);
    for (size_t i = 0; i < n; i++)
        cand[i] = (struct candidate){
            .campaign = cand[i].campaign,
            .item = item_row,
            .old_price = NAN,
            .new_price = NAN,
            .cause_hash = cause,
            .since_ms = e->time_ms,
        };
    if (n)
        decide(c, e, user_clock(c->user, e->time_ms), cand, n, out);
    finish(c);
}

/* Identity of what no event set off. */
static uint64_t identity(const char *what, struct str of, int64_t a, double b) {
    uint64_t parts[3] = {hash_str(str_of(what), 0), (uint64_t)a, 0};
    memcpy(&parts[2], &b, sizeof b);
    return hash_str(of, hash_bytes(parts, sizeof parts, 0));
}

static struct candidate candidate_of(const struct timer *t) {
    return (struct candidate){
        .campaign = t->campaign,
        .item = t->item,
        .old_price = t->old_price,
        .new_price = t->new_price,
        .cause_hash = t->cause_hash,
        .since_ms = t->kind == TIMER_POSTPONED ? t->since_ms : t->due_ms,
    };
}

/* The cart may hold other things by now; then it is about one of those. */
static bool still_in_cart(const struct user *u, struct timer *t) {
    struct recent_item cart[PROFILE_CART_MAX];
    size_t n = profile_cart(&u->prof, cart, PROFILE_CART_MAX);
    for (size_t i = 0; i < n; i++)
        if (cart[i].item == t->item)
            return true;
    if (n)
        t->item = cart[0].item;
    return n > 0;
}

/* Takes all timers of one moment; they compete with each other. */
static size_t take_due(const struct policy_context *c, int64_t due_ms, struct candidate *cand,
                       struct decisions *out) {
    const struct policy_set *set = c->set;
    struct user_ext *x = c->user->ext;
    bool used[POLICY_CAMPAIGNS_MAX] = {0};
    size_t n = 0, from = 0;
    if (next_lapse(set, c->shard, c->user, &from) == due_ms && c->user->prof.last_ms) {
        x = ext_get(c->user);
        if (!x) {
            out->failed = true;
            return 0;
        }
        for (size_t i = from; i < set->lapsed.n; i++) {
            uint16_t k = set->lapsed.i[i];
            if (c->user->prof.last_ms + set->c[k].spec.trigger.days_ms != due_ms)
                break;
            if (due_ms <= shard_since_ms(c->shard, k))
                continue;
            used[k] = true;
            cand[n++] = (struct candidate){
                .campaign = k,
                .item = ROW_NONE,
                .old_price = NAN,
                .new_price = NAN,
                .cause_hash = identity("lapsed", set->c[k].spec.id, c->user->prof.last_ms, 0),
                .since_ms = due_ms,
            };
        }
        x->lapse_ms = due_ms;
    }
    while (x && x->n_timers && x->timers[0].due_ms == due_ms) {
        struct timer t = x->timers[0];
        ext_timer_remove(x, 0);
        const struct trigger_spec *of = &set->c[t.campaign].spec.trigger;
        if (is_cart_timer(set, &t) && !still_in_cart(c->user, &t))
            continue;
        if (of->kind == TRIGGER_FOLLOWS && !feedback_silent(x, t.cause_hash, of->unless))
            continue;
        if (!used[t.campaign]) { /* a campaign competes once: what fires anew before what waited */
            used[t.campaign] = true;
            cand[n++] = candidate_of(&t);
        }
    }
    return n;
}

static int by_campaign(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    return (x->campaign > y->campaign) - (x->campaign < y->campaign);
}

void policy_on_time(const struct policy_context *c, int64_t now_ms, struct decisions *out) {
    const struct policy_set *set = c->set;
    struct user *u = c->user;
    if (u->due_ms > now_ms || !set->n)
        return;
    shard_begin(c->shard, now_ms);
    for (int64_t due; !out->failed && (due = next_due(set, c->shard, u)) <= now_ms;) {
        struct candidate cand[POLICY_CAMPAIGNS_MAX];
        feedback_close_due(c, due, out);
        exposure_close_due(c, due);
        steps_end_due(c, due, out);
        size_t n = take_due(c, due, cand, out);
        struct user_ext *x = u->ext;
        if (out->failed || !n)
            continue;
        int64_t at = user_clock(u, due);
        x->clock_ms = MAX(x->clock_ms, at);
        qsort(cand, n, sizeof *cand, by_campaign);
        decide(c, NULL, at, cand, n, out);
    }
    finish(c);
}

bool policy_wants_price_drops(const struct policy_set *s) {
    return s->price_drop.n > 0;
}

void policy_on_price_drop(const struct policy_context *c, uint32_t item, double old_price,
                          double new_price, int64_t now_ms, struct decisions *out) {
    const struct policy_set *set = c->set;
    struct candidate cand[POLICY_CAMPAIGNS_MAX];
    struct recent_item recent[PROFILE_RECENT_MAX];
    struct item_view view;
    size_t n = 0;
    if (!set->price_drop.n || !(old_price > 0) || !(new_price < old_price) ||
        item >= model_items(c->model))
        return;
    shard_begin(c->shard, now_ms);
    int64_t now = user_clock(c->user, now_ms), seen_ms = TIME_UNSET;
    size_t n_recent = profile_recent(&c->user->prof, recent, PROFILE_RECENT_MAX);
    for (size_t i = 0; i < n_recent && seen_ms == TIME_UNSET; i++)
        if (recent[i].item == item) {
            if (recent[i].type == EV_PURCHASE)
                return; /* bought already */
            seen_ms = (int64_t)recent[i].time_s * 1000;
        }
    if (seen_ms == TIME_UNSET)
        return;
    model_item_view(c->model, item, &view);
    /* A price is news once a day, so that hearing of it again, a little later or after the user
     * moved to another process, is the same trigger. */
    double percent = (old_price - new_price) / old_price * 100;
    for (size_t i = 0; i < set->price_drop.n; i++) {
        const struct trigger_spec *t = &set->c[set->price_drop.i[i]].spec.trigger;
        if (percent >= t->percent && now - seen_ms <= t->within_ms)
            cand[n++] = (struct candidate){
                .campaign = set->price_drop.i[i],
                .item = item,
                .old_price = old_price,
                .new_price = new_price,
                .cause_hash = identity("price", view.id, tz_day(set->tz, now_ms), new_price),
                .since_ms = now_ms,
            };
    }
    if (n)
        decide(c, NULL, now, cand, n, out);
    finish(c);
}
