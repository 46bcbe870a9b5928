#include "consumer/topic_render.h"

#include "consumer/schema_store.h"

/* Schema of a topic that carries plain Avro; 0: it does not. */
static int32_t plain_schema(const struct config *cfg, const char *topic) {
    const struct {
        const char *topic;
        int format;
        int32_t schema;
    } known[] = {
        {cfg->topics_clickstream, cfg->topics_format, SCHEMA_EVENT},
        {cfg->topics_items, cfg->topics_format, SCHEMA_ITEM},
        {cfg->topics_control, cfg->topics_format, SCHEMA_CONTROL},
        {cfg->topics_triggers, cfg->topics_output_format, SCHEMA_TRIGGER},
        {cfg->topics_decisions, cfg->topics_output_format, SCHEMA_DECISION},
        {cfg->topics_outcomes, cfg->topics_output_format, SCHEMA_OUTCOME},
        {cfg->topics_dlq, cfg->topics_output_format, SCHEMA_LETTER},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].topic, topic) == 0)
            return known[i].format == FORMAT_AVRO ? known[i].schema : 0;
    return 0;
}

int topic_render(const struct config *cfg, struct decoder *d, const char *topic, const void *p,
                 size_t n, struct buf *out) {
    int32_t schema = plain_schema(cfg, topic);
    return schema ? render_avro_json(d, schema, p, n, out) : render_json(d, p, n, out);
}
