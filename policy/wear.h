/* What weariness of messages takes off a decision's reward, learned from how decisions of the same
 * customer differ. Between customers it cannot be seen: those who get many messages are others than
 * those who get few. From one of a customer's decisions to his next one, what is his own drops out
 * (first differences: Wooldridge 2010, 10.6), and what the bandit expects of the rest is taken off.
 *
 * Thread: one at a time changes it; any number may ask while nobody does. */
#pragma once

#include "policy/features.h"
#include "policy/ridge.h"

struct wear {
    struct ridge sums;
    struct ridge_fit fit;
};

/* 0 or -ENOMEM; wear_done in either case. */
int wear_init(struct wear *w);
void wear_done(struct wear *w);

/* One decision: messages that he remembers, the columns of one, and the reward less what is
 * expected of it without any. */
struct wear_sample {
    float messages, column[WEAR_COLUMNS], value;
    double rest;
};
/* A customer's decision and his next one. */
void wear_learn(struct wear *w, const struct wear_sample *before, const struct wear_sample *next,
                int64_t time_ms);
/* What was told counts from now on. 0 or -EDOM, see ridge_solve. */
int wear_refresh(struct wear *w, int64_t now_ms);
/* What is lost with these columns, as of the last refresh. */
double wear_loss(const struct wear *w, const float column[WEAR_COLUMNS]);

int wear_encode(const struct wear *w, struct buf *out);
/* 0, -EBADMSG or -EDOM. */
int wear_restore(struct wear *w, const void *p, size_t n, int64_t now_ms, size_t *ret_n);
