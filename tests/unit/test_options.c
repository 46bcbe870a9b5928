#include "consumer/options_table.h"

#include <criterion/criterion.h>
#include <unistd.h>

static char faults[1 << 16];

/* Loads a text; the faults are left in `faults`. */
static int load(const char *text, char *const *overrides, size_t n, struct config **ret) {
    FILE *f = fmemopen(faults, sizeof faults, "w");
    int r = config_load_text("t.yaml", text, strlen(text), overrides, n, f, ret);
    fclose(f);
    return r;
}

static struct config *good(const char *text) {
    struct config *c = NULL;
    cr_assert_eq(load(text, NULL, 0, &c), 0, "%s", faults);
    return c;
}

static struct config *good_with(char *override) {
    struct config *c = NULL;
    cr_assert_eq(load("", &override, 1, &c), 0, "%s", faults);
    return c;
}

static char *printed(const struct config *c, bool comments) {
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    config_print(c, comments, f);
    fclose(f);
    return out;
}

#define has_fault(text, line)                                                                      \
    do {                                                                                           \
        struct config *none_ = NULL;                                                               \
        cr_assert_eq(load(text, NULL, 0, &none_), -EINVAL);                                        \
        cr_assert_null(none_);                                                                     \
        cr_assert_not_null(strstr(faults, line), "no \"%s\" in:\n%s", line, faults);               \
    } while (0)

Test(options, defaults_are_those_of_the_table) {
    struct config *c = good("");
    cr_assert_eq(c->model_dim, 64);
    cr_assert_eq(c->redis_ttl, 7LL * 86400 * 1000);
    cr_assert_eq(c->stream_max_message, 65536);
    cr_assert_eq(c->stream_guarantee, EXACTLY_ONCE);
    cr_assert_eq(c->policy_consent_default, CONSENT_DENIED);
    cr_assert_str_eq(c->topics_clickstream, "clickstream");
    cr_assert_float_eq(c->model_learning_rate, 0.2, 1e-12);
    cr_assert(c->model_phi && !c->redis_tls);
    cr_assert_eq(c->n_kafka, 1);
    cr_assert_str_eq(c->kafka[0].key, "bootstrap.servers");
    cr_assert_str_eq(c->kafka[0].value, "127.0.0.1:9092");
    cr_assert_eq(c->type_weight[EV_PURCHASE], 5.0f);
    config_free(c);
}

Test(options, every_default_lies_within_its_bounds) {
    struct config *c = good("");
    for (size_t i = 0; i < n_options; i++) {
        char why[700];
        cr_assert_eq(option_set(&options[i], c, options[i].def, why, sizeof why), 0, "%s: %s",
                     options[i].key, why);
    }
    config_free(c);
}

Test(options, a_file_sets_every_kind_of_value) {
    struct config *c = good("model: {dim: 32, loss: logistic, learning_rate: 1e-3, phi: false}\n"
                            "redis:\n  ttl: 90m\n  address: /run/redis.sock\n"
                            "stream:\n  max_message: 2m\n"
                            "kafka:\n  bootstrap.servers: a:1,b:2\n  linger.ms: 7\n");
    cr_assert_eq(c->model_dim, 32);
    cr_assert_eq(c->model_loss, 2);
    cr_assert_float_eq(c->model_learning_rate, 0.001, 1e-12);
    cr_assert_not(c->model_phi);
    cr_assert_eq(c->redis_ttl, 90 * 60 * 1000);
    cr_assert_str_eq(c->redis_address, "/run/redis.sock");
    cr_assert_eq(c->stream_max_message, 2 << 20);
    cr_assert_eq(c->n_kafka, 2);
    cr_assert_str_eq(c->kafka[0].value, "a:1,b:2");
    cr_assert_eq(c->kafka[1].line, 9);
    config_free(c);
}

