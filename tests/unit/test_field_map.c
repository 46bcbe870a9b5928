#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/csv.h"

static char path[] = "/tmp/beckon-test-map-XXXXXX";
static struct config *cfg;
static struct table_file *t;
static struct field_map *m;
static struct event e;
static struct str type;

static void load_config(void) {
    char *overrides[] = {"events.wink=0.5"};
    cr_assert_eq(config_load(NULL, overrides, 1, &cfg), 0);
}

static void clean_up(void) {
    unlink(path);
    table_close(t);
    field_map_free(m);
    config_free(cfg);
}

TestSuite(field_map, .init = load_config, .fini = clean_up);

static void open_text(const char *text) {
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    cr_assert_eq(table_open(path, &t), 0);
}

static size_t count(char **v) {
    size_t n = 0;
    while (v && v[n])
        n++;
    return n;
}

static int make(char **maps, char **types, char **sets) {
    return field_map_new(cfg, maps, count(maps), types, count(types), sets, count(sets), &m);
}

#define ARGS(...) ((char *[]){__VA_ARGS__, NULL})

static int next_event(void) {
    cr_assert_eq(table_next(t), 1, "%s", table_error(t));
    return field_map_event(m, t, &e, &type);
}

static void is(struct str s, const char *want) {
    cr_assert(str_eq(s, str_of(want)), "'%.*s', not '%s'", (int)s.n, s.p, want);
}

