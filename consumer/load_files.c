/* Files into a topic: read, map, check, encode, send, at the pace that was asked for. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "consumer/clock.h"
#include "consumer/csv.h"
#include "consumer/encode.h"
#include "consumer/interrupt.h"
#include "consumer/load.h"
#include "consumer/parse.h"
#include "consumer/schema_store.h"
#include "consumer/sender.h"

enum { SHOWN_BAD = 5, SHOWN_DRY = 3, SHOW_EVERY = 512, SLICE_MS = 100 };
enum { REGISTRY_TRIES = 60, REGISTRY_PAUSE_US = 500000 };

/* Why rows stay behind: the reasons of dead letters, and these. */
enum { SKIP_BROKEN = DEAD_COUNT, SKIP_TYPE_MAP, SKIP_RECORD, SKIP_COUNT };

static const char *skip_name(int reason) {
    switch (reason) {
    case SKIP_BROKEN:
        return "broken-row";
    case SKIP_TYPE_MAP:
        return "type-mapped-to-nothing";
    case SKIP_RECORD:
        return "incomplete-record";
    default:
        return dead_reason_name((enum dead_reason)reason);
    }
}

struct shift {
    enum { SHIFT_NONE, SHIFT_BY, SHIFT_NOW, SHIFT_TO } kind;
    int64_t ms; /* by; relative to now; to */
};

struct loader {
    const struct load_options *o;
    struct field_map *map;
    struct encoder *encoder;
    struct sender *sender; /* NULL: dry run */
    struct buf value, id;
    struct shift shift;
    struct progress progress;
    uint64_t bytes_before; /* of the files before this one */
    int64_t started_us;

    uint64_t done, bad_sent, skipped[SKIP_COUNT], types[EV_MAX + 1], n_shown;
    bool failed;

    uint32_t pass;
    int64_t shift_ms, pass_shift_ms;   /* whole; of which by passes */
    bool timed;                        /* an event with a time was there */
    int64_t first_ms, low_ms, high_ms; /* of the first pass, as in the files */
    uint64_t n_timed;
    int64_t pace_started_us, pace_first_ms; /* 0: not yet */
};

/* ---- options ---- */

static int parse_shift(const char *text, struct shift *ret) {
    *ret = (struct shift){0};
    if (!text)
        return 0;
    struct str s = str_of(text);
    bool now = s.n >= 3 && memcmp(s.p, "now", 3) == 0;
    if (now)
        s = (struct str){s.p + 3, s.n - 3};
    ret->kind = now ? SHIFT_NOW : SHIFT_BY;
    if (now && s.n == 0)
        return 0;
    if (s.n && (s.p[0] == '+' || s.p[0] == '-') &&
        parse_span((struct str){s.p + 1, s.n - 1}, &ret->ms)) {
        ret->ms = s.p[0] == '-' ? -ret->ms : ret->ms;
        return 0;
    }
    ret->kind = SHIFT_TO;
    if (!now && parse_time(s, 1000, &ret->ms))
        return 0;
    fprintf(stderr, "--shift-time '%s': use now, now-2h, +7d, -30d or 2024-05-06T07:08Z\n", text);
    return -EINVAL;
}

/* ---- rows that stay behind ---- */

