/* SPDX-License-Identifier: Apache-2.0
 *
 * show_line.h - one event of a trace as text.
 */
#ifndef FB_CLI_SHOW_LINE_H
#define FB_CLI_SHOW_LINE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/sketch.h"
#include "firstbit/trace.h"

enum {
    CLI_SHOW_INDENT = 10,  /* width of an event's number: "1,204,311" and an indent */
    CLI_SHOW_COLUMNS = 80, /* no line is longer */
    CLI_SHOW_PATH = FB_NAME_MAX + 1,
};

/* An event in words. */
typedef struct cli_show_item {
    char path[CLI_SHOW_PATH];
    char what[512];     /* "linear out", escaped */
    char contents[512]; /* escaped */
    char sketch[FB_SKETCH_TEXT_BYTES];
    bool has_sketch;
    uint64_t number;
} cli_show_item;

void cli_show_take(cli_show_item *out, const fb_site *site, const fb_event *e, uint64_t number);

/* The event's number, name and contents; of a sketch, a line of its own below. path: the end of the
 * item's, where lines above say the rest; `depth` of them. */
void cli_show_line(FILE *out, const cli_show_item *item, const char *path, unsigned depth);

/* Prints at most `width` columns of text that is escaped already, the last three dots where it was
 * longer. */
void cli_put_cut(FILE *out, const char *text, size_t width);

#endif
