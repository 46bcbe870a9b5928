/* The configuration file: whatever it holds, there is a configuration or there are faults, and
 * what is printed of a good one reads back. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consumer/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int load(const void *text, size_t n, struct config **ret) {
    int fd = memfd_create("config", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || (n && write(fd, text, n) != (ssize_t)n))
        abort();
    int r = config_load(path, NULL, 0, ret);
    close(fd);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static FILE *quiet;
    if (!quiet && (!(quiet = fopen("/dev/null", "we")) || dup2(fileno(quiet), STDERR_FILENO) < 0))
        abort(); /* faults are told on standard error */
    struct config *c = NULL, *again = NULL;
    int r = load(data, n, &c);
    if ((r == 0) != (c != NULL) || (r < 0 && r != -EINVAL))
        abort();
    if (!c)
        return 0;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        abort();
    config_print(c, false, f);
    if (fclose(f) != 0)
        abort();
    if (!strstr(text, "****") && load(text, size, &again) < 0)
        abort();
    config_free(again);
    config_free(c);
    free(text);
    return 0;
}
