/* SPDX-License-Identifier: Apache-2.0
 *
 * software_fma.h - float32 fused multiply-add from float64 operations, for machines without it.
 */
#ifndef FB_SOFTWARE_FMA_H
#define FB_SOFTWARE_FMA_H

#include <stdint.h>
#include <string.h>

/*
 * a·b + c, rounded once to nearest even.
 *
 * The product of two float32 is exact in float64. Its sum with c is rounded to odd there: where the
 * rounding was inexact, of the two float64 neighbours the one with an odd last bit is taken, so
 * that the second rounding, to float32, cannot mistake the sum for a tie or for an exact value.
 * This is the correct result since 53 >= 24 + 2 (Boldo and Melquiond 2008), for subnormal results
 * too.
 */
static inline __attribute__((always_inline, unused)) float software_fmaf(float a, float b, float c)
{
    const double product = (double)a * (double)b;
    const double addend = (double)c;
    const double sum = product + addend;
    /* The exact error of the sum (Knuth); NaN where the sum is not finite. */
    const double part = sum - product;
    const double error = (product - (sum - part)) + (addend - part);
    uint64_t bits, error_bits, step;
    double odd;

    memcpy(&bits, &sum, sizeof bits);
    memcpy(&error_bits, &error, sizeof error_bits);
    /* One unit away from zero where the error has the sign of the sum, else one towards it. */
    step = 1 - 2 * ((bits ^ error_bits) >> 63);
    step &= (bits & 1) - 1; /* odd already: stay */
    bits += step;
    memcpy(&odd, &bits, sizeof odd);
    return (float)(error > 0.0 || error < 0.0 ? odd : sum);
}

#endif
