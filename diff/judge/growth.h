/* SPDX-License-Identifier: Apache-2.0
 *
 * growth.h - how large the difference is in each tensor of the first differing step, in the order
 * in which the run computes them: from the sketches of the traces where both have them, else from
 * the values of both runs, made again.
 */
#ifndef FB_DIFF_JUDGE_GROWTH_H
#define FB_DIFF_JUDGE_GROWTH_H

#include "diff/diff.h"

enum { FB_GROWTH_MAX = 400 };

typedef struct fb_growth_point {
    char path[64], slot[24]; /* cut */
    fb_phase phase;
    double relative; /* ||a - b|| / ||a||; from sketches an estimate within some 20 % */
    uint64_t differing, elements; /* of values; else 0 */
    double ulps;                  /* the median over differing elements; values of f32 only */
} fb_growth_point;

typedef enum fb_growth_source {
    FB_GROWTH_NONE,
    FB_GROWTH_SKETCHES,
    FB_GROWTH_VALUES
} fb_growth_source;

typedef struct fb_growth {
    fb_growth_source source;
    fb_growth_point *points; /* tensors that differ */
    size_t count;
    uint64_t left_out; /* differing tensors beyond FB_GROWTH_MAX */
    char why[160];     /* of NONE: one phrase, or "" where there is nothing to show */
} fb_growth;

/* As fb_picture_gather. A replay that fails is no failure: out->why says it. */
FB_NODISCARD fb_status fb_growth_measure(fb_growth *out, const fb_diff_report *report,
                                         const fb_diff_options *options, fb_error *err);

void fb_growth_free(fb_growth *growth);

#endif
