/* SPDX-License-Identifier: Apache-2.0
 *
 * test_functions.c - the scalar functions are correctly rounded, sampled here over all of float32
 * and on inputs known to be hard; sweep_functions proves it for every input.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/kernels/exact.h"
#include "tests/kernels/probe.h"

enum { BATCH = 4096 };

static uint32_t canonical_bits(float x)
{
    return x != x ? 0x7fc00000u : fb_float_bits(x);
}

/* Evaluates on every instruction set, by way of the estimates and without them. */
static void check_batch(int function, const float x[BATCH])
{
    static float want[BATCH], y[BATCH];
    const probe *all[4];
    const size_t n = probes(all);

    for (size_t i = 0; i < BATCH; i++)
        want[i] = exact_in_domain(function, x[i]) ? exact_value(function, x[i]) : 0.0f;
    for (size_t p = 0; p < 2 * n; p++) {
        const probe *isa = all[p / 2];
        const bool exactly = p % 2 == 1;

        (exactly ? isa->evaluate_exactly : isa->evaluate)(function, y, x, BATCH);
        for (size_t i = 0; i < BATCH; i++)
            if (exact_in_domain(function, x[i]) && canonical_bits(y[i]) != canonical_bits(want[i]))
                fail_msg("%s%s: %s(%a) is %a, not %a", isa->isa, exactly ? ", exactly" : "",
                         exact_name(function), (double)x[i], (double)y[i], (double)want[i]);
    }
}

static void sampled_inputs_are_rounded_correctly(void **state)
{
    static float x[BATCH];
    uint32_t bits = 12345;

    (void)state;
    for (int function = 0; function < PROBE_COUNT; function++)
        for (int batch = 0; batch < 24; batch++) {
            for (int i = 0; i < BATCH; i++)
                x[i] = fb_float_of_bits(bits += 0x9e3779b1u); /* visits all of float32 evenly */
            check_batch(function, x);
        }
}

/* Everything within 32 units of x and of -x. */
static size_t add_around(float *to, float x)
{
    size_t n = 0;

    for (int sign = 0; sign < 2; sign++)
        for (int i = -32; i < 32; i++)
            to[n++] = fb_float_of_bits((fb_float_bits(x) + (uint32_t)i) ^ (sign ? 1u << 31 : 0));
    return n;
}

static void awkward_inputs_are_rounded_correctly(void **state)
{
    /* Ends of the range, ties, roots of slopes, interval edges, bounds of clamps. */
    static const float places[BATCH / 128] = {
        0.0f,       0x1p-149f,  0x1p-126f,  0x1p-124f,
        0x1p-25f,   0x1p-24f,   0x1p-12f,   0x1p-6f,
        0.25f,      0.5f,       0.703125f,  0.7517916f,
        0.7522821f, 1.0f,       1.2784645f, 1.3862944f,
        1.5707964f, 3.0f,       3.1415927f, 4.712389f,
        6.2831855f, 43.0f,      9.010913f,  10.0f,
        11.25f,     13.0f,      14.75f,     87.0f,
        88.722839f, 103.97208f, 106.0f,     __builtin_inff(),
    };
    static float x[BATCH];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        n += add_around(x + n, places[i]);
    assert_int_equal(n, BATCH);
    for (int function = 0; function < PROBE_COUNT; function++)
        check_batch(function, x);
}

/* Near 0 sigmoid is 1/2 + x/4 and the slope of silu 1/2 + x/2, on a tie wherever x is an odd
 * multiple of 2^-23 or 2^-24. */
static void ties_around_one_half_are_decided_by_the_next_term(void **state)
{
    static float x[BATCH];

    (void)state;
    for (int i = 0; i < BATCH; i++)
        x[i] = (float)(2 * i + 1 - BATCH) * 0x1p-23f;
    check_batch(PROBE_sigmoid, x);
    for (int i = 0; i < BATCH; i++)
        x[i] *= 0.5f;
    check_batch(PROBE_silu_slope, x);
}

/* Inputs that a sweep found next to ties, where 53 bits do not decide. */
static void inputs_next_to_ties_are_rounded_correctly(void **state)
{
    static const float hard[] = {-0x1.2p-17f,      -0x1.a1becap-14f, 0x1.40d932p-25f,
                                 -0x1.40d932p-26f, -0x1.6148dep-16f, 0x1.cp-22f,
                                 0x1.d483ap-12f};
    static float x[BATCH];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof hard / sizeof hard[0]; i++)
        n += add_around(x + n, hard[i]);
    for (int function = 0; function < PROBE_COUNT; function++)
        check_batch(function, x);
}

