#include "model/internal.h"

enum {
    CHUNK = 1024,           /* users whose memory is taken at once, never to move */
    SWEEP = 512,            /* rows shard_maintain looks at for expiry and stale histories */
    EVICT_MAX = 4096,       /* users shard_maintain evicts at most because of max_users */
    EVICT_SAMPLE = 8,       /* the stalest of so many goes */
    MEASURE = 4096,         /* users whose profiles are measured */
    ARENA_BLOCK_MAX = 1024, /* longer ids come from malloc, see id_arena */
};

struct shard {
    const struct model *m;
    struct id_index index;
    struct id_arena ids;
    size_t long_ids;  /* bytes of ids the arena leaves to malloc */
    uint8_t **chunks; /* CHUNK users each, with their embeddings */
    size_t user_bytes;
    uint32_t n_chunks, chunks_cap;
    uint32_t rows, live; /* rows 0..rows-1 are in use or free */
    uint32_t free_row;   /* first of a list through batch_mark, ROW_NONE: none */
    uint32_t sweep_hand, evict_hand;
    void (*ext_free)(void *ext);
};

static struct user *user_at(const struct shard *s, uint32_t row) {
    return (struct user *)(s->chunks[row / CHUNK] + row % CHUNK * s->user_bytes);
}

static bool is_live(const struct user *u) {
    return u->id.n > 0;
}

static struct str id_of(const void *owner, uint32_t row) {
    return user_at(owner, row)->id;
}

int shard_new(const struct model *m, struct shard **ret) {
    autofree(shard_free) struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->m = m;
    s->free_row = ROW_NONE;
    s->user_bytes = (sizeof(struct user) + m->c.dim * sizeof(float) + 63) / 64 * 64;
    int r = id_index_init(&s->index, m->hash_seed, id_of, s);
    if (r < 0)
        return r;
    *ret = TAKE(s);
    return 0;
}

static void drop_id(struct shard *s, struct user *u) {
    if (u->id.n > ARENA_BLOCK_MAX)
        s->long_ids -= u->id.n;
    id_arena_drop(&s->ids, u->id.p, u->id.n);
    u->id = (struct str){0};
}

/* Everything a user owns but his place in the index and among the rows. */
static void release(struct shard *s, struct user *u) {
    if (s->ext_free && u->ext)
        s->ext_free(u->ext);
    u->ext = NULL;
    profile_done(&u->prof);
    drop_id(s, u);
}

void shard_free(struct shard *s) {
    if (!s)
        return;
    for (uint32_t row = 0; row < s->rows; row++)
        if (is_live(user_at(s, row)))
            release(s, user_at(s, row));
    for (uint32_t i = 0; i < s->n_chunks; i++)
        free(s->chunks[i]);
    free(s->chunks);
    id_arena_done(&s->ids);
    id_index_done(&s->index);
    free(s);
}

void shard_set_ext_free(struct shard *s, void (*fn)(void *ext)) {
    s->ext_free = fn;
}

struct user *shard_find(struct shard *s, struct str id) {
    uint32_t row = id_index_find(&s->index, id);
    return row == INDEX_NONE ? NULL : user_at(s, row);
}

static bool add_chunk(struct shard *s) {
    if (s->n_chunks == ROW_NONE / CHUNK)
        return false;
    if (s->n_chunks == s->chunks_cap) {
        uint32_t cap = s->chunks_cap ? 2 * s->chunks_cap : 8;
        uint8_t **chunks = realloc(s->chunks, cap * sizeof *chunks);
        if (!chunks)
            return false;
        s->chunks = chunks;
        s->chunks_cap = cap;
    }
    uint8_t *c = aligned_alloc(64, CHUNK * s->user_bytes);
    if (!c)
        return false;
    s->chunks[s->n_chunks++] = c;
    return true;
}

