#include "consumer/resp.h"

#include <hiredis/hiredis.h>

/* Commands are most of what a worker writes. Appending them here costs a sixth of
 * redisFormatCommandArgv, which wants arrays of arguments and returns a new block each. */

enum { LEN_MAX = 24 }; /* '$' or '*', 20 digits, CR LF */

/* Room for n more bytes, or NULL with b->failed set. */
static char *room(struct buf *b, size_t n) {
    if (b->failed)
        return NULL;
    if (n > b->cap - b->n) {
        size_t cap = MAX(b->cap, (size_t)4096);
        while (cap - b->n < n) {
            if (cap > SIZE_MAX / 2) {
                b->failed = true;
                return NULL;
            }
            cap *= 2;
        }
        uint8_t *p = realloc(b->p, cap);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->p = p;
        b->cap = cap;
    }
    return (char *)b->p + b->n;
}

static char *put_uint(char *w, uint64_t v) {
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        *w++ = digits[--n];
    return w;
}

static char *put_length(char *w, char kind, size_t n) {
    *w++ = kind;
    w = put_uint(w, n);
    *w++ = '\r';
    *w++ = '\n';
    return w;
}

void resp_array(struct buf *b, size_t n) {
    char *p = room(b, LEN_MAX);
    if (p)
        b->n += (size_t)(put_length(p, '*', n) - p);
}

void resp_bulk(struct buf *b, const void *src, size_t n) {
    char *p = n > SIZE_MAX - 2 * LEN_MAX ? NULL : room(b, n + 2 * LEN_MAX);
    if (!p) {
        b->failed = true;
        return;
    }
    char *w = put_length(p, '$', n);
    if (n)
        memcpy(w, src, n);
    w += n;
    *w++ = '\r';
    *w++ = '\n';
    b->n += (size_t)(w - p);
}

