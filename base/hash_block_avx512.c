/* SPDX-License-Identifier: Apache-2.0
 *
 * hash_block_avx512.c - hash_block.inc, compiled with AVX512.
 */
#define HASH_BLOCK fb__hash_block_avx512
#define HASH_STRIPES

#include "base/stripes_avx512.h"

#include "base/hash_block.inc"
