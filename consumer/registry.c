#include "consumer/registry.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>

#include "consumer/avro_schema.h"
#include "consumer/json_load.h"
#include "consumer/log.h"

enum {
    REPLY_MAX = 2 * SCHEMA_TEXT_MAX,
    REFERENCES_MAX = 64,
    UNKNOWN_MAX = 1024, /* ids remembered as unknown */
    UNKNOWN_PER_S = 20, /* questions about them, lasting and in one go */
    UNKNOWN_BURST = 100,
};
static const int64_t unknown_us = 5000000, first_pause_us = 200000, longest_pause_us = 5000000;

struct known {
    int32_t id;
    char *text; /* NULL: `err` tells what is wrong with it */
    size_t n;
    char err[160];
};

struct unknown {
    int32_t id;
    int64_t until_us;
};

struct registry {
    struct registry *next;
    unsigned users;
    char *url; /* no slash at the end */
    int64_t timeout_ms;
    pthread_mutex_t lock; /* of what is known */
    struct known **known;
    size_t n_known, cap_known;
    struct unknown unknown[UNKNOWN_MAX]; /* a ring */
    size_t n_unknown;
    pthread_mutex_t asking; /* of what follows: one question at a time */
    CURL *curl;
    struct curl_slist *headers;
    struct buf reply;
    bool too_long;
    int64_t pause_us, asked_again_us; /* after a fault */
    double tokens;                    /* questions left for unknown ids */
    int64_t tokens_us;
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct registry *all;
static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t receive(char *p, size_t size, size_t n, void *to) {
    struct registry *r = to;
    if (r->reply.n + size * n > REPLY_MAX) {
        r->too_long = true;
        return 0;
    }
    buf_put(&r->reply, p, size * n);
    return r->reply.failed ? 0 : size * n;
}

static void destroy(struct registry *r) {
    if (!r)
        return;
    for (size_t i = 0; i < r->n_known; i++) {
        free(r->known[i]->text);
        free(r->known[i]);
    }
    free(r->known);
    curl_easy_cleanup(r->curl);
    curl_slist_free_all(r->headers);
    buf_free(&r->reply);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->asking);
    free(r->url);
    free(r);
}
DEFINE_CLEANUP(struct registry, destroy)

static int add_header(struct registry *r, const char *line) {
    struct curl_slist *more = curl_slist_append(r->headers, line);
    if (!more)
        return -ENOMEM;
    r->headers = more;
    return 0;
}

static int make(const char *url, int64_t timeout_ms, struct registry **ret) {
    autofree(destroy) struct registry *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->asking, NULL);
    r->users = 1;
    r->timeout_ms = timeout_ms;
    r->tokens = UNKNOWN_BURST;
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    r->url = strndup(url, n);
    r->curl = curl_easy_init();
    if (!r->url || !r->curl ||
        add_header(r, "Accept: application/vnd.schemaregistry.v1+json, application/json") ||
        add_header(r, "Content-Type: application/vnd.schemaregistry.v1+json"))
        return -ENOMEM;
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
    curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "beckon");
    *ret = TAKE(r);
    return 0;
}

int registry_open(const char *url, int64_t timeout_ms, struct registry **ret) {
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return -EINVAL;
    pthread_once(&curl_once, start_curl);
    int rc = 0;
    pthread_mutex_lock(&all_lock);
    struct registry *r = all;
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    while (r && !(str_eq(str_of(r->url), (struct str){url, n}) && r->timeout_ms == timeout_ms))
        r = r->next;
    if (r) {
        r->users++;
    } else if ((rc = make(url, timeout_ms, &r)) == 0) {
        r->next = all;
        all = r;
    }
    pthread_mutex_unlock(&all_lock);
    if (rc == 0)
        *ret = r;
    return rc;
}

void registry_close(struct registry *r) {
    if (!r)
        return;
    pthread_mutex_lock(&all_lock);
    if (--r->users == 0) {
        struct registry **at = &all;
        while (*at != r)
            at = &(*at)->next;
        *at = r->next;
        destroy(r);
    }
    pthread_mutex_unlock(&all_lock);
}

/* ---- one question, under r->asking ---------------------------------------- */

static int fault(char err[160], const char *what) {
    snprintf(err, 160, "%s", what);
    return -EAGAIN;
}

/* What the registry says for itself, for people. */
static void explain(const struct registry *r, long status, char err[160]) {
    json_t *j = json_loadb((char *)r->reply.p, r->reply.n, 0, NULL);
    const char *message = json_string_value(json_object_get(j, "message"));
    snprintf(err, 160, "HTTP %ld%s%.120s", status, message ? ": " : "", message ? message : "");
    json_decref(j);
}

