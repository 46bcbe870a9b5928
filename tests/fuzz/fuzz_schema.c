/* A writer's schema up to the first zero byte, then a record written with it. */
#include "consumer/avro_plan.h"
#include "tests/fuzz/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    const uint8_t *zero = n ? memchr(p, 0, n) : NULL;
    size_t length = zero ? (size_t)(zero - p) : n;
    autofree(schema_free) struct schema *schema = NULL;
    autofree(plan_free) struct plan *plan = NULL;
    struct arena arena = {0};
    struct event_record r;
    struct dead why;
    char err[160];
    int rc = schema_parse((struct str){(const char *)p, length}, err, &schema);
    if (rc) {
        MUST(rc == -EINVAL && memchr(err, 0, sizeof err));
        return 0;
    }
    MUST(schema_same(schema, schema));
    if (plan_new(schema, &event_fields, &why, &plan))
        return 0;
    event_record_init(&r);
    if (zero)
        plan_run(plan, zero + 1, n - length - 1, &arena, &r, &why);
    arena_free(&arena);
    return 0;
}
