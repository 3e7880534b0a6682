/* SPDX-License-Identifier: Apache-2.0
 *
 * override_passes.c - overrides of how a step's passes come together: what the loss is divided by,
 * how micro-batches add up, the mode, and the random numbers of dropout.
 */
#include <string.h>

#include "engine/run_state.h"

/* --- What the loss is divided by -------------------------------------------------------------- */

typedef enum divisor {
    DIVIDE_BY_ONE,       /* a sum */
    DIVIDE_BY_MICRO,     /* the mean of each micro-batch, summed over them */
    DIVIDE_BY_MEANS,     /* the mean of the means of the micro-batches */
    DIVIDE_BY_SAMPLES,   /* samples, where targets count */
    DIVIDE_BY_ALL,       /* targets, those that do not count included */
    DIVIDE_TWICE_MICROS, /* by the number of micro-batches again */
    DIVIDE_BY_ONE_LESS,  /* n - 1 */
    DIVIDE_BY_ONE_MORE,
    DIVIDE_BY_HALF,   /* the loss is doubled */
    DIVIDE_BY_DOUBLE, /* the loss is halved */
} divisor;

static const divisor by_one = DIVIDE_BY_ONE, by_micro = DIVIDE_BY_MICRO, by_means = DIVIDE_BY_MEANS,
                     by_samples = DIVIDE_BY_SAMPLES, by_all = DIVIDE_BY_ALL,
                     by_micros = DIVIDE_TWICE_MICROS, by_less = DIVIDE_BY_ONE_LESS,
                     by_more = DIVIDE_BY_ONE_MORE, by_half = DIVIDE_BY_HALF,
                     by_double = DIVIDE_BY_DOUBLE;

static divisor divisor_of_run(const fb_run *run)
{
    return *(const divisor *)run->override.use.what->variant;
}

/* Targets of one micro-batch that count. */
static uint64_t counted_in(const fb_run *run, const fb__pass *pass)
{
    const size_t each = run->batch.target_count;
    uint64_t counted = pass->batch * each;

    for (size_t i = 0; run->loss.cross_entropy && i < pass->batch * each; i++)
        counted -= run->batch.classes[pass->first * each + i] < 0;
    return counted > 0 ? counted : 1;
}

static uint64_t loss_divisor(const fb_run *run, const fb__pass *pass)
{
    const uint64_t counted = run->batch.counted;

    switch (divisor_of_run(run)) {
    case DIVIDE_BY_ONE:
        return 1;
    case DIVIDE_BY_MICRO:
        return counted_in(run, pass);
    case DIVIDE_BY_MEANS:
        return counted_in(run, pass) * run->micros;
    case DIVIDE_BY_SAMPLES:
        return run->batch.samples;
    case DIVIDE_BY_ALL:
        return run->batch.samples * run->batch.target_count;
    case DIVIDE_TWICE_MICROS:
        return counted * run->micros;
    case DIVIDE_BY_ONE_LESS:
        return counted > 1 ? counted - 1 : 1;
    case DIVIDE_BY_ONE_MORE:
        return counted + 1;
    case DIVIDE_BY_HALF:
        return counted > 1 ? counted / 2 : 1;
    case DIVIDE_BY_DOUBLE:
        return 2 * counted;
    }
    return counted;
}

/* The loss that is reported, divided as the gradient is where that is one number for the batch. */
static double mean_loss(const fb_run *run, double sum, uint64_t counted)
{
    switch (divisor_of_run(run)) {
    case DIVIDE_BY_ONE:
        return sum;
    case DIVIDE_BY_SAMPLES:
        return sum / (double)run->batch.samples;
    case DIVIDE_BY_MICRO:
        return counted == 0 ? 0.0 : sum / (double)counted * (double)run->micros;
    case DIVIDE_TWICE_MICROS:
        return counted == 0 ? 0.0 : sum / (double)counted / (double)run->micros;
    default:
        return counted == 0 ? 0.0 : sum / (double)counted;
    }
}

static const fb__formulas normalization = {.loss_divisor = loss_divisor, .mean_loss = mean_loss};

/* --- How micro-batches add up ----------------------------------------------------------------- */

