#include <criterion/criterion.h>

#include "consumer/due.h"

enum { INTERVAL = 100 };

static size_t take(struct due *d, int64_t now_ms, uint32_t *ret, size_t max) {
    return due_take(d, now_ms, INTERVAL, ret, max);
}

Test(due, a_touched_row_is_written_once_and_in_order) {
    struct due d = {0};
    uint32_t row[8];
    due_touch(&d, 7);
    due_touch(&d, 3);
    due_touch(&d, 7);
    cr_assert_eq(take(&d, 0, row, 8), 2);
    cr_assert(row[0] == 7 && row[1] == 3);
    cr_assert_eq(take(&d, INTERVAL, row, 8), 0);
    due_free(&d);
}

Test(due, what_is_touched_again_waits_for_the_interval) {
    struct due d = {0};
    uint32_t row[8];
    due_touch(&d, 1);
    cr_assert_eq(take(&d, 1000, row, 8), 1);
    due_touch(&d, 1);
    cr_assert_eq(take(&d, 1000 + INTERVAL - 1, row, 8), 0);
    cr_assert_eq(take(&d, 1000 + INTERVAL, row, 8), 1);
    cr_assert_eq(take(&d, 1000 + 2 * INTERVAL, row, 8), 0, "it was not touched since");
    due_touch(&d, 1);
    cr_assert_eq(take(&d, 1000 + 2 * INTERVAL, row, 8), 1);
    due_free(&d);
}

Test(due, a_burst_is_written_over_several_turns_and_nothing_is_left_out) {
    enum { ROWS = 5000, TURN = 512 };
    struct due d = {0};
    uint32_t row[TURN];
    static uint8_t written[ROWS];
    for (uint32_t i = 0; i < ROWS; i++)
        due_touch(&d, i);
    size_t n, turns = 0;
    for (; (n = take(&d, 0, row, TURN)); turns++)
        for (size_t i = 0; i < n; i++)
            written[row[i]]++;
    cr_assert_eq(turns, (ROWS + TURN - 1) / TURN);
    for (uint32_t i = 0; i < ROWS; i++)
        cr_assert_eq(written[i], 1, "row %u: %u times", i, written[i]);
    due_free(&d);
}

Test(due, after_a_loss_all_are_written_again) {
    struct due d = {0};
    uint32_t row[8];
    due_touch(&d, 2); /* written long ago */
    cr_assert_eq(take(&d, 0, row, 8), 1);
    cr_assert_eq(take(&d, INTERVAL, row, 8), 0);
    due_touch(&d, 4); /* written just now, and touched since */
    cr_assert_eq(take(&d, INTERVAL, row, 8), 1);
    due_touch(&d, 4);
    due_touch(&d, 6); /* to be written */
    due_all(&d);
    cr_assert_eq(take(&d, INTERVAL, row, 8), 3);
    cr_assert_eq(take(&d, 2 * INTERVAL, row, 8), 0);
    due_free(&d);
}
