#include "consumer/ope_rewards.h"

#include <stdio.h>

static const char COMMAND[] = "beckon ope";

static bool is_true(const struct frame_column *c, size_t row) {
    struct str s = frame_text(c, row);
    return str_eq(s, STR("true")) || str_eq(s, STR("1"));
}

/* What an outcome and a decision say of it, for both to be of the same choice. */
struct join {
    const struct frame_column *id, *sent, *reason; /* of the decisions */
    const struct frame_column *of, *was_sent;      /* of the outcomes */
    size_t *row;                                   /* by code of `of`; SIZE_MAX: taken */
};

static bool same_choice(const struct join *j, size_t decision, size_t outcome) {
    bool sent = is_true(j->was_sent, outcome);
    if (is_true(j->sent, decision) != sent)
        return false;
    return sent || str_eq(frame_text(j->reason, decision), STR("policy"));
}

static int columns(struct evaluation *e, struct join *j) {
    static const char hint[] = "--rewards needs Beckon's own decisions and outcomes.";
    struct frame *log = e->frame, *outcomes = e->outcomes;
    j->id = frame_need(COMMAND, log, "trigger_id", hint);
    j->sent = j->id ? frame_need(COMMAND, log, "sent", hint) : NULL;
    j->reason = j->sent ? frame_need(COMMAND, log, "reason", hint) : NULL;
    j->of = j->reason ? frame_need(COMMAND, outcomes, "trigger_id", hint) : NULL;
    j->was_sent = j->of ? frame_need(COMMAND, outcomes, "sent", hint) : NULL;
    return j->was_sent ? 0 : -EINVAL;
}

/* Pairs of rows that belong together, in the order of the decisions. */
static size_t match(const struct evaluation *e, struct join *j, size_t *decision, size_t *outcome) {
    size_t n = 0;
    for (size_t c = 0; c < j->of->n_values; c++)
        j->row[c] = SIZE_MAX;
    for (size_t i = e->outcomes->n; i--;)
        j->row[j->of->code[i]] = i;
    j->row[0] = SIZE_MAX; /* without an id */
    for (size_t i = 0; i < e->frame->n; i++) {
        size_t *row = &j->row[frame_code(j->of, frame_text(j->id, i))];
        if (*row == SIZE_MAX || !same_choice(j, i, *row))
            continue;
        decision[n] = i;
        outcome[n++] = *row;
        *row = SIZE_MAX;
    }
    return n;
}

int ope_join_rewards(struct evaluation *e) {
    struct join j = {0};
    int err = frame_read(COMMAND, e->o->rewards, &e->outcomes);
    if (err == 0)
        err = columns(e, &j);
    if (err)
        return err;
    autofree(free) size_t *decision = calloc(e->frame->n + 1, sizeof *decision);
    autofree(free) size_t *outcome = calloc(e->frame->n + 1, sizeof *outcome);
    autofree(free) size_t *row = calloc(j.of->n_values + 1, sizeof *row);
    if (!decision || !outcome || !row)
        return -ENOMEM;
    j.row = row;
    size_t n = match(e, &j, decision, outcome), without = 0;
    if (!n) {
        fprintf(stderr, "%s: no decision of %s has an outcome in %s\n", COMMAND, e->frame->path,
                e->o->rewards);
        return -ENODATA;
    }
    for (size_t c = 0; c < j.of->n_values; c++)
        without += row[c] != SIZE_MAX;
    if (without)
        fprintf(stderr,
                "%s: %zu outcomes of %s have no decision in the log and do not count: are "
                "all decisions there (topics.decision_sample: 1)?\n",
                COMMAND, without, e->o->rewards);
    err = frame_order(e->frame, decision, n);
    return err < 0 ? err : frame_order(e->outcomes, outcome, n);
}

void ope_nothing_where_not_sent(struct evaluation *e) {
    const struct frame_column *sent = frame_find(e->outcomes, STR("sent"));
    struct frame_column *action = &e->frame->column[e->role[ACTION].column - e->frame->column];
    for (size_t i = 0; i < e->frame->n; i++)
        if (!is_true(sent, i))
            action->code[i] = 0;
}
