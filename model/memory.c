#include "model/context.h"
#include "model/covisit.h"
#include "model/internal.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/sessions.h"
#include "model/trend.h"

void model_memory(const struct model *m, const struct shard *s, struct model_memory *ret) {
    const struct items *t = &m->items;
    *ret = (struct model_memory){.items = t->live};
    size_t per_row = covisit_bytes_per_item() + trend_bytes_per_item() + pairs_bytes_per_item() +
                     pulse_bytes_per_item() + context_bytes_per_item();
    size_t bytes = items_bytes(t) + t->rows * per_row + sessions_bytes(m->sessions) +
                   m->sampler.n * 3 * sizeof(uint32_t);
    ret->bytes_per_item = t->live ? (double)bytes / t->live : 0;
    if (s) {
        ret->users = shard_users(s);
        ret->bytes_per_user = ret->users ? (double)shard_bytes(s) / (double)ret->users : 0;
    }
}
