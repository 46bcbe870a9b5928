#include "consumer/replay_flags.h"

enum { BATCH_MAX = 1024 };

void replay_flags_rows(struct replay_flags *f, struct flag ret[REPLAY_FLAGS]) {
    const struct flag rows[] = {
        {"items", FLAG_STR, &f->files.items, "FILE", "the catalogue", 0, 0},
        {"at", FLAG_STR, &f->at, "K,K,…", "list lengths to judge by", 0, 0},
        {"evaluate", FLAG_STR, &f->evaluate, "every|new|last",
         "cases: every event on an item but the first of its session (of its user, where there are "
         "no sessions); only items new to the user; only the last event of each session or user",
         0, 0},
        {"learn-on-test", FLAG_STR, &f->learn_on_test, "yes|no",
         "whether what users share is learned on in the judged part; a user's own history goes on "
         "in any case",
         0, 0},
        {"positive", FLAG_STR, &f->positive, "TYPE>=N|…",
         "which events count as a yes: 'rating>=5', 'purchase', 'click|view'; at first all whose "
         "type has a weight",
         0, 0},
        {"repeats", FLAG_STR, &f->repeats, "yes|no",
         "whether lists may hold what the user had before; at first yes where there are sessions, "
         "no for `new`",
         0, 0},
        {"epochs", FLAG_INT, &f->epochs, "N",
         "passes over what is learned first; from the second on only embeddings are", 1, 1000},
        {"batch", FLAG_INT, &f->batch, "N",
         "events ranked side by side; 1: each with all before it learned", 1, BATCH_MAX},
        {"limit", FLAG_INT, &f->files.limit, "N", "stop after so many events; 0: all", 0, 1e15},
        {"map", FLAG_LIST, &f->files.maps, "COLUMN=FIELD", "as for `beckon load`", 0, 0},
        {"type-map", FLAG_LIST, &f->files.type_maps, "VALUE=TYPE", "as for `beckon load`", 0, 0},
        {"set", FLAG_LIST, &f->files.sets, "FIELD=VALUE", "as for `beckon load`", 0, 0},
        {"time-unit", FLAG_STR, &f->files.time_unit, "s|ms|us", "of the time column", 0, 0},
    };
    _Static_assert(ARRAY_LEN(rows) == REPLAY_FLAGS, "one row per flag");
    memcpy(ret, rows, sizeof rows);
}

/* "5,10,20" → ascending numbers. */
static int parse_at(const char *text, const char *command, struct replay_config *c) {
    for (const char *p = text; *p;) {
        char *end;
        long k = strtol(p, &end, 10);
        if (end == p || k < 1 || k >= TOP_MAX || c->n_k == RANK_KS_MAX ||
            (c->n_k && c->k[c->n_k - 1] >= (uint32_t)k) || (*end && *end != ',')) {
            c->n_k = 0;
            break;
        }
        c->k[c->n_k++] = (uint32_t)k;
        p = *end == ',' ? end + 1 : end;
    }
    if (c->n_k)
        return 0;
    fprintf(stderr, "beckon %s: --at %s: up to %d ascending numbers from 1 to %d, as in 5,10,20\n",
            command, text, RANK_KS_MAX, TOP_MAX - 1);
    return -EINVAL;
}

/* Which of these words it is; -EINVAL: none, which is told. */
static int choose(const char *command, const char *flag, const char *text, const char *const *words,
                  size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return (int)i;
    fprintf(stderr, "beckon %s: --%s %s: use ", command, flag, text);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", words[i]);
    fprintf(stderr, "\n");
    return -EINVAL;
}

int replay_flags_parse(const struct replay_flags *f, const char *command, const struct config *cfg,
                       struct replay_config *c) {
    static const char *const cases[] = {"every", "new", "last"}, *const no_yes[] = {"no", "yes"};
    int word;
    if (parse_at(f->at, command, c) < 0 || positive_parse(cfg, f->positive, &c->positive) < 0 ||
        (word = choose(command, "evaluate", f->evaluate, cases, ARRAY_LEN(cases))) < 0)
        return -EINVAL;
    c->evaluate = (enum evaluate)word;
    if ((word = choose(command, "learn-on-test", f->learn_on_test, no_yes, 2)) < 0)
        return -EINVAL;
    c->learn_on_test = word;
    if (*f->repeats && choose(command, "repeats", f->repeats, no_yes, 2) < 0)
        return -EINVAL;
    if (f->files.train.n + f->files.files.n + f->files.test.n == 0) {
        fprintf(stderr, "beckon %s: no file; see `beckon %s --help`\n", command, command);
        return -EINVAL;
    }
    c->epochs = (uint32_t)f->epochs;
    c->batch = (size_t)f->batch;
    return 0;
}

void replay_flags_data(const struct replay_flags *f, const struct replay_data *d,
                       struct replay_config *c) {
    c->first = d->first;
    c->repeats =
        *f->repeats ? strcmp(f->repeats, "yes") == 0 : d->sessions && c->evaluate != EVALUATE_NEW;
}

void replay_flags_clear(struct replay_flags *f) {
    struct flag_list *lists[] = {&f->files.files, &f->files.train,     &f->files.test,
                                 &f->files.maps,  &f->files.type_maps, &f->files.sets};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        flag_list_clear(lists[i]);
}
