/* SPDX-License-Identifier: Apache-2.0
 *
 * stripes_avx2.h - stripes_avx512.h with two registers for a stripe.
 */
#ifndef FB_BASE_STRIPES_AVX2_H
#define FB_BASE_STRIPES_AVX2_H

#include <immintrin.h>
#include <stdint.h>

typedef struct words {
    __m256i lo, hi;
} words;

static inline words words_load(const void *p)
{
    const __m256i *from = (const __m256i *)p;

    return (words){_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
}

static inline void words_store(void *p, words a)
{
    __m256i *to = (__m256i *)p;

    _mm256_storeu_si256(to, a.lo);
    _mm256_storeu_si256(to + 1, a.hi);
}

static inline words words_zero(void)
{
    return (words){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

static inline words words_add(words a, words b)
{
    return (words){_mm256_add_epi64(a.lo, b.lo), _mm256_add_epi64(a.hi, b.hi)};
}

static inline __m256i product(__m256i mixed)
{
    return _mm256_mul_epu32(mixed, _mm256_srli_epi64(mixed, 32));
}

static inline words words_product(words data, words key)
{
    return (words){product(_mm256_xor_si256(data.lo, key.lo)),
                   product(_mm256_xor_si256(data.hi, key.hi))};
}

static inline words words_swap(words a)
{
    return (words){_mm256_shuffle_epi32(a.lo, 0x4e), _mm256_shuffle_epi32(a.hi, 0x4e)};
}

static inline __m256i scramble(__m256i acc, __m256i key, uint32_t prime)
{
    const __m256i factor = _mm256_set1_epi32((int)prime);
    const __m256i mixed = _mm256_xor_si256(key, _mm256_xor_si256(acc, _mm256_srli_epi64(acc, 47)));
    const __m256i high = _mm256_mul_epu32(_mm256_srli_epi64(mixed, 32), factor);

    return _mm256_add_epi64(_mm256_mul_epu32(mixed, factor), _mm256_slli_epi64(high, 32));
}

static inline words words_scramble(words acc, words key, uint32_t prime)
{
    return (words){scramble(acc.lo, key.lo, prime), scramble(acc.hi, key.hi, prime)};
}

static inline words words_largest(words a, words data)
{
    const __m256i magnitude = _mm256_set1_epi32(INT32_MAX);

    return (words){_mm256_max_epi32(a.lo, _mm256_and_si256(data.lo, magnitude)),
                   _mm256_max_epi32(a.hi, _mm256_and_si256(data.hi, magnitude))};
}

#endif
