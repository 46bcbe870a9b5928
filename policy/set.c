#include <math.h>

#include "policy/internal.h"

#define HORIZON_MS (INT64_C(30) * 86400000)

static const char *const reason_names[PR_COUNT] = {
#define X(sym, name, help) name,
    POLICY_REASONS(X)
#undef X
};

static const char *const method_names[METHOD_COUNT] = {
#define X(sym, name, help) name,
    POLICY_METHODS(X)
#undef X
};

static const char *const trigger_names[TRIGGER_COUNT] = {
#define X(sym, name, help) name,
    TRIGGER_KINDS(X)
#undef X
};

const char *policy_reason_name(enum policy_reason r) {
    return (unsigned)r < PR_COUNT ? reason_names[r] : "unknown";
}

const char *trigger_kind_name(enum trigger_kind k) {
    return (unsigned)k < TRIGGER_COUNT ? trigger_names[k] : "unknown";
}

const char *policy_method_name(enum policy_method m) {
    return (unsigned)m < METHOD_COUNT ? method_names[m] : "unknown";
}

void policy_set_free(struct policy_set *s) {
    if (!s)
        return;
    for (size_t i = 0; s->c && i < s->n; i++) {
        for (size_t j = 0; j < s->c[i].n_audience; j++)
            condition_free(&s->c[i].audience[j]);
        free(s->c[i].audience);
    }
    for (size_t i = 0; i < s->n_experiments; i++)
        experiment_free(&s->experiment[i]);
    free(s->experiment);
    evidence_list_free(s->evidence);
    for (size_t i = 0; i < s->n_groups; i++) {
        deep_free(s->group[i].deep);
        learned_free(s->group[i].learned);
    }
    for (size_t i = 0; i < s->n_pools; i++)
        pool_free(&s->pool[i]);
    free(s->c);
    free(s->index_memory);
    free(s->text_memory);
    ledger_free(s->ledger);
    free(s);
}

static bool caps_valid(const struct caps *c) {
    if (c->n > CAPS_MAX)
        return false;
    for (size_t i = 0; i < c->n; i++)
        if (c->cap[i].n == 0 || c->cap[i].n > CAP_COUNT_MAX || c->cap[i].per_ms <= 0)
            return false;
    return true;
}

static int64_t caps_keep_ms(const struct caps *c) {
    int64_t keep = 0;
    for (size_t i = 0; i < c->n; i++)
        keep = MAX(keep, c->cap[i].per_ms);
    return keep;
}

static bool trigger_valid(const struct trigger_spec *t) {
    switch (t->kind) {
    case TRIGGER_CART_ABANDONED:
        return t->after_ms > 0;
    case TRIGGER_VIEWED:
        return t->times > 0 && t->times <= VIEWED_TIMES_MAX && t->within_ms > 0;
    case TRIGGER_PRICE_DROP:
        return t->within_ms > 0 && t->percent >= 0 && t->percent <= 100;
    case TRIGGER_LAPSED:
        return t->days_ms > 0;
    case TRIGGER_EVENT:
        return t->type < EV_MAX;
    case TRIGGER_WELCOME:
        return t->session > 0;
    case TRIGGER_FOLLOWS:
        return t->after_ms > 0 && t->campaign.n;
    case TRIGGER_COUNT:
        break;
    }
    return false;
}

static bool spec_valid(const struct campaign_spec *c, size_t n_pools) {
    for (size_t i = 0; i < c->n_offers && i < OFFERS_MAX; i++)
        if (c->offer[i].pool > n_pools || c->offer[i].percent < 0 || c->offer[i].amount < 0)
            return false;
    return c->n_offers && c->n_offers <= OFFERS_MAX && c->id.n && c->channel.n && c->valid_ms > 0 &&
           c->window_ms >= 0 && caps_valid(&c->caps) && trigger_valid(&c->trigger) &&
           c->quiet.from_min < 1440 && c->quiet.to_min < 1440 &&
           (!c->quiet.on || c->quiet.from_min != c->quiet.to_min) &&
           (c->reentry != REENTRY_AFTER || c->reentry_ms > 0);
}

struct str text_keep(char **to, struct str s) {
    struct str kept = {*to, s.n};
    if (s.n)
        memcpy(*to, s.p, s.n);
    (*to)[s.n] = 0;
    *to += s.n + 1;
    return kept;
}

