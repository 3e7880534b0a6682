/* SPDX-License-Identifier: Apache-2.0
 *
 * counterfactual.c - replays one run with a hypothesis against the trace of the other.
 */
#include "diff/cause/counterfactual.h"

#include "replay/replay.h"

static bool can_replay(const fb__case *c)
{
    return !c->no_trials && !c->options->no_replay && c->headers->a.configuration != NULL &&
           c->headers->b.configuration != NULL;
}

static fb__trial judge_replay(const char *path, const fb_replay_options *options)
{
    fb_replay_report report;
    bool equal;

    if (fb_replay(&report, path, options, NULL) != FB_OK)
        return FB__TRIAL_UNKNOWN;
    equal = !report.diverged;
    fb_replay_report_free(&report);
    return equal ? FB__TRIAL_CONFIRMED : FB__TRIAL_REFUTED;
}

fb__trial fb__try_fault(const fb__case *c, bool of_b, const fb_fault *fault)
{
    const uint64_t step = c->report->first.name.step;
    const fb_replay_options o = {
        .size = sizeof o,
        .data = c->options->data,
        .no_stack = true,
        .against = of_b ? c->report->name_a : c->report->name_b,
        .faults = fault,
        .fault_count = 1,
        .has_from = step > 0,
        .from = step,
        .has_to = true,
        .to = step,
    };

    if (!can_replay(c))
        return FB__TRIAL_UNKNOWN;
    return judge_replay(of_b ? c->report->name_b : c->report->name_a, &o);
}

fb__trial fb__try_settings(const fb__case *c, const fb_config_set *sets, size_t count)
{
    const fb_event_name *name = &c->report->first.name;
    const bool one_sided = c->culprit->a == NULL || c->culprit->b == NULL;
    fb_replay_tensor event = {0};
    fb_replay_options o = {
        .size = sizeof o,
        .data = c->options->data,
        .no_stack = true,
        .against = c->report->name_b,
        .sets = sets,
        .set_count = count,
        .has_to = true,
        .to = name->step,
    };
    fb__trial trial;

    if (!can_replay(c))
        return FB__TRIAL_UNKNOWN;
    if (!one_sided) {
        o.capture = name;
        o.captured = &event;
    }
    trial = judge_replay(c->report->name_a, &o);
    if (trial == FB__TRIAL_CONFIRMED && !one_sided && !event.matches)
        trial = FB__TRIAL_REFUTED;
    fb_replay_tensor_free(&event);
    return trial;
}

fb__trial fb__try_override(const fb__case *c, bool of_b, const fb_override_use *use, uint64_t to)
{
    const uint64_t step = c->report->first.name.step;
    const bool from_start = use != NULL && use->what->history;
    const fb_replay_options o = {
        .size = sizeof o,
        .data = c->options->data,
        .no_stack = true,
        .override = use,
        .has_from = step > 0 && !from_start,
        .from = step,
        .has_to = true,
        .to = to,
    };

    if (!can_replay(c))
        return FB__TRIAL_UNKNOWN;
    return judge_replay(of_b ? c->report->name_b : c->report->name_a, &o);
}
