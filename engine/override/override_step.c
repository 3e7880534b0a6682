/* SPDX-License-Identifier: Apache-2.0
 *
 * override_step.c - overrides of what a step computes once: the learning rate, the clipping, the
 * powers of the betas.
 */
#include <math.h>

#include "base/bytes.h"
#include "engine/run_state.h"

/* --- The schedule ----------------------------------------------------------------------------- */

typedef struct rate_rule {
    int64_t shift;  /* on the step; the first step stays 1 at least where clamped */
    bool clamped;   /* steps below 1 count as 1; else the rate is 0 there */
    bool per_micro; /* counts micro-batches */
    bool per_epoch; /* counts epochs */
    bool restarts;  /* counts from the checkpoint that the run goes on from */
    bool swapped;   /* warm-up for total */
    bool no_warmup, constant, no_floor, linear, whole_decay;
    double ratio;   /* 0: 1 */
    bool by_micros; /* times the number of micro-batches */
    bool over_micros;
    bool narrowed; /* to float32 */
} rate_rule;

static const rate_rule *rate_rule_of(const fb_run *run)
{
    return run->override.use.what->variant;
}

static fb__schedule changed_schedule(const fb_run *run, const rate_rule *rule)
{
    fb__schedule s = fb__schedule_of(run->config);
    const int64_t warmup = s.config.warmup;

    if (rule->swapped) {
        s.config.warmup = s.config.total;
        s.config.total = warmup;
    }
    if (rule->no_warmup && s.config.type == FB_SCHEDULE_WARMUP)
        s.config.type = FB_SCHEDULE_CONSTANT;
    if (rule->no_warmup)
        s.config.warmup = 0;
    if (rule->constant)
        s.config.type = FB_SCHEDULE_CONSTANT;
    if (rule->no_floor)
        s.config.min_factor = 0.0;
    if (rule->whole_decay && s.config.type == FB_SCHEDULE_COSINE)
        s.config.total = run->config->steps;
    return s;
}

/* Falls in a straight line where the schedule falls as a cosine. */
static double linear_rate(const fb__schedule *s, uint64_t step)
{
    const double warmup = (double)s->config.warmup, total = (double)s->config.total;
    const double t = (double)step, low = s->config.min_factor;

    if (t < warmup)
        return s->lr * (t / warmup);
    return s->lr * (t >= total ? low : low + (1.0 - low) * ((total - t) / (total - warmup)));
}

static uint64_t counted_step(const fb_run *run, const rate_rule *rule, uint64_t step)
{
    if (rule->per_micro)
        step = step * run->micros;
    if (rule->per_epoch)
        step = (step - 1) / run->order.batches + 1;
    if (rule->restarts)
        step = step - run->override.resumed;
    if (rule->shift < 0 && step <= (uint64_t)-rule->shift)
        return rule->clamped ? 1 : 0;
    return step + (uint64_t)rule->shift;
}

static double learning_rate(fb_run *run, uint64_t step)
{
    const rate_rule *rule = rate_rule_of(run);
    fb__schedule schedule = changed_schedule(run, rule);
    const uint64_t t = counted_step(run, rule, step);
    double rate;

    if (t == 0) /* before the first step a warm-up stands at 0, all else at its start */
        rate = schedule.config.warmup > 0 ? 0.0 : fb__learning_rate(&schedule, 1);
    else
        rate = rule->linear ? linear_rate(&schedule, t) : fb__learning_rate(&schedule, t);
    if (rule->ratio != 0.0)
        rate *= rule->ratio;
    if (rule->by_micros)
        rate *= (double)run->micros;
    if (rule->over_micros)
        rate /= (double)run->micros;
    return rule->narrowed ? (double)(float)rate : rate;
}

static bool always(const fb_run *run)
{
    (void)run;
    return true;
}

static bool is_scheduled(const fb_run *run)
{
    return run->config->schedule.type != FB_SCHEDULE_CONSTANT;
}

static bool is_cosine(const fb_run *run)
{
    return run->config->schedule.type == FB_SCHEDULE_COSINE;
}

static const fb__formulas rate = {.applies = always, .learning_rate = learning_rate};
static const fb__formulas scheduled = {.applies = is_scheduled, .learning_rate = learning_rate};
static const fb__formulas cosine = {.applies = is_cosine, .learning_rate = learning_rate};

