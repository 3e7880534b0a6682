/* SPDX-License-Identifier: Apache-2.0
 *
 * override_rule.h - the optimizer's update as a list of choices: each entry of the optimizer bank
 * is one of these, all but one or two of its fields zero. Zeros are the update of
 * docs/numerics.md, "Optimizer", bit for bit.
 */
#ifndef FB_ENGINE_OVERRIDE_OVERRIDE_RULE_H
#define FB_ENGINE_OVERRIDE_OVERRIDE_RULE_H

#include "engine/formulas.h"

/* The step t of beta^t in a bias correction 1 - beta^t. */
typedef enum fb__correction {
    FB__CORRECT,          /* t */
    FB__CORRECT_NOT,      /* the correction is 1 */
    FB__CORRECT_EARLIER,  /* t - 1; no correction in the first step */
    FB__CORRECT_LATER,    /* t + 1 */
    FB__CORRECT_FIRST,    /* always 1: the counter is reset */
    FB__CORRECT_EPOCH,    /* counted within the epoch */
    FB__CORRECT_MICROS,   /* counted in micro-batches */
    FB__CORRECT_OTHER,    /* t, with the other beta */
    FB__CORRECT_MULTIPLY, /* multiplies where it should divide */
    FB__CORRECT_NO_ROOT,  /* second moment: bc2 in place of its root */
} fb__correction;

/* m = beta1·m + (1 - beta1)·g */
typedef enum fb__first_moment {
    FB__FIRST_MIX,
    FB__FIRST_UNSCALED, /* beta1·m + g */
    FB__FIRST_NONE,     /* g */
    FB__FIRST_STALE,    /* the update reads the m of the step before */
    FB__FIRST_NESTEROV, /* the update reads beta1·m + (1 - beta1)·g of the new m */
    FB__FIRST_SIGN,     /* the update is the sign of m */
} fb__first_moment;

/* v = beta2·v + (1 - beta2)·g² */
typedef enum fb__second_moment {
    FB__SECOND_MIX,
    FB__SECOND_UNSCALED, /* beta2·v + g² */
    FB__SECOND_ABS,      /* |g| for g² */
    FB__SECOND_MINUS,    /* beta2·v - (1 - beta2)·g²; its absolute value under the root */
    FB__SECOND_CENTERED, /* (g - m)² for g² */
    FB__SECOND_STALE,    /* the update reads the v of the step before */
    FB__SECOND_SUM,      /* v + g² */
    FB__SECOND_MAX,      /* max(beta2·v, |g|), without a root */
    FB__SECOND_AMSGRAD,  /* the update reads the largest v so far */
    FB__SECOND_YOGI,     /* v - (1 - beta2)·sign(v - g²)·g² */
    FB__SECOND_NO_ROOT,  /* the update divides by v, not by its root */
    FB__SECOND_NONE,     /* the update does not divide */
} fb__second_moment;

/* sqrt(v)/root2 + eps, root2 = sqrt(bc2) */
typedef enum fb__eps_place {
    FB__EPS_OUTSIDE,
    FB__EPS_INSIDE,         /* sqrt(v/bc2 + eps) */
    FB__EPS_INSIDE_BEFORE,  /* sqrt(v + eps)/root2 */
    FB__EPS_BEFORE,         /* (sqrt(v) + eps)/root2 */
    FB__EPS_HAT,            /* sqrt(v) + eps, the rate times root2 */
    FB__EPS_SQUARED_INSIDE, /* sqrt(v/bc2 + eps²) */
    FB__EPS_MAXIMUM,        /* max(sqrt(v)/root2, eps) */
    FB__EPS_NONE,
    FB__EPS_BOTH, /* sqrt(v/bc2 + eps) + eps */
} fb__eps_place;

typedef enum fb__decay_place {
    FB__DECAY_AS_CONFIGURED,
    FB__DECAY_NONE,
    FB__DECAY_L2,          /* g + wd·p */
    FB__DECAY_DECOUPLED,   /* p·(1 - lr·wd), before the update */
    FB__DECAY_AFTER,       /* the same, of the updated weights */
    FB__DECAY_OLD_AFTER,   /* p - update - lr·wd·p with the old p, subtracted last */
    FB__DECAY_IN_UPDATE,   /* p - rate·(m/(...) + wd·p) */
    FB__DECAY_NO_LR,       /* p·(1 - wd) */
    FB__DECAY_BASE_LR,     /* p·(1 - lr·wd) with the lr of the configuration */
    FB__DECAY_LR_SQUARED,  /* p·(1 - lr²·wd) */
    FB__DECAY_BOTH,        /* L2 and decoupled */
    FB__DECAY_CORRECTED,   /* p·(1 - lr/bc1·wd) */
    FB__DECAY_FIRST_ONLY,  /* L2 in m alone */
    FB__DECAY_SECOND_ONLY, /* L2 in v alone */
    FB__DECAY_MOMENTUM,    /* added to the momentum buffer's result: wd·p */
} fb__decay_place;