Test(field_map, usual_names_need_no_map) {
    open_text("ts_ms,user_id,session_id,type,item_id,value,country,empty\n"
              "1291191960000,c17850,536365,purchase,85123A,2.55,\"Korea, South\",\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.time_ms, 1291191960000);
    is(e.user, "c17850");
    is(e.session, "536365");
    is(e.item, "85123A");
    cr_assert_eq(e.type, EV_PURCHASE);
    is(type, "purchase");
    cr_assert_eq(e.value, 2.55);
    cr_assert(isnan(e.dwell_ms));
    cr_assert_eq(e.n_ctx, 1, "empty columns are no context");
    is(e.ctx[0].key, "country");
    is(e.ctx[0].value, "Korea, South");
    cr_assert_eq(e.id.n, 18, "hash and line: '%.*s'", (int)e.id.n, e.id.p);
}

Test(field_map, json_events_need_no_map) {
    open_text(
        "{\"event_id\":\"e1\",\"user_id\":\"u\",\"type\":\"wink\",\"time\":5,\"dwell_ms\":1.5,"
        "\"decision_id\":\"d\",\"query\":\"red\",\"context\":{\"tz\":\"Europe/Rome\"}}\n"
        "{\"user_id\":\"u\",\"type\":\"view\",\"time\":6,\"item_id\":\"i\",\"late\":1}\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    cr_assert_eq(next_event(), 1);
    is(e.id, "e1");
    cr_assert_eq(e.type, EV_BUILTIN);
    cr_assert_eq(e.time_ms, 5);
    cr_assert_eq(e.dwell_ms, 1.5);
    is(e.decision, "d");
    is(e.query, "red");
    cr_assert_eq(e.n_ctx, 1);
    is(e.ctx[0].key, "tz");
    is(e.ctx[0].value, "Europe/Rome");
    cr_assert_eq(next_event(), 1);
    is(e.item, "i");
    is(e.query, "");
    cr_assert_eq(e.n_ctx, 1);
    is(e.ctx[0].key, "late");
}

/* What the decoder would take must not be refused before it gets there. */
Test(field_map, types_may_be_written_as_enum_symbols) {
    open_text("ts_ms,user_id,type,item_id\n1,u,ADD_TO_CART,i\n2,u,Wink,i\n3,u,Winks,i\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.type, EV_CART_ADD);
    is(type, "add-to-cart");
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.type, EV_BUILTIN);
    is(type, "wink");
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.type, EV_UNKNOWN);
    is(type, "Winks");
}

Test(field_map, columns_are_renamed_dropped_and_set) {
    open_text("household_id,product_id,transaction_timestamp,sales_value,prices,a=b,type\n"
              "900,840361,1483246800.25,1.78,junk,9,strange\n");
    cr_assert_eq(make(ARGS("household_id=user", "product_id=item", "transaction_timestamp=time",
                           "sales_value=value", "prices=", "a=b=context.c"),
                      NULL, ARGS("type=purchase", "context.shop=north")),
                 0);
    cr_assert_eq(field_map_time_unit(m, "s"), 0);
    cr_assert_eq(next_event(), 1);
    is(e.user, "900");
    is(e.item, "840361");
    cr_assert_eq(e.time_ms, 1483246800250);
    cr_assert_eq(e.value, 1.78);
    cr_assert_eq(e.type, EV_PURCHASE);
    cr_assert_eq(e.n_ctx, 2);
    is(event_ctx_get(&e, STR("shop")), "north");
    is(event_ctx_get(&e, STR("c")), "9");
}

Test(field_map, the_schemas_own_names_are_known_too) {
    open_text("a,b,c,d\n1,2,3,4\n");
    cr_assert_eq(make(ARGS("a=event_id", "b=user_id", "c=item_id", "d=session_id"), NULL,
                      ARGS("event_type=view", "timestamp=1767323045678")),
                 0);
    cr_assert_eq(next_event(), 1);
    is(e.id, "1");
    is(e.user, "2");
    is(e.item, "3");
    is(e.session, "4");
    cr_assert_eq(e.type, EV_VIEW);
    cr_assert_eq(e.time_ms, 1767323045678);
    cr_assert_eq(e.n_ctx, 0);
}

Test(field_map, types_are_mapped_and_their_item_moved) {
    open_text("ts_ms,user_id,type,item_id\n"
              "1,u,clickout item,77\n"
              "2,u,search for poi,Kyoto Station\n"
              "3,u,filter selection,Hotel\n"
              "4,u,swipe,5\n"
              "5,u,noise,5\n"
              "6,u,view,5\n");
    cr_assert_eq(make(NULL,
                      ARGS("clickout item=click", "search for poi=search:query",
                           "filter selection=search:context.filter", "noise="),
                      NULL),
                 0);
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.type, EV_CLICK);
    is(e.item, "77");
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.type, EV_SEARCH);
    is(type, "search");
    is(e.item, "");
    is(e.query, "Kyoto Station");
    cr_assert_eq(next_event(), 1);
    is(e.item, "");
    is(e.query, "");
    is(event_ctx_get(&e, STR("filter")), "Hotel");
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.type, EV_UNKNOWN);
    is(type, "swipe");
    cr_assert_eq(next_event(), 0, "mapped to nothing: dropped");
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.type, EV_VIEW);
}

Test(field_map, dirt_is_visible_to_validation) {
    open_text("ts_ms,user_id,type,item_id,value,dwell\n"
              ",u,view,i,abc,nan\n"
              "soon,u,view,i,-1,\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.time_ms, INT64_MIN);
    cr_assert(isinf(e.value));
    cr_assert(isinf(e.dwell_ms));
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.time_ms, INT64_MIN);
    cr_assert_eq(e.value, -1);
    cr_assert(isnan(e.dwell_ms));
}

