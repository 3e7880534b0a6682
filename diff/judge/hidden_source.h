/* SPDX-License-Identifier: Apache-2.0
 *
 * hidden_source.h - what made a difference although all results between it and the culprit are
 * equal.
 *
 * An op that gives another result from equal inputs with equal arguments reads something that these
 * do not tell: a draw gave other numbers, say, whose first readers are equal by chance.
 */
#ifndef FB_DIFF_JUDGE_HIDDEN_SOURCE_H
#define FB_DIFF_JUDGE_HIDDEN_SOURCE_H

#include "diff/judge/guilt.h"

/* The first such draw of side a among all that `e`, an event of side a with a partner, is made
 * from in the step; *out is NULL where there is none. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__find_hidden_source(const fb__step_event **out, const fb__guilt *g,
                                              const fb__step_event *e, fb_error *err);

#endif
