/* SPDX-License-Identifier: Apache-2.0
 *
 * override_data.c - overrides of what a run starts from and is fed: first weights, order of the
 * samples, targets, what a checkpoint brings back.
 */
#include <math.h>
#include <string.h>

#include "engine/run_state.h"

/* --- Order ------------------------------------------------------------------------------------ */

typedef enum order_change {
    ORDER_FILE,        /* as in the file */
    ORDER_REVERSED,    /* the permutation backwards */
    ORDER_EPOCH_0,     /* the same order in every epoch */
    ORDER_SEED,        /* of another seed: number */
    ORDER_BEHIND,      /* number batches later in the row */
    ORDER_RESUMED,     /* counts from the checkpoint */
    ORDER_BATCH_1,     /* the same batch in every step */
    ORDER_BATCH_BACK,  /* a batch backwards */
    ORDER_FIRST_TWICE, /* the last sample of a batch is its first again */
} order_change;

static const order_change order_file = ORDER_FILE, order_reversed = ORDER_REVERSED,
                          order_epoch_0 = ORDER_EPOCH_0, order_seed = ORDER_SEED,
                          order_behind = ORDER_BEHIND, order_resumed = ORDER_RESUMED,
                          order_batch_1 = ORDER_BATCH_1, order_batch_back = ORDER_BATCH_BACK,
                          order_first_twice = ORDER_FIRST_TWICE;

static void turn_round(uint64_t *x, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const uint64_t kept = x[i];

        x[i] = x[n - 1 - i];
        x[n - 1 - i] = kept;
    }
}

/* The order of an epoch, into the override's own room. */
static void permute(fb_run *run, uint64_t epoch, bool other_seed)
{
    fb_philox stream = fb_streams_at(run->streams, run->order.stream, epoch);

    if (other_seed)
        stream.seed = run->override.use.number;
    fb_permutation(run->override.order, run->order.count, &stream, 0);
}

static void choose(fb_run *run, uint64_t step)
{
    const order_change change = *(const order_change *)run->override.use.what->variant;
    const fb__order *order = &run->order;
    uint64_t *indices = run->batch.indices, *row = run->override.order;
    const size_t size = run->batch.samples;
    uint64_t t = step;

    if (change == ORDER_BATCH_BACK)
        turn_round(indices, size);
    if (change == ORDER_FIRST_TWICE)
        indices[size - 1] = indices[0];
    if (change == ORDER_BATCH_BACK || change == ORDER_FIRST_TWICE)
        return;
    if (change == ORDER_BEHIND)
        t += run->override.use.number;
    if (change == ORDER_RESUMED)
        t -= run->override.resumed;
    if (change == ORDER_BATCH_1)
        t = 1;
    permute(run, change == ORDER_EPOCH_0 ? 0 : (t - 1) / order->batches, change == ORDER_SEED);
    if (change == ORDER_REVERSED)
        turn_round(row, order->count);
    for (size_t i = 0; i < size; i++) {
        const uint64_t at = (t - 1) % order->batches * size + i;

        indices[i] = change == ORDER_FILE ? at : row[at];
    }
}

static const fb__formulas choosing = {.choose = choose};

/* --- Targets ---------------------------------------------------------------------------------- */

typedef enum target_change {
    TARGET_INPUT,      /* the input itself: not shifted */
    TARGET_AFTER_NEXT, /* shifted twice; the last one does not count */
    TARGET_LAST_IGNORED,
    TARGET_FIRST_IGNORED,
    TARGET_ZERO_IGNORED, /* class 0, as padding */
} target_change;

static const target_change target_input = TARGET_INPUT, target_after_next = TARGET_AFTER_NEXT,
                           target_last = TARGET_LAST_IGNORED, target_first = TARGET_FIRST_IGNORED,
                           target_zero = TARGET_ZERO_IGNORED;

/* What row t of a sample should predict, -1: nothing. next: the target behind it, or -1. */
static int32_t changed_target(target_change change, int32_t target, int32_t next, uint32_t input,
                              bool is_first, bool is_last)
{
    switch (change) {
    case TARGET_INPUT:
        return (int32_t)input;
    case TARGET_AFTER_NEXT:
        return next;
    case TARGET_LAST_IGNORED:
        return is_last ? -1 : target;
    case TARGET_FIRST_IGNORED:
        return is_first ? -1 : target;
    case TARGET_ZERO_IGNORED:
        return target == 0 ? -1 : target;
    }
    return target;
}

