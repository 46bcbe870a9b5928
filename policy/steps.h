/* A user's decisions of groups that look ahead, until all is known that followed from each. */
#pragma once

#include "model/wire.h"
#include "policy/internal.h"
#include "policy/passage.h"

/* Kept of one user; the oldest goes first, and teaches nothing then. */
enum { STEPS_MAX = 32 };

struct step {
    uint64_t trigger, before; /* as in a passage */
    int64_t at_ms;
    float columns[STEP_COLUMNS];
    double reward;
    float propensity, by_network;
    uint16_t campaign; /* one of the group's */
    uint8_t by;
    bool closed; /* its window; the reward is known */
};

/* The state of a user at a moment. */
void step_state(const struct policy_context *c, const struct arms *arms, float *ret);

/* What was chosen of `arms`; NULL: memory is out. */
struct step *step_new(const struct policy_context *c, int64_t now_ms, const struct arms *arms,
                      const struct choice *choice);
/* Takes the step over, whatever happens, and tells what is known now of the one before. */
void steps_add(const struct policy_context *c, struct step *step, struct decisions *out);
/* The window of a decision closed. */
void steps_close(const struct policy_context *c, const struct outcome *o, struct decisions *out);
/* When the next one ends for want of another decision; TIME_NEVER: none. */
int64_t steps_due(const struct policy_set *set, const struct user_ext *x);
void steps_end_due(const struct policy_context *c, int64_t now_ms, struct decisions *out);
void steps_free(struct user_ext *x);
size_t steps_bytes(const struct user_ext *x);

void steps_encode(const struct policy_set *set, const struct user_ext *x, struct buf *out);
/* Those whose group looks ahead still and whose window is open or closed; `numbered`: as they were
 * written when offers had numbers. 0, -ENOMEM, -EBADMSG. */
int steps_restore(const struct policy_set *set, struct wire *w, bool numbered, struct user_ext *x);
