#include <poll.h>
#include <signal.h>
#include <stdatomic.h>

#include "consumer/campaign_watch.h"
#include "consumer/cli.h"
#include "consumer/engine.h"
#include "consumer/log.h"

enum { LOOK_MS = 500 };

/* stop: leave; halt: what runs now ends, to leave or to begin anew; reload: look at the file. */
static atomic_bool stop, halt, reload;

static void on_signal(int sig) {
    (void)sig;
    atomic_store(&stop, true);
    atomic_store(&halt, true);
}

static void on_hangup(int sig) {
    (void)sig;
    atomic_store(&reload, true);
}

/* Until it is to end, or the campaign file was changed for another good one: true. */
static bool campaigns_change(struct engine *e, struct campaign_watch *w) {
    while (engine_running(e) && !atomic_load(&stop)) {
        poll(NULL, 0, LOOK_MS);
        if (campaign_watch_look(w, atomic_exchange(&reload, false), engine_world(e)->policies))
            return true;
    }
    return false;
}

/* Runs the engine, and again for each change of the campaigns: everything is committed, handed
 * over and restored as at a restart, so that nothing of the old file is left anywhere. Again,
 * too, if it hung until the broker gave its transaction up. */
static int run(const struct config *cfg, enum stream_end *ret_end) {
    struct campaign_watch watch;
    for (bool again = true; again;) {
        struct engine *e = NULL;
        struct engine_config ec = {.cfg = cfg, .stop = &halt, .static_member = true};
        campaign_watch_start(&watch, cfg);
        int r = engine_start(&ec, &e);
        if (r < 0)
            return r;
        again = campaigns_change(e, &watch);
        atomic_store(&halt, again || atomic_load(&halt));
        *ret_end = engine_finish(e);
        again = *ret_end == STREAM_STALLED || *ret_end == STREAM_UNDONE ||
                (again && *ret_end == STREAM_STOPPED);
        if (*ret_end == STREAM_STALLED)
            log_warning("stalled", "cause=\"hung, or no broker, for longer than "
                                   "kafka.transaction.timeout.ms\" "
                                   "do=\"starts anew from what is committed\"");
        atomic_store(&halt, false);
        if (atomic_load(&stop)) /* asked for meanwhile */
            again = false;
    }
    return 0;
}

int cmd_run(int argc, char **argv) {
    static const struct usage usage = {
        .synopsis = "run [--config FILE] [--section.key=value …]",
        .text = "Consumes the clickstream, learns from every event, writes each touched user's "
                "list to\n"
                "Redis and sends campaign triggers, until SIGTERM or SIGINT; then it commits and "
                "leaves.\n"
                "A changed campaign file takes effect by itself, or on SIGHUP, if it has no fault; "
                "else the "
                "old one stays.\n"
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
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, not the end */

    sa.sa_handler = on_hangup;
    sigaction(SIGHUP, &sa, NULL);
    enum stream_end end = STREAM_STOPPED;
    r = run(cfg, &end);
    if (r < 0)
        return r == -EINTR ? EXIT_DONE : r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
    switch (end) {
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
