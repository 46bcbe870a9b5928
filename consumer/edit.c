#include "consumer/edit.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The line in a file without a name: however much the command prints before it reads, neither
 * waits for the other. */
static int file_of(struct str line) {
    int fd = memfd_create("beckon-edit", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct str parts[] = {line, STR("\n")};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        for (size_t at = 0; at < parts[i].n;) {
            ssize_t n = write(fd, parts[i].p + at, parts[i].n - at);
            if (n < 0) {
                int e = errno;
                close(fd);
                return -e;
            }
            at += (size_t)n;
        }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static char *variable(const char *name, struct str value) {
    char *z = NULL;
    size_t n = value.n && memchr(value.p, '\0', value.n) ? strnlen(value.p, value.n) : value.n;
    return asprintf(&z, "%s=%.*s", name, (int)n, value.n ? value.p : "") < 0 ? NULL : z;
}

static int spawn(const char *command, const struct edit_vars *vars, int in, int out, pid_t *ret) {
    size_t n = 0;
    while (environ[n])
        n++;
    char *own[] = {
        variable("BECKON_REASON", str_of(vars->reason)),
        variable("BECKON_DETAIL", str_of(vars->detail)),
        variable("BECKON_KEY", vars->key),
        variable("BECKON_TOPIC", str_of(vars->topic)),
    };
    char **env = calloc(n + ARRAY_LEN(own) + 1, sizeof *env);
    size_t k = 0;
    bool whole = env != NULL;
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        whole = whole && own[i];
        if (whole)
            env[k++] = own[i];
    }
    int r = -ENOMEM;
    if (whole) {
        memcpy(env + k, environ, n * sizeof *env);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        char *argv[] = {"sh", "-c", (char *)command, NULL};
        r = -posix_spawn(ret, "/bin/sh", &actions, NULL, argv, env);
        posix_spawn_file_actions_destroy(&actions);
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        free(own[i]);
    free(env);
    return r;
}

static void read_all(int fd, struct buf *out) {
    char piece[4096];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        buf_put(out, piece, (size_t)n);
    }
}

static int exit_code(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        fprintf(stderr, "--edit: the command ended with %d\n", WEXITSTATUS(status));
    else
        fprintf(stderr, "--edit: the command was ended by signal %d\n", WTERMSIG(status));
    return -ECHILD;
}

int edit_run(const char *command, const struct edit_vars *vars, struct str line, struct buf *out) {
    buf_reset(out);
    int in = file_of(line);
    if (in < 0)
        return in;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        int e = errno;
        close(in);
        return -e;
    }
    pid_t pid;
    int r = spawn(command, vars, in, ends[1], &pid);
    close(in);
    close(ends[1]);
    if (r == 0) {
        read_all(ends[0], out);
        r = exit_code(pid);
    } else {
        fprintf(stderr, "--edit: %s\n", strerror(-r));
    }
    close(ends[0]);
    if (r == 0 && out->failed)
        r = -ENOMEM;
    const uint8_t *end = r == 0 && out->n ? memchr(out->p, '\n', out->n) : NULL;
    if (end)
        out->n = (size_t)(end - out->p);
    return r;
}
