/* Whatever a node answers to CLUSTER SLOTS, or says in MOVED, is a map within bounds or refused. */
#include <hiredis/hiredis.h>

#include "consumer/resp.h"
#include "consumer/slots.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const struct address from = {"10.0.0.1", 7000};

static void read_map(const redisReply *reply) {
    struct slot_map m;
    if (slot_map_read(reply, &from, &m) < 0)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        if (m.at[i] >= (int)m.n_nodes)
            abort();
    slot_map_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    struct redirect to;
    if (redirect_parse((struct str){(const char *)p, n}, &from, &to) == 0 &&
        (to.slot >= SLOTS || to.node.port > 65535))
        abort();
    struct answers *a;
    if (answers_new(&a) < 0)
        return 0;
    redisReply *reply;
    if (answers_feed(a, p, n) == 0 && answers_next(a, &reply) == 1) {
        read_map(reply);
        freeReplyObject(reply);
    }
    answers_free(a);
    return 0;
}
