/* SPDX-License-Identifier: Apache-2.0
 *
 * sums.c - float64 sums for callers that join parts themselves: the order of row_sum.inc, in plain
 * C.
 */
#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"
#include "kernels/vec_ref.h"
#include "kernels/vectors.inc"
#include "kernels/row_sum.inc"

double fb_tree_sum_f64(double *parts, size_t n)
{
    if (n == 0)
        return 0.0;
    while (n > 1) {
        for (size_t i = 0; i < n / 2; i++)
            parts[i] = parts[2 * i] + parts[2 * i + 1];
        if (n % 2 != 0)
            parts[n / 2] = parts[n - 1];
        n = n / 2 + n % 2;
    }
    return parts[0];
}

double fb_row_sum_f64(const float *x, size_t n)
{
    return row_sum(x, n);
}
