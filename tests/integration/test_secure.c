/* Against a broker that lets nobody do anything without a right and asks everybody who he is
 * (deploy/kafka start --secure): the documented rights are enough and none is needless, every way
 * of proving oneself works, and no secret shows anywhere. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/service.h"

static const char campaigns[] = "defaults: {channel: push, valid_for: 30d}\n"
                                "campaigns:\n"
                                "  - {id: sorry, trigger: {event: {type: survey, max: 6}},\n"
                                "     offer: {kind: message, message: sorry}}\n";

enum { RIGHTS_MAX = 32 };

static const char *secure_dir; /* what deploy/kafka left for clients */

static char *secure_file(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", secure_dir, name);
    char *text = read_file(path, NULL);
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* ---- rights ---- */

/* As the protocol numbers them. librdkafka's admin interface knows no transactional ids
 * (before 2.2), so the requests are made by hand. */
enum { CREATE_ACLS = 30, DELETE_ACLS = 31 };
enum { TOPIC = 2, GROUP = 3, TRANSACTIONAL_ID = 5 };
enum { LITERAL = 3, PREFIXED = 4, READ = 3, WRITE = 4, ALLOW = 3 };

struct right {
    int type, pattern;
    char name[TOPIC_NAME * 2], principal[64];
    bool reads, writes;
};

static int admin_connect(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    at.sin_port = htons((uint16_t)atoi(strchr(test_brokers(), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        test_die("%s: %s", test_brokers(), strerror(errno));
    return fd;
}

static void put_int(struct buf *b, unsigned bytes, uint32_t v) {
    for (unsigned i = bytes; i-- > 0;)
        buf_put(b, &(uint8_t){(uint8_t)(v >> 8 * i)}, 1);
}

static void put_text(struct buf *b, const char *text) {
    put_int(b, 2, (uint32_t)strlen(text));
    buf_put(b, text, strlen(text));
}

/* Version 1 of both requests: a list of one. */
static void change(int admin, const struct right *r, int operation, bool add) {
    struct buf b = {0};
    put_int(&b, 4, 0); /* the length, when it is known */
    put_int(&b, 2, add ? CREATE_ACLS : DELETE_ACLS);
    put_int(&b, 2, 1);
    put_int(&b, 4, 7); /* correlation */
    put_text(&b, "admin");
    put_int(&b, 4, 1);
    put_int(&b, 1, (uint32_t)r->type);
    put_text(&b, r->name);
    put_int(&b, 1, (uint32_t)r->pattern);
    put_text(&b, r->principal);
    put_text(&b, "*");
    put_int(&b, 1, (uint32_t)operation);
    put_int(&b, 1, ALLOW);
    b.p[2] = (uint8_t)((b.n - 4) >> 8);
    b.p[3] = (uint8_t)(b.n - 4);
    uint8_t answer[512]; /* length, correlation, throttle time, count, the first one's error */
    if (write(admin, b.p, b.n) != (ssize_t)b.n || recv(admin, answer, 18, MSG_WAITALL) != 18 ||
        answer[16] || answer[17])
        test_die("the broker does not change rights to %s", r->name);
    size_t rest = (size_t)(answer[2] << 8 | answer[3]) + 4 - 18;
    if (rest > sizeof answer || recv(admin, answer, rest, MSG_WAITALL) != (ssize_t)rest)
        test_die("an odd answer about rights to %s", r->name);
    buf_free(&b);
}

static void grant(int admin, const struct right *r, bool add) {
    if (r->reads)
        change(admin, r, READ, add);
    if (r->writes)
        change(admin, r, WRITE, add);
}

/* One line of the script, whose names have neither blanks nor quotes. */
static struct right right_of(char *line) {
    struct right r = {.pattern = LITERAL};
    char *save = NULL, *flag = NULL;
    for (char *word = strtok_r(line, " '", &save); word; word = strtok_r(NULL, " '", &save)) {
        if (flag && strcmp(flag, "--allow-principal") == 0) {
            snprintf(r.principal, sizeof r.principal, "%s", word);
        } else if (flag && strcmp(flag, "--operation") == 0) {
            r.reads |= strcmp(word, "Read") == 0;
            r.writes |= strcmp(word, "Write") == 0;
        } else if (flag && strcmp(flag, "--resource-pattern-type") == 0) {
            cr_assert_str_eq(word, "prefixed");
            r.pattern = PREFIXED;
        } else if (flag && strncmp(flag, "--", 2) == 0 && strncmp(word, "--", 2) != 0) {
            r.type = strcmp(flag, "--topic") == 0              ? TOPIC
                     : strcmp(flag, "--group") == 0            ? GROUP
                     : strcmp(flag, "--transactional-id") == 0 ? TRANSACTIONAL_ID
                                                               : 0;
            snprintf(r.name, sizeof r.name, "%s", word);
        }
        flag = word;
    }
    cr_assert_neq(r.type, 0);
    cr_assert(r.reads || r.writes);
    return r;
}

/* What `beckon config` with one more flag prints for the service's options. */
static char *config_output(struct service *s, const char *flag, const char *second) {
    char *argv[ARRAY_LEN(s->option) + 5] = {(char *)beckon_path(), "config", (char *)flag,
                                            (char *)second};
    size_t fixed = second ? 4 : 3;
    for (size_t i = 0; i < s->n_options; i++)
        if (asprintf(&argv[fixed + i], "--%s", s->option[i]) < 0)
            test_die("out of memory");
    autofree(free) char *out = temp_dir_file(&s->dir, "config");
    write_file(out, "", 0);
    cr_assert_eq(process_end(process_start(argv, out), 0, 20000), 0);
    for (size_t i = 0; i < s->n_options; i++)
        free(argv[fixed + i]);
    return read_file(out, NULL);
}

static size_t rights_of(struct service *s, const char *principal, struct right ret[RIGHTS_MAX]) {
    autofree(free) char *flag = NULL;
    if (asprintf(&flag, "--principal=%s", principal) < 0)
        test_die("out of memory");
    autofree(free) char *script = config_output(s, "--acls", flag);
    size_t n = 0;
    char *save = NULL;
    for (char *line = strtok_r(script, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        cr_assert_lt(n, RIGHTS_MAX);
        cr_assert_eq(strncmp(line, "kafka-acls.sh \"$@\" --add ", 25), 0, "%s", line);
        ret[n++] = right_of(line + 25);
    }
    return n;
}

/* ---- a deployment ---- */

static bool open_secure(struct service *s, struct kafka **ret) {
    secure_dir = getenv("BECKON_TEST_SECURE");
    if (!secure_dir || !*secure_dir || !test_brokers())
        return false;
    *ret = kafka_start(1);
    service_open(s, *ret, 1, campaigns);
    autofree(free) char *at = secure_file("sasl");
    service_option(s, "kafka.bootstrap.servers=%s", at);
    service_option(s, "kafka.security.protocol=SASL_SSL");
    service_option(s, "kafka.ssl.ca.location=%s/ca.pem", secure_dir);
    return true;
}

static void use_password(struct service *s, const char *mechanism) {
    service_option(s, "kafka.sasl.mechanisms=%s", mechanism);
    service_option(s, "kafka.sasl.username=beckon");
    service_option(s, "kafka.sasl.password=${file:%s/password}", secure_dir);
}

static unsigned events;

static void complain(struct service *s) {
    char id[16], user[16];
    snprintf(id, sizeof id, "e%u", events);
    snprintf(user, sizeof user, "u%u", events++);
    service_click(s, (struct click){id, user, "i1", "view", service_now_ms() - 1000, 0});
    snprintf(id, sizeof id, "e%u", events);
    service_click(s, (struct click){id, user, NULL, "survey", service_now_ms(), 3});
    kafka_flush(s->kafka);
}

static size_t sent(struct service *s) {
    struct sents all;
    service_sents(s, s->triggers, &all);
    size_t n = all.n;
    sents_free(&all);
    return n;
}

/* Runs it until what came in has gone out. */
static void run_once(struct service *s, const char *instance) {
    size_t before = sent(s);
    complain(s);
    pid_t pid = service_run(s, instance, NULL);
    service_await(s, instance, " assigned ", 1);
    service_drain(s, 60000);
    int status = process_end(pid, SIGTERM, 20000);
    autofree(free) char *log = service_log(s, instance);
    cr_assert_eq(status, 0, "%s", log);
    cr_assert_null(strstr(log, " error "), "%s", log);
    cr_assert_null(strstr(log, "uthorization"), "%s", log);
    cr_assert_eq(sent(s), before + 1);
}

/* ---- tests ---- */

static size_t lines_with(const char *text, const char *what) {
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

/* One after the other is taken away: it ends, and one line says which is missing. */
static void expect_each_needed(struct service *s, int admin, const struct right *r, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char instance[16];
        snprintf(instance, sizeof instance, "without-%zu", i);
        grant(admin, &r[i], false);
        complain(s);
        pid_t pid = service_run(s, instance, NULL);
        int status = process_end(pid, 0, 30000);
        autofree(free) char *log = service_log(s, instance);
        cr_assert_eq(status, 1, "without the right to %s: %d\n%s", r[i].name, status, log);
        cr_assert_eq(lines_with(log, " error ") - lines_with(log, " error librdkafka "), 1,
                     "without the right to %s:\n%s", r[i].name, log);
        cr_assert(strstr(log, "beckon config --acls"), "%s", log);
        cr_assert(strstr(log, r[i].name), "%s", log);
        grant(admin, &r[i], true);
    }
}

Test(secure, the_documented_rights_are_enough_and_each_is_needed, .timeout = 240) {
    struct service s;
    autofree(kafka_free) struct kafka *k = NULL;
    if (!open_secure(&s, &k))
        cr_skip_test("no broker with authorization (deploy/kafka start --secure)");
    use_password(&s, "PLAIN");
    int admin = admin_connect();
    struct right r[RIGHTS_MAX];
    size_t n = rights_of(&s, "User:beckon", r);
    cr_assert_eq(n, 11);
    for (size_t i = 0; i < n; i++)
        grant(admin, &r[i], true);
    run_once(&s, "enough");
    expect_each_needed(&s, admin, r, n);
    close(admin);
    service_close(&s);
}

/* ---- who one is, and what must not show ---- */

static void grant_all(struct service *s, const char *principal) {
    struct right r[RIGHTS_MAX];
    int admin = admin_connect();
    for (size_t i = 0, n = rights_of(s, principal, r); i < n; i++)
        grant(admin, &r[i], true);
    close(admin);
}

/* What it cannot do it says before anything is refused. */
static void expect_scram_too_old(struct service *s) {
    pid_t pid = service_run(s, "salted", NULL);
    service_await(s, "salted", "scram-too-old", 1);
    service_await(s, "salted", "Authentication failed", 1);
    process_end(pid, SIGTERM, 20000);
}

Test(secure, salted_passwords_tokens_and_certificates_tell_who_one_is, .timeout = 120) {
    struct service s;
    autofree(kafka_free) struct kafka *k = NULL;
    if (!open_secure(&s, &k))
        cr_skip_test("no broker with authorization (deploy/kafka start --secure)");
    grant_all(&s, "User:beckon");
    grant_all(&s, "User:CN=beckon");
    size_t common = s.n_options;
    use_password(&s, "SCRAM-SHA-512");
    if (rd_kafka_version() >= 0x020601ff)
        run_once(&s, "salted");
    else
        expect_scram_too_old(&s);
    while (s.n_options > common)
        free(s.option[--s.n_options]);

    setenv("BECKON_TEST_TOKEN", "principal=beckon", 1);
    service_option(&s, "kafka.sasl.mechanisms=OAUTHBEARER");
    service_option(&s, "kafka.enable.sasl.oauthbearer.unsecure.jwt=true");
    service_option(&s, "kafka.sasl.oauthbearer.config=${env:BECKON_TEST_TOKEN}");
    run_once(&s, "token");
    while (s.n_options > common)
        free(s.option[--s.n_options]);

    autofree(free) char *at = secure_file("mutual");
    service_option(&s, "kafka.bootstrap.servers=%s", at);
    service_option(&s, "kafka.security.protocol=SSL");
    service_option(&s, "kafka.ssl.certificate.location=%s/client.pem", secure_dir);
    service_option(&s, "kafka.ssl.key.location=%s/client.key", secure_dir);
    run_once(&s, "certificate");
    service_close(&s);
}

static bool refused(void *arg) {
    return service_said(arg, "wrong", "uthentication failed") > 0;
}

Test(secure, no_secret_shows_in_log_output_or_arguments, .timeout = 120) {
    struct service s;
    autofree(kafka_free) struct kafka *k = NULL;
    if (!open_secure(&s, &k))
        cr_skip_test("no broker with authorization (deploy/kafka start --secure)");
    grant_all(&s, "User:beckon");
    use_password(&s, "PLAIN");
    service_option(&s, "app.log_level=debug");
    autofree(free) char *secret = secure_file("password");
    autofree(free) char *config = config_output(&s, "--principal=none", NULL);
    cr_assert_null(strstr(config, secret));
    cr_assert(strstr(config, "sasl.password: \"${file:"), "%s", config);

    pid_t pid = service_run(&s, "known", NULL);
    service_await(&s, "known", " assigned ", 1);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    char arguments[8192];
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(arguments, 1, sizeof arguments, f) : 0;
    cr_assert_gt(n, 100);
    fclose(f);
    cr_assert_null(memmem(arguments, n, secret, strlen(secret)));
    process_end(pid, SIGTERM, 20000);
    autofree(free) char *log = service_log(&s, "known");
    cr_assert_null(strstr(log, secret), "%s", log);

    setenv("BECKON_TEST_WRONG", "not-the-pass-word", 1);
    pid = service_run(&s, "wrong", "kafka.sasl.password=${env:BECKON_TEST_WRONG}");
    cr_assert(wait_until(refused, &s, 20000));
    process_end(pid, SIGKILL, 20000);
    autofree(free) char *wrong = service_log(&s, "wrong");
    cr_assert_null(strstr(wrong, "not-the-pass-word"), "%s", wrong);

    pid = service_run(&s, "plain", "kafka.sasl.password=not-the-pass-word");
    cr_assert_eq(process_end(pid, 0, 20000), 2);
    autofree(free) char *plain = service_log(&s, "plain");
    cr_assert(strstr(plain, "everybody can see a command line"), "%s", plain);
    cr_assert_null(strstr(plain, "not-the-pass-word"), "%s", plain);
    service_close(&s);
}
