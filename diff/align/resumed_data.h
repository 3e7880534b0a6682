/* SPDX-License-Identifier: Apache-2.0
 *
 * resumed_data.h - which batches a step of a resumed run reads, beside those of the step that it
 * stands for.
 */
#ifndef FB_DIFF_RESUMED_DATA_H
#define FB_DIFF_RESUMED_DATA_H

#include "firstbit/trace.h"

/* A step of a trace, or its events behind the one of this number. */
typedef struct fb__reading {
    fb_trace *trace;
    uint64_t step, behind; /* 0: all of the step */
} fb__reading;

typedef struct fb__other_batch {
    bool found;
    uint64_t compared;
    const fb_site *site; /* of the whole run's event; lives as long as its trace */
    int32_t micro;
    uint64_t number_whole, number_part;
    uint64_t passed_over; /* number of the resumed run's last batch before those that have partners;
                           * 0: none */
} fb__other_batch;

/* Finds the first batch of the whole run's step that is another one in the resumed run: of other
 * contents, or other samples where both name them. Batches of data sets of one name are partners
 * counted from the end of the step: what a resumed run reads only to pass it over comes before.
 * Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__other_batch_find(fb__other_batch *out, const fb__reading *whole,
                                            const fb__reading *part, fb_error *err);

#endif
