#include "consumer/load.h"

static const char text[] =
    "Puts files into Kafka: CSV with a header line or JSON lines, gzip or not, - for standard "
    "input. Columns ts_ms, user_id, session_id, type, item_id, value (also event_id, dwell_ms, "
    "query, decision_id) become fields of an event keyed by its user, all others its context; "
    "--map, --type-map and --set do so with any other file. Rows that Beckon would refuse (no "
    "user, "
    "unknown type, no time, ...) are counted by reason, the first ones shown with file and line, "
    "and left out; --keep-bad sends those that make a record nevertheless, to see what becomes "
    "of them (a row that is broken makes none). The topic is "
    "created if it is missing.\n"
    "With --from-dlq it is the dead letters that are sent again, to where they came from or to "
    "--topic, as they are (after the schema, the configuration or the program was mended) or "
    "through --edit. What was sent once is not sent by the next run: the position is kept in the "
    "group APP-from-dlq (by reason where --reason was given) and moves in the same transaction as "
    "the records.";

static const char examples[] =
    "  beckon load events.csv.gz --topic clickstream\n"
    "  beckon load items.csv.gz --kind items --map 'product_name=description'\n"
    "  beckon load consent.csv --kind control\n"
    "  beckon load globo.csv.gz --speed 60 --shift-time now-1d\n"
    "  beckon load events.jsonl --loop --rate 5000 --shift-time now --format json\n"
    "A travel shop's log (RecSys 2019), whose searches carry words in the item column:\n"
    "  beckon load trivago.csv.gz --map impressions= --map prices= --map current_filters= \\\n"
    "    --type-map 'clickout item=click' --type-map 'interaction item image=view' \\\n"
    "    --type-map 'interaction item info=view' --type-map 'interaction item deals=view' \\\n"
    "    --type-map 'interaction item rating=view' --type-map 'search for item=search' \\\n"
    "    --type-map 'search for destination=search:query' \\\n"
    "    --type-map 'search for poi=search:query' \\\n"
    "    --type-map 'filter selection=search:context.filter' \\\n"
    "    --type-map 'change of sort order=search:context.sort'\n"
    "A grocer's transactions, with seconds and other names:\n"
    "  beckon load transactions.csv.gz --map household_id=user --map product_id=item \\\n"
    "    --map basket_id=session --map sales_value=value --map transaction_timestamp=time \\\n"
    "    --time-unit s --set type=purchase\n"
    "Dead letters, after the type was configured; after a field was renamed:\n"
    "  beckon load --from-dlq --reason unknown-type --dry-run\n"
    "  beckon load --from-dlq --reason missing-user \\\n"
    "    --edit \"jq -c 'if .uid then .user_id = .uid else empty end'\"\n";

static int choose(const char *flag, const char *value, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(value, names[i]) == 0)
            return (int)i;
    fprintf(stderr, "--%s %s: use", flag, value);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s %s", i == 0 ? "" : i + 1 < n ? "," : " or", names[i]);
    fputc('\n', stderr);
    return -1;
}

static const char *usual_topic(const struct config *cfg, enum load_kind kind) {
    return kind == LOAD_ITEMS     ? cfg->topics_items
           : kind == LOAD_CONTROL ? cfg->topics_control
                                  : cfg->topics_clickstream;
}

static int load(struct load_options *o, bool from_dlq, const struct flag_list *files) {
    if (from_dlq) {
        if (files->n) {
            fputs("--from-dlq reads a topic, not files\n", stderr);
            return EXIT_USAGE;
        }
        return load_letters(o);
    }
    if (!files->n) {
        fputs("which files? (- for standard input; --help tells more)\n", stderr);
        return EXIT_USAGE;
    }
    if (!o->topic)
        o->topic = usual_topic(o->cfg, o->kind);
    if (!*o->topic) {
        fputs("no topic is configured for this kind of records: give --topic\n", stderr);
        return EXIT_USAGE;
    }
    return load_files(o, files);
}