static void targets(fb_run *run, size_t count)
{
    const target_change change = *(const target_change *)run->override.use.what->variant;
    const uint32_t *inputs = (const uint32_t *)(const void *)run->batch.inputs;
    const size_t each = run->batch.target_count, all = count * each;
    int32_t *classes = run->batch.classes;

    run->batch.counted = all;
    for (size_t i = 0; i < all; i++) {
        const bool is_last = i % each + 1 == each;

        classes[i] = changed_target(change, classes[i], is_last ? -1 : classes[i + 1], inputs[i],
                                    i % each == 0, is_last);
        run->batch.counted -= classes[i] < 0;
    }
}

/* Rows of tokens, each with its target. */
static bool predicts_tokens(const fb_run *run)
{
    return run->loss.cross_entropy && run->data->input_dtype == FB_DTYPE_U32 &&
           run->batch.input_count == run->batch.target_count;
}

static const fb__formulas aiming = {.applies = predicts_tokens, .targets = targets};

/* --- First weights ---------------------------------------------------------------------------- */

typedef enum init_change {
    INIT_SEED,      /* of another seed: number */
    INIT_TWICE,     /* drawn again: the second numbers of the stream */
    INIT_SHARED,    /* every parameter draws from the stream of the first */
    INIT_NARROW,    /* standard deviation 0.02 */
    INIT_ONE,       /* embeddings with standard deviation 1 */
    INIT_KAIMING,   /* sqrt(2/fan_in) */
    INIT_XAVIER,    /* sqrt(2/(fan_in + fan_out)) */
    INIT_UNIFORM,   /* the same standard deviation, uniform */
    INIT_ZERO_LAST, /* the last matrix is zero */
    INIT_BF16,
} init_change;

static const init_change init_seed = INIT_SEED, init_twice = INIT_TWICE, init_shared = INIT_SHARED,
                         init_narrow = INIT_NARROW, init_one = INIT_ONE,
                         init_kaiming = INIT_KAIMING, init_xavier = INIT_XAVIER,
                         init_uniform = INIT_UNIFORM, init_zero_last = INIT_ZERO_LAST,
                         init_bf16 = INIT_BF16;

static double std_of(const fb__param *param, init_change change)
{
    const double out = (double)param->shape.dims[0], in = (double)param->count / out;

    switch (change) {
    case INIT_NARROW:
        return 0.02;
    case INIT_ONE:
        return strcmp(param->uses[0].op->type->name, "embedding") == 0 ? 1.0 : (double)param->std;
    case INIT_KAIMING:
        return sqrt(2.0 / in);
    case INIT_XAVIER:
        return sqrt(2.0 / (in + out));
    default:
        return (double)param->std;
    }
}

static void draw_uniform(fb__param *param, const fb_philox *stream)
{
    const float half = (float)(sqrt(3.0) * (double)param->std);

    for (size_t i = 0; i < param->count; i++) {
        uint32_t word;

        fb_philox_words(&word, 1, stream, i);
        param->data[i] = ((float)(word >> 8) * 0x1p-23f - 1.0f) * half;
    }
}

static const fb__param *last_matrix(const fb_run *run)
{
    size_t i = run->model.param_count;

    while (i > 1 && run->model.params[i - 1]->init != FB__INIT_NORMAL)
        i--;
    return run->model.params[i - 1];
}

static void initialize(fb_run *run, fb__param *param)
{
    const init_change change = *(const init_change *)run->override.use.what->variant;
    const fb__param *last = last_matrix(run);
    const size_t from = change == INIT_SHARED ? run->model.params[0]->stream : param->stream;
    fb_philox stream = fb_streams_at(run->streams, from, 0);

    if (param->init != FB__INIT_NORMAL)
        return;
    if (change == INIT_ZERO_LAST || change == INIT_BF16) {
        for (size_t i = 0; i < param->count; i++)
            if (change == INIT_BF16)
                param->data[i] = fb__round_bf16(param->data[i]);
            else if (param == last)
                param->data[i] = 0.0f;
        return;
    }
    if (change == INIT_SEED)
        stream.seed = run->override.use.number;
    if (change == INIT_UNIFORM)
        draw_uniform(param, &stream);
    else
        run->kernels->fill_normal(run->pool, param->data, param->count, 0.0f,
                                  (float)std_of(param, change), &stream,
                                  change == INIT_TWICE ? param->count + param->count % 2 : 0);
}

static bool is_drawn(const fb_run *run)
{
    return run->config->weights == NULL;
}

static const fb__formulas drawing = {.applies = is_drawn, .initialize = initialize};

/* --- Checkpoints ------------------------------------------------------------------------------ */

static void forget_state(fb_run *run, float *state, size_t count)
{
    (void)run;
    memset(state, 0, count * sizeof *state);
}

static void forget_counter(fb_run *run)
{
    run->optimizer.beta_power[0] = run->optimizer.beta_power[1] = 1.0;
}

