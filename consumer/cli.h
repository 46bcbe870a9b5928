/* Commands and their command lines. */
#pragma once

#include <stdio.h>

#include "consumer/options.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* One row per command: X(name, "one line") → int cmd_NAME(int argc, char **argv) in cmd_NAME.c;
 * argv[0] is the name, the return value the exit code. */
// clang-format off
#define COMMANDS(X)                                                                                \
    X(run, "consume the clickstream: learn, write lists, send triggers")                           \
    X(demo, "all of it in one process, with a simulated shop")                                     \
    X(replay, "the same engine over files: how good are the lists?")                               \
    X(tune, "search for the configuration with the best lists, by replaying files")                \
    X(ope, "what would another policy have earned, by a log of decisions?")                        \
    X(uplift, "what did a treatment change, and for whom?")                                        \
    X(audit, "who was considered, was offered something, and got it?")                             \
    X(config, "print or check the configuration")                                                  \
    X(campaigns, "list or check the campaign file")                                                \
    X(experiments, "list experiments, or what they show so far")                                   \
    X(load, "put files into Kafka, or dead letters back")                                          \
    X(top, "the list of a user")                                                                   \
    X(explain, "why items are on a user's list")                                                   \
    X(user, "the profile of a user")                                                               \
    X(similar, "the items similar to an item")                                                     \
    X(status, "counters of the running service")                                                   \
    X(tail, "the newest triggers, decisions, dead letters or events")
// clang-format on

#define X(name, help) int cmd_##name(int argc, char **argv);
COMMANDS(X)
#undef X

/* A command's own flags: a table, so that --help and the parser agree. */
enum flag_kind { FLAG_BOOL, FLAG_INT, FLAG_NUM, FLAG_STR, FLAG_MS, FLAG_LIST };
struct flag {
    const char *name; /* "seconds" for --seconds; "n" for -n */
    enum flag_kind kind;
    void *to; /* bool *, int64_t *, double *, const char **, int64_t * (ms), struct flag_list * */
    const char *arg; /* "N" in --seconds N */
    const char *help;
    double min, max; /* FLAG_INT, FLAG_NUM; both 0: no bounds */
};
struct flag_list {
    char **v;
    size_t n;
};

struct usage {
    const char *synopsis; /* "replay [FILE…] [--at 5,10,20]" */
    const char *text;     /* a paragraph or two, broken into lines by the printer */
    const char *examples; /* lines, may be NULL */
    const struct flag *flags;
    size_t n_flags;
    int min_args, max_args; /* positional; max -1: any number */
};

/* Parses argv against the table and the common flags: --help (prints usage, what the command
 * does, its flags, examples; exit 0), --config FILE, and every configuration key as
 * --section.key=value or --section.key value. Positional arguments are collected in order
 * (borrowed from argv; `-` is one, and everything after `--`). What a FLAG_INT, NUM, STR or MS
 * points to before is its default, shown by --help unless 0 or empty.
 * Loads the configuration (--config, else $BECKON_CONFIG, else ./beckon.yaml if there, else
 * defaults) and sets the log level by it. ret_cfg NULL: the command takes no configuration.
 * Returns 0, or an exit code to leave with plus one (so 1 = leave with 0, 3 = leave with
 * EXIT_USAGE): if ((r = cli_parse(&usage, argc, argv, &args, &cfg))) return r - 1; */
int cli_parse(const struct usage *u, int argc, char **argv, struct flag_list *args,
              struct config **ret_cfg);

/* The two halves of cli_parse, for a command that loads its configuration itself. `overrides` are
 * "section.key=value", owned by the list; *ret_path is --config or what stands in for it, NULL:
 * none. */
int cli_scan(const struct usage *u, int argc, char **argv, struct flag_list *args,
             struct flag_list *overrides, const char **ret_path);
int cli_load(const char *path, struct flag_list *overrides,
             struct config **ret_cfg); /* frees the overrides */
void cli_free_overrides(struct flag_list *overrides);

/* Frees the array of a list (args, FLAG_LIST), not the borrowed texts in it. */
void flag_list_clear(struct flag_list *l);

/* Progress on a terminal for anything longer than a second; nothing on a pipe
 * unless `always`, then a line every few seconds. */
struct progress {
    const char *what; /* "loading" */
    uint64_t total;   /* 0: unknown */
    const char *unit; /* "events" */
    bool always;
    int64_t started_us, shown_us; /* zero at first */
};
void progress_show(struct progress *p, uint64_t done, uint64_t count, const char *extra);
void progress_done(struct progress *p, uint64_t count);
bool is_terminal(FILE *f);

/* Writes a value, indented and by sorted keys, to `path` ("-": standard output). 0, or prints and
 * returns -EIO. */
struct json_t;
int cli_write_json(const char *command, const char *path, const struct json_t *value);
