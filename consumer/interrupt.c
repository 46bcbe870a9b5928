#include "consumer/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t raised;

static void on_signal(int sig) {
    (void)sig;
    raised = 1;
}

void interrupt_catch(void) {
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

bool interrupted(void) {
    return raised != 0;
}
