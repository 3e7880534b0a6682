/* SPDX-License-Identifier: Apache-2.0
 *
 * resume.h - a run that went on from a checkpoint against one that did not: from which step they
 * can be compared, and whether the state that was loaded is the other run's.
 */
#ifndef FB_DIFF_ALIGN_RESUME_H
#define FB_DIFF_ALIGN_RESUME_H

#include "diff/read/headers.h"
#include "firstbit/trace.h"
#include "replay/event_name.h"

/* The first step after the checkpoint where one side was resumed, or both from different steps; 0
 * where there is nothing to pass over. */
uint64_t fb__resume_point(const fb__headers *headers);

typedef struct fb__resume_difference {
    bool found;
    bool resumed_is_b;
    fb_event_name name; /* as the side that was not resumed there has it */
    uint64_t number_a, number_b;
    fb_dtype dtype;
} fb__resume_difference;

/* Compares every loaded tensor with the other side's update of that step. Nothing is found where
 * neither side was resumed, or the other has no such step. Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__resume_compare(fb__resume_difference *out, fb_trace *a, fb_trace *b,
                                          const fb__headers *headers, fb_error *err);

/* Compares the notes of what was learned as the recordings ended, by name, whatever their last
 * steps are called. One that only one side has says nothing; nor does a torn recording. */
FB_NODISCARD fb_status fb__ends_compare(fb__resume_difference *out, fb_trace *a, fb_trace *b,
                                        bool resumed_is_b, fb_error *err);

#endif