Test(field_map, derived_ids_repeat_with_the_file_and_differ_by_line) {
    open_text("ts_ms,user_id,type,item_id\n1,u,view,i\n1,u,view,i\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    char first[64], second[64];
    next_event();
    snprintf(first, sizeof first, "%.*s", (int)e.id.n, e.id.p);
    next_event();
    snprintf(second, sizeof second, "%.*s", (int)e.id.n, e.id.p);
    cr_assert_str_neq(first, second);
    table_close(t);
    cr_assert_eq(table_open(path, &t), 0);
    next_event();
    is(e.id, first);
    next_event();
    is(e.id, second);
}

Test(field_map, context_beyond_its_bound_is_left_out) {
    char text[2048];
    size_t n = 0;
    for (int row = 0; row < 2; row++) {
        for (int i = 0; i < EVENT_CTX_MAX + 4; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%sc%d", i ? "," : "", i);
        text[n++] = '\n';
    }
    text[n] = '\0';
    open_text(text);
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    cr_assert_eq(next_event(), 1);
    cr_assert_eq(e.n_ctx, EVENT_CTX_MAX);
}

Test(field_map, wrong_flags_are_refused) {
    cr_assert_eq(make(ARGS("a"), NULL, NULL), -EINVAL);
    cr_assert_eq(make(ARGS("a=b"), NULL, NULL), -EINVAL);
    cr_assert_eq(make(NULL, ARGS("a=b"), NULL), -EINVAL);
    cr_assert_eq(make(NULL, ARGS("a=view:b"), NULL), -EINVAL);
    cr_assert_eq(make(NULL, NULL, ARGS("=b")), -EINVAL);
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    cr_assert_eq(field_map_time_unit(m, "ns"), -EINVAL);
}

Test(field_map, catalogue_records_are_read_whole) {
    open_text(
        "item_id,category,brand,price,tags,description,available,margin,dense,adult,colour\n"
        "s1,shoes/running|trail,acme,49.5,a|b||c,\"Light, fast\",no,0.25,1 -0.5 2e-1,yes,red\n"
        ",x,,,,,,,,,\n"
        "s2,,,cheap,,,,,,,\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    struct item_info i;
    cr_assert_eq(table_next(t), 1);
    cr_assert_eq(field_map_item(m, t, &i), 0, "%s", field_map_error(m));
    is(i.id, "s1");
    cr_assert_eq(i.n_category, 3);
    is(i.category[0], "shoes");
    is(i.category[2], "trail");
    is(i.brand, "acme");
    cr_assert_eq(i.price, 49.5);
    cr_assert_eq(i.n_tags, 3);
    is(i.tags[2], "c");
    is(i.description, "Light, fast");
    cr_assert_not(i.available);
    cr_assert_eq(i.margin, 0.25);
    cr_assert_eq(i.n_dense, 3);
    cr_assert_eq(i.dense[1], -0.5f);
    cr_assert_eq(i.flags, ITEM_ADULT);
    cr_assert_eq(table_next(t), 1);
    cr_assert_eq(field_map_item(m, t, &i), -EBADMSG);
    cr_assert_str_eq(field_map_error(m), "no item id");
    cr_assert_eq(table_next(t), 1);
    cr_assert_eq(field_map_item(m, t, &i), -EBADMSG);
    cr_assert_str_eq(field_map_error(m), "price is not a number");
}

Test(field_map, catalogue_records_need_little) {
    open_text("{\"id\":\"x\",\"tags\":[\"a\",\"b\"]}\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    struct item_info i;
    cr_assert_eq(table_next(t), 1);
    cr_assert_eq(field_map_item(m, t, &i), 0);
    is(i.id, "x");
    cr_assert_eq(i.n_tags, 2);
    cr_assert(i.available);
    cr_assert(isnan(i.price));
}

Test(field_map, control_records_carry_consent) {
    open_text("user_id,tz,consent.email,consent.push\n"
              "u,Europe/Rome,true,no\n"
              "u,,perhaps,\n"
              ",UTC,,\n");
    cr_assert_eq(make(NULL, NULL, NULL), 0);
    struct control_info c;
    cr_assert_eq(table_next(t), 1);
    cr_assert_eq(field_map_control(m, t, &c), 0);
    is(c.user, "u");
    is(c.tz, "Europe/Rome");
    cr_assert_eq(c.n, 2);
    is(c.consent[0].channel, "email");
    cr_assert(c.consent[0].granted);
    is(c.consent[1].channel, "push");
    cr_assert_not(c.consent[1].granted);
    cr_assert_eq(table_next(t), 1);
    cr_assert_eq(field_map_control(m, t, &c), -EBADMSG);
    cr_assert_eq(table_next(t), 1);
    cr_assert_eq(field_map_control(m, t, &c), -EBADMSG);
    cr_assert_str_eq(field_map_error(m), "no user id");
}
