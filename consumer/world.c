#include "consumer/world.h"

#include <math.h>

#include "consumer/exact.h"

enum { MAINTAIN_EVENTS = 4096 };

void world_model_config(const struct config *cfg, struct model_config *c) {
    model_config_default(c);
    c->dim = (uint32_t)cfg->model_dim;
    c->seed = (uint64_t)cfg->model_seed;
    c->loss = (enum loss)cfg->model_loss;
    c->optimizer = (enum optimizer)cfg->model_optimizer;
    c->learning_rate = (float)cfg->model_learning_rate;
    c->l2 = (float)cfg->model_l2;
    c->clip = (float)cfg->model_clip;
    c->negatives = (uint32_t)cfg->model_negatives;
    c->negative_alpha = (float)cfg->model_negative_alpha;
    c->learn_phi = cfg->model_phi;
    memcpy(c->type_weight, cfg->type_weight, sizeof c->type_weight);
    c->rank = cfg->model_rank;
    const bool parts[PART_COUNT] = {
        [PART_SESSIONS] = cfg->model_part_sessions, [PART_PAIRS] = cfg->model_part_pairs,
        [PART_TRAIL] = cfg->model_part_trail,       [PART_TASTE] = cfg->model_part_taste,
        [PART_CONTENT] = cfg->model_part_content,   [PART_LIVELY] = cfg->model_part_lively,
        [PART_CONTEXT] = cfg->model_part_context,
    };
    for (int p = 0; p < PART_COUNT; p++)
        c->parts_off |= (uint32_t)!parts[p] << p;
    c->exclude_seen = cfg->lists_exclude_seen;
    c->session_store = (uint32_t)cfg->model_sessions;
    c->replays = (uint32_t)cfg->model_replays;
    c->covisit_weight = (float)cfg->model_covisit_weight;
    c->trend_weight = (float)cfg->model_trend_weight;
    c->rating_like = (float)cfg->model_rating_like;
    c->rating_dislike = (float)cfg->model_rating_dislike;
    c->trend_half_life_ms = cfg->model_trend_half_life;
    c->profile_half_life_ms = cfg->model_profile_half_life;
    c->max_items = (uint32_t)cfg->model_max_items;
    c->max_users = (uint32_t)cfg->model_max_users;
    c->item_admit = (uint32_t)cfg->model_item_admit;
    c->item_expire_ms = cfg->model_item_expire;
    c->user_expire_ms = cfg->model_user_expire;
    c->bought_window_ms = cfg->lists_bought_window;
    c->show_restricted_adult = cfg->lists_adult;
    c->top_n = (uint32_t)cfg->lists_n;
    c->per_category = (uint32_t)cfg->lists_per_category;
    c->diversity = (float)cfg->lists_diversity;
    c->novelty = (float)cfg->lists_novelty;
    c->exploration = (float)cfg->lists_exploration;
    c->flood_per_minute = (uint32_t)cfg->model_flood_per_minute;
    c->bot_minutes = (uint32_t)cfg->model_bot_minutes;
}

int world_new(const struct config *cfg, struct policy_set *policies, uint64_t hash_seed,
              struct world **ret) {
    autofree(world_free) struct world *w = calloc(1, sizeof *w);
    if (!w) {
        policy_set_free(policies);
        return -ENOMEM;
    }
    w->cfg = cfg;
    w->policies = policies;
    w->partitions = 1;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&w->model_lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&w->drop_lock, NULL);

    struct model_config mc;
    world_model_config(cfg, &mc);
    mc.hash_seed = hash_seed;
    int r = model_new(&mc, &w->model);
    if (r == 0)
        r = wishes_new(&w->wishes);
    if (r < 0)
        return r;
    if (cfg->model_save_interval == 0)
        r = exact_new(w, &w->exact);
    if (r < 0)
        return r;
    w->drops = calloc(WORLD_DROPS, sizeof *w->drops);
    if (!w->drops)
        return -ENOMEM;
    *ret = TAKE(w);
    return 0;
}

void world_free(struct world *w) {
    if (!w)
        return;
    free(w->drops);
    wishes_free(w->wishes);
    exact_free(w->exact);
    model_free(w->model);
    policy_set_free(w->policies);
    pthread_rwlock_destroy(&w->model_lock);
    pthread_mutex_destroy(&w->drop_lock);
    free(w);
}

void world_learned(struct world *w, size_t n, int64_t now_ms) {
    if (now_ms > __atomic_load_n(&w->now_ms, __ATOMIC_RELAXED))
        __atomic_store_n(&w->now_ms, now_ms, __ATOMIC_RELAXED);
    uint64_t before = __atomic_fetch_add(&w->learned, n, __ATOMIC_RELAXED);
    if (before / MAINTAIN_EVENTS == (before + n) / MAINTAIN_EVENTS)
        return;
    pthread_rwlock_wrlock(&w->model_lock);
    model_maintain(w->model, now_ms);
    pthread_rwlock_unlock(&w->model_lock);
}

int world_item(struct world *w, const struct item_info *info, int64_t now_ms) {
    uint32_t row;
    double old = NAN;
    pthread_rwlock_wrlock(&w->model_lock);
    int r = model_item_upsert(w->model, info, now_ms, &row, &old);
    pthread_rwlock_unlock(&w->model_lock);
    if (r < 0 || info->deleted || !(info->price < old))
        return r;
    pthread_mutex_lock(&w->drop_lock);
    w->drops[w->n_drops % WORLD_DROPS] = (struct price_drop){row, old, info->price};
    __atomic_store_n(&w->n_drops, w->n_drops + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&w->drop_lock);
    return 0;
}

size_t world_drops(struct world *w, uint64_t *cursor, struct price_drop *ret, size_t max) {
    if (__atomic_load_n(&w->n_drops, __ATOMIC_ACQUIRE) == *cursor)
        return 0;
    size_t n = 0;
    pthread_mutex_lock(&w->drop_lock);
    if (w->n_drops - *cursor > WORLD_DROPS)
        *cursor = w->n_drops - WORLD_DROPS;
    while (n < max && *cursor < w->n_drops)
        ret[n++] = w->drops[(*cursor)++ % WORLD_DROPS];
    pthread_mutex_unlock(&w->drop_lock);
    return n;
}