Test(options, the_command_line_goes_before_the_file) {
    char *over[] = {"model.dim=16", "kafka.linger.ms=9", "events.view=0.5", "model.dim=24"};
    struct config *c = NULL;
    cr_assert_eq(load("model: {dim: 32}\nkafka: {linger.ms: 7}\n", over, 4, &c), 0, "%s", faults);
    cr_assert_eq(c->model_dim, 24);
    cr_assert_str_eq(c->kafka[0].value, "9");
    cr_assert_eq(c->kafka[0].line, 0);
    cr_assert_eq(c->type_weight[EV_VIEW], 0.5f);
    config_free(c);
}

Test(options, faults_of_the_command_line_say_so) {
    char *over[] = {"model.dim=x", "model.dom=8", "lists.n"};
    struct config *c = NULL;
    cr_assert_eq(load("", over, 3, &c), -EINVAL);
    cr_assert_not_null(strstr(
        faults, "command line: model.dim: found x, allowed is a whole number from 8 to 512\n"));
    cr_assert_not_null(
        strstr(faults, "command line: model.dom: unknown key; did you mean model.dim?\n"));
    cr_assert_not_null(strstr(faults, "command line: lists.n: has no value; write --lists.n=…\n"));
    cr_assert_not_null(strstr(faults, "3 faults in the configuration\n"));
}

Test(options, all_faults_are_told_at_once_each_with_its_line) {
    has_fault("model:\n  dim: 65\n  sed: 3\nredis:\n  ttl: 5 days\n  tls: yes\n",
              "t.yaml:2: model.dim: found 65");
    cr_assert_not_null(
        strstr(faults, "t.yaml:3: model.sed: unknown key; did you mean model.seed?"));
    cr_assert_not_null(
        strstr(faults, "t.yaml:5: redis.ttl: found \"5 days\", allowed is a duration"));
    cr_assert_not_null(strstr(faults, "t.yaml:6: redis.tls: found yes, allowed is true or false"));
    cr_assert_not_null(strstr(faults, "4 faults in the configuration"));
}

Test(options, values_out_of_bounds_name_the_bounds) {
    has_fault("lists:\n  n: 201\n",
              "t.yaml:2: lists.n: found 201, allowed is a whole number from 1 to 200\n");
    has_fault("lists:\n  n: -1\n", "t.yaml:2: lists.n: found -1");
    has_fault("lists:\n  n: 99999999999999999999\n",
              "t.yaml:2: lists.n: found 99999999999999999999");
    has_fault("lists:\n  n: 5.5\n", "t.yaml:2: lists.n: found 5.5");
    has_fault("lists:\n  n:\n", "t.yaml:2: lists.n: found nothing");
    has_fault("model:\n  l2: nan\n",
              "t.yaml:2: model.l2: found nan, allowed is a number from 0 to 10\n");
    has_fault("model:\n  l2: 11\n", "t.yaml:2: model.l2: found 11");
    has_fault("stream:\n  max_message: 1g\n",
              "t.yaml:2: stream.max_message: found 1g, allowed is a size");
    has_fault("model:\n  loss: hinge\n",
              "t.yaml:2: model.loss: found hinge, allowed is softmax, bpr, logistic or squared\n");
    has_fault("app:\n  name: ''\n",
              "t.yaml:2: app.name: found nothing, allowed is 1 to 64 characters\n");
    has_fault("app:\n  instance: \"a\\nb\"\n", "t.yaml:2: app.instance: found a control character");
}

Test(options, unknown_and_misplaced_keys_and_sections_get_a_suggestion) {
    has_fault("modle:\n  dim: 8\n", "t.yaml:1: modle: unknown section; did you mean model?");
    has_fault("redis:\n  dim: 8\n", "t.yaml:2: redis.dim: unknown key; did you mean model.dim?");
    has_fault("dim: 8\n",
              "t.yaml:1: dim: unknown section; dim belongs under a section, as in model.dim");
    has_fault("redis.db: 1\n", "t.yaml:1: redis.db: in a file, write db: under redis:");
    has_fault(
        "zzz: {}\n",
        "there are app, topics, stream, state, redis, lists, model, policy, kafka and events");
    has_fault("model: 8\n", "t.yaml:1: model: is a section");
    has_fault("model:\n  dim: [8]\n", "t.yaml:2: model.dim: must be one value, found a list");
    has_fault("model:\n  dim: {a: 8}\n",
              "t.yaml:2: model.dim: must be one value, found a group of keys");
    has_fault("- a\n", "t.yaml:1: must hold sections");
}

