/* The snapshot reader: whatever a file holds, it ends, stays in bounds and says so. */
#include <sys/mman.h>
#include <unistd.h>

#include "consumer/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    struct snapshot_head h;
    struct snapshot_reader *r;
    if (snapshot_open(fd, &h, &r) < 0)
        return 0;
    struct str key, value;
    size_t seen = 0;
    while (snapshot_next(r, &key, &value) == 1) {
        seen += 8 + key.n + value.n;
        if (seen > n)
            abort();
    }
    snapshot_close(r);
    return 0;
}
