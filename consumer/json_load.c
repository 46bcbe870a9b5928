#include "consumer/json_load.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool starved;

static void *get(size_t n) {
    void *p = malloc(n);
    starved |= !p;
    return p;
}

/* What was allocated before may be freed after: it is malloc and free all the same. */
static void watch(void) {
    json_set_alloc_funcs(get, free);
}

static void begin(void) {
    pthread_once(&once, watch);
    starved = false;
}

int json_load(const void *p, size_t n, size_t flags, json_error_t *err, json_t **ret) {
    begin();
    json_t *j = json_loadb(n ? p : "", n, flags, err);
    if (!j)
        return starved ? -ENOMEM : -EBADMSG;
    *ret = j;
    return 0;
}

char *json_text(const json_t *j, size_t flags) {
    begin();
    char *text = json_dumps(j, flags);
    if (starved) {
        free(text);
        return NULL;
    }
    return text;
}
