/* SPDX-License-Identifier: Apache-2.0
 *
 * vec_ref.h - vectors of 16 lanes in plain C: the definition that every other vec_*.h follows.
 *
 * Types, all of 16 lanes numbered from 0:
 *   f16   float32             fmask  a choice for each of its lanes
 *   d16   float64             dmask  a choice for each of its lanes
 *   q16   64-bit integers, arithmetic modulo 2^64
 *
 * Every operation is the IEEE one in each lane, rounded to nearest even. A body that is written
 * with these names has one order, whatever the width of the machine's registers. Everything is
 * static, so that nothing compiled for one instruction set can be linked into another's code.
 */
#ifndef FB_VEC_REF_H
#define FB_VEC_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/software_fma.h"

/* A processor's own fused multiply-add where the file that includes this asks for it: the same
 * bits, many times faster. */
#ifdef VEC_REF_HARDWARE_FMA
#define LANE_FMA(a, b, c)    __builtin_fmaf(a, b, c)
#define LANE_MULADD(a, b, c) __builtin_fma(a, b, c)
#else
#define LANE_FMA(a, b, c)    software_fmaf(a, b, c)
#define LANE_MULADD(a, b, c) ((a) * (b) + (c))
#endif

/* The tiles of C that a product may keep in registers, rows x vectors of 16 columns: all heights up
 * to TILE_ROWS, and widths that are powers of two from 1, for the highest TALLEST_VECTORS. */
enum { TILE_ROWS = 4, TILE_VECTORS_MAX = 1, TALLEST_VECTORS = 1 };
/* clang-format off */
#define TILE_SHAPES(X)                                                                             \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1)
/* clang-format on */

/* Loops over vectors stay loops here: unrolled ones would take a compiler a minute. */
#define UNROLL(n)
#define UNROLL_BY(n)

/* Whether d16_lookup takes but an instruction or two: a long polynomial is then slower. */
enum { LOOKUP_IS_QUICK = 0 };

/* How many entries f16_lookup has, 8 or 32, where it and f16_fma take but an instruction or two;
 * else 0. */
enum { FLOAT_ENTRIES = 0 };

/* Whether registers suffice to estimate two vectors at a time. */
enum { PAIRS_PAY = 0 };
#define INTERLEAVED

#define VEC static inline __attribute__((unused))

typedef struct f16 {
    float lane[16];
} f16;

typedef struct fmask {
    bool lane[16];
} fmask;

typedef struct d16 {
    double lane[16];
} d16;

typedef struct dmask {
    bool lane[16];
} dmask;

typedef struct q16 {
    uint64_t lane[16];
} q16;

#define EACH_LANE(type, expression)                                                                \
    type r;                                                                                        \
    for (int i = 0; i < 16; i++)                                                                   \
        r.lane[i] = (expression);                                                                  \
    return r

/* --- float32 ---------------------------------------------------------------------------------- */

VEC f16 f16_set1(float x)
{
    EACH_LANE(f16, x);
}

/* 16 floats at p, of any alignment. */
VEC f16 f16_load(const float *p)
{
    EACH_LANE(f16, p[i]);
}

VEC void f16_store(float *p, f16 x)
{
    memcpy(p, x.lane, sizeof x.lane);
}

/* The n <= 16 floats at p, nothing beyond them is touched; the lanes from n on are +0. */
VEC f16 f16_load_n(const float *p, size_t n)
{
    EACH_LANE(f16, (size_t)i < n ? p[i] : 0.0f);
}

VEC void f16_store_n(float *p, f16 x, size_t n)
{
    memcpy(p, x.lane, n * sizeof *p);
}

VEC f16 f16_add(f16 a, f16 b)
{
    EACH_LANE(f16, a.lane[i] + b.lane[i]);
}

VEC f16 f16_sub(f16 a, f16 b)
{
    EACH_LANE(f16, a.lane[i] - b.lane[i]);
}

VEC f16 f16_mul(f16 a, f16 b)
{
    EACH_LANE(f16, a.lane[i] * b.lane[i]);
}

VEC f16 f16_div(f16 a, f16 b)
{
    EACH_LANE(f16, a.lane[i] / b.lane[i]);
}

