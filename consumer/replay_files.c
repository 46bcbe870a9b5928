#include "consumer/replay_files.h"

enum { SHOW_EVERY = 4096, PART_PAUSE_MS = 60000, SESSION_PAUSE_MS = 30 * 60000 };

static int read_events(const char *path, struct field_map *map, const struct config *cfg,
                       int64_t limit, struct replay_data *d) {
    autofree(table_close) struct table_file *t = NULL;
    int err = table_open(path, &t);
    if (err < 0)
        return err;
    struct progress p = {.what = "reading", .total = table_bytes_total(t), .unit = "events"};
    int got;
    while (err == 0 && (!limit || d->read < (uint64_t)limit) && (got = table_next(t)) != 0) {
        struct event e;
        struct str type;
        struct dead why;
        if (got < 0) {
            d->broken++;
            continue;
        }
        if (!field_map_event(map, t, &e, &type))
            continue;
        if (++d->read % SHOW_EVERY == 0)
            progress_show(&p, table_bytes_read(t), d->read, path);
        enum dead_reason refused = validate_event(cfg, INT64_MAX, &e, &why);
        if (refused != DEAD_NONE) {
            d->refused[refused]++;
            continue;
        }
        d->sessions |= e.session.n > 0;
        err = tape_add(d->tape, &e);
    }
    progress_done(&p, d->read);
    return err;
}

static int read_part(const struct flag_list *files, struct field_map *map, const struct config *cfg,
                     int64_t limit, struct replay_data *d) {
    int err = 0;
    for (size_t i = 0; i < files->n && err == 0; i++)
        err = read_events(files->v[i], map, cfg, limit, d);
    return err;
}

static int put_in_order(struct replay_data *d, size_t from) {
    int64_t late = tape_sort(d->tape, from);
    if (late > 0)
        d->late += (uint64_t)late;
    return late < 0 ? (int)late : 0;
}

static bool sessions_only(const struct tape *t) {
    for (size_t i = 0; i < tape_n(t); i++)
        if (tape_at(t, i)->user != tape_at(t, i)->session)
            return false;
    return true;
}

/* The number of another text for an id that means something else now. */
static uint32_t other_name(struct tape *t, uint32_t id) {
    struct buf b = {0};
    struct str s = tape_text(t, id);
    buf_put(&b, s.p, s.n);
    buf_put(&b, " (2)", 4);
    uint32_t ret = b.failed ? 0 : tape_intern(t, (struct str){(const char *)b.p, b.n});
    buf_free(&b);
    return ret;
}

/* Tells sessions of the judged part from those of the first that have their ids. */
static int tell_apart(struct replay_data *d) {
    struct tape *t = d->tape;
    uint32_t texts = tape_texts(t);
    if (d->first == 0 || !sessions_only(t))
        return 0;
    int64_t *last = calloc(texts, sizeof *last);  /* event of an id in the first part */
    uint32_t *name = calloc(texts, sizeof *name); /* of an id in the judged part */
    int err = last && name ? 0 : -ENOMEM;
    for (size_t i = 0; i < d->first && err == 0; i++)
        last[tape_at(t, i)->user] = tape_at(t, i)->time_ms;
    for (size_t i = d->first; i < tape_n(t) && err == 0; i++) {
        const struct taped *e = tape_at(t, i);
        uint32_t id = e->user;
        if (name[id] == 0 && last[id] && e->time_ms - last[id] > SESSION_PAUSE_MS) {
            name[id] = other_name(t, id);
            err = name[id] ? 0 : -ENOMEM;
            d->renamed++;
        } else if (name[id] == 0) {
            name[id] = id;
        }
        if (err == 0)
            tape_rename(t, i, name[id], name[id]);
    }
    free(last);
    free(name);
    return err;
}

/* Walks the catalogue; each(ctx, info) for every usable record. */
static int each_item(const struct replay_files *f, const struct config *cfg,
                     int (*each)(void *ctx, const struct item_info *info), void *ctx) {
    autofree(field_map_free) struct field_map *map = NULL;
    autofree(table_close) struct table_file *t = NULL;
    if (!*f->items)
        return 0;
    int err = field_map_new(cfg, NULL, 0, NULL, 0, NULL, 0, &map);
    if (err == 0)
        err = table_open(f->items, &t);
    if (err < 0)
        return err;
    uint64_t broken = 0;
    int got;
    while ((got = table_next(t)) != 0) {
        struct item_info info;
        if (got < 0 || field_map_item(map, t, &info) < 0 || !info.id.n || each(ctx, &info) < 0)
            broken++;
    }
    if (broken)
        fprintf(stderr, "%s: %llu records could not be used\n", f->items,
                (unsigned long long)broken);
    return 0;
}

static int note_item(void *ctx, const struct item_info *info) {
    return tape_intern(ctx, info->id) ? 0 : -ENOMEM;
}

int replay_data_read(const struct replay_files *f, const struct config *cfg,
                     struct replay_data *ret) {
    autofree(field_map_free) struct field_map *map = NULL;
    *ret = (struct replay_data){0};
    int err = field_map_new(cfg, f->maps.v, f->maps.n, f->type_maps.v, f->type_maps.n, f->sets.v,
                            f->sets.n, &map);
    if (err == 0)
        err = field_map_time_unit(map, f->time_unit);
    if (err == 0)
        err = tape_new(&ret->tape);
    if (err == 0)
        err = read_part(&f->train, map, cfg, f->limit, ret);
    if (err == 0)
        err = put_in_order(ret, 0);
    if (err < 0)
        return err;
    size_t first = tape_n(ret->tape);
    if ((err = read_part(&f->files, map, cfg, f->limit, ret)) == 0)
        err = read_part(&f->test, map, cfg, f->limit, ret);
    if (err == 0)
        err = put_in_order(ret, first);
    if (err < 0)
        return err;
    size_t n = tape_n(ret->tape);
    ret->first = f->files.n + f->test.n ? first : 0;
    if (ret->first > 0 && ret->first < n) {
        int64_t end = tape_at(ret->tape, first - 1)->time_ms;
        if (tape_at(ret->tape, n - 1)->time_ms < end) {
            ret->shifted_ms = end + PART_PAUSE_MS - tape_at(ret->tape, first)->time_ms;
            tape_shift(ret->tape, first, ret->shifted_ms);
        }
    }
    err = tell_apart(ret);
    return err == 0 ? each_item(f, cfg, note_item, ret->tape) : err;
}

void replay_data_done(struct replay_data *d) {
    tape_free(d->tape);
    d->tape = NULL;
}

static int feed_item(void *ctx, const struct item_info *info) {
    return replay_item(ctx, info);
}

int replay_data_items(const struct replay_files *f, const struct config *cfg, struct replay *r) {
    return each_item(f, cfg, feed_item, r);
}
