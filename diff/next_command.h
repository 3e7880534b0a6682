/* SPDX-License-Identifier: Apache-2.0
 *
 * next_command.h - the command to go on with after a difference.
 */
#ifndef FB_DIFF_NEXT_COMMAND_H
#define FB_DIFF_NEXT_COMMAND_H

#include "diff/read/headers.h"

/*
 * Sets report->next, malloc'd, from its first difference: for runs of the engine the replay that
 * makes the tensor, for a recorded program the recording that keeps its contents, else what shows
 * it. For a POSIX shell. FB_E_MEMORY.
 */
FB_NODISCARD fb_status fb__next_command(fb_diff_report *report, const fb__headers *headers,
                                        fb_error *err);

/* Sets *out to the command that shows the first difference in `trace`, malloc'd, or to NULL where
 * there is none. False when memory is out. */
bool fb__next_show(char **out, const fb_diff_report *report, const char *trace);

#endif
