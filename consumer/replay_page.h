/* What a replay found, as one self-contained HTML page: how good the lists are, over time and by
 * what is known of the user, what each part adds, and how far they stick to what is popular. */
#pragma once

#include "consumer/replay_report.h"

/* 0, -ENOMEM, or the error of writing it. */
int replay_page_write(const struct replay_report *rep, const char *path);
