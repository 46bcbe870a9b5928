/* A configuration for decoders and encoders, without schemas from elsewhere. */
#pragma once

#include "consumer/encode.h"

static inline struct config codec_config(enum data_format format) {
    return (struct config){
        .topics_format = (int)format,
        .topics_output_format = (int)format,
        .topics_schema_dir = "",
        .topics_registry = "",
        .topics_clickstream = "clickstream",
        .topics_items = "items",
        .topics_control = "user-control",
        .topics_triggers = "campaign-triggers",
        .topics_decisions = "decisions",
        .topics_outcomes = "outcomes",
        .topics_dlq = "clickstream-dlq",
        .topics_registry_timeout = 1000,
        .stream_max_string = 64,
        .stream_max_message = 65536,
        .stream_max_ahead = 3600000,
    };
}
