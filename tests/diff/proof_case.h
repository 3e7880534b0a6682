/* SPDX-License-Identifier: Apache-2.0
 *
 * proof_case.h - operations made in several orders of their sums, or with a small mistake.
 */
#ifndef FB_TESTS_DIFF_PROOF_CASE_H
#define FB_TESTS_DIFF_PROOF_CASE_H

#include "recorded_case.h"

/* How a sum is made, or what is wrong with the operation. */
typedef enum manner {
    FORWARDS,
    BACKWARDS,
    BLOCKS,  /* of 8, folded */
    DOUBLES, /* in float64, rounded once */
    LAST_ORDER = DOUBLES,
    SHORT,     /* the last term is left out */
    SCALED,    /* the result is 1 + 5e-6 times what it should be */
    LOST_ROW,  /* of the result: zeros */
    EPS_ASIDE, /* added to the deviation, not to the variance */
    OTHER_FUNCTION,
} manner;

static inline float add_up(const float *t, size_t n, manner how)
{
    float sum = 0, lanes[8] = {0};
    double wide = 0;

    n -= how == SHORT;
    for (size_t i = 0; i < n; i++) {
        sum += t[how == BACKWARDS ? n - 1 - i : i];
        lanes[i % 8] += t[i];
        wide += (double)t[i];
    }
    if (how == DOUBLES)
        return (float)wide;
    if (how != BLOCKS)
        return sum;
    for (size_t half = 4; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* Numbers about zero, of the size of activations; the same for the same seed. */
static inline void fill(double *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (double)((float)(next_random(&seed) % 4001) / 1000.0F - 2.0F);
}

#endif
