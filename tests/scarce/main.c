/* Everything that allocates, with too little memory: each case is run again and again while its
 * 1st, 2nd, 3rd … allocation fails, once alone and once with all that follow. It has to say
 * -ENOMEM, or to come out as it does with enough memory; never to crash, nor (under the address
 * sanitizer) to leak.
 *
 *     scarce               every case; of many allocations the first 120 and 60 of the others
 *     scarce --all         every allocation
 *     scarce CASE [N]      one case; the Nth alone */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/scarce/scarce.h"

enum { FIRST = 120, OTHERS = 60, FAULTS_SHOWN = 12 };

static unsigned faults, shown;
static bool every;

struct buf source_file(const char *path) {
    const char *root = getenv("BECKON_SOURCE_ROOT");
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", root ? root : ".", path);
    FILE *f = fopen(full, "r");
    if (!f) {
        printf("%s: %s\n", full, strerror(errno));
        exit(1);
    }
    struct buf b = {0};
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buf_put(&b, part, n);
    fclose(f);
    return b;
}

static void fault(const char *name, uint64_t nth, bool all, const char *what, int r) {
    faults++;
    if (shown++ < FAULTS_SHOWN)
        printf("%s: allocation %llu%s: %s (%d)\n", name, (unsigned long long)nth,
               all ? " and all after it" : "", what, r);
}

static void run_with(const struct scarce_case *c, const struct buf *want, uint64_t nth, bool all) {
    struct buf out = {0};
    scarce_start(nth, all);
    int r = c->run(&out);
    scarce_stop();
    if (r != 0 && r != -ENOMEM)
        fault(c->name, nth, all, "another error than -ENOMEM", r);
    else if (r == 0 && (out.n != want->n || (out.n && memcmp(out.p, want->p, out.n) != 0)))
        fault(c->name, nth, all, "claims success, but came out otherwise", r);
    buf_free(&out);
}

static void run_case(const struct scarce_case *c, uint64_t only) {
    struct buf want = {0};
    uint64_t n = 0, runs = 0;
    printf("%s: ", c->name);
    fflush(stdout);
    /* Twice, as the first time fills what is kept for good. */
    for (int i = 0; i < 2; i++) {
        buf_reset(&want);
        scarce_start(0, false);
        int r = c->run(&want);
        n = scarce_stop();
        if (r < 0)
            fault(c->name, 0, false, "fails with enough memory", r);
    }
    shown = 0;
    for (uint64_t i = only ? only : 1; i <= (only ? only : n); runs++) {
        run_with(c, &want, i, false);
        run_with(c, &want, i, true);
        i += every || i < FIRST ? 1 : 1 + (n - FIRST) / OTHERS;
    }
    printf("%llu allocations, %llu of them refused\n", (unsigned long long)n,
           (unsigned long long)runs);
    buf_free(&want);
}

int main(int argc, char **argv) {
    static const struct scarce_case *const all[] = {set_up_cases, codec_cases, state_cases};
    every = argc > 1 && strcmp(argv[1], "--all") == 0;
    const char *name = argc > 1 && !every ? argv[1] : NULL;
    uint64_t only = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    json_set_alloc_funcs(malloc, free);
    /* What is said of each failure is not looked at here. */
    int null = open("/dev/null", O_WRONLY);
    if (!only && null >= 0)
        dup2(null, STDERR_FILENO);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (const struct scarce_case *c = all[i]; c->name; c++)
            if (!name || strcmp(name, c->name) == 0)
                run_case(c, only);
    printf("%u faults\n", faults);
    return faults > 0;
}
