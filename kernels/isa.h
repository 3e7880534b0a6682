/* SPDX-License-Identifier: Apache-2.0
 *
 * isa.h - the tables that kernels_<isa>.c define; private to kernels. dispatch.c chooses among
 * them.
 */
#ifndef FB_ISA_H
#define FB_ISA_H

#include "kernels/kernels.h"

extern const fb_kernels fb__kernels_ref;     /* on any machine */
extern const fb_kernels fb__kernels_ref_fma; /* with a fused multiply-add */
extern const fb_kernels fb__kernels_avx2;
extern const fb_kernels fb__kernels_avx512;
extern const fb_kernels fb__kernels_neon;

#endif
