/* SPDX-License-Identifier: Apache-2.0
 *
 * forward_blame.h - the op of the forward pass behind a gradient that differs.
 *
 * A scale on zeros, a bias of zeros, a gate of ones: an op that one side lacks, or calls with
 * another argument, or with its operands exchanged, may give the result that the other side has.
 * Its backward pass gives another gradient all the same, and that is only what follows from it.
 */
#ifndef FB_DIFF_JUDGE_FORWARD_BLAME_H
#define FB_DIFF_JUDGE_FORWARD_BLAME_H

#include "diff/judge/guilt.h"

/* One op: on side a (with its partner on side b or without), or on side b alone. */
typedef struct fb__forward_op {
    const fb__step_event *a, *b; /* `a` NULL: on side b alone; both NULL: there is none */
} fb__forward_op;

/* The first op of the forward pass with an equal result, made otherwise, that gradients of the step
 * come through. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__find_forward_op(fb__forward_op *out, const fb__guilt *g, fb_error *err);

#endif
