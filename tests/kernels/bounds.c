/* SPDX-License-Identifier: Apache-2.0
 *
 * bounds.c - see bounds.h.
 */
#include "tests/kernels/bounds.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SLACK 1.001

const fb_kernels *k;
fb_pool *pool;

int start_bounds(void **state)
{
    (void)state;
    k = fb_kernels_best();
    return fb_pool_create(&pool, 2, NULL) == FB_OK ? 0 : -1;
}

int stop_bounds(void **state)
{
    (void)state;
    fb_pool_destroy(pool);
    return 0;
}

void fill(float *x, size_t n, float mean, float std, uint32_t stream)
{
    const fb_philox random = {.seed = 5, .stream = stream};

    k->fill_normal(pool, x, n, mean, std, &random, 0);
}

/* Largest error over its bound so far. */
static double reached;

void check_bound(const char *what, double got, double want, double bound)
{
    const double share = got == want ? 0.0 : fabs(got - want) / bound;

    if (!(share <= SLACK))
        fail_msg("%s: %a is %a off %a, more than %a", what, got, got - want, want, bound);
    reached = fmax(reached, share);
}

void expect_reached(const char *what, double least)
{
    if (reached < least)
        fail_msg("%s: no error is above %g of its bound: it says too little", what, reached);
    reached = 0.0;
}

double steps_of(size_t n)
{
    const size_t blocks = (n + 255) / 256;

    return (double)((n < 256 ? n : 256) + blocks - 1);
}
