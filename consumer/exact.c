#include "consumer/exact.h"

#include "consumer/log.h"
#include "model/image.h"
#include "policy/learned.h"

enum { KEY_LEARNED = 'X' }; /* and the group's name */

struct exact {
    struct world *world;
    struct learner *learner;
    struct image *image;
    bool read, going_on;
    /* by group: */
    struct buf learned[POLICY_GROUPS_MAX]; /* as read, until exact_settle */
    uint64_t told[POLICY_GROUPS_MAX];      /* outcomes in the record last put */
    struct buf key, value;
};

int exact_new(struct world *w, struct exact **ret) {
    autofree(exact_free) struct exact *x = calloc(1, sizeof *x);
    if (!x)
        return -ENOMEM;
    x->world = w;
    int r = learner_new(w->model, 0, &x->learner);
    if (r == 0)
        r = image_new(w->model, x->learner, &x->image);
    if (r < 0)
        return r;
    image_watch(x->image, &w->learned, sizeof w->learned);
    *ret = TAKE(x);
    return 0;
}

void exact_free(struct exact *x) {
    if (!x)
        return;
    image_free(x->image);
    learner_free(x->learner);
    for (size_t g = 0; g < ARRAY_LEN(x->learned); g++)
        buf_free(&x->learned[g]);
    buf_free(&x->key);
    buf_free(&x->value);
    free(x);
}

struct learner *exact_learner(struct exact *x) {
    return x->learner;
}

static bool is_learned(struct str key) {
    return key.n && key.p[0] == KEY_LEARNED;
}

bool exact_record_is(struct str key) {
    return image_record_is(key) || is_learned(key);
}

int exact_take(struct exact *x, struct str key, const void *value, size_t n) {
    if (x->read)
        return 0;
    if (image_record_is(key))
        return image_take(x->image, key, value, n);
    const struct policy_set *set = x->world->policies;
    for (size_t g = 0; g < policy_groups(set); g++)
        if (str_eq(policy_group_name(set, g), (struct str){key.p + 1, key.n - 1})) {
            buf_reset(&x->learned[g]);
            buf_put(&x->learned[g], value, n);
            return x->learned[g].failed ? -ENOMEM : 0;
        }
    return 0; /* of a group that is no more */
}

int exact_read(struct exact *x) {
    x->read = true;
    int r = image_apply(x->image);
    x->going_on = r == 0;
    if (r == 0)
        log_info("image-read", "items=%u", model_items(x->world->model));
    else if (r == -EPROTO)
        log_warning("image-refused", "cause=\"of another version or other model options\" "
                                     "do=\"goes on from the rows saved last\"");
    else if (r == -EBADMSG)
        log_error("image-damaged", "fix=\"delete the model topic, or set model.save_interval to go "
                                   "on without\"");
    return r == -ENOENT || r == -EPROTO ? 0 : r;
}

bool exact_going_on(const struct exact *x) {
    return x->going_on;
}

int exact_settle(struct exact *x) {
    const struct policy_set *set = x->world->policies;
    int r = 0;
    image_settle(x->image);
    for (size_t g = 0; g < policy_groups(set); g++) {
        struct learned *l = policy_group_learned(set, g);
        struct buf *b = &x->learned[g];
        if (r == 0 && l && b->n && x->going_on)
            r = learned_resume(l, b->p, b->n);
        buf_free(b);
    }
    if (r < 0)
        log_error("policy-damaged", "error=%s fix=\"delete the model topic\"", strerror(-r));
    return r;
}

static int put_learned(struct exact *x, size_t g, changelog_put *put, void *ctx) {
    struct learned *l = policy_group_learned(x->world->policies, g);
    if (!l || learned_told(l) == x->told[g])
        return 0;
    struct str name = policy_group_name(x->world->policies, g);
    uint8_t kind = KEY_LEARNED;
    buf_reset(&x->key);
    buf_put(&x->key, &kind, 1);
    buf_put(&x->key, name.p, name.n);
    buf_reset(&x->value);
    x->told[g] = learned_told(l);
    int r = learned_keep(l, &x->value);
    if (r == 0 && x->key.failed)
        r = -ENOMEM;
    return r < 0 ? r : put(ctx, x->key.p, x->key.n, x->value.p, x->value.n);
}

int exact_changes(struct exact *x, changelog_put *put, void *ctx) {
    int r = 0;
    for (size_t g = 0; g < policy_groups(x->world->policies) && r == 0; g++)
        r = put_learned(x, g, put, ctx);
    if (r < 0)
        return r;
    pthread_rwlock_wrlock(&x->world->model_lock);
    r = image_changes(x->image, put, ctx);
    pthread_rwlock_unlock(&x->world->model_lock);
    return r;
}
