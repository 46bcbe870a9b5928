/* Time zones from the system's tz database, as plain tables for the policy. Loaded once,
 * kept for the life of the process. Thread: any. */
#pragma once

#include "policy/policy.h"

/* NULL: no such zone. */
const struct tz_rules *tz_get(struct str name);
