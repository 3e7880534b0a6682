/* SPDX-License-Identifier: Apache-2.0
 *
 * override_sgd.c - the optimizer bank, SGD with and without momentum.
 */
#include "engine/override/override_rule.h"

#define RULE(text, what, ...)                                                                      \
    {                                                                                              \
        .name = "sgd-" text, .cause = "optimizer-formula", .words = what,                          \
        .phases = 1u << FB_PHASE_OPTIMIZER, .formulas = &fb__update_sgd,                           \
        .variant = &(const fb__update_rule)                                                        \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

const fb_override fb__overrides_sgd[] = {
    /* Momentum */
    RULE("no-momentum", "momentum is ignored", .buffer = FB__BUFFER_NONE),
    RULE("dampened", "the gradient enters the momentum buffer dampened by 1 - momentum",
         .buffer = FB__BUFFER_DAMPENED),
    RULE("undampened", "dampening is ignored", .buffer = FB__BUFFER_UNDAMPENED),
    RULE("first-dampened", "the first gradient is dampened too", .buffer = FB__BUFFER_FIRST_DAMPED),
    RULE("lr-in-buffer", "the learning rate is inside the momentum buffer",
         .buffer = FB__BUFFER_LR_INSIDE),
    RULE("buffer-stale", "the update reads the momentum buffer of the step before",
         .buffer = FB__BUFFER_STALE),
    RULE("buffer-reset", "the momentum buffer is reset with each epoch",
         .buffer = FB__BUFFER_RESET_EPOCH),
    RULE("momentum-minus", "momentum has the wrong sign", .buffer = FB__BUFFER_MINUS),
    RULE("buffer-average", "the buffer is the mean of itself and the gradient",
         .buffer = FB__BUFFER_AVERAGE),
    RULE("nesterov", "Nesterov's look-ahead is on", .nesterov = FB__NESTEROV_ON),
    RULE("no-nesterov", "Nesterov's look-ahead is off", .nesterov = FB__NESTEROV_OFF),
    RULE("nesterov-without-gradient", "Nesterov's look-ahead leaves the gradient out",
         .nesterov = FB__NESTEROV_BUFFER_ONLY),
    /* Weight decay */
    RULE("decay-ignored", "weight decay is ignored", .decay = FB__DECAY_NONE),
    RULE("decay-decoupled", "weight decay is decoupled, not added to the gradient",
         .decay = FB__DECAY_DECOUPLED),
    RULE("decay-after", "weight decay is applied to the updated weights", .decay = FB__DECAY_AFTER),
    RULE("decay-subtracted-last", "lr·wd times the old weights is subtracted after the update",
         .decay = FB__DECAY_OLD_AFTER),
    RULE("decay-after-momentum", "weight decay is added behind the momentum buffer",
         .decay = FB__DECAY_MOMENTUM),
    RULE("decay-without-lr", "weight decay is not multiplied by the learning rate",
         .decay = FB__DECAY_NO_LR),
    RULE("decay-base-lr", "decoupled weight decay uses the configured learning rate",
         .decay = FB__DECAY_BASE_LR),
    RULE("decay-both", "weight decay is applied twice: in the gradient and decoupled",
         .decay = FB__DECAY_BOTH),
    RULE("decay-doubled", "weight decay is doubled", .decay_factor = 2.0),
    RULE("decay-halved", "weight decay is halved", .decay_factor = 0.5),
    RULE("decay-grows", "weight decay has the wrong sign", .decay_factor = -1.0),
    RULE("decay-not-norms-biases", "norms and biases are exempt from weight decay",
         .decayed = FB__GROUP_MATRICES),
    RULE("decay-norms-biases-only", "only norms and biases decay",
         .decayed = FB__GROUP_NORMS_BIASES),
    RULE("decay-not-biases", "biases are exempt from weight decay",
         .decayed = FB__GROUP_NOT_BIASES),
    RULE("decay-not-norms", "norms are exempt from weight decay", .decayed = FB__GROUP_NOT_NORMS),
    RULE("decay-not-embeddings", "embeddings are exempt from weight decay",
         .decayed = FB__GROUP_NOT_EMBEDDINGS),
    /* Gradient and learning rate */
    RULE("unclipped", "the update reads the gradient from before it was clipped",
         .gradient = FB__GRADIENT_UNCLIPPED),
    RULE("gradient-times-micros", "the gradient is multiplied by the number of micro-batches",
         .gradient = FB__GRADIENT_TIMES_MICROS),
    RULE("gradient-over-micros", "the gradient is divided by the number of micro-batches again",
         .gradient = FB__GRADIENT_OVER_MICROS),
    RULE("gradient-bf16", "the gradient is rounded to bfloat16", .gradient = FB__GRADIENT_BF16),
    RULE("lr-stale", "the update uses the learning rate of the step before",
         .lr_source = FB__LR_STALE),
    RULE("lr-base", "the update ignores the schedule", .lr_source = FB__LR_BASE),
    RULE("lr-halved", "the update uses half the learning rate", .lr_factor = 0.5),
    RULE("lr-doubled", "the update uses twice the learning rate", .lr_factor = 2.0),
    RULE("lr-of-biases-doubled", "biases are updated with twice the learning rate",
         .bias_factor = 2.0),
    RULE("ascends", "the update is added, not subtracted", .ascends = true),
    /* Precision */
    RULE("buffer-bf16", "the momentum buffer is kept in bfloat16", .rounding = FB__ROUND_M_BF16),
    RULE("buffer-f16", "the momentum buffer is kept in float16", .rounding = FB__ROUND_M_F16),
    RULE("weights-bf16", "the weights are kept in bfloat16, without a float32 master",
         .rounding = FB__ROUND_P_BF16),
    RULE("weights-f16", "the weights are kept in float16, without a float32 master",
         .rounding = FB__ROUND_P_F16),
    RULE("fused", "the last step of the update is a fused multiply-add",
         .rounding = FB__ROUND_FUSED),
    /* Parameters that the optimizer does not know */
    RULE("frozen-biases", "biases are not updated", .updated = FB__GROUP_NOT_BIASES),
    RULE("frozen-norms", "norms are not updated", .updated = FB__GROUP_NOT_NORMS),
    RULE("frozen-embeddings", "embeddings are not updated", .updated = FB__GROUP_NOT_EMBEDDINGS),
    RULE("frozen-last", "the last parameter is not updated", .updated = FB__GROUP_NOT_LAST),
    RULE("frozen-first", "the first parameter is not updated", .updated = FB__GROUP_NOT_FIRST),
    {.name = NULL},
};
