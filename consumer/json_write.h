/* Records as JSON objects, with the field names of deploy/schemas; what is absent is left out. */
#pragma once

#include "consumer/encode.h"

void json_write_event(struct buf *out, const struct event *e, const char *type_name);
void json_write_item(struct buf *out, const struct item_info *i);
void json_write_control(struct buf *out, const struct control_info *c);
/* `decision`: with `sent` and `reason`. The offer is set in as the object it is. */
void json_write_outcome(struct buf *out, const struct outcome_record *r);
void json_write_trigger(struct buf *out, const struct trigger_record *t, bool decision);
void json_write_dead_letter(struct buf *out, const struct dead_letter *d);

/* "name": value, with the comma or brace before it that the buffer's end asks for. */
void json_name(struct buf *out, const char *name);
/* Bytes under `name` if they read as text, else base64 under NAME_base64. */
void json_bytes(struct buf *out, const char *name, struct str bytes);
/* Text that holds a JSON object under `name`, as that object; other text as a string. */
void json_object_text(struct buf *out, const char *name, struct str text);
