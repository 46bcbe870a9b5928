/* How fast files become events: a CSV file of a million clicks (no gzip), read only and mapped;
 * next to it a plain read of the same file. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "consumer/csv.h"

enum { ROWS = 1000000 };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(const char *what, double mb, double s) {
    printf("%-28s %7.0f MB/s %9.2f M rows/s\n", what, mb / s, ROWS / s / 1e6);
}

static double make_file(char *path) {
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f)
        abort();
    struct rng r;
    rng_seed(&r, 1);
    fputs("ts_ms,user_id,session_id,type,item_id,value,device,country\n", f);
    for (int64_t i = 0; i < ROWS; i++)
        fprintf(f, "%" PRId64 ",u%u,%u,view,a%u,,%u,%u\n", INT64_C(1506826800026) + i * 417,
                rng_below(&r, 200000), rng_below(&r, 1u << 31), rng_below(&r, 50000),
                rng_below(&r, 5), rng_below(&r, 30));
    long n = ftell(f);
    fclose(f);
    return (double)n / 1e6;
}

static void read_plain(const char *path) {
    static char piece[256 * 1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (read(fd, piece, sizeof piece) > 0)
        ;
    close(fd);
}

static void read_table(const char *path, struct field_map *m) {
    struct table_file *t = NULL;
    if (table_open(path, &t) < 0)
        abort();
    uint64_t rows = 0, users = 0;
    while (table_next(t) == 1) {
        struct event e;
        struct str type;
        rows++;
        if (m && field_map_event(m, t, &e, &type) == 1)
            users += e.user.n > 0;
    }
    table_close(t);
    if (rows != ROWS || (m && users != ROWS))
        abort();
}

int main(void) {
    char path[] = "/tmp/beckon-bench-XXXXXX";
    double mb = make_file(path);
    struct config *cfg = NULL;
    struct field_map *m = NULL;
    if (config_load(NULL, NULL, 0, &cfg) < 0 ||
        field_map_new(cfg, NULL, 0, NULL, 0, NULL, 0, &m) < 0)
        abort();
    double t0 = now_s();
    read_plain(path);
    double t1 = now_s();
    read_table(path, NULL);
    double t2 = now_s();
    read_table(path, m);
    double t3 = now_s();
    report("read(2)", mb, t1 - t0);
    report("rows and fields", mb, t2 - t1);
    report("rows, fields and events", mb, t3 - t2);
    field_map_free(m);
    config_free(cfg);
    unlink(path);
    return 0;
}
