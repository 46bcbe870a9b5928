/* The commands that prove what a policy earned, over files written here. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "consumer/cli.h"
#include "model/base.h"
#include "tests/support/support.h"

static struct temp_dir dir;
static char *said; /* output and errors of the last run */

static void make(void) {
    temp_dir_make(&dir);
}

static void clear(void) {
    free(said);
    temp_dir_remove(&dir);
}

TestSuite(proof, .init = make, .fini = clear);

#define RUN(...) run((char *[]){(char *)beckon_path(), __VA_ARGS__, NULL})
static int run(char *const argv[]) {
    autofree(free) char *log = temp_dir_file(&dir, "out");
    unlink(log); /* output is appended */
    int status = process_end(process_start(argv, log), 0, 60000);
    free(said);
    said = read_file(log, NULL);
    return status;
}

#define WRITE(path, text) write_file(path, text, sizeof(text) - 1)
#define SAID(text) cr_assert_not_null(strstr(said, text), "no \"%s\" in:\n%s", text, said)

/* A path into a JSON object, as in "estimates.dr.value". */
static double number_at(const json_t *o, const char *path) {
    char *copy = strdup(path);
    for (char *save, *key = strtok_r(copy, ".", &save); key; key = strtok_r(NULL, ".", &save))
        o = json_is_array(o) ? json_array_get(o, (size_t)atoi(key)) : json_object_get(o, key);
    free(copy);
    cr_assert(json_is_number(o), "no number at %s in:\n%s", path, said);
    return json_number_value(o);
}

static json_t *answer(void) {
    json_t *o = json_loads(said, 0, NULL);
    cr_assert_not_null(o, "%s", said);
    return o;
}

/* Two actions at two positions, the second twice as good; a logging policy that prefers the first.
 */
static char *decisions(void) {
    char *path = temp_dir_file(&dir, "decisions.csv");
    FILE *f = fopen(path, "w");
    struct rng rng;
    rng_seed(&rng, 3);
    fprintf(f, "item_id,position,click,pscore,age\n");
    for (int i = 0; i < 4000; i++) {
        bool second = rng_unit(&rng) < .25;
        fprintf(f, "%s,%d,%d,%s,%d\n", second ? "b" : "a", 1 + i % 2,
                rng_unit(&rng) < (second ? .4 : .2), second ? ".25" : ".75", i % 50);
    }
    fclose(f);
    return path;
}

Test(proof, ope_values_a_policy_that_did_not_write_the_log) {
    autofree(free) char *log = decisions();
    cr_assert_eq(RUN("ope", log, "--policy", "always:b", "--context", "age", "--json", "-",
                     "--resamples", "200"),
                 EXIT_DONE);
    json_t *o = answer();
    cr_assert_float_eq(number_at(o, "estimates.snips.value"), .4, .05);
    cr_assert_float_eq(number_at(o, "estimates.dr.value"), .4, .05);
    cr_assert_lt(number_at(o, "estimates.dr.studentized.0"), .4);
    cr_assert_gt(number_at(o, "estimates.dr.studentized.1"), .4);
    cr_assert_float_eq(number_at(o, "logged.value"), .25, .03);
    cr_assert_float_eq(number_at(o, "positions.2.estimates.ips.value"), .4, .08);
    cr_assert_eq(json_array_size(json_object_get(o, "warnings")), 0);
    json_decref(o);
}

Test(proof, ope_compares_with_what_the_policy_earned_in_its_own_log) {
    autofree(free) char *log = decisions(), *page = temp_dir_file(&dir, "ope.html"),
                        *rounds = temp_dir_file(&dir, "rounds.csv"), *policy = NULL;
    cr_assert_gt(asprintf(&policy, "log:%s", log), 0);
    cr_assert_eq(RUN("ope", log, "--policy", policy, "--propensity", "estimated", "--report", page,
                     "--rounds", rounds, "--resamples", "50"),
                 EXIT_DONE);
    SAID("in its own log");
    SAID("mean weight 1.0000");
    autofree(free) char *html = read_file(page, NULL), *csv = read_file(rounds, NULL);
    cr_assert_not_null(strstr(html, "Off-policy evaluation"));
    cr_assert_not_null(strstr(html, "</html>"));
    cr_assert_eq(strncmp(csv, "line,position,reward,propensity,target,model,model_mean\n2,0,", 60),
                 0);
}

Test(proof, ope_says_what_is_wrong_and_where) {
    autofree(free) char *log = temp_dir_file(&dir, "log.csv");
    WRITE(log, "action,reward,p\na,1,.5\nb,,1.5\n");
    cr_assert_eq(RUN("ope", log), EXIT_USAGE);
    SAID("which column is the propensity? Say --map COLUMN=propensity");
    cr_assert_eq(RUN("ope", log, "--map", "p=propensity"), EXIT_USAGE);
    SAID("log.csv:3: p is 1.5; it must be a number from 1e-09 to 1");
    cr_assert_eq(RUN("ope", log, "--map", "p=propensities"), EXIT_USAGE);
    SAID("the fields are action, reward, propensity, position, group, target");
    cr_assert_eq(
        RUN("ope", log, "--map", "p=propensity", "--where", "action=a", "--policy", "wish"),
        EXIT_USAGE);
    SAID("uniform, always:ACTION, log:FILE or column");
    cr_assert_eq(
        RUN("ope", log, "--map", "p=propensity", "--where", "action=a", "--policy", "always:z"),
        EXIT_USAGE);
    SAID("the log has no such action");
    cr_assert_eq(RUN("ope", "/nowhere.csv"), EXIT_FAILED);
}

Test(proof, ope_warns_of_an_answer_that_is_worthless) {
    autofree(free) char *log = temp_dir_file(&dir, "log.csv");
    WRITE(log, "action,reward,propensity\na,1,.9\nb,0,.1\na,0,.9\n");
    cr_assert_eq(RUN("ope", log, "--policy", "always:b"), EXIT_DONE);
    SAID("warning: few effective samples");
    SAID("warning: fewer than ten rewarded rounds");
}
