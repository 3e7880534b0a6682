/* SPDX-License-Identifier: Apache-2.0
 *
 * naive.h - contract 1 written a second time, straight from docs/numerics.md, as plain loops over
 * scalars: the outside check of the kernels. Slow; shares no code with them.
 */
#ifndef FB_TEST_NAIVE_H
#define FB_TEST_NAIVE_H

#include "kernels/kernels.h"

extern const fb_kernels naive_kernels;

#endif
