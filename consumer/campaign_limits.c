/* How often, how much, when: a campaign's caps, budget, days and quiet hours. */
#include <stdio.h>

#include "consumer/campaign_keys.h"
#include "consumer/options_table.h"
#include "consumer/parse.h"

/* ---- caps, budgets, dates --------------------------------------------------- */

/* "3 per 7d"; `what` names the number in a fault. */
static bool read_rate(struct yaml_walk *w, const yaml_node_t *v, const char *example, int64_t max,
                      int64_t *ret_n, struct str *ret_per) {
    const char *text = walk_need_text(w, v, example), *per = text ? strstr(text, " per ") : NULL;
    double x;
    if (!text)
        return false;
    if (!per || !parse_number((struct str){text, (size_t)(per - text)}, &x) || x < 1 ||
        x != (double)(int64_t)x || x > (double)max) {
        walk_fault(w, v, "must be like %s with a whole number up to %lld, found %s", example,
                   (long long)max, text);
        return false;
    }
    *ret_n = (int64_t)x;
    *ret_per = str_of(per + strlen(" per "));
    return true;
}

static void read_cap(struct yaml_walk *w, const yaml_node_t *v, struct caps *to) {
    struct cap cap;
    struct str per;
    int64_t n;
    if (!read_rate(w, v, "3 per 7d", CAP_COUNT_MAX, &n, &per))
        return;
    if (parse_ms(per.p, &cap.per_ms) < 0 || cap.per_ms <= 0) {
        walk_fault(w, v, "must be like 3 per 7d, and %s is no time", per.p);
        return;
    }
    cap.n = (uint32_t)n;
    to->cap[to->n++] = cap;
}

bool value_none(const yaml_node_t *v) {
    const char *text = walk_text(v);
    return text && strcmp(text, "none") == 0;
}

/* One cap, a list of them, or none. */
void read_caps_value(struct yaml_walk *w, const yaml_node_t *v, struct caps *to) {
    *to = (struct caps){0};
    if (value_none(v))
        return;
    if (v->type != YAML_SEQUENCE_NODE) {
        read_cap(w, v, to);
        return;
    }
    if (v->data.sequence.items.top - v->data.sequence.items.start > CAPS_MAX) {
        walk_fault(w, v, "has more than %d caps", CAPS_MAX);
        return;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++)
        read_cap(w, walk_node(w, *i), to);
}

void read_campaign_caps(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    read_caps_value(w, v, &draft_spec(draft)->caps);
}

void read_budget(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct str per;
    int64_t n;
    draft_spec(draft)->budget = UINT32_MAX;
    if (value_none(v) || !read_rate(w, v, "1000 per day", 1000000000, &n, &per))
        return;
    if (!str_eq(per, STR("day")))
        walk_fault(w, v, "is counted per day: write %lld per day", (long long)n);
    draft_spec(draft)->budget = (uint32_t)n;
}

static bool read_date(struct yaml_walk *w, const yaml_node_t *v, int32_t *ret) {
    static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *text = walk_need_text(w, v, "a date such as 2026-12-31");
    int year, used = 0;
    unsigned month, day;
    if (!text)
        return false;
    if (strlen(text) != 10 || strspn(text, "0123456789-") != 10 ||
        sscanf(text, "%4d-%2u-%2u%n", &year, &month, &day, &used) != 3 || used != 10 ||
        year < 1970 || month < 1 || month > 12 || day < 1 ||
        day >
            days[month - 1] + (month == 2 && ((year % 4 == 0 && year % 100) || year % 400 == 0))) {
        walk_fault(w, v, "must be a date such as 2026-12-31, found %s", text);
        return false;
    }
    *ret = days_from_civil(year, month, day);
    return true;
}

void read_starts(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    read_date(w, v, &draft_spec(draft)->start_day);
}

void read_ends(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    ((struct draft *)draft)->ends_node = v;
    read_date(w, v, &draft_spec(draft)->end_day);
}

/* ---- quiet hours -------------------------------------------------------------- */

static bool read_clock(struct yaml_walk *w, const yaml_node_t *v, uint16_t *ret) {
    const char *text = walk_need_text(w, v, "a time of day such as \"21:00\"");
    unsigned h, m;
    int used = 0;
    if (!text)
        return false;
    if (strspn(text, "0123456789:") != strlen(text) ||
        sscanf(text, "%2u:%2u%n", &h, &m, &used) != 2 || (size_t)used != strlen(text) || h > 23 ||
        m > 59) {
        walk_fault(w, v, "must be a time of day from \"00:00\" to \"23:59\", found %s", text);
        return false;
    }
    *ret = (uint16_t)(h * 60 + m);
    return true;
}

static void read_from(struct yaml_walk *w, const yaml_node_t *v, void *quiet) {
    read_clock(w, v, &((struct quiet_hours *)quiet)->from_min);
}

static void read_to(struct yaml_walk *w, const yaml_node_t *v, void *quiet) {
    read_clock(w, v, &((struct quiet_hours *)quiet)->to_min);
}

static void read_then(struct yaml_walk *w, const yaml_node_t *v, void *quiet) {
    const char *text = walk_need_text(w, v, "wait or drop");
    if (text && strcmp(text, "wait") != 0 && strcmp(text, "drop") != 0)
        walk_fault(w, v, "must be wait or drop, found %s", text);
    ((struct quiet_hours *)quiet)->drop = text && strcmp(text, "drop") == 0;
}

void read_quiet(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct quiet_hours *q = &draft_spec(draft)->quiet;
    const struct walk_key keys[] = {
        {"from", read_from, !q->on}, {"to", read_to, !q->on}, {"then", read_then, false}};
    size_t faults = w->n_faults;
    if (value_none(v)) {
        q->on = false;
        return;
    }
    walk_map(w, v, keys, ARRAY_LEN(keys), q);
    q->on = true;
    if (faults == w->n_faults && q->from_min == q->to_min)
        walk_fault(w, v, "from and to are the same; write none for no quiet hours");
}

void read_campaign_holdout(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    double percent;
    if (value_number(w, v, 0, 100, &percent))
        draft_spec(draft)->holdout = (uint32_t)(percent * 100 + 0.5);
}

void read_holdout_name(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_label(w, v, "a name", &draft_spec(draft)->holdout_name);
}

void read_pacing(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    const char *text = walk_need_text(w, v, "even or none");
    if (text && strcmp(text, "even") != 0 && strcmp(text, "none") != 0)
        walk_fault(w, v, "must be even or none, found %s", text);
    draft_spec(draft)->even = text && strcmp(text, "even") == 0;
}
