/* SPDX-License-Identifier: Apache-2.0
 *
 * show_line.h - one event of a trace as text.
 */
#ifndef FB_CLI_SHOW_LINE_H
#define FB_CLI_SHOW_LINE_H

#include <stdio.h>

#include "firstbit/trace.h"

enum {
    CLI_SHOW_INDENT = 10,  /* width of an event's number: "1,204,311" and an indent */
    CLI_SHOW_COLUMNS = 80, /* no line is longer */
};

/* The event's number, name and contents; of a sketch, a line of its own below. */
void cli_show_line(FILE *out, const fb_site *site, const fb_event *e, uint64_t number);

/* Prints at most `width` columns of text that is escaped already, the last three dots where it was
 * longer. */
void cli_put_cut(FILE *out, const char *text, size_t width);

#endif
