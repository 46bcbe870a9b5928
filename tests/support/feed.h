/* A clickstream of its own making for tests that compare runs, and campaigns that answer it. */
#pragma once

#include "tests/support/service.h"

extern const char feed_campaigns[];
/* Their caps, for checking: campaign (NULL: all but transactional ones), sends, span. */
struct feed_cap {
    const char *campaign;
    size_t most;
    int64_t span_ms;
};
enum { FEED_USERS = 60, FEED_ITEMS = 40, FEED_CAPS = 3 };
extern const struct feed_cap feed_caps[FEED_CAPS];

/* Users u0, u1, …; items i0, i1, …, every fourth one a shoe. The same for every run; three
 * seconds of event time from one event to the next, some of which come twice. */
struct feed {
    struct service *s;
    uint64_t state;
    int64_t time_ms;
    unsigned n;     /* events so far, apart from repeated ones */
    unsigned users; /* who do something; FEED_USERS unless changed */
    bool lopsided;  /* half of all is u0's, half about i0 */
};
void feed_start(struct feed *f, struct service *s); /* puts the catalogue */
void feed_some(struct feed *f, unsigned events);
/* Produces some hundred events a second for so long, fewer under sanitizers. */
void feed_for(struct feed *f, int64_t ms);
/* The same until `done`; fails the test after two minutes. */
void feed_while_not(struct feed *f, bool (*done)(void *arg), void *arg);
/* The same until the instance's log has a text so often. */
void feed_until_said(struct feed *f, const char *instance, const char *text, size_t times);

/* Whether the profiles in Redis, which must have no redis.profile_interval, have all of its events,
 * as they do when each user's newest is there; for wait_until. */
bool feed_is_in_profiles(void *feed);

/* Runs another deployment evenly over the same topics; fails the test unless both sent and
 * decided the same, nothing twice, and within the caps. `isolated`: false on a cluster that
 * shows aborted records, where repeated ones count once. */
void feed_expect_as_even(struct service *s, bool isolated);
/* Ends a process of `service_run` with SIGTERM; fails the test unless it ends cleanly. */
void service_end(struct service *s, pid_t pid, const char *instance);
