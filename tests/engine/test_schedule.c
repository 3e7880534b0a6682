/* SPDX-License-Identifier: Apache-2.0
 *
 * test_schedule.c - learning rates of each step, and the cosine that is the same everywhere.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "engine/schedule.h"

static fb__schedule make(fb_schedule_config config, double lr)
{
    fb_config whole = {.schedule = config};

    whole.optimizer.lr = lr;
    return fb__schedule_of(&whole);
}

static void constant_is_the_rate(void **state)
{
    fb__schedule s = make((fb_schedule_config){.type = FB_SCHEDULE_CONSTANT}, 3e-4);

    (void)state;
    assert_true(fb__learning_rate(&s, 1) == 3e-4);
    assert_true(fb__learning_rate(&s, 1000000) == 3e-4);
}

static void warmup_rises_from_one_part_to_the_rate(void **state)
{
    fb__schedule s = make((fb_schedule_config){.type = FB_SCHEDULE_WARMUP, .warmup = 4}, 1.0);
    const double want[] = {0.25, 0.5, 0.75, 1, 1, 1};

    (void)state;
    for (uint64_t t = 1; t <= 6; t++)
        assert_true(fb__learning_rate(&s, t) == want[t - 1]);
}

static void cosine_falls_from_the_rate_to_its_smallest(void **state)
{
    fb__schedule s = make(
        (fb_schedule_config){
            .type = FB_SCHEDULE_COSINE, .warmup = 10, .total = 110, .min_factor = 0.1},
        2.0);
    double before = 3;

    (void)state;
    assert_true(fb__learning_rate(&s, 1) == 2.0 * 0.1);
    assert_true(fb__learning_rate(&s, 10) == 2.0);
    assert_true(fabs(fb__learning_rate(&s, 60) - 2.0 * 0.55) < 1e-15);
    assert_true(fb__learning_rate(&s, 110) == 2.0 * 0.1);
    assert_true(fb__learning_rate(&s, 5000) == 2.0 * 0.1);
    for (uint64_t t = 10; t <= 110; t++) {
        const double rate = fb__learning_rate(&s, t);
        assert_true(rate < before);
        before = rate;
    }
}

static void cosine_without_warmup_starts_below_the_rate(void **state)
{
    fb__schedule s = make((fb_schedule_config){.type = FB_SCHEDULE_COSINE, .total = 2}, 1.0);

    (void)state;
    assert_true(fb__learning_rate(&s, 1) == 0.5);
    assert_true(fb__learning_rate(&s, 2) == 0.0);
}

static void a_warmup_that_ends_after_the_whole_rises_to_its_end(void **state)
{
    fb__schedule s = make(
        (fb_schedule_config){
            .type = FB_SCHEDULE_COSINE, .warmup = 4, .total = 2, .min_factor = 0.125},
        1.0);
    static const double want[] = {0.25, 0.5, 0.75, 0.125, 0.125};

    (void)state;
    for (uint64_t t = 1; t <= 5; t++)
        assert_true(fb__learning_rate(&s, t) == want[t - 1]);
}

static void steps_multiply_in_any_order_of_asking(void **state)
{
    const fb_schedule_config config = {.type = FB_SCHEDULE_STEP, .every = 3, .gamma = 0.7};
    fb__schedule up = make(config, 1.0), any = make(config, 1.0);
    double want = 1.0;

    (void)state;
    for (uint64_t t = 1; t <= 30; t++) {
        if (t > 1 && (t - 1) % 3 == 0)
            want *= 0.7;
        assert_true(fb__learning_rate(&up, t) == want);
        (void)fb__learning_rate(&any, 31 - t);
        assert_true(fb__learning_rate(&any, t) == want);
    }
}

static void cos_pi_is_exact_where_it_can_be_and_close_elsewhere(void **state)
{
    (void)state;
    assert_true(fb__cos_pi(0) == 1);
    assert_true(fb__cos_pi(0.5) == 0);
    assert_true(fb__cos_pi(1) == -1);
    for (int i = 0; i <= 100000; i++) {
        const double x = i / 100000.0;
        const long double want = cosl(acosl(-1.0L) * (long double)x);

        /* pi·x is rounded once (pi, product, 0.5 - x exact), the sum twice: below 4 units of 2^-53
         */
        assert_true(fabsl((long double)fb__cos_pi(x) - want) < 4.5e-16L);
        assert_true(fb__cos_pi(1 - x) == -fb__cos_pi(1 - (1 - x)) || x == 0.5);
    }
}

/* Contract 1: the bits of a hundred rates. */
static void rates_have_golden_bits(void **state)
{
    fb__schedule s = make(
        (fb_schedule_config){
            .type = FB_SCHEDULE_COSINE, .warmup = 7, .total = 100, .min_factor = 0.05},
        3e-4);
    double rates[100];
    char hex[FB_HASH_HEX_BYTES];

    (void)state;
    for (uint64_t t = 1; t <= 100; t++)
        rates[t - 1] = fb__learning_rate(&s, t);
    assert_string_equal(fb_hash_hex(hex, fb_hash_bytes(rates, sizeof rates)),
                        "b5bf3e82becf0eafb4eb70af3f538b64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_is_the_rate),
        cmocka_unit_test(warmup_rises_from_one_part_to_the_rate),
        cmocka_unit_test(cosine_falls_from_the_rate_to_its_smallest),
        cmocka_unit_test(cosine_without_warmup_starts_below_the_rate),
        cmocka_unit_test(a_warmup_that_ends_after_the_whole_rises_to_its_end),
        cmocka_unit_test(steps_multiply_in_any_order_of_asking),
        cmocka_unit_test(cos_pi_is_exact_where_it_can_be_and_close_elsewhere),
        cmocka_unit_test(rates_have_golden_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
