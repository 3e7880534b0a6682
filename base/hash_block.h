/* SPDX-License-Identifier: Apache-2.0
 *
 * hash_block.h - hashing one 64 KiB block while it is in cache: one body (hash_block.inc), compiled
 * once for each instruction set, because inlined XXH3 is 2.5 times faster in wide registers than
 * the shared library. Private to base.
 */
#ifndef FB_BASE_HASH_BLOCK_H
#define FB_BASE_HASH_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "firstbit/event.h"

/* Hashes `bytes` (at most FB_HASH_BLOCK_BYTES) elements' bytes with NaNs canonicalized; sets
 * *nonfinite when an element is NaN or infinite and never clears it. */
typedef fb_hash (*fb__hash_block)(fb_dtype dtype, const void *data, size_t bytes, bool *nonfinite);

fb_hash fb__hash_block_base(fb_dtype dtype, const void *data, size_t bytes, bool *nonfinite);
fb_hash fb__hash_block_avx2(fb_dtype dtype, const void *data, size_t bytes, bool *nonfinite);
fb_hash fb__hash_block_avx512(fb_dtype dtype, const void *data, size_t bytes, bool *nonfinite);

enum { FB__HASH_BLOCKS = 3 };

/* Those that this processor can run, the fastest last; returns how many. All give the same bits. */
size_t fb__hash_blocks(fb__hash_block out[FB__HASH_BLOCKS]);
fb__hash_block fb__widest_hash_block(void);

/* The hash of a tensor from those of its blocks. */
fb_hash fb__join_blocks(fb_dtype dtype, size_t bytes, const fb_hash *blocks, size_t count);

#endif
