/* SPDX-License-Identifier: Apache-2.0
 *
 * judge.h - of all that differs in a step, the event to blame: the earliest in the order of data
 * flow whose inputs are equal on both sides. What reaches nothing is set apart as a note.
 */
#ifndef FB_DIFF_JUDGE_JUDGE_H
#define FB_DIFF_JUDGE_JUDGE_H

#include "diff/align/align.h"
#include "diff/diff.h"
#include "diff/judge/earlier.h"
#include "diff/read/step_events.h"

/* A place in an aligned step. One of the two is NULL where that side lacks the event. */
typedef struct fb__culprit {
    bool found;
    fb_diff_what what;
    const fb__step_event *a, *b;
    bool has_previous;
    fb_event_name previous; /* the last equal event before it */
    uint64_t later_equal;   /* equal events of the step behind it */
    bool only_generators; /* all that counts in the step are seeds, draws and where generators stand
                           * at its end: what reads them is of later steps, or nothing */
    bool used_later;      /* with only_generators: later steps may take what was drawn */
    bool uses_draws;      /* draws that differ reach what counts in the step, or may do so */
} fb__culprit;

/* Differences of the step that reach no training state (guilt.h). Of a chain the first. */
typedef struct fb__step_notes {
    const fb__step_event **at; /* first `count_a` on side a (with a partner or without), the
                                * others on side b, without */
    size_t count_a, count;
} fb__step_notes;

typedef struct fb__judgement {
    fb__culprit culprit; /* not found where all that differs is notes */
    fb__step_notes notes;
    fb__earlier reads; /* what the differences that count read of earlier steps */
} fb__judgement;

/* wanted: what a later step has read of this one, which therefore counts where it differs; NULL:
 * nothing. FB_E_MEMORY. Free it in either case. */
FB_NODISCARD fb_status fb__judge(fb__judgement *out, const fb__step_pair *pair,
                                 const fb__earlier *wanted, fb_error *err);
void fb__judgement_free(fb__judgement *judgement);

#endif
