/* Files as streams of records. One buffer holds the record being read and what was
 * read ahead; fields are slices of it. A record that turns out to be incomplete is
 * scanned again after the next read, which costs one record per buffer. */
#include "consumer/csv.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    ROW_MAX = 1 << 20, /* bytes of one record */
    BUFFER = 2 * ROW_MAX,
    CHUNK = 256 * 1024, /* read at a time: what damage further on can take along */
    PADDING = 8,        /* the scanner loads words */
    COLUMNS_MAX = 4096,
    JSON_DEPTH_MAX = 8,
};

struct table_file {
    gzFile gz;
    char *path;
    uint64_t serial, total, consumed;
    uint8_t *buf;
    size_t at, end; /* unread bytes are buf[at, end) */
    bool eof, json, damage_told;
    uint64_t line, next_line; /* of the current record and of buf[at] */
    size_t n_columns, likely;
    struct str *columns, *values;
    bool *escaped; /* values with doubled quotes, to be undone */
    struct str row;
    struct buf text; /* values of a JSON record that are not in it as they are */
    size_t *offsets; /* into `text`, as it may move while it grows */
    char error[160];
};

static void fault(struct table_file *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void fault(struct table_file *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->error, sizeof t->error, fmt, ap);
    va_end(ap);
}

/* Moves what is unread to the front and reads on. False: nothing more came. */
static bool refill(struct table_file *t) {
    if (t->eof)
        return false;
    if (t->at > 0) {
        memmove(t->buf, t->buf + t->at, t->end - t->at);
        t->end -= t->at;
        t->at = 0;
    }
    if (t->end == BUFFER)
        return false;
    int n = gzread(t->gz, t->buf + t->end, (unsigned)MIN(BUFFER - t->end, CHUNK));
    z_off_t offset = gzoffset(t->gz);
    if (offset > 0)
        t->consumed = (uint64_t)offset;
    if (n <= 0) {
        t->eof = true;
        return false;
    }
    t->end += (size_t)n;
    memset(t->buf + t->end, 0, PADDING);
    return true;
}

static bool damaged(const struct table_file *t) {
    int e = Z_OK;
    gzerror(t->gz, &e);
    return e != Z_OK && e != Z_STREAM_END;
}

/* A damaged or truncated stream is told once, after the records before it. */
static int at_end(struct table_file *t) {
    if (!damaged(t) || t->damage_told)
        return 0;
    int e;
    t->damage_told = true;
    t->at = t->end;
    t->line = t->next_line;
    fault(t, "the rest cannot be read: %s", gzerror(t->gz, &e));
    return -EIO;
}

/* Index of a column, or n_columns. Records name their fields in much the same order, so
 * the search begins at the one that is likely to be next. */
static size_t find_column(const struct table_file *t, struct str name, size_t likely) {
    if (likely < t->n_columns && str_eq(t->columns[likely], name))
        return likely;
    size_t i = 0;
    while (i < t->n_columns && !str_eq(t->columns[i], name))
        i++;
    return i;
}

static int add_column(struct table_file *t, struct str name) {
    if (t->n_columns == COLUMNS_MAX)
        return -E2BIG;
    char *copy = strndup(name.n ? name.p : "", name.n);
    if (!copy)
        return -ENOMEM;
    t->values[t->n_columns] = (struct str){0};
    t->columns[t->n_columns++] = (struct str){copy, name.n};
    return 0;
}

/* ---- CSV ---- */

static uint64_t match(uint64_t word, uint64_t byte) {
    const uint64_t low = 0x7f7f7f7f7f7f7f7f;
    uint64_t x = word ^ (byte * 0x0101010101010101);
    return ~(((x & low) + low) | x | low); /* 0x80 in exactly the bytes that are equal */
}

/* First comma or line end at or after p; `end` if there is none before it. */
static const uint8_t *field_end(const uint8_t *p, const uint8_t *end) {
    for (; p < end; p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        uint64_t found = match(word, ',') | match(word, '\n');
        if (found) {
            p += __builtin_ctzll(found) >> 3;
            break;
        }
    }
    return p < end ? p : end;
}

static void undo_quotes(struct str *s) {
    char *to = (char *)s->p;
    for (const char *p = s->p, *end = s->p + s->n; p < end; p++) {
        *to++ = *p;
        if (*p == '"')
            p++;
    }
    s->n = (size_t)(to - s->p);
}

enum scan { SCAN_RECORD, SCAN_MORE, SCAN_BROKEN };