static int channel_index(struct policy_set *s, struct str name, char **text) {
    int found = policy_channel_find(s, name);
    if (found >= 0)
        return found;
    if (s->n_channels == POLICY_CHANNELS_MAX)
        return -E2BIG;
    struct channel *ch = &s->channel[s->n_channels];
    *ch = (struct channel){.name = text_keep(text, name), .hash = (uint32_t)hash_str(name, 0)};
    return (int)s->n_channels++;
}

static int group_find(const struct policy_set *s, struct str name) {
    for (size_t i = 0; i < s->n_groups; i++)
        if (str_eq(s->group[i].spec.name, name))
            return (int)i;
    return -1;
}

static int compile_groups(struct policy_set *s, const struct policy_spec *spec, char **text) {
    s->n_groups = 1;
    s->group[0].kind = &policy_rules;
    for (size_t i = 0; i < spec->n_groups; i++) {
        struct group *g = &s->group[s->n_groups];
        if (!spec->group[i].name.n || spec->group[i].method >= METHOD_COUNT)
            return -EINVAL;
        if (group_find(s, spec->group[i].name) >= 0)
            return -EEXIST;
        *g = (struct group){.spec = spec->group[i], .kind = &policy_rules};
        g->spec.name = text_keep(text, spec->group[i].name);
        s->n_groups++;
        if (g->spec.method == METHOD_RANDOM)
            g->kind = &policy_random;
        if (g->spec.method == METHOD_RULES || g->spec.method == METHOD_RANDOM)
            continue;
        bool deep = g->spec.method == METHOD_DQN;
        int r = learned_new(deep ? METHOD_THOMPSON : g->spec.method, s->trigger_seed, &g->learned);
        if (r == 0 && deep) {
            g->spec.horizon_ms = g->spec.horizon_ms > 0 ? g->spec.horizon_ms : HORIZON_MS;
            r = deep_new(g->learned, g->spec.horizon_ms, s->trigger_seed, &g->deep);
        }
        if (r < 0)
            return r;
        if (deep)
            policy_set_use(s, s->n_groups - 1, &policy_deep, g->deep);
        else
            policy_set_use(s, s->n_groups - 1, &policy_learned, g->learned);
    }
    return 0;
}

