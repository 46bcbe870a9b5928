/* What policy's files share of a partition's notes. */
#pragma once

#include "policy/internal.h"

struct study {
    double exposed[EXPERIMENT_ARMS_MAX];
    struct experiment_state state;
    uint32_t stopped; /* arms, a bit each; others may be stopped since */
};

enum { FAIR_VALUES_MAX = 16 }; /* of an attribute; what comes later is not counted */
struct fair_book {
    size_t n;
    uint32_t value[FAIR_VALUES_MAX]; /* hashes */
    struct fair_group group[FAIR_VALUES_MAX];
    bool stopped;
};

struct in_use {
    uint64_t key, print;
};

/* Its shard's thread changes it, with evidence_hold where others read: studies and in_use. */
struct evidence {
    const struct policy_set *set;
    struct evidence *next;
    struct study *study;    /* per experiment */
    struct fair_book *fair; /* per campaign */
    struct in_use *in_use;
    size_t n_in_use;
    char conflict[256];
};

void evidence_hold(const struct evidence *e);
void evidence_let(const struct evidence *e);
/* Notes that something is in use: 1, 0 (it was) or -ENOMEM. */
int evidence_use(struct evidence *e, uint64_t key, uint64_t print);
struct evidence *shard_evidence_look(struct policy_shard *s); /* without making it dirty */
