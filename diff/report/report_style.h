/* SPDX-License-Identifier: Apache-2.0
 *
 * report_style.h - the style sheet of the page of a comparison.
 */
#ifndef FB_DIFF_REPORT_REPORT_STYLE_H
#define FB_DIFF_REPORT_REPORT_STYLE_H

extern const char *const fb__report_style;

#endif