Test(options, duplicates_are_faults) {
    has_fault("lists:\n  n: 5\n  n: 6\n", "t.yaml:3: lists.n: is set twice, in line 2 already");
    has_fault("lists:\n  n: 5\nmodel:\nlists:\n  n: 6\n",
              "t.yaml:4: lists: is set twice, in line 1 already");
    has_fault("kafka:\n  linger.ms: 5\n  linger.ms: 6\n",
              "t.yaml:3: kafka.linger.ms: is set twice");
}

/* Some are found only when everything is read: they stand with the others all the same. */
Test(options, faults_come_in_the_order_of_the_lines) {
    has_fault("topics:\n  items: a b\nmodel:\n  dim: 9\nlists:\n  n: x\n",
              "t.yaml:2: topics.items: found \"a b\", allowed are letters, digits, '.', '_' and "
              "'-'\nt.yaml:4: model.dim: found 9, allowed are multiples of 8, such as 8\n"
              "t.yaml:6: lists.n: ");
}

Test(options, what_is_not_yaml_is_named_by_line) {
    has_fault("lists:\n  n: 5\n bad\n", "t.yaml:3: not YAML: ");
    has_fault("lists:\n  n: \"5\n", "not YAML: ");
    has_fault("lists:\n  n: 5\n\xff\xfe\n", "t.yaml:3: not YAML: ");
    has_fault("lists: {n: 5}\n---\nlists: {n: 6}\n", "t.yaml:3: a second document");
}

Test(options, kafka_properties_are_checked_by_librdkafka) {
    has_fault("kafka:\n  bootstrap.server: a\n",
              "t.yaml:2: kafka.bootstrap.server: librdkafka knows no such property; did you mean "
              "kafka.bootstrap.servers?");
    has_fault("kafka:\n\n  queue.buffering.max.ms: abc\n",
              "t.yaml:3: kafka.queue.buffering.max.ms: librdkafka refuses");
    has_fault("kafka:\n  group.id: x\n",
              "t.yaml:2: kafka.group.id: not to be set: it is Beckon's own; it is made "
              "from app.name");
    const char *own[] = {"enable.auto.commit", "transactional.id", "isolation.level"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        char text[100];
        snprintf(text, sizeof text, "kafka:\n  %s: x\n", own[i]);
        has_fault(text, "not to be set");
    }
}

Test(options, options_are_held_against_each_other) {
    has_fault("model: {dim: 12}\n",
              "t.yaml:1: model.dim: found 12, allowed are multiples of 8, such as 16");
    has_fault("topics:\n  items: x\n  triggers: x\n",
              "t.yaml:3: topics.triggers: is the same topic as topics.items: x");
    has_fault("topics:\n  items: a/b\n", "t.yaml:2: topics.items: found a/b, allowed are letters");
    has_fault("redis:\n  address: nowhere\n",
              "t.yaml:2: redis.address: found nowhere, allowed is host:port");
    has_fault("stream:\n  commit_interval: 1m\nkafka: {transaction.timeout.ms: 60000}\n",
              "t.yaml:2: stream.commit_interval: is 1m, but kafka.transaction.timeout.ms is 60000");
    config_free(good("stream: {commit_interval: 1m}\n"));
    config_free(good("stream: {commit_interval: 1m}\nkafka: {transaction.timeout.ms: 120000}\n"));
    config_free(good("stream: {commit_interval: 1m, guarantee: at-least-once}\n"));
    config_free(good("topics: {items: '', user_control: ''}\n"));
    has_fault("app:\n  metrics_listen: here\n",
              "t.yaml:2: app.metrics_listen: found here, allowed is address:port");
    has_fault("policy:\n  timezone: Europe/Berlln\n",
              "t.yaml:2: policy.timezone: found Europe/Berlln, which");
    has_fault("redis:\n  tls_ca: /x\n",
              "t.yaml:2: redis.tls_ca: has no use while redis.tls is false");
}

