/* For loops that have no kernel in model/kernels.h: compiled for wider vectors, too. */
#pragma once

#include "model/base.h"

/* Chosen when the program is loaded, before the thread sanitizer is up. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define WIDE_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define WIDE_CLONES
#endif

/* Eight numbers at once, wherever they lie. */
typedef float f32x8 __attribute__((vector_size(8 * sizeof(float)), aligned(4), may_alias));
