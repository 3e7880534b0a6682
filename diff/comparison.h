/* SPDX-License-Identifier: Apache-2.0
 *
 * comparison.h - two traces under comparison, and the parts of its course: one step, resumed runs,
 * runs without a difference. Private to diff.
 */
#ifndef FB_DIFF_COMPARISON_H
#define FB_DIFF_COMPARISON_H

#include "diff/align/align.h"
#include "diff/diff.h"
#include "diff/diff_notes.h"
#include "diff/judge/judge.h"
#include "diff/read/chains.h"
#include "diff/read/headers.h"

/* Classes whose differences reach the training state, or tell of it. */
enum {
    FB__STATE_CLASSES =
        1u << FB_CLASS_SCALARS | 1u << FB_CLASS_DATA | 1u << FB_CLASS_STATE | 1u << FB_CLASS_OPS
};

typedef struct fb__comparison {
    fb_diff_report *report;
    const fb_diff_options *options;
    fb_trace *a, *b;
    fb__headers headers;
    fb__chains chains;
    fb__noted noted;
    bool judged;     /* the verdict is there */
    bool order_only; /* from here on nothing differs but in which step updates stand */

    /* A run was over in this step, which the other finished: all before it is equal. */
    struct fb__ended {
        bool found, is_b;
        uint64_t step;
    } ended;

    /* The first step of which no more differs than what moves generators. It is the finding where
     * their numbers reach something of a later step, and else a note. */
    struct fb__held {
        bool found, reached, tell, blame;
        bool used_later; /* later steps may take what was drawn */
        uint64_t step;
        uint64_t later; /* differing steps behind it that were judged */
    } held;
} fb__comparison;

/* The verdict is there: this cannot be decided, for that reason, which is copied. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__undecidable(fb__comparison *c, fb_error *err, const char *why);

/* Loads, aligns and judges one step; where it has a culprit, the verdict is there, with the cause.
 * roots_differ: it is known that something differs. Errors as fb_diff. */
FB_NODISCARD fb_status fb__judge_step(fb__comparison *c, uint64_t step, uint32_t classes,
                                      bool roots_differ, fb_error *err);

/* The verdict is there: this event of an aligned step is the first that differs. Its values, its
 * cause and how far all is equal are found. Errors as fb_diff. */
FB_NODISCARD fb_status fb__blame(fb__comparison *c, const fb__step_pair *pair, fb__culprit *culprit,
                                 const fb__alignment *alignment, uint64_t step, fb_error *err);

/* Compares what two runs had learned before the operations of `step` and of those right before it
 * began to be recorded, where recorders told it: where that differs, the verdict is there, and what
 * differs in these steps is its consequence. Errors as fb_diff. */
FB_NODISCARD fb_status fb__judge_begin(fb__comparison *c, uint64_t step, fb_error *err);

/* The same at the end of two runs of as many steps. Errors as fb_diff. */
FB_NODISCARD fb_status fb__judge_end(fb__comparison *c, fb_error *err);

/* Compares what models gave that were called without learning, in steps without operations: where
 * that differs, and nothing else did, the verdict is there. Errors as fb_diff. */
FB_NODISCARD fb_status fb__judge_results(fb__comparison *c, fb_error *err);

/* A result of operations on no record differs in `step`: where one side alone called something in
 * the step before, and in the one before that both did or neither, that is blamed, and the verdict
 * is there. Errors as fb_diff. */
FB_NODISCARD fb_status fb__blame_suspect(fb__comparison *c, uint64_t step, fb_error *err);

/* Judges the held step once more, when it is known what became of it: a finding or a note. */
FB_NODISCARD fb_status fb__judge_held(fb__comparison *c, fb_error *err);

/* A run that went on from a checkpoint must have loaded what the other had at that step: else the
 * verdict is there. Errors as fb_diff. */
FB_NODISCARD fb_status fb__check_resume(fb__comparison *c, fb_error *err);

/* A recorded program that was resumed in a process of its own counts its steps from 1 again: for
 * such a pair the verdict is there. Errors as fb_diff. */
FB_NODISCARD fb_status fb__check_resumed(fb__comparison *c, fb_error *err);

/* Steps that the caller has laid beside each other (options->align_a, align_b): the verdict is
 * there. FB_E_USAGE where a trace does not have its step; else as fb_diff. */
FB_NODISCARD fb_status fb__check_shifted(fb__comparison *c, fb_error *err);

/* Equal chains speak for the events that they were made from. That these are the events in the file
 * takes reading all of it, which a comparison of large traces is spared: the report says so.
 * FB_E_CORRUPT, FB_E_IO, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__check_integrity(fb__comparison *c, fb_error *err);

/* The verdict where no step has a culprit. Errors as fb__check_integrity. */
FB_NODISCARD fb_status fb__judge_equal(fb__comparison *c, fb_error *err);

#endif
