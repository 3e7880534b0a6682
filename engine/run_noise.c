/* SPDX-License-Identifier: Apache-2.0
 *
 * run_noise.c - last-bit noise: a run that is as right as the ordered one and rounds otherwise.
 * What it changes from step to step is how far rounding alone may carry a run. docs/diff.md,
 * "Rounding".
 */
#include "engine/run_state.h"

/* SplitMix64 (Steele, Lea and Flood, 2014): any order of calls is an order of numbers, and a run
 * calls in one order. */
static uint64_t next_number(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

void fb__noise_add(fb_run *run, float *data, size_t count)
{
    if (run->noise == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        /* Uniform over -2^-23 .. 2^-23, which is up to one unit in the last place. */
        const float share = (float)(int32_t)(next_number(&run->noise) >> 32) * 0x1p-54f;

        data[i] += data[i] * share;
    }
    if (run->noise == 0) /* one number in 2^64 would end the noise */
        run->noise = 1;
}
