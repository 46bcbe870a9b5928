/* Maps as they are written on a command line (--map, --type-map, --set, --positive), one to a line
 * and told apart by its first character: they are taken, or refused in words. */
#include <stdio.h>
#include <unistd.h>

#include "consumer/csv.h"
#include "consumer/positive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAPS = 16, LINE = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct config *cfg;
    if (!cfg && (config_load(NULL, NULL, 0, &cfg) < 0 || !freopen("/dev/null", "we", stderr)))
        abort();
    char text[3][MAPS][LINE], *map[3][MAPS];
    size_t n_map[3] = {0};
    for (size_t at = 0; at < n;) {
        const uint8_t *end = memchr(data + at, '\n', n - at);
        size_t len = end ? (size_t)(end - data) - at : n - at;
        const char *line = (const char *)data + at;
        at += len + 1;
        if (len == 0 || len >= LINE)
            continue;
        size_t kind = line[0] == 'm' ? 0 : line[0] == 't' ? 1 : line[0] == 's' ? 2 : 3;
        if (kind == 3) {
            char one[LINE];
            memcpy(one, line + 1, len - 1);
            one[len - 1] = '\0';
            struct positive p;
            if (positive_parse(cfg, one, &p) == 0 && p.n > POSITIVE_TERMS)
                abort();
        } else if (n_map[kind] < MAPS) {
            char *to = map[kind][n_map[kind]] = text[kind][n_map[kind]];
            n_map[kind]++;
            memcpy(to, line + 1, len - 1);
            to[len - 1] = '\0';
        }
    }
    struct field_map *m = NULL;
    int r = field_map_new(cfg, map[0], n_map[0], map[1], n_map[1], map[2], n_map[2], &m);
    if ((r == 0) != (m != NULL))
        abort();
    field_map_free(m);
    return 0;
}
