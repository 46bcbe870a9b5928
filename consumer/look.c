#include "consumer/look.h"

#include <math.h>

#include "consumer/cache.h"
#include "consumer/clock.h"
#include "consumer/log.h"
#include "consumer/text.h"

static int64_t deadline(const struct config *cfg) {
    return clock_mono_us() + cfg->redis_timeout * 1000;
}

static void complain(const struct redis *r, const struct config *cfg) {
    fprintf(
        stderr,
        "Redis at %s: %s\n"
        "Is it running? Is redis.address right (--redis.address=…), the user, the password file?\n",
        log_q(cfg->redis_address), redis_error(r));
}

int look_open(const struct config *cfg, struct redis **ret) {
    if (log_level() < LOG_DEBUG)
        log_set_level(LOG_ERROR); /* the line below says it */
    autofree(redis_free) struct redis *r = NULL;
    int rc = redis_new(cfg, &r);
    if (rc < 0) {
        if (rc == -ENOMEM)
            fputs("out of memory\n", stderr);
        return -EAGAIN;
    }
    if (redis_ready(r, deadline(cfg)) < 0) {
        complain(r, cfg);
        return -EAGAIN;
    }
    *ret = TAKE(r);
    return 0;
}

redisReply *look_ask(struct redis *r, const struct config *cfg, size_t n, const struct str *args) {
    redisReply *reply = redis_call(r, deadline(cfg), n, args);
    if (reply && reply->type != REDIS_REPLY_ERROR)
        return reply;
    if (reply)
        redis_down(r, "%.*s: %s", (int)args[0].n, args[0].p, reply->str);
    freeReplyObject(reply);
    complain(r, cfg);
    return NULL;
}

struct buf look_id(const char *arg, bool escaped) {
    struct buf b = {0};
    if (escaped)
        id_unescape(&b, str_of(arg));
    else
        buf_put(&b, arg, strlen(arg));
    return b;
}

/* As %XX what plays tricks on a terminal or is no UTF-8; `id`: the rest as in keys. */
static void present(struct buf *out, struct str s, bool id) {
    uint32_t c;
    for (size_t i = 0, n; i < s.n; i += n) {
        n = text_char((struct str){s.p + i, s.n - i}, &c);
        if (!c || text_commands(c))
            id_escape_all(out, (struct str){s.p + i, n});
        else if (id)
            id_escape(out, (struct str){s.p + i, n});
        else
            buf_put(out, s.p + i, n);
    }
}

static void print(FILE *to, struct str s, bool id) {
    struct buf b = {0};
    present(&b, s, id);
    if (!b.failed && b.n)
        fwrite(b.p, 1, b.n, to);
    buf_free(&b);
}

void look_print(FILE *to, struct str id) {
    print(to, id, true);
}

void look_print_text(FILE *to, struct str text) {
    print(to, text, false);
}

void look_nothing(struct str key, const char *why) {
    fputs("nothing at ", stderr);
    look_print_text(stderr, key);
    fprintf(stderr, "\n%s\n", why);
}

size_t look_width(struct str id) {
    struct buf b = {0};
    present(&b, id, true);
    size_t n = 0;
    for (size_t i = 0; i < b.n; i++)
        n += (b.p[i] & 0xc0) != 0x80;
    buf_free(&b);
    return n;
}

json_t *look_json(struct str id) {
    json_t *j = memchr(id.p, 0, id.n) ? NULL : json_stringn(id.p, id.n);
    if (j)
        return j;
    struct buf b = {0};
    for (size_t i = 0; i < id.n; i++) {
        struct str byte = {id.p + i, 1};
        if ((uint8_t)id.p[i] < 0x80)
            id_escape(&b, byte);
        else
            id_escape_all(&b, byte);
    }
    j = json_stringn((const char *)b.p, b.n);
    buf_free(&b);
    return j;
}

json_t *look_json_value(struct str text) {
    char copy[32], *end;
    if (text.n == 0 || text.n >= sizeof copy || !memchr("-0123456789", text.p[0], 11))
        return look_json(text);
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    errno = 0;
    long long i = strtoll(copy, &end, 10);
    if (end == copy + text.n && !errno)
        return json_integer(i);
    double d = strtod(copy, &end);
    return end == copy + text.n && isfinite(d) ? json_real(d) : look_json(text);
}

int look_print_json(json_t *j) {
    bool bad = !j || json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15)) < 0 ||
               putchar('\n') == EOF || fflush(stdout) == EOF;
    json_decref(j);
    if (bad)
        perror("beckon");
    return bad ? EXIT_FAILED : EXIT_DONE;
}

static struct str text_of(const redisReply *r) {
    return (struct str){r->str ? r->str : "", r->str ? r->len : 0};
}

static double score_at(const redisReply *list, size_t i) {
    return strtod(list->element[i + 1]->str, NULL) / CACHE_SCORE_SCALE;
}

static int show_json(const struct look_list *l, struct str id, struct str key,
                     const redisReply *list) {
    json_t *items = json_array(), *out = json_object();
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        json_t *one = json_object();
        json_object_set_new(one, "rank", json_integer((json_int_t)(i / 2 + 1)));
        json_object_set_new(one, "item", look_json(text_of(list->element[i])));
        json_object_set_new(one, "score", json_real(score_at(list, i)));
        json_array_append_new(items, one);
    }
    json_object_set_new(out, l->what, look_json(id));
    json_object_set_new(out, "key", look_json(key));
    json_object_set_new(out, "items", items);
    return look_print_json(out);
}

static int show_table(const redisReply *list) {
    size_t width = strlen("item");
    for (size_t i = 0; i + 1 < list->elements; i += 2)
        width = MAX(width, look_width(text_of(list->element[i])));
    printf("rank  item%*s  %10s\n", (int)(width - 4), "", "score");
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        struct str item = text_of(list->element[i]);
        printf("%4zu  ", i / 2 + 1);
        look_print(stdout, item);
        printf("%*s  %10.3f\n", (int)(width - look_width(item)), "", score_at(list, i));
    }
    return fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
}

int look_run(const struct usage *usage, int argc, char **argv, const bool *escaped,
             int (*show)(const struct config *cfg, struct str id, void *ctx), void *ctx) {
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    struct buf id = look_id(args.v[0], *escaped);
    r = show(cfg, (struct str){(const char *)id.p, id.n}, ctx);
    buf_free(&id);
    flag_list_clear(&args);
    return r;
}

int look_list(const struct config *cfg, struct str id, void *list_of) {
    const struct look_list *l = list_of;
    autofree(redis_free) struct redis *r = NULL;
    if (look_open(cfg, &r) < 0)
        return EXIT_FAILED;
    struct buf b = {0};
    cache_key(&b, cfg->redis_prefix, l->kind, id);
    struct str key = {(const char *)b.p, b.n};
    char last[24];
    int n = snprintf(last, sizeof last, "%lld", (long long)l->n - 1);
    struct str args[] = {STR("ZREVRANGE"), key, STR("0"), {last, (size_t)n}, STR("WITHSCORES")};
    redisReply *list = b.failed ? NULL : look_ask(r, cfg, ARRAY_LEN(args), args);
    int rc = EXIT_FAILED;
    if (list && list->type == REDIS_REPLY_ARRAY && list->elements) {
        rc = l->json ? show_json(l, id, key, list) : show_table(list);
    } else if (list) {
        look_nothing(key, l->missing);
    }
    freeReplyObject(list);
    buf_free(&b);
    return rc;
}
