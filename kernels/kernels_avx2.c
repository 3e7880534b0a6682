/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_avx2.c - the kernels in AVX2 and FMA.
 */
#define KERNELS_ISA avx2

#include "kernels/vec_avx2.h"
#include "kernels/kernels.inc"