/* Scans one record from buf[at]: at most n_max fields are kept, all are counted. */
static enum scan scan_record(struct table_file *t, size_t n_max, size_t *ret_n, size_t *ret_next,
                             uint64_t *ret_lines) {
    const uint8_t *p = t->buf + t->at, *end = t->buf + t->end;
    uint64_t lines = 0;
    size_t n = 0;
    for (;;) {
        struct str value;
        bool escaped = false;
        if (p < end && *p == '"') {
            const uint8_t *open = ++p;
            for (;;) {
                p = memchr(p, '"', (size_t)(end - p));
                if (!p)
                    return SCAN_MORE;
                if (p + 1 < end && p[1] == '"') {
                    escaped = true;
                    p += 2;
                    continue;
                }
                if (p + 1 == end && !t->eof)
                    return SCAN_MORE;
                break;
            }
            value = (struct str){(const char *)open, (size_t)(p - open)};
            for (const uint8_t *q = open; (q = memchr(q, '\n', (size_t)(p - q))); q++)
                lines++;
            p++;
            if (p < end && *p == '\r') {
                if (p + 1 == end && !t->eof)
                    return SCAN_MORE;
                if (p + 1 == end || p[1] == '\n')
                    p++;
            }
            if (p < end && *p != ',' && *p != '\n') {
                fault(t, "text after the closing quote of field %zu", n + 1);
                return SCAN_BROKEN;
            }
        } else {
            const uint8_t *start = p;
            p = field_end(p, end);
            value = (struct str){(const char *)start, (size_t)(p - start)};
        }
        if (p == end && !t->eof)
            return SCAN_MORE;
        bool last = p == end || *p == '\n';
        if (last && value.n && value.p[value.n - 1] == '\r' &&
            (const uint8_t *)value.p + value.n == p)
            value.n--;
        if (n < n_max) {
            t->values[n] = value;
            t->escaped[n] = escaped;
        }
        n++;
        if (last) {
            *ret_n = n;
            *ret_next = (size_t)(p - t->buf) + (p < end);
            *ret_lines = lines + 1;
            return SCAN_RECORD;
        }
        p++;
    }
}

/* Passes over the rest of the line; of one that never ends, a buffer at a time. */
static void skip_line(struct table_file *t) {
    do {
        const uint8_t *p = memchr(t->buf + t->at, '\n', t->end - t->at);
        if (p) {
            t->at = (size_t)(p - t->buf) + 1;
            t->next_line++;
            return;
        }
        t->at = t->end;
    } while (refill(t));
}

/* A quote that is never closed would swallow the rest of the file: whatever is wrong
 * within a record, reading goes on at the line after its first. */
static int broken(struct table_file *t) {
    t->line = t->next_line;
    skip_line(t);
    return -EBADMSG;
}

static int next_csv(struct table_file *t, size_t n_max, size_t *ret_n) {
    for (;;) {
        if (t->at == t->end && !refill(t))
            return at_end(t);
        size_t n, next;
        uint64_t lines;
        switch (scan_record(t, n_max, &n, &next, &lines)) {
        case SCAN_BROKEN:
            return broken(t);
        case SCAN_MORE:
            if (t->end - t->at >= ROW_MAX) {
                fault(t, "longer than %d bytes, or a quote that is never closed", ROW_MAX);
                return broken(t);
            }
            if (!refill(t)) {
                /* Now eof is known: without an open quote the next scan completes. */
                if (scan_record(t, n_max, &n, &next, &lines) == SCAN_RECORD)
                    break;
                fault(t, "a quote that is never closed");
                return broken(t);
            }
            continue;
        case SCAN_RECORD:
            break;
        }
        size_t from = t->at;
        if (t->buf[next - 1] != '\n' && damaged(t))
            return at_end(t); /* cut within this record */
        t->line = t->next_line;
        t->next_line += lines;
        t->at = next;
        if (next - from > ROW_MAX) {
            fault(t, "longer than %d bytes", ROW_MAX);
            return -EBADMSG;
        }
        if (n == 1 && t->values[0].n == 0 && next - from <= 2)
            continue; /* an empty line */
        t->row = (struct str){(const char *)t->buf + from, next - from};
        *ret_n = n;
        return 1;
    }
}

static int next_csv_row(struct table_file *t) {
    size_t n = 0;
    int r = next_csv(t, t->n_columns, &n);
    if (r <= 0)
        return r;
    if (n != t->n_columns) {
        fault(t, "%zu fields where the header has %zu", n, t->n_columns);
        return -EBADMSG;
    }
    for (size_t i = 0; i < n; i++)
        if (t->escaped[i])
            undo_quotes(&t->values[i]);
    return 1;
}

