/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_clip.c - causes in what is done to gradients between the backward pass and the update:
 * clipped or scaled otherwise.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"
#include "diff/number.h"

static bool is_clipping(const fb_site *site)
{
    return site != NULL && strncmp(fb__text(site->path), "clip", 4) == 0;
}

/* Signature: an update by hand reads clipped gradients on one side, gradients as the backward pass
 * left them on the other. */
bool fb__rule_clip_missed(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (!fb__is_pair(c) || a->site->phase != FB_PHASE_OPTIMIZER ||
        a->site->kind != FB_KIND_TENSOR || is_clipping(a->site))
        return false;
    for (uint32_t k = 0; k < a->input_count && k < b->input_count; k++) {
        const fb_site *x = fb__input_site(c, a, k), *y = fb__input_site(c, b, k);
        const bool in_a = is_clipping(x);

        if (in_a == is_clipping(y) || x == NULL || y == NULL || !fb__is_gradient(in_a ? y : x))
            continue;
        fb__say(out, "%s updates (%s) with clipped gradients, %s with those of the backward pass",
                in_a ? "a" : "b", fb__text(a->site->op), in_a ? "b" : "a");
        fb__say_fix(out, "clip between the last backward pass and the update, in both");
        return true;
    }
    return false;
}

/* The first difference that is a clipping's own. */
bool fb__rule_clip_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *site = e->site;
    fb__argument_pair p;
    fb__gradients g;
    char x[40], y[40];

    if (site->phase != FB_PHASE_OPTIMIZER || strncmp(fb__text(site->path), "clip", 4) != 0)
        return false;
    fb__gradients_of(&g, c);
    if (!fb__is_pair(c))
        fb__say(out, "only %s clips its gradients here", fb__culprit_side(c));
    else if (site->kind == FB_KIND_SCALAR)
        fb__say(out, "%s of the clipping is %s | %s", fb_slot_word(site->slot),
                fb__shortest(x, site->dtype, c->culprit->a->value),
                fb__shortest(y, site->dtype, c->culprit->b->value));
    else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "gradients are clipped with %s of %s %s | %s", p.name, fb__text(site->op), p.a,
                p.b);
    else if (g.count > 1 && g.scaled == g.count && fabs(g.scale - 1) > FB__FIT_TOLERANCE)
        fb__say(out, "all %zu clipped gradients of b are %.6g times those of a", g.count, g.scale);
    else
        fb__say(out, "%s of the clipping differs, gradients before it are equal",
                fb__text(site->op));
    fb__say_fix(out, "clip the same parameters to the same norm in both, between the last backward "
                     "pass and the update");
    return true;
}

static size_t count_clips(const fb__step *step)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++)
        n += step->events[i].site->kind == FB_KIND_SCALAR &&
             strcmp(fb__text(step->events[i].site->path), "clip") == 0 &&
             strcmp(fb__text(step->events[i].site->slot), "grad_norm") == 0;
    return n;
}

/* Signature: gradients are gathered otherwise, and one side clips them more often in the step; or a
 * gradient is clamped by hand on one side only. */
bool fb__rule_clip_count(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *from = fb__input_site(c, e, 0);
    const size_t a = count_clips(&c->pair->a), b = count_clips(&c->pair->b);

    if (e->site->kind != FB_KIND_TENSOR)
        return false;
    if (!fb__is_pair(c) && from != NULL && fb__is_gradient(from) && fb__op_is(e->site, "clamp"))
        fb__say(out, "only %s clamps its gradients (%s)", fb__culprit_side(c),
                fb__text(e->site->op));
    else if (e->site->phase == FB_PHASE_BACKWARD && a != b && a > 0 && b > 0)
        fb__say(out,
                "a clips its gradients %zu times in the step, b %zu times: clipped after each "
                "backward pass they are other gradients",
                a, b);
    else
        return false;
    fb__say_fix(out, "clip the same parameters to the same norm in both, between the last backward "
                     "pass and the update");
    return true;
}

/* --- Scales ----------------------------------------------------------------------------------- */

static bool is_gradient_or_clip(const fb_site *site)
{
    return fb__is_gradient(site) || strncmp(fb__text(site->path), "clip", 4) == 0;
}

static bool is_scaling(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;

    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_FORWARD &&
           fb__text(site->path)[0] == '\0' && (fb__op_is(site, "div") || fb__op_is(site, "mul")) &&
           fb__reader(c, fb__culprit_event(c), is_gradient_or_clip, 4096) != NULL;
}

/* Whether b's gradients are as much larger than a's as the number of the op says, or its inverse:
 * what scales the loss may be undone by what scales the gradients. */
static bool is_by_number(const fb__case *c, double ratio)
{
    const fb_site *site = fb__culprit_event(c)->site;
    char text[64];
    double n;

    if (!fb__argument(text, sizeof text, site, "other"))
        return false;
    n = strtod(text, NULL);
    return n != 0 && (fabs(ratio - n) < 1e-3 * fabs(n) || fabs(ratio - 1 / n) < 1e-3 * fabs(1 / n));
}

/* Signature: the loss, or gradients between the backward pass and the update, are scaled on one
 * side only, by the number that the gradients' norm, or all of them, say. */
bool fb__rule_scaled_gradients(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    const char *what = fb__is_scalar(site) ? "loss" : "gradients";
    fb__gradients g;
    double a, b;

    if (!is_scaling(c) || fb__is_pair(c))
        return false;
    fb__gradients_of(&g, c);
    if (fb__norms(&a, &b, c) && fabs(b - a) > 1e-3 * a && is_by_number(c, b / a))
        fb__say(out, "only %s scales its %s (%s): the norm of all gradients of b is %.6g times a's",
                fb__culprit_side(c), what, fb__text(site->op), b / a);
    else if (g.count > 0 && g.scaled == g.count && fabs(g.scale - 1) > FB__FIT_TOLERANCE)
        fb__say(out, "only %s scales its %s (%s): all %zu gradients of b are %.6g times a's",
                fb__culprit_side(c), what, fb__text(site->op), g.count, g.scale);
    else
        return false;
    fb__say_fix(out, "scale the loss by the same number in both, or undo it before the update");
    return true;
}

/* Signature: the same scaling of a gradient gives another result, since one side clips before it
 * and the other behind. */
bool fb__rule_clip_order(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *in_a, *in_b;
    bool clipped_a, clipped_b;

    if (!fb__is_pair(c) || fb__culprit_event(c)->site->phase != FB_PHASE_FORWARD ||
        !(fb__op_is(c->culprit->a->site, "div") || fb__op_is(c->culprit->a->site, "mul")))
        return false;
    in_a = fb__input_site(c, c->culprit->a, 0);
    in_b = fb__input_site(c, c->culprit->b, 0);
    clipped_a = in_a != NULL && strncmp(fb__text(in_a->path), "clip", 4) == 0;
    clipped_b = in_b != NULL && strncmp(fb__text(in_b->path), "clip", 4) == 0;
    if (clipped_a == clipped_b)
        return false;
    fb__say(out, "%s clips its gradients before they are scaled (%s), %s behind",
            clipped_a ? "a" : "b", fb__text(c->culprit->a->site->op), clipped_a ? "b" : "a");
    fb__say_fix(out, "unscale first, then clip, then update");
    return true;
}
