#include <signal.h>
#include <stdatomic.h>

#include "consumer/cli.h"
#include "consumer/engine.h"
#include "consumer/log.h"

static atomic_bool stop;

static void on_signal(int sig) {
    (void)sig;
    atomic_store(&stop, true);
}

int cmd_run(int argc, char **argv) {
    static const struct usage usage = {
        .synopsis = "run [--config FILE] [--section.key=value …]",
        .text = "Consumes the clickstream, learns from every event, writes each touched user's "
                "list to\n"
                "Redis and sends campaign triggers, until SIGTERM or SIGINT; then it commits and "
                "leaves.\n"
                "Topics that are missing are created. The catalogue and user-control are read "
                "whole first.\n"
                "\n"
                "Exit code 0: asked to stop. 1: failed (the last log line says why). 2: wrong\n"
                "configuration. 3: another process runs with the same app.name and app.instance.",
        .examples = "beckon run --config beckon.yaml\n"
                    "beckon run --kafka.bootstrap.servers=127.0.0.1:9092 "
                    "--redis.address=/run/redis.sock \\\n"
                    "    --policy.campaigns=campaigns.yaml --app.workers=2",
        .max_args = 0,
    };
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);

    struct engine *e = NULL;
    struct engine_config ec = {.cfg = cfg, .stop = &stop, .static_member = true};
    r = engine_start(&ec, &e);
    if (r < 0)
        return r == -EINTR ? EXIT_DONE : r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
    switch (engine_finish(e)) {
    case STREAM_STOPPED:
        log_info("stopped", "clean=yes");
        return EXIT_DONE;
    case STREAM_FENCED:
        log_error("fenced",
                  "fix=\"another process runs with app.name=%s app.instance=%s: give each its own "
                  "app.instance\"",
                  cfg->app_name, cfg->app_instance);
        return 3;
    default:
        return EXIT_FAILED;
    }
}
