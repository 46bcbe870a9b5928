/* What versions of the program wrote, each in a file of tests/samples, NAME-VERSION.hex: key and
 * value, or a value alone, in hex. BECKON_WRITE_SAMPLES=1 adds those that are missing of the
 * present version; what is there is never written again. */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>

#include "model/base.h"

static inline FILE *open_sample(const char *name, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/samples/%s.hex", getenv("BECKON_SOURCE_ROOT"), name);
    return fopen(path, mode);
}

static inline bool may_write(void) {
    return getenv("BECKON_WRITE_SAMPLES") != NULL;
}

static inline bool read_hex(FILE *f, struct buf *ret) {
    unsigned byte;
    int c;
    while ((c = fgetc(f)) != '\n' && c != EOF) {
        char two[3] = {(char)c, (char)fgetc(f), 0};
        if (sscanf(two, "%2x", &byte) != 1)
            return false;
        buf_put(ret, &(uint8_t){(uint8_t)byte}, 1);
    }
    return ret->n > 0;
}

static inline void write_hex(FILE *f, const struct buf *b) {
    for (size_t i = 0; i < b->n; i++)
        fprintf(f, "%02x", b->p[i]);
    fputc('\n', f);
}

/* What is missing is written, if it may be; else the test fails. key NULL: a value alone. */
static inline void expect_sample(const char *name, const struct buf *key, const struct buf *value) {
    FILE *f = open_sample(name, "r");
    if (!f && may_write()) {
        f = open_sample(name, "w");
        cr_assert_not_null(f, "%s", name);
        if (key)
            write_hex(f, key);
        write_hex(f, value);
    }
    cr_assert_not_null(f, "%s is missing: run with BECKON_WRITE_SAMPLES=1", name);
    fclose(f);
}

/* Key and value, or a value alone; false: it is yet to be written. */
static inline bool load_sample(const char *name, struct buf *key, struct buf *value) {
    FILE *f = open_sample(name, "r");
    if (!f && may_write())
        return false;
    cr_assert(f && (!key || read_hex(f, key)) && read_hex(f, value), "%s", name);
    fclose(f);
    return true;
}
