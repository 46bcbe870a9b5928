#include "consumer/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "consumer/clock.h"
#include "model/base.h"

enum { LINE_MAX_BYTES = 4096, SHOWN_MAX = 200, QUOTED = 4 };

static _Atomic int level_now = LOG_INFO;
static _Atomic int fd_now = STDERR_FILENO;
static atomic_bool bar_shown;

void log_set_level(enum log_level l) {
    atomic_store_explicit(&level_now, (int)l, memory_order_relaxed);
}

enum log_level log_level(void) {
    return (enum log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_set_fd(int fd) {
    atomic_store_explicit(&fd_now, fd, memory_order_relaxed);
}

void log_over_bar(void) {
    atomic_store_explicit(&bar_shown, true, memory_order_relaxed);
}

static const char *level_name(enum log_level l) {
    switch (l) {
    case LOG_ERROR:
        return "error";
    case LOG_WARNING:
        return "warning";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "error";
}

void log_line(enum log_level l, const char *event, const char *fmt, ...) {
    if (l > log_level())
        return;
    char line[LINE_MAX_BYTES];
    int64_t now = clock_wall_ms();
    time_t s = (time_t)(now / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    const size_t room = sizeof line - 8; /* for the newline and erasing a bar */
    int k = snprintf(line + n, room - n, ".%03dZ %s %s ", (int)(now % 1000), level_name(l), event);
    n = MIN(n + (k > 0 ? (size_t)k : 0), room - 1);
    va_list ap;
    va_start(ap, fmt);
    k = vsnprintf(line + n, room - n, fmt, ap);
    va_end(ap);
    size_t end = n + (k > 0 ? (size_t)k : 0);
    if (end > room - 1) {
        end = room - 1;
        memcpy(line + end - 3, "...", 3);
    }
    /* Second defence, should a value have come without log_q: one call, one line. */
    for (size_t i = 0; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    while (end && line[end - 1] == ' ')
        end--;
    line[end++] = '\n';
    int fd = atomic_load_explicit(&fd_now, memory_order_relaxed);
    if (fd == STDERR_FILENO && atomic_exchange_explicit(&bar_shown, false, memory_order_relaxed)) {
        static const char clear[] = "\r\033[K";
        memmove(line + sizeof clear - 1, line, end);
        memcpy(line, clear, sizeof clear - 1);
        end += sizeof clear - 1;
    }
    /* One write, so that lines of several threads do not mix. */
    ssize_t done = write(fd, line, end);
    (void)done; /* nowhere left to complain */
}

static bool is_plain(const char *text) {
    if (!*text)
        return false;
    for (size_t i = 0; text[i]; i++) {
        unsigned char ch = (unsigned char)text[i];
        if (i >= SHOWN_MAX || ch <= ' ' || ch >= 0x7f || ch == '"' || ch == '=' || ch == '\\')
            return false;
    }
    return true;
}

const char *log_q(const char *text) {
    static _Thread_local char ring[QUOTED][SHOWN_MAX * 4 + 8];
    static _Thread_local unsigned next;
    if (!text)
        return "-";
    char *out = ring[next++ % QUOTED], *w = out;
    if (is_plain(text)) {
        strcpy(out, text); /* is_plain: at most SHOWN_MAX bytes */
        return out;
    }
    *w++ = '"';
    size_t i = 0;
    for (; text[i] && i < SHOWN_MAX; i++) {
        unsigned char ch = (unsigned char)text[i];
        if (ch == '"' || ch == '\\') {
            *w++ = '\\';
            *w++ = (char)ch;
        } else if (ch == '\n') {
            *w++ = '\\';
            *w++ = 'n';
        } else if (ch < 0x20 || ch >= 0x7f) {
            w += sprintf(w, "\\x%02x", ch);
        } else {
            *w++ = (char)ch;
        }
    }
    if (text[i])
        w = stpcpy(w, "...");
    *w++ = '"';
    *w = '\0';
    return out;
}