static void bad_row(struct loader *l, const struct table_file *t, int reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void bad_row(struct loader *l, const struct table_file *t, int reason, const char *fmt,
                    ...) {
    l->skipped[reason]++;
    if (l->n_shown == SHOWN_BAD)
        return;
    va_list ap;
    va_start(ap, fmt);
    char text[256];
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s%s:%" PRIu64 ": %s: %s\n", is_terminal(stderr) ? "\r\033[K" : "",
            table_path(t), table_line(t), skip_name(reason), text);
    if (++l->n_shown == SHOWN_BAD)
        fputs("further ones are only counted\n", stderr);
}

/* ---- time ---- */

static void shift_time(struct loader *l, struct event *e) {
    if (e->time_ms == INT64_MIN)
        return;
    if (!l->timed) {
        l->timed = true;
        l->first_ms = l->low_ms = l->high_ms = e->time_ms;
        if (l->shift.kind == SHIFT_BY)
            l->shift_ms = l->shift.ms;
        else if (l->shift.kind == SHIFT_NOW)
            l->shift_ms = clock_wall_ms() + l->shift.ms - l->first_ms;
        else if (l->shift.kind == SHIFT_TO)
            l->shift_ms = l->shift.ms - l->first_ms;
    }
    if (l->pass == 0) {
        l->low_ms = MIN(l->low_ms, e->time_ms);
        l->high_ms = MAX(l->high_ms, e->time_ms);
        l->n_timed++;
    }
    int64_t moved;
    if (!__builtin_add_overflow(e->time_ms, l->shift_ms + l->pass_shift_ms, &moved))
        e->time_ms = moved;
}

/* The next pass begins one average gap after the end of this one. */
static void next_pass(struct loader *l) {
    l->pass++;
    if (!l->timed)
        return;
    int64_t span = l->high_ms - l->low_ms;
    int64_t gap = l->n_timed > 1 ? span / (int64_t)(l->n_timed - 1) : 1000;
    l->pass_shift_ms += span + MAX(gap, 1);
}

static bool pause_until(struct loader *l, int64_t due_us) {
    for (;;) {
        int64_t left_us = due_us - clock_mono_us();
        if (left_us <= 0)
            return true;
        if (interrupted())
            return false;
        int ms = (int)MIN((left_us + 999) / 1000, SLICE_MS);
        sender_wait(l->sender, ms);
    }
}

/* By the events' own time and by rate, whichever is later. False: interrupted. */
static bool keep_pace(struct loader *l, int64_t time_ms) {
    if (!l->sender || (l->o->speed <= 0 && l->o->rate <= 0))
        return true;
    int64_t due_us = 0;
    if (!l->pace_started_us) {
        l->pace_started_us = clock_mono_us();
        l->pace_first_ms = time_ms;
    }
    if (l->o->speed > 0 && time_ms != INT64_MIN) {
        double after = (double)(time_ms - l->pace_first_ms) / l->o->speed;
        if (after > 0 && after < 1e15)
            due_us = l->pace_started_us + (int64_t)(after * 1000);
    }
    if (l->o->rate > 0) {
        int64_t at = l->pace_started_us + (int64_t)((double)l->done / l->o->rate * 1e6);
        due_us = MAX(due_us, at);
    }
    return pause_until(l, due_us);
}

/* ---- records ---- */

static int put(struct loader *l, struct str key, bool tombstone) {
    l->done++;
    if (!l->sender) {
        if (l->done <= SHOWN_DRY && !tombstone)
            printf("%.*s\n", (int)l->value.n, (const char *)l->value.p);
        return 0;
    }
    struct str value = {(const char *)l->value.p, l->value.n};
    return sender_put(l->sender, key, tombstone ? (struct str){0} : value);
}

static bool may_send(struct loader *l, const struct table_file *t, enum dead_reason dead,
                     const struct dead *why) {
    if (dead == DEAD_NONE)
        return true;
    l->bad_sent += l->o->keep_bad;
    if (!l->o->keep_bad)
        bad_row(l, t, (int)dead, "%s", why->detail);
    return l->o->keep_bad;
}

/* The schema registry does not answer: it gets half a minute. */
static bool registry_may_come(struct loader *l, int *tries) {
    if (*tries == 0)
        fputs("waiting for the schema registry\n", stderr);
    return (*tries)++ < REGISTRY_TRIES && l->sender &&
           pause_until(l, clock_mono_us() + REGISTRY_PAUSE_US);
}

static int send_event(struct loader *l, const struct table_file *t) {
    struct event e;
    struct str type_name;
    struct dead why = {.schema_id = -1};
    if (field_map_event(l->map, t, &e, &type_name) == 0) {
        l->skipped[SKIP_TYPE_MAP]++;
        return 0;
    }
    shift_time(l, &e);
    if (l->pass > 0) { /* other events than those of the passes before */
        char suffix[16];
        int n = snprintf(suffix, sizeof suffix, "~%" PRIu32, l->pass);
        buf_reset(&l->id);
        buf_put(&l->id, e.id.p, e.id.n);
        buf_put(&l->id, suffix, (size_t)n);
        e.id = (struct str){(const char *)l->id.p, l->id.n};
    }
    enum dead_reason dead = validate_event(l->o->cfg, INT64_MAX, &e, &why);
    if (!may_send(l, t, dead, &why))
        return -EBADMSG;
    int r, tries = 0;
    while ((r = encode_event(l->encoder, &e, type_name.p, &l->value)) == -EAGAIN)
        if (!registry_may_come(l, &tries))
            break;
    if (r < 0)
        return r;
    if (!keep_pace(l, e.time_ms))
        return -EINTR;
    l->types[MIN(e.type, EV_MAX)]++;
    return put(l, e.user, false);
}

static int send_item(struct loader *l, const struct table_file *t) {
    struct item_info i;
    int r = field_map_item(l->map, t, &i);
    if (r < 0) {
        bad_row(l, t, SKIP_RECORD, "%s", field_map_error(l->map));
        return r;
    }
    struct dead why = {.schema_id = -1};
    enum dead_reason dead = validate_item(l->o->cfg, &i, &why);
    if (!may_send(l, t, dead, &why))
        return -EBADMSG;
    int tries = 0;
    while (!i.deleted && (r = encode_item(l->encoder, &i, &l->value)) == -EAGAIN)
        if (!registry_may_come(l, &tries))
            break;
    if (r < 0)
        return r;
    if (!keep_pace(l, INT64_MIN))
        return -EINTR;
    return put(l, i.id, i.deleted);
}

static int send_control(struct loader *l, const struct table_file *t) {
    struct control_info c;
    int r = field_map_control(l->map, t, &c);
    if (r < 0) {
        bad_row(l, t, SKIP_RECORD, "%s", field_map_error(l->map));
        return r;
    }
    struct dead why = {.schema_id = -1};
    enum dead_reason dead = validate_control(l->o->cfg, &c, &why);
    if (!may_send(l, t, dead, &why))
        return -EBADMSG;
    int tries = 0;
    while (!c.deleted && (r = encode_control(l->encoder, &c, &l->value)) == -EAGAIN)
        if (!registry_may_come(l, &tries))
            break;
    if (r < 0)
        return r;
    if (!keep_pace(l, INT64_MIN))
        return -EINTR;
    return put(l, c.user, c.deleted);
}

static int send_row(struct loader *l, const struct table_file *t) {
    switch (l->o->kind) {
    case LOAD_ITEMS:
        return send_item(l, t);
    case LOAD_CONTROL:
        return send_control(l, t);
    default:
        return send_event(l, t);
    }
}

/* ---- files ---- */

static bool at_limit(const struct loader *l) {
    return l->o->limit && l->done >= l->o->limit;
}

static bool undelivered(const struct loader *l) {
    return l->sender && sender_counts(l->sender)->failed;
}

/* 0: go on with the next file; -EINTR or another error: stop. */
static int load_table(struct loader *l, struct table_file *t) {
    for (uint64_t rows = 0;; rows++) {
        if (interrupted())
            return -EINTR;
        if (at_limit(l))
            return 0;
        if (rows % SHOW_EVERY == 0 || l->o->rate > 0 || l->o->speed > 0)
            progress_show(&l->progress, l->bytes_before + table_bytes_read(t), l->done, NULL);
        int r = table_next(t);
        if (r == 0)
            return 0;
        if (r > 0) {
            r = send_row(l, t);
            if (r < 0 && r != -EBADMSG && r != -EINTR && !undelivered(l))
                fprintf(stderr, "%s:%" PRIu64 ": %s\n", table_path(t), table_line(t), strerror(-r));
            if (r < 0 && r != -EBADMSG)
                return r;
        } else {
            bad_row(l, t, SKIP_BROKEN, "%s", table_error(t));
            l->failed |= r == -EIO;
        }
        if (r < 0 && l->o->strict) {
            fputs("stopped at the first bad row (--strict)\n", stderr);
            return r;
        }
    }
}

static int load_pass(struct loader *l, const struct flag_list *files) {
    l->bytes_before = 0;
    for (size_t i = 0; i < files->n && !at_limit(l); i++) {
        autofree(table_close) struct table_file *t = NULL;
        int r = table_open(files->v[i], &t);
        if (r == 0)
            r = load_table(l, t);
        if (r < 0) {
            l->failed |= r != -EINTR;
            return r;
        }
        l->bytes_before += table_bytes_total(t);
    }
    return 0;
}

static uint64_t bytes_of(const struct flag_list *files) {
    uint64_t total = 0;
    for (size_t i = 0; i < files->n; i++) {
        struct stat st;
        if (stat(files->v[i], &st) < 0 || !S_ISREG(st.st_mode))
            return 0;
        total += (uint64_t)st.st_size;
    }
    return total;
}

/* ---- the report ---- */

static void put_count(const char *separator, const char *name, uint64_t n) {
    printf("%s%s %" PRIu64, separator, name, n);
}

static void report_text(const struct loader *l, const struct sender_counts *c, double s) {
    static const char *const kinds[] = {"events", "items", "control records"};
    printf("%s: %" PRIu64 " %s", l->sender ? l->o->topic : "dry run", l->done, kinds[l->o->kind]);
    if (l->sender)
        printf(", %.1f MB in %.1f s (%.0f/s)", (double)c->bytes / 1e6, s,
               s > 0 ? (double)l->done / s : 0.0);
    putchar('\n');
    const char *separator = "  types: ";
    for (int i = 0; i <= EV_MAX; i++)
        if (l->types[i]) {
            put_count(separator,
                      i < EV_MAX ? config_event_name(l->o->cfg, (uint8_t)i) : "(unknown)",
                      l->types[i]);
            separator = ", ";
        }
    if (*separator == ',')
        putchar('\n');
    separator = "  skipped: ";
    for (int i = 0; i < SKIP_COUNT; i++)
        if (l->skipped[i]) {
            put_count(separator, skip_name(i), l->skipped[i]);
            separator = ", ";
        }
    if (*separator == ',')
        putchar('\n');
    if (l->bad_sent)
        printf("  sent although bad: %" PRIu64 "\n", l->bad_sent);
    if (c->failed)
        printf("  not delivered: %" PRIu64 " (%s)\n", c->failed, c->error);
}

static void report_json(const struct loader *l, const struct sender_counts *c, double s) {
    json_t *types = json_object(), *skipped = json_object();
    for (int i = 0; i <= EV_MAX; i++)
        if (l->types[i])
            json_object_set_new(types,
                                i < EV_MAX ? config_event_name(l->o->cfg, (uint8_t)i) : "(unknown)",
                                json_integer((json_int_t)l->types[i]));
    for (int i = 0; i < SKIP_COUNT; i++)
        if (l->skipped[i])
            json_object_set_new(skipped, skip_name(i), json_integer((json_int_t)l->skipped[i]));
    json_t *o =
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:f, s:I, s:o, s:o}", "topic", l->o->topic, "dry_run",
                  l->sender == NULL, "sent", (json_int_t)l->done, "not_delivered",
                  (json_int_t)c->failed, "bytes", (json_int_t)c->bytes, "seconds", s, "bad_sent",
                  (json_int_t)l->bad_sent, "types", types, "skipped", skipped);
    if (o) {
        json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
    }
    json_decref(o);
}

