/* SPDX-License-Identifier: Apache-2.0
 *
 * chains.h - finds the steps in which two traces differ, by the roots and chains of their classes:
 * a bisection where the chains can be compared, root by root where they cannot.
 */
#ifndef FB_DIFF_READ_CHAINS_H
#define FB_DIFF_READ_CHAINS_H

#include <stdbool.h>
#include <stdint.h>

#include "firstbit/trace.h"

enum { FB__CHAINS_CACHE = 64 };

typedef struct fb__chains_slot {
    bool used, present; /* present: both traces have the step */
    uint64_t step;
    fb_trace_step a, b;
} fb__chains_slot;

typedef struct fb__chains {
    fb_trace *a, *b; /* borrowed */
    bool any;        /* there is a step that both have finished */
    uint64_t first, last;
    bool same_start; /* both traces begin at `first`: chains have the same past */
    fb__chains_slot cache[FB__CHAINS_CACHE];
} fb__chains;

/* Finds the range of steps that both have finished, at or after `from`. */
void fb__chains_open(fb__chains *out, fb_trace *a, fb_trace *b, uint64_t from);

/*
 * The first step at or after `from` in which the roots of class c differ, where both traces
 * recorded that class.
 *
 *   equal_before  everything of class c before `from` is known to be equal: the chains may be used
 */
FB_NODISCARD fb_status fb__chains_first(bool *found, uint64_t *step, fb__chains *chains, fb_class c,
                                        uint64_t from, bool equal_before, fb_error *err);

/* Which classes both traces recorded in a step that both have, as bits; 0 where one lacks it. */
FB_NODISCARD fb_status fb__chains_common(uint32_t *classes, fb__chains *chains, uint64_t step,
                                         fb_error *err);

/* Roots of a step of both; *slot is NULL where one lacks it. Valid until the next call. */
FB_NODISCARD fb_status fb__chains_step(const fb__chains_slot **slot, fb__chains *chains,
                                       uint64_t step, fb_error *err);

/* Whether both traces begin with the same step and all of it is equal, in every class: then names,
 * shapes and what was loaded are, too, without reading an event. */
FB_NODISCARD fb_status fb__first_steps_equal(bool *out, fb_trace *a, fb_trace *b, fb_error *err);

#endif
