#include "consumer/page.h"

#include <stdarg.h>
#include <stdio.h>

/* Six series colours that stay apart for colour-blind eyes, in two brightnesses. */
static const char STYLE[] =
    ":root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1d2127;--soft:#5d6672;"
    "--rule:#e3e5e8;--c0:#2a6fbb;--c1:#d2691e;--c2:#1b8a72;--c3:#8a5bb5;--c4:#b8860b;--c5:#6b7480;"
    "--good:#1b7f5c;--warn:#a86a00;--bad:#c23b3b}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e6e9ed;"
    "--soft:#9aa4b0;--rule:#323840;--c0:#6aaaf0;--c1:#f09a54;--c2:#4cc5a8;--c3:#bb98e6;"
    "--c4:#e0b84c;--c5:#a3abb6;--good:#4fc79a;--warn:#e2ab4a;--bad:#f07f7c}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    "main{max-width:62rem;margin:0 auto;padding:2rem 1.25rem 4rem}"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem}"
    "h2{font-size:1.15rem;margin:2.4rem 0 .6rem}h3{font-size:1rem;margin:0}"
    "p{margin:.5rem 0;max-width:46rem}.lead,.soft,figcaption{color:var(--soft)}"
    ".note{border-left:4px solid var(--c5);background:var(--card);padding:.6rem .9rem;"
    "margin:.7rem 0;border-radius:0 6px 6px 0;max-width:none}"
    ".good{--c5:var(--good)}.warn{--c5:var(--warn)}.bad{--c5:var(--bad)}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.8rem;"
    "margin:1rem 0}.tile{background:var(--card);border:1px solid var(--rule);border-radius:8px;"
    "padding:.7rem .9rem}.tile b{display:block;font-size:1.5rem;line-height:1.25;font-weight:600}"
    ".tile.good b{color:var(--good)}.tile.warn b{color:var(--warn)}.tile.bad b{color:var(--bad)}"
    ".tile span{display:block;font-size:.85rem;color:var(--soft)}"
    ".scroll{overflow-x:auto;margin:.8rem 0}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}"
    "th,td{padding:.32rem .8rem;text-align:left;border-bottom:1px solid var(--rule)}"
    "th{font-weight:600;color:var(--soft);white-space:nowrap}.n{text-align:right;"
    "white-space:nowrap}figure{margin:1rem 0;background:var(--card);border:1px solid var(--rule);"
    "border-radius:8px;padding:.9rem 1rem}figcaption{font-size:.88rem;max-width:50rem}"
    ".legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.85rem;margin:.35rem 0 0}"
    ".legend svg{width:22px;height:10px;margin-right:.4rem}"
    "figure>svg{display:block;width:100%;height:auto;margin-top:.4rem}"
    "svg text{font-size:12px;fill:var(--soft)}svg text.ink{fill:var(--ink)}"
    "svg text.bad{fill:var(--bad)}.grid{stroke:var(--rule)}.axis{stroke:var(--soft)}"
    ".ref{stroke:var(--soft);stroke-dasharray:4 4;fill:none}.zone{fill:var(--good);opacity:.1}";

static const char *const TONES[TONE_COUNT] = {"plain", "good", "warn", "bad"};

static void put(struct page *p, const char *z) {
    buf_put(&p->out, z, strlen(z));
}

void page_escaped(struct page *p, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '&':
            put(p, "&amp;");
            break;
        case '<':
            put(p, "&lt;");
            break;
        case '>':
            put(p, "&gt;");
            break;
        case '"':
            put(p, "&quot;");
            break;
        default:
            if ((unsigned char)*text >= ' ' || *text == '\n' || *text == '\t')
                buf_put(&p->out, text, 1);
        }
    }
}

/* Formats into fresh memory; NULL, with the page failed, when there is none. */
static char *format(struct page *p, const char *fmt, va_list ap) {
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) >= 0)
        return text;
    p->out.failed = true;
    return NULL;
}

