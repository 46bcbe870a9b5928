#include "consumer/tz.h"

#include <ctype.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* The years that tables cover; beyond them the outermost offset holds. */
#define FIRST_S INT64_C(631152000) /* 1990-01-01 */
#define LAST_S INT64_C(2524608000) /* 2050-01-01 */
enum { TRANSITIONS_MAX = 512 };

struct zone {
    struct tz_rules rules;
    int64_t at_s[TRANSITIONS_MAX];
    int32_t offset_s[TRANSITIONS_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static GHashTable *zones; /* name → struct tz_rules, both for ever */

/* Only what names a file of the tz database: GLib would also take "+05:00", "XYZ7" and paths. */
static bool name_ok(const char *name) {
    if (!isalpha((unsigned char)name[0]) || strstr(name, "..") || strstr(name, "//"))
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("/_+-", *p))
            return false;
    if (strcmp(name, "UTC") == 0)
        return true; /* works without a database */
    const char *dir = getenv("TZDIR");
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", dir && *dir ? dir : "/usr/share/zoneinfo", name);
    return n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0;
}

/* The moment a zone leaves interval `i`, in (from, LAST_S): intervals are numbered in order of
 * time. */
static int64_t end_of_interval(GTimeZone *tz, int i, int64_t from) {
    int64_t in = from, out = LAST_S;
    while (out - in > 1) {
        int64_t mid = in + (out - in) / 2;
        if (g_time_zone_find_interval(tz, G_TIME_TYPE_UNIVERSAL, mid) == i)
            in = mid;
        else
            out = mid;
    }
    return out;
}

static const struct tz_rules *zone_new(const char *name) {
    GTimeZone *tz = g_time_zone_new_identifier(name);
    if (!tz)
        return NULL;
    struct zone *z = calloc(1, sizeof *z);
    if (!z) {
        g_time_zone_unref(tz);
        return NULL;
    }
    int i = g_time_zone_find_interval(tz, G_TIME_TYPE_UNIVERSAL, FIRST_S);
    const int last = g_time_zone_find_interval(tz, G_TIME_TYPE_UNIVERSAL, LAST_S);
    int64_t at = FIRST_S;
    size_t n = 0;
    z->offset_s[n++] = g_time_zone_get_offset(tz, i);
    while (i != last && n < TRANSITIONS_MAX) {
        at = end_of_interval(tz, i, at);
        i = g_time_zone_find_interval(tz, G_TIME_TYPE_UNIVERSAL, at);
        int32_t offset = g_time_zone_get_offset(tz, i);
        if (offset == z->offset_s[n - 1])
            continue; /* only the name or the daylight flag changed */
        z->at_s[n] = at;
        z->offset_s[n++] = offset;
    }
    g_time_zone_unref(tz);
    snprintf(z->rules.name, sizeof z->rules.name, "%s", name);
    z->rules.n = n;
    z->rules.at_s = z->at_s;
    z->rules.offset_s = z->offset_s;
    return &z->rules;
}

const struct tz_rules *tz_get(struct str name) {
    char z[sizeof((struct tz_rules *)0)->name];
    if (name.n == 0 || name.n >= sizeof z || memchr(name.p, '\0', name.n))
        return NULL;
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    pthread_mutex_lock(&lock);
    if (!zones)
        zones = g_hash_table_new(g_str_hash, g_str_equal);
    const struct tz_rules *rules = g_hash_table_lookup(zones, z);
    if (!rules && name_ok(z) && (rules = zone_new(z)))
        g_hash_table_insert(zones, (void *)rules->name, (void *)rules);
    pthread_mutex_unlock(&lock);
    return rules;
}
