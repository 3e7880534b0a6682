/* SPDX-License-Identifier: Apache-2.0
 *
 * vec_avx2.h - vec_ref.h's names in AVX2 with FMA: a f16 is two registers, a d16 four.
 */
#ifndef FB_VEC_AVX2_H
#define FB_VEC_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/vec_loop.h"

/* 2^-124, its bits doubled; less one. */
enum { TINY_END = 0x02ffffff };

/* Tiles of a product: rows x vectors of 16 columns. 6 x 1 is 12 accumulators, two registers of B
 * and one of A. */
enum { TILE_ROWS = 6, TILE_VECTORS_MAX = 4, TALLEST_VECTORS = 1 };
/* clang-format off */
#define TILE_SHAPES(X)                                                                             \
    X(1, 1) X(1, 2) X(1, 4) X(2, 1) X(2, 2) X(3, 1) X(4, 1) X(5, 1) X(6, 1)
/* clang-format on */

/* d16_lookup takes many instructions. */
enum { LOOKUP_IS_QUICK = 0 };

/* f16_lookup has so many entries; 0: it takes many instructions. */
enum { FLOAT_ENTRIES = 8 };

/* Registers do not suffice to estimate two vectors at a time. */
enum { PAIRS_PAY = 0 };
#define INTERLEAVED

#define VEC static inline __attribute__((always_inline, unused))

typedef struct f16 {
    __m256 lo, hi; /* lanes 0 to 7, 8 to 15 */
} f16;

typedef f16 fmask; /* all bits of a lane set: true */

typedef struct d16 {
    __m256d v0, v1, v2, v3; /* lanes 4i to 4i + 3 in vi */
} d16;

typedef d16 dmask;

typedef struct q16 {
    __m256i v0, v1, v2, v3;
} q16;

/* One operation on each register of a d16 or q16. Spelled out: as loops over arrays, compilers take
 * ten times as long. */
#define EACH1(type, f, x)                                                                          \
    return (type)                                                                                  \
    {                                                                                              \
        f(x.v0), f(x.v1), f(x.v2), f(x.v3)                                                         \
    }
#define EACH2(type, f, x, y)                                                                       \
    return (type)                                                                                  \
    {                                                                                              \
        f(x.v0, y.v0), f(x.v1, y.v1), f(x.v2, y.v2), f(x.v3, y.v3)                                 \
    }
#define EACH_WITH(type, f, x, n)                                                                   \
    return (type)                                                                                  \
    {                                                                                              \
        f(x.v0, n), f(x.v1, n), f(x.v2, n), f(x.v3, n)                                             \
    }

/* --- float32 ---------------------------------------------------------------------------------- */

