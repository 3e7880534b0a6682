/* SPDX-License-Identifier: Apache-2.0
 *
 * test_software_fma.c - the fused multiply-add of ref has the bits of libm's fmaf.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "kernels/software_fma.h"

static void check(float a, float b, float c)
{
    const float want = fmaf(a, b, c), got = software_fmaf(a, b, c);

    if (want != want ? got == got : fb_float_bits(want) != fb_float_bits(got))
        fail_msg("fma(%a, %a, %a) is %a, not %a", (double)a, (double)b, (double)c, (double)got,
                 (double)want);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void all_pairs_of_awkward_numbers_agree(void **state)
{
    static const float awkward[] = {
        0.0f,
        -0.0f,
        0x1p-149f,
        -0x1p-149f,
        0x1.fffffcp-127f,
        0x1p-126f,
        -0x1p-126f,
        0x1p-75f,
        -0x1p-75f,
        0x1.000002p-74f,
        0x1.fffffep-1f,
        1.0f,
        0x1.000002p0f,
        -1.0f,
        -0x1.000002p0f,
        0x1.8p0f,
        0x1.fffffep0f,
        0x1p12f,
        0x1.001p12f,
        0x1p24f,
        -0x1p24f,
        0x1.fffffep126f,
        0x1p127f,
        -0x1p127f,
        0x1.fffffep127f,
        0x1p63f,
        0x1p64f,
        __builtin_inff(),
        -__builtin_inff(),
        __builtin_nanf(""),
    };
    const size_t n = sizeof awkward / sizeof awkward[0];

    (void)state;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < n; k++)
                check(awkward[i], awkward[j], awkward[k]);
}

static void random_bits_agree(void **state)
{
    uint64_t random = 88172645463325252;

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        const uint64_t r = next_random(&random);
        check(fb_float_of_bits((uint32_t)r), fb_float_of_bits((uint32_t)(r >> 32)),
              fb_float_of_bits((uint32_t)next_random(&random)));
    }
}

/* c is close to -a·b, or a half unit of it away: where a second rounding would show. */
static void near_ties_and_cancellations_agree(void **state)
{
    uint64_t random = 362436069;

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        const uint64_t r = next_random(&random);
        const float a = fb_float_of_bits(((uint32_t)r & 0x007fffff) | 0x3f800000);
        const float b = fb_float_of_bits(((uint32_t)(r >> 23) & 0x007ff000) | 0x3f800000);
        const int shift = (int)(r >> 50) % 60 - 30;

        check(a, b, -(a * b));
        check(a, b, ldexpf(a, shift));
        check(a, ldexpf(b, -149 + (int)(r >> 58) % 20), ldexpf(-a, -140));
        check(a, b, ldexpf(1.0f, -24 - (int)(r >> 60)));
        check(a, b, -ldexpf(1.0f, -24 - (int)(r >> 60)));
        check(ldexpf(a, 24), ldexpf(b, -24), ldexpf(1.0f, 24 + (int)(r >> 62)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pairs_of_awkward_numbers_agree),
        cmocka_unit_test(random_bits_agree),
        cmocka_unit_test(near_ties_and_cancellations_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
