/* SPDX-License-Identifier: Apache-2.0
 *
 * override_attention.h - attention with another scale or another mask, for the overrides.
 */
#ifndef FB_ENGINE_OVERRIDE_OVERRIDE_ATTENTION_H
#define FB_ENGINE_OVERRIDE_OVERRIDE_ATTENTION_H

#include <stdint.h>

#include "kernels/kernels.h"

/* Query i sees the keys from .. to - 1 of T: a causal mask has ahead 0, window 0. */
typedef struct fb__attention_rule {
    double scale;   /* of the scores; 0: 1/sqrt(D) */
    int64_t ahead;  /* the last visible key is i + ahead, at least the first, at most the last */
    int64_t window; /* only so many keys up to that one; 0: all */
} fb__attention_rule;

/* out [B,T,C] of qkv [B,T,3C] */
void fb__attention_forward(float *out, const float *qkv, const fb_attention *shape,
                           const fb__attention_rule *rule);
/* dqkv [B,T,3C], overwritten, of dout [B,T,C] */
void fb__attention_backward(float *dqkv, const float *dout, const float *qkv,
                            const fb_attention *shape, const fb__attention_rule *rule);

/* exp(x) for x <= 0, without libm, whose bits depend on the machine. */
double fb__exp_below_0(double x);

#endif