static int report(struct loader *l, double seconds) {
    static const struct sender_counts none;
    const struct sender_counts *c = l->sender ? sender_counts(l->sender) : &none;
    if (l->o->json)
        report_json(l, c, seconds);
    else
        report_text(l, c, seconds);
    uint64_t skipped = 0;
    for (int i = 0; i < SKIP_COUNT; i++)
        skipped += l->skipped[i];
    if (l->done == 0 && skipped > 0)
        fputs("nothing was fit to be sent: see --map, --type-map, --set and --time-unit\n", stderr);
    return l->failed || c->failed || (l->done == 0 && skipped > 0) ? EXIT_FAILED : EXIT_DONE;
}

/* One that is away now is waited for at the first record. */
static int register_schema(struct loader *l) {
    static const int32_t schemas[] = {
        [LOAD_EVENTS] = SCHEMA_EVENT, [LOAD_ITEMS] = SCHEMA_ITEM, [LOAD_CONTROL] = SCHEMA_CONTROL};
    int r = encoder_register(l->encoder, &schemas[l->o->kind], 1, NULL);
    return r == -EAGAIN ? 0 : r;
}

static int run(struct loader *l, const struct flag_list *files) {
    const struct load_options *o = l->o;
    int r = 0;
    if (!o->dry_run)
        r = sender_new(o->cfg, o->topic, o->partitions, o->kind != LOAD_EVENTS, &l->sender);
    if (r == 0)
        r = encoder_new(o->cfg, o->dry_run ? FORMAT_JSON : o->format, &l->encoder);
    if (r == 0)
        r = register_schema(l);
    if (r < 0)
        return EXIT_FAILED;
    interrupt_catch();
    l->progress = (struct progress){.what = "loading",
                                    .total = o->loop ? 0 : bytes_of(files),
                                    .unit = o->kind == LOAD_EVENTS ? "events" : "records"};
    l->started_us = clock_mono_us();
    do {
        uint64_t before = l->done;
        r = load_pass(l, files);
        next_pass(l);
        if (l->done == before)
            break; /* nothing in the files: no use in reading them again */
    } while (r == 0 && o->loop && !at_limit(l));
    if (l->sender)
        sender_flush(l->sender);
    double seconds = (double)(clock_mono_us() - l->started_us) / 1e6;
    progress_done(&l->progress, l->done);
    return report(l, seconds);
}

static void loader_clear(struct loader *l) {
    field_map_free(l->map);
    encoder_free(l->encoder);
    sender_free(l->sender);
    buf_free(&l->value);
    buf_free(&l->id);
}

int load_files(const struct load_options *o, const struct flag_list *files) {
    struct loader l = {.o = o};
    if (parse_shift(o->shift_time, &l.shift) < 0 ||
        field_map_new(o->cfg, o->maps.v, o->maps.n, o->type_maps.v, o->type_maps.n, o->sets.v,
                      o->sets.n, &l.map) < 0 ||
        field_map_time_unit(l.map, o->time_unit) < 0) {
        loader_clear(&l);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < files->n && o->loop; i++)
        if (strcmp(files->v[i], "-") == 0) {
            fputs("--loop: standard input can be read only once\n", stderr);
            loader_clear(&l);
            return EXIT_USAGE;
        }
    int code = run(&l, files);
    loader_clear(&l);
    return code;
}
