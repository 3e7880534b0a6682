/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding.h - two programs that round differently, or have no names in common: is what differs
 * rounding, or a bug? Pairs tensors (pairing.h), measures how far rounding may carry them
 * (noise.h), and looks for the first operation that goes beyond. docs/diff.md, "Rounding or real".
 */
#ifndef FB_DIFF_ROUNDING_ROUNDING_H
#define FB_DIFF_ROUNDING_ROUNDING_H

#include "diff/diff.h"
#include "diff/read/headers.h"
#include "diff/align/pairing.h"

/* A difference is taken for real beyond this many times the envelope. */
#define FB__ROUNDING_LIMIT 10.0

/* Whether these two are judged by the rounding rules: asked for, or different frameworks, kernel
 * tables or micro-batches, or modules with other names. Statuses of the readers. */
FB_NODISCARD fb_status fb__rounding_applies(bool *applies, const fb_diff_report *report,
                                            const fb_diff_options *options,
                                            const fb__headers *headers, fb_trace *a, fb_trace *b,
                                            fb_error *err);

/* Compares the steps first..last of both and fills the report: verdict, first, cause, rounding.
 * Statuses of the readers and of fb__map_read, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__rounding_compare(fb_diff_report *report, const fb_diff_options *options,
                                            const fb__headers *headers, fb_trace *a, fb_trace *b,
                                            uint64_t first, uint64_t last, fb_error *err);

/* Of a bitwise comparison with a first difference: how large it is beside the rounding of its
 * operation, where both traces have sketches (rounding_size.c). Statuses of the readers. */
FB_NODISCARD fb_status fb__rounding_measure_first(fb_diff_report *report, fb_trace *a, fb_trace *b,
                                                  fb_error *err);

/* Then, of two recorded programs with sketches: where no rule knows more than that something is
 * computed otherwise, and the whole step is within rounding, the cause is rounding. With
 * options->rounding the steps behind are judged too, and the verdict is theirs. Statuses of the
 * readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__rounding_claim(fb_diff_report *report, const fb_diff_options *options,
                                          const fb__headers *headers, fb_trace *a, fb_trace *b,
                                          fb_error *err);

/* Two runs of the engine that are within rounding because it was asked for: one flipped bit in the
 * last places is that too, and a replay tells it. Where it does, *report is that of the bits.
 * Statuses of fb_diff. */
FB_NODISCARD fb_status fb__rounding_recheck(fb_diff_report *report, const char *a, const char *b,
                                            const fb_diff_options *options, fb_error *err);

/* --- Inside of rounding*.c ---------------------------------------------------------------------
 */

/* Where an envelope comes from: a file of firstbit noise, or a repeat. */
typedef struct fb__envelope {
    fb_trace *trace;
    bool measured; /* a file of firstbit noise */
    bool of_b;     /* of b's program, else of a's */
} fb__envelope;

/* One pair of a step, under the node of a that stands for it. */
typedef struct fb__judged {
    bool known;    /* it was compared */
    bool equal;    /* bit for bit, or the same numbers in another order */
    bool exact;    /* must be equal: no rounding has happened yet */
    bool useless;  /* rounding alone may have made it anything */
    bool vanished; /* nothing behind it has its difference: a factor that one side takes earlier */
    double distance; /* L2; a lower bound where the order is not the same */
    double envelope; /* how far rounding may carry it, L2 */
    double ratio;    /* distance to envelope */
    double scale;    /* best factor from a to b; NaN where not known */
    double along;    /* how much of the difference that factor explains, 0 to 1 */
    bool cast;       /* one side is the other rounded to bfloat16 */
} fb__judged;

typedef struct fb__step_judgement {
    fb__judged *at;   /* by node of a */
    uint32_t culprit; /* node of a, or FB__NODE_NONE */
    uint32_t beyond;  /* pairs beyond the limit */
    uint32_t missing; /* losses, gradients and updates that were not compared */
    uint32_t compared, equal, useless;
} fb__step_judgement;

/* Judges one step. carried: by start node of a, the ratio that its parameter had after the step
 * before; updated. allowed: by node of a, how far rounding may carry it. with_start: parameters as
 * they were at the beginning are judged too. FB_E_MEMORY. Free out->at. */
FB_NODISCARD fb_status fb__rounding_judge(fb__step_judgement *out, const fb__pairing *pairing,
                                          const double *allowed, double *carried, bool with_start,
                                          fb_error *err);

/* The L2 norm that a result would have if the terms of its sums did not cancel: what errors of its
 * inputs, and its own rounding, are relative to. At least its norm. */
double fb__rounding_scale(const fb__table *table, const fb__node *node);

/* How far, L2, the rounding of one operation may carry its result. */
double fb__rounding_own(const fb__table *table, const fb__node *node);

/* The L2 norm that a tensor would have if its elements had the size of those it is made from. */
double fb__rounding_input_size(const fb__table *table, const fb__node *node);

/* How far, L2, a pair may be apart: `allowed`, what repeats or inputs say, and its own rounding. A
 * few repeats may all have been lucky. cancelled: of fb__rounding_cancelled. */
double fb__rounding_limit_of(const fb__table *table, uint32_t node, double allowed,
                             double cancelled);

/* By node: the size that a gradient has without cancelling, where it cancels, or comes from one
 * that does; else 0. FB_E_MEMORY; free *out. */
FB_NODISCARD fb_status fb__rounding_cancelled(double **out, const fb__table *table, fb_error *err);

/* Adds to `allowed` (by node of a) what one envelope says, where it says more. */
void fb__rounding_allow(double *allowed, const fb__pairing *pairing, const fb__envelope *envelope,
                        const fb__table *table);

/* Names the cause of a culprit. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__rounding_cause(fb_diff_report *report, const fb__headers *headers,
                                          const fb__pairing *pairing,
                                          const fb__step_judgement *judgement, fb_error *err);

/* The tensor that stands on the other side of a's node: of a join, all parts as one. */
void fb__other_side(fb__node *whole, fb__node *other, const fb__pairing *pairing, uint32_t node);

#endif
