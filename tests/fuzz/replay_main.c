/* Runs a fuzz target without libFuzzer: every file of the given corpus folders or
 * files, then a few thousand deterministic mutations of them, so that each build
 * and each sanitizer sees the same inputs. */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "model/base.h"

enum { MUTATIONS = 4000, MAX_BYTES = 64 * 1024, MAX_FILES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct corpus {
    struct buf file[MAX_FILES];
    size_t n;
};

static int add_file(struct corpus *c, const char *path) {
    if (c->n == MAX_FILES)
        return -E2BIG;
    FILE *f = fopen(path, "rb");
    if (!f)
        return -errno;
    struct buf *b = &c->file[c->n++];
    uint8_t block[4096];
    size_t got;
    while (b->n < MAX_BYTES && (got = fread(block, 1, sizeof block, f)) > 0)
        buf_put(b, block, got);
    int r = ferror(f) ? -EIO : b->failed ? -ENOMEM : 0;
    fclose(f);
    return r;
}

static int not_hidden(const struct dirent *d) {
    return d->d_name[0] != '.';
}

/* A folder that is not there is an empty corpus: mutations start from nothing. */
static int add_path(struct corpus *c, const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(st.st_mode))
        return add_file(c, path);
    struct dirent **names = NULL;
    int n = scandir(path, &names, not_hidden, alphasort);
    if (n < 0)
        return -errno;
    int r = 0;
    for (int i = 0; i < n; i++) {
        char full[4096];
        int len = snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name);
        if (r == 0)
            r = len < (int)sizeof full ? add_file(c, full) : -ENAMETOOLONG;
        free(names[i]);
    }
    free(names);
    return r;
}

/* The target gets memory of exactly its length, so that a sanitizer sees one byte too far. */
static void run(const uint8_t *p, size_t n) {
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact)
        abort();
    if (n)
        memcpy(exact, p, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static size_t mutate(struct rng *r, uint8_t *p, size_t n, const struct buf *other) {
    static const uint8_t telling[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '"', '\\', '{', ',', ':', '\n'};
    size_t at = n ? rng_below(r, (uint32_t)n) : 0;
    switch (rng_below(r, 7)) {
    case 0: /* one bit */
        if (n)
            p[at] ^= (uint8_t)(1u << rng_below(r, 8));
        return n;
    case 1: /* one byte */
        if (n)
            p[at] = telling[rng_below(r, ARRAY_LEN(telling))];
        return n;
    case 2: /* cut off */
        return at;
    case 3: /* take out */
    {
        size_t gone = n - at ? rng_below(r, (uint32_t)MIN(n - at, 16)) : 0;
        memmove(p + at, p + at + gone, n - at - gone);
        return n - gone;
    }
    case 4: /* put in */
    {
        size_t more = 1 + rng_below(r, 16); /* drawn once: MIN would draw again */
        more = MIN(more, MAX_BYTES - n);
        memmove(p + at + more, p + at, n - at);
        for (size_t i = 0; i < more; i++)
            p[at + i] = (uint8_t)rng_u64(r);
        return n + more;
    }
    case 5: /* a run of bytes that says "very long" or "negative" */
        for (size_t i = at; i < MIN(n, at + 10); i++)
            p[i] = 0xff;
        return n;
    default: /* go on with another input */
    {
        size_t from = other->n ? rng_below(r, (uint32_t)other->n) : 0;
        size_t take = MIN(other->n - from, MAX_BYTES - at);
        if (take)
            memcpy(p + at, other->p + from, take);
        return at + take;
    }
    }
}

int main(int argc, char **argv) {
    static struct corpus c;
    static uint8_t work[MAX_BYTES];
    for (int i = 1; i < argc; i++) {
        int r = add_path(&c, argv[i]);
        if (r < 0) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
            return 1;
        }
    }
    size_t files = c.n;
    for (size_t i = 0; i < files; i++)
        run(c.file[i].p, c.file[i].n);
    run(work, 0);

    if (c.n == 0)
        c.n = 1; /* the empty input */
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < MUTATIONS; i++) {
        const struct buf *from = &c.file[rng_below(&r, (uint32_t)c.n)];
        size_t n = MIN(from->n, (size_t)MAX_BYTES);
        if (n)
            memcpy(work, from->p, n);
        for (uint32_t k = 1 + rng_below(&r, 4); k > 0; k--)
            n = mutate(&r, work, n, &c.file[rng_below(&r, (uint32_t)c.n)]);
        run(work, n);
    }
    printf("%zu inputs and %d mutations\n", files, MUTATIONS);
    for (size_t i = 0; i < c.n; i++)
        buf_free(&c.file[i]);
    return 0;
}
