/* One node's share of a collection of commands: which operations go there, how far they were sent,
 * how far they were answered. A single Redis has one pipe, a cluster one per master. What a reply
 * means is the cache's affair. One thread. */
#pragma once

#include "consumer/redis.h"

enum op_kind {
    OP_REPLACE, /* may be repeated */
    OP_ONCE,    /* may not */
    OP_MARKER,  /* writes the marker; appended anew rather than repeated */
    OP_ASK,     /* for beckon:rewrite; the same */
    OP_WORD,    /* sets it; may be repeated */
};

/* One command or one transaction, of one key. */
struct op {
    size_t end;    /* in `out`; begins where the one before ends */
    uint64_t seq;  /* of a marker's GETSET, else 0 */
    uint16_t slot; /* of its key; 0 without a cluster */
    uint8_t kind, replies;
    bool second_try; /* of a refused XADD */
    bool done;       /* answered, and not with "not now" or "not here" */
    bool lost;       /* nobody knows whether it arrived, and it must not be repeated */
};

/* What was collected, in the order in which it takes effect. */
struct collection {
    struct buf out;
    struct op *ops;
    size_t n, cap;
};
static inline size_t op_begin(const struct collection *all, size_t i) {
    return i ? all->ops[i - 1].end : 0;
}

struct marker {
    uint32_t number; /* makes its key one of a slot of this node */
    uint16_t slot;
    uint64_t acked; /* 0 before the first */
};

struct pipe {
    struct redis *redis;
    struct address at; /* in a cluster */
    struct marker marker;
    bool listed;   /* the cluster's map has it */
    bool tried;    /* whether this server takes RESTORE; then: */
    bool restores; /* it does */
    bool broken;   /* the connection was lost: nothing moves until pipe_reset */
    struct share *share;
    size_t n, cap;
    size_t first, staged; /* those whose bytes are in `wire`; all before were sent */
    struct buf wire;
    size_t wire_sent;
    size_t acked;     /* shares */
    uint8_t heard;    /* replies to share[acked], beyond ASKING's */
    bool asked;       /* ASKING's came */
    bool failed;      /* one of them was an error */
    int64_t moved_us; /* when a byte last went or came */
};

/* `node` NULL: where redis.address says. 0, or an error of redis_new. */
int pipe_new(const struct config *cfg, const struct address *node, struct pipe **ret);
void pipe_free(struct pipe *p);
DEFINE_CLEANUP(struct pipe, pipe_free)
/* The operation goes this way, after the others; `asking`: preceded by ASKING. -ENOMEM. */
int pipe_add(struct pipe *p, size_t op, bool asking);
bool pipe_idle(const struct pipe *p); /* all sent and answered */
bool pipe_sent(const struct pipe *p);
/* Forgets its shares, whose replies must have come, or the connection be gone. */
void pipe_reset(struct pipe *p);
/* Whether a byte of a share may have left. */
bool pipe_touched(const struct pipe *p, size_t share);
size_t pipe_op(const struct pipe *p, size_t share);

/* Sends what the socket takes, and hands replies over: `on_reply` gets the operation and whether
 * this is its last reply. 0, or -ECONNRESET with `broken` set. *moved becomes true if
 * anything did. */
typedef void pipe_reply(void *ctx, struct pipe *p, size_t op, const struct reply *r, bool last);
int pipe_move(struct pipe *p, const struct collection *all, pipe_reply *on_reply, void *ctx,
              bool *moved);