typedef enum addition {
    ADD_LEFT_OVER,     /* gradients are never set to zero */
    ADD_LEFT_OVER_ODD, /* they are, in every other step */
    ADD_LAST,          /* only the last micro-batch counts */
    ADD_FIRST,         /* only the first */
    ADD_NOT_LAST,      /* all but the last */
    ADD_FIRST_TWICE,
    ADD_MEAN, /* the sum is divided by the number of micro-batches, as the loss was */
} addition;

static const addition left_over = ADD_LEFT_OVER, left_over_odd = ADD_LEFT_OVER_ODD, last = ADD_LAST,
                      first = ADD_FIRST, not_last = ADD_NOT_LAST, first_twice = ADD_FIRST_TWICE,
                      mean = ADD_MEAN;

static addition addition_of(const fb_run *run)
{
    return *(const addition *)run->override.use.what->variant;
}

/* What the step before left, clipped as it was, before anything is written over it. */
static void keep_left_over(fb_run *run)
{
    memcpy(run->override.kept[0], run->gradients[0],
           run->model.vector_count * sizeof *run->gradients[0]);
}

static void scale_leaf(fb_run *run, float *leaf, float factor)
{
    run->kernels->scale(run->pool, leaf, leaf, factor, run->model.vector_count);
}

static void end_pass(fb_run *run, size_t micro, float *leaf)
{
    const addition how = addition_of(run);
    const bool is_last = micro + 1 == run->micros;

    if ((how == ADD_LAST && !is_last) || (how == ADD_FIRST && micro > 0) ||
        (how == ADD_NOT_LAST && is_last))
        memset(leaf, 0, run->model.vector_count * sizeof *leaf);
    if (how == ADD_FIRST_TWICE && micro == 0)
        scale_leaf(run, leaf, 2.0f);
}

static void end_passes(fb_run *run)
{
    const addition how = addition_of(run);
    const bool odd = run->report.step % 2 == 0;

    if (how == ADD_MEAN)
        scale_leaf(run, run->gradients[0], (float)(1.0 / (double)run->micros));
    if (run->report.step > 1 && (how == ADD_LEFT_OVER || (how == ADD_LEFT_OVER_ODD && odd)))
        run->kernels->add(run->pool, run->gradients[0], run->gradients[0], run->override.kept[0],
                          run->model.vector_count);
}

static bool has_micros(const fb_run *run)
{
    return run->micros > 1;
}

static const fb__formulas left = {.begin_passes = keep_left_over, .end_passes = end_passes};
static const fb__formulas adding = {
    .applies = has_micros, .end_pass = end_pass, .end_passes = end_passes};

/* --- Mode and dropout's numbers --------------------------------------------------------------- */

static bool never(const fb_run *run)
{
    (void)run;
    return false;
}

static bool before_evaluation(const fb_run *run)
{
    const uint64_t every = (uint64_t)run->config->eval_every;

    return every == 0 || run->step < every;
}

static bool has_dropout(const fb_run *run)
{
    for (size_t i = 0; i < run->model.op_count; i++)
        if (run->model.ops[i]->type == &fb__dropout_type)
            return true;
    return false;
}

static bool evaluates_with_dropout(const fb_run *run)
{
    return has_dropout(run) && run->config->eval_every != 0;
}

static uint64_t first_step(const fb_run *run, uint64_t step)
{
    (void)run;
    return step > 1 ? 1 : step;
}

static uint64_t step_behind(const fb_run *run, uint64_t step)
{
    (void)run;
    return step > 1 ? step - 1 : step;
}

static uint64_t step_ahead(const fb_run *run, uint64_t step)
{
    (void)run;
    return step + 1;
}

static uint64_t step_of_resumed(const fb_run *run, uint64_t step)
{
    return step - run->override.resumed;
}

static const fb__formulas dropout_off = {.applies = has_dropout, .drops = never};
static const fb__formulas eval_mode = {.trains = never, .drops = never};
static const fb__formulas eval_stays = {
    .applies = evaluates_with_dropout, .trains = before_evaluation, .drops = before_evaluation};
static const fb__formulas eval_stays_silently = {.applies = evaluates_with_dropout,
                                                 .drops = before_evaluation};
static const fb__formulas key_reused = {.applies = has_dropout, .stream_step = first_step};
static const fb__formulas key_behind = {.applies = has_dropout, .stream_step = step_behind};
static const fb__formulas key_ahead = {.applies = has_dropout, .stream_step = step_ahead};
static const fb__formulas key_resumed = {.applies = has_dropout, .stream_step = step_of_resumed};

