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

Test(proof, ope_values_bandits_by_rounds_they_have_not_seen) {
    autofree(free) char *log = decisions();
    static char *const KIND[] = {"epsilon-greedy", "linucb", "thompson", "squarecb"};
    for (size_t k = 0; k < ARRAY_LEN(KIND); k++) {
        cr_assert_eq(RUN("ope", log, "--policy", KIND[k], "--context", "age", "--json", "-",
                         "--resamples", "20"),
                     EXIT_DONE);
        json_t *o = answer();
        cr_assert_eq(number_at(o, "rounds"), 2000);
        /* the second action earns .4, the first .2, and .25 was logged */
        cr_assert_gt(number_at(o, "estimates.dr.value"), .3, "%s", KIND[k]);
        json_decref(o);
    }
}

/* Triggers 1 to 4, each offered or not with probability one half. The first waited for the morning
 * and had competitors; 3 and 4 were chosen not to be sent; 5 has no outcome yet, 7 no decision;
 * the second outcome was written twice. */
static const char OWN_DECISIONS[] =
    "{\"trigger_id\":\"1\",\"campaign_id\":\"a\",\"propensity\":1,\"sent\":false,"
    "\"reason\":\"postponed\"}\n"
    "{\"trigger_id\":\"1\",\"campaign_id\":\"a\",\"propensity\":0.5,\"sent\":true,"
    "\"reason\":\"sent\"}\n"
    "{\"trigger_id\":\"1b\",\"campaign_id\":\"b\",\"propensity\":0.5,\"sent\":false,"
    "\"reason\":\"not-best\"}\n"
    "{\"trigger_id\":\"2\",\"campaign_id\":\"a\",\"propensity\":0.5,\"sent\":true,"
    "\"reason\":\"sent\"}\n"
    "{\"trigger_id\":\"3\",\"campaign_id\":\"a\",\"propensity\":0.5,\"sent\":false,"
    "\"reason\":\"policy\"}\n"
    "{\"trigger_id\":\"4\",\"campaign_id\":\"a\",\"propensity\":0.5,\"sent\":false,"
    "\"reason\":\"policy\"}\n"
    "{\"trigger_id\":\"5\",\"campaign_id\":\"a\",\"propensity\":0.5,\"sent\":true,"
    "\"reason\":\"sent\"}\n";
static const char OWN_OUTCOMES[] = "{\"trigger_id\":\"2\",\"sent\":true,\"reward\":2}\n"
                                   "{\"trigger_id\":\"1\",\"sent\":true,\"reward\":4}\n"
                                   "{\"trigger_id\":\"2\",\"sent\":true,\"reward\":2}\n"
                                   "{\"trigger_id\":\"7\",\"sent\":true,\"reward\":8}\n"
                                   "{\"trigger_id\":\"4\",\"sent\":false,\"reward\":1}\n"
                                   "{\"trigger_id\":\"3\",\"sent\":false,\"reward\":0}\n";

Test(proof, ope_takes_rewards_from_the_outcomes) {
    autofree(free) char *log = temp_dir_file(&dir, "d.jsonl"),
                        *rewards = temp_dir_file(&dir, "o.jsonl"),
                        *rounds = temp_dir_file(&dir, "rounds.csv");
    WRITE(log, OWN_DECISIONS);
    WRITE(rewards, OWN_OUTCOMES);
    cr_assert_eq(RUN("ope", log, "--rewards", rewards, "--policy", "always:a", "--folds", "1",
                     "--rounds", rounds),
                 EXIT_DONE, "%s", said);
    SAID("1 outcomes of");
    autofree(free) char *csv = read_file(rounds, NULL);
    static const char *const want[] = {"2,0,4,0.5,1,", "4,0,2,0.5,1,", "5,0,0,0.5,0,",
                                       "6,0,1,0.5,0,"};
    const char *line = csv;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        line = strchr(line, '\n') + 1;
        cr_assert_eq(strncmp(line, want[i], strlen(want[i])), 0, "%s", csv);
    }
    cr_assert_null(strchr(strchr(line, '\n') + 1, '\n'));
    cr_assert_eq(RUN("ope", log, "--rewards", rewards, "--policy", "always:nothing", "--json", "-",
                     "--folds", "1"),
                 EXIT_DONE);
    WRITE(rewards, "{\"trigger_id\":\"9\",\"sent\":true,\"reward\":2}\n");
    cr_assert_eq(RUN("ope", log, "--rewards", rewards), EXIT_FAILED);
    SAID("has an outcome in");
    WRITE(rewards, "{\"id\":\"1\"}\n");
    cr_assert_eq(RUN("ope", log, "--rewards", rewards), EXIT_USAGE);
    SAID("--rewards needs Beckon's own decisions and outcomes.");
}

