#include "consumer/tail_line.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <time.h>

#include "consumer/text.h"

enum { CELL_MAX = 64 }; /* characters, so that no long value looks like lines of its own */

/* Column: heading, JSON field, width (0: the rest of the line). */
struct column {
    const char *heading, *field;
    int width;
};

static const struct column trigger_columns[] = {
    {"time", "time", 24},      {"user", "user_id", 20}, {"campaign", "campaign_id", 24},
    {"channel", "channel", 8}, {"item", "item_id", 14}, {"offer", "offer", 0},
};
static const struct column decision_columns[] = {
    {"time", "time", 24},
    {"user", "user_id", 20},
    {"campaign", "campaign_id", 24},
    {"channel", "channel", 8},
    {"sent", "sent", 5},
    {"reason", "reason", 16},
    {"propensity", "propensity", 10},
    {"item", "item_id", 0},
};
static const struct column outcome_columns[] = {
    {"time", "time", 24},        {"user", "user_id", 20},     {"campaign", "campaign_id", 24},
    {"opened", "opened", 6},     {"redeemed", "redeemed", 8}, {"bought", "purchases", 6},
    {"discount", "discount", 9}, {"margin", "margin", 9},     {"reward", "reward", 0},
};
static const struct column letter_columns[] = {
    {"time", "time", 24},     {"reason", "reason", 19}, {"topic", "topic", 16},
    {"part", "partition", 4}, {"offset", "offset", 10}, {"bytes", "payload_bytes", 7},
    {"detail", "detail", 0},
};
static const struct column event_columns[] = {
    {"time", "time", 24},    {"user", "user_id", 20}, {"type", "type", 16},
    {"item", "item_id", 20}, {"value", "value", 10},  {"session", "session_id", 18},
    {"query", "query", 0},
};

struct kind {
    const char *marks[3]; /* fields that only this kind has together */
    const struct column *columns;
    size_t n;
};

static const struct kind kinds[] = {
    {{"trigger_id", "reward", "closed"}, outcome_columns, ARRAY_LEN(outcome_columns)},
    {{"trigger_id", "sent", "campaign_id"}, decision_columns, ARRAY_LEN(decision_columns)},
    {{"trigger_id", "campaign_id", "channel"}, trigger_columns, ARRAY_LEN(trigger_columns)},
    {{"reason", "payload_bytes", "topic"}, letter_columns, ARRAY_LEN(letter_columns)},
    {{"user_id", "type", "time"}, event_columns, ARRAY_LEN(event_columns)},
};

static void put_time(FILE *to, int64_t ms, int width) {
    struct tm tm;
    time_t s = (time_t)((ms - ((ms % 1000) + 1000) % 1000) / 1000);
    char text[40];
    if (!gmtime_r(&s, &tm) || tm.tm_year > 8099 || tm.tm_year < -1900) {
        fprintf(to, "%-*lld", width, (long long)ms);
        return;
    }
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(((ms % 1000) + 1000) % 1000));
    fprintf(to, "%-*s", width, text);
}

/* Text without commands; padded, and cut where others follow, by characters, not bytes. */
static void put_text(FILE *to, const char *s, size_t n, int width) {
    int shown = 0, most = width ? CELL_MAX : INT_MAX;
    for (size_t i = 0; i < n && shown < most; shown++) {
        uint32_t c;
        size_t len = text_char((struct str){s + i, n - i}, &c);
        if (shown == most - 1 && i + len < n)
            fputs("…", to);
        else if (text_commands(c))
            fputc('?', to);
        else
            fwrite(s + i, 1, len, to);
        i += len;
    }
    for (; shown < width; shown++)
        fputc(' ', to);
}

static void put_value(FILE *to, const struct column *c, const json_t *v) {
    if (strcmp(c->field, "time") == 0 && json_is_integer(v)) {
        put_time(to, json_integer_value(v), c->width);
    } else if (json_is_string(v)) {
        put_text(to, json_string_value(v), json_string_length(v), c->width);
    } else if (json_is_boolean(v)) {
        fprintf(to, "%-*s", c->width, json_is_true(v) ? "yes" : "no");
    } else if (json_is_number(v)) {
        fprintf(to, "%-*.12g", c->width, json_number_value(v));
    } else if (v && !json_is_null(v)) {
        char *text = json_dumps(v, JSON_COMPACT);
        if (text)
            put_text(to, text, strlen(text), c->width);
        free(text);
    } else {
        fprintf(to, "%-*s", c->width, "-");
    }
}

static const struct kind *kind_of(const json_t *o) {
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(kinds[i].marks) && json_object_get(o, kinds[i].marks[k]))
            k++;
        if (k == ARRAY_LEN(kinds[i].marks))
            return &kinds[i];
    }
    return NULL;
}

void tail_print(FILE *to, struct str json, int *kind) {
    json_t *o = json_loadb(json.p, json.n, JSON_ALLOW_NUL, NULL);
    const struct kind *k = json_is_object(o) ? kind_of(o) : NULL;
    if (!k) {
        put_text(to, json.p, json.n, 0);
        fputc('\n', to);
        json_decref(o);
        return;
    }
    int number = (int)(k - kinds) + 1;
    if (*kind != number) {
        for (size_t i = 0; i < k->n; i++)
            fprintf(to, "%s%-*s", i ? " " : "", k->columns[i].width, k->columns[i].heading);
        fputc('\n', to);
        *kind = number;
    }
    for (size_t i = 0; i < k->n; i++) {
        if (i)
            fputc(' ', to);
        put_value(to, &k->columns[i], json_object_get(o, k->columns[i].field));
    }
    fputc('\n', to);
    json_decref(o);
}