VEC f16 f16_set1(float x)
{
    return (f16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

VEC f16 f16_load(const float *p)
{
    return (f16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

VEC void f16_store(float *p, f16 x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}

/* The mask of lanes from .. from + 7 that are below n. */
VEC __m256i lanes_below(size_t n, int from)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - from), lane);
}

VEC f16 f16_load_n(const float *p, size_t n)
{
    return (f16){_mm256_maskload_ps(p, lanes_below(n, 0)),
                 _mm256_maskload_ps(p + 8, lanes_below(n, 8))};
}

VEC void f16_store_n(float *p, f16 x, size_t n)
{
    _mm256_maskstore_ps(p, lanes_below(n, 0), x.lo);
    _mm256_maskstore_ps(p + 8, lanes_below(n, 8), x.hi);
}

VEC f16 f16_add(f16 a, f16 b)
{
    return (f16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

VEC f16 f16_sub(f16 a, f16 b)
{
    return (f16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

VEC f16 f16_mul(f16 a, f16 b)
{
    return (f16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

VEC f16 f16_div(f16 a, f16 b)
{
    return (f16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

VEC f16 f16_sqrt(f16 a)
{
    return (f16){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)};
}

VEC f16 f16_fma(f16 a, f16 b, f16 c)
{
    return (f16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

VEC fmask f16_gt(f16 a, f16 b)
{
    return (fmask){_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)};
}

VEC fmask f16_le(f16 a, f16 b)
{
    return (fmask){_mm256_cmp_ps(a.lo, b.lo, _CMP_LE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LE_OQ)};
}

VEC fmask f16_is_nan(f16 a)
{
    return (fmask){_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q),
                   _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)};
}

VEC fmask fmask_or(fmask a, fmask b)
{
    return (fmask){_mm256_or_ps(a.lo, b.lo), _mm256_or_ps(a.hi, b.hi)};
}

VEC fmask fmask_none(void)
{
    return (fmask){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

VEC bool fmask_any(fmask m)
{
    return _mm256_movemask_ps(_mm256_or_ps(m.lo, m.hi)) != 0;
}

VEC f16 f16_abs(f16 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);

    return (f16){_mm256_andnot_ps(sign, x.lo), _mm256_andnot_ps(sign, x.hi)};
}

VEC fmask f16_beyond(f16 x, float bound)
{
    const __m256 all = _mm256_set1_ps(bound);
    const f16 size = f16_abs(x);

    return (fmask){_mm256_cmp_ps(size.lo, all, _CMP_NLE_UQ),
                   _mm256_cmp_ps(size.hi, all, _CMP_NLE_UQ)};
}

/* Doubled, a sign is gone; less one, a zero is the largest number. */
VEC __m256 tiny_lanes(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x), twice = _mm256_add_epi32(bits, bits);
    const __m256i above_zero = _mm256_add_epi32(twice, _mm256_set1_epi32(INT32_MAX));

    return _mm256_castsi256_ps(
        _mm256_cmpgt_epi32(_mm256_set1_epi32(INT32_MIN + TINY_END), above_zero));
}

VEC fmask f16_tiny(f16 x)
{
    return (fmask){tiny_lanes(x.lo), tiny_lanes(x.hi)};
}

/* Where neither compares, these instructions give their second operand. */
VEC f16 f16_at_most(f16 x, float bound)
{
    const __m256 all = _mm256_set1_ps(bound);

    return (f16){_mm256_min_ps(all, x.lo), _mm256_min_ps(all, x.hi)};
}

VEC f16 f16_at_least(f16 x, float bound)
{
    const __m256 all = _mm256_set1_ps(bound);

    return (f16){_mm256_max_ps(all, x.lo), _mm256_max_ps(all, x.hi)};
}

VEC fmask f16_differ(f16 a, f16 b)
{
    return (fmask){_mm256_cmp_ps(a.lo, b.lo, _CMP_NEQ_UQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_NEQ_UQ)};
}

VEC f16 f16_neg(f16 x)
{
    return (f16){-x.lo, -x.hi}; /* for compilers to make part of what follows */
}

VEC f16 f16_lookup(const float table[8], f16 index)
{
    const __m256 entries = _mm256_loadu_ps(table);

    return (f16){_mm256_permutevar8x32_ps(entries, _mm256_castps_si256(index.lo)),
                 _mm256_permutevar8x32_ps(entries, _mm256_castps_si256(index.hi))};
}

VEC __m256 add_bits(__m256 x, __m256 bits, __m128i left)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x),
                                                _mm256_sll_epi32(_mm256_castps_si256(bits), left)));
}

VEC f16 f16_add_bits(f16 x, f16 bits, int left)
{
    const __m128i n = _mm_cvtsi32_si128(left);

    return (f16){add_bits(x.lo, bits.lo, n), add_bits(x.hi, bits.hi, n)};
}

VEC f16 f16_select(fmask m, f16 a, f16 b)
{
    return (f16){_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}

/* An 8x8 block in place. */
VEC void transpose8(__m256 r[8])
{
    __m256 t[8];

    UNROLL(2) for (int i = 0; i < 8; i += 4)
    {
        const __m256 ab_lo = _mm256_unpacklo_ps(r[i], r[i + 1]);
        const __m256 ab_hi = _mm256_unpackhi_ps(r[i], r[i + 1]);
        const __m256 cd_lo = _mm256_unpacklo_ps(r[i + 2], r[i + 3]);
        const __m256 cd_hi = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);

        t[i] = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
        t[i + 1] = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
        t[i + 2] = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
        t[i + 3] = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
    }
    UNROLL(4) for (int i = 0; i < 4; i++)
    {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

VEC void f16_transpose(f16 row[16])
{
    __m256 a[8], b[8], c[8], d[8]; /* a b / c d */

    UNROLL(8) for (int i = 0; i < 8; i++)
    {
        a[i] = row[i].lo;
        b[i] = row[i].hi;
        c[i] = row[i + 8].lo;
        d[i] = row[i + 8].hi;
    }
    transpose8(a);
    transpose8(b);
    transpose8(c);
    transpose8(d);
    UNROLL(8) for (int i = 0; i < 8; i++)
    {
        row[i] = (f16){a[i], c[i]};
        row[i + 8] = (f16){b[i], d[i]};
    }
}

/* --- float64 ---------------------------------------------------------------------------------- */

VEC d16 d16_set1(double x)
{
    const __m256d all = _mm256_set1_pd(x);

    return (d16){all, all, all, all};
}

VEC d16 d16_load(const double *p)
{
    return (d16){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4), _mm256_loadu_pd(p + 8),
                 _mm256_loadu_pd(p + 12)};
}

VEC void d16_store(double *p, d16 x)
{
    _mm256_storeu_pd(p, x.v0);
    _mm256_storeu_pd(p + 4, x.v1);
    _mm256_storeu_pd(p + 8, x.v2);
    _mm256_storeu_pd(p + 12, x.v3);
}

VEC d16 d16_widen(f16 x)
{
    return (d16){_mm256_cvtps_pd(_mm256_castps256_ps128(x.lo)),
                 _mm256_cvtps_pd(_mm256_extractf128_ps(x.lo, 1)),
                 _mm256_cvtps_pd(_mm256_castps256_ps128(x.hi)),
                 _mm256_cvtps_pd(_mm256_extractf128_ps(x.hi, 1))};
}

VEC f16 d16_narrow(d16 x)
{
    return (f16){_mm256_set_m128(_mm256_cvtpd_ps(x.v1), _mm256_cvtpd_ps(x.v0)),
                 _mm256_set_m128(_mm256_cvtpd_ps(x.v3), _mm256_cvtpd_ps(x.v2))};
}

/* Eight lanes: the lower words of the first and second half, in the order of the hardware. */
VEC __m256 doubtful_lanes(__m256d a, __m256d b)
{
    const __m256 low = _mm256_shuffle_ps(_mm256_castpd_ps(a), _mm256_castpd_ps(b), 0x88);
    const __m256i from =
        _mm256_add_epi32(_mm256_castps_si256(low), _mm256_set1_epi32((1 << 14) - (1 << 28)));
    const __m256i bits = _mm256_and_si256(from, _mm256_set1_epi32(0x1fff8000));

    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, _mm256_setzero_si256()));
}

/* Which lane it is does not matter to those who ask. */
VEC fmask d16_doubtful(d16 x)
{
    return (fmask){doubtful_lanes(x.v0, x.v1), doubtful_lanes(x.v2, x.v3)};
}

VEC d16 d16_add(d16 a, d16 b)
{
    EACH2(d16, _mm256_add_pd, a, b);
}

VEC d16 d16_sub(d16 a, d16 b)
{
    EACH2(d16, _mm256_sub_pd, a, b);
}

VEC d16 d16_mul(d16 a, d16 b)
{
    EACH2(d16, _mm256_mul_pd, a, b);
}

VEC d16 d16_div(d16 a, d16 b)
{
    EACH2(d16, _mm256_div_pd, a, b);
}

VEC d16 d16_muladd(d16 a, d16 b, d16 c)
{
    return (d16){_mm256_fmadd_pd(a.v0, b.v0, c.v0), _mm256_fmadd_pd(a.v1, b.v1, c.v1),
                 _mm256_fmadd_pd(a.v2, b.v2, c.v2), _mm256_fmadd_pd(a.v3, b.v3, c.v3)};
}

VEC d16 d16_mulsub(d16 a, d16 b, d16 c)
{
    return (d16){_mm256_fmsub_pd(a.v0, b.v0, c.v0), _mm256_fmsub_pd(a.v1, b.v1, c.v1),
                 _mm256_fmsub_pd(a.v2, b.v2, c.v2), _mm256_fmsub_pd(a.v3, b.v3, c.v3)};
}

#define GREATER(a, b) _mm256_cmp_pd(a, b, _CMP_GT_OQ)
VEC dmask d16_gt(d16 a, d16 b)
{
    EACH2(dmask, GREATER, a, b);
}
#undef GREATER

VEC d16 d16_select(dmask m, d16 a, d16 b)
{
    return (d16){_mm256_blendv_pd(b.v0, a.v0, m.v0), _mm256_blendv_pd(b.v1, a.v1, m.v1),
                 _mm256_blendv_pd(b.v2, a.v2, m.v2), _mm256_blendv_pd(b.v3, a.v3, m.v3)};
}

VEC double d16_fold(d16 x)
{
    const __m256d four = _mm256_add_pd(_mm256_add_pd(x.v0, x.v2), _mm256_add_pd(x.v1, x.v3));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));

    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

VEC __m256d quarter_of(const double *table, __m256i halves)
{
    const __m256 quarter = _mm256_castpd_ps(_mm256_loadu_pd(table));

    return _mm256_castps_pd(_mm256_permutevar8x32_ps(quarter, halves));
}

/* Four lanes of the table at a time, as eight float32 halves, and the two upper bits of the index
 * choose among the four results: faster than a gather. */
VEC __m256d lookup_lanes(__m256i index, const double table[16])
{
    const __m256i pair = _mm256_shuffle_epi32(index, 0xa0); /* the index in both halves of a lane */
    const __m256i twice = _mm256_add_epi32(pair, pair);
    const __m256i halves = _mm256_add_epi32(twice, _mm256_set1_epi64x(1LL << 32));
    const __m256d bit2 = _mm256_castsi256_pd(_mm256_slli_epi64(index, 61));
    const __m256d bit3 = _mm256_castsi256_pd(_mm256_slli_epi64(index, 60));
    const __m256d low =
        _mm256_blendv_pd(quarter_of(table, halves), quarter_of(table + 4, halves), bit2);
    const __m256d high =
        _mm256_blendv_pd(quarter_of(table + 8, halves), quarter_of(table + 12, halves), bit2);

    return _mm256_blendv_pd(low, high, bit3);
}

VEC d16 d16_lookup(const double table[16], q16 index)
{
    EACH_WITH(d16, lookup_lanes, index, table);
}

/* --- Bits of float64 -------------------------------------------------------------------------- */

VEC q16 d16_bits(d16 x)
{
    EACH1(q16, _mm256_castpd_si256, x);
}

VEC d16 q16_double(q16 x)
{
    EACH1(d16, _mm256_castsi256_pd, x);
}

VEC q16 q16_set1(uint64_t x)
{
    const __m256i all = _mm256_set1_epi64x((long long)x);

    return (q16){all, all, all, all};
}

VEC q16 q16_add(q16 a, q16 b)
{
    EACH2(q16, _mm256_add_epi64, a, b);
}

VEC q16 q16_sub(q16 a, q16 b)
{
    EACH2(q16, _mm256_sub_epi64, a, b);
}

VEC q16 q16_and(q16 a, q16 b)
{
    EACH2(q16, _mm256_and_si256, a, b);
}

VEC q16 q16_xor(q16 a, q16 b)
{
    EACH2(q16, _mm256_xor_si256, a, b);
}

VEC q16 q16_shl(q16 a, int bits)
{
    const __m128i n = _mm_cvtsi32_si128(bits);

    EACH_WITH(q16, _mm256_sll_epi64, a, n);
}

VEC q16 q16_shr(q16 a, int bits)
{
    const __m128i n = _mm_cvtsi32_si128(bits);

    EACH_WITH(q16, _mm256_srl_epi64, a, n);
}

#endif
