/* The program: picks the linear algebra kernels, then the command. */
#include <cblas.h>
#include <limits.h>
#include <unistd.h>

#include "consumer/cli.h"
#include "consumer/nearest.h"

static const struct command {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
#define X(name, help) {#name, help, cmd_##name},
    COMMANDS(X)
#undef X
};

/* OpenBLAS chooses its kernels when it is loaded, before main. A version that does not know a
 * newer CPU falls back to its Haswell or Zen kernels even where AVX-512 is at hand; so start over
 * once with those for AVX-512 named, which takes 6 ms. That is for CPUs whose vector units are 512
 * bits wide: up to 1.7 times the rate of sgemm (110 to 195 GFLOP/s on one such Zen). A Zen 4, with
 * units of 256 bits, gains nothing from them (95 GFLOP/s against Haswell's 104 at 256 × 4096 × 64);
 * OpenBLAS 0.3.21 takes it for a Cooper Lake, so that nothing happens here. Who knows better sets
 * OPENBLAS_CORETYPE. Threads of its own would only get into the way of the workers. */
static void choose_blas(char **argv) {
    static const char tried[] = "BECKON_BLAS_CHOSEN";
    openblas_set_num_threads(1);
#if defined(__x86_64__)
    if (getenv(tried) || getenv("OPENBLAS_CORETYPE")) {
        unsetenv(tried);
        return;
    }
    __builtin_cpu_init();
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const char *core = openblas_get_corename();
    if (!avx512 || (strcmp(core, "Haswell") != 0 && strcmp(core, "Zen") != 0))
        return;
    char self[PATH_MAX]; /* the real path, so that the process keeps its name in ps and top */
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return;
    self[n] = '\0';
    setenv(tried, "1", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    execv(self, argv);
    /* Not to be had (the file was replaced, say): go on with the slower kernels. */
    unsetenv(tried);
    unsetenv("OPENBLAS_CORETYPE");
#else
    (void)argv;
#endif
}

static void print_commands(FILE *to) {
    fputs(
        "usage: beckon COMMAND [flags]\n"
        "\n"
        "Beckon consumes a clickstream from Kafka, learns from every event what each user likes,\n"
        "keeps top-N lists in Redis, and sends campaign triggers.\n"
        "\n"
        "commands:\n",
        to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-10s  %s\n", commands[i].name, commands[i].help);
    fputs("\n"
          "  --version   the version\n"
          "  --help      this text; `beckon COMMAND --help` (or `beckon help COMMAND`) tells about "
          "one\n",
          to);
}

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    struct nearest near = {.word = name};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        nearest_offer(&near, commands[i].name);
    fprintf(stderr, "beckon: unknown command %s", name);
    if (near.best)
        fprintf(stderr, "; did you mean %s?\n", near.best);
    else
        fputs("; `beckon --help` lists them\n", stderr);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_commands(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    bool help = strcmp(name, "help") == 0;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (help && argc == 2)) {
        print_commands(stdout);
        return EXIT_DONE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("beckon " BECKON_VERSION);
        return EXIT_DONE;
    }
    const struct command *c = find_command(help ? argv[2] : name);
    if (!c)
        return EXIT_USAGE;
    if (help) {
        char *ask[] = {argv[2], (char[]){"--help"}, NULL};
        return c->run(2, ask);
    }
    choose_blas(argv);
    return c->run(argc - 1, argv + 1);
}
