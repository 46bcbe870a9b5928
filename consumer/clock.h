/* The wall, the monotonic and the processor clock; the only place that asks them. */
#pragma once

#include <stdint.h>

int64_t clock_wall_ms(void);
/* The wall clock as it was when first asked for, moved on by the time that passed since, suspension
 * included: spans measured by it are right although somebody sets the clock meanwhile. Any thread.
 */
int64_t clock_steady_ms(void);
int64_t clock_mono_us(void);
/* For poll: how long until a time of clock_mono_us, rounded up; 0: it is past. */
int clock_ms_until(int64_t deadline_us);
int64_t clock_cpu_us(void); /* processor time of this thread */