VEC f16 f16_sqrt(f16 a)
{
    EACH_LANE(f16, __builtin_sqrtf(a.lane[i]));
}

/* a·b + c, rounded once. */
VEC f16 f16_fma(f16 a, f16 b, f16 c)
{
    EACH_LANE(f16, LANE_FMA(a.lane[i], b.lane[i], c.lane[i]));
}

/* Comparisons with a NaN are false. */
VEC fmask f16_gt(f16 a, f16 b)
{
    EACH_LANE(fmask, a.lane[i] > b.lane[i]);
}

VEC fmask f16_le(f16 a, f16 b)
{
    EACH_LANE(fmask, a.lane[i] <= b.lane[i]);
}

VEC fmask f16_is_nan(f16 a)
{
    EACH_LANE(fmask, a.lane[i] != a.lane[i]);
}

VEC fmask fmask_or(fmask a, fmask b)
{
    EACH_LANE(fmask, a.lane[i] || b.lane[i]);
}

VEC fmask fmask_none(void)
{
    EACH_LANE(fmask, false);
}

VEC bool fmask_any(fmask m)
{
    bool any = false;

    for (int i = 0; i < 16; i++)
        any |= m.lane[i];
    return any;
}

VEC f16 f16_abs(f16 x)
{
    EACH_LANE(f16, __builtin_fabsf(x.lane[i]));
}

/* Where x is not one of -bound .. bound; a NaN is not. */
VEC fmask f16_beyond(f16 x, float bound)
{
    EACH_LANE(fmask, !(__builtin_fabsf(x.lane[i]) <= bound));
}

/* Where x is not 0 but smaller than 2^-124: a quarter of it may be subnormal. */
VEC fmask f16_tiny(f16 x)
{
    EACH_LANE(fmask, x.lane[i] != 0.0f && __builtin_fabsf(x.lane[i]) < 0x1p-124f);
}

/* bound where x is above it, else x: NaN stays, and -0 is not below +0. */
VEC f16 f16_at_most(f16 x, float bound)
{
    EACH_LANE(f16, x.lane[i] > bound ? bound : x.lane[i]);
}

/* bound where x is below it, else x. */
VEC f16 f16_at_least(f16 x, float bound)
{
    EACH_LANE(f16, x.lane[i] < bound ? bound : x.lane[i]);
}

/* Where they are not equal; a NaN is equal to nothing. */
VEC fmask f16_differ(f16 a, f16 b)
{
    EACH_LANE(fmask, a.lane[i] != b.lane[i]);
}

VEC f16 f16_neg(f16 x)
{
    EACH_LANE(f16, -x.lane[i]);
}

/* table[bits of index mod FLOAT_ENTRIES] in each lane. */
VEC f16 f16_lookup(const float *table, f16 index)
{
    uint32_t bits[16];

    memcpy(bits, &index, sizeof bits);
    EACH_LANE(f16, table[bits[i] & 7]);
}

/* The bits of `bits`, shifted left, added to those of x, modulo 2^32. */
VEC f16 f16_add_bits(f16 x, f16 bits, int left)
{
    uint32_t a[16], b[16];

    memcpy(a, &x, sizeof a);
    memcpy(b, &bits, sizeof b);
    for (int i = 0; i < 16; i++)
        a[i] += b[i] << left;
    memcpy(&x, a, sizeof a);
    return x;
}

/* m ? a : b */
VEC f16 f16_select(fmask m, f16 a, f16 b)
{
    EACH_LANE(f16, m.lane[i] ? a.lane[i] : b.lane[i]);
}

/* Rows become columns: lane j of row i goes to lane i of row j. */
VEC void f16_transpose(f16 row[16])
{
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < i; j++) {
            const float swap = row[i].lane[j];
            row[i].lane[j] = row[j].lane[i];
            row[j].lane[i] = swap;
        }
}

/* --- float64 ---------------------------------------------------------------------------------- */

VEC d16 d16_set1(double x)
{
    EACH_LANE(d16, x);
}

VEC d16 d16_load(const double *p)
{
    EACH_LANE(d16, p[i]);
}

