/* SPDX-License-Identifier: Apache-2.0
 *
 * picture_gathering.h - what the parts of a picture share while it is gathered.
 */
#ifndef FB_DIFF_REPORT_PICTURE_GATHERING_H
#define FB_DIFF_REPORT_PICTURE_GATHERING_H

#include "diff/read/chains.h"
#include "diff/report/picture.h"
#include "diff/read/step_events.h"

typedef struct fb__picture_gathering {
    fb_picture *out;
    const fb_diff_report *report;
    fb_trace *a, *b;
    fb__chains chains;
} fb__picture_gathering;

/* Whether an aligned event has no partner, or one that is not equal. */
bool fb__picture_differs(const fb__step_event *e);

/* A step of both sides, aligned; training state only. As fb__step_pair_load: free it in either
 * case. */
FB_NODISCARD fb_status fb__picture_load_step(fb__step_pair *pair, fb__picture_gathering *g,
                                             uint64_t step, fb_error *err);

/* Ops, rows and draws of the first differing step. Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__picture_place(fb__picture_gathering *g, fb_error *err);

/* The draws of the loaded step around the first difference. */
FB_NODISCARD fb_status fb__picture_draws(fb__picture_gathering *g, const fb__step_pair *pair,
                                         fb_error *err);

#endif
