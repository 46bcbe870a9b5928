#include "consumer/acls.h"

#include <stdbool.h>

struct right {
    const char *kind; /* --topic, --group or --transactional-id */
    const char *name; /* empty: nothing to allow */
    bool reads, writes, prefix;
};

/* For a shell: whatever it holds is one word. */
static void quote(const char *text, FILE *to) {
    putc('\'', to);
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", to);
        else
            putc(*text, to);
    }
    putc('\'', to);
}

static void print(const struct right *r, const char *principal, FILE *to) {
    fputs("kafka-acls.sh \"$@\" --add --allow-principal ", to);
    quote(principal, to);
    fprintf(to, "%s%s %s ", r->reads ? " --operation Read" : "",
            r->writes ? " --operation Write" : "", r->kind);
    quote(r->name, to);
    fputs(r->prefix ? " --resource-pattern-type prefixed\n" : "\n", to);
}

void acls_print(const struct config *c, const char *principal, FILE *to) {
    /* Names as engine.c and stream.c make them; app.name has at most 64 bytes. Every process of
     * the deployment, whatever its app.instance, has transactional ids that begin alike. */
    char changelog[96], model[96], transactions[96];
    snprintf(changelog, sizeof changelog, "beckon-%s-changelog", c->app_name);
    snprintf(model, sizeof model, "beckon-%s-model", c->app_name);
    snprintf(transactions, sizeof transactions, "%s-", c->app_name);
    const struct right rights[] = {
        {"--topic", c->topics_clickstream, .reads = true},
        {"--topic", c->topics_items, .reads = true},
        {"--topic", c->topics_control, .reads = true},
        {"--topic", c->topics_triggers, .writes = true},
        {"--topic", c->topics_decisions, .writes = true},
        {"--topic", c->topics_outcomes, .writes = true},
        {"--topic", c->topics_dlq, .writes = true},
        {"--topic", changelog, .reads = true, .writes = true},
        {"--topic", model, .reads = true, .writes = true},
        {"--group", c->app_name, .reads = true},
        {"--transactional-id", c->stream_guarantee == EXACTLY_ONCE ? transactions : "",
         .writes = true, .prefix = true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rights); i++)
        if (*rights[i].name)
            print(&rights[i], principal, to);
}
