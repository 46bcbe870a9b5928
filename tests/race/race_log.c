/* Lines of several threads stay whole, whatever the values in them. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/log.h"
#include "model/base.h"

enum { THREADS = 4, LINES = 500 };

static void *talk(void *arg) {
    int me = *(int *)arg;
    for (int i = 0; i < LINES; i++) {
        log_set_level(i % 2 ? LOG_INFO : LOG_WARNING);
        log_warning("race", "thread=%d line=%d text=%s", me, i, log_q("two words\n= \"q\""));
    }
    return NULL;
}

int main(void) {
    FILE *f = tmpfile();
    if (!f || fcntl(fileno(f), F_SETFL, O_APPEND) < 0)
        return 1;
    log_set_fd(fileno(f));
    pthread_t thread[THREADS];
    int number[THREADS], next[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        number[i] = i;
        if (pthread_create(&thread[i], NULL, talk, &number[i]))
            return 1;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    log_set_fd(STDERR_FILENO);

    rewind(f);
    char line[512];
    int lines = 0;
    for (; fgets(line, sizeof line, f); lines++) {
        int me, i;
        char *rest = strchr(line, ' ');
        if (!rest || sscanf(rest, " warning race thread=%d line=%d ", &me, &i) != 2 || me < 0 ||
            me >= THREADS || i != next[me]++ ||
            !strstr(rest, " text=\"two words\\n= \\\"q\\\"\"\n")) {
            fprintf(stderr, "broken line: %s", line);
            return 1;
        }
    }
    fclose(f);
    return lines == THREADS * LINES ? 0 : 1;
}