void resp_int(struct buf *b, int64_t v) {
    char text[24], *w = text;
    if (v < 0)
        *w++ = '-';
    w = put_uint(w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    resp_bulk(b, text, (size_t)(w - text));
}

static bool starts(struct str s, struct str with) {
    return s.n >= with.n && memcmp(s.p, with.p, with.n) == 0;
}

enum reply_fate reply_fate(struct str e) {
    static const struct str wait[] = {
        {"OOM ", 4},         {"LOADING ", 8},    {"READONLY ", 9},    {"MISCONF ", 8},
        {"BUSY ", 5},        {"MASTERDOWN", 10}, {"CLUSTERDOWN", 11}, {"NOAUTH ", 7},
        {"NOREPLICAS ", 11}, {"TRYAGAIN ", 9},
    };
    /* "EXECABORT Transaction discarded because of: OOM …" */
    static const char because[] = "because of: ";
    if (starts(e, STR("EXECABORT "))) {
        const char *at = memmem(e.p, e.n, because, sizeof because - 1);
        if (at) {
            at += sizeof because - 1;
            e = (struct str){at, e.n - (size_t)(at - e.p)};
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(wait); i++)
        if (starts(e, wait[i]))
            return REPLY_WAIT;
    if (starts(e, STR("MOVED ")))
        return REPLY_MOVED;
    if (starts(e, STR("ASK ")))
        return REPLY_ASK;
    return starts(e, STR("WRONGTYPE")) ? REPLY_TYPE : REPLY_REFUSED;
}

/* ---- replies ---- */

/* hiredis parses. It is stopped before it makes room for whatever number of elements somebody
 * announced, or descends without end. */
struct intake {
    redisReader *reader;
    size_t fed; /* bytes since the last whole reply */
    int broken; /* 0, or for good: -errno */
};

#if HIREDIS_MAJOR >= 1
typedef size_t array_length;
#else
typedef int array_length;
#endif

static bool array_fits(struct intake *in, const redisReadTask *t, array_length n) {
    int depth = 0;
    for (const redisReadTask *up = t->parent; up; up = up->parent)
        depth++;
    if ((size_t)n <= REPLY_ELEMENTS_MAX && depth <= REPLY_DEPTH_MAX)
        return true;
    in->broken = -EMSGSIZE;
    return false;
}

static int feed(struct intake *in, const void *p, size_t n) {
    if (in->broken)
        return in->broken;
    in->fed += n;
    if (in->fed > REPLY_BYTES_MAX)
        in->broken = -EMSGSIZE;
    else if (redisReaderFeed(in->reader, p, n) != REDIS_OK)
        in->broken = -ENOMEM;
    return in->broken;
}

static int next(struct intake *in, void **ret) {
    *ret = NULL;
    if (in->broken)
        return in->broken;
    if (redisReaderGetReply(in->reader, ret) != REDIS_OK) {
        if (!in->broken)
            in->broken = in->reader->err == REDIS_ERR_OOM ? -ENOMEM : -EPROTO;
        return in->broken;
    }
    if (!*ret)
        return 0;
    in->fed = 0;
    return 1;
}

/* ---- what is of interest, in one struct instead of a tree of allocated objects ---- */

struct replies {
    struct intake in;
    struct reply now; /* the one being read */
};

static void *on_text(const redisReadTask *t, char *p, size_t n) {
    struct replies *r = t->privdata;
    bool error = t->type == REDIS_REPLY_ERROR;
    /* Inside an array only the first error counts; its text must not be lost. */
    if (r->now.fate != REPLY_DONE || (t->parent && !error))
        return r;
    if (error)
        r->now.fate = reply_fate((struct str){p, n});
    r->now.n = MIN(n, sizeof r->now.text - 1);
    memcpy(r->now.text, p, r->now.n);
    r->now.text[r->now.n] = 0;
    return r;
}

static void *on_array(const redisReadTask *t, array_length n) {
    struct replies *r = t->privdata;
    return array_fits(&r->in, t, n) ? r : NULL;
}

static void *on_integer(const redisReadTask *t, long long v) {
    struct replies *r = t->privdata;
    if (!t->parent)
        r->now.integer = v;
    return r;
}

static void *on_nil(const redisReadTask *t) {
    struct replies *r = t->privdata;
    if (!t->parent)
        r->now.nil = true;
    return r;
}

#if HIREDIS_MAJOR >= 1
static void *on_double(const redisReadTask *t, double v, char *p, size_t n) {
    (void)v;
    return on_text(t, p, n);
}

static void *on_bool(const redisReadTask *t, int v) {
    return on_integer(t, v);
}
#endif

static void on_free(void *p) {
    (void)p; /* nothing was allocated */
}

static redisReplyObjectFunctions handlers = {
    .createString = on_text,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = on_double,
    .createBool = on_bool,
#endif
    .freeObject = on_free,
};

int replies_new(struct replies **ret) {
    autofree(replies_free) struct replies *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->in.reader = redisReaderCreateWithFunctions(&handlers);
    if (!r->in.reader)
        return -ENOMEM;
    r->in.reader->privdata = r;
    *ret = TAKE(r);
    return 0;
}

void replies_free(struct replies *r) {
    if (!r)
        return;
    if (r->in.reader)
        redisReaderFree(r->in.reader);
    free(r);
}

int replies_feed(struct replies *r, const void *p, size_t n) {
    return feed(&r->in, p, n);
}

int replies_next(struct replies *r, struct reply *ret) {
    void *got;
    int rc = next(&r->in, &got);
    if (rc == 1) {
        *ret = r->now;
        r->now = (struct reply){0};
    }
    return rc;
}

/* ---- whole trees ---- */

struct answers {
    struct intake in;
    redisReplyObjectFunctions make; /* hiredis' own, but for arrays */
    void *(*make_array)(const redisReadTask *, array_length);
};

static void *on_answer_array(const redisReadTask *t, array_length n) {
    struct answers *a = t->privdata;
    return array_fits(&a->in, t, n) ? a->make_array(t, n) : NULL;
}

int answers_new(struct answers **ret) {
    autofree(answers_free) struct answers *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    a->in.reader = redisReaderCreate();
    if (!a->in.reader)
        return -ENOMEM;
    a->make = *a->in.reader->fn;
    a->make_array = a->make.createArray;
    a->make.createArray = on_answer_array;
    a->in.reader->fn = &a->make;
    a->in.reader->privdata = a;
    *ret = TAKE(a);
    return 0;
}

void answers_free(struct answers *a) {
    if (!a)
        return;
    if (a->in.reader)
        redisReaderFree(a->in.reader);
    free(a);
}

int answers_feed(struct answers *a, const void *p, size_t n) {
    return feed(&a->in, p, n);
}

int answers_next(struct answers *a, redisReply **ret) {
    void *got;
    int rc = next(&a->in, &got);
    *ret = got;
    return rc;
}
