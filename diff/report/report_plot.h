/* SPDX-License-Identifier: Apache-2.0
 *
 * report_plot.h - the drawings of a page: SVG without a script, its colours from the page's style.
 */
#ifndef FB_DIFF_REPORT_REPORT_PLOT_H
#define FB_DIFF_REPORT_REPORT_PLOT_H

#include <stdio.h>

#include "diff/report/picture.h"

/* Each prints nothing and returns false where there is nothing to draw. */

/* Classes of events by step: which agree. */
bool fb__plot_strip(FILE *out, const fb_diff_report *report, const fb_picture *picture);
/* The losses of both runs by step. */
bool fb__plot_loss(FILE *out, const fb_diff_report *report, const fb_picture *picture);
/* The part of the events that differs, by step and phase. */
bool fb__plot_phases(FILE *out, const fb_diff_report *report, const fb_picture *picture);
/* The size of the difference in each tensor of the first differing step. */
bool fb__plot_growth(FILE *out, const fb_growth *growth);

#endif
