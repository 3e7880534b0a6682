/* SPDX-License-Identifier: Apache-2.0
 *
 * vec_avx512.h - vec_ref.h's names in AVX-512 (F, DQ, VL, BW): a f16 is one register.
 */
#ifndef FB_VEC_AVX512_H
#define FB_VEC_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/vec_loop.h"

/* 2^-124, its bits doubled; less one. */
enum { TINY_END = 0x02ffffff };

/* Tiles of a product: rows x vectors of 16 columns. 14 x 2 is 28 accumulators, two registers of B
 * and one of A; the flat ones have at least 8 chains, which hides the latency of an fma. */
enum { TILE_ROWS = 14, TILE_VECTORS_MAX = 8, TALLEST_VECTORS = 2 };
/* clang-format off */
#define TILE_SHAPES(X)                                                                             \
    X(1, 1) X(1, 2) X(1, 4) X(1, 8) X(2, 1) X(2, 2) X(2, 4) X(3, 1) X(3, 2) X(3, 4)                \
    X(4, 1) X(4, 2) X(5, 1) X(5, 2) X(6, 1) X(6, 2) X(7, 1) X(7, 2) X(8, 1) X(8, 2)                \
    X(9, 1) X(9, 2) X(10, 1) X(10, 2) X(11, 1) X(11, 2) X(12, 1) X(12, 2) X(13, 1)                 \
    X(13, 2) X(14, 1) X(14, 2)
/* clang-format on */

/* d16_lookup takes one instruction. */
enum { LOOKUP_IS_QUICK = 1 };

/* f16_lookup has so many entries; 0: it takes many instructions. */
enum { FLOAT_ENTRIES = 32 };

/* Registers suffice to estimate two vectors at a time. The compiler mixes their instructions before
 * it gives out registers, so that one runs while the other waits; clang is not told how. */
enum { PAIRS_PAY = 1 };
#if defined(__clang__)
#define INTERLEAVED
#else
#define INTERLEAVED __attribute__((optimize("schedule-insns", "sched-pressure")))
#endif

#define VEC static inline __attribute__((always_inline, unused))

typedef __m512 f16;
typedef __mmask16 fmask;

typedef struct d16 {
    __m512d lo, hi; /* lanes 0 to 7, 8 to 15 */
} d16;

typedef struct dmask {
    __mmask8 lo, hi;
} dmask;

typedef struct q16 {
    __m512i lo, hi;
} q16;

/* --- float32 ---------------------------------------------------------------------------------- */

VEC __mmask16 first_lanes(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

VEC f16 f16_set1(float x)
{
    return _mm512_set1_ps(x);
}

VEC f16 f16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

VEC void f16_store(float *p, f16 x)
{
    _mm512_storeu_ps(p, x);
}

VEC f16 f16_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
}

VEC void f16_store_n(float *p, f16 x, size_t n)
{
    _mm512_mask_storeu_ps(p, first_lanes(n), x);
}

VEC f16 f16_add(f16 a, f16 b)
{
    return _mm512_add_ps(a, b);
}

VEC f16 f16_sub(f16 a, f16 b)
{
    return _mm512_sub_ps(a, b);
}

VEC f16 f16_mul(f16 a, f16 b)
{
    return _mm512_mul_ps(a, b);
}

VEC f16 f16_div(f16 a, f16 b)
{
    return _mm512_div_ps(a, b);
}

VEC f16 f16_sqrt(f16 a)
{
    return _mm512_sqrt_ps(a);
}

