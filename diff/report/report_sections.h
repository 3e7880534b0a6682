/* SPDX-License-Identifier: Apache-2.0
 *
 * report_sections.h - the parts of the page of a comparison that stand beside and below its cause.
 */
#ifndef FB_DIFF_REPORT_REPORT_SECTIONS_H
#define FB_DIFF_REPORT_REPORT_SECTIONS_H

#include <stdio.h>

#include "diff/report/picture.h"

/* Text of a trace, escaped, between tags that are not. */
void fb__put_tagged(FILE *out, const char *before, const char *text, const char *after);
/* 18,204 */
void fb__put_count(FILE *out, uint64_t n);

/* Which steps agree, and the losses. */
void fb__put_overview(FILE *out, const fb_diff_report *r, const fb_picture *p);
/* How the difference grows, which ops it reaches. */
void fb__put_spread(FILE *out, const fb_diff_report *r, const fb_picture *p);
/* The events around it. */
void fb__put_events(FILE *out, const fb_picture *p);
/* The random draws of the first differing step. */
void fb__put_draws(FILE *out, const fb_diff_report *r, const fb_picture *p);
/* Of a comparison by the rounding rules: pairs, growth, what has no partner (rounding_page.c). */
void fb__put_rounding(FILE *out, const fb_diff_report *r);
/* What the headers say differently. */
void fb__put_candidates(FILE *out, const fb_diff_report *r);
/* What was compared, what was not, notes. */
void fb__put_scope(FILE *out, const fb_diff_report *r);

#endif
