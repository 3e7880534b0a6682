/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_depth.c - what differs first was computed by operations that nobody recorded: the report
 * says so, and what to record, instead of blaming what merely shows it.
 */
#include <inttypes.h>
#include <string.h>

#include "diff/cause/evidence.h"

/* What a program sets and does not compute: a learning rate, the limit of a clipping. */
static bool is_set(const fb_site *site)
{
    return site->kind == FB_KIND_SCALAR && site->phase == FB_PHASE_OPTIMIZER &&
           strcmp(fb__text(site->slot), "grad_norm") != 0;
}

static bool is_computed(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM || fb__is_result(site) ||
           (site->kind == FB_KIND_SCALAR && !is_set(site));
}

fb__window fb__window_of(const fb__case *c)
{
    enum { BEFORE = 10 }; /* where nothing is known of the steps before it */
    const uint64_t step = c->pair->a.step;
    const uint64_t back = fb__is_learned(fb__culprit_event(c)->site, FB__BEGIN) ? BEFORE : 1;

    return (fb__window){step > back ? step - back : 0, step};
}

bool fb__is_out_of_sight(const fb__case *c)
{
    const uint32_t ops = 1u << FB_CLASS_OPS;

    return !c->report->engine && fb__is_pair(c) && c->report->first.what == FB_DIFF_CONTENT &&
           c->pair->a.step > 0 && (c->pair->classes & ops) == 0 && is_computed(c->culprit->a->site);
}

/* Signature: a loss, a norm or a parameter differs in a step whose operations are on no record. */
bool fb__rule_out_of_sight(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    fb__window window;

    if (!fb__is_out_of_sight(c))
        return false;
    window = fb__window_of(c);
    if (fb__is_learned(site, FB__BEGIN))
        fb__say(out,
                "what step %" PRIu64 " began with was made before, in steps that were recorded "
                "without their operations",
                c->pair->a.step);
    else if (fb__is_learned(site, FB__END))
        fb__say(out, "it was made in steps that were recorded without their operations, maybe in "
                     "the last one; what was recorded of them is equal");
    else
        fb__say(out,
                "step %" PRIu64 " was recorded without its operations, and what was recorded "
                "before this is equal",
                c->pair->a.step);
    fb__say_fix(out,
                "record both with the operations of steps %" PRIu64 " to %" PRIu64
                ", and compare those",
                window.first, window.last);
    return true;
}

/* Signature: such a result differs, and a generator stands elsewhere at the end of its step, which
 * began alike. */
bool fb__rule_hidden_draws(fb_diff_cause *out, const fb__case *c)
{
    const fb__step *a = &c->pair->a;

    if (!fb__is_out_of_sight(c))
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const fb__step_event *e = &a->events[i];

        if (!fb__is_generator_state(e->site) || e->partner == UINT32_MAX || e->same_content)
            continue;
        fb__say(out,
                "the generator of %s stands elsewhere at the end of step %" PRIu64
                ", and not before: other numbers were drawn in it, by operations that are on no "
                "record",
                fb__text(e->site->stream), a->step);
        fb__say_fix(out,
                    "record both with the operations of steps %" PRIu64 " to %" PRIu64
                    ", and compare the draws",
                    a->step - 1, a->step);
        return true;
    }
    return false;
}
