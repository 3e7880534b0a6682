/* SPDX-License-Identifier: Apache-2.0
 *
 * override_ops.h - what an override changes in a layer.
 */
#ifndef FB_ENGINE_OVERRIDE_OVERRIDE_OPS_H
#define FB_ENGINE_OVERRIDE_OVERRIDE_OPS_H

#include "engine/formulas.h"
#include "engine/override/override_attention.h"

typedef enum fb__op_change {
    FB__OP_EPS,            /* number */
    FB__OP_RMS,            /* layernorm without the mean */
    FB__OP_UNBIASED,       /* layernorm with n - 1 */
    FB__OP_NO_BIAS,        /* layernorm, linear */
    FB__OP_ACTIVATION,     /* number: an fb_activation */
    FB__OP_QUICK_GELU,     /* x·sigmoid(1.702·x), forward only */
    FB__OP_LEAKY,          /* relu with slope number */
    FB__OP_IDENTITY,       /* no activation */
    FB__OP_UNMASKED,       /* attention without a causal mask */
    FB__OP_ATTENTION,      /* attention: an fb__attention_rule */
    FB__OP_SCALE_MODEL,    /* attention: 1/sqrt(C) */
    FB__OP_POSITION_SHIFT, /* embedding: position t + number */
    FB__OP_NO_POSITIONS,
    FB__OP_SCALE_OUT,     /* number; 0: sqrt of the columns */
    FB__OP_KEEP_SCALE,    /* dropout without 1/(1 - p) */
    FB__OP_DROPOUT_KEEPS, /* keeps with probability p */
    FB__OP_BRANCH_ONLY,   /* residual without x */
    FB__OP_SKIP_TWICE,    /* residual with 2x */
    FB__OP_SOFTMAX,       /* of the model's output */
    FB__OP_SOFT_CAP,      /* 30·x/(30 + |x|) of the model's output */
    FB__OP_ROUND_BF16,
    FB__OP_ROUND_F16,
    FB__OP_ROUND_TF32,
    FB__BACK_ACTIVATION, /* number: whose derivative */
    FB__BACK_IDENTITY,   /* the gradient passes */
    FB__BACK_UNMASKED,   /* dropout: without the mask */
    FB__BACK_NO_MEAN,    /* layernorm: without the terms of the mean and the variance */
    FB__BACK_BIAS_MEAN,  /* the bias gradient is a mean over rows */
    FB__BACK_BIAS_ZERO,
    FB__BACK_DETACHED,  /* nothing reaches the input */
    FB__BACK_TIE_LATER, /* uses of a tied weight behind the first give it no gradient */
    FB__BACK_TIE_FIRST,
    FB__BACK_ROUND_BF16,
    FB__BACK_ROUND_F16,
} fb__op_change;

typedef struct fb__op_rule {
    fb__op_change change;
    const char *type; /* of op; NULL: any */
    double number;
    fb__attention_rule attention;
} fb__op_rule;

/* Formulas of the overrides; variant: an fb__op_rule. Forward: the layer's output alone, its
 * gradient stays that of the unchanged layer. */
extern const fb__formulas fb__ops_both, fb__ops_forward, fb__ops_backward;

#endif
