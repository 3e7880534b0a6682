/* SPDX-License-Identifier: Apache-2.0
 *
 * override_ops_bank.c - the bank of layers: forward, masks and positions, precision, backward,
 * ties.
 */
#include "engine/override/override_ops.h"

enum { IN_FORWARD = 1u << FB_PHASE_FORWARD, IN_BACKWARD = 1u << FB_PHASE_BACKWARD };

#define OP(text, blame, what, where, with, ...)                                                    \
    {                                                                                              \
        .name = text, .cause = blame, .words = what, .phases = where, .takes_path = true,          \
        .formulas = &with, .variant = &(const fb__op_rule)                                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define FORWARD(text, what, ...) OP(text, "forward-op", what, IN_FORWARD, fb__ops_both, __VA_ARGS__)
#define BACKWARD(text, what, ...)                                                                  \
    OP(text, "backward-op", what, IN_BACKWARD, fb__ops_backward, __VA_ARGS__)
#define MASK(text, what, ...)                                                                      \
    OP(text, "mask-or-position", what, IN_FORWARD, fb__ops_both, .type = "attention", __VA_ARGS__)
#define CAST(text, what, ...)                                                                      \
    OP(text, "precision-cast", what, IN_FORWARD, fb__ops_forward, __VA_ARGS__)

const fb_override fb__overrides_ops[] = {
    FORWARD("layernorm-eps-0", "the layer norm has no eps", .change = FB__OP_EPS,
            .type = "layernorm", .number = 0.0),
    FORWARD("layernorm-eps-1e-3", "the layer norm's eps is 1e-3", .change = FB__OP_EPS,
            .type = "layernorm", .number = 1e-3),
    FORWARD("layernorm-eps-1e-5", "the layer norm's eps is 1e-5", .change = FB__OP_EPS,
            .type = "layernorm", .number = 1e-5),
    FORWARD("layernorm-eps-1e-6", "the layer norm's eps is 1e-6", .change = FB__OP_EPS,
            .type = "layernorm", .number = 1e-6),
    FORWARD("layernorm-eps-1e-8", "the layer norm's eps is 1e-8", .change = FB__OP_EPS,
            .type = "layernorm", .number = 1e-8),
    FORWARD("layernorm-eps-1e-12", "the layer norm's eps is 1e-12", .change = FB__OP_EPS,
            .type = "layernorm", .number = 1e-12),
    FORWARD("layernorm-rms", "the layer norm does not subtract the mean (RMS norm)",
            .change = FB__OP_RMS, .type = "layernorm"),
    FORWARD("layernorm-unbiased", "the layer norm's variance divides by n - 1",
            .change = FB__OP_UNBIASED, .type = "layernorm"),
    FORWARD("layernorm-no-bias", "the layer norm's bias is left out", .change = FB__OP_NO_BIAS,
            .type = "layernorm"),
    FORWARD("linear-no-bias", "the bias of the linear layer is left out", .change = FB__OP_NO_BIAS,
            .type = "linear"),
    FORWARD("gelu-tanh", "GELU is its tanh approximation", .change = FB__OP_ACTIVATION,
            .type = "gelu", .number = FB_ACTIVATION_GELU_TANH),
    FORWARD("gelu-exact", "GELU is the exact one, not its tanh approximation",
            .change = FB__OP_ACTIVATION, .type = "gelu_tanh", .number = FB_ACTIVATION_GELU),
    FORWARD("gelu-quick", "GELU is x·sigmoid(1.702·x)", .change = FB__OP_QUICK_GELU,
            .type = "gelu"),
    FORWARD("gelu-silu", "GELU is a SiLU", .change = FB__OP_ACTIVATION, .type = "gelu",
            .number = FB_ACTIVATION_SILU),
    FORWARD("gelu-relu", "GELU is a ReLU", .change = FB__OP_ACTIVATION, .type = "gelu",
            .number = FB_ACTIVATION_RELU),
    FORWARD("gelu-missing", "GELU is left out", .change = FB__OP_IDENTITY, .type = "gelu"),
    FORWARD("silu-gelu", "SiLU is a GELU", .change = FB__OP_ACTIVATION, .type = "silu",
            .number = FB_ACTIVATION_GELU),
    FORWARD("silu-missing", "SiLU is left out", .change = FB__OP_IDENTITY, .type = "silu"),
    FORWARD("relu-leaky", "ReLU leaks (slope 0.01)", .change = FB__OP_LEAKY, .type = "relu",
            .number = 0.01),
    FORWARD("relu-gelu", "ReLU is a GELU", .change = FB__OP_ACTIVATION, .type = "relu",
            .number = FB_ACTIVATION_GELU),
    FORWARD("relu-missing", "ReLU is left out", .change = FB__OP_IDENTITY, .type = "relu"),
    FORWARD("tanh-missing", "tanh is left out", .change = FB__OP_IDENTITY, .type = "tanh"),
    FORWARD("sigmoid-missing", "the sigmoid is left out", .change = FB__OP_IDENTITY,
            .type = "sigmoid"),
    FORWARD("softplus-relu", "softplus is a ReLU", .change = FB__OP_ACTIVATION, .type = "softplus",
            .number = FB_ACTIVATION_RELU),
    FORWARD("softplus-missing", "softplus is left out", .change = FB__OP_IDENTITY,
            .type = "softplus"),
    FORWARD("attention-scale-model",
            "attention is scaled by 1/sqrt of the model's channels, not "
            "of the head's",
            .change = FB__OP_SCALE_MODEL, .type = "attention"),
    FORWARD("attention-unscaled", "attention scores are not scaled", .change = FB__OP_ATTENTION,
            .type = "attention", .attention = {.scale = 1.0}),
    MASK("attention-unmasked", "attention sees the future: no causal mask",
         .change = FB__OP_UNMASKED),
    MASK("attention-one-ahead", "the causal mask shows one position of the future",
         .change = FB__OP_ATTENTION, .attention = {.ahead = 1}),
    MASK("attention-one-behind", "the causal mask hides the position itself",
         .change = FB__OP_ATTENTION, .attention = {.ahead = -1}),
    MASK("attention-window", "attention sees half a sequence at most", .change = FB__OP_ATTENTION,
         .attention = {.window = -1}),
    OP("positions-ahead", "mask-or-position", "positions are one ahead", IN_FORWARD, fb__ops_both,
       .change = FB__OP_POSITION_SHIFT, .type = "embedding", .number = 1.0),
    OP("positions-behind", "mask-or-position", "positions are one behind", IN_FORWARD, fb__ops_both,
       .change = FB__OP_POSITION_SHIFT, .type = "embedding", .number = -1.0),
    OP("positions-missing", "mask-or-position", "positions are not added", IN_FORWARD, fb__ops_both,
       .change = FB__OP_NO_POSITIONS, .type = "embedding"),
    FORWARD("embedding-scaled", "the embedding is multiplied by the root of its channels",
            .change = FB__OP_SCALE_OUT, .type = "embedding"),
    FORWARD("dropout-unscaled", "what dropout keeps is not scaled by 1/(1 - p)",
            .change = FB__OP_KEEP_SCALE, .type = "dropout"),
    FORWARD("dropout-inverted", "dropout keeps with probability p", .change = FB__OP_DROPOUT_KEEPS,
            .type = "dropout"),
    FORWARD("residual-branch-only", "the residual leaves out its input",
            .change = FB__OP_BRANCH_ONLY, .type = "residual"),
    FORWARD("residual-doubled", "the residual adds its input twice", .change = FB__OP_SKIP_TWICE,
            .type = "residual"),
    FORWARD("softmax-before-loss", "the model ends in a softmax, and the loss takes another",
            .change = FB__OP_SOFTMAX),
    FORWARD("output-capped", "the output is capped at 30", .change = FB__OP_SOFT_CAP),

    CAST("cast-bf16", "outputs are rounded to bfloat16", .change = FB__OP_ROUND_BF16),
    CAST("cast-f16", "outputs are rounded to float16", .change = FB__OP_ROUND_F16),
    CAST("cast-tf32", "outputs are rounded to TF32", .change = FB__OP_ROUND_TF32),
    CAST("cast-linear-bf16", "outputs of linear layers are rounded to bfloat16",
         .change = FB__OP_ROUND_BF16, .type = "linear"),
    CAST("cast-linear-f16", "outputs of linear layers are rounded to float16",
         .change = FB__OP_ROUND_F16, .type = "linear"),
    CAST("cast-layernorm-bf16", "outputs of layer norms are rounded to bfloat16",
         .change = FB__OP_ROUND_BF16, .type = "layernorm"),
    CAST("cast-attention-bf16", "outputs of attention are rounded to bfloat16",
         .change = FB__OP_ROUND_BF16, .type = "attention"),
    CAST("cast-embedding-bf16", "embeddings and positions are rounded to bfloat16",
         .change = FB__OP_ROUND_BF16, .type = "embedding"),
    OP("cast-gradients-bf16", "precision-cast", "gradients of activations are rounded to bfloat16",
       IN_BACKWARD, fb__ops_backward, .change = FB__BACK_ROUND_BF16),
    OP("cast-gradients-f16", "precision-cast", "gradients of activations are rounded to float16",
       IN_BACKWARD, fb__ops_backward, .change = FB__BACK_ROUND_F16),

    BACKWARD("backward-gelu-tanh", "GELU's derivative is that of its tanh approximation",
             .change = FB__BACK_ACTIVATION, .type = "gelu", .number = FB_ACTIVATION_GELU_TANH),
    BACKWARD("backward-gelu-relu", "GELU's derivative is ReLU's", .change = FB__BACK_ACTIVATION,
             .type = "gelu", .number = FB_ACTIVATION_RELU),
    BACKWARD("backward-gelu-missing", "GELU's derivative is left out", .change = FB__BACK_IDENTITY,
             .type = "gelu"),
    BACKWARD("backward-silu-missing", "SiLU's derivative is left out", .change = FB__BACK_IDENTITY,
             .type = "silu"),
    BACKWARD("backward-relu-missing", "ReLU's derivative is left out", .change = FB__BACK_IDENTITY,
             .type = "relu"),
    BACKWARD("backward-dropout-unmasked", "the gradient passes dropout unmasked",
             .change = FB__BACK_UNMASKED, .type = "dropout"),
    BACKWARD("backward-layernorm-no-mean",
             "the layer norm's gradient leaves out what goes through "
             "mean and variance",
             .change = FB__BACK_NO_MEAN, .type = "layernorm"),
    BACKWARD("backward-bias-mean", "the bias gradient is a mean over rows, not a sum",
             .change = FB__BACK_BIAS_MEAN, .type = "linear"),
    BACKWARD("backward-bias-missing", "the bias gets no gradient", .change = FB__BACK_BIAS_ZERO,
             .type = "linear"),
    BACKWARD("backward-detached", "no gradient passes the layer", .change = FB__BACK_DETACHED),
    OP("tie-later-dropped", "aliasing-or-tying",
       "the tied weight gets a gradient from its first "
       "use only",
       IN_BACKWARD, fb__ops_backward, .change = FB__BACK_TIE_LATER),
    OP("tie-first-dropped", "aliasing-or-tying",
       "the tied weight gets no gradient from its first "
       "use",
       IN_BACKWARD, fb__ops_backward, .change = FB__BACK_TIE_FIRST),
    {.name = NULL},
};