VEC f16 f16_fma(f16 a, f16 b, f16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

VEC fmask f16_gt(f16 a, f16 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

VEC fmask f16_le(f16 a, f16 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}

VEC fmask f16_is_nan(f16 a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}

VEC fmask fmask_or(fmask a, fmask b)
{
    return (fmask)(a | b);
}

VEC fmask fmask_none(void)
{
    return 0;
}

VEC bool fmask_any(fmask m)
{
    return m != 0;
}

VEC f16 f16_abs(f16 x)
{
    return _mm512_abs_ps(x);
}

VEC fmask f16_beyond(f16 x, float bound)
{
    return _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(bound), _CMP_NLE_UQ);
}

/* Doubled, a sign is gone; less one, a zero is the largest number. */
VEC fmask f16_tiny(f16 x)
{
    const __m512i bits = _mm512_castps_si512(x), twice = _mm512_add_epi32(bits, bits);

    return _mm512_cmplt_epu32_mask(_mm512_sub_epi32(twice, _mm512_set1_epi32(1)),
                                   _mm512_set1_epi32(TINY_END));
}

/* Where neither compares, these instructions give their second operand. */
VEC f16 f16_at_most(f16 x, float bound)
{
    return _mm512_min_ps(_mm512_set1_ps(bound), x);
}

VEC f16 f16_at_least(f16 x, float bound)
{
    return _mm512_max_ps(_mm512_set1_ps(bound), x);
}

VEC fmask f16_differ(f16 a, f16 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}

VEC f16 f16_neg(f16 x)
{
    return -x; /* for compilers to make part of what follows */
}

VEC f16 f16_lookup(const float table[32], f16 index)
{
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), _mm512_castps_si512(index),
                                  _mm512_loadu_ps(table + 16));
}

VEC f16 f16_add_bits(f16 x, f16 bits, int left)
{
    const __m512i more = _mm512_sll_epi32(_mm512_castps_si512(bits), _mm_cvtsi32_si128(left));

    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), more));
}

VEC f16 f16_select(fmask m, f16 a, f16 b)
{
    return _mm512_mask_blend_ps(m, b, a);
}

/* 4x4 blocks are transposed in place by interleaving, then the blocks change places. */
VEC void f16_transpose(f16 row[16])
{
    __m512 t[16];

    for (int i = 0; i < 16; i += 4) {
        const __m512 ab_lo = _mm512_unpacklo_ps(row[i], row[i + 1]);
        const __m512 ab_hi = _mm512_unpackhi_ps(row[i], row[i + 1]);
        const __m512 cd_lo = _mm512_unpacklo_ps(row[i + 2], row[i + 3]);
        const __m512 cd_hi = _mm512_unpackhi_ps(row[i + 2], row[i + 3]);

        t[i] = _mm512_shuffle_ps(ab_lo, cd_lo, 0x44);
        t[i + 1] = _mm512_shuffle_ps(ab_lo, cd_lo, 0xee);
        t[i + 2] = _mm512_shuffle_ps(ab_hi, cd_hi, 0x44);
        t[i + 3] = _mm512_shuffle_ps(ab_hi, cd_hi, 0xee);
    }
    for (int i = 0; i < 4; i++) {
        const __m512 lo_even = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        const __m512 lo_odd = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        const __m512 hi_even = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        const __m512 hi_odd = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);

        row[i] = _mm512_shuffle_f32x4(lo_even, hi_even, 0x88);
        row[i + 4] = _mm512_shuffle_f32x4(lo_odd, hi_odd, 0x88);
        row[i + 8] = _mm512_shuffle_f32x4(lo_even, hi_even, 0xdd);
        row[i + 12] = _mm512_shuffle_f32x4(lo_odd, hi_odd, 0xdd);
    }
}

/* --- float64 ---------------------------------------------------------------------------------- */

VEC d16 d16_set1(double x)
{
    return (d16){_mm512_set1_pd(x), _mm512_set1_pd(x)};
}

VEC d16 d16_load(const double *p)
{
    return (d16){_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)};
}

VEC void d16_store(double *p, d16 x)
{
    _mm512_storeu_pd(p, x.lo);
    _mm512_storeu_pd(p + 8, x.hi);
}

VEC d16 d16_widen(f16 x)
{
    return (d16){_mm512_cvtps_pd(_mm512_castps512_ps256(x)),
                 _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))};
}

VEC f16 d16_narrow(d16 x)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(x.lo)), _mm512_cvtpd_ps(x.hi),
                              1);
}

/* Sixteen lower words at once; which lane is in doubt does not matter to those who ask. */
VEC fmask d16_doubtful(d16 x)
{
    const __m512 low = _mm512_shuffle_ps(_mm512_castpd_ps(x.lo), _mm512_castpd_ps(x.hi), 0x88);
    const __m512i from =
        _mm512_add_epi32(_mm512_castps_si512(low), _mm512_set1_epi32((1 << 14) - (1 << 28)));

    return _mm512_testn_epi32_mask(from, _mm512_set1_epi32(0x1fff8000));
}