/* A set of parameters. */
typedef enum fb__group {
    FB__GROUP_ALL,
    FB__GROUP_MATRICES, /* all but norms and biases */
    FB__GROUP_NORMS_BIASES,
    FB__GROUP_NOT_BIASES,
    FB__GROUP_NOT_NORMS,
    FB__GROUP_NOT_EMBEDDINGS,
    FB__GROUP_NOT_LAST, /* all but the last that was made */
    FB__GROUP_NOT_FIRST,
} fb__group;

typedef enum fb__lr_source { FB__LR, FB__LR_STALE, FB__LR_BASE } fb__lr_source;

typedef enum fb__gradient_source {
    FB__GRADIENT,
    FB__GRADIENT_UNCLIPPED,
    FB__GRADIENT_UNCLIPPED_SECOND, /* squared before it was clipped */
    FB__GRADIENT_UNCLIPPED_FIRST,
    FB__GRADIENT_TIMES_MICROS,
    FB__GRADIENT_OVER_MICROS,
    FB__GRADIENT_BF16,
} fb__gradient_source;

enum {
    FB__ROUND_M_BF16 = 1,
    FB__ROUND_V_BF16 = 2,
    FB__ROUND_P_BF16 = 4,
    FB__ROUND_M_F16 = 8,
    FB__ROUND_V_F16 = 16,
    FB__ROUND_P_F16 = 32,
    FB__ROUND_FUSED = 64, /* the last step of the update is a fused multiply-add */
};

/* SGD's buffer: m = momentum·m + (1 - dampening)·g, m = g in the first step */
typedef enum fb__buffer {
    FB__BUFFER_MIX,
    FB__BUFFER_NONE,         /* no momentum */
    FB__BUFFER_DAMPENED,     /* dampening = momentum */
    FB__BUFFER_UNDAMPENED,   /* dampening = 0 */
    FB__BUFFER_FIRST_DAMPED, /* the first step mixes with zeros */
    FB__BUFFER_LR_INSIDE,    /* m = momentum·m + lr·g, p - m */
    FB__BUFFER_STALE,        /* the update reads the buffer of the step before */
    FB__BUFFER_RESET_EPOCH,  /* m = g where an epoch begins */
    FB__BUFFER_MINUS,        /* -momentum */
    FB__BUFFER_AVERAGE,      /* (m + g)/2 */
} fb__buffer;

typedef enum fb__nesterov {
    FB__NESTEROV_AS_CONFIGURED,
    FB__NESTEROV_ON,
    FB__NESTEROV_OFF,
    FB__NESTEROV_BUFFER_ONLY, /* momentum·m, without g */
} fb__nesterov;

typedef struct fb__update_rule {
    fb__correction correction[2]; /* of the first and the second moment */
    fb__first_moment first;
    fb__second_moment second;
    fb__eps_place eps_place;
    fb__buffer buffer;
    fb__nesterov nesterov;
    fb__decay_place decay;
    fb__group decayed;
    fb__group updated;
    fb__lr_source lr_source;
    fb__gradient_source gradient;
    unsigned rounding;   /* bits FB__ROUND_... */
    bool swapped_betas;  /* beta1 for beta2 */
    bool ascends;        /* adds the update */
    double eps;          /* instead of the configured one; 0: that */
    double beta1, beta2; /* likewise */
    double decay_factor; /* on the weight decay; 0: 1 */
    double lr_factor;    /* on the learning rate; 0: 1 */
    double bias_factor;  /* on that of biases; 0: 1 */
} fb__update_rule;

/* The tensors of one parameter; v and `largest` of SGD are not read. */
typedef struct fb__update_tensors {
    float *p, *m, *v; /* before, and then after; m NULL: SGD without momentum */
    float *largest;   /* the largest v so far; may be NULL where no rule asks for it */
    const float *g;   /* the gradient that the optimizer is given */
    const float *raw; /* before it was clipped */
    size_t n;
} fb__update_tensors;

/* What a parameter is, for groups. */
typedef struct fb__update_kind {
    bool norm, bias, embedding, first, last;
} fb__update_kind;

typedef struct fb__update_moment {
    const fb_optimizer_config *config;
    double lr, lr_before; /* of this step, of the one before */
    uint64_t step;        /* from 1 */
    uint64_t epoch_step;  /* in its epoch, from 1 */
    size_t micros;        /* micro-batches of a step */
    double beta_power[2]; /* beta^step */
    fb__update_kind param;
} fb__update_moment;

/* One update of one parameter by a rule: Adam and AdamW, or SGD. */
void fb__update_adam_by(const fb__update_rule *rule, const fb__update_moment *now,
                        const fb__update_tensors *t);
void fb__update_sgd_by(const fb__update_rule *rule, const fb__update_moment *now,
                       const fb__update_tensors *t);

extern const fb__formulas fb__update_adam, fb__update_sgd; /* variant: an fb__update_rule */

#endif
