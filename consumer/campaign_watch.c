#include "consumer/campaign_watch.h"

#include "consumer/campaign_file.h"
#include "consumer/log.h"
#include "policy/evidence.h"

/* False: it cannot be seen, as while somebody replaces it. */
static bool look(const struct config *cfg, struct campaign_watch *ret) {
    struct stat st;
    if (!*cfg->policy_campaigns || stat(cfg->policy_campaigns, &st) < 0)
        return false;
    *ret = (struct campaign_watch){cfg, st.st_mtim, st.st_size, st.st_ino};
    return true;
}

void campaign_watch_start(struct campaign_watch *w, const struct config *cfg) {
    if (!look(cfg, w))
        *w = (struct campaign_watch){.cfg = cfg};
}

bool campaign_watch_look(struct campaign_watch *w, bool asked, const struct policy_set *running) {
    struct campaign_watch now;
    const char *path = w->cfg->policy_campaigns;
    if (!look(w->cfg, &now)) {
        if (asked)
            log_warning("campaigns-kept", "file=%s reason=\"cannot be read\"", log_q(path));
        return false;
    }
    if (!asked && now.mtime.tv_sec == w->mtime.tv_sec && now.mtime.tv_nsec == w->mtime.tv_nsec &&
        now.size == w->size && now.inode == w->inode)
        return false;
    *w = now;
    autofree(policy_set_free) struct policy_set *set = NULL;
    if (campaign_file_load(w->cfg, &set) < 0) {
        log_warning("campaigns-kept", "file=%s reason=\"the new one has faults\"", log_q(path));
        return false;
    }
    char changed[256];
    if (policy_set_conflicts(running, set, changed, sizeof changed)) {
        log_warning("campaigns-kept", "file=%s reason=\"it changes what is in use: %s\"",
                    log_q(path), changed);
        return false;
    }
    log_info("campaigns-change", "file=%s cause=%s campaigns=%zu", log_q(path),
             asked ? "signal" : "file", policy_campaigns(set));
    return true;
}
