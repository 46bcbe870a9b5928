#include <ctype.h>

#include "consumer/restorer.h"

/* "7" or "0-3" at *at, and the comma behind it. */
static bool next_range(const char **at, long *ret_from, long *ret_to) {
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    *ret_from = *ret_to = strtol(*at, &end, 10);
    if (*end == '-') {
        if (!isdigit((unsigned char)*++end))
            return false;
        *ret_to = strtol(end, &end, 10);
    }
    *at = *end == ',' ? end + 1 : end;
    return (*end == ',' ? end[1] != '\0' : *end == '\0') && *ret_from <= *ret_to;
}

bool standby_ok(const char *list) {
    long from, to;
    if (strcmp(list, "all") == 0)
        return true;
    while (*list)
        if (!next_range(&list, &from, &to))
            return false;
    return true;
}

bool standby_has(const char *list, int32_t partition) {
    long from, to;
    if (strcmp(list, "all") == 0)
        return true;
    while (*list && next_range(&list, &from, &to))
        if (partition >= from && partition <= to)
            return true;
    return false;
}
