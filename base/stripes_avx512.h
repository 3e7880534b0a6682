/* SPDX-License-Identifier: Apache-2.0
 *
 * stripes_avx512.h - what stripes.inc does with a stripe of 64 bytes, in AVX-512.
 */
#ifndef FB_BASE_STRIPES_AVX512_H
#define FB_BASE_STRIPES_AVX512_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512i words;

static inline words words_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static inline void words_store(void *p, words a)
{
    _mm512_storeu_si512(p, a);
}

static inline words words_zero(void)
{
    return _mm512_setzero_si512();
}

static inline words words_add(words a, words b)
{
    return _mm512_add_epi64(a, b);
}

/* Of each 64-bit word, mixed with the key, the product of its halves. */
static inline words words_product(words data, words key)
{
    const __m512i mixed = _mm512_xor_si512(data, key);

    return _mm512_mul_epu32(mixed,
                            _mm512_castps_si512(_mm512_movehdup_ps(_mm512_castsi512_ps(mixed))));
}

/* Each 64-bit word changes place with its neighbour. */
static inline words words_swap(words a)
{
    return _mm512_shuffle_epi32(a, 0x4e);
}

/* (acc ^ acc >> 47 ^ key) * prime, 32 bits of the prime. */
static inline words words_scramble(words acc, words key, uint32_t prime)
{
    const __m512i factor = _mm512_set1_epi32((int)prime);
    const __m512i mixed = _mm512_xor_si512(key, _mm512_xor_si512(acc, _mm512_srli_epi64(acc, 47)));
    const __m512i high = _mm512_mul_epu32(_mm512_srli_epi64(mixed, 32), factor);

    return _mm512_add_epi64(_mm512_mul_epu32(mixed, factor), _mm512_slli_epi64(high, 32));
}

/* The larger magnitudes of float32. */
static inline words words_largest(words a, words data)
{
    return _mm512_max_epi32(a, _mm512_and_si512(data, _mm512_set1_epi32(INT32_MAX)));
}

#endif