Test(proof, ope_says_when_propensities_do_not_fit_what_was_chosen) {
    autofree(free) char *log = temp_dir_file(&dir, "log.csv");
    FILE *f = fopen(log, "we");
    fprintf(f, "action,reward,propensity\n");
    for (int i = 0; i < 3000; i++) /* the second has one in three, not one in five */
        fprintf(f, "%s,%d,%s\n", i % 3 ? "a" : "b", i % 7 == 0, i % 3 ? ".8" : ".2");
    fclose(f);
    cr_assert_eq(RUN("ope", log, "--resamples", "20"), EXIT_DONE);
    SAID("use --propensity estimated");
    cr_assert_eq(RUN("ope", log, "--resamples", "20", "--propensity", "estimated"), EXIT_DONE);
    cr_assert_null(strstr(said, "use --propensity estimated"), "%s", said);
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
    SAID("uniform, always:ACTION, log:FILE, column or a bandit");
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

/* Treatment adds .3 to the chance of an outcome of those who are new, nothing to others'. */
static char *people(void) {
    char *path = temp_dir_file(&dir, "people.csv");
    FILE *f = fopen(path, "w");
    struct rng rng;
    rng_seed(&rng, 4);
    fprintf(f, "treatment,bought,new,city,bought_later\n");
    for (int i = 0; i < 6000; i++) {
        bool treated = rng_below(&rng, 2), fresh = rng_below(&rng, 2);
        bool bought = rng_unit(&rng) < .2 + (treated && fresh ? .3 : 0);
        fprintf(f, "%s,%s,%d,%s,%d\n", treated ? "mail" : "control", bought ? "1" : "", fresh,
                i % 3 ? "Graz" : "Wien", bought);
    }
    fclose(f);
    return path;
}

Test(proof, uplift_tells_whom_a_treatment_changes) {
    autofree(free) char *log = people(), *page = temp_dir_file(&dir, "uplift.html");
    cr_assert_eq(RUN("uplift", log, "--map", "bought=outcome", "--feature", "new", "--feature",
                     "city", "--shares", "1,1", "--resamples", "100", "--report", page, "--json",
                     "-"),
                 EXIT_DONE);
    json_t *o = answer();
    cr_assert_float_eq(number_at(o, "arms.mail.effect.value"), .15, .03);
    cr_assert_lt(number_at(o, "arms.mail.effect.low"), .15);
    cr_assert_gt(number_at(o, "arms.mail.effect.high"), .15);
    cr_assert_gt(number_at(o, "arms.mail.learner.qini.low"), 0);
    cr_assert_gt(number_at(o, "arms.mail.learner.auuc.value"), .08);
    cr_assert_float_eq(number_at(o, "arms.mail.bands.0.predicted"), .3, .06);
    cr_assert_float_eq(number_at(o, "arms.mail.bands.4.value"), 0, .08);
    cr_assert_eq(json_array_size(json_object_get(
                     json_object_get(json_object_get(o, "arms"), "mail"), "groups")),
                 4);
    cr_assert_gt(number_at(o, "sample_ratio_p"), .001);
    json_decref(o);
    autofree(free) char *html = read_file(page, NULL);
    cr_assert_not_null(strstr(html, "mail against control"));
    cr_assert_not_null(strstr(html, "Qini curve"));
}

Test(proof, uplift_warns_of_arms_that_are_not_filled_as_planned) {
    autofree(free) char *log = people();
    cr_assert_eq(RUN("uplift", log, "--map", "bought=outcome", "--shares", "1,3"), EXIT_DONE);
    SAID("warning: arms are not filled as planned");
    SAID("average effect   +1");
    cr_assert_null(strstr(said, "Qini"));
}

Test(proof, uplift_asks_for_what_it_cannot_guess) {
    autofree(free) char *log = people();
    cr_assert_eq(RUN("uplift", log), EXIT_USAGE);
    SAID("which column is the outcome? Say --map COLUMN=outcome");
    cr_assert_eq(RUN("uplift", log, "--map", "bought=outcome", "--map", "city=treatment"),
                 EXIT_USAGE);
    SAID("Say --control VALUE; there are \"Wien\", \"Graz\"");
    cr_assert_eq(RUN("uplift", log, "--map", "bought=outcome", "--shares", "1"), EXIT_USAGE);
    SAID("2 numbers as in 1,1,2");
    cr_assert_eq(RUN("uplift", log, "--map", "bought=outcome", "--feature", "newt"), EXIT_USAGE);
    SAID("did you mean new?");
}

/* A log as `beckon tail decisions --json` prints it, of 2,000 people: the second campaign is sent
 * half as often in the south; caps hold back a tenth. And a file that says who lives where. */
static void audited(char **ret_log, char **ret_people) {
    *ret_log = temp_dir_file(&dir, "decisions.jsonl");
    *ret_people = temp_dir_file(&dir, "customers.csv");
    FILE *log = fopen(*ret_log, "w"), *people = fopen(*ret_people, "w");
    struct rng rng;
    rng_seed(&rng, 5);
    fprintf(people, "user_id,region,age\n");
    for (int i = 0; i < 2000; i++) {
        bool south = i % 2;
        fprintf(people, "u%d,%s,%d\n", i, south ? "south" : "north", 18 + i % 60);
        for (int k = 0; k < 2; k++) {
            double p = k && south ? .25 : .5;
            bool capped = rng_unit(&rng) < .1, sent = !capped && rng_unit(&rng) < p;
            fprintf(log,
                    "{\"user_id\":\"u%d\",\"campaign_id\":\"%s\",\"sent\":%s,\"reason\":\"%s\","
                    "\"propensity\":%g}\n",
                    i, k ? "second" : "first", sent ? "true" : "false",
                    capped ? "cap-user"
                    : sent ? "sent"
                           : "policy",
                    capped ? 1
                    : sent ? p
                           : 1 - p);
        }
    }
    fclose(log);
    fclose(people);
}

Test(proof, audit_finds_the_group_that_is_left_out) {
    autofree(free) char *log = NULL, *people = NULL, *page = temp_dir_file(&dir, "audit.html");
    audited(&log, &people);
    cr_assert_eq(
        RUN("audit", log, "--people", people, "--by", "region", "--by", "age", "--report", page),
        EXIT_FAILED);
    SAID("4000 decisions, 2000 people, 2 campaigns");
    SAID("breach: second: region = south offered too seldom");
    cr_assert_null(strstr(said, "breach: first"));
    SAID("cap-user");
    SAID("verdict: out of bounds");
    autofree(free) char *html = read_file(page, NULL);
    cr_assert_not_null(strstr(html, "Are the propensities true?"));
    cr_assert_not_null(strstr(html, "second"));
    cr_assert_eq(
        RUN("audit", log, "--people", people, "--by", "region", "--where", "campaign_id=first"),
        EXIT_DONE);
    SAID("verdict: within bounds");
    cr_assert_eq(RUN("audit", log, "--people", people, "--by", "region", "--ratio-low", "0",
                     "--ratio-high", "0"),
                 EXIT_DONE);
}

Test(proof, audit_tells_scripts_all_it_knows) {
    autofree(free) char *log = NULL, *people = NULL;
    audited(&log, &people);
    cr_assert_eq(
        RUN("audit", log, "--by", "reason", "--json", "-", "--ratio-low", "0", "--ratio-high", "0"),
        EXIT_DONE);
    json_t *o = answer();
    cr_assert_eq(number_at(o, "decisions"), 4000);
    cr_assert_eq(number_at(o, "breaches"), 0);
    cr_assert_eq(number_at(o, "reasons.all campaigns.cap-user") +
                     number_at(o, "reasons.all campaigns.sent") +
                     number_at(o, "reasons.all campaigns.policy"),
                 4000);
    /* the bins of .25 and .5: sent as often as was said */
    cr_assert_float_eq(number_at(o, "calibration.0.propensity"), .25, 1e-9);
    cr_assert_float_eq(number_at(o, "calibration.0.sent"), .25, .05);
    cr_assert_float_eq(number_at(o, "calibration.1.sent"), .5, .04);
    json_decref(o);
}

Test(proof, audit_says_what_it_needs) {
    autofree(free) char *log = temp_dir_file(&dir, "log.csv");
    WRITE(log, "who,went\na,1\nb,0\n");
    cr_assert_eq(RUN("audit", log), EXIT_USAGE);
    SAID("which column is the sent? Say --map COLUMN=sent");
    cr_assert_eq(RUN("audit", log, "--map", "went=sent", "--by", "age"), EXIT_USAGE);
    SAID("has no column age");
    cr_assert_eq(RUN("audit", log, "--map", "went=sent", "--people", log), EXIT_USAGE);
    SAID("--people joins by user");
}
