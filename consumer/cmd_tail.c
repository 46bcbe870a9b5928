/* The last records of a topic, decoded. Transactions leave markers among the offsets, so that
 * the last N records may lie further back than N offsets: what is read is doubled until
 * there are enough. */
#include <inttypes.h>

#include "consumer/cli.h"
#include "consumer/decode.h"
#include "consumer/interrupt.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"
#include "consumer/tail_line.h"
#include "consumer/topic_render.h"

enum { TIMEOUT_MS = 15000, POLL_MS = 100, MARKERS = 16 };

struct kept {
    int64_t timestamp_ms, offset;
    int32_t partition;
    uint8_t *p; /* NULL: tombstone */
    size_t n;
};

struct partition {
    int64_t low, end, start, next;
    bool done;
    struct kept *ring; /* the newest `n_lines`, from `seen` modulo that on */
    uint64_t seen;
};

struct tail {
    const struct config *cfg;
    const char *topic;
    size_t n_lines;
    bool json;
    rd_kafka_t *consumer;
    struct decoder *decoder;
    struct partition *partition;
    int32_t n_partitions;
    struct buf line;
    int kind;
};

static int fail(const char *what, rd_kafka_resp_err_t err) {
    log_error("tail", "failed=%s reason=%s", what, log_q(rd_kafka_err2str(err)));
    return -EIO;
}

static void print_record(struct tail *t, const void *p, size_t n, int32_t partition,
                         int64_t offset) {
    if (p && topic_render(t->cfg, t->decoder, t->topic, p, n, &t->line) == 0) {
        struct str line = {(const char *)t->line.p, t->line.n};
        while (line.n && line.p[line.n - 1] == '\n')
            line.n--;
        if (t->json)
            printf("%.*s\n", (int)line.n, line.p);
        else
            tail_print(stdout, line, &t->kind);
    } else if (t->json) {
        printf("{\"partition\":%" PRId32 ",\"offset\":%" PRId64 ",\"bytes\":%zu,\"%s\":true}\n",
               partition, offset, n, p ? "undecodable" : "tombstone");
    } else {
        printf("%s of %zu bytes at partition %" PRId32 ", offset %" PRId64 "\n",
               p ? "undecodable record" : "tombstone", n, partition, offset);
    }
    decoder_reset(t->decoder);
}

/* ---- the last N ---- */

static void keep(struct tail *t, struct partition *part, const rd_kafka_message_t *m) {
    struct kept *k = &part->ring[part->seen % t->n_lines];
    free(k->p);
    *k = (struct kept){rd_kafka_message_timestamp(m, NULL), m->offset, m->partition, NULL, m->len};
    if (m->payload && (k->p = malloc(m->len + 1)))
        memcpy(k->p, m->payload, m->len);
    part->seen++;
}

static void forget(struct tail *t, struct partition *part) {
    for (size_t i = 0; i < t->n_lines; i++) {
        free(part->ring[i].p);
        part->ring[i] = (struct kept){0};
    }
    part->seen = 0;
}

/* Reads the partitions that are not done from where they start to their ends. */
static int assign(struct tail *t) {
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(t->n_partitions);
    for (int32_t i = 0; i < t->n_partitions; i++)
        if (!t->partition[i].done)
            rd_kafka_topic_partition_list_add(list, t->topic, i)->offset = t->partition[i].next;
    rd_kafka_resp_err_t err = rd_kafka_assign(t->consumer, list);
    return err ? fail("assign", err) : 0;
}

static bool all_done(const struct tail *t) {
    for (int32_t i = 0; i < t->n_partitions; i++)
        if (!t->partition[i].done)
            return false;
    return true;
}

static int read_to_end(struct tail *t, bool print) {
    int r = assign(t);
    while (r == 0 && !all_done(t) && !interrupted()) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(t->consumer, POLL_MS);
        if (!m)
            continue;
        struct partition *part = &t->partition[m->partition];
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            part->next = MAX(part->next, m->offset);
            part->done = true;
        } else if (m->err) {
            r = fail("read", m->err);
        } else if (!part->done) {
            if (m->offset < part->end && print)
                print_record(t, m->payload, m->len, m->partition, m->offset);
            else if (m->offset < part->end)
                keep(t, part, m);
            part->next = MIN(m->offset + 1, part->end);
            part->done = m->offset + 1 >= part->end;
        }
        rd_kafka_message_destroy(m);
    }
    return r;
}

/* Further back for those that gave too little. False: nothing is left to read. */
static bool look_further(struct tail *t) {
    bool any = false;
    for (int32_t i = 0; i < t->n_partitions; i++) {
        struct partition *part = &t->partition[i];
        if (part->seen >= t->n_lines || part->start <= part->low)
            continue;
        forget(t, part);
        part->start = MAX(part->low, part->end - 2 * (part->end - part->start));
        part->next = part->start;
        part->done = false;
        any = true;
    }
    return any;
}

