/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_resumed.c - what a recording that goes on from a checkpoint has not brought along.
 */
#include <inttypes.h>

#include "diff/cause/causes.h"

/* What outlives a step and is on record at the end alone: nothing says when it began to differ. */
static void say_end(fb_diff_report *r, const fb__resumed *d)
{
    fb__say(&r->cause,
            "%s goes on from the parameters that %s has after step %" PRIu64
            ", and ends with another %s; all else that both have on record is equal",
            d->is_b ? "b" : "a", d->is_b ? "a" : "b", d->from, d->name.path);
    fb__say_fix(&r->cause, "save and load all that outlives a step: buffers, averages, models that "
                           "no loss reads; or record the last steps with --ops-steps");
}

void fb__say_resumed(fb_diff_report *r, const fb__resumed *d)
{
    static const char *const lost[][2] = {
        {"", ""},
        {"a parameter", "load all parameters of the model, and none of another step"},
        {"the optimizer's state", "save and load optimizer.state_dict()"},
        {"a buffer", "save and load the model's whole state_dict(), buffers too"},
        {"the learning rate", "save and load the scheduler's state_dict()"},
        {"the random generator", "save torch.get_rng_state() and set it again, after all else "
                                 "that draws"},
        {"the place in the data", "save how far the sampler was, and go on from there"},
        {"the computation", "compare what the program does after loading"},
    };

    const char *more;

    r->has_cause = true;
    r->cause.name = "checkpoint-resume";
    if (d->item == FB__RESUMED_END) {
        say_end(r, d);
        return;
    }
    more = d->item == FB__RESUMED_OTHER && d->all
               ? ". All that the checkpoint holds was restored: what it does not hold is left, the "
                 "place in the data or a generator of another package"
           : d->generator_too ? ". So is where torch's generator stands"
                              : "";
    fb__say(&r->cause,
            "%s goes on from the parameters that %s has after step %" PRIu64
            ", and %s is %s: %s%s%s%s",
            d->is_b ? "b" : "a", d->is_b ? "a" : "b", d->from, lost[d->item][0],
            d->lost ? "in that checkpoint and was not restored" : "another one", d->name.path,
            d->name.path[0] != '\0' && d->name.slot[0] != '\0' ? " " : "",
            fb_slot_word(d->name.slot), more);
    fb__say_fix(&r->cause, "%s%s",
                d->item == FB__RESUMED_OTHER && d->all
                    ? "save and restore how far the data was read, and the states of Python's and "
                      "NumPy's generators"
                    : lost[d->item][1],
                d->generator_too ? "; where torch's generator makes the order, save and restore "
                                   "torch.get_rng_state()"
                                 : "");
}

void fb__say_shifted(fb_diff_report *r, const fb__resumed *d, uint64_t step_a, uint64_t step_b)
{
    static const char *const causes[][2] = {
        [FB__RESUMED_EQUAL] = {"unknown", ""},
        [FB__RESUMED_PARAMETER] = {"init", "begin from the same parameters, or align other steps"},
        [FB__RESUMED_STATE] = {"init", "begin from the same state of the optimizer"},
        [FB__RESUMED_BUFFER] = {"init", "begin with the same buffers"},
        [FB__RESUMED_SCHEDULE] = {"schedule", "make the schedule count from the same step"},
        [FB__RESUMED_GENERATOR] = {"rng-offset", "seed the generator before these steps in both"},
        [FB__RESUMED_DATA] = {"data-order", "let both read the same samples in these steps"},
        [FB__RESUMED_OTHER] = {"unknown", "compare what computes it in both"},
        [FB__RESUMED_END] = {"unknown", "record the last steps of both with --ops-steps"},
    };
    const fb_event_name *name = &d->name;

    if (d->loaded && step_a != step_b) {
        fb__say_resumed(r, d);
        return;
    }
    r->has_cause = true;
    r->cause.name = causes[d->item][0];
    fb__say(&r->cause,
            "with step %" PRIu64 " of a laid beside step %" PRIu64 " of b, %s%s%s differs%s",
            step_a, step_b, name->path, name->path[0] != '\0' ? " " : "", fb_slot_word(name->slot),
            d->item == FB__RESUMED_END ? " at the end, and all before it on record is equal"
                                       : ", and all that it is made from is equal");
    fb__say_fix(&r->cause, "%s", causes[d->item][1]);
}
