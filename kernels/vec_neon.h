/* SPDX-License-Identifier: Apache-2.0
 *
 * vec_neon.h - vec_ref.h's names in Advanced SIMD of 64-bit Arm: a f16 is four registers, a d16
 * eight.
 */
#ifndef FB_VEC_NEON_H
#define FB_VEC_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/vec_loop.h"

/* 2^-124, its bits doubled; less one. */
enum { TINY_END = 0x02ffffff };

/* Tiles of a product: rows x vectors of 16 columns. 6 x 1 is 24 accumulators of 32 registers. */
enum { TILE_ROWS = 6, TILE_VECTORS_MAX = 2, TALLEST_VECTORS = 1 };
/* clang-format off */
#define TILE_SHAPES(X)                                                                             \
    X(1, 1) X(1, 2) X(2, 1) X(2, 2) X(3, 1) X(4, 1) X(5, 1) X(6, 1)
/* clang-format on */

/* d16_lookup takes many instructions. */
enum { LOOKUP_IS_QUICK = 0 };

/* f16_lookup too. */
enum { FLOAT_ENTRIES = 0 };

/* Registers do not suffice to estimate two vectors at a time. */
enum { PAIRS_PAY = 0 };
#define INTERLEAVED

#define VEC static inline __attribute__((always_inline, unused))

typedef struct f16 {
    float32x4_t v[4]; /* lanes 4i to 4i + 3 */
} f16;

typedef struct fmask {
    uint32x4_t v[4];
} fmask;

typedef struct d16 {
    float64x2_t v[8]; /* lanes 2i, 2i + 1 */
} d16;

typedef struct dmask {
    uint64x2_t v[8];
} dmask;

typedef struct q16 {
    uint64x2_t v[8];
} q16;

/* One operation on each register. */
#define EACH(type, n, expression)                                                                  \
    type r;                                                                                        \
    UNROLL(8) for (int i = 0; i < (n); i++) r.v[i] = (expression);                                 \
    return r
#define EACH_F(type, expression) EACH(type, 4, expression)
#define EACH_D(type, expression) EACH(type, 8, expression)

/* --- float32 ---------------------------------------------------------------------------------- */

VEC f16 f16_set1(float x)
{
    EACH_F(f16, vdupq_n_f32(x));
}

VEC f16 f16_load(const float *p)
{
    EACH_F(f16, vld1q_f32(p + 4 * i));
}

VEC void f16_store(float *p, f16 x)
{
    UNROLL(4)
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, x.v[i]);
}

VEC f16 f16_load_n(const float *p, size_t n)
{
    float lane[16] = {0};

    memcpy(lane, p, n * sizeof *p);
    return f16_load(lane);
}

VEC void f16_store_n(float *p, f16 x, size_t n)
{
    float lane[16];

    f16_store(lane, x);
    memcpy(p, lane, n * sizeof *p);
}

VEC f16 f16_add(f16 a, f16 b)
{
    EACH_F(f16, vaddq_f32(a.v[i], b.v[i]));
}

VEC f16 f16_sub(f16 a, f16 b)
{
    EACH_F(f16, vsubq_f32(a.v[i], b.v[i]));
}

VEC f16 f16_mul(f16 a, f16 b)
{
    EACH_F(f16, vmulq_f32(a.v[i], b.v[i]));
}

VEC f16 f16_div(f16 a, f16 b)
{
    EACH_F(f16, vdivq_f32(a.v[i], b.v[i]));
}

VEC f16 f16_sqrt(f16 a)
{
    EACH_F(f16, vsqrtq_f32(a.v[i]));
}

VEC f16 f16_fma(f16 a, f16 b, f16 c)
{
    EACH_F(f16, vfmaq_f32(c.v[i], a.v[i], b.v[i]));
}

VEC fmask f16_gt(f16 a, f16 b)
{
    EACH_F(fmask, vcgtq_f32(a.v[i], b.v[i]));
}

VEC fmask f16_le(f16 a, f16 b)
{
    EACH_F(fmask, vcleq_f32(a.v[i], b.v[i]));
}

VEC fmask f16_is_nan(f16 a)
{
    EACH_F(fmask, vmvnq_u32(vceqq_f32(a.v[i], a.v[i])));
}