static void gates_have_their_limits_at_infinity(void **state)
{
    static const int gates[][2] = {{PROBE_silu, PROBE_silu_slope},
                                   {PROBE_gelu, PROBE_gelu_slope},
                                   {PROBE_gelu_tanh, PROBE_gelu_tanh_slope}};
    const float inf = __builtin_inff();
    float x[16] = {inf, -inf, -0.0f, 0.0f}, y[16];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        probe_ref.evaluate(gates[i][0], y, x, 16);
        assert_int_equal(fb_float_bits(y[0]), fb_float_bits(inf));
        assert_int_equal(fb_float_bits(y[1]), fb_float_bits(-0.0f));
        assert_int_equal(fb_float_bits(y[2]), fb_float_bits(-0.0f));
        assert_int_equal(fb_float_bits(y[3]), fb_float_bits(0.0f));
        probe_ref.evaluate(gates[i][1], y, x, 16);
        assert_int_equal(fb_float_bits(y[0]), fb_float_bits(1.0f));
        assert_int_equal(fb_float_bits(y[1]), fb_float_bits(-0.0f));
        assert_int_equal(fb_float_bits(y[2]), fb_float_bits(0.5f));
    }
}

/* 2^-39 of the value is what d16_doubtful leaves open. Beyond |x| = 4 and 10 erf and tanh are
 * clamped, to values whose last bits are far from one half. */
static void estimates_are_as_good_as_their_doubt(void **state)
{
    enum { SAMPLE = 512 };
    static float x[SAMPLE];
    static double want[SAMPLE], y[SAMPLE];
    const probe *all[4];
    const size_t n = probes(all);
    uint32_t bits = 7;

    (void)state;
    for (int function = 0; function < PROBE_COUNT; function++) {
        for (int i = 0; i < SAMPLE; i++) {
            do { /* half of them of all magnitudes, half between -8 and 8 */
                bits = bits * 1664525u + 1013904223u;
                x[i] = i % 2 ? fb_float_of_bits(bits) : (float)((double)bits * 0x1p-28 - 8.0);
            } while (!exact_in_domain(function, x[i]) || !(fabsf(x[i]) < 0x1p127f) ||
                     (function == PROBE_log && x[i] <= 0.0f) ||
                     (function == PROBE_erf && fabsf(x[i]) > 4.0f) ||
                     (function == PROBE_tanh && fabsf(x[i]) > 10.0f));
            want[i] = fabsf(x[i]) < 200.0f || function == PROBE_log ? exact_double(function, x[i])
                                                                    : __builtin_nan("");
        }
        for (size_t p = 0; p < n; p++) {
            all[p]->estimate(function, y, x, SAMPLE);
            for (int i = 0; i < SAMPLE; i++)
                if (fabs(y[i] - want[i]) > 0x1p-39 * fabs(want[i]))
                    fail_msg("%s: the estimate of %s(%a) is %a, not %a", all[p]->isa,
                             exact_name(function), (double)x[i], y[i], want[i]);
        }
    }
}

/* The fast path of the test's own reference against MPFR. */
static void the_quick_reference_is_mpfr(void **state)
{
    uint32_t bits = 99;

    (void)state;
    for (int function = 0; function < PROBE_COUNT; function++)
        for (int i = 0; i < 500; i++) {
            const float x = fb_float_of_bits(bits += 0x9e3779b1u);

            if (exact_in_domain(function, x))
                assert_int_equal(canonical_bits(exact_value(function, x)),
                                 canonical_bits(exact_value_mpfr(function, x)));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_are_as_good_as_their_doubt),
        cmocka_unit_test(the_quick_reference_is_mpfr),
        cmocka_unit_test(sampled_inputs_are_rounded_correctly),
        cmocka_unit_test(awkward_inputs_are_rounded_correctly),
        cmocka_unit_test(ties_around_one_half_are_decided_by_the_next_term),
        cmocka_unit_test(inputs_next_to_ties_are_rounded_correctly),
        cmocka_unit_test(gates_have_their_limits_at_infinity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
