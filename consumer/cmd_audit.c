#include <stdio.h>

#include "consumer/audit.h"
#include "consumer/cli.h"

static const char COMMAND[] = "beckon audit";

enum { USER, CAMPAIGN, SENT, REASON, PROPENSITY, OUTCOME, ROLES };

struct options {
    const char *people, *json, *report;
    struct flag_list maps, where, by;
    double ratio_low, ratio_high, gap, level;
    int64_t least;
    bool strict;
};

static int read_log(const struct options *o, const char *path, struct frame **ret,
                    struct audit_columns *c) {
    struct frame_role role[ROLES] = {
        {"user", {"user_id", "user"}, NULL, NULL},
        {"campaign", {"campaign_id", "campaign"}, NULL, NULL},
        {"sent",
         {"sent", "treated", "offered"},
         "Say --map COLUMN=sent for the column that is true or 1 when an offer went out.",
         NULL},
        {"reason", {"reason"}, NULL, NULL},
        {"propensity", {"propensity"}, NULL, NULL},
        {"outcome", {"outcome", "reward", "converted", "redeemed"}, NULL, NULL},
    };
    int err = frame_read(COMMAND, path, ret);
    if (err == 0)
        err = frame_filter(COMMAND, *ret, o->where.v, o->where.n);
    if (err == 0)
        err = frame_roles(COMMAND, *ret, o->maps.v, o->maps.n, role, ROLES);
    *c = (struct audit_columns){role[USER].column,   role[CAMPAIGN].column,   role[SENT].column,
                                role[REASON].column, role[PROPENSITY].column, role[OUTCOME].column};
    if (err == 0 && *o->people && !c->user) {
        fprintf(stderr, "%s: --people joins by user: say --map COLUMN=user for the log's\n",
                COMMAND);
        err = -EINVAL;
    }
    return err;
}

static int read_people(const struct options *o, struct frame **ret,
                       const struct frame_column **ret_user) {
    struct frame_role role = {"user",
                              {"user_id", "user", "id"},
                              "The file of people needs a column user_id, user or id.",
                              NULL};
    int err = frame_read(COMMAND, o->people, ret);
    if (err == 0)
        err = frame_roles(COMMAND, *ret, NULL, 0, &role, 1);
    *ret_user = role.column;
    return err;
}

/* Returns whether a bound was breached, or -errno. */
static int audit(const struct options *o, const char *path) {
    autofree(frame_free) struct frame *log = NULL, *people = NULL;
    const struct frame_column *people_user = NULL;
    struct audit_columns columns;
    struct audit a = {0};
    struct audit_view v = {
        path, o->level, {o->ratio_low, o->ratio_high, o->gap, (double)o->least, o->strict}};
    int err = read_log(o, path, &log, &columns);
    if (err == 0 && *o->people)
        err = read_people(o, &people, &people_user);
    if (err == 0)
        err = audit_count(log, &columns, people, people_user, o->by.v, o->by.n, o->level, &v.bounds,
                          &a);
    if (err < 0)
        return err;
    if (strcmp(o->json, "-") != 0)
        audit_print(&a, &v);
    if (*o->json)
        err = audit_json(&a, &v, o->json);
    if (err == 0 && *o->report)
        err = audit_page(&a, &v, o->report);
    if (err == 0)
        err = audit_breaches(&a) > 0;
    audit_clear(&a);
    return err;
}

int cmd_audit(int argc, char **argv) {
    struct options o = {.people = "",
                        .json = "",
                        .report = "",
                        .ratio_low = .8,
                        .ratio_high = 1.25,
                        .level = .95,
                        .least = 30};
    const struct flag flags[] = {
        {"by", FLAG_LIST, &o.by, "COLUMN",
         "what people are compared by: a column of the log, or of --people; PRE* is every column "
         "that begins so. Many numbers are taken in fifths",
         0, 0},
        {"people", FLAG_STR, &o.people, "FILE",
         "what is known of people, one row each, joined by user_id", 0, 0},
        {"map", FLAG_LIST, &o.maps, "COLUMN=FIELD",
         "which column is the user, campaign, sent, reason, propensity or outcome", 0, 0},
        {"where", FLAG_LIST, &o.where, "COLUMN=VALUE", "only rows that have this", 0, 0},
        {"ratio-low", FLAG_NUM, &o.ratio_low, "R",
         "a group that gets less than this times what others get is a breach", 0, 1},
        {"ratio-high", FLAG_NUM, &o.ratio_high, "R", "and more than this; both 0: no bound", 0,
         1e6},
        {"gap", FLAG_NUM, &o.gap, "P", "largest difference of rates, as .1; 0: no bound", 0, 1},
        {"least", FLAG_INT, &o.least, "N", "smaller groups are not judged", 1, 1e9},
        {"strict", FLAG_BOOL, &o.strict, NULL,
         "judge by the estimate; else a group is out of bounds when its whole interval is", 0, 0},
        {"level", FLAG_NUM, &o.level, "P", "of the intervals, for all comparisons together", .5,
         .999},
        {"report", FLAG_STR, &o.report, "FILE", "a page (HTML) with plots", 0, 0},
        {"json", FLAG_STR, &o.json, "FILE",
         "the result as JSON too; -: only that, on standard output", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "audit LOG --by COLUMN… [--people FILE] [--report FILE]",
        .text =
            "Who was considered, who was offered something, and to whom did it come? Counts people "
            "(not decisions) of a decision log by what is known of them, in all campaigns together "
            "and in each, and compares each group with everybody else: shares, rate ratios, gaps, "
            "with intervals. Tells why decisions ended as they did, and whether the logged "
            "propensities are true.\n"
            "The log is JSON lines, as of `beckon tail decisions --json`, or CSV. Exit code 0: "
            "all within bounds; 1: not, or it failed; so a script can stop what is unfair.",
        .examples =
            "  beckon audit decisions.jsonl --people customers.csv --by age --by region\n"
            "  beckon audit decisions.jsonl --by country --where campaign_id=winback "
            "--report audit.html\n"
            "  beckon audit log.csv --map treated=sent --by 'context.*' --gap 0.1 --strict\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 1,
    };
    struct flag_list args = {0};
    int r = cli_parse(&usage, argc, argv, &args, NULL);
    if (r)
        return r - 1;
    int err = audit(&o, args.v[0]);
    if (err == -ENOMEM)
        fprintf(stderr, "%s: out of memory\n", COMMAND);
    flag_list_clear(&args);
    flag_list_clear(&o.maps);
    flag_list_clear(&o.where);
    flag_list_clear(&o.by);
    return err == 0 ? EXIT_DONE : err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
