/* Log lines on stderr, key=value, one per happening. Never a user's data, never
 * per event above debug. Values with spaces, quotes, '=' or control bytes are quoted and
 * escaped, so that input cannot forge a line. Thread: any. */
#pragma once

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level l);
enum log_level log_level(void);
/* Where lines go instead of stderr, for a command that draws on the terminal; never closed here. */
void log_set_fd(int fd);
/* A progress bar stands in the terminal's last line: the next log line goes over it. */
void log_over_bar(void);

/* log_info("restored", "partition=%d users=%zu", p, n) prints
 *   2026-01-02T03:04:05.678Z info restored partition=3 users=17
 * `%s` values go through log_q() where they may hold anything. */
#define log_error(event, ...) log_line(LOG_ERROR, event, __VA_ARGS__)
#define log_warning(event, ...) log_line(LOG_WARNING, event, __VA_ARGS__)
#define log_info(event, ...) log_line(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                                                                      \
    do {                                                                                           \
        if (log_level() >= LOG_DEBUG)                                                              \
            log_line(LOG_DEBUG, event, __VA_ARGS__);                                               \
    } while (0)
void log_line(enum log_level l, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The text quoted and escaped if it needs it, in one of a few per-thread buffers
 * (valid for the next three calls; at most 200 bytes of text are shown). */
const char *log_q(const char *text);
