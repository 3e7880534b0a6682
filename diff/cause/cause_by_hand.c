/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_by_hand.c - causes in what a program does itself to gradients between its backward passes
 * and the update: adds them up, divides them, clips them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"

enum { NEAR = 64 };

static bool is_by_hand(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__is_real(site->dtype) &&
           fb__text(site->path)[0] == '\0' &&
           (site->phase == FB_PHASE_FORWARD || site->phase == FB_PHASE_OPTIMIZER);
}

static bool is_of_backward(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_BACKWARD;
}

static bool hands_on(const fb_site *site)
{
    return fb__op_is(site, "add") || fb__op_is(site, "_to_copy");
}

/* A gradient as a backward pass has left it, or a sum of such. */
static bool is_plain_gradient(const fb__case *c, const fb__step_event *e, uint32_t k)
{
    return fb__origin(c, e, k, is_of_backward, hands_on, 64) != NULL;
}

/* --- Clipping --------------------------------------------------------------------------------- */

static bool is_norm(const fb_site *site)
{
    return fb__op_is(site, "linalg_vector_norm") || fb__op_is(site, "norm") ||
           fb__op_is(site, "sqrt");
}

static bool is_norm_or_backward(const fb_site *site)
{
    return is_norm(site) || is_of_backward(site);
}

static bool is_product(const fb_site *site)
{
    return is_by_hand(site) && fb__op_is(site, "mul");
}

static bool is_number(const fb_site *site)
{
    return fb__is_scalar(site);
}

static bool is_clipping(const fb_site *site)
{
    return is_product(site) || is_number(site);
}

/* A product of a gradient with a single number that the norm of gradients gives: the k-th input of
 * the event, or where k is FB__ALL_INPUTS the event itself. */
static bool is_clipped(const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb_site *site = k == FB__ALL_INPUTS ? e->site : fb__input_site(c, e, k);
    const fb_site *norm;

    if (site == NULL || !is_product(site))
        return false;
    norm =
        fb__origin(c, e, k, is_norm_or_backward, k == FB__ALL_INPUTS ? is_number : is_clipping, 64);
    return norm != NULL && is_norm(norm);
}

static bool has_number(const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb_site *site = fb__input_site(c, e, k);
    char number[64];

    return site != NULL && (fb__op_is(site, "div") || fb__op_is(site, "mul")) &&
           fb__argument(number, sizeof number, site, "other");
}

/* Whether a norm is taken of gradients that one side alone has scaled before. */
static bool is_norm_of_scaled(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    return fb__is_pair(c) && is_by_hand(a->site) && a->input_count > 0 && b->input_count > 0 &&
           has_number(c, a, 0) != has_number(c, b, 0) && fb__reader(c, a, is_norm, 1024) != NULL &&
           fb__ancestor(c, a, is_of_backward, 8) != NULL;
}

/* Signature: a gradient is clamped, or multiplied by what its norm gives, on one side only, or in
 * another place; or the norm is of other gradients. */
bool fb__rule_clip_by_hand(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b, *e = fb__culprit_event(c);
    const fb_site *from = fb__input_site(c, e, 0);
    fb__argument_pair p;

    if (!is_by_hand(e->site))
        return false;
    if (fb__op_is(e->site, "clamp") && from != NULL && is_of_backward(from)) {
        if (!fb__is_pair(c))
            fb__say(out, "only %s clamps its gradients (%s)", fb__culprit_side(c),
                    fb__text(e->site->op));
        else if (fb__other_argument(&p, a->site, b->site))
            fb__say(out, "gradients are clamped with %s %s | %s", p.name, p.a, p.b);
        else
            return false;
    } else if (!fb__is_pair(c) && is_clipped(c, e, FB__ALL_INPUTS))
        fb__say(out, "only %s multiplies its gradients by what their norm gives (%s)",
                fb__culprit_side(c), fb__text(e->site->op));
    else if (fb__is_pair(c) && is_clipped(c, a, 0) != is_clipped(c, b, 0))
        fb__say(out, "%s clips its gradients before %s, %s does not",
                is_clipped(c, a, 0) ? "a" : "b", fb__text(e->site->op),
                is_clipped(c, a, 0) ? "b" : "a");
    else if (is_norm_of_scaled(c))
        fb__say(out, "the norm is taken of gradients that only %s has scaled before (%s)",
                has_number(c, a, 0) ? "a" : "b",
                fb__text(fb__input_site(c, has_number(c, a, 0) ? a : b, 0)->op));
    else
        return false;
    fb__say_fix(out, "clip the same gradients to the same norm in both: all of them, unscaled, "
                     "right before the update");
    return true;
}

/* --- Sums and quotients ----------------------------------------------------------------------- */

/* Signature: only one side adds gradients of several backward passes. */
bool fb__rule_added_by_hand(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    if (fb__is_pair(c) || !is_by_hand(e->site) || !fb__op_is(e->site, "add") ||
        e->input_count != 2 || !is_plain_gradient(c, e, 0) || !is_plain_gradient(c, e, 1))
        return false;
    fb__say(out, "only %s adds up the gradients of several backward passes (%s)",
            fb__culprit_side(c), fb__text(e->site->op));
    fb__say_fix(out, "add up the gradients of all micro-batches before the update, in both");
    return true;
}

/* Signature: only one side divides its gradients by a whole number, as by that of its
 * micro-batches. */
bool fb__rule_divided_by_hand(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    char number[64];
    double n;

    if (fb__is_pair(c) || !is_by_hand(e->site) || !fb__op_is(e->site, "div") ||
        !fb__argument(number, sizeof number, e->site, "other") || !is_plain_gradient(c, e, 0))
        return false;
    n = strtod(number, NULL);
    if (!(n > 1) || n != floor(n))
        return false;
    fb__say(out, "only %s divides its gradients by %s", fb__culprit_side(c), number);
    fb__say_fix(out, "divide by the number of micro-batches, or by the loss's scale, once in both");
    return true;
}
