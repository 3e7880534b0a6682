/* SPDX-License-Identifier: Apache-2.0
 *
 * philox.c - random words and bounded numbers of a stream.
 */
#include "kernels/philox.h"

#include <assert.h>
#include <string.h>

#include "kernels/kernels.h"

void fb_philox_words(uint32_t *out, size_t n, const fb_philox *stream, uint64_t position)
{
    uint32_t words[PHILOX_WORDS];

    while (n > 0) {
        const size_t skip = position & 3;
        const size_t count = n < PHILOX_WORDS - skip ? n : PHILOX_WORDS - skip;

        philox_blocks(words, stream, position >> 2);
        memcpy(out, words + skip, count * sizeof *out);
        out += count;
        n -= count;
        position += count;
    }
}

uint64_t fb_philox_bounded(const fb_philox *stream, uint64_t index, uint64_t n)
{
    uint32_t word[2];
    uint64_t u;

    assert(n > 0);
    fb_philox_words(word, 2, stream, 2 * index);
    u = (uint64_t)word[1] << 32 | word[0];
    return (uint64_t)((unsigned __int128)u * n >> 64);
}
