/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_backward.c - causes in gradients that do not arrive, or arrive otherwise.
 */
#include <math.h>
#include <string.h>

#include "diff/cause/evidence.h"

enum { NONE = UINT32_MAX };

static size_t count_one_sided(const fb__step *step, const char *op)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++)
        n += fb__is_gradient(step->events[i].site) && step->events[i].partner == NONE &&
             (op == NULL || strcmp(fb__text(step->events[i].site->op), op) == 0);
    return n;
}

/* Signature: a gradient or an intermediate one differs; with its relation where there is one. */
bool fb__rule_backward_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const size_t only_a = count_one_sided(&c->pair->a, NULL);
    const size_t only_b = count_one_sided(&c->pair->b, NULL);
    const char *name = fb__text(e->site->path);
    fb_sketch x, y;

    if (e->site->phase != FB_PHASE_BACKWARD || e->site->kind != FB_KIND_TENSOR)
        return false;
    if (name[0] == '\0')
        name = fb__text(e->site->op);
    if (only_a + only_b > 0) {
        fb__say(out, "%zu parameters have no gradient in %s, from the backward pass of %s (%s) on",
                only_a > only_b ? only_a : only_b, only_a > only_b ? "b" : "a", name,
                fb__text(e->site->op));
        fb__say_fix(out, "look for detach(), no_grad() or requires_grad_(False) above %s", name);
        return true;
    }
    if (!fb__is_pair(c) || !fb__sketch(&x, &c->pair->a, c->culprit->a) ||
        !fb__sketch(&y, &c->pair->b, c->culprit->b))
        return false;
    const fb__fit fit = fb__fit_scale(&x, &y);

    if (x.elements < 2 || !fb__fits(fit) || fabs(fit.scale - 1) < FB__FIT_TOLERANCE)
        return false;
    fb__say(out, "the gradient at %s (%s) of b is %.6g times that of a", name,
            fb__text(e->site->op), fit.scale);
    fb__say_fix(out, "compare the backward pass of %s (%s) in both", name, fb__text(e->site->op));
    return true;
}
