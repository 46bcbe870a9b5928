#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tests/scarce/scarce.h"

static bool on, all_after;
static uint64_t count, failing;

void scarce_start(uint64_t nth, bool all) {
    on = true;
    count = 0;
    failing = nth;
    all_after = all;
}

uint64_t scarce_stop(void) {
    on = false;
    return count;
}

static bool fails(void) {
    if (!on)
        return false;
    count++;
    bool now = failing && (count == failing || (all_after && count > failing));
    if (now)
        errno = ENOMEM;
    return now;
}

#define WRAPPED(type, name, params, args)                                                          \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params {                                                                    \
        return fails() ? NULL : __real_##name args;                                                \
    }
WRAPPED(void *, malloc, (size_t n), (n))
WRAPPED(void *, calloc, (size_t n, size_t size), (n, size))
WRAPPED(void *, realloc, (void *p, size_t n), (p, n))
WRAPPED(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAPPED(void *, aligned_alloc, (size_t align, size_t n), (align, n))
WRAPPED(char *, strdup, (const char *s), (s))
WRAPPED(char *, strndup, (const char *s, size_t n), (s, n))
WRAPPED(FILE *, open_memstream, (char **p, size_t *n), (p, n))

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
    return fails() ? MAP_FAILED : __real_mmap(at, n, prot, flags, fd, offset);
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap);
int __real_vasprintf(char **ret, const char *fmt, va_list ap);
int __wrap_vasprintf(char **ret, const char *fmt, va_list ap) {
    return fails() ? -1 : __real_vasprintf(ret, fmt, ap);
}

int __wrap_asprintf(char **ret, const char *fmt, ...);
int __wrap_asprintf(char **ret, const char *fmt, ...) {
    if (fails())
        return -1;
    va_list ap;
    va_start(ap, fmt);
    int n = __real_vasprintf(ret, fmt, ap);
    va_end(ap);
    return n;
}

/* Left alone as well: where its buffer cannot grow, jansson 2.14 reads and writes beyond it (its
 * lex_save takes no notice). json_load.h turns what it does notice into -ENOMEM. */
json_t *__wrap_json_loadb(const char *p, size_t n, size_t flags, json_error_t *err);
json_t *__real_json_loadb(const char *p, size_t n, size_t flags, json_error_t *err);
json_t *__wrap_json_loadb(const char *p, size_t n, size_t flags, json_error_t *err) {
    bool was = on;
    on = false;
    json_t *j = __real_json_loadb(p, n, flags, err);
    on = was;
    return j;
}
