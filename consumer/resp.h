/* Commands in the Redis protocol (RESP2), appended to a buffer, and its replies told
 * apart. Pure: no sockets here. Who answers is not trusted: what is announced but not there costs
 * no memory to speak of, and neither does a reply that never ends. */
#pragma once

#include "model/base.h"

/* A command of n arguments; n times resp_bulk or resp_int must follow. */
void resp_array(struct buf *b, size_t n);
void resp_bulk(struct buf *b, const void *p, size_t n);
void resp_int(struct buf *b, int64_t v); /* in decimal */
static inline void resp_str(struct buf *b, struct str s) {
    resp_bulk(b, s.p, s.n);
}

/* What is to be done about a reply. */
enum reply_fate {
    REPLY_DONE,
    REPLY_WAIT,    /* Redis cannot now: full, loading, read-only, no login; keep and try again */
    REPLY_MOVED,   /* the key's slot is another node's */
    REPLY_ASK,     /* the key may be at another node already: ask there, this once */
    REPLY_TYPE,    /* the key holds something else (WRONGTYPE) */
    REPLY_REFUSED, /* it will not get better by itself */
};

enum { REPLY_TEXT_MAX = 200 };

/* One reply. Of an array (EXEC's) only the first error within is told. */
struct reply {
    enum reply_fate fate;
    bool nil;
    int64_t integer;           /* of an integer reply */
    size_t n;                  /* length of the text; longer ones are cut */
    char text[REPLY_TEXT_MAX]; /* of an error, status or string, NUL-terminated */
};

enum {
    REPLY_BYTES_MAX = 8 << 20,    /* the longest CLUSTER SLOTS has some 5 MB */
    REPLY_ELEMENTS_MAX = 1 << 20, /* of one array */
    REPLY_DEPTH_MAX = 7,          /* arrays in arrays; as hiredis had it before 1.1 */
};

/* Replies out of a stream of bytes. */
struct replies;
int replies_new(struct replies **ret);
void replies_free(struct replies *r);
DEFINE_CLEANUP(struct replies, replies_free)
/* Takes bytes as they came. 0, -ENOMEM, -EMSGSIZE: too much for a reply; -EPROTO after an earlier
 * violation. */
int replies_feed(struct replies *r, const void *p, size_t n);
/* The next whole reply: 1; 0: more bytes are needed; -EPROTO: this is not Redis; -EMSGSIZE. */
int replies_next(struct replies *r, struct reply *ret);

/* Whole replies with all that is in them, one at a time. As above. */
struct answers;
struct redisReply;
int answers_new(struct answers **ret);
void answers_free(struct answers *a);
DEFINE_CLEANUP(struct answers, answers_free)
int answers_feed(struct answers *a, const void *p, size_t n);
int answers_next(struct answers *a, struct redisReply **ret); /* freeReplyObject; or -ENOMEM */

/* The fate behind an error's text ("OOM command not allowed …"). */
enum reply_fate reply_fate(struct str error);