VEC fmask fmask_or(fmask a, fmask b)
{
    EACH_F(fmask, vorrq_u32(a.v[i], b.v[i]));
}

VEC fmask fmask_none(void)
{
    EACH_F(fmask, vdupq_n_u32(0));
}

VEC bool fmask_any(fmask m)
{
    return vmaxvq_u32(vorrq_u32(vorrq_u32(m.v[0], m.v[1]), vorrq_u32(m.v[2], m.v[3]))) != 0;
}

VEC f16 f16_abs(f16 x)
{
    EACH_F(f16, vabsq_f32(x.v[i]));
}

VEC fmask f16_beyond(f16 x, float bound)
{
    const float32x4_t all = vdupq_n_f32(bound);

    EACH_F(fmask, vmvnq_u32(vcaleq_f32(x.v[i], all)));
}

/* Doubled, a sign is gone; less one, a zero is the largest number. */
VEC fmask f16_tiny(f16 x)
{
    const uint32x4_t one = vdupq_n_u32(1), end = vdupq_n_u32(TINY_END);

    EACH_F(fmask, vcltq_u32(vsubq_u32(vshlq_n_u32(vreinterpretq_u32_f32(x.v[i]), 1), one), end));
}

VEC f16 f16_at_most(f16 x, float bound)
{
    const float32x4_t all = vdupq_n_f32(bound);

    EACH_F(f16, vbslq_f32(vcgtq_f32(x.v[i], all), all, x.v[i]));
}

VEC f16 f16_at_least(f16 x, float bound)
{
    const float32x4_t all = vdupq_n_f32(bound);

    EACH_F(f16, vbslq_f32(vcltq_f32(x.v[i], all), all, x.v[i]));
}

VEC fmask f16_differ(f16 a, f16 b)
{
    EACH_F(fmask, vmvnq_u32(vceqq_f32(a.v[i], b.v[i])));
}

VEC f16 f16_neg(f16 x)
{
    EACH_F(f16, vnegq_f32(x.v[i]));
}

VEC f16 f16_lookup(const float *table, f16 index)
{
    uint32_t bits[16];
    float lane[16];

    memcpy(bits, &index, sizeof bits);
    for (int i = 0; i < 16; i++)
        lane[i] = table[bits[i] & 7];
    return f16_load(lane);
}

VEC f16 f16_add_bits(f16 x, f16 bits, int left)
{
    const int32x4_t n = vdupq_n_s32(left);

    EACH_F(f16, vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x.v[i]),
                                                vshlq_u32(vreinterpretq_u32_f32(bits.v[i]), n))));
}

VEC f16 f16_select(fmask m, f16 a, f16 b)
{
    EACH_F(f16, vbslq_f32(m.v[i], a.v[i], b.v[i]));
}

