/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule.h - the learning rate of each step, in float64. Rules: docs/numerics.md, "Schedule".
 */
#ifndef FB_ENGINE_SCHEDULE_H
#define FB_ENGINE_SCHEDULE_H

#include <stdint.h>

#include "engine/config/config.h"

typedef struct fb__schedule {
    fb_schedule_config config;
    double lr;

    /* gamma^powers by repeated multiplication: the step schedule goes on from here */
    uint64_t powers;
    double power;
} fb__schedule;

fb__schedule fb__schedule_of(const fb_config *config);

/* lr·factor(step), step from 1. Depends on nothing but the configuration and the step: the state
 * only saves multiplications when steps ascend. */
double fb__learning_rate(fb__schedule *schedule, uint64_t step);

/* cos(pi·x) for 0 <= x <= 1, the same bits on every machine: no libm. Exact at 0, 1/2 and 1. */
double fb__cos_pi(double x);

#endif
