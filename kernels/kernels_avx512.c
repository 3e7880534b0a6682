/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_avx512.c - the kernels in AVX-512 (F, DQ, VL, BW).
 */
#define KERNELS_ISA avx512

#include "kernels/vec_avx512.h"
#include "kernels/kernels.inc"
