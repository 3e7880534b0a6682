/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch_f32_avx2.c - sketch_f32.inc in vectors of AVX2.
 */
#include <immintrin.h>
#include <string.h>

#include "base/sketch_part.h"

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

static inline vf vf_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

static inline uint64_t vf_less(vf a, vf b)
{
    return (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

static inline uint64_t vf_nans(vf a)
{
    return (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

static inline vf vf_unless_nan(vf a, vf b)
{
    return _mm256_blendv_ps(a, b, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

static inline vf vf_finite(vf a)
{
    return _mm256_and_ps(a, _mm256_cmp_ps(vf_abs(a), _mm256_set1_ps(__builtin_inff()), _CMP_LT_OQ));
}

/* To nearest, ties to even. */
static inline void vf_bf16(uint16_t *to, vf v)
{
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_srli_epi32(
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);

    _mm_storeu_si128((__m128i *)to,
                     _mm_packus_epi32(_mm256_castsi256_si128(up), _mm256_extracti128_si256(up, 1)));
}

static inline uint64_t vf_tiny(vf a)
{
    return vf_less(vf_abs(a), vf_set(0x1p-126f));
}

static inline void vf_bf16_normal(uint16_t *to, vf v)
{
    vf_bf16(to, v);
}

static inline vd vf_half(vf v, int h)
{
    return _mm256_cvtps_pd(h == 0 ? _mm256_castps256_ps128(v) : _mm256_extractf128_ps(v, 1));
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

static inline vd vd_negate(vd a, uint64_t where)
{
    const __m256i bit =
        _mm256_sllv_epi64(_mm256_set1_epi64x((int64_t)where), _mm256_set_epi64x(60, 61, 62, 63));

    return _mm256_xor_pd(a, _mm256_and_pd(_mm256_castsi256_pd(bit), _mm256_set1_pd(-0.0)));
}

static inline vu vu_zero(void)
{
    return _mm256_setzero_si256();
}

static inline vu vu_load(const uint64_t *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

static inline void vu_store(uint64_t *x, vu v)
{
    _mm256_storeu_si256((__m256i *)x, v);
}

static inline vu vu_add(vu a, vu b)
{
    return _mm256_add_epi64(a, b);
}

static inline vu vu_keyed(vf v, int h)
{
    const __m256i bits =
        _mm256_xor_si256(_mm256_castps_si256(v), _mm256_set1_epi32((int32_t)FB_SKETCH_KEY));

    return h == 0 ? _mm256_unpacklo_epi32(bits, _mm256_setzero_si256())
                  : _mm256_unpackhi_epi32(bits, _mm256_setzero_si256());
}

/* The low 64 bits of a product, which AVX2 has of 32-bit factors only. */
static inline vu multiply(vu a, uint64_t b)
{
    const vu low = _mm256_set1_epi64x((int64_t)(b & 0xffffffff));
    const vu high = _mm256_set1_epi64x((int64_t)(b >> 32));
    const vu cross = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(a, 32), low),
                                      _mm256_mul_epu32(a, high));

    return _mm256_add_epi64(_mm256_mul_epu32(a, low), _mm256_slli_epi64(cross, 32));
}

static inline vu vu_hash(vu keyed, vu *hi)
{
    vu z = multiply(keyed, FB_SKETCH_MUL1);

    z = multiply(_mm256_xor_si256(z, _mm256_srli_epi64(z, 32)), FB_SKETCH_MUL2);
    z = _mm256_xor_si256(z, _mm256_srli_epi64(z, 29));
    *hi = _mm256_mul_epu32(z, _mm256_srli_epi64(z, 32));
    return z;
}

#include "base/sketch_f32.inc"
