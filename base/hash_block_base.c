/* SPDX-License-Identifier: Apache-2.0
 *
 * hash_block_base.c - hash_block.inc, compiled for every machine.
 */
#define HASH_BLOCK fb__hash_block_base
#include "base/hash_block.inc"