/* --- The table -------------------------------------------------------------------------------- */

enum {
    IN_LOSS = 1u << FB_PHASE_LOSS | 1u << FB_PHASE_BACKWARD,
    IN_SUM = 1u << FB_PHASE_BACKWARD,
    IN_FORWARD = 1u << FB_PHASE_FORWARD,
    IN_MODE = 1u << FB_PHASE_DATA,
};

#define LOSS(text, what, divisor)                                                                  \
    {                                                                                              \
        .name = text, .cause = "loss-normalization", .words = what, .phases = IN_LOSS,             \
        .formulas = &normalization, .variant = &divisor                                            \
    }
#define ADD(text, what, with, remembers, how)                                                      \
    {                                                                                              \
        .name = text, .cause = "grad-accumulation", .words = what, .phases = IN_SUM,               \
        .history = remembers, .formulas = &with, .variant = &how                                   \
    }

const fb_override fb__overrides_passes[] = {
    LOSS("loss-sum", "the loss is a sum, not a mean", by_one),
    LOSS("loss-sum-of-means", "the means of the micro-batches are summed, not averaged", by_micro),
    LOSS("loss-mean-of-means",
         "the loss is the mean of the micro-batches' means, whatever counts "
         "in each",
         by_means),
    LOSS("loss-per-sample", "the loss is divided by samples, not by targets", by_samples),
    LOSS("loss-ignored-counted", "targets that do not count are in the divisor", by_all),
    LOSS("loss-over-micros", "the loss is divided by the number of micro-batches again", by_micros),
    LOSS("loss-one-less", "the loss is divided by n - 1", by_less),
    LOSS("loss-one-more", "the loss is divided by n + 1", by_more),
    LOSS("loss-doubled", "the loss is doubled", by_half),
    LOSS("loss-halved", "the loss is halved", by_double),

    ADD("zero-grad-missing", "gradients are never set to zero: each step adds to the last", left,
        true, left_over),
    ADD("zero-grad-every-other", "gradients are set to zero in every other step only", left, true,
        left_over_odd),
    ADD("accumulate-last", "only the last micro-batch counts", adding, false, last),
    ADD("accumulate-first", "only the first micro-batch counts", adding, false, first),
    ADD("accumulate-not-last", "the last micro-batch is left out", adding, false, not_last),
    ADD("accumulate-first-twice", "the first micro-batch counts twice", adding, false, first_twice),
    ADD("accumulate-mean", "the summed gradient is divided by the number of micro-batches again",
        adding, false, mean),

    {.name = "dropout-off",
     .cause = "mode-flag",
     .words = "dropout is off while training",
     .phases = IN_FORWARD,
     .formulas = &dropout_off},
    {.name = "mode-eval",
     .cause = "mode-flag",
     .words = "training runs in evaluation mode",
     .phases = IN_MODE | IN_FORWARD,
     .formulas = &eval_mode},
    {.name = "mode-eval-stays",
     .cause = "mode-flag",
     .words = "the first evaluation leaves the model in evaluation mode",
     .phases = IN_MODE | IN_FORWARD,
     .formulas = &eval_stays},
    {.name = "dropout-off-after-evaluation",
     .cause = "mode-flag",
     .words = "the first evaluation turns dropout off for good",
     .phases = IN_FORWARD,
     .formulas = &eval_stays_silently},
    {.name = "dropout-key-reused",
     .cause = "rng-key-reuse",
     .words = "dropout draws with the key of step 1 in every step",
     .phases = IN_FORWARD,
     .formulas = &key_reused},
    {.name = "dropout-key-behind",
     .cause = "rng-key-reuse",
     .words = "dropout draws with the key of the step before",
     .phases = IN_FORWARD,
     .formulas = &key_behind},
    {.name = "dropout-key-ahead",
     .cause = "rng-offset",
     .words = "dropout draws with the key of the step after",
     .phases = IN_FORWARD,
     .formulas = &key_ahead},
    {.name = "resume-random-state",
     .cause = "checkpoint-resume",
     .words = "the random state was not restored: dropout draws as from step 1 on",
     .phases = IN_FORWARD,
     .history = true,
     .formulas = &key_resumed},
    {.name = NULL},
};
