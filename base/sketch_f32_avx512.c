/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch_f32_avx512.c - sketch_f32.inc in vectors of AVX-512 (F and DQ).
 */
#include <immintrin.h>
#include <string.h>

#include "base/sketch_part.h"

#define SKETCH_F32 fb__sketch_f32_avx512
#define WIDTH      16

typedef __m512 vf;
typedef __m512d vd;
typedef __m512i vu;

static inline vf vf_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

static inline void vf_store(float *x, vf v)
{
    _mm512_storeu_ps(x, v);
}

static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf vf_abs(vf a)
{
    return _mm512_abs_ps(a);
}

static inline uint64_t vf_less(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline uint64_t vf_nans(vf a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}

static inline vf vf_unless_nan(vf a, vf b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a, b);
}

static inline vf vf_finite(vf a)
{
    const __mmask16 finite =
        _mm512_cmp_ps_mask(vf_abs(a), _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);

    return _mm512_maskz_mov_ps(finite, a);
}

/* To nearest, ties to even. */
static inline void vf_bf16(uint16_t *to, vf v)
{
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));

    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}

static inline vd vf_half(vf v, int h)
{
    return _mm512_cvtps_pd(h == 0 ? _mm512_castps512_ps256(v) : _mm512_extractf32x8_ps(v, 1));
}

static inline vd vd_zero(void)
{
    return _mm512_setzero_pd();
}

static inline vd vd_load(const double *x)
{
    return _mm512_loadu_pd(x);
}

static inline void vd_store(double *x, vd v)
{
    _mm512_storeu_pd(x, v);
}

static inline vd vd_add(vd a, vd b)
{
    return _mm512_add_pd(a, b);
}

static inline vd vd_add_square(vd a, vd x)
{
    return _mm512_fmadd_pd(x, x, a);
}

static inline vd vd_abs(vd a)
{
    return _mm512_abs_pd(a);
}

static inline vd vd_negate(vd a, uint64_t where)
{
    return _mm512_mask_xor_pd(a, (__mmask8)where, a, _mm512_set1_pd(-0.0));
}

static inline vu vu_zero(void)
{
    return _mm512_setzero_si512();
}

static inline vu vu_load(const uint64_t *x)
{
    return _mm512_loadu_si512(x);
}

static inline void vu_store(uint64_t *x, vu v)
{
    _mm512_storeu_si512(x, v);
}

static inline vu vu_add(vu a, vu b)
{
    return _mm512_add_epi64(a, b);
}

static inline vu vu_words(vf v, int h)
{
    const __m512i bits = _mm512_castps_si512(v);

    return _mm512_cvtepu32_epi64(h == 0 ? _mm512_castsi512_si256(bits)
                                        : _mm512_extracti32x8_epi32(bits, 1));
}

static inline vu vu_hash(vu bits, vu *hi)
{
    vu z = _mm512_mullo_epi64(_mm512_xor_si512(bits, _mm512_set1_epi64(FB_SKETCH_KEY)),
                              _mm512_set1_epi64((int64_t)FB_SKETCH_MUL1));

    z = _mm512_mullo_epi64(_mm512_xor_si512(z, _mm512_srli_epi64(z, 32)),
                           _mm512_set1_epi64((int64_t)FB_SKETCH_MUL2));
    z = _mm512_xor_si512(z, _mm512_srli_epi64(z, 29));
    *hi = _mm512_mul_epu32(z, _mm512_srli_epi64(z, 32));
    return z;
}

#include "base/sketch_f32.inc"
