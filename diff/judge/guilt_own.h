/* SPDX-License-Identifier: Apache-2.0
 *
 * guilt_own.h - the marks that an event of a step has by itself, before what reads it is asked.
 * Private to guilt.c.
 */
#ifndef FB_DIFF_JUDGE_GUILT_OWN_H
#define FB_DIFF_JUDGE_GUILT_OWN_H

#include "diff/judge/guilt.h"

/* One side of the pair, and what its marks are. */
typedef struct fb__side {
    const fb__step *step;
    const fb__key_index *index;
    uint16_t *marks;
} fb__side;

/* What is said of how a program is set up. It changes nothing by itself, and is the reason where
 * something else differs: a mode, a seed, an option of the optimizer. */
bool fb__is_context(const fb__step_event *event);

/* Sets FB__MODEL of every event of a side. */
void fb__mark_origin(const fb__side *s);

/* Sets the other marks. FB__READ and FB__MODEL must be there already, on both sides. */
void fb__mark_own(const fb__guilt *g, const fb__side *s);

#endif
