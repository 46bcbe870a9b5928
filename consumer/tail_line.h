/* One record of any of Beckon's topics as one aligned line for people. */
#pragma once

#include <stdio.h>

#include "model/base.h"

/* From render_json's line. Knows triggers, decisions, dead letters and events by their fields;
 * others stay JSON. `*kind` is the kind printed last (0 at first): a heading is printed when it
 * changes. */
void tail_print(FILE *to, struct str json, int *kind);
