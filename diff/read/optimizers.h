/* SPDX-License-Identifier: Apache-2.0
 *
 * optimizers.h - which optimizer of one run is which of the other.
 *
 * A recorder numbers optimizers in the order in which they were made: "optimizer0". Two runs that
 * make them in another order have the same optimizers: those that hold the same parameters.
 */
#ifndef FB_DIFF_READ_OPTIMIZERS_H
#define FB_DIFF_READ_OPTIMIZERS_H

#include <stdbool.h>

#include "firstbit/trace.h"

enum { FB__OPTIMIZERS_MAX = 10 }; /* a number has one digit */

/* Side a's number of each optimizer of b. */
typedef struct fb__numbering {
    bool exchanged; /* any has another number */
    int of_a[FB__OPTIMIZERS_MAX];
} fb__numbering;

/* Compares what optimizers hold before the first step. Where that does not say it of each, and
 * once, numbers stand for themselves. Moves both readers. */
void fb__number_optimizers(fb__numbering *out, fb_trace *a, fb_trace *b);

/* A path of b, or a slot "held by optimizerN", with a's number: in place. Returns whether that is
 * another text. */
bool fb__renumber(char *text, const fb__numbering *numbering);

#endif
