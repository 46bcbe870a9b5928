/* The two sources of `beckon load`: files, and the dead letters. */
#pragma once

#include "consumer/cli.h"

enum load_kind { LOAD_EVENTS, LOAD_ITEMS, LOAD_CONTROL };

struct load_options {
    const struct config *cfg;
    const char *topic; /* files: where to; dead letters: NULL, back to where each came from */
    enum load_kind kind;
    enum data_format format;
    int32_t partitions; /* 0: as configured */
    struct flag_list maps, type_maps, sets;
    const char *time_unit, *shift_time;
    double speed, rate;
    uint64_t limit; /* 0: none */
    bool loop, keep_bad, strict, dry_run, json;
    const char *reason, *edit; /* dead letters; NULL: all, as they are */
    bool from_start;
};

/* Both return an exit code. */
int load_files(const struct load_options *o, const struct flag_list *files);
int load_letters(const struct load_options *o);