static int compile_pools(struct policy_set *s, const struct policy_spec *spec) {
    for (size_t i = 0; i < spec->n_pools; i++) {
        int r = pool_new(&spec->pool[i], &s->pool[s->n_pools++]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What the set keeps of the texts. */
static size_t text_bytes(const struct policy_spec *spec) {
    size_t bytes = 1;
    for (size_t i = 0; i < spec->n; i++) {
        const struct campaign_spec *c = &spec->campaign[i];
        bytes += c->id.n + c->channel.n + c->trigger.category.n + c->trigger.campaign.n +
                 c->fairness.attribute.n + 5;
        bytes += c->id.n + sizeof HOLDOUT_STUDY; /* its name */
        for (size_t o = 0; o < c->n_offers && o < OFFERS_MAX; o++)
            bytes += c->offer[o].name.n + c->offer[o].json.n + c->offer[o].code.n +
                     c->offer[o].category.n + 4;
    }
    for (size_t i = 0; i < spec->n_channel_caps; i++)
        bytes += spec->channel_caps[i].channel.n + 1;
    for (size_t i = 0; i < spec->n_groups; i++)
        bytes += spec->group[i].name.n + 1;
    for (size_t i = 0; i < spec->n_experiments; i++) {
        const struct experiment_arms *e = &spec->experiment[i];
        bytes += e->name.n + e->spec.id.n + e->spec.layer.n + 3;
        for (size_t a = 0; a < e->spec.n_arms; a++)
            bytes += e->arm[a].name.n + 1;
    }
    return bytes;
}

static size_t count_offers(const struct policy_spec *spec) {
    size_t n = 0;
    for (size_t i = 0; i < spec->n; i++)
        n += spec->campaign[i].n_offers;
    return n;
}

static uint64_t fingerprint(const struct campaign_spec *c) {
    const struct trigger_spec *t = &c->trigger;
    uint64_t parts[] = {
        hash_str(c->id, 0),    hash_str(c->channel, 0), c->budget,           t->kind, t->type,
        (uint64_t)t->after_ms, (uint64_t)t->within_ms,  (uint64_t)t->days_ms};
    uint64_t h = hash_bytes(parts, sizeof parts, 0);
    for (size_t i = 0; i < c->n_offers; i++)
        h = hash_str(c->offer[i].json, h);
    for (size_t i = 0; i < c->n_audience; i++)
        h = hash_str(c->audience[i], h);
    return h;
}

static int compile_campaign(struct policy_set *s, const struct campaign_spec *spec, char **text) {
    int group = group_find(s, spec->group);
    if (!spec_valid(spec, s->n_pools) || group < 0)
        return -EINVAL;
    if (policy_campaign_find(s, spec->id) >= 0)
        return -EEXIST;
    struct campaign *k = &s->c[s->n];
    *k = (struct campaign){.spec = *spec, .hash = hash_str(spec->id, 0), .group = (uint16_t)group};
    int ch = channel_index(s, spec->channel, text);
    if (ch < 0)
        return ch;
    k->fingerprint = fingerprint(spec);
    k->holdout_seed = s->holdout_seed ^ k->hash;
    if (spec->holdout_name.n)
        k->holdout_seed = hash_str(spec->holdout_name, k->holdout_seed);
    k->holdout_key = hash_str(spec->holdout_name, k->hash + 1);
    k->holdout_print = hash_bytes(&spec->holdout, sizeof spec->holdout, k->holdout_seed);
    const double bounds[] = {spec->fairness.low, spec->fairness.high, spec->fairness.least,
                             spec->fairness.pause};
    k->cost = (float)log1p(100 * k->spec.contact_cost);
    k->fairness_key =
        hash_str(spec->fairness.attribute, hash_bytes(bounds, sizeof bounds, k->hash));
    s->has_fairness |= spec->fairness.attribute.n > 0;
    k->channel = (uint16_t)ch;
    k->channel_hash = s->channel[ch].hash;
    k->spec.id = text_keep(text, spec->id);
    for (size_t i = 0; i < spec->n_offers; i++) {
        struct offer_spec *o = &k->spec.offer[i];
        o->name = text_keep(text, o->name);
        o->json = text_keep(text, o->json);
        o->code = text_keep(text, o->code);
        o->category = text_keep(text, o->category);
        features_factors(o, k->factor[i]);
    }
    guard_compile(s, k);
    k->spec.group = s->group[group].spec.name;
    k->spec.channel = s->channel[ch].name;
    k->spec.fairness.attribute = text_keep(text, spec->fairness.attribute);
    k->spec.holdout_name = (struct str){0};
    k->spec.trigger.category = text_keep(text, spec->trigger.category);
    k->spec.trigger.campaign = text_keep(text, spec->trigger.campaign);
    k->follows = k->holdout_study = -1;
    k->spec.audience = NULL;
    k->start_ms =
        spec->start_day == INT32_MIN ? INT64_MIN : tz_day_start_ms(s->tz, spec->start_day);
    k->end_ms = spec->end_day == INT32_MAX ? INT64_MAX : tz_day_start_ms(s->tz, spec->end_day + 1);
    k->keep_ms =
        MAX(caps_keep_ms(&spec->caps), spec->reentry == REENTRY_AFTER ? spec->reentry_ms : 0);
    if (spec->reentry == REENTRY_NEVER)
        k->keep_ms = INT64_MAX;
    k->category_hash = (uint32_t)hash_str(spec->trigger.category, 0);
    if (spec->trigger.kind == TRIGGER_VIEWED) {
        s->views_keep_s = MAX(s->views_keep_s, spec->trigger.within_ms / 1000 + 1);
        s->views_all |= spec->trigger.subject != VIEWS_OF_CATEGORY;
    }
    k->has_budget = spec->budget != UINT32_MAX;
    k->audience = calloc(spec->n_audience + 1, sizeof *k->audience);
    if (!k->audience)
        return -ENOMEM;
    s->n++; /* from here on policy_set_free sees it */
    for (; k->n_audience < spec->n_audience; k->n_audience++) {
        struct condition_fault fault;
        int r = condition_parse(spec->audience[k->n_audience], &k->audience[k->n_audience], &fault);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool answers(const struct trigger_spec *t, size_t type) {
    switch (t->kind) {
    case TRIGGER_CART_ABANDONED:
        return type == EV_CART_ADD;
    case TRIGGER_VIEWED:
        return type == EV_VIEW || type == EV_CLICK;
    case TRIGGER_EVENT:
        return type == t->type;
    default:
        return false;
    }
}

/* Campaigns that `pick` accepts, in file order, laid out at *at. */
static void list_of(struct policy_set *s, enum trigger_kind kind, size_t type, uint16_t **at,
                    struct index_list *ret) {
    ret->i = *at;
    for (size_t i = 0; i < s->n; i++) {
        const struct trigger_spec *t = &s->c[i].spec.trigger;
        if (kind == TRIGGER_COUNT ? answers(t, type) : t->kind == kind)
            ret->i[ret->n++] = (uint16_t)i;
    }
    *at += ret->n;
}

/* A window has to be open still when its answer is asked for. */
static int resolve_follows(struct policy_set *s) {
    for (size_t i = 0; i < s->n; i++) {
        const struct trigger_spec *t = &s->c[i].spec.trigger;
        if (t->kind != TRIGGER_FOLLOWS)
            continue;
        int k = policy_campaign_find(s, t->campaign);
        if (k < 0 || (size_t)k == i || policy_window_ms(&s->c[k].spec) <= t->after_ms)
            return -EINVAL;
        s->c[i].follows = k;
    }
    return 0;
}

int64_t policy_window_ms(const struct campaign_spec *c) {
    return c->window_ms ? c->window_ms : c->valid_ms;
}

static int build_indexes(struct policy_set *s) {
    /* Nobody stands in more than two lists (viewed: views and clicks). */
    s->index_memory = calloc(2 * s->n + 1, sizeof *s->index_memory);
    if (!s->index_memory)
        return -ENOMEM;
    uint16_t *at = s->index_memory;
    for (size_t type = 0; type < EV_MAX; type++)
        list_of(s, TRIGGER_COUNT, type, &at, &s->by_type[type]);
    list_of(s, TRIGGER_WELCOME, 0, &at, &s->welcome);
    list_of(s, TRIGGER_PRICE_DROP, 0, &at, &s->price_drop);
    list_of(s, TRIGGER_LAPSED, 0, &at, &s->lapsed);
    list_of(s, TRIGGER_FOLLOWS, 0, &at, &s->follows);
    for (size_t i = 1; i < s->lapsed.n; i++) { /* by days; equal ones stay in file order */
        uint16_t k = s->lapsed.i[i];
        size_t j = i;
        for (; j && s->c[s->lapsed.i[j - 1]].spec.trigger.days_ms > s->c[k].spec.trigger.days_ms;
             j--)
            s->lapsed.i[j] = s->lapsed.i[j - 1];
        s->lapsed.i[j] = k;
    }
    return 0;
}

int policy_set_new(const struct policy_spec *spec, struct policy_set **ret) {
    autofree(policy_set_free) struct policy_set *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    if (spec->n > POLICY_CAMPAIGNS_MAX || count_offers(spec) > POLICY_PAIRS_MAX)
        return -E2BIG;
    if (!caps_valid(&spec->user_caps) || spec->holdout > 10000 ||
        spec->n_channel_caps > POLICY_CHANNELS_MAX || spec->n_groups > GROUPS_MAX ||
        spec->n_experiments > EXPERIMENTS_MAX || spec->n_pools > POOLS_MAX ||
        spec->protect.n_categories > PROTECTED_MAX)
        return -EINVAL;
    s->tz = spec->tz;
    s->trigger_seed = hash_str(spec->salt, 1);
    s->holdout_seed = hash_str(spec->salt, 2);
    s->holdout = spec->holdout;
    s->arm_seed = hash_str(spec->salt, 3);
    s->consent_granted = spec->consent_granted;
    s->reward = spec->reward;
    s->protect = spec->protect;
    s->approval = spec->approval;
    s->budget_slack = spec->budget_slack;
    for (size_t i = 0; i < spec->protect.n_categories; i++)
        s->protected_hash[i] = (uint32_t)hash_str(spec->protect.category[i], 0);
    s->user_caps = spec->user_caps;
    s->user_keep_ms = caps_keep_ms(&spec->user_caps);
    s->experiment = calloc(spec->n_experiments + spec->n + 1, sizeof *s->experiment);
    if (!s->experiment)
        return -ENOMEM;
    int r = ledger_new(&s->ledger);
    if (r == 0)
        r = evidence_list_new(&s->evidence);
    if (r < 0)
        return r;
    char *text = s->text_memory = malloc(text_bytes(spec));
    s->c = calloc(spec->n + 1, sizeof *s->c);
    if (!s->c || !s->text_memory)
        return -ENOMEM;
    r = compile_groups(s, spec, &text);
    if (r == 0)
        r = compile_pools(s, spec);
    if (r < 0)
        return r;
    for (size_t i = 0; i < spec->n; i++) {
        r = compile_campaign(s, &spec->campaign[i], &text);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < spec->n_channel_caps; i++) {
        if (!caps_valid(&spec->channel_caps[i].caps))
            return -EINVAL;
        int ch = channel_index(s, spec->channel_caps[i].channel, &text);
        if (ch < 0)
            return ch;
        s->channel[ch].caps = spec->channel_caps[i].caps;
        s->channel[ch].keep_ms = caps_keep_ms(&s->channel[ch].caps);
    }
    if (spec->holdout_name.n) /* those of campaigns, above, do not go by it */
        s->holdout_seed = hash_str(spec->holdout_name, s->holdout_seed);
    s->holdout_key = hash_str(spec->holdout_name, 6);
    s->holdout_print = hash_bytes(&s->holdout, sizeof s->holdout, s->holdout_seed);
    r = experiments_compile(s, spec, &text);
    if (r == 0)
        r = resolve_follows(s);
    if (r == 0)
        r = build_indexes(s);
    if (r < 0)
        return r;
    *ret = TAKE(s);
    return 0;
}

int policy_set_empty(struct policy_set **ret) {
    return policy_set_new(&(struct policy_spec){.approval = {INFINITY, UINT32_MAX}}, ret);
}

void policy_set_use(struct policy_set *s, size_t group, const struct policy_kind *kind,
                    void *self) {
    s->group[group].kind = kind;
    s->group[group].self = self;
}

struct str policy_group_name(const struct policy_set *s, size_t group) {
    return s->group[group].spec.name;
}

struct learned *policy_group_learned(const struct policy_set *s, size_t group) {
    return s->group[group].learned;
}

struct deep *policy_group_deep(const struct policy_set *s, size_t group) {
    return s->group[group].deep;
}

size_t policy_groups(const struct policy_set *s) {
    return s->n_groups;
}

void policy_set_budget_share(struct policy_set *s, uint32_t owned, uint32_t total) {
    ledger_share(s->ledger, owned, total);
}

size_t policy_campaigns(const struct policy_set *s) {
    return s->n;
}

struct str policy_campaign_id(const struct policy_set *s, size_t i) {
    return s->c[i].spec.id;
}

int policy_campaign_find(const struct policy_set *s, struct str id) {
    for (size_t i = 0; i < s->n; i++)
        if (str_eq(s->c[i].spec.id, id))
            return (int)i;
    return -1;
}

struct str policy_campaign_channel(const struct policy_set *s, size_t i) {
    return s->c[i].spec.channel;
}

struct str policy_campaign_offer(const struct policy_set *s, size_t i, size_t offer) {
    return s->c[i].spec.offer[offer].json;
}

uint64_t policy_campaign_fingerprint(const struct policy_set *s, size_t i) {
    return s->c[i].fingerprint;
}

bool policy_campaign_needs_approval(const struct policy_set *s, size_t i) {
    const struct campaign_spec *c = &s->c[i].spec;
    if (c->budget > s->approval.budget)
        return true;
    for (size_t k = 0; k < c->n_offers; k++)
        if (c->offer[k].percent > s->approval.percent)
            return true;
    return false;
}

const struct campaign_spec *policy_campaign_spec(const struct policy_set *s, size_t i) {
    return &s->c[i].spec;
}

size_t policy_channels(const struct policy_set *s) {
    return s->n_channels;
}

struct str policy_channel_name(const struct policy_set *s, size_t i) {
    return s->channel[i].name;
}

int policy_channel_find(const struct policy_set *s, struct str name) {
    for (size_t i = 0; i < s->n_channels; i++)
        if (str_eq(s->channel[i].name, name))
            return (int)i;
    return -1;
}
