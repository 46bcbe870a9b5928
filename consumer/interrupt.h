/* SIGINT and SIGTERM as a question that long loops ask. */
#pragma once

#include <stdbool.h>

/* From now on the first signal only raises the flag; a second one ends the process. */
void interrupt_catch(void);
bool interrupted(void);