static int read_header(struct table_file *t) {
    struct str names[COLUMNS_MAX];
    size_t n = 0;
    int r = next_csv(t, COLUMNS_MAX, &n);
    if (r == 0)
        fault(t, "empty: there is no header");
    if (r <= 0)
        return r ? r : -ENODATA;
    if (n > COLUMNS_MAX) {
        fault(t, "more than %d columns", COLUMNS_MAX);
        return -E2BIG;
    }
    memcpy(names, t->values, n * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        if (t->escaped[i])
            undo_quotes(&names[i]);
        char numbered[256];
        struct str name = names[i];
        for (int k = 2; name.n && find_column(t, name, 0) < t->n_columns; k++) {
            snprintf(numbered, sizeof numbered, "%.*s_%d", (int)MIN(names[i].n, 240u), names[i].p,
                     k);
            name = str_of(numbered);
        }
        if ((r = add_column(t, name)) < 0)
            return r;
    }
    return 0;
}

/* ---- JSON lines ---- */

static int flatten(struct table_file *t, struct str prefix, json_t *v, int depth);

static void put_text(struct table_file *t, json_t *v) {
    char number[40];
    switch (json_typeof(v)) {
    case JSON_STRING:
        buf_put(&t->text, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        buf_put(&t->text, number, strlen(number));
        break;
    case JSON_REAL:
        snprintf(number, sizeof number, "%.17g", json_real_value(v));
        buf_put(&t->text, number, strlen(number));
        break;
    case JSON_TRUE:
        buf_put(&t->text, "true", 4);
        break;
    case JSON_FALSE:
        buf_put(&t->text, "false", 5);
        break;
    default:
        break; /* null is empty; lists and objects within lists say nothing here */
    }
}

static int set_value(struct table_file *t, struct str name, json_t *v) {
    size_t i = find_column(t, name, t->likely);
    t->likely = i + 1;
    if (i == t->n_columns) {
        int r = add_column(t, name);
        if (r < 0)
            return r;
    }
    size_t from = t->text.n;
    if (json_is_array(v)) {
        size_t k;
        json_t *element;
        json_array_foreach(v, k, element) {
            if (k > 0)
                buf_put(&t->text, "|", 1);
            put_text(t, element);
        }
    } else {
        put_text(t, v);
    }
    t->offsets[i] = from;
    t->values[i].n = t->text.n - from;
    return 0;
}

static int flatten_members(struct table_file *t, struct str prefix, json_t *object, int depth) {
    const char *key;
    json_t *v;
    json_object_foreach(object, key, v) {
        char name[512];
        int n = prefix.n ? snprintf(name, sizeof name, "%.*s.%s", (int)prefix.n, prefix.p, key)
                         : snprintf(name, sizeof name, "%s", key);
        if (n < 0 || (size_t)n >= sizeof name) {
            fault(t, "a name longer than %zu bytes", sizeof name - 1);
            return -EBADMSG;
        }
        int r = flatten(t, (struct str){name, (size_t)n}, v, depth);
        if (r < 0)
            return r;
    }
    return 0;
}

static int flatten(struct table_file *t, struct str prefix, json_t *v, int depth) {
    if (!json_is_object(v))
        return set_value(t, prefix, v);
    if (depth == JSON_DEPTH_MAX) {
        fault(t, "objects within objects deeper than %d", JSON_DEPTH_MAX);
        return -EBADMSG;
    }
    return flatten_members(t, prefix, v, depth + 1);
}

static int parse_json(struct table_file *t) {
    json_error_t e;
    json_t *object = json_loadb(t->row.p, t->row.n, 0, &e);
    if (!object) {
        fault(t, "not JSON: %s (column %d)", e.text, e.column);
        return -EBADMSG;
    }
    for (size_t i = 0; i < t->n_columns; i++)
        t->values[i] = (struct str){0};
    buf_reset(&t->text);
    t->likely = 0;
    int r;
    if (json_is_object(object)) {
        r = flatten_members(t, (struct str){0}, object, 0);
    } else {
        fault(t, "not a JSON object");
        r = -EBADMSG;
    }
    json_decref(object);
    if (r == -E2BIG)
        fault(t, "more than %d different names", COLUMNS_MAX);
    if (r == -ENOMEM || t->text.failed)
        fault(t, "out of memory");
    if (r < 0 || t->text.failed)
        return -EBADMSG;
    for (size_t i = 0; i < t->n_columns; i++)
        if (t->values[i].n)
            t->values[i].p = (const char *)t->text.p + t->offsets[i];
    return 1;
}

static int next_json(struct table_file *t) {
    for (;;) {
        if (t->at == t->end && !refill(t))
            return at_end(t);
        const uint8_t *p = t->buf + t->at, *nl = memchr(p, '\n', t->end - t->at);
        if (!nl && t->end - t->at < ROW_MAX && refill(t))
            continue;
        p = t->buf + t->at; /* a failed refill may have moved it */
        size_t n = nl ? (size_t)(nl - p) : t->end - t->at;
        if (n >= ROW_MAX) {
            fault(t, "longer than %d bytes", ROW_MAX);
            return broken(t);
        }
        if (!nl && damaged(t))
            return at_end(t); /* cut within this record */
        t->line = t->next_line++;
        t->at += n + (nl != NULL);
        t->row = (struct str){(const char *)p, n};
        while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == ' ' || p[n - 1] == '\t'))
            n--;
        if (n > 0)
            return parse_json(t);
    }
}