Test(options, custom_event_types_get_the_ids_behind_the_built_in_ones) {
    struct config *c = good("events:\n  like: 2\n  view: 0.25\n  hide: -1\n");
    cr_assert_eq(config_event_type(c, STR("like")), EV_BUILTIN);
    cr_assert_eq(config_event_type(c, STR("hide")), EV_BUILTIN + 1);
    cr_assert_eq(config_event_type(c, STR("view")), EV_VIEW);
    cr_assert_eq(config_event_type(c, STR("add-to-cart")), EV_CART_ADD);
    cr_assert_eq(config_event_type(c, STR("nothing")), EV_UNKNOWN);
    cr_assert_eq(c->type_weight[EV_BUILTIN], 2.0f);
    cr_assert_eq(c->type_weight[EV_BUILTIN + 1], -1.0f);
    cr_assert_eq(c->type_weight[EV_VIEW], 0.25f);
    cr_assert_str_eq(config_event_name(c, EV_BUILTIN + 1), "hide");
    cr_assert_str_eq(config_event_name(c, EV_SURVEY), "survey");
    cr_assert_str_eq(config_event_name(c, EV_BUILTIN + 2), "unknown");
    config_free(c);
}

Test(options, a_custom_type_close_to_a_built_in_one_is_noted) {
    struct config *c = good("events:\n  purchse: 9\n  add_to_cart: 1\n  like: 1\n");
    cr_assert_str_eq(
        faults,
        "t.yaml:2: events.purchse: note: defines a custom type; did you mean the built-in "
        "purchase?\nt.yaml:3: events.add_to_cart: note: defines a custom type; did you mean "
        "the built-in add-to-cart?\n");
    cr_assert_eq(c->n_custom, 3);
    config_free(c);
}

Test(options, bad_event_types_are_faults) {
    has_fault("events:\n  view: much\n",
              "t.yaml:2: events.view: found much, allowed is a number from -1000 to 1000");
    has_fault("events:\n  view: inf\n", "t.yaml:2: events.view: found inf");
    has_fault("events:\n  Bad Name: 1\n", "t.yaml:2: \"events.Bad Name\": allowed in the name");
    char text[2000] = "events:\n";
    for (int i = 0; i <= EV_MAX - EV_BUILTIN; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "  c%d: 1\n", i);
    has_fault(text, "events.c17: one custom type too many; allowed are 17");
}

Test(options, texts_may_stand_in_files_and_in_the_environment) {
    char path[] = "/tmp/beckon-options-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, "hush hush\n", 10), 10);
    close(fd);
    setenv("BECKON_TEST_NAME", "shop", 1);
    char text[300];
    snprintf(text, sizeof text,
             "app: {name: '${env:BECKON_TEST_NAME}'}\nkafka:\n  sasl.password: ${file:%s}\n", path);
    struct config *c = good(text);
    cr_assert_str_eq(c->app_name, "shop");
    cr_assert_str_eq(c->kafka[0].value, "hush hush");
    char *out = printed(c, false);
    cr_assert_not_null(strstr(out, "name: \"${env:BECKON_TEST_NAME}\"\n"));
    cr_assert_not_null(strstr(out, "sasl.password: \"${file:/tmp/beckon-options-"));
    cr_assert_null(strstr(out, "hush"));
    free(out);
    config_free(c);
    unlink(path);
    has_fault("app:\n  name: ${env:BECKON_TEST_UNSET}\n",
              "t.yaml:2: app.name: the environment variable BECKON_TEST_UNSET is not set");
    has_fault("kafka:\n  sasl.password: ${file:/nowhere}\n",
              "t.yaml:2: kafka.sasl.password: cannot read /nowhere: No such file or directory");
    has_fault("app:\n  name: ${what}\n", "write ${file:/path} or ${env:NAME}");
}

