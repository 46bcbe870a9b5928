#include "consumer/letter.h"

#include "consumer/clock.h"

int letter_put(struct outbox *to, const struct config *cfg, struct encoder *e, struct buf *scratch,
               const rd_kafka_message_t *m, const struct origin *from, const struct dead *why) {
    if (!*cfg->topics_dlq)
        return 0;
    struct dead_letter d = {
        .reason = why->reason,
        .detail = why->detail,
        .schema_id = why->schema_id,
        .origin = *from,
        .key = m->key,
        .key_n = MIN(m->key_len, (size_t)DEAD_LETTER_KEY_MAX),
        .payload = m->payload,
        .payload_n = m->len,
        .time_ms = clock_wall_ms(),
    };
    int r = encode_dead_letter(e, &d, scratch);
    if (r < 0)
        return r;
    rd_kafka_headers_t *had = NULL, *headers;
    if (rd_kafka_message_headers(m, &had) == RD_KAFKA_RESP_ERR_NO_ERROR && had)
        headers = rd_kafka_headers_copy(had);
    else
        headers = rd_kafka_headers_new(1);
    rd_kafka_header_add(headers, "beckon-reason", -1, dead_reason_name(why->reason), -1);
    return outbox_put(to, cfg->topics_dlq, RD_KAFKA_PARTITION_UA, m->key, d.key_n, scratch->p,
                      scratch->n, 0, headers);
}
