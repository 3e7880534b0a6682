/* SPDX-License-Identifier: Apache-2.0
 *
 * carried.h - state that a program carries from step to step by itself.
 *
 * An average of the parameters is made anew in each step, from its own earlier value and from the
 * parameters. No update reads it, and yet it is what is evaluated and kept in the end: where it
 * differs the runs differ.
 */
#ifndef FB_DIFF_JUDGE_CARRIED_H
#define FB_DIFF_JUDGE_CARRIED_H

#include "diff/judge/guilt.h"

/* Marks with FB__COUNTS what both sides carry, in one form, with contents that the other side has
 * nowhere in the step. What one side alone carries is a note. */
void fb__mark_carried(fb__guilt *g);

#endif