/* GET, or POST of `body`. The reply's JSON object on 200. */
static int ask(struct registry *r, const char *path, const char *body, char err[160],
               json_t **ret) {
    autofree(free) char *url = NULL;
    if (asprintf(&url, "%s/%s", r->url, path) < 0) {
        url = NULL;
        return -ENOMEM;
    }
    buf_reset(&r->reply);
    r->too_long = false;
    curl_easy_setopt(r->curl, CURLOPT_URL, url);
    if (body)
        curl_easy_setopt(r->curl, CURLOPT_COPYPOSTFIELDS, body);
    else
        curl_easy_setopt(r->curl, CURLOPT_HTTPGET, 1L);
    CURLcode code = curl_easy_perform(r->curl);
    long status = 0;
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    if (r->reply.failed)
        return -ENOMEM;
    if (r->too_long) {
        snprintf(err, 160, "the registry's reply is longer than %d bytes", REPLY_MAX);
        return -EINVAL;
    }
    if (code != CURLE_OK)
        return fault(err, curl_easy_strerror(code));
    if (status != 200) {
        explain(r, status, err);
        return status == 404 ? -ENOENT : status == 409 || status == 422 ? -EINVAL : -EAGAIN;
    }
    json_t *j = NULL;
    if (json_load(r->reply.p, r->reply.n, 0, NULL, &j) == -ENOMEM)
        return -ENOMEM;
    if (!json_is_object(j)) {
        json_decref(j);
        return fault(err, "the reply is not a JSON object");
    }
    *ret = j;
    return 0;
}

struct gathering {
    struct buf text;
    size_t n;
    char *seen[REFERENCES_MAX]; /* paths */
};

static int gather(struct registry *r, const char *path, struct gathering *g, char err[160]);

static int gather_references(struct registry *r, const json_t *references, struct gathering *g,
                             char err[160]) {
    size_t i;
    const json_t *one;
    json_array_foreach(references, i, one) {
        const char *subject = json_string_value(json_object_get(one, "subject"));
        const json_t *version = json_object_get(one, "version");
        if (!subject || !json_is_integer(version))
            return fault(err, "a reference without subject or version");
        char *escaped = curl_easy_escape(r->curl, subject, 0);
        autofree(free) char *path = NULL;
        if (!escaped || asprintf(&path, "subjects/%s/versions/%" JSON_INTEGER_FORMAT, escaped,
                                 json_integer_value(version)) < 0)
            path = NULL;
        curl_free(escaped);
        if (!path)
            return -ENOMEM;
        int rc = gather(r, path, g, err);
        /* The id is known, so that what it refers to must be there too. */
        if (rc)
            return rc == -ENOENT ? -EAGAIN : rc;
    }
    return 0;
}

/* The schema at `path` behind those it refers to, each once. */
static int gather(struct registry *r, const char *path, struct gathering *g, char err[160]) {
    json_t *j = NULL;
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->seen[i], path) == 0)
            return 0;
    if (g->n == REFERENCES_MAX) {
        snprintf(err, 160, "more than %d references", REFERENCES_MAX);
        return -EINVAL;
    }
    if (!(g->seen[g->n++] = strdup(path))) {
        g->n--;
        return -ENOMEM;
    }
    int rc = ask(r, path, NULL, err, &j);
    if (rc)
        return rc;
    const json_t *schema = json_object_get(j, "schema");
    const char *type = json_string_value(json_object_get(j, "schemaType"));
    if (type && strcmp(type, "AVRO") != 0) {
        snprintf(err, 160, "a schema of type %.40s", type);
        rc = -EINVAL;
    } else if (!json_is_string(schema)) {
        rc = fault(err, "a reply without a schema");
    } else {
        rc = gather_references(r, json_object_get(j, "references"), g, err);
    }
    if (!rc) {
        buf_put(&g->text, json_string_value(schema), json_string_length(schema));
        buf_put(&g->text, "\n", 1);
        rc = g->text.failed ? -ENOMEM : 0;
    }
    json_decref(j);
    return rc;
}

/* ---- what is known, under r->lock ------------------------------------------ */

static struct known *find(const struct registry *r, int32_t id) {
    for (size_t i = 0; i < r->n_known; i++)
        if (r->known[i]->id == id)
            return r->known[i];
    return NULL;
}

static int answer(const struct known *k, char err[160], struct str *ret) {
    if (!k->text) {
        snprintf(err, 160, "%s", k->err);
        return -EINVAL;
    }
    *ret = (struct str){k->text, k->n};
    return 0;
}