/* A 4x4 block whose rows are given, to its columns. */
VEC void transpose4(float32x4_t r[4])
{
    const float32x4x2_t ab = vtrnq_f32(r[0], r[1]), cd = vtrnq_f32(r[2], r[3]);

    r[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    r[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    r[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    r[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}

VEC void f16_transpose(f16 row[16])
{
    f16 column[16];

    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        UNROLL(4)
        for (int j = 0; j < 4; j++) {
            float32x4_t block[4] = {row[4 * i].v[j], row[4 * i + 1].v[j], row[4 * i + 2].v[j],
                                    row[4 * i + 3].v[j]};
            transpose4(block);
            column[4 * j].v[i] = block[0];
            column[4 * j + 1].v[i] = block[1];
            column[4 * j + 2].v[i] = block[2];
            column[4 * j + 3].v[i] = block[3];
        }
    }
    memcpy(row, column, sizeof column);
}

/* --- float64 ---------------------------------------------------------------------------------- */

VEC d16 d16_set1(double x)
{
    EACH_D(d16, vdupq_n_f64(x));
}

VEC d16 d16_load(const double *p)
{
    EACH_D(d16, vld1q_f64(p + 2 * i));
}

VEC void d16_store(double *p, d16 x)
{
    UNROLL(8)
    for (int i = 0; i < 8; i++)
        vst1q_f64(p + 2 * i, x.v[i]);
}

VEC d16 d16_widen(f16 x)
{
    EACH_D(d16,
           i % 2 == 0 ? vcvt_f64_f32(vget_low_f32(x.v[i / 2])) : vcvt_high_f64_f32(x.v[i / 2]));
}

VEC f16 d16_narrow(d16 x)
{
    EACH_F(f16, vcvt_high_f32_f64(vcvt_f32_f64(x.v[2 * i]), x.v[2 * i + 1]));
}

VEC fmask d16_doubtful(d16 x)
{
    const uint32x4_t half = vdupq_n_u32((1u << 28) - (1u << 14)), mask = vdupq_n_u32(0x1fff8000);

    EACH_F(fmask, vceqzq_u32(vandq_u32(vsubq_u32(vuzp1q_u32(vreinterpretq_u32_f64(x.v[2 * i]),
                                                            vreinterpretq_u32_f64(x.v[2 * i + 1])),
                                                 half),
                                       mask)));
}

VEC d16 d16_add(d16 a, d16 b)
{
    EACH_D(d16, vaddq_f64(a.v[i], b.v[i]));
}

VEC d16 d16_sub(d16 a, d16 b)
{
    EACH_D(d16, vsubq_f64(a.v[i], b.v[i]));
}

VEC d16 d16_mul(d16 a, d16 b)
{
    EACH_D(d16, vmulq_f64(a.v[i], b.v[i]));
}

VEC d16 d16_div(d16 a, d16 b)
{
    EACH_D(d16, vdivq_f64(a.v[i], b.v[i]));
}

VEC d16 d16_muladd(d16 a, d16 b, d16 c)
{
    EACH_D(d16, vfmaq_f64(c.v[i], a.v[i], b.v[i]));
}

VEC d16 d16_mulsub(d16 a, d16 b, d16 c)
{
    EACH_D(d16, vfmaq_f64(vnegq_f64(c.v[i]), a.v[i], b.v[i]));
}

VEC dmask d16_gt(d16 a, d16 b)
{
    EACH_D(dmask, vcgtq_f64(a.v[i], b.v[i]));
}

VEC d16 d16_select(dmask m, d16 a, d16 b)
{
    EACH_D(d16, vbslq_f64(m.v[i], a.v[i], b.v[i]));
}

VEC double d16_fold(d16 x)
{
    float64x2_t two;

    UNROLL(4)
    for (int i = 0; i < 4; i++)
        x.v[i] = vaddq_f64(x.v[i], x.v[i + 4]);
    two = vaddq_f64(vaddq_f64(x.v[0], x.v[2]), vaddq_f64(x.v[1], x.v[3]));
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}

VEC float64x2_t lookup_pair(const double table[16], uint64x2_t index)
{
    const float64x2_t low = vld1q_dup_f64(table + (vgetq_lane_u64(index, 0) & 15));

    return vld1q_lane_f64(table + (vgetq_lane_u64(index, 1) & 15), low, 1);
}

VEC d16 d16_lookup(const double table[16], q16 index)
{
    EACH_D(d16, lookup_pair(table, index.v[i]));
}

/* --- Bits of float64 -------------------------------------------------------------------------- */

VEC q16 d16_bits(d16 x)
{
    EACH_D(q16, vreinterpretq_u64_f64(x.v[i]));
}

VEC d16 q16_double(q16 x)
{
    EACH_D(d16, vreinterpretq_f64_u64(x.v[i]));
}

VEC q16 q16_set1(uint64_t x)
{
    EACH_D(q16, vdupq_n_u64(x));
}

VEC q16 q16_add(q16 a, q16 b)
{
    EACH_D(q16, vaddq_u64(a.v[i], b.v[i]));
}

VEC q16 q16_sub(q16 a, q16 b)
{
    EACH_D(q16, vsubq_u64(a.v[i], b.v[i]));
}

VEC q16 q16_and(q16 a, q16 b)
{
    EACH_D(q16, vandq_u64(a.v[i], b.v[i]));
}

VEC q16 q16_xor(q16 a, q16 b)
{
    EACH_D(q16, veorq_u64(a.v[i], b.v[i]));
}

VEC q16 q16_shl(q16 a, int bits)
{
    EACH_D(q16, vshlq_u64(a.v[i], vdupq_n_s64(bits)));
}

VEC q16 q16_shr(q16 a, int bits)
{
    EACH_D(q16, vshlq_u64(a.v[i], vdupq_n_s64(-bits)));
}

#endif
