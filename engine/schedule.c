/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule.c - the learning rate of each step. Float64 operations in the order written here
 * (docs/numerics.md, "Schedule") and no libm, so every machine has the same rate.
 */
#include "engine/schedule.h"

/* Both polynomials are Taylor's, by Horner's rule in z = t². The first term left out is below
 * (pi/4)^18/18! < 2^-58, a 32nd of the last bit of the result. */
static double cos_small(double t) /* |t| <= pi/4 */
{
    const double z = t * t;
    double p = 1.0 / 20922789888000.0; /* 1/16! */

    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    p = p * z - 1.0 / 2.0;
    return p * z + 1.0;
}

static double sin_small(double t) /* |t| <= pi/4 */
{
    const double z = t * t;
    double p = 1.0 / 355687428096000.0; /* 1/17! */

    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return p * z * t + t;
}

double fb__cos_pi(double x)
{
    const double pi = 3.14159265358979311600; /* nearest float64 */

    if (x > 0.5)
        return -fb__cos_pi(1.0 - x); /* 1 - x is exact here */
    if (x > 0.25)
        return sin_small(pi * (0.5 - x)); /* 0.5 - x is exact here */
    return cos_small(pi * x);
}

/* min + (1 - min)·(1 + cos(pi·x))/2, from 1 at x = 0 down to min at x = 1 */
static double cosine(const fb_schedule_config *config, double x)
{
    return config->min_factor + (1.0 - config->min_factor) * (0.5 * (1.0 + fb__cos_pi(x)));
}

static double step_power(fb__schedule *schedule, uint64_t count)
{
    if (count < schedule->powers) {
        schedule->powers = 0;
        schedule->power = 1.0;
    }
    for (; schedule->powers < count; schedule->powers++)
        schedule->power *= schedule->config.gamma;
    return schedule->power;
}

static double factor(fb__schedule *schedule, uint64_t step)
{
    const fb_schedule_config *config = &schedule->config;
    const uint64_t warmup = (uint64_t)config->warmup;
    const uint64_t total = (uint64_t)config->total;

    switch (config->type) {
    case FB_SCHEDULE_CONSTANT:
        break;
    case FB_SCHEDULE_STEP:
        return step_power(schedule, (step - 1) / (uint64_t)config->every);
    case FB_SCHEDULE_COSINE:
        if (step < warmup) /* first: total may lie before the warm-up ends */
            return (double)step / (double)warmup;
        if (step >= total)
            return config->min_factor;
        return cosine(config, (double)(step - warmup) / (double)(total - warmup));
    case FB_SCHEDULE_WARMUP:
        if (step < warmup)
            return (double)step / (double)warmup;
        break;
    }
    return 1.0;
}

fb__schedule fb__schedule_of(const fb_config *config)
{
    return (fb__schedule){.config = config->schedule, .lr = config->optimizer.lr, .power = 1.0};
}

double fb__learning_rate(fb__schedule *schedule, uint64_t step)
{
    return schedule->lr * factor(schedule, step);
}
