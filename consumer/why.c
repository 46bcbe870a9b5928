#include "consumer/why.h"

#include <stdio.h>

void why_write(struct buf *out, const struct list *l) {
    for (uint32_t i = 0; i < l->n; i++) {
        const struct list_entry *e = &l->e[i];
        const char *name = list_reason_name((enum list_reason)e->because);
        char text[24];
        int n = e->propensity > 0 ? snprintf(text, sizeof text, "=%.4g", (double)e->propensity) : 0;
        if (i)
            buf_put(out, " ", 1);
        buf_put(out, name, strlen(name));
        buf_put(out, text, (size_t)n);
    }
}

bool why_next(struct str *text, struct str *ret_reason, double *ret_propensity) {
    if (text->n == 0)
        return false;
    const char *space = memchr(text->p, ' ', text->n);
    struct str word = {text->p, space ? (size_t)(space - text->p) : text->n};
    size_t used = word.n + (space != NULL);
    *text = (struct str){text->p + used, text->n - used};
    const char *equals = memchr(word.p, '=', word.n);
    *ret_propensity = 0;
    if (equals) {
        char number[24] = "";
        size_t n = MIN(word.n - (size_t)(equals + 1 - word.p), sizeof number - 1);
        memcpy(number, equals + 1, n);
        *ret_propensity = strtod(number, NULL);
        word.n = (size_t)(equals - word.p);
    }
    *ret_reason = word;
    return true;
}

const char *why_meaning(struct str reason) {
    static const char *const meaning[BECAUSE_COUNT] = {
        [BECAUSE_TASTE] = "it is near what the user was taught to like",
        [BECAUSE_CONTENT] = "its category, brand or tags are those of what the user met",
        [BECAUSE_SIMILAR] = "it goes together with what the user met",
        [BECAUSE_TREND] = "it is popular just now",
        [BECAUSE_EXPLORED] = "by chance, to learn of it",
    };
    for (int i = 0; i < BECAUSE_COUNT; i++)
        if (str_eq(reason, str_of(list_reason_name((enum list_reason)i))))
            return meaning[i];
    return "";
}
