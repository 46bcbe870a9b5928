/* A snapshot file: records of one changelog partition as they stood at an offset, so that only the
 * changelog's tail has to be read. What it holds are changelog records, byte for byte; it never is
 * the truth, and whatever is wrong with it, the changelog is read instead.
 *
 *   head   "BECKONSN" | u32 version | i32 partition | i64 offset | i64 taken_ms | u64 origin |
 *          u64 epoch | u64 check of the head
 *   block  u32 bytes | u32 records | u64 check of both and the bytes | bytes, which are records:
 *          u32 key length | u32 value length | key | value
 *   end    a block without bytes or records, whose check is of the number of all records
 *
 * Little-endian; checks are XXH3. A reader holds one block, whose size is bounded. Thread: one at a
 * time. */
#pragma once

#include "model/base.h"

enum { SNAPSHOT_BLOCK = 1 << 20, SNAPSHOT_BLOCK_MAX = 16 << 20 };

struct snapshot_head {
    int32_t partition;
    int64_t offset;   /* in the changelog: records from here on may be missing, none before it is */
    int64_t taken_ms; /* wall clock */
    uint64_t origin;  /* which cluster and topic */
    uint64_t epoch;   /* of the lane: which changelog of that name */
};

/* ---- writing, into memory: who writes the file decides how and when ---- */

void snapshot_put_head(struct buf *b, const struct snapshot_head *h);
/* Appends a record to a block that snapshot_begin_block began. */
void snapshot_begin_block(struct buf *b);
void snapshot_put(struct buf *b, const void *key, size_t key_n, const void *value, size_t value_n);
/* Closes the block, which holds so many records: it can be written now. */
void snapshot_end_block(struct buf *b, uint32_t records);
void snapshot_put_end(struct buf *b, uint64_t records);

/* ---- reading ---- */

struct snapshot_reader;
/* Reads from `fd`, which it takes over in any case. -EBADMSG: not a snapshot, damaged, or of
 * another version; -EIO and the like as read(2). */
int snapshot_open(int fd, struct snapshot_head *ret_head, struct snapshot_reader **ret);
void snapshot_close(struct snapshot_reader *r);
DEFINE_CLEANUP(struct snapshot_reader, snapshot_close)
/* The next record, valid until the call after. 1; 0: that was all, and all of it was right;
 * -EBADMSG: damaged or cut short, what was read so far is not to be trusted; or a read error. */
int snapshot_next(struct snapshot_reader *r, struct str *ret_key, struct str *ret_value);
