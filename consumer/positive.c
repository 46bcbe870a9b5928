#include "consumer/positive.h"

#include <math.h>
#include <stdio.h>

#include "consumer/parse.h"

static int fault(const char *text, struct str term, const char *why) {
    fprintf(stderr,
            "--positive %s: '%.*s': %s; write it as in 'rating>=4', 'purchase' or "
            "'click|view'\n",
            text, (int)term.n, term.p, why);
    return -EINVAL;
}

static struct str trim(struct str s) {
    while (s.n && s.p[0] == ' ')
        s.p++, s.n--;
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

static int parse_term(const struct config *cfg, const char *text, struct str term,
                      struct positive *ret) {
    if (ret->n == POSITIVE_TERMS)
        return fault(text, term, "too many terms");
    size_t name = 0, value;
    while (name < term.n && !strchr("<>=", term.p[name]))
        name++;
    value = name;
    while (value < term.n && value < name + 2 && strchr("<>=", term.p[value]))
        value++;
    __typeof__(ret->term[0]) *t = &ret->term[ret->n];
    *t = (__typeof__(*t)){.type = config_event_type(cfg, trim((struct str){term.p, name})),
                          .value = NAN};
    if (t->type == EV_UNKNOWN)
        return fault(text, term, "no such type of event");
    memcpy(t->op, term.p + name, value - name);
    static const char *const ops[] = {"", ">=", "<=", ">", "<", "="};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        known |= strcmp(t->op, ops[i]) == 0;
    if (!known)
        return fault(text, term, "no such comparison");
    if (t->op[0] && !parse_number(trim((struct str){term.p + value, term.n - value}), &t->value))
        return fault(text, term, "no number to compare with");
    ret->n++;
    return 0;
}

int positive_parse(const struct config *cfg, const char *text, struct positive *ret) {
    *ret = (struct positive){0};
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "|");
        int r = parse_term(cfg, text, trim((struct str){p, n}), ret);
        if (r < 0)
            return r;
        p += n + (p[n] == '|');
    }
    return 0;
}

static bool holds(const char *op, double a, double b) {
    if (op[0] == '\0')
        return true;
    if (op[0] == '=')
        return a == b;
    bool equal = op[1] == '=' && a == b;
    return equal || (op[0] == '>' ? a > b : a < b);
}

bool positive_match(const struct config *cfg, const struct positive *p, uint8_t type,
                    double value) {
    if (p->n == 0)
        return type < EV_MAX && cfg->type_weight[type] > 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->term[i].type == type && holds(p->term[i].op, value, p->term[i].value))
            return true;
    return false;
}

double positive_least(const struct positive *p, uint8_t type) {
    double least = NAN;
    for (size_t i = 0; i < p->n; i++) {
        const char *op = p->term[i].op;
        double v = p->term[i].value;
        if (p->term[i].type != type || (op[0] != '>' && op[0] != '='))
            continue;
        if (op[0] == '>' && op[1] == '\0')
            v = nextafter(v, INFINITY);
        if (!(least <= v))
            least = v;
    }
    return least;
}
