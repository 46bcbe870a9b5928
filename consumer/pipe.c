#include "consumer/pipe.h"

enum { WIRE_BYTES = 64 * 1024 };

struct share {
    size_t wire_at; /* where it begins in `wire` */
    uint32_t op;
    bool asking;
};

int pipe_new(const struct config *cfg, const struct address *node, struct pipe **ret) {
    autofree(pipe_free) struct pipe *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    if (node)
        p->at = *node;
    int rc = redis_new_at(cfg, node, &p->redis);
    if (rc == 0)
        *ret = TAKE(p);
    return rc;
}

void pipe_free(struct pipe *p) {
    if (!p)
        return;
    redis_free(p->redis);
    buf_free(&p->wire);
    free(p->share);
    free(p);
}

int pipe_add(struct pipe *p, size_t op, bool asking) {
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 256;
        struct share *share = reallocarray(p->share, cap, sizeof *share);
        if (!share)
            return -ENOMEM;
        p->share = share;
        p->cap = cap;
    }
    p->share[p->n++] = (struct share){.op = (uint32_t)op, .asking = asking};
    return 0;
}

bool pipe_sent(const struct pipe *p) {
    return p->staged == p->n && p->wire_sent == p->wire.n;
}

bool pipe_idle(const struct pipe *p) {
    return p->acked == p->n && pipe_sent(p);
}

void pipe_reset(struct pipe *p) {
    buf_reset(&p->wire);
    p->n = p->first = p->staged = p->wire_sent = p->acked = 0;
    p->heard = 0;
    p->failed = p->asked = p->broken = false;
}

bool pipe_touched(const struct pipe *p, size_t i) {
    return i < p->first || (i < p->staged && p->wire_sent > p->share[i].wire_at);
}

size_t pipe_op(const struct pipe *p, size_t i) {
    return p->share[i].op;
}

/* The next operations, gathered: in a cluster they lie scattered in the collection. */
static int stage(struct pipe *p, const struct collection *all) {
    buf_reset(&p->wire);
    p->wire_sent = 0;
    p->first = p->staged;
    while (p->staged < p->n && p->wire.n < WIRE_BYTES) {
        struct share *s = &p->share[p->staged++];
        s->wire_at = p->wire.n;
        if (s->asking) {
            resp_array(&p->wire, 1);
            resp_str(&p->wire, STR("ASKING"));
        }
        size_t begin = op_begin(all, s->op);
        buf_put(&p->wire, all->out.p + begin, all->ops[s->op].end - begin);
    }
    if (!p->wire.failed)
        return 0;
    p->wire.failed = false;
    redis_down(p->redis, "out of memory");
    return -ECONNRESET;
}

static int send_some(struct pipe *p, const struct collection *all, bool *moved) {
    for (;;) {
        if (p->wire_sent == p->wire.n) {
            if (p->staged == p->n)
                return 0;
            if (stage(p, all) < 0)
                return -ECONNRESET;
        }
        ssize_t k = redis_send(p->redis, p->wire.p + p->wire_sent, p->wire.n - p->wire_sent);
        if (k <= 0)
            return (int)k;
        p->wire_sent += (size_t)k;
        *moved = true;
    }
}

static int take_reply(struct pipe *p, const struct collection *all, const struct reply *r,
                      pipe_reply *on_reply, void *ctx) {
    if (p->acked == p->staged) {
        redis_down(p->redis, "more replies than commands");
        return -ECONNRESET;
    }
    const struct share s = p->share[p->acked];
    if (s.asking && !p->asked) {
        p->asked = true;
        return 0;
    }
    bool last = ++p->heard == all->ops[s.op].replies;
    if (last) {
        p->heard = 0;
        p->asked = false;
        p->acked++;
    }
    on_reply(ctx, p, s.op, r, last);
    return 0;
}

static int receive(struct pipe *p, const struct collection *all, pipe_reply *on_reply, void *ctx,
                   bool *moved) {
    for (;;) {
        ssize_t k = redis_recv(p->redis);
        if (k <= 0)
            return (int)k;
        *moved = true;
        struct reply r;
        int rc;
        while ((rc = redis_reply(p->redis, &r)) == 1)
            if (take_reply(p, all, &r, on_reply, ctx) < 0)
                return -ECONNRESET;
        if (rc < 0)
            return rc;
    }
}

int pipe_move(struct pipe *p, const struct collection *all, pipe_reply *on_reply, void *ctx,
              bool *moved) {
    if (send_some(p, all, moved) == 0 && receive(p, all, on_reply, ctx, moved) == 0)
        return 0;
    p->broken = true;
    return -ECONNRESET;
}