Test(options, secrets_are_masked_and_a_mask_is_no_secret) {
    struct config *c =
        good("kafka:\n  sasl.password: hush\n  ssl.key.password: hush\n  sasl.username: me\n");
    char *out = printed(c, false);
    cr_assert_null(strstr(out, "hush"));
    cr_assert_not_null(strstr(out, "sasl.password: \"****\"\n"));
    cr_assert_not_null(strstr(out, "sasl.username: \"me\"\n"));
    free(out);
    config_free(c);
    c = good("topics: {registry: 'http://me:hush@host:8081/x'}\n");
    out = printed(c, false);
    cr_assert_not_null(strstr(out, "registry: \"http://me:****@host:8081/x\"\n"), "%s", out);
    free(out);
    config_free(c);
    has_fault("topics:\n  registry: http://me:****@host\n",
              "t.yaml:2: topics.registry: its password is masked");
    has_fault("kafka:\n  sasl.password: '****'\n", "t.yaml:2: kafka.sasl.password: is masked");
}

Test(options, what_is_printed_reads_back_the_same) {
    struct config *a = good("model: {dim: 32, learning_rate: 0.1234567890123, loss: squared, seed: "
                            "9223372036854775807}\n"
                            "redis: {ttl: 90061001ms, profile_interval: 0ms}\n"
                            "stream: {max_message: 65537}\n"
                            "policy: {salt: \" a: 'b' \\\"c\\\" \\\\ #d\\u0085\\u2028 \\u00e4 \"}\n"
                            "kafka: {client.id: 'x: y', linger.ms: 3}\n"
                            "events: {like: 0.1, view: 1e-7}\n");
    char *first = printed(a, false), *commented = printed(a, true);
    struct config *b = good(first), *d = good(commented);
    cr_assert_str_eq(b->policy_salt, a->policy_salt);
    cr_assert_eq(b->model_learning_rate, a->model_learning_rate);
    cr_assert_eq(b->type_weight[EV_BUILTIN], a->type_weight[EV_BUILTIN]);
    cr_assert_eq(b->redis_ttl, 90061001);
    cr_assert_eq(b->model_seed, INT64_MAX);
    char *second = printed(b, false), *third = printed(d, false);
    cr_assert_str_eq(first, second);
    cr_assert_str_eq(first, third);
    free(first);
    free(second);
    free(third);
    free(commented);
    config_free(a);
    config_free(b);
    config_free(d);
}

Test(options, the_sample_file_is_what_the_table_says) {
    const char *root = getenv("BECKON_SOURCE_ROOT");
    cr_assert_not_null(root, "set by the build");
    char path[4096];
    snprintf(path, sizeof path, "%s/deploy/beckon.yaml", root);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    static char text[1 << 16];
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    struct config *c = good("");
    char *want = printed(c, true);
    cr_assert_str_eq(text, want,
                     "deploy/beckon.yaml drifted: beckon config --sample > deploy/beckon.yaml");
    free(want);
    config_free(c);
}

Test(options, durations_and_sizes_have_units) {
    int64_t v = -1;
    cr_assert(parse_ms("250ms", &v) == 0 && v == 250);
    cr_assert(parse_ms("1.5h", &v) == 0 && v == 5400000);
    cr_assert(parse_ms("7d", &v) == 0 && v == 604800000);
    cr_assert(parse_ms("0", &v) == 0 && v == 0);
    const char *bad[] = {"",   "5",     "5 s",          "s",   "-1s", "1e3s", "0x10s",
                         "5S", "1.5ms", "99999999999d", "nan", "infd"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(parse_ms(bad[i], &v), -EINVAL, "%s", bad[i]);
    cr_assert(parse_bytes("64k", &v) == 0 && v == 65536);
    cr_assert(parse_bytes("17", &v) == 0 && v == 17);
    cr_assert_eq(parse_bytes("64kb", &v), -EINVAL);
    char out[VALUE_MAX];
    format_ms(5400000, out);
    cr_assert_str_eq(out, "90m");
    format_ms(0, out);
    cr_assert_str_eq(out, "0ms");
}

Test(options, config_load_tells_of_a_missing_file) {
    struct config *c = NULL;
    cr_assert_eq(config_load("/nowhere/beckon.yaml", NULL, 0, &c), -ENOENT);
    cr_assert_null(c);
    c = good_with("app.name=x");
    cr_assert_str_eq(c->app_name, "x");
    cr_assert_str_eq(c->path, "t.yaml");
    config_free(c);
}
