#include "consumer/tail_line.h"

#include <criterion/criterion.h>

static int kind;

static void prints(const char *json, const char *want) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    tail_print(f, str_of(json), &kind);
    fclose(f);
    cr_assert_str_eq(text, want);
    free(text);
}

Test(tail_line, triggers_are_aligned_under_one_heading) {
    prints(
        "{\"trigger_id\":\"t\",\"user_id\":\"u1\",\"campaign_id\":\"cart\",\"channel\":\"email\","
        "\"offer\":\"{\\\"percent\\\":10}\",\"item_id\":null,"
        "\"time\":\"2026-01-02T03:04:05.678Z\"}",
        "time                     user                 campaign                 channel  item   "
        "        offer\n"
        "2026-01-02T03:04:05.678Z u1                   cart                     email    -      "
        "        {\"percent\":10}\n");
    prints("{\"trigger_id\":\"t\",\"user_id\":\"\xc3\xa9\",\"campaign_id\":\"c\",\"channel\":\"p\","
           "\"offer\":\"{}\",\"item_id\":\"i\",\"time\":1767323045678}",
           "2026-01-02T03:04:05.678Z \xc3\xa9                    c                        p        "
           "i              {}\n");
}

Test(tail_line, decisions_tell_whether_and_why) {
    prints("{\"trigger_id\":\"t\",\"user_id\":\"u\",\"campaign_id\":\"c\",\"channel\":\"push\","
           "\"sent\":false,\"reason\":\"quiet-hours\",\"propensity\":0.25,\"item_id\":\"i\","
           "\"time\":0}",
           "time                     user                 campaign                 channel  sent  "
           "reason           propensity item\n"
           "1970-01-01T00:00:00.000Z u                    c                        push     no    "
           "quiet-hours      0.25       i\n");
}

Test(tail_line, dead_letters_cannot_command_the_terminal) {
    prints("{\"reason\":\"invalid-utf8\",\"detail\":\"\\u001b[2J\\u0007\",\"topic\":\"clicks\","
           "\"partition\":3,\"offset\":12,\"payload_bytes\":40,\"time\":-1}",
           "time                     reason              topic            part offset     bytes   "
           "detail\n"
           "1969-12-31T23:59:59.999Z invalid-utf8        clicks           3    12         40      "
           "?[2J?\n");
}

/* What `id` looks like where a user's is shown, in a line of its own after its heading. */
static void shows(const char *id, const char *want) {
    char *text = NULL, json[11000], cell[200];
    size_t n = 0;
    int none = 0;
    snprintf(json, sizeof json, "{\"user_id\":\"%s\",\"type\":\"view\",\"time\":0}", id);
    FILE *f = open_memstream(&text, &n);
    tail_print(f, str_of(json), &none);
    fclose(f);
    char *line = strchr(text, '\n') + 1;
    snprintf(cell, sizeof cell, "1970-01-01T00:00:00.000Z %s view ", want);
    cr_assert_eq(strncmp(line, cell, strlen(cell)), 0, "%s, not %s", line, cell);
    cr_assert_eq(strchr(line, '\n'), text + n - 1, "%s", line);
    free(text);
}

Test(tail_line, no_id_can_look_like_a_line_or_turn_one_around) {
    shows("a\\nb\\r\\u0000\\tc", "a?b???c             ");
    shows("\xc2\x9b"
          "2J\xc2\x85"
          "x",
          "?2J?x               ");
    shows("\xe2\x80\xae"
          "abc\xe2\x80\xac",
          "?abc?               ");
    shows("\xe2\x80\xa8\xe2\x81\xa6\xd8\x9c\xe2\x80\x8f", "????                ");
    shows("\xd7\x90\xd7\x91 \xf0\x9f\x9b\x92", "\xd7\x90\xd7\x91 \xf0\x9f\x9b\x92                ");
    shows("{x}\\\"=,", "{x}\"=,              ");
    static char kilobytes[10001], cut[67];
    memset(kilobytes, 'x', 10000);
    memset(cut, 'x', 63);
    strcpy(cut + 63, "\xe2\x80\xa6");
    shows(kilobytes, cut);
    kilobytes[64] = '\0';
    shows(kilobytes, kilobytes);
}

Test(tail_line, what_is_unknown_stays_json) {
    prints("{\"a\":\"\xc2\x9b\xe2\x80\xae\"}", "{\"a\":\"??\"}\n");
    prints("\xff\x1b[2J\xe2\x80", "??[2J?\n");
    prints("{\"a\":1}", "{\"a\":1}\n");
    prints("[1]", "[1]\n");
    prints("not json", "not json\n");
}
