/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_own_update.c - causes in the update of a program that has no optimizer of its framework: it
 * computes the new parameters itself, from gradients, numbers and states that it keeps.
 */
#include <string.h>

#include "diff/cause/evidence.h"

enum { REACH = 4096 };

/* A parameter that the program has written; what an optimizer writes has its name as the op. */
static bool is_update(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_OPTIMIZER &&
           strcmp(fb__text(site->op), "update") == 0;
}

/* Whether the event wrote what a parameter is behind the step. */
static bool writes_parameter(const fb__step *step, const fb__step_event *e)
{
    for (size_t i = (size_t)(e - step->events) + 1; i < step->count; i++) {
        const fb__step_event *x = &step->events[i];

        for (uint32_t k = 0; k < x->input_count && is_update(x->site); k++)
            if (fb_hash_equal(step->inputs[x->first_input + k], e->key))
                return true;
    }
    return false;
}

static bool is_by_hand(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__is_real(site->dtype) &&
           fb__text(site->path)[0] == '\0' &&
           (site->phase == FB_PHASE_FORWARD || site->phase == FB_PHASE_OPTIMIZER);
}

/* What the way from a gradient to the new parameter ends with; a loss that is read before is made
 * from a gradient too, and is no update. */
static bool ends_the_way(const fb__step_event *e, const void *step)
{
    return writes_parameter(step, e) || fb__is_loss(e->site) || e->site->phase == FB_PHASE_BACKWARD;
}

static bool is_of_backward(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_BACKWARD;
}

/* The event that writes the parameter for which an event is computed from a gradient, the event
 * itself where it does; NULL: it is no part of an update. */
static const fb__step_event *writer_behind(const fb__case *c, const fb__step_event *e)
{
    const fb__step *step = fb__step_of(c, e);
    const fb__step_event *end;

    if (!is_by_hand(e->site) || e < step->events || e >= step->events + step->count ||
        fb__origin(c, e, FB__ALL_INPUTS, is_of_backward, is_by_hand, 256) == NULL)
        return NULL;
    end = writes_parameter(step, e) ? e : fb__reader_where(c, e, ends_the_way, step, REACH);
    return end != NULL && writes_parameter(step, end) ? end : NULL;
}

/* The same of the culprit, on each side that has it. */
static const fb__step_event *writer(const fb__case *c)
{
    if (fb__is_pair(c) && writer_behind(c, c->culprit->b) == NULL)
        return NULL;
    return writer_behind(c, fb__culprit_event(c));
}

static bool reads(const fb__step *step, const fb__step_event *reader, const fb__step_event *e)
{
    for (uint32_t k = 0; k < reader->input_count; k++)
        if (fb_hash_equal(step->inputs[reader->first_input + k], e->key))
            return true;
    return false;
}

/* Signature: a number differs that all of an update is multiplied by: where the parameter is
 * written, or right before. */
bool fb__rule_own_rate(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *end = writer(c);
    fb__argument_pair p;

    if (end == NULL || !fb__is_pair(c) ||
        !fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        return false;
    if (end == e ? strcmp(p.name, "alpha") != 0 && strcmp(p.name, "value") != 0
                 : !fb__op_is(e->site, "mul") || strcmp(p.name, "other") != 0 ||
                       !reads(fb__step_of(c, e), end, e))
        return false;
    fb__say(out, "the program multiplies its update by %s | %s (%s): its learning rate is another",
            p.a, p.b, fb__text(e->site->op));
    fb__say_fix(out, "compare the learning rates of both: their first value, and what changes them "
                     "from step to step");
    return true;
}

/* Signature: between a gradient and the parameter that is written from it another op, or one with
 * other numbers, and the program does that itself. */
bool fb__rule_own_update(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    char inputs[FB__INPUTS_TEXT];
    fb__argument_pair p;

    if (writer(c) == NULL)
        return false;
    if (!fb__is_pair(c))
        fb__say(out, "only %s has %s in the update that the program computes itself",
                fb__culprit_side(c), fb__text(e->site->op));
    else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "the update that the program computes itself calls %s with %s %s | %s",
                fb__text(e->site->op), p.name, p.a, p.b);
    else if (fb__other_inputs(inputs, sizeof inputs, c))
        fb__say(out, "in the update that the program computes itself, %s %s", fb__text(e->site->op),
                inputs);
    else
        fb__say(out, "the update that the program computes itself differs (%s)",
                fb__text(e->site->op));
    fb__say_fix(out,
                "compare the formulas of the update: bias correction, where eps stands, weight "
                "decay, momentum, and which parameters it is for");
    return true;
}
