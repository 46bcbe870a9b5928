/* What other processes of the deployment learned, taken in here (model/share.h): their events,
 * and the vectors of the one among them that leads, so that those of all stay one. Owned by the
 * thread that follows the model topic (globals.h). */
#pragma once

#include "consumer/world.h"
#include "model/share.h"

struct metrics;
struct hearing;

int hearing_new(struct world *w, struct metrics *m, struct hearing **ret); /* 0 or -ENOMEM */
void hearing_free(struct hearing *h);
DEFINE_CLEANUP(struct hearing, hearing_free)

/* A told record or a mark, as they are on the model topic. Until hearing_begin the former are
 * kept, as long as no mark says that the rows saved by then have them. From then on they are
 * learned, unless they are this process's own. 0, -ENOMEM, or damage as of share.h. */
int hearing_record(struct hearing *h, struct str key, const void *p, size_t n, int64_t offset);
/* All rows are restored: learns what is told and not in them, former runs of this process
 * included; returns how many events that were. */
uint64_t hearing_begin(struct hearing *h);
/* A row that the leader saved: takes its vectors. 0 or an error of model_vectors_take. */
int hearing_row(struct hearing *h, struct str key, const void *p, size_t n);
/* The rows read so far are in the midst of being saved anew. */
bool hearing_open(const struct hearing *h);
/* Something was told that the newest mark does not know of. */
bool hearing_unmarked(const struct hearing *h);
/* What rows collected from now on have in them; and what goes in front of these rows: the mark of
 * those before, opened. */
struct share_mark hearing_mark(const struct hearing *h);
struct share_mark hearing_last_mark(const struct hearing *h);