/* --- Clipping --------------------------------------------------------------------------------- */

typedef enum clip_mode {
    CLIP_NORM, /* by the global norm */
    CLIP_NEVER,
    CLIP_TENSOR,   /* each gradient by its own norm */
    CLIP_VALUE,    /* each element */
    CLIP_BOTH_WAYS /* up to the limit too */
} clip_mode;

typedef enum norm_mode {
    NORM_2,
    NORM_1,
    NORM_MAX,
    NORM_SQUARED,
    NORM_NO_BIASES,
    NORM_FIRST,
    NORM_LAST,
    NORM_OF_NORMS, /* the sum of the norms */
    NORM_MEAN      /* the root of the mean square */
} norm_mode;

typedef struct clip_rule {
    clip_mode mode;
    norm_mode norm;
    double eps; /* added to the norm; below 0: none; 0: 1e-6 */
    double limit_factor;
    bool by_micros; /* the limit times the number of micro-batches */
    bool squared;   /* the coefficient is applied twice */
} clip_rule;

static const clip_rule *clip_rule_of(const fb_run *run)
{
    return run->override.use.what->variant;
}

static double part_of(fb_run *run, norm_mode mode, const fb__param *param)
{
    double sum = 0.0;

    if (mode != NORM_1 && mode != NORM_MAX)
        return run->kernels->sum_squares(run->pool, param->grad, param->count);
    for (size_t i = 0; i < param->count; i++) {
        const double size = fabs((double)param->grad[i]);

        if (mode == NORM_1)
            sum += size;
        else if (size > sum)
            sum = size;
    }
    return sum;
}

static bool counts(const fb_run *run, norm_mode mode, size_t index)
{
    const fb__param *param = run->model.params[index];

    if (mode == NORM_NO_BIASES)
        return param->shape.rank > 1;
    if (mode == NORM_FIRST)
        return index == 0;
    return mode != NORM_LAST || index + 1 == run->model.param_count;
}

static double norm_of_all(fb_run *run)
{
    const norm_mode mode = clip_rule_of(run)->norm;
    double *parts = run->optimizer.squares, sum;
    size_t elements = 0;

    for (size_t i = 0; i < run->model.param_count; i++) {
        parts[i] = counts(run, mode, i) ? part_of(run, mode, run->model.params[i]) : 0.0;
        elements += run->model.params[i]->count;
        if (mode == NORM_OF_NORMS)
            parts[i] = sqrt(parts[i]);
        if (mode == NORM_MAX && i > 0 && parts[0] < parts[i])
            parts[0] = parts[i];
    }
    if (mode == NORM_MAX)
        return parts[0];
    sum = fb_tree_sum_f64(parts, run->model.param_count);
    if (mode == NORM_MEAN)
        return sqrt(sum / (double)elements);
    return mode == NORM_1 || mode == NORM_SQUARED || mode == NORM_OF_NORMS ? sum : sqrt(sum);
}

static double limited(const fb_run *run, double norm)
{
    const clip_rule *rule = clip_rule_of(run);
    const double eps = rule->eps == 0.0 ? 1e-6 : rule->eps < 0.0 ? 0.0 : rule->eps;
    double limit = run->config->clip, coefficient;

    if (rule->limit_factor != 0.0)
        limit *= rule->limit_factor;
    if (rule->by_micros)
        limit *= (double)run->micros;
    coefficient = limit / (norm + eps);
    return coefficient >= 1.0 && rule->mode != CLIP_BOTH_WAYS ? 1.0 : coefficient;
}

static double coefficient_of(const fb_run *run, double norm)
{
    return clip_rule_of(run)->mode == CLIP_NEVER ? 1.0 : limited(run, norm);
}

static bool clip_values(const fb_run *run, fb__param *param)
{
    const float limit = (float)run->config->clip;

    for (size_t i = 0; i < param->count; i++)
        if (fabsf(param->grad[i]) > limit)
            param->grad[i] = copysignf(limit, param->grad[i]);
    return true;
}

