/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch.h - statistics, linear sketch, samples and side hashes of a tensor, together with its
 * hash, in one pass while it is in cache. Formulas and error bounds: docs/levels.md.
 */
#ifndef FB_BASE_SKETCH_H
#define FB_BASE_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/pool.h"
#include "firstbit/event.h"

/* Block hashes that an event of `bytes` contents has: 0 where it has a single block, or more than
 * FB_BLOCKS_MAX. */
static inline size_t fb_sketch_blocks(size_t bytes)
{
    const size_t blocks = bytes / FB_HASH_BLOCK_BYTES + (bytes % FB_HASH_BLOCK_BYTES != 0);

    return blocks < 2 || blocks > FB_BLOCKS_MAX ? 0 : blocks;
}

/* Bytes of one real number of a dtype: half of a complex element; 0 for an unknown dtype. */
size_t fb_sketch_element_bytes(fb_dtype dtype);

/*
 * What fb_tensor_hash returns, and the sketch.
 *
 *   out        every field is set
 *   blocks     room for fb_sketch_blocks(bytes) hashes; may be NULL
 *   nonfinite  as in fb_tensor_hash; may be NULL
 *   pool       shares the pieces out; NULL computes on the calling thread. The bits are the same
 *
 * The floating-point environment of the calling thread may be any and is as before afterwards.
 */
fb_hash fb_tensor_sketch(fb_sketch *out, fb_hash *blocks, fb_pool *pool, fb_dtype dtype,
                         const void *data, size_t bytes, bool *nonfinite);

/* Where sample j < FB_SKETCH_SAMPLES of a tensor of n elements is taken; ascending. */
uint64_t fb_sketch_position(uint64_t elements, unsigned j);

/* Whether two tensors surely hold the same numbers, in whatever order; false too where their
 * editions differ, so that nobody knows. */
bool fb_sketch_same_numbers(const fb_sketch *a, const fb_sketch *b);

/* An estimate of the square of the Euclidean distance of two tensors of equal shape, from their
 * linear sketches alone: sum of (a - b)^2. Standard deviation sqrt(2/64) = 18 % of the square;
 * exact up to rounding where a tensor has at most 64 elements. */
double fb_sketch_distance2(const fb_sketch *a, const fb_sketch *b);

#endif
