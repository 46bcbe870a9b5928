/* Notices that the campaign file was changed to something that can take its place. */
#pragma once

#include <sys/stat.h>

#include "consumer/options.h"
#include "policy/policy.h"

struct campaign_watch {
    const struct config *cfg;
    struct timespec mtime;
    off_t size;
    ino_t inode;
};

/* What is there now is what is in force. */
void campaign_watch_start(struct campaign_watch *w, const struct config *cfg);
/* Whether the file was changed since it was last looked at, or `asked` by a signal, and is good. A
 * faulty one, or one that changes hold-outs or experiments that `running` has in use, is told in
 * the log, once, and changes nothing. */
bool campaign_watch_look(struct campaign_watch *w, bool asked, const struct policy_set *running);
