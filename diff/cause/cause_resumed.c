/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_resumed.c - what a recording that goes on from a checkpoint has not brought along.
 */
#include <inttypes.h>

#include "diff/cause/causes.h"

void fb__say_resumed(fb_diff_report *r, const fb__resumed *d)
{
    static const char *const lost[][2] = {
        {"", ""},
        {"a parameter", "load all parameters of the model, and none of another step"},
        {"the optimizer's state", "save and load optimizer.state_dict()"},
        {"the learning rate", "save and load the scheduler's state_dict()"},
        {"the random generator", "save torch.get_rng_state() and set it again, after all else "
                                 "that draws"},
        {"the place in the data", "save how far the sampler was, and go on from there"},
        {"the computation", "compare what the program does after loading"},
    };

    r->has_cause = true;
    r->cause.name = "checkpoint-resume";
    fb__say(&r->cause,
            "%s goes on from the parameters that %s has after step %" PRIu64
            ", and %s is another one: %s%s%s",
            d->is_b ? "b" : "a", d->is_b ? "a" : "b", d->from, lost[d->item][0], d->name.path,
            d->name.path[0] != '\0' ? " " : "", fb_slot_word(d->name.slot));
    fb__say_fix(&r->cause, "%s", lost[d->item][1]);
}