static void escaped_format(struct page *p, const char *fmt, va_list ap) {
    autofree(free) char *text = format(p, fmt, ap);
    if (text)
        page_escaped(p, text);
}

void page_markup(struct page *p, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    autofree(free) char *text = format(p, fmt, ap);
    va_end(ap);
    if (text)
        put(p, text);
}

void page_begin(struct page *p, const char *title, const char *lead) {
    put(p, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
           "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    page_escaped(p, title);
    put(p, "</title><style>");
    put(p, STYLE);
    put(p, "</style></head><body><main>\n<h1>");
    page_escaped(p, title);
    put(p, "</h1>\n");
    if (lead) {
        put(p, "<p class=\"lead\">");
        page_escaped(p, lead);
        put(p, "</p>\n");
    }
}

void page_heading(struct page *p, const char *text) {
    put(p, "<h2>");
    page_escaped(p, text);
    put(p, "</h2>\n");
}

void page_text(struct page *p, const char *fmt, ...) {
    va_list ap;
    put(p, "<p>");
    va_start(ap, fmt);
    escaped_format(p, fmt, ap);
    va_end(ap);
    put(p, "</p>\n");
}

void page_note(struct page *p, enum page_tone tone, const char *fmt, ...) {
    va_list ap;
    page_markup(p, "<p class=\"note %s\">", TONES[tone]);
    va_start(ap, fmt);
    escaped_format(p, fmt, ap);
    va_end(ap);
    put(p, "</p>\n");
}

void page_tiles(struct page *p, const struct page_tile *tiles, size_t n) {
    put(p, "<div class=\"tiles\">");
    for (size_t i = 0; i < n; i++) {
        page_markup(p, "<div class=\"tile %s\"><b>", TONES[tiles[i].tone]);
        page_escaped(p, tiles[i].value);
        put(p, "</b><span>");
        page_escaped(p, tiles[i].name);
        put(p, "</span>");
        if (tiles[i].more) {
            put(p, "<span>");
            page_escaped(p, tiles[i].more);
            put(p, "</span>");
        }
        put(p, "</div>");
    }
    put(p, "</div>\n");
}

void page_table(struct page *p, const char *const *head, const bool *number, size_t columns) {
    p->columns = columns;
    p->cell = 0;
    p->table_number = number;
    put(p, "<div class=\"scroll\"><table><thead><tr>");
    for (size_t i = 0; i < columns; i++) {
        put(p, number && number[i] ? "<th class=\"n\">" : "<th>");
        page_escaped(p, head[i]);
        put(p, "</th>");
    }
    put(p, "</tr></thead><tbody>\n");
}

void page_cell(struct page *p, const char *fmt, ...) {
    va_list ap;
    size_t column = p->cell++ % p->columns;
    if (column == 0)
        put(p, "<tr>");
    put(p, p->table_number && p->table_number[column] ? "<td class=\"n\">" : "<td>");
    va_start(ap, fmt);
    escaped_format(p, fmt, ap);
    va_end(ap);
    put(p, "</td>");
    if (column + 1 == p->columns)
        put(p, "</tr>\n");
}

void page_table_end(struct page *p) {
    while (p->cell % p->columns)
        page_cell(p, "%s", "");
    put(p, "</tbody></table></div>\n");
}

int page_save(struct page *p, const char *path) {
    put(p, "</main></body></html>\n");
    if (p->out.failed)
        return -ENOMEM;
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *f = to_stdout ? stdout : fopen(path, "we");
    if (!f)
        return -errno;
    errno = 0;
    bool good = fwrite(p->out.p, 1, p->out.n, f) == p->out.n;
    good = (to_stdout ? fflush(f) : fclose(f)) == 0 && good;
    return good ? 0 : errno ? -errno : -EIO;
}

void page_free(struct page *p) {
    buf_free(&p->out);
    *p = (struct page){0};
}
