/* The program as one meets it on a command line: exit codes, help, faults. */
#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#include "consumer/cli.h"
#include "tests/support/support.h"

static struct temp_dir dir;
static char *said; /* output and errors of the last run */

static void make(void) {
    temp_dir_make(&dir);
}

static void clear(void) {
    free(said);
    temp_dir_remove(&dir);
}

#define RUN(...) run((char *[]){(char *)beckon_path(), __VA_ARGS__ __VA_OPT__(, ) NULL})
static int run(char *const argv[]) {
    autofree(free) char *log = temp_dir_file(&dir, "out");
    unlink(log); /* output is appended */
    int status = process_end(process_start(argv, log), 0, 20000);
    free(said);
    said = read_file(log, NULL);
    return status;
}

#define SAID(text) cr_assert_not_null(strstr(said, text), "no \"%s\" in:\n%s", text, said)

Test(program, tells_what_it_can_do, .init = make, .fini = clear) {
    cr_assert_eq(RUN(), EXIT_USAGE);
    SAID("usage: beckon COMMAND");
    cr_assert_eq(RUN("--help"), EXIT_DONE);
#define X(name, help) SAID("\n  " #name " ");
    COMMANDS(X)
#undef X
    cr_assert_eq(RUN("--version"), EXIT_DONE);
    cr_assert_eq(strncmp(said, "beckon ", 7), 0, "%s", said);
}

Test(program, every_command_has_help, .init = make, .fini = clear) {
#define X(name, help)                                                                              \
    cr_assert_eq(RUN("help", #name), EXIT_DONE);                                                   \
    SAID("usage: beckon " #name);                                                                  \
    SAID("\nflags:\n");                                                                            \
    cr_assert_eq(RUN(#name, "--help"), EXIT_DONE);                                                 \
    SAID("usage: beckon " #name);
    COMMANDS(X)
#undef X
}

Test(program, an_unknown_command_gets_a_suggestion, .init = make, .fini = clear) {
    cr_assert_eq(RUN("confgi"), EXIT_USAGE);
    cr_assert_str_eq(said, "beckon: unknown command confgi; did you mean config?\n");
    cr_assert_eq(RUN("help", "xyzzy"), EXIT_USAGE);
    cr_assert_str_eq(said, "beckon: unknown command xyzzy; `beckon --help` lists them\n");
}

Test(program, the_sample_checks_and_prints_as_itself, .init = make, .fini = clear) {
    cr_assert_eq(RUN("config", "--sample"), EXIT_DONE);
    autofree(free) char *file = temp_dir_file(&dir, "sample.yaml");
    write_file(file, said, strlen(said));
    cr_assert_eq(RUN("config", "--check", file), EXIT_DONE);
    SAID(": good\n");
    cr_assert_eq(RUN("config", file), EXIT_DONE);
    autofree(free) char *first = TAKE(said), *again = temp_dir_file(&dir, "again.yaml");
    write_file(again, first, strlen(first));
    cr_assert_eq(RUN("config", "--config", again), EXIT_DONE);
    cr_assert_str_eq(said, first);
}

Test(program, faults_end_it_with_a_usage_error, .init = make, .fini = clear) {
    autofree(free) char *file = temp_dir_file(&dir, "bad.yaml");
    write_file(file, "lists:\n  n: many\n", 17);
    cr_assert_eq(RUN("config", file, "--model.dim=9"), EXIT_USAGE);
    SAID("bad.yaml:2: lists.n: found many, allowed is a whole number from 1 to 200\n");
    SAID("command line: model.dim: found 9");
    SAID("2 faults in the configuration\n");
}

static bool refused(void *log) {
    autofree(free) char *text = access(log, R_OK) == 0 ? read_file(log, NULL) : NULL;
    return text && strstr(text, "127.0.0.1:1");
}

Test(program, told_to_stop_while_no_broker_answers_it_does, .init = make, .fini = clear) {
    autofree(free) char *log = temp_dir_file(&dir, "run");
    char *const argv[] = {(char *)beckon_path(), "run", "--kafka.bootstrap.servers=127.0.0.1:1",
                          "--app.metrics_listen=", NULL};
    pid_t pid = process_start(argv, log);
    cr_assert(wait_until(refused, log, 20000), "it does not look for the broker");
    int status = process_end(pid, SIGTERM, 10000);
    autofree(free) char *text = read_file(log, NULL);
    cr_assert_eq(status, EXIT_DONE, "%d: %s", status, text);
}

Test(program, tls_to_redis_without_what_it_needs_is_a_clear_error, .init = make, .fini = clear) {
    cr_assert_eq(RUN("top", "ute", "--redis.tls=true", "--redis.tls_ca=/none.pem"), EXIT_FAILED);
    SAID("/none.pem: No such file or directory");
    cr_assert_eq(RUN("run", "--redis.tls=true", "--redis.tls_ca=/none.pem"), EXIT_USAGE);
    SAID("/none.pem: No such file or directory");
    cr_assert_eq(RUN("config", "--redis.tls=true", "--redis.tls_ca=/none.pem"), EXIT_DONE);
    cr_assert_eq(RUN("top", "ute", "--redis.tls=true", "--redis.tls_cert=/c.pem"), EXIT_USAGE);
    SAID("redis.tls_cert: needs redis.tls_key");
}
