/* The state file of a search: whatever it holds, it is read, or refused and left as it is. */
#include "consumer/tune.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    int fd = memfd_create("state", 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
    struct tune_state *s = NULL;
    int r = tune_state_open(path, 42, &s);
    if ((r == 0) != (s != NULL) || (r < 0 && r != -ESTALE && r != -EBADMSG) ||
        (r < 0 && lseek(fd, 0, SEEK_END) != (off_t)n))
        abort();
    size_t known = s ? tune_state_n(s) : 0;
    if (s && tune_state_put(s, 1, 1, 0.5) < 0)
        abort();
    tune_state_close(s);
    s = NULL;
    if (r == 0 && (tune_state_open(path, 42, &s) < 0 || tune_state_n(s) != known + 1))
        abort();
    tune_state_close(s);
    close(fd);
    return 0;
}
