/* A model's memory made durable as it is, in pages, with the learner that teaches it: another
 * process goes on from it bit by bit as this one would have. The records of record.h say what was
 * learned, by ids, for any process and any later version; they say not which row an item has, how
 * stale a vector is, what was drawn last. These say all that, for this version of the program with
 * the same settings.
 *
 * What changed is found by hashing the pages, so nothing can be forgotten but what a part does not
 * name (regions.h). One process, one learner. All of it [structural]. */
#pragma once

#include "model/model.h"

struct image;

/* Model and learner are borrowed. 0, -ENOMEM or -ENOTSUP (more parts than there is room for). */
int image_new(struct model *m, struct learner *l, struct image **ret);
void image_free(struct image *i);
DEFINE_CLEANUP(struct image, image_free)

/* Memory of the caller's that goes with it, `n` bytes, the same at every start; before anything
 * else. It must not end before the image does. */
void image_watch(struct image *i, void *p, size_t n);

/* Calls put(ctx, key, key_n, value, value_n) for every record that changed since the last call:
 * all of them make one state, to be written in one transaction. 0, -ENOMEM or the first error of
 * put; then the next call puts everything again. */
typedef int image_put(void *ctx, const void *key, size_t key_n, const void *value, size_t value_n);
int image_changes(struct image *i, image_put *put, void *ctx);

/* Whether it is one of these records, and the one that vouches for the others: without it they
 * count for nothing. */
bool image_record_is(struct str key);
bool image_head_is(struct str key);
/* Its key: a tombstone under it ends the image, which others no longer keep up. */
void image_head_key(struct buf *ret);

/* Reading back, into a model that knows nothing yet: every record, then image_apply; then what the
 * catalogue says, then image_settle, which makes the vectors what they were before they were made
 * anew from the catalogue. */
/* 0, -ENOMEM, or -EBADMSG for damage. A newer record of a key replaces the one before. */
int image_take(struct image *i, struct str key, const void *p, size_t n);
/* 0; -ENOENT: there is no image; -EPROTO: it is another version's, or of other settings; -EBADMSG:
 * records are missing or contradict one another, -ENOMEM: then the model is to be made anew. */
int image_apply(struct image *i);
void image_settle(struct image *i);