VEC void d16_store(double *p, d16 x)
{
    memcpy(p, x.lane, sizeof x.lane);
}

VEC d16 d16_widen(f16 x)
{
    EACH_LANE(d16, (double)x.lane[i]);
}

/* To float32, rounded to nearest even; overflow gives infinity, small results are subnormal. */
VEC f16 d16_narrow(d16 x)
{
    EACH_LANE(f16, (float)x.lane[i]);
}

/* Where the 29 bits that narrowing takes off a normal result are within 2^14 of one half: closer to
 * the middle of two float32 than 2^-39 of x, and never farther from it than 2^-38. */
VEC fmask d16_doubtful(d16 x)
{
    uint64_t bits[16];

    memcpy(bits, &x, sizeof bits);
    EACH_LANE(fmask, ((bits[i] - (1u << 28) + (1u << 14)) & 0x1fff8000u) == 0);
}

VEC d16 d16_add(d16 a, d16 b)
{
    EACH_LANE(d16, a.lane[i] + b.lane[i]);
}

VEC d16 d16_sub(d16 a, d16 b)
{
    EACH_LANE(d16, a.lane[i] - b.lane[i]);
}

VEC d16 d16_mul(d16 a, d16 b)
{
    EACH_LANE(d16, a.lane[i] * b.lane[i]);
}

VEC d16 d16_div(d16 a, d16 b)
{
    EACH_LANE(d16, a.lane[i] / b.lane[i]);
}

/* a·b + c, rounded once or twice as the machine likes: for estimates whose error is bounded, never
 * for what a bit depends on. */
VEC d16 d16_muladd(d16 a, d16 b, d16 c)
{
    EACH_LANE(d16, LANE_MULADD(a.lane[i], b.lane[i], c.lane[i]));
}

/* a·b - c likewise. */
VEC d16 d16_mulsub(d16 a, d16 b, d16 c)
{
    EACH_LANE(d16, LANE_MULADD(a.lane[i], b.lane[i], -c.lane[i]));
}

VEC dmask d16_gt(d16 a, d16 b)
{
    EACH_LANE(dmask, a.lane[i] > b.lane[i]);
}

VEC d16 d16_select(dmask m, d16 a, d16 b)
{
    EACH_LANE(d16, m.lane[i] ? a.lane[i] : b.lane[i]);
}

/* The sum of all lanes: lane j + lane j+h for h = 8, 4, 2, 1. */
VEC double d16_fold(d16 x)
{
    for (int h = 8; h > 0; h /= 2)
        for (int j = 0; j < h; j++)
            x.lane[j] = x.lane[j] + x.lane[j + h];
    return x.lane[0];
}

/* table[index mod 16] in each lane. */
VEC d16 d16_lookup(const double table[16], q16 index)
{
    EACH_LANE(d16, table[index.lane[i] & 15]);
}

/* --- Bits of float64 -------------------------------------------------------------------------- */

VEC q16 d16_bits(d16 x)
{
    q16 r;
    memcpy(&r, &x, sizeof r);
    return r;
}

VEC d16 q16_double(q16 x)
{
    d16 r;
    memcpy(&r, &x, sizeof r);
    return r;
}

VEC q16 q16_set1(uint64_t x)
{
    EACH_LANE(q16, x);
}

VEC q16 q16_add(q16 a, q16 b)
{
    EACH_LANE(q16, a.lane[i] + b.lane[i]);
}

VEC q16 q16_sub(q16 a, q16 b)
{
    EACH_LANE(q16, a.lane[i] - b.lane[i]);
}

VEC q16 q16_and(q16 a, q16 b)
{
    EACH_LANE(q16, a.lane[i] & b.lane[i]);
}

VEC q16 q16_xor(q16 a, q16 b)
{
    EACH_LANE(q16, a.lane[i] ^ b.lane[i]);
}

VEC q16 q16_shl(q16 a, int bits)
{
    EACH_LANE(q16, a.lane[i] << bits);
}

VEC q16 q16_shr(q16 a, int bits)
{
    EACH_LANE(q16, a.lane[i] >> bits);
}

#endif
