/* SPDX-License-Identifier: Apache-2.0
 *
 * steps.h - how many steps a trace holds, as people count them: step 0, initialization, is none.
 */
#ifndef FB_CLI_STEPS_H
#define FB_CLI_STEPS_H

#include "firstbit/trace.h"

static inline uint64_t cli_steps(const fb_trace_info *info)
{
    return info->steps - (info->steps > 0 && info->first_step == 0);
}

#endif
