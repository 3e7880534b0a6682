/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_ref.c - the kernels in plain C, the definition of contract 1.
 */
#define KERNELS_ISA ref

#include "kernels/vec_ref.h"
#include "kernels/kernels.inc"
