/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_kept_gradient.c - causes in gradients that a program keeps by itself from one backward pass
 * to another, where no call of zero_grad() tells of it.
 */
#include <inttypes.h>
#include <string.h>

#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

static bool is_of_backward(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_BACKWARD;
}

/* What stands between two backward passes. */
static bool is_between_passes(const fb_site *site)
{
    return (site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_FORWARD) ||
           (site->kind == FB_KIND_SCALAR && site->phase == FB_PHASE_LOSS);
}

/* Whether a forward pass stands between an event of a step and another, `input`, before it. */
static bool is_passed(fb_trace *trace, fb_ref input, uint64_t number)
{
    const fb_event *x = NULL;
    uint64_t at = 0;
    bool seen = false;

    if (fb_trace_seek(trace, input.step, NULL) != FB_OK)
        return false;
    while (fb_trace_next(trace, &x, &at, NULL) == FB_OK && x != NULL && at < number) {
        const fb_site *site = fb_trace_site(trace, x->site);

        if (x->site == input.site && x->micro == input.micro)
            seen = true;
        else if (seen && site != NULL && is_between_passes(site))
            return true;
    }
    return false;
}

/* Where a sum of two gradients takes one from a backward pass before its own. */
typedef struct kept {
    bool found;
    uint64_t step; /* of that pass */
} kept;

static kept kept_by(const fb__case *c, const fb__step_event *e)
{
    const fb__step *step = e == NULL ? NULL : fb__step_of(c, e);
    const fb_event *x = NULL;
    fb_ref inputs[2];

    if (e == NULL || e->input_count != COUNT_OF(inputs) ||
        fb_trace_seek_event(step->trace, e->number, NULL) != FB_OK ||
        fb_trace_next(step->trace, &x, NULL, NULL) != FB_OK || x == NULL ||
        x->input_count != COUNT_OF(inputs))
        return (kept){.found = false};
    memcpy(inputs, x->inputs, sizeof inputs);
    for (size_t k = 0; k < COUNT_OF(inputs); k++) {
        const fb_site *site = fb_trace_site(step->trace, inputs[k].site);

        if (site != NULL && is_of_backward(site) &&
            (inputs[k].step < step->step || is_passed(step->trace, inputs[k], e->number)))
            return (kept){.found = true, .step = inputs[k].step};
    }
    return (kept){.found = false};
}

/* Signature: in the backward pass a gradient is added to one that was made by an earlier pass, and
 * the other side does not, or adds to one of another step. Within one pass, gradients of the same
 * tensor are added too; those are all made by it. */
bool fb__rule_kept_gradient(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const uint64_t step = fb__step_of(c, e)->step;
    kept a, b, own;

    if (!is_of_backward(e->site) || !fb__op_is(e->site, "add"))
        return false;
    a = kept_by(c, c->culprit->a);
    b = kept_by(c, c->culprit->b);
    own = a.found ? a : b;
    if (a.found == b.found && a.step == b.step)
        return false;
    if (a.found && b.found)
        fb__say(out, "gradients are added to those of step %" PRIu64 " | %" PRIu64, a.step, b.step);
    else if (own.step < step)
        fb__say(out, "only %s adds to gradients that it has kept from step %" PRIu64,
                a.found ? "a" : "b", own.step);
    else
        fb__say(out,
                "only %s adds to the gradients that an earlier backward pass of this step has "
                "left",
                a.found ? "a" : "b");
    fb__say_fix(out, "clear the gradients once for each update, before the first of its backward "
                     "passes");
    return true;
}
