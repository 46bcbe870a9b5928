/* The files of a replay: events onto a tape, the catalogue into the engine. */
#pragma once

#include "consumer/cli.h"
#include "consumer/csv.h"
#include "consumer/replay.h"

struct replay_files {
    struct flag_list train, files, test;    /* train: learned only; the others are judged */
    const char *items;                      /* the catalogue; empty: none */
    struct flag_list maps, type_maps, sets; /* as for `beckon load` */
    const char *time_unit;
    int64_t limit; /* events at most, 0: all */
};

struct replay_data {
    struct tape *tape;
    size_t first;  /* of the events that are judged; without --train or without others, 0 */
    bool sessions; /* any event has a session */
    uint64_t read, broken, refused[DEAD_COUNT];
    uint64_t late;      /* rows that stood before an earlier one of their part */
    int64_t shifted_ms; /* by which the judged part was moved */
    uint64_t renamed;   /* its sessions that had ids of other ones */
};

/* Reads all events. Each part (what is only learned, what is judged) is put in order of time. Where
 * all of the second lies before the end of the first, its clock began anew, as it does in data sets
 * whose times are made up: it is moved behind. Where users are known for a session only (each row's
 * user is its session), an id that comes again after a session's pause is another session. Files
 * that cannot be opened are told of. 0 or -errno; `ret` is to be freed in either case. */
int replay_data_read(const struct replay_files *f, const struct config *cfg,
                     struct replay_data *ret);
void replay_data_done(struct replay_data *d); /* accepts a zeroed one */
/* Hands the catalogue to the engine. */
int replay_data_items(const struct replay_files *f, const struct config *cfg, struct replay *r);
