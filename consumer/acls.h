/* What Kafka has to allow a deployment, and nothing more. */
#pragma once

#include <stdio.h>

#include "consumer/options.h"

/* Prints a shell script that gives these rights to `principal` ("User:beckon"); its arguments
 * are kafka-acls.sh's for reaching the cluster. One line per resource:
 *   kafka-acls.sh "$@" --add --allow-principal 'User:beckon' --operation Read --topic 'clickstream'
 * Making topics is not among them: the administrator does, or grants Create as well. */
void acls_print(const struct config *cfg, const char *principal, FILE *to);
