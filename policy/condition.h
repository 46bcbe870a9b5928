/* Audience conditions: `purchases >= 1`, `item.price >= 20`, `category_share(shoes) > 0.2`,
 * `country in [DE, AT]`, `context.app_version >= 3`. What is not known never meets a
 * condition, whichever its operator. */
#pragma once

#include "policy/policy.h"

enum condition_kind {
    CONDITION_FIELD,   /* a number of the profile */
    CONDITION_SHARE,   /* of a category in the user's interest, 0..1 */
    CONDITION_CONTEXT, /* text or number in the triggering event's context */
    CONDITION_NUMBER,  /* of the item it is about */
    CONDITION_TEXT,    /* of the item it is about */
};

enum condition_item { ITEM_PRICE, ITEM_MARGIN, ITEM_CATEGORY, ITEM_BRAND, ITEM_ID };
enum condition_op { OP_EQ, OP_NE, OP_LE, OP_GE, OP_LT, OP_GT, OP_IN };

struct condition {
    enum condition_kind kind;
    enum condition_op op;
    enum profile_field field;
    enum condition_item item;
    struct str name;  /* category or context key */
    size_t n;         /* operands: 1, or more with `in` */
    double *number;   /* of numeric comparisons */
    struct str *text; /* of textual ones */
    char *memory;     /* what the strings point into */
};

/* Context keys that may be named without `context.`; all others need it, so that a mistyped
 * field is a fault and not a context key that nobody sends. */
#define CONDITION_CONTEXT_KEYS(X)                                                                  \
    X("country")                                                                                   \
    X("region")                                                                                    \
    X("city")                                                                                      \
    X("device")                                                                                    \
    X("os")                                                                                        \
    X("browser")                                                                                   \
    X("language")                                                                                  \
    X("channel")                                                                                   \
    X("currency")                                                                                  \
    X("source")

struct condition_fault {
    char text[240];     /* one line: what is wrong and what to write */
    struct str unknown; /* a name that means nothing (in the caller's text), to suggest another; or
                           empty */
};

/* 0; -ENOMEM; or -EINVAL with `fault` filled. */
int condition_parse(struct str text, struct condition *ret, struct condition_fault *fault);
void condition_free(struct condition *c);

/* `e` NULL: conditions on its context are taken as met. `item`: ROW_NONE: none. */
bool condition_holds(const struct condition *c, const struct model *m, const struct user *u,
                     const struct event *e, uint32_t item, int64_t now_ms);
