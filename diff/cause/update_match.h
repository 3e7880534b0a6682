/* SPDX-License-Identifier: Apache-2.0
 *
 * update_match.h - which formula made the updates of a recorded program? The optimizer bank of the
 * engine is tried on the recorded contents of parameters, gradients and states (level values).
 */
#ifndef FB_DIFF_CAUSE_UPDATE_MATCH_H
#define FB_DIFF_CAUSE_UPDATE_MATCH_H

#include "engine/override/override.h"
#include "firstbit/trace.h"

typedef struct fb__update_match {
    bool known;              /* a formula explains what was recorded, within rounding */
    bool plain;              /* the usual one of that optimizer */
    const fb_override *what; /* else: the entry of the bank that fits best */
    size_t others;           /* entries that fit as well */
    size_t parameters, updates;
} fb__update_match;

/*
 * Tries the formulas on the updates of a step and of the next ones.
 *
 *   optimizer  "adam", "adamw" or "sgd": whose usual formula is meant
 *
 * Reads at most 4 steps and 16 MiB of contents. Where contents or settings were not recorded, or
 * parameters have settings of their own, out->known is false.
 */
void fb__match_updates(fb__update_match *out, fb_trace *trace, uint64_t step,
                       const char *optimizer);

#endif
