/* SPDX-License-Identifier: Apache-2.0
 *
 * philox.h - the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011).
 *
 * docs/numerics.md "Random numbers": key = seed, counter = (block low word, block >> 32, step,
 * stream) with block = position >> 2; word position & 3 of the output. Integers only: a compiler
 * may vectorize this as it likes.
 */
#ifndef FB_PHILOX_H
#define FB_PHILOX_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum { PHILOX_BLOCKS = 16, PHILOX_WORDS = 4 * PHILOX_BLOCKS };

static inline void philox_round(uint32_t c[4][PHILOX_BLOCKS], uint32_t key0, uint32_t key1)
{
    for (int i = 0; i < PHILOX_BLOCKS; i++) {
        const uint64_t product0 = 0xd2511f53ull * c[0][i];
        const uint64_t product1 = 0xcd9e8d57ull * c[2][i];

        c[0][i] = (uint32_t)(product1 >> 32) ^ c[1][i] ^ key0;
        c[1][i] = (uint32_t)product1;
        c[2][i] = (uint32_t)(product0 >> 32) ^ c[3][i] ^ key1;
        c[3][i] = (uint32_t)product0;
    }
}

/* The words of blocks block .. block + 15, in the order of their positions. */
static inline void philox_blocks(uint32_t out[PHILOX_WORDS], const fb_philox *stream,
                                 uint64_t block)
{
    uint32_t c[4][PHILOX_BLOCKS];
    uint32_t key0 = (uint32_t)stream->seed, key1 = (uint32_t)(stream->seed >> 32);

    for (int i = 0; i < PHILOX_BLOCKS; i++) {
        c[0][i] = (uint32_t)(block + (uint64_t)i);
        c[1][i] = (uint32_t)((block + (uint64_t)i) >> 32);
        c[2][i] = stream->step;
        c[3][i] = stream->stream;
    }
    for (int round = 0; round < 10; round++) {
        philox_round(c, key0, key1);
        key0 += 0x9e3779b9u; /* the golden ratio and sqrt(3) - 1, as fractions of 2^32 */
        key1 += 0xbb67ae85u;
    }
    for (int i = 0; i < PHILOX_BLOCKS; i++)
        for (int word = 0; word < 4; word++)
            out[4 * i + word] = c[word][i];
}

#endif
