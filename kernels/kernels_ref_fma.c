/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_ref_fma.c - the kernels in plain C for processors with a fused multiply-add: what `ref`
 * is where there is one. Everything else is that of kernels_ref.c.
 */
#define KERNELS_ISA   ref
#define KERNELS_TABLE ref_fma

#define VEC_REF_HARDWARE_FMA
#include "kernels/vec_ref.h"
#include "kernels/kernels.inc"
