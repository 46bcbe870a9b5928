/* What the fuzz targets of decoding share. */
#pragma once

#include <stdio.h>

#include "consumer/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A broken promise ends the run, in release builds too. */
#define MUST(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct codec {
    struct config cfg;
    struct decoder *decoder;
    struct encoder *encoder;
    struct buf out;
};

#define FUZZ_NOW INT64_C(1767323045678)
static const struct origin fuzz_origin = {"t", 0, 1, FUZZ_NOW};

/* One per format, kept for the life of the process. */
static inline struct codec *codec_of(enum data_format format) {
    static struct codec all[3];
    struct codec *c = &all[format];
    if (!c->decoder) {
        c->cfg = (struct config){
            .topics_format = (int)format,
            .topics_output_format = (int)format,
            .topics_schema_dir = "",
            .topics_registry = "",
            .stream_max_string = 256,
            .stream_max_message = 65536,
            .stream_max_ahead = 3600000,
        };
        MUST(decoder_new(&c->cfg, &c->decoder) == 0);
        MUST(encoder_new(&c->cfg, format, &c->encoder) == 0);
    }
    decoder_reset(c->decoder);
    return c;
}

static inline bool same_number(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0 || a == b || (a != a && b != b);
}

static inline bool same_event(const struct event *a, const struct event *b) {
    bool same = str_eq(a->id, b->id) && str_eq(a->user, b->user) && str_eq(a->item, b->item) &&
                str_eq(a->session, b->session) && str_eq(a->query, b->query) &&
                str_eq(a->decision, b->decision) && a->time_ms == b->time_ms &&
                same_number(a->value, b->value) && same_number(a->dwell_ms, b->dwell_ms) &&
                a->type == b->type && a->n_ctx == b->n_ctx;
    for (size_t i = 0; same && i < a->n_ctx; i++)
        same = str_eq(a->ctx[i].key, b->ctx[i].key) && str_eq(a->ctx[i].value, b->ctx[i].value);
    return same;
}
