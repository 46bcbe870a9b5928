/* Preloaded into a process whose clock a test sets: the wall clock, shifted by the milliseconds
 * that the file BECKON_TEST_CLOCK holds at the moment (an int64_t). The other clocks stay as they
 * are, and so does gettimeofday: librdkafka makes the deadlines of its waits from it, which the
 * kernel would not see stepping. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static const volatile int64_t *shift_ms;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void open_file(void) {
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("BECKON_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        shift_ms = p;
    if (fd >= 0)
        close(fd);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *ret) {
    if (!real)
        open_file();
    int r = real(clock, ret);
    if (r == 0 && clock == CLOCK_REALTIME && shift_ms) {
        int64_t ms = *shift_ms, ns = ret->tv_nsec + ms % 1000 * 1000000;
        ret->tv_sec += ms / 1000 + (ns >= 1000000000) - (ns < 0);
        ret->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return r;
}

EXPORT time_t time(time_t *ret) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (ret)
        *ret = t.tv_sec;
    return t.tv_sec;
}