static bool has_states(const fb_run *run)
{
    return run->optimizer.state_count > 0;
}

static bool has_counter(const fb_run *run)
{
    return run->config->optimizer.type != FB_OPTIMIZER_SGD;
}

static const fb__formulas stateless = {.applies = has_states, .load_state = forget_state};
static const fb__formulas uncounted = {.applies = has_counter, .resume = forget_counter};
static const fb__formulas fresh = {
    .applies = has_states, .load_state = forget_state, .resume = forget_counter};

/* --- The table -------------------------------------------------------------------------------- */

#define ORDER(text, blame, what, counts, change)                                                   \
    {                                                                                              \
        .name = text, .cause = blame, .words = what, .phases = 1u << FB_PHASE_DATA,                \
        .takes_number = counts, .formulas = &choosing, .variant = &change                          \
    }
#define TARGET(text, what, change)                                                                 \
    {                                                                                              \
        .name = text, .cause = "loss-target", .words = what, .phases = 1u << FB_PHASE_LOSS,        \
        .formulas = &aiming, .variant = &change                                                    \
    }
#define INIT(text, what, counts, change)                                                           \
    {                                                                                              \
        .name = text, .cause = "init", .words = what, .phases = 1u << FB_PHASE_INIT,               \
        .takes_number = counts, .formulas = &drawing, .variant = &change                           \
    }
#define RESUME(text, what, where, with, change)                                                    \
    {                                                                                              \
        .name = text, .cause = "checkpoint-resume", .words = what, .phases = where,                \
        .history = true, .formulas = &with, .variant = change                                      \
    }

enum { IN_INIT = 1u << FB_PHASE_INIT, IN_UPDATE = 1u << FB_PHASE_OPTIMIZER };

const fb_override fb__overrides_data[] = {
    ORDER("shuffle-off", "data-order", "samples come in the order of the file", false, order_file),
    ORDER("shuffle-reversed", "data-order", "the shuffled order is read backwards", false,
          order_reversed),
    ORDER("shuffle-same-every-epoch", "data-order",
          "every epoch has the order of the first: the sampler's epoch is never set", false,
          order_epoch_0),
    ORDER("shuffle-seed", "data-order", "the shuffle has another seed", true, order_seed),
    ORDER("sampler-ahead", "data-order", "the sampler stands some batches ahead", true,
          order_behind),
    ORDER("sampler-stuck", "sample-duplicated-or-missing", "every step reads the first batch",
          false, order_batch_1),
    ORDER("batch-reversed", "data-order", "each batch is read backwards", false, order_batch_back),
    ORDER("sample-twice", "sample-duplicated-or-missing",
          "the first sample of a batch is there twice, the last is missing", false,
          order_first_twice),

    TARGET("target-unshifted", "targets are not shifted: each position predicts itself",
           target_input),
    TARGET("target-shifted-twice", "targets are shifted twice", target_after_next),
    TARGET("target-last-ignored", "the last target of each sample does not count", target_last),
    TARGET("target-first-ignored", "the first target of each sample does not count", target_first),
    TARGET("target-zero-ignored", "class 0 does not count, as if it were padding", target_zero),

    INIT("init-seed", "the first weights are drawn with another seed", true, init_seed),
    INIT("init-twice", "the first weights are drawn twice", false, init_twice),
    INIT("init-shared-stream", "all first weights are drawn from one and the same stream", false,
         init_shared),
    INIT("init-std-0.02", "first weights have standard deviation 0.02", false, init_narrow),
    INIT("init-embedding-std-1", "embeddings start with standard deviation 1", false, init_one),
    INIT("init-kaiming", "first weights have variance 2/fan_in", false, init_kaiming),
    INIT("init-xavier", "first weights have variance 2/(fan_in + fan_out)", false, init_xavier),
    INIT("init-uniform", "first weights are uniform, not normal", false, init_uniform),
    INIT("init-last-zero", "the last matrix starts at zero", false, init_zero_last),
    INIT("init-bf16", "first weights are rounded to bfloat16", false, init_bf16),

    RESUME("resume-moments", "the optimizer's states were not restored: they start at zero",
           IN_INIT | IN_UPDATE, stateless, NULL),
    RESUME("resume-step-counter", "the optimizer's step counter was not restored", IN_UPDATE,
           uncounted, NULL),
    RESUME("resume-optimizer", "the optimizer was not restored: states and step counter are new",
           IN_INIT | IN_UPDATE, fresh, NULL),
    RESUME("resume-sampler", "the sampler was not restored: the data starts over",
           1u << FB_PHASE_DATA, choosing, &order_resumed),
    {.name = NULL},
};
