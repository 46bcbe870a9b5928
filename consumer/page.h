/* Self-contained HTML pages: headings, key numbers, tables and (plot.h) drawings, in light and dark
 * as the reader's system has it, without scripts and without anything from outside. A page is
 * written from top to bottom and fails sticky like its buffer: check once, at page_save. Texts are
 * UTF-8 and are escaped here. */
#pragma once

#include "model/base.h"

struct page {
    struct buf out;
    size_t columns, cell;     /* of the table being written */
    const bool *table_number; /* which of its columns hold numbers */
};

enum page_tone { TONE_PLAIN, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_COUNT };

/* One key number: "5.31 %", "conversion rate", "4.9 to 5.7". */
struct page_tile {
    const char *value, *name, *more; /* more: NULL or a second line */
    enum page_tone tone;
};

/* Begins a page; `lead` (NULL: none) is the line under the title. */
void page_begin(struct page *p, const char *title, const char *lead);
void page_heading(struct page *p, const char *text);
void page_text(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A paragraph that stands out: a verdict, a warning. */
void page_note(struct page *p, enum page_tone tone, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void page_tiles(struct page *p, const struct page_tile *tiles, size_t n);

/* A table is written cell by cell, row by row. `number` says which columns hold numbers (they line
 * up at the right), NULL: none; it must live until page_table_end. */
void page_table(struct page *p, const char *const *head, const bool *number, size_t columns);
void page_cell(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void page_table_end(struct page *p); /* fills up the last row */

/* Ends the page and writes it to `path` ("-": standard output). 0, -ENOMEM, or -errno. */
int page_save(struct page *p, const char *path);
void page_free(struct page *p);

/* For those who add their own elements: markup as it is, and text with what HTML gives a meaning
 * escaped. */
void page_markup(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void page_escaped(struct page *p, const char *text);
