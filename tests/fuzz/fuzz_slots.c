/* Whatever a node answers to CLUSTER SLOTS, or says in MOVED, is a map within bounds or refused. */
#include <hiredis/hiredis.h>

#include "consumer/slots.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static const struct address from = {"10.0.0.1", 7000};
    struct redirect to;
    if (redirect_parse((struct str){(const char *)p, n}, &from, &to) == 0 &&
        (to.slot >= SLOTS || to.node.port > 65535))
        abort();
    redisReader *r = redisReaderCreate();
    void *reply = NULL;
    if (redisReaderFeed(r, (const char *)p, n) == REDIS_OK &&
        redisReaderGetReply(r, &reply) == REDIS_OK && reply) {
        struct slot_map m;
        if (slot_map_read(reply, &from, &m) == 0) {
            for (size_t i = 0; i < SLOTS; i++)
                if (m.at[i] >= (int)m.n_nodes)
                    abort();
            slot_map_free(&m);
        }
        freeReplyObject(reply);
    }
    redisReaderFree(r);
    return 0;
}
