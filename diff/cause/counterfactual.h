/* SPDX-License-Identifier: Apache-2.0
 *
 * counterfactual.h - tries a hypothesis: one run is replayed with it applied, and must then be the
 * other run bit for bit. Only this makes a cause confirmed.
 */
#ifndef FB_DIFF_CAUSE_COUNTERFACTUAL_H
#define FB_DIFF_CAUSE_COUNTERFACTUAL_H

#include "diff/cause/causes.h"
#include "engine/config/config.h"
#include "engine/fault.h"
#include "engine/override/override.h"

typedef enum fb__trial {
    FB__TRIAL_UNKNOWN,  /* the run could not be replayed */
    FB__TRIAL_REFUTED,  /* it is not the other run */
    FB__TRIAL_CONFIRMED /* it is, through the end of the divergent step */
} fb__trial;

/* The run of side a (of_b: of side b) with a fault planted, against the other trace. */
fb__trial fb__try_fault(const fb__case *c, bool of_b, const fb_fault *fault);

/* The run of side a with keys of its configuration changed, against b, up to the divergent event
 * (where one side lacks it: through its step). */
fb__trial fb__try_settings(const fb__case *c, const fb_config_set *sets, size_t count);

/* The run of side a (of_b: of side b) with a formula of it replaced, against its own trace, through
 * step `to`. `use` NULL: as it is, which says whether its trace is one of this engine. */
fb__trial fb__try_override(const fb__case *c, bool of_b, const fb_override_use *use, uint64_t to);

#endif