static bool clip_param(fb_run *run, fb__param *param, double coefficient)
{
    const clip_rule *rule = clip_rule_of(run);

    if (rule->mode == CLIP_VALUE)
        return clip_values(run, param);
    if (rule->mode == CLIP_TENSOR)
        coefficient =
            limited(run, sqrt(run->kernels->sum_squares(run->pool, param->grad, param->count)));
    if (coefficient == 1.0)
        return false;
    for (int times = rule->squared ? 2 : 1; times > 0; times--)
        run->kernels->scale(run->pool, param->grad, param->grad, (float)coefficient, param->count);
    return true;
}

static bool is_clipping(const fb_run *run)
{
    return run->config->clip != 0;
}

static const fb__formulas clipping = {.applies = is_clipping,
                                      .norm = norm_of_all,
                                      .clip_coefficient = coefficient_of,
                                      .clip = clip_param};

/* --- The powers of the betas, as they are reported -------------------------------------------- */

typedef enum count_mode { COUNT_LATER, COUNT_EARLIER, COUNT_FIRST, COUNT_MICROS } count_mode;

static const count_mode count_later = COUNT_LATER, count_earlier = COUNT_EARLIER,
                        count_first = COUNT_FIRST, count_micros = COUNT_MICROS;

static void set_powers(fb_run *run, uint64_t step)
{
    const count_mode mode = *(const count_mode *)run->override.use.what->variant;
    const double betas[2] = {run->config->optimizer.beta1, run->config->optimizer.beta2};
    const uint64_t counted = mode == COUNT_LATER     ? step + 1
                             : mode == COUNT_EARLIER ? (step > 1 ? step - 1 : 1)
                             : mode == COUNT_FIRST   ? 1
                                                     : step * run->micros;

    for (int b = 0; b < 2; b++) {
        run->optimizer.beta_power[b] = 1.0;
        for (uint64_t i = 0; i < counted; i++)
            run->optimizer.beta_power[b] *= betas[b];
    }
}

static bool has_betas(const fb_run *run)
{
    return run->config->optimizer.type != FB_OPTIMIZER_SGD;
}

static const fb__formulas counting = {.applies = has_betas, .begin_update = set_powers};

/* --- The tables ------------------------------------------------------------------------------- */

