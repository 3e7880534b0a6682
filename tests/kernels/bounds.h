/* SPDX-License-Identifier: Apache-2.0
 *
 * bounds.h - comparing results with values in float64 under the error bounds that docs/numerics.md
 * states.
 *
 * The bounds are of first order in u = 2^-24; a slack of a thousandth is for the higher ones and
 * for what float64 itself is off by. A bound that holds by a factor of a thousand would say
 * nothing, so each test also asks that some error reaches a part of its bound.
 */
#ifndef FB_TEST_BOUNDS_H
#define FB_TEST_BOUNDS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

#define UNIT 0x1p-24

/* The fastest table of this machine and a pool of two threads, from start_bounds to stop_bounds. */
extern const fb_kernels *k;
extern fb_pool *pool;

/* Of a group of tests. */
int start_bounds(void **state);
int stop_bounds(void **state);

/* n normal numbers, decided by the stream alone. */
void fill(float *x, size_t n, float mean, float std, uint32_t stream);

/* Fails the test where `got` is more than `bound` off `want`. */
void check_bound(const char *what, double got, double want, double bound);

/* Fails the test where no error since the last call was above `least` of its bound. */
void expect_reached(const char *what, double least);

/* Roundings in a product sum of n steps, gamma(n) of the text: its fused steps, and what joins its
 * blocks. */
double steps_of(size_t n);

#endif
