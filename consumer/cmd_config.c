#include "consumer/acls.h"
#include "consumer/cli.h"
#include "consumer/log.h"

int cmd_config(int argc, char **argv) {
    bool check = false, sample = false, acls = false;
    const char *principal = "User:beckon";
    const struct flag flags[] = {
        {"check", FLAG_BOOL, &check, NULL, "only check it", 0, 0},
        {"sample", FLAG_BOOL, &sample, NULL,
         "print a commented file with every key and its default", 0, 0},
        {"acls", FLAG_BOOL, &acls, NULL,
         "print the rights it needs of Kafka, as a script of kafka-acls.sh commands", 0, 0},
        {"principal", FLAG_STR, &principal, "NAME", "who gets them (User:beckon)", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "config [FILE] [--check | --sample | --acls]",
        .text =
            "Prints the configuration that is in effect, as a file that reads back the same: the "
            "defaults, what the file says, and what the command line says, the later before the "
            "earlier. Faults are printed all at once, each with its line and what to do, and the "
            "exit "
            "code is 2. Secrets are shown as ****.",
        .examples =
            "  beckon config --sample > beckon.yaml\n"
            "  beckon config --check beckon.yaml\n"
            "  beckon config beckon.yaml --model.dim=32 --kafka.bootstrap.servers=kafka:9092\n"
            "  beckon config --acls beckon.yaml | sh -s -- --bootstrap-server kafka:9092\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .max_args = 1,
    };
    struct flag_list args = {0}, overrides = {0};
    const char *path = NULL;
    int r = cli_scan(&usage, argc, argv, &args, &overrides, &path);
    if (r)
        return r - 1;
    if (args.n)
        path = args.v[0];
    if (sample)
        path = NULL;
    flag_list_clear(&args);
    autofree(config_free) struct config *c = NULL;
    if ((r = cli_load(path, &overrides, &c)))
        return r - 1;
    if (check)
        printf("%s: good\n", path ? log_q(path) : "defaults");
    else if (acls)
        acls_print(c, principal, stdout);
    else
        config_print(c, sample, stdout);
    if (fflush(stdout) != 0) {
        perror("beckon config");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}
