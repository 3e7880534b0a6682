/* SPDX-License-Identifier: Apache-2.0
 *
 * first_event.h - the culprit as a report tells it.
 */
#ifndef FB_DIFF_JUDGE_FIRST_EVENT_H
#define FB_DIFF_JUDGE_FIRST_EVENT_H

#include "diff/diff.h"
#include "diff/judge/judge.h"
#include "diff/read/step_events.h"

/* Fills report->first from the culprit, which stands in `step` (a draw may have been noted in an
 * earlier step than the pair's). stacks: spell its call stacks out. */
void fb__first_event_fill(fb_diff_report *report, const fb__step_pair *pair,
                          const fb__culprit *culprit, uint64_t step, bool stacks);

#endif
