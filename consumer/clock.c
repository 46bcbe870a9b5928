#include "consumer/clock.h"

#include <pthread.h>
#include <time.h>

int64_t clock_wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t boot_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t steady_ahead_ms; /* of the time since boot */

static void begin_steady(void) {
    steady_ahead_ms = clock_wall_ms() - boot_ms();
}

int64_t clock_steady_ms(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_steady);
    return boot_ms() + steady_ahead_ms;
}

int64_t clock_mono_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int clock_ms_until(int64_t deadline_us) {
    int64_t us = deadline_us - clock_mono_us(), ms = us / 1000 + (us % 1000 > 0);
    return us <= 0 ? 0 : ms > INT32_MAX ? INT32_MAX : (int)ms;
}

int64_t clock_cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