static int by_age(const void *a, const void *b) {
    const struct kept *x = a, *y = b;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int print_newest(struct tail *t) {
    struct kept *all = calloc((size_t)t->n_partitions * t->n_lines, sizeof *all);
    if (!all)
        return -ENOMEM;
    size_t n = 0;
    for (int32_t i = 0; i < t->n_partitions; i++)
        for (size_t k = 0; k < MIN(t->partition[i].seen, t->n_lines); k++)
            all[n++] = t->partition[i].ring[k];
    qsort(all, n, sizeof *all, by_age);
    for (size_t i = n > t->n_lines ? n - t->n_lines : 0; i < n; i++)
        print_record(t, all[i].p, all[i].n, all[i].partition, all[i].offset);
    free(all);
    return 0;
}

static int show_last(struct tail *t) {
    for (int32_t i = 0; i < t->n_partitions; i++) {
        struct partition *part = &t->partition[i];
        part->ring = calloc(t->n_lines + 1, sizeof *part->ring);
        if (!part->ring)
            return -ENOMEM;
        part->start = MAX(part->low, part->end - 2 * (int64_t)t->n_lines - MARKERS);
        part->next = part->start;
        part->done = part->start >= part->end || t->n_lines == 0;
        if (t->n_lines == 0)
            part->next = part->end;
    }
    do {
        int r = read_to_end(t, false);
        if (r < 0)
            return r;
    } while (t->n_lines && !interrupted() && look_further(t));
    return t->n_lines ? print_newest(t) : 0;
}

/* ---- from the start, and on ---- */

static int show_all(struct tail *t) {
    for (int32_t i = 0; i < t->n_partitions; i++) {
        t->partition[i].next = t->partition[i].low;
        t->partition[i].done = t->partition[i].low >= t->partition[i].end;
    }
    return read_to_end(t, true);
}

static int follow(struct tail *t) {
    for (int32_t i = 0; i < t->n_partitions; i++)
        t->partition[i].done = false;
    int r = assign(t);
    while (r == 0 && !interrupted()) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(t->consumer, 0);
        if (!m) {
            fflush(stdout);
            if (!(m = rd_kafka_consumer_poll(t->consumer, POLL_MS)))
                continue;
        }
        if (!m->err)
            print_record(t, m->payload, m->len, m->partition, m->offset);
        else if (m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            r = fail("read", m->err);
        rd_kafka_message_destroy(m);
    }
    return r;
}

static int open_tail(struct tail *t) {
    char group[96];
    snprintf(group, sizeof group, "%s-tail",
             t->cfg->app_name); /* asked for; nothing is committed */
    t->consumer =
        kafka_client(t->cfg, RD_KAFKA_CONSUMER,
                     (const char *[]){"group.id", group, "enable.auto.commit", "false",
                                      "isolation.level", "read_committed", "enable.partition.eof",
                                      "true", "auto.offset.reset", "earliest", NULL});
    if (!t->consumer)
        return -EINVAL;
    rd_kafka_poll_set_consumer(t->consumer);
    int r = decoder_new(t->cfg, &t->decoder);
    if (r < 0)
        return r;
    r = kafka_partitions(t->consumer, t->topic, NULL, &t->n_partitions);
    if (r == -ENOENT)
        fprintf(stderr, "there is no topic %s\n", t->topic);
    if (r < 0)
        return r;
    t->partition = calloc((size_t)t->n_partitions, sizeof *t->partition);
    if (!t->partition)
        return -ENOMEM;
    for (int32_t i = 0; i < t->n_partitions; i++) {
        struct partition *part = &t->partition[i];
        rd_kafka_resp_err_t err =
            kafka_ends(t->consumer, t->topic, i, &part->low, &part->end, TIMEOUT_MS);
        if (err)
            return fail("offsets", err);
    }
    return 0;
}

static void close_tail(struct tail *t) {
    if (t->consumer)
        rd_kafka_consumer_close(t->consumer);
    kafka_client_free(t->consumer);
    decoder_free(t->decoder);
    for (int32_t i = 0; t->partition && i < t->n_partitions; i++) {
        if (t->partition[i].ring)
            forget(t, &t->partition[i]);
        free(t->partition[i].ring);
    }
    free(t->partition);
    buf_free(&t->line);
}

static const char *topic_of(const struct config *cfg, const char *name) {
    return strcmp(name, "triggers") == 0       ? cfg->topics_triggers
           : strcmp(name, "decisions") == 0    ? cfg->topics_decisions
           : strcmp(name, "outcomes") == 0     ? cfg->topics_outcomes
           : strcmp(name, "dead-letters") == 0 ? cfg->topics_dlq
                                               : name;
}

int cmd_tail(int argc, char **argv) {
    int64_t lines = 10;
    bool from_start = false, on = false, json = false;
    const struct flag flags[] = {
        {"lines", FLAG_INT, &lines, "N", "how many of the newest (also -n N)", 0, 100000},
        {"from-start", FLAG_BOOL, &from_start, NULL, "everything there is", 0, 0},
        {"follow", FLAG_BOOL, &on, NULL, "and what comes, until interrupted (also -f)", 0, 0},
        {"json", FLAG_BOOL, &json, NULL, "one JSON object per line", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "tail [triggers | decisions | outcomes | dead-letters | TOPIC]",
        .text =
            "Prints the newest records of a topic, decoded, one line each; triggers unless "
            "another is named. Records of transactions that were not committed are not shown.\n"
            "Long values are cut, and what a terminal would obey is a question mark; --json has "
            "them whole.",
        .examples = "  beckon tail triggers --follow\n"
                    "  beckon tail decisions -n 100 --json | jq -r .reason | sort | uniq -c\n"
                    "  beckon tail dead-letters --from-start\n"
                    "  beckon tail clickstream -n 3\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .max_args = 1,
    };
    static char lines_flag[] = "--lines", follow_flag[] = "--follow"; /* as tail(1) has them */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0)
            argv[i] = lines_flag;
        else if (strcmp(argv[i], "-f") == 0)
            argv[i] = follow_flag;
    }
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    struct tail t = {.cfg = cfg, .n_lines = (size_t)lines, .json = json};
    t.topic = topic_of(cfg, args.n ? args.v[0] : "triggers");
    flag_list_clear(&args);
    if (!*t.topic) {
        fputs("that topic is not configured\n", stderr);
        return EXIT_USAGE;
    }
    interrupt_catch();
    r = open_tail(&t);
    if (r == 0)
        r = from_start ? show_all(&t) : show_last(&t);
    if (r == 0 && on)
        r = follow(&t);
    close_tail(&t);
    return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
