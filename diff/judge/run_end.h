/* SPDX-License-Identifier: Apache-2.0
 *
 * run_end.h - whether a run was over in a step that the other one finished: it made fewer steps, or
 * stopped early.
 */
#ifndef FB_DIFF_JUDGE_RUN_END_H
#define FB_DIFF_JUDGE_RUN_END_H

#include "diff/read/step_events.h"

typedef enum fb__run_end {
    FB__RUN_GOES_ON,
    FB__RUN_A_ENDED,
    FB__RUN_B_ENDED,
} fb__run_end;

/*
 * A recorded program ends a step with an update, so behind its last update there is one more step,
 * which is empty, or holds an evaluation, a batch that was fetched and not used, or half of a pass
 * that was broken off. A run has ended in this step where its whole trace does, the other trace
 * goes on behind it, and only the other makes an update here.
 *
 * Where this half step has gradients, the run may as well have forgotten the update: it has ended
 * only if the other makes more than one update from here on. Torn traces are no matter of this.
 */
fb__run_end fb__run_end_of(const fb__step_pair *pair);

#endif
