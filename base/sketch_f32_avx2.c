/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch_f32_avx2.c - sketch_f32.inc in vectors of AVX2.
 */
#include <immintrin.h>
#include <string.h>

#include "base/sketch_part.h"
#include "base/stripes_avx2.h"

#define SKETCH_F32 fb__sketch_f32_avx2
#define WIDTH      8

typedef __m256 vf;
typedef __m256d vd;
typedef __m256i vu;

static inline vf vf_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

static inline void vf_store(float *x, vf v)
{
    _mm256_storeu_ps(x, v);
}

static inline vf vf_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

static inline vf vf_unless_nan(vf a, vf b)
{
    return _mm256_blendv_ps(a, b, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

static inline vf vf_finite(vf a)
{
    const vf magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);

    return _mm256_and_ps(a, _mm256_cmp_ps(magnitude, _mm256_set1_ps(__builtin_inff()), _CMP_LT_OQ));
}

/* To nearest, ties to even; the low half of each word is what it should be. */
static inline __m256i bf16(vf v)
{
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));

    return _mm256_srli_epi32(up, 16);
}

static inline __m256i bf16_pair(const float *x)
{
    const __m256i pairs = _mm256_packus_epi32(bf16(vf_load(x)), bf16(vf_load(x + 8)));

    return _mm256_permute4x64_epi64(pairs, 0xd8);
}

static inline words words_bf16(const float *x)
{
    return (words){bf16_pair(x), bf16_pair(x + 16)};
}

static inline words words_bf16_normal(const float *x)
{
    return words_bf16(x);
}

static inline vd vd_widen(const float *x)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(x));
}

static inline vd vd_zero(void)
{
    return _mm256_setzero_pd();
}

static inline vd vd_load(const double *x)
{
    return _mm256_loadu_pd(x);
}

static inline void vd_store(double *x, vd v)
{
    _mm256_storeu_pd(x, v);
}

static inline vd vd_add(vd a, vd b)
{
    return _mm256_add_pd(a, b);
}

static inline vd vd_add_square(vd a, vd x)
{
    return _mm256_add_pd(a, _mm256_mul_pd(x, x));
}

static inline vd vd_abs(vd a)
{
    return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a);
}

static inline vd vd_add_signed(vd a, vd x, uint64_t signs)
{
    const __m256i bit =
        _mm256_sllv_epi64(_mm256_set1_epi64x((int64_t)signs), _mm256_set_epi64x(60, 61, 62, 63));
    const vd sign = _mm256_and_pd(_mm256_castsi256_pd(bit), _mm256_set1_pd(-0.0));

    return _mm256_add_pd(a, _mm256_xor_pd(x, sign));
}

static inline vu vu_zero(void)
{
    return _mm256_setzero_si256();
}

static inline vu vu_load(const void *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

static inline void vu_store(void *x, vu v)
{
    _mm256_storeu_si256((__m256i *)x, v);
}

static inline vu vu_set(int32_t x)
{
    return _mm256_set1_epi32(x);
}

static inline vu vu_min(vu a, vu b)
{
    return _mm256_min_epu32(a, b);
}

static inline vu vu_max(vu a, vu b)
{
    return _mm256_max_epu32(a, b);
}

static inline vu vu_least(vu a, vu b)
{
    return _mm256_min_epi32(a, b);
}

static inline vu vu_most(vu a, vu b)
{
    return _mm256_max_epi32(a, b);
}

static inline bool vu_any_below(vu a, vu b)
{
    return _mm256_movemask_epi8(_mm256_cmpgt_epi32(b, a)) != 0;
}

static inline vu vu_count_below(vu count, vu a, vu b)
{
    return _mm256_sub_epi32(count, _mm256_cmpgt_epi32(b, a));
}

static inline vu vu_magnitude(vu a)
{
    return _mm256_and_si256(a, _mm256_set1_epi32(INT32_MAX));
}

static inline vu vu_add32(vu a, vu b)
{
    return _mm256_add_epi32(a, b);
}

static inline vu vu_add64(vu a, vu b)
{
    return _mm256_add_epi64(a, b);
}

static inline vu vu_multiply32(vu a, uint32_t b)
{
    return _mm256_mullo_epi32(a, _mm256_set1_epi32((int32_t)b));
}

static inline vu vu_fold(vu a)
{
    return _mm256_xor_si256(a, _mm256_srli_epi32(a, 15));
}

static inline vu vu_fold_keyed(vu a)
{
    const vu folded = _mm256_xor_si256(a, _mm256_srli_epi32(a, 16));

    return _mm256_xor_si256(folded, _mm256_set1_epi32((int32_t)FB_SKETCH_KEY));
}

static inline vu vu_square(vu a)
{
    return _mm256_mul_epu32(a, a);
}

static inline vu vu_odd(vu a)
{
    return _mm256_srli_epi64(a, 32);
}

#include "base/sketch_f32.inc"
