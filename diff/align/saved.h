/* SPDX-License-Identifier: Apache-2.0
 *
 * saved.h - what a run has saved in its checkpoints, and what another begins with that has read
 * one: notes of a recorder at every level. They tell from which step a resumed run goes on, and
 * what it has not brought along, whether or not that step's parameters are on record otherwise.
 */
#ifndef FB_DIFF_SAVED_H
#define FB_DIFF_SAVED_H

#include "diff/align/state_by_name.h"

/* The checkpoint of a run that another one goes on from. */
typedef struct fb__saved {
    bool found;
    uint64_t from;       /* the last update that is in it */
    uint64_t step, last; /* in which it was written, and the number of the last event that says so;
                          * of one that is found by a generator alone: 0 */
    fb__states saved;    /* all that this step has saved */
    fb__states restored; /* and all that the resumed run has read before its first update */
} fb__saved;

/* Looks in `whole` for the step whose checkpoint holds most of what `part` has restored, and more
 * than half of its parameters (of a checkpoint without parameters, of all). Where `whole` has saved
 * none, for the only step in which PyTorch's generator moved to where it stands as `part` begins.
 * Reads `whole` once. Free it in any case. Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__saved_find(fb__saved *out, fb_trace *whole, fb_trace *part,
                                      fb_error *err);
void fb__saved_free(fb__saved *saved);

/* The first tensor that was restored as another one than is in the checkpoint, and what it was
 * restored as; NULL. Generators are not asked: they may have moved on. */
const fb__state *fb__saved_other(const fb__state **restored, const fb__saved *saved);

/* What was saved and never restored: a state of an optimizer, or a buffer; NULL. */
const fb__state *fb__saved_lost_state(const fb__saved *saved);
const fb__state *fb__saved_lost_buffer(const fb__saved *saved);

#endif
