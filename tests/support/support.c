#include "tests/support/support.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void test_die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("test: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    fflush(NULL);
    _exit(1);
}

int64_t test_clock_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool wait_until(bool (*done)(void *arg), void *arg, int64_t timeout_ms) {
    int64_t end = test_clock_ms() + timeout_ms;
    for (long pause_us = 1000;; pause_us = MIN(pause_us * 2, 20000)) {
        if (done(arg))
            return true;
        if (test_clock_ms() >= end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = pause_us * 1000}, NULL);
    }
}

void temp_dir_make(struct temp_dir *ret) {
    const char *base = getenv("TMPDIR");
    if (!base || strlen(base) > 32)
        base = "/tmp";
    snprintf(ret->path, sizeof ret->path, "%s/beckon-test.XXXXXX", base);
    if (!mkdtemp(ret->path))
        test_die("%s: %s", ret->path, strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void temp_dir_remove(struct temp_dir *d) {
    if (d->path[0])
        nftw(d->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    d->path[0] = '\0';
}

char *temp_dir_file(const struct temp_dir *d, const char *name) {
    char *path;
    if (asprintf(&path, "%s/%s", d->path, name) < 0)
        test_die("out of memory");
    return path;
}

void write_file(const char *path, const void *p, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
        test_die("%s: %s", path, strerror(errno));
}

char *read_file(const char *path, size_t *ret_n) {
    FILE *f = fopen(path, "rb");
    if (!f)
        test_die("%s: %s", path, strerror(errno));
    struct buf b = {0};
    char block[8192];
    for (size_t got; (got = fread(block, 1, sizeof block, f)) > 0;)
        buf_put(&b, block, got);
    fclose(f);
    if (ret_n)
        *ret_n = b.n;
    buf_put(&b, "", 1);
    if (b.failed)
        test_die("out of memory");
    return (char *)b.p;
}

pid_t process_start(char *const argv[], const char *log_path) {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        test_die("fork: %s", strerror(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (log_path) {
        int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
            _exit(127);
    }
    execvp(argv[0], argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Looks without reaping, so that process_end still finds the status. */
bool process_running(pid_t pid) {
    siginfo_t info = {0};
    int r = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    return r == 0 && info.si_pid == 0;
}

static bool process_gone(void *pid) {
    return !process_running(*(pid_t *)pid);
}

int process_end(pid_t pid, int sig, int64_t timeout_ms) {
    if (sig)
        kill(pid, sig);
    bool gone = wait_until(process_gone, &pid, timeout_ms);
    if (!gone)
        kill(pid, SIGKILL);
    int status = 0;
    if (waitpid(pid, &status, 0) < 0)
        test_die("waitpid: %s", strerror(errno));
    if (!gone)
        return -ETIMEDOUT;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

const char *beckon_path(void) {
    static char path[4096];
    const char *root = getenv("BECKON_BUILD_ROOT");
    if (!root)
        test_die("BECKON_BUILD_ROOT is not set: run through `meson test`");
    snprintf(path, sizeof path, "%s/consumer/beckon", root);
    return path;
}

void unique_name(const char *what, char out[TOPIC_NAME]) {
    uint64_t id;
    if (getrandom(&id, sizeof id, 0) != sizeof id)
        test_die("getrandom: %s", strerror(errno));
    snprintf(out, TOPIC_NAME, "test-%.64s-%016llx", what, (unsigned long long)id);
}
