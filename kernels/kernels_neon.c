/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_neon.c - the kernels in Advanced SIMD of 64-bit Arm.
 */
#define KERNELS_ISA neon

#include "kernels/vec_neon.h"
#include "kernels/kernels.inc"
