/* Which events count as a person's yes, as one writes it: `rating>=4`, `purchase`, `click|view`.
 * Terms are joined by |; each names a type and, if its value matters, a comparison
 * (>=, <=, >, <, =) with a number. */
#pragma once

#include "consumer/options.h"

enum { POSITIVE_TERMS = 16 };

struct positive {
    size_t n; /* 0: nothing was said; every event of a type with a weight counts */
    struct {
        uint8_t type;
        char op[3]; /* empty: whatever the value */
        double value;
    } term[POSITIVE_TERMS];
};

/* Prints what is wrong and returns -EINVAL. Empty text: nothing said. */
int positive_parse(const struct config *cfg, const char *text, struct positive *ret);
bool positive_match(const struct config *cfg, const struct positive *p, uint8_t type, double value);
/* The least value of this type that counts, where one is said (rating>=5 → 5); NAN: none. */
double positive_least(const struct positive *p, uint8_t type);