int cmd_load(int argc, char **argv) {
    static const char *const kinds[] = {"events", "items", "control"};
    static const char *const formats[] = {"confluent", "avro", "json"};
    struct load_options o = {.time_unit = "ms"};
    const char *kind = "events", *format = NULL;
    int64_t limit = 0, partitions = 0;
    bool from_dlq = false;
    const struct flag flags[] = {
        {"topic", FLAG_STR, &o.topic, "T", "where to; else the configured one for the kind", 0, 0},
        {"kind", FLAG_STR, &kind, "K", "events, items or control (consent, time zone)", 0, 0},
        {"format", FLAG_STR, &format, "F", "confluent, avro or json; else topics.format", 0, 0},
        {"partitions", FLAG_INT, &partitions, "N",
         "of the topic if it is missing; else topics.partitions", 0, 10000},
        {"map", FLAG_LIST, &o.maps, "COLUMN=FIELD",
         "what a column is: id, user, item, type, time, session, value, dwell, query, decision (or "
         "the schema's names: event_id, user_id, ...), context.NAME; category, brand, price, tags, "
         "... of items; nothing drops it",
         0, 0},
        {"type-map", FLAG_LIST, &o.type_maps, "VALUE=TYPE[:FIELD]",
         "event type of a value of the type column; with FIELD, what stands as item is moved "
         "there; no TYPE drops such rows",
         0, 0},
        {"set", FLAG_LIST, &o.sets, "FIELD=VALUE", "the same for every row", 0, 0},
        {"time-unit", FLAG_STR, &o.time_unit, "U",
         "s, ms or us, for times that are numbers; dates (ISO 8601) are known by their form", 0, 0},
        {"speed", FLAG_NUM, &o.speed, "X",
         "keep the events' own timing, X times as fast; 0: as fast as possible", 0, 1e9},
        {"rate", FLAG_NUM, &o.rate, "N", "at most N a second", 0, 1e9},
        {"limit", FLAG_INT, &limit, "N", "stop after N", 0, 1e18},
        {"loop", FLAG_BOOL, &o.loop, NULL,
         "begin again at the end, with times moved on and other event ids", 0, 0},
        {"shift-time", FLAG_STR, &o.shift_time, "T",
         "move all times so that the first event is at T (now, now-2h, a date), or by +7d, -30d", 0,
         0},
        {"keep-bad", FLAG_BOOL, &o.keep_bad, NULL, "send records that Beckon will refuse as well",
         0, 0},
        {"strict", FLAG_BOOL, &o.strict, NULL, "stop at the first bad row", 0, 0},
        {"dry-run", FLAG_BOOL, &o.dry_run, NULL,
         "send nothing; show the first ones, as JSON; of dead letters: their reason, origin, where "
         "they would go, and what is wrong with them",
         0, 0},
        {"json", FLAG_BOOL, &o.json, NULL, "report as JSON", 0, 0},
        {"from-dlq", FLAG_BOOL, &from_dlq, NULL, "send dead letters again", 0, 0},
        {"reason", FLAG_STR, &o.reason, "R", "dead letters: only those", 0, 0},
        {"edit", FLAG_STR, &o.edit, "CMD",
         "dead letters: a shell command run for each, record as a line of JSON in, mended line "
         "out; nothing out leaves it. Sees BECKON_REASON, BECKON_DETAIL, BECKON_KEY, "
         "BECKON_TOPIC",
         0, 0},
        {"from-start", FLAG_BOOL, &o.from_start, NULL,
         "dead letters: all that are there, even those sent before", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "load FILE... | --from-dlq",
        .text = text,
        .examples = examples,
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .max_args = -1,
    };
    struct flag_list files = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &files, &cfg);
    if (r)
        return r - 1;
    int code = EXIT_USAGE;
    int k = choose("kind", kind, kinds, ARRAY_LEN(kinds));
    int f = format ? choose("format", format, formats, ARRAY_LEN(formats)) : cfg->topics_format;
    if (k >= 0 && f >= 0) {
        o.cfg = cfg;
        o.kind = (enum load_kind)k;
        o.format = (enum data_format)f;
        o.limit = (uint64_t)limit;
        o.partitions = (int32_t)partitions;
        code = load(&o, from_dlq, &files);
    }
    flag_list_clear(&files);
    flag_list_clear(&o.maps);
    flag_list_clear(&o.type_maps);
    flag_list_clear(&o.sets);
    return code;
}