/* ---- the file ---- */

static int open_gz(struct table_file *t) {
    static atomic_uint_fast64_t serials;
    t->serial = ++serials;
    t->next_line = 1;
    bool std_in = strcmp(t->path, "-") == 0;
    int fd = std_in ? dup(STDIN_FILENO) : open(t->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(fd);
        return -EISDIR;
    }
    if (!std_in && S_ISREG(st.st_mode))
        t->total = (uint64_t)st.st_size;
    t->gz = gzdopen(fd, "rb");
    if (!t->gz) {
        close(fd);
        return -ENOMEM;
    }
    gzbuffer(t->gz, CHUNK);
    t->buf = malloc(BUFFER + PADDING);
    t->columns = calloc(COLUMNS_MAX, sizeof *t->columns);
    t->values = calloc(COLUMNS_MAX, sizeof *t->values);
    t->escaped = calloc(COLUMNS_MAX, sizeof *t->escaped);
    t->offsets = calloc(COLUMNS_MAX, sizeof *t->offsets);
    return t->buf && t->columns && t->values && t->escaped && t->offsets ? 0 : -ENOMEM;
}

static int open_start(struct table_file *t) {
    int r = open_gz(t);
    if (r < 0) {
        fault(t, "%s", strerror(-r));
        return r;
    }
    refill(t);
    if (t->end - t->at >= 3 && memcmp(t->buf + t->at, "\xef\xbb\xbf", 3) == 0)
        t->at += 3;
    size_t first = t->at;
    while (first < t->end && memchr(" \t\r\n", t->buf[first], 4))
        first++;
    t->json = first < t->end && t->buf[first] == '{';
    return t->json ? 0 : read_header(t);
}

int table_open(const char *path, struct table_file **ret) {
    autofree(table_close) struct table_file *t = calloc(1, sizeof *t);
    if (!t || !(t->path = strdup(path)))
        return -ENOMEM;
    int r = open_start(t);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", path, t->error[0] ? t->error : strerror(-r));
        return r;
    }
    *ret = TAKE(t);
    return 0;
}

void table_close(struct table_file *t) {
    if (!t)
        return;
    if (t->gz)
        gzclose(t->gz);
    for (size_t i = 0; i < t->n_columns; i++)
        free((char *)t->columns[i].p);
    free(t->columns);
    free(t->values);
    free(t->escaped);
    free(t->offsets);
    buf_free(&t->text);
    free(t->buf);
    free(t->path);
    free(t);
}

int table_next(struct table_file *t) {
    t->error[0] = '\0';
    return t->json ? next_json(t) : next_csv_row(t);
}

struct str table_get(const struct table_file *t, struct str column) {
    size_t i = find_column(t, column, 0);
    return i < t->n_columns ? t->values[i] : (struct str){0};
}

size_t table_columns(const struct table_file *t) {
    return t->n_columns;
}

struct str table_column(const struct table_file *t, size_t i) {
    return t->columns[i];
}

struct str table_value(const struct table_file *t, size_t i) {
    return t->values[i];
}

struct str table_row(const struct table_file *t) {
    return t->row;
}

uint64_t table_line(const struct table_file *t) {
    return t->line;
}

const char *table_error(const struct table_file *t) {
    return t->error;
}

const char *table_path(const struct table_file *t) {
    return t->path;
}

uint64_t table_serial(const struct table_file *t) {
    return t->serial;
}

uint64_t table_bytes_read(const struct table_file *t) {
    return t->consumed;
}

uint64_t table_bytes_total(const struct table_file *t) {
    return t->total;
}
