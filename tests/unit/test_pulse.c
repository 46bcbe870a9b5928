#include "model/pulse.h"

#include <criterion/criterion.h>
#include <math.h>

enum { ITEMS = 1000 };

static struct pulse *made(void) {
    struct pulse *p = NULL;
    cr_assert_eq(pulse_new(ITEMS, &p), 0);
    return p;
}

Test(pulse, refuses_no_items) {
    struct pulse *p = NULL;
    cr_assert_eq(pulse_new(0, &p), -EINVAL);
    cr_assert_null(p);
    pulse_free(NULL);
}

Test(pulse, counts_halve_with_each_horizon_of_events) {
    struct pulse *p = made();
    pulse_observe(p, 7, 1);
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++) {
        struct pulse_view v;
        pulse_look(p, 7, 1, &v);
        cr_assert_eq(v.value[h], 1);
        pulse_look(p, 7, 1 + (uint32_t)pulse_horizon[h], &v);
        cr_assert_float_eq(v.value[h], 0.5f, 1e-6);
        pulse_look(p, 7, 1 + 3 * (uint32_t)pulse_horizon[h], &v);
        cr_assert_float_eq(v.value[h], 0.125f, 1e-6);
        cr_assert_eq(v.events, 1);
    }
    pulse_free(p);
}

Test(pulse, decay_is_two_to_the_minus_to_four_digits) {
    cr_assert_eq(pulse_decay(0), 1);
    for (int i = 0; i < 99000; i++) {
        double x = i / 1000.0;
        cr_assert_float_eq(pulse_decay((float)x) / exp2(-x), 1, 1e-4, "%g", x);
    }
    cr_assert_eq(pulse_decay(100), 0);
    cr_assert_eq(pulse_decay(INFINITY), 0);
    cr_assert_eq(pulse_decay(NAN), 0);
}

Test(pulse, decay_is_the_same_however_often_it_is_done) {
    struct pulse *p = made();
    const uint32_t ticks[] = {3, 10, 400, 401, 9000, 9001};
    double want[PULSE_HORIZONS] = {0};
    for (size_t i = 0; i < ARRAY_LEN(ticks); i++) {
        pulse_observe(p, 1, ticks[i]);
        for (uint32_t h = 0; h < PULSE_HORIZONS; h++)
            want[h] += exp2(-(10000.0 - ticks[i]) / (double)pulse_horizon[h]);
    }
    struct pulse_view v;
    pulse_look(p, 1, 10000, &v);
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++)
        cr_assert_float_eq(v.value[h], want[h], 6e-4 * want[h] + 1e-7);
    cr_assert_eq(v.events, 6);
    cr_assert_eq(v.age, 10000 - 3);
    cr_assert_eq(v.idle, 10000 - 9001);
    pulse_free(p);
}

Test(pulse, what_was_never_met_is_nothing) {
    struct pulse *p = made();
    struct pulse_view v;
    pulse_look(p, 5, 12345, &v);
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++)
        cr_assert_eq(v.value[h], 0);
    cr_assert(v.events == 0 && v.age == 0 && v.idle == 12345);
    uint32_t top[4];
    cr_assert_eq(pulse_top(p, 0, top, 4), 0);
    pulse_observe(p, ITEMS, 1); /* beyond the table */
    cr_assert_eq(pulse_top(p, 0, top, 4), 0);
    pulse_free(p);
}

Test(pulse, an_event_told_late_takes_nothing_back) {
    struct pulse *p = made();
    pulse_observe(p, 2, 1000);
    pulse_observe(p, 2, 900); /* another thread was faster */
    struct pulse_view v;
    pulse_look(p, 2, 1000, &v);
    cr_assert(v.value[0] == 2 && v.events == 2 && v.idle == 0 && v.age == 0);
    pulse_look(p, 2, 500, &v);
    cr_assert(v.value[0] == 2 && v.idle == 0);
    pulse_free(p);
}

Test(pulse, the_liveliest_are_in_order_whatever_the_horizon) {
    struct pulse *p = made();
    struct rng r;
    rng_seed(&r, 3);
    uint32_t tick = 0;
    for (int i = 0; i < 40000; i++) {
        double x = rng_unit(&r);
        pulse_observe(p, (uint32_t)(x * x * x * 400), ++tick);
    }
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++) {
        uint32_t top[PULSE_TOP], wrong = 0;
        cr_assert_eq(pulse_top(p, h, top, PULSE_TOP), (size_t)PULSE_TOP);
        struct pulse_view v, w;
        for (uint32_t i = 1; i < PULSE_TOP; i++) {
            pulse_look(p, top[i - 1], tick, &v);
            pulse_look(p, top[i], tick, &w);
            cr_assert_geq(v.value[h], w.value[h] * 0.9999f, "horizon %u, place %u", h, i);
            for (uint32_t k = 0; k < i; k++)
                cr_assert_neq(top[k], top[i]);
        }
        /* Those that are not in it are hardly livelier than its last: they had no event since
         * they became so, or were not counted then. */
        pulse_look(p, top[PULSE_TOP - 1], tick, &w);
        for (uint32_t item = 0; item < 400; item++) {
            bool in = false;
            for (uint32_t i = 0; i < PULSE_TOP; i++)
                in |= top[i] == item;
            pulse_look(p, item, tick, &v);
            wrong += !in && v.value[h] > w.value[h] * 1.0001f;
        }
        cr_assert_eq(wrong, 0, "horizon %u", h);
    }
    pulse_free(p);
}

Test(pulse, short_horizons_see_what_is_new_and_long_ones_what_lasts) {
    struct pulse *p = made();
    uint32_t tick = 0, top[2];
    for (int i = 0; i < 3000; i++)
        pulse_observe(p, 1, ++tick);
    for (int i = 0; i < 1500; i++)
        pulse_observe(p, 2, ++tick);
    cr_assert_eq(pulse_top(p, 0, top, 2), 2);
    cr_assert(top[0] == 2 && top[1] == 1);
    cr_assert_eq(pulse_top(p, 3, top, 2), 2);
    cr_assert(top[0] == 1 && top[1] == 2);
    cr_assert_eq(pulse_top(p, 3, top, 1), 1);
    cr_assert_eq(top[0], 1);
    pulse_free(p);
}

Test(pulse, a_row_forgotten_begins_anew) {
    struct pulse *p = made();
    for (uint32_t tick = 1; tick <= 50; tick++)
        pulse_observe(p, 3, tick);
    pulse_forget_row(p, 3);
    pulse_forget_row(p, ITEMS);
    struct pulse_view v;
    pulse_look(p, 3, 60, &v);
    cr_assert(v.value[3] == 0 && v.events == 0);
    pulse_observe(p, 3, 70);
    pulse_look(p, 3, 71, &v);
    cr_assert(v.events == 1 && v.age == 1 && v.idle == 1);
    uint32_t top[4];
    cr_assert_eq(pulse_top(p, 0, top, 4), 1);
    cr_assert_gt(pulse_bytes_per_item(), 0);
    pulse_free(p);
}
