/* The wall, the monotonic and the processor clock; the only place that asks them. */
#pragma once

#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_us(void);
int64_t clock_cpu_us(void); /* processor time of this thread */
