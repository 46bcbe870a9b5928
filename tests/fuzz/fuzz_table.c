/* Whatever stands in a file, every call moves on, values lie within what was read, and rows that
 * come have as many values as the header has names; events made of them are whole. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consumer/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct config *cfg;
static struct field_map *map;

static void set_up(void) {
    static char *maps[] = {"a=user", "c=context.x"}, *types[] = {"go=search:query", "stop="},
                *sets[] = {"session=s"};
    if (config_load(NULL, NULL, 0, &cfg) < 0 ||
        field_map_new(cfg, maps, ARRAY_LEN(maps), types, ARRAY_LEN(types), sets, ARRAY_LEN(sets),
                      &map) < 0)
        abort();
}

static void touch(struct str s) {
    volatile uint64_t h = hash_str(s, 0);
    (void)h;
}

static void check_row(const struct table_file *t) {
    for (size_t i = 0; i < table_columns(t); i++)
        touch(table_value(t, i));
    touch(table_row(t));
    struct event e;
    struct str type;
    if (field_map_event(map, t, &e, &type) == 1) {
        if (!e.id.n || type.p[type.n] != '\0' || e.n_ctx > EVENT_CTX_MAX)
            abort();
        struct str texts[] = {e.id, e.user, e.item, e.query, e.session};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
            touch(texts[i]);
    }
    struct item_info item;
    struct control_info control;
    if (field_map_item(map, t, &item) == 0 && !item.id.n)
        abort();
    if (field_map_control(map, t, &control) == 0 && !control.user.n)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static const char header[] = "a,type,item_id,ts_ms,c,price,dense\n";
    if (!cfg)
        set_up();
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    bool json = n && p[0] == '{';
    if (fd < 0 || (!json && write(fd, header, sizeof header - 1) < 0) ||
        (n && write(fd, p, n) != (ssize_t)n))
        abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct table_file *t = NULL;
    if (table_open(path, &t) < 0)
        abort();
    close(fd);
    uint64_t before = 0;
    for (int r; (r = table_next(t)) != 0;) {
        if (table_line(t) <= before || table_line(t) > n + 2)
            abort();
        before = table_line(t);
        if (r > 0)
            check_row(t);
        else if (!*table_error(t))
            abort();
    }
    table_close(t);
    return 0;
}
