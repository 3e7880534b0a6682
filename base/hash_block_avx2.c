/* SPDX-License-Identifier: Apache-2.0
 *
 * hash_block_avx2.c - hash_block.inc, compiled with AVX2.
 */
#define HASH_BLOCK fb__hash_block_avx2
#define HASH_STRIPES

#include "base/stripes_avx2.h"

#include "base/hash_block.inc"