VEC d16 d16_add(d16 a, d16 b)
{
    return (d16){_mm512_add_pd(a.lo, b.lo), _mm512_add_pd(a.hi, b.hi)};
}

VEC d16 d16_sub(d16 a, d16 b)
{
    return (d16){_mm512_sub_pd(a.lo, b.lo), _mm512_sub_pd(a.hi, b.hi)};
}

VEC d16 d16_mul(d16 a, d16 b)
{
    return (d16){_mm512_mul_pd(a.lo, b.lo), _mm512_mul_pd(a.hi, b.hi)};
}

VEC d16 d16_div(d16 a, d16 b)
{
    return (d16){_mm512_div_pd(a.lo, b.lo), _mm512_div_pd(a.hi, b.hi)};
}

VEC d16 d16_muladd(d16 a, d16 b, d16 c)
{
    return (d16){_mm512_fmadd_pd(a.lo, b.lo, c.lo), _mm512_fmadd_pd(a.hi, b.hi, c.hi)};
}

VEC d16 d16_mulsub(d16 a, d16 b, d16 c)
{
    return (d16){_mm512_fmsub_pd(a.lo, b.lo, c.lo), _mm512_fmsub_pd(a.hi, b.hi, c.hi)};
}

VEC dmask d16_gt(d16 a, d16 b)
{
    return (dmask){_mm512_cmp_pd_mask(a.lo, b.lo, _CMP_GT_OQ),
                   _mm512_cmp_pd_mask(a.hi, b.hi, _CMP_GT_OQ)};
}

VEC d16 d16_select(dmask m, d16 a, d16 b)
{
    return (d16){_mm512_mask_blend_pd(m.lo, b.lo, a.lo), _mm512_mask_blend_pd(m.hi, b.hi, a.hi)};
}

VEC double d16_fold(d16 x)
{
    const __m512d eight = _mm512_add_pd(x.lo, x.hi);
    const __m256d four =
        _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));

    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

VEC d16 d16_lookup(const double table[16], q16 index)
{
    const __m512d lo = _mm512_loadu_pd(table), hi = _mm512_loadu_pd(table + 8);

    return (d16){_mm512_permutex2var_pd(lo, index.lo, hi),
                 _mm512_permutex2var_pd(lo, index.hi, hi)};
}

/* --- Bits of float64 -------------------------------------------------------------------------- */

VEC q16 d16_bits(d16 x)
{
    return (q16){_mm512_castpd_si512(x.lo), _mm512_castpd_si512(x.hi)};
}

VEC d16 q16_double(q16 x)
{
    return (d16){_mm512_castsi512_pd(x.lo), _mm512_castsi512_pd(x.hi)};
}

VEC q16 q16_set1(uint64_t x)
{
    return (q16){_mm512_set1_epi64((long long)x), _mm512_set1_epi64((long long)x)};
}

VEC q16 q16_add(q16 a, q16 b)
{
    return (q16){_mm512_add_epi64(a.lo, b.lo), _mm512_add_epi64(a.hi, b.hi)};
}

VEC q16 q16_sub(q16 a, q16 b)
{
    return (q16){_mm512_sub_epi64(a.lo, b.lo), _mm512_sub_epi64(a.hi, b.hi)};
}

VEC q16 q16_and(q16 a, q16 b)
{
    return (q16){_mm512_and_si512(a.lo, b.lo), _mm512_and_si512(a.hi, b.hi)};
}

VEC q16 q16_xor(q16 a, q16 b)
{
    return (q16){_mm512_xor_si512(a.lo, b.lo), _mm512_xor_si512(a.hi, b.hi)};
}

VEC q16 q16_shl(q16 a, int bits)
{
    const __m128i n = _mm_cvtsi32_si128(bits);

    return (q16){_mm512_sll_epi64(a.lo, n), _mm512_sll_epi64(a.hi, n)};
}

VEC q16 q16_shr(q16 a, int bits)
{
    const __m128i n = _mm_cvtsi32_si128(bits);

    return (q16){_mm512_srl_epi64(a.lo, n), _mm512_srl_epi64(a.hi, n)};
}

#endif
