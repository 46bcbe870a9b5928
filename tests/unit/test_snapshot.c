#include "consumer/snapshot.h"

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const keys[] = {"uann", "ubob", "l"};
static const char *const values[] = {"first", "", "the lane's own"};
enum { RECORDS = 3 };

static void make(struct buf *file) {
    struct buf block = {0};
    snapshot_put_head(file, &(struct snapshot_head){3, 1234567890123, 1700000000000, 11, 13});
    for (size_t i = 0; i < RECORDS; i += 2) {
        snapshot_begin_block(&block);
        size_t n = MIN(2, RECORDS - i);
        for (size_t k = i; k < i + n; k++)
            snapshot_put(&block, keys[k], strlen(keys[k]), values[k], strlen(values[k]));
        snapshot_end_block(&block, (uint32_t)n);
        buf_put(file, block.p, block.n);
    }
    snapshot_put_end(file, RECORDS);
    buf_free(&block);
}

/* Reads it all: what the last call said; the records are as they were put, as far as they come. */
static int read_all(const void *p, size_t n, struct snapshot_head *ret) {
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    cr_assert_eq(write(fd, p, n), (ssize_t)n);
    lseek(fd, 0, SEEK_SET);
    struct snapshot_reader *r;
    int e = snapshot_open(fd, ret, &r);
    if (e < 0)
        return e;
    struct str key, value;
    for (size_t i = 0; (e = snapshot_next(r, &key, &value)) == 1; i++) {
        cr_assert_lt(i, RECORDS);
        cr_assert(str_eq(key, str_of(keys[i])) && str_eq(value, str_of(values[i])));
    }
    snapshot_close(r);
    return e;
}

Test(snapshot, what_was_put_comes_back_in_its_order) {
    struct buf file = {0};
    struct snapshot_head h;
    make(&file);
    cr_assert_eq(read_all(file.p, file.n, &h), 0);
    cr_assert_eq(h.partition, 3);
    cr_assert_eq(h.offset, 1234567890123);
    cr_assert_eq(h.taken_ms, 1700000000000);
    cr_assert(h.origin == 11 && h.epoch == 13);
    buf_free(&file);
}

Test(snapshot, no_flipped_bit_or_cut_goes_unnoticed) {
    struct buf file = {0};
    struct snapshot_head h;
    make(&file);
    for (size_t i = 0; i < file.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            file.p[i] ^= (uint8_t)(1 << bit);
            cr_assert_eq(read_all(file.p, file.n, &h), -EBADMSG, "byte %zu", i);
            file.p[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t n = 0; n < file.n; n++)
        cr_assert_eq(read_all(file.p, n, &h), -EBADMSG, "%zu bytes", n);
    buf_free(&file);
}
