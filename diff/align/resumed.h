/* SPDX-License-Identifier: Apache-2.0
 *
 * resumed.h - a recorded program that went on from a checkpoint in a process of its own, beside the
 * run that was not interrupted: its steps count from 1 again, so they are found by contents.
 */
#ifndef FB_DIFF_RESUMED_H
#define FB_DIFF_RESUMED_H

#include "firstbit/trace.h"
#include "replay/event_name.h"

/* What a resumed run has otherwise than the run that it goes on. */
typedef enum fb__resumed_item {
    FB__RESUMED_EQUAL,
    FB__RESUMED_PARAMETER, /* not the value of that step */
    FB__RESUMED_STATE,     /* of the optimizer */
    FB__RESUMED_BUFFER,
    FB__RESUMED_SCHEDULE,
    FB__RESUMED_GENERATOR,
    FB__RESUMED_DATA, /* it reads other samples */
    FB__RESUMED_OTHER,
    FB__RESUMED_END, /* all that both have on record is equal, and they end otherwise */
} fb__resumed_item;

typedef struct fb__resumed {
    bool found;                          /* one of the two goes on from a step of the other */
    bool loaded;                         /* from a checkpoint */
    bool is_b;                           /* it is b */
    uint64_t from;                       /* of the other: that step */
    uint64_t steps, compared, unmatched; /* steps and tensors that both have, and have not */
    fb__resumed_item item;
    bool lost;          /* the checkpoint has the item, and the resumed run has not restored it */
    bool generator_too; /* of other data: PyTorch's generator stands elsewhere as well */
    bool all;           /* of a checkpoint on record all that is in it was restored */
    uint64_t generator_parts; /* the first step of the other behind which PyTorch's generator stands
                               * elsewhere, while all that was compared is equal; 0: none */
    fb_event_name name;       /* of the first difference, as the uninterrupted run has it */
    uint64_t number_a, number_b;
    fb_dtype dtype;
} fb__resumed;

/* Looks for a run that has loaded a checkpoint before its first step: one that the other has saved
 * (saved.h), else one whose parameters are mostly those that the other has after some step. Then
 * compares what it has restored, and their steps by identity: batches, tensors, draws and scalars,
 * up to the first that differs while all that it is made from is equal; and where both end with the
 * same step, what they have learned by then. Reads the other trace once to find the step.
 * Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__resumed_compare(fb__resumed *out, fb_trace *a, fb_trace *b,
                                           fb_error *err);

/* Lays step `step_a` of a beside step `step_b` of b, both at least 1, and the steps behind them at
 * this distance; what both are before these steps is compared too. The side with the smaller number
 * is taken for the one that goes on, from the other's step out->from. FB_E_USAGE where a trace does
 * not have its step; else as above. */
FB_NODISCARD fb_status fb__shifted_compare(fb__resumed *out, fb_trace *a, fb_trace *b,
                                           uint64_t step_a, uint64_t step_b, fb_error *err);

#endif