#define RATE(text, with, what, ...)                                                                \
    {                                                                                              \
        .name = text, .cause = "schedule", .words = what, .phases = 1u << FB_PHASE_SCHEDULE,       \
        .formulas = &with, .variant = &(const rate_rule)                                           \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define CLIP(text, what, ...)                                                                      \
    {                                                                                              \
        .name = text, .cause = "clipping", .words = what, .phases = 1u << FB_PHASE_OPTIMIZER,      \
        .formulas = &clipping, .variant = &(const clip_rule)                                       \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define COUNT(text, what, mode)                                                                    \
    {                                                                                              \
        .name = text, .cause = "optimizer-formula", .words = what,                                 \
        .phases = 1u << FB_PHASE_OPTIMIZER, .formulas = &counting, .variant = &mode                \
    }

const fb_override fb__overrides_step[] = {
    RATE("schedule-behind", rate, "the schedule stands one step behind (counts from 0)",
         .shift = -1),
    RATE("schedule-ahead", rate, "the schedule stands one step ahead", .shift = 1),
    RATE("schedule-ahead-2", rate, "the schedule stands two steps ahead", .shift = 2),
    RATE("schedule-first-twice", rate, "the first step's rate is used twice", .shift = -1,
         .clamped = true),
    RATE("schedule-per-micro", rate, "the schedule counts micro-batches, not steps",
         .per_micro = true),
    RATE("schedule-per-epoch", rate, "the schedule counts epochs, not steps", .per_epoch = true),
    RATE("schedule-swapped", cosine, "warm-up and total are exchanged", .swapped = true),
    RATE("schedule-no-warmup", scheduled, "there is no warm-up", .no_warmup = true),
    RATE("schedule-constant", scheduled, "the rate is constant: the schedule never steps",
         .constant = true),
    RATE("schedule-linear", cosine, "the rate falls in a straight line, not as a cosine",
         .linear = true),
    RATE("schedule-no-floor", cosine, "the rate falls to 0, not to its floor", .no_floor = true),
    RATE("schedule-whole-run", cosine, "the rate falls over all steps of the run, not over total",
         .whole_decay = true),
    RATE("lr-times-micros", rate, "the rate is multiplied by the number of micro-batches",
         .by_micros = true),
    RATE("lr-over-micros", rate, "the rate is divided by the number of micro-batches",
         .over_micros = true),
    RATE("lr-f32", rate, "the rate is rounded to float32", .narrowed = true),
    RATE("lr-times-2", rate, "the rate is 2 times as large", .ratio = 2.0),
    RATE("lr-times-3", rate, "the rate is 3 times as large", .ratio = 3.0),
    RATE("lr-times-4", rate, "the rate is 4 times as large", .ratio = 4.0),
    RATE("lr-times-8", rate, "the rate is 8 times as large", .ratio = 8.0),
    RATE("lr-times-10", rate, "the rate is 10 times as large", .ratio = 10.0),
    RATE("lr-times-16", rate, "the rate is 16 times as large", .ratio = 16.0),
    RATE("lr-times-100", rate, "the rate is 100 times as large", .ratio = 100.0),
    RATE("lr-times-half", rate, "the rate is half as large", .ratio = 0.5),
    RATE("lr-times-quarter", rate, "the rate is a quarter as large", .ratio = 0.25),
    RATE("lr-times-eighth", rate, "the rate is an eighth as large", .ratio = 0.125),
    RATE("lr-times-tenth", rate, "the rate is a tenth as large", .ratio = 0.1),
    RATE("lr-times-hundredth", rate, "the rate is a hundredth as large", .ratio = 0.01),

    CLIP("clip-never", "gradients are not clipped", .mode = CLIP_NEVER),
    CLIP("clip-per-tensor", "each gradient is clipped by its own norm", .mode = CLIP_TENSOR),
    CLIP("clip-per-value", "elements are clipped, not the norm", .mode = CLIP_VALUE),
    CLIP("clip-both-ways", "small gradients are scaled up to the limit", .mode = CLIP_BOTH_WAYS),
    CLIP("clip-no-eps", "nothing is added to the norm", .eps = -1.0),
    CLIP("clip-eps-1e-8", "1e-8 is added to the norm, not 1e-6", .eps = 1e-8),
    CLIP("clip-eps-1e-12", "1e-12 is added to the norm, not 1e-6", .eps = 1e-12),
    CLIP("clip-norm-1", "the norm is the sum of absolute values", .norm = NORM_1),
    CLIP("clip-norm-max", "the norm is the largest absolute value", .norm = NORM_MAX),
    CLIP("clip-norm-squared", "the norm's root is not taken", .norm = NORM_SQUARED),
    CLIP("clip-norm-no-biases", "the norm leaves biases and gains out", .norm = NORM_NO_BIASES),
    CLIP("clip-norm-first", "the norm is that of the first parameter", .norm = NORM_FIRST),
    CLIP("clip-norm-last", "the norm is that of the last parameter", .norm = NORM_LAST),
    CLIP("clip-norm-of-norms", "the norms of the gradients are summed", .norm = NORM_OF_NORMS),
    CLIP("clip-norm-mean", "the norm is the root of the mean square", .norm = NORM_MEAN),
    CLIP("clip-twice", "the gradients are clipped twice", .squared = true),
    CLIP("clip-limit-times-micros", "the limit is multiplied by the number of micro-batches",
         .by_micros = true),
    CLIP("clip-limit-half", "the limit is half as large", .limit_factor = 0.5),
    CLIP("clip-limit-double", "the limit is twice as large", .limit_factor = 2.0),

    COUNT("adam-counter-later", "the step counter of the betas is one ahead", count_later),
    COUNT("adam-counter-earlier", "the step counter of the betas is one behind", count_earlier),
    COUNT("adam-counter-reset", "the step counter of the betas is reset with every step",
          count_first),
    COUNT("adam-counter-micros", "the step counter of the betas counts micro-batches",
          count_micros),

    {.name = "resume-schedule",
     .cause = "checkpoint-resume",
     .words = "the schedule was not restored: it counts from the checkpoint",
     .phases = 1u << FB_PHASE_SCHEDULE,
     .history = true,
     .formulas = &rate,
     .variant = &(const rate_rule){.restarts = true}},
    {.name = NULL},
};
