/* SPDX-License-Identifier: Apache-2.0
 *
 * check_window.h - what `firstbit check` does about a difference: records the window that differs
 * again, deeper each time, until the first operation and its numbers are known.
 */
#ifndef FB_CLI_CHECK_WINDOW_H
#define FB_CLI_CHECK_WINDOW_H

#include "cli/check_knobs.h"
#include "diff/diff.h"
#include "firstbit/recorder.h"

enum { CLI_TRACE_NAME = 4096 };

typedef struct cli_checked {
    const cli_args *args;
    const char *prefix;
    cli_variation variation;
    char trace[CLI_SIDES][CLI_TRACE_NAME]; /* of the pair recorded last */
    int ended;        /* exit status of the whole command, where a recording ended it */
    char failure[64]; /* how the program itself failed when last recorded; "": it did not */
} cli_checked;

/* Records the program on both sides into PREFIX-a[NAME].fbt and PREFIX-b[NAME].fbt. options NULL:
 * at the recorder's default depth. False: ended says with what the command ends. */
bool cli_check_record(cli_checked *check, const char *name, const fb_recorder_options *options);

/*
 * Replaces *report, which says `differ`, by what further recordings show, and completes it: the
 * first operation where ops had not been recorded, element, values and ulps of a tensor, and
 * whether each side gives its own result again.
 *
 * False as above; a recording that cannot be compared leaves *report as it is.
 */
bool cli_check_look_closer(cli_checked *check, fb_diff_report *report);

#endif