/* 0 or -EINVAL as known, -ENOENT as known to be unknown, 1: it takes a question. */
static int recall(struct registry *r, int32_t id, int64_t now_us, char err[160], struct str *ret) {
    int rc = 1;
    pthread_mutex_lock(&r->lock);
    const struct known *k = find(r, id);
    if (k)
        rc = answer(k, err, ret);
    for (size_t i = 0; rc == 1 && i < MIN(r->n_unknown, (size_t)UNKNOWN_MAX); i++)
        if (r->unknown[i].id == id && now_us < r->unknown[i].until_us)
            rc = -ENOENT;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int learn(struct registry *r, int32_t id, struct buf *text, const char *err) {
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    int rc = 0;
    k->id = id;
    if (err)
        snprintf(k->err, sizeof k->err, "%s", err);
    pthread_mutex_lock(&r->lock);
    if (r->n_known == r->cap_known) {
        size_t cap = r->cap_known ? 2 * r->cap_known : 16;
        struct known **more = realloc(r->known, cap * sizeof(*more));
        if (more) {
            r->known = more;
            r->cap_known = cap;
        } else {
            rc = -ENOMEM;
        }
    }
    if (rc == 0) {
        if (!err) {
            k->text = (char *)text->p;
            k->n = text->n;
            *text = (struct buf){0};
        }
        r->known[r->n_known++] = TAKE(k);
    }
    pthread_mutex_unlock(&r->lock);
    free(k);
    return rc;
}

static void note_unknown(struct registry *r, int32_t id, int64_t now_us) {
    pthread_mutex_lock(&r->lock);
    r->unknown[r->n_unknown++ % UNKNOWN_MAX] = (struct unknown){id, now_us + unknown_us};
    pthread_mutex_unlock(&r->lock);
}

/* Told once when it goes away and once when it is back. */
static void note_fault(struct registry *r, int rc, int64_t now_us, const char *err) {
    if (rc == -EAGAIN) {
        if (!r->pause_us)
            log_warning("registry-away", "error=%s", log_q(err));
        r->pause_us = r->pause_us ? MIN(2 * r->pause_us, longest_pause_us) : first_pause_us;
        r->asked_again_us = now_us + r->pause_us;
    } else if (rc != -ENOMEM) {
        if (r->pause_us)
            log_info("registry-back", "status=ok");
        r->pause_us = 0;
    }
}

static bool may_ask_unknown(struct registry *r, int64_t now_us) {
    double more = (double)(now_us - r->tokens_us) * 1e-6 * UNKNOWN_PER_S;
    r->tokens = MIN(r->tokens + MAX(more, 0.0), (double)UNKNOWN_BURST);
    r->tokens_us = now_us;
    return r->tokens >= 1;
}

int registry_schema(struct registry *r, int32_t id, int64_t now_us, char err[160],
                    struct str *ret) {
    int rc = recall(r, id, now_us, err, ret);
    if (rc <= 0)
        return rc;
    pthread_mutex_lock(&r->asking);
    rc = recall(r, id, now_us, err, ret); /* another thread may have asked meanwhile */
    if (rc == 1 && r->pause_us && now_us < r->asked_again_us) {
        rc = fault(err, "the registry is away");
    } else if (rc == 1 && !may_ask_unknown(r, now_us)) {
        rc = -ENOENT;
    } else if (rc == 1) {
        struct gathering g = {0};
        char path[40];
        snprintf(path, sizeof path, "schemas/ids/%u", (unsigned)id);
        rc = gather(r, path, &g, err);
        note_fault(r, rc, now_us, err);
        if (rc == -ENOENT) {
            r->tokens -= 1;
            note_unknown(r, id, now_us);
        } else if (rc == 0 || rc == -EINVAL) {
            rc = learn(r, id, &g.text, rc ? err : NULL);
            if (rc == 0)
                rc = recall(r, id, now_us, err, ret);
        }
        for (size_t i = 0; i < g.n; i++)
            free(g.seen[i]);
        buf_free(&g.text);
    }
    pthread_mutex_unlock(&r->asking);
    return rc;
}

int registry_register(struct registry *r, const char *topic, struct str schema, int64_t now_us,
                      char err[160], int32_t *ret_id) {
    autofree(free) char *path = NULL, *body = NULL;
    json_t *reply = NULL, *j = json_pack("{s:s%}", "schema", schema.p, schema.n);
    body = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    pthread_mutex_lock(&r->asking);
    char *escaped = curl_easy_escape(r->curl, topic, 0);
    if (!escaped || asprintf(&path, "subjects/%s-value/versions", escaped) < 0)
        path = NULL;
    curl_free(escaped);
    int rc = path && body ? ask(r, path, body, err, &reply) : -ENOMEM;
    if (rc == -ENOENT)
        rc = -EINVAL;
    if (rc == 0) {
        const json_t *id = json_object_get(reply, "id");
        if (json_is_integer(id) && json_integer_value(id) >= 0 &&
            json_integer_value(id) <= INT32_MAX)
            *ret_id = (int32_t)json_integer_value(id);
        else
            rc = fault(err, "a reply without an id");
    }
    note_fault(r, rc, now_us, err);
    json_decref(reply);
    pthread_mutex_unlock(&r->asking);
    return rc;
}
