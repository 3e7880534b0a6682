/* SPDX-License-Identifier: Apache-2.0
 *
 * number.c - the shortest decimal of a number.
 */
#include "diff/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *fb__shortest(char out[40], fb_dtype dtype, double x)
{
    const int most = dtype == FB_DTYPE_F32 ? 9 : 17;

    if (x > -1e7 && x < 1e7 && x == floor(x)) { /* 40, not 4e+01 */
        (void)snprintf(out, 40, "%.0f", x);
        return out;
    }
    for (int digits = 1; digits <= most; digits++) {
        (void)snprintf(out, 40, "%.*g", digits, x);
        if (dtype == FB_DTYPE_F32 ? strtof(out, NULL) == (float)x : strtod(out, NULL) == x)
            break;
    }
    return out;
}
