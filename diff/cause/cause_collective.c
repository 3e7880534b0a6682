/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_collective.c - causes in what processes tell each other: collectives that are missing,
 * doubled or scaled.
 */
#include <string.h>

#include "diff/cause/evidence.h"

enum { NONE = UINT32_MAX };

static bool is_collective(const fb_site *site)
{
    return site != NULL && (site->kind == FB_KIND_COLLECTIVE || site->phase == FB_PHASE_COMM);
}

/* A collective that the other side lacks. */
static const fb__step_event *lone_collective(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++)
        if (is_collective(step->events[i].site) && step->events[i].partner == NONE &&
            !step->events[i].beyond)
            return &step->events[i];
    return NULL;
}

/* How many gradients of the step come out of the buckets of DistributedDataParallel, which tells no
 * collective where it is written in C++. */
static size_t count_bucketed(const fb__case *c, const fb__step *step)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];
        const fb_site *from = fb__input_site(c, e, 0);

        n += fb__is_gradient(e->site) && from != NULL && fb__op_is(from, "copy") &&
             strncmp(fb__text(e->site->path), "DistributedDataParallel", 23) == 0;
    }
    return n;
}

static bool say_buckets(fb_diff_cause *out, const fb__case *c)
{
    const size_t a = count_bucketed(c, &c->pair->a), b = count_bucketed(c, &c->pair->b);

    if (fb__culprit_event(c)->site->phase != FB_PHASE_BACKWARD || (a > 0) == (b > 0))
        return false;
    fb__say(out,
            "%zu gradients of %s pass through the buckets of DistributedDataParallel, of %s "
            "none: they are not synchronized",
            a > 0 ? a : b, a > 0 ? "a" : "b", a > 0 ? "b" : "a");
    return true;
}

static bool say_collective(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *in_a, *in_b;
    fb__argument_pair p;
    fb_sketch x, y;

    if (is_collective(e->site) && fb__is_pair(c)) {
        if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
            fb__say(out, "%s is called with %s %s | %s", fb__text(e->site->op), p.name, p.a, p.b);
        else if (fb__sketch(&x, &c->pair->a, c->culprit->a) &&
                 fb__sketch(&y, &c->pair->b, c->culprit->b) && fb__fits(fb__fit_scale(&x, &y)))
            fb__say(out, "what %s gives in b is %.6g times a's, from equal parts",
                    fb__text(e->site->op), fb__fit_scale(&x, &y).scale);
        else
            fb__say(out, "%s gives another result, though this process gave it the same",
                    fb__text(e->site->op));
        return true;
    }
    in_a = lone_collective(&c->pair->a);
    in_b = lone_collective(&c->pair->b);
    if (in_a != NULL || in_b != NULL) {
        fb__say(out, "only %s has %s among its processes here", in_a != NULL ? "a" : "b",
                fb__text((in_a != NULL ? in_a : in_b)->site->op));
        return is_collective(e->site) || e->site->phase == FB_PHASE_BACKWARD ||
               is_collective(fb__input_site(c, e, 0));
    }
    if (say_buckets(out, c))
        return true;
    if (!is_collective(fb__input_site(c, e, 0)) ||
        !(fb__op_is(e->site, "div") || fb__op_is(e->site, "mul")))
        return false;
    fb__say(out, "what the processes have added up is scaled otherwise (%s)",
            fb__text(e->site->op));
    return true;
}

/* Signature: a collective differs, or is on one side only; or its result is scaled otherwise. */
bool fb__rule_collective(fb_diff_cause *out, const fb__case *c)
{
    const fb_kind kind = fb__culprit_event(c)->site->kind;

    if ((kind != FB_KIND_TENSOR && kind != FB_KIND_COLLECTIVE) || !say_collective(out, c))
        return false;
    fb__say_fix(out,
                "call the same collective once for each tensor in every process, and divide by "
                "the number of processes once");
    return true;
}
