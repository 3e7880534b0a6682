/* SPDX-License-Identifier: Apache-2.0
 *
 * run_end.c - a run that was over in a step that the other one finished.
 */
#include "diff/judge/run_end.h"

/* x was over in this step, and y was not. */
static bool is_over(const fb__step *x, const fb__step *y)
{
    const fb_trace_info *ix = fb_trace_get_info(x->trace), *iy = fb_trace_get_info(y->trace);

    if (ix->status != FB_TRACE_COMPLETE || ix->last_step != x->step || iy->last_step <= x->step)
        return false;
    if (x->has_update || !(y->has_update || y->has_gradient))
        return false;
    return !x->has_gradient || (y->has_update && iy->last_step > x->step + 1);
}

fb__run_end fb__run_end_of(const fb__step_pair *pair)
{
    if (is_over(&pair->a, &pair->b))
        return FB__RUN_A_ENDED;
    return is_over(&pair->b, &pair->a) ? FB__RUN_B_ENDED : FB__RUN_GOES_ON;
}
