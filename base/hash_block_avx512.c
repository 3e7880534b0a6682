/* SPDX-License-Identifier: Apache-2.0
 *
 * hash_block_avx512.c - hash_block.inc, compiled with AVX512.
 */
#define HASH_BLOCK fb__hash_block_avx512
#define HASH_STRIPES

#include <immintrin.h>
#include <stdint.h>

/* A stripe of 64 bytes. */
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

/* Each 64-bit word adds the product of its halves, mixed with the key, and its neighbour's data. */
static inline words words_accumulate(words acc, words data, words key)
{
    const __m512i mixed = _mm512_xor_si512(data, key);
    const __m512i product = _mm512_mul_epu32(mixed, _mm512_srli_epi64(mixed, 32));

    return _mm512_add_epi64(_mm512_add_epi64(acc, _mm512_shuffle_epi32(data, 0x4e)), product);
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

#include "base/hash_block.inc"