struct user *shard_admit(struct shard *s, struct str id, int64_t now_ms) {
    uint32_t row = id_index_find(&s->index, id);
    if (row != INDEX_NONE)
        return user_at(s, row);
    bool reuse = s->free_row != ROW_NONE;
    row = reuse ? s->free_row : s->rows;
    if (id.n == 0 || (row / CHUNK == s->n_chunks && !add_chunk(s)))
        return NULL;
    struct user *u = user_at(s, row);
    uint32_t next_free = reuse ? u->batch_mark : ROW_NONE;
    struct str copy;
    if (!id_arena_copy(&s->ids, id, &copy))
        return NULL;
    *u = (struct user){.id = copy, .row = row, .due_ms = INT64_MAX};
    profile_init(&u->prof);
    u->prof.last_ms = now_ms; /* until an event says otherwise */
    if (id_index_add(&s->index, id, row) < 0) {
        id_arena_drop(&s->ids, copy.p, copy.n);
        *u = (struct user){.batch_mark = next_free};
        return NULL;
    }
    if (reuse)
        s->free_row = next_free;
    else
        s->rows++;
    if (id.n > ARENA_BLOCK_MAX)
        s->long_ids += id.n;
    user_init(s->m, id, u->emb);
    s->live++;
    return u;
}

static void remove_user(struct shard *s, struct user *u) {
    uint32_t row = u->row;
    id_index_remove(&s->index, u->id);
    release(s, u);
    *u = (struct user){.batch_mark = s->free_row};
    s->free_row = row;
    s->live--;
}

bool shard_remove(struct shard *s, struct str id) {
    struct user *u = shard_find(s, id);
    if (u)
        remove_user(s, u);
    return u;
}

size_t shard_users(const struct shard *s) {
    return s->live;
}

struct user *shard_next(struct shard *s, uint32_t *cursor) {
    while (*cursor < s->rows) {
        struct user *u = user_at(s, (*cursor)++);
        if (is_live(u))
            return u;
    }
    return NULL;
}

/* ---- bounds ---------------------------------------------------------------- */

static bool stale_item(void *model, uint32_t row, uint32_t time_s) {
    return !item_ref_valid(model, row, time_s);
}

/* Moves a hand that goes round on by one row; the user there or NULL. */
static struct user *under_hand(struct shard *s, uint32_t *hand) {
    *hand = *hand + 1 < s->rows ? *hand + 1 : 0;
    struct user *u = user_at(s, *hand);
    return is_live(u) ? u : NULL;
}

static void evict(struct shard *s, struct user *u, void (*evicted)(void *ctx, struct user *u),
                  void *ctx) {
    if (evicted)
        evicted(ctx, u);
    remove_user(s, u);
}

void shard_maintain(struct shard *s, int64_t now_ms, void (*evicted)(void *ctx, struct user *u),
                    void *ctx) {
    int64_t expire_ms = s->m->c.user_expire_ms;
    for (uint32_t i = 0; i < MIN(s->rows, (uint32_t)SWEEP); i++) {
        struct user *u = under_hand(s, &s->sweep_hand);
        if (u && expire_ms > 0 && now_ms - u->prof.last_ms > expire_ms)
            evict(s, u, evicted, ctx);
        else if (u)
            profile_drop_items(&u->prof, stale_item, (void *)(uintptr_t)s->m);
    }
    /* Least recently seen, approximately: the stalest of a few that lie side by side, as good
     * as the stalest of a few drawn at random, because rows know no order of time. */
    for (uint32_t n = 0; s->live > s->m->c.max_users && n < EVICT_MAX; n++) {
        struct user *stalest = NULL;
        for (uint32_t i = 0; i < EVICT_SAMPLE; i++) {
            struct user *u = under_hand(s, &s->evict_hand);
            if (u && (!stalest || u->prof.last_ms < stalest->prof.last_ms))
                stalest = u;
        }
        if (stalest)
            evict(s, stalest, evicted, ctx);
    }
}

/* Profiles are measured on a sample spread evenly, so that the cost is bounded. What was taken
 * ahead for users to come is not counted: nobody has written to it, so it is no memory yet. */
size_t shard_bytes(const struct shard *s) {
    size_t profiles = 0, measured = 0;
    uint32_t step = MAX(s->rows / MEASURE, 1u);
    for (uint32_t row = 0; row < s->rows; row += step) {
        const struct user *u = user_at(s, row);
        if (!is_live(u))
            continue;
        profiles += profile_bytes(&u->prof);
        measured++;
    }
    double mean = measured ? (double)profiles / (double)measured : 0;
    return sizeof *s + s->chunks_cap * sizeof *s->chunks + s->rows * s->user_bytes +
           id_index_bytes(&s->index) + s->ids.bytes - s->ids.left + s->long_ids +
           (size_t)(mean * s->live);
}
