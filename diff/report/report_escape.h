/* SPDX-License-Identifier: Apache-2.0
 *
 * report_escape.h - text that came from a trace, on its way into a page: it can be read there and
 * does nothing else.
 */
#ifndef FB_DIFF_REPORT_REPORT_ESCAPE_H
#define FB_DIFF_REPORT_REPORT_ESCAPE_H

#include <stdio.h>

/* As text or as an attribute's value in double quotes. Control bytes, broken UTF-8, overrides of
 * the direction of writing and characters without width are spelled out: \x1b, \u202e. NULL prints
 * nothing; what is longer than 4,096 bytes is cut. */
void fb__put_html(FILE *out, const char *text);

/* The same within a code span of markdown, in a table or outside of one, quotes included: `text`.
 * "-" where there is no text. */
void fb__put_markdown_code(FILE *out, const char *text);

/* The same within a fenced block: the fence is three backticks, of which a text never has three.
 * Line ends stay. */
void fb__put_markdown_block(FILE *out, const char *text);

#endif
