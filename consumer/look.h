/* What the commands that look into Redis share: asking, and showing ids and numbers. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "consumer/cli.h"
#include "consumer/redis.h"

/* Connects, or prints why not and what to check: 0 or -EAGAIN. */
int look_open(const struct config *cfg, struct redis **ret);
/* One command; NULL after printing what went wrong. An error reply counts as that. */
redisReply *look_ask(struct redis *r, const struct config *cfg, size_t n, const struct str *args);
/* The id a command line means: as it is or, `escaped`, with %XX for what cannot be typed.
 * To be freed with buf_free. */
struct buf look_id(const char *arg, bool escaped);
/* An id for people: braces, percent signs, control characters, those that turn the direction, and
 * what is no UTF-8 as %XX, so that it cannot play tricks on a terminal and can be given back with
 * --escaped. */
void look_print(FILE *to, struct str id);
void look_print_text(FILE *to, struct str text); /* in which ids are escaped as in keys already */
void look_nothing(struct str key, const char *why); /* the key is not there; what to check */
/* Columns it takes. */
size_t look_width(struct str id);
/* The same as a JSON string; escaped only if the id is not UTF-8 or holds a NUL. */
json_t *look_json(struct str id);
/* A number if the text is one, else a string. */
json_t *look_json_value(struct str text);
/* Prints and frees it; an exit code. */
int look_print_json(json_t *j);

/* A command about one id: reads its line, finds the id, and leaves with what `show` returns. */
int look_run(const struct usage *usage, int argc, char **argv, const bool *escaped,
             int (*show)(const struct config *cfg, struct str id, void *ctx), void *ctx);

/* A `show` of `top` and `similar`; ctx: */
struct look_list {
    const char *kind;    /* "top": the key's */
    const char *what;    /* "user": what the id is of */
    const char *missing; /* what to check when there is none */
    int64_t n;
    bool json, escaped;
};
int look_list(const struct config *cfg, struct str id, void *list);
