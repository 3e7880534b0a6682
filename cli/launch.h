/* SPDX-License-Identifier: Apache-2.0
 *
 * launch.h - runs somebody's program with a recorder in it: the Python package's start-up hook,
 * which the program's environment leads to (docs/python.md).
 */
#ifndef FB_CLI_LAUNCH_H
#define FB_CLI_LAUNCH_H

#include "cli/args.h"
#include "firstbit/recorder.h"

enum { CLI_LAUNCH_FAILED = 125 }; /* exit status of `record` where it is to blame itself */

/* Said where the program ended without a new trace. */
#define CLI_NOTHING_RECORDED                                                                       \
    "nothing recorded: no Python in it imported torch, or the reason stands above"

typedef struct cli_launch {
    const char *const *program; /* with its arguments */
    size_t count;
    const char *trace;  /* file to record into */
    bool default_depth; /* neither level nor steps were given: the recorder's own choice */
    const fb_recorder_options *options;
    bool quiet; /* the program's stdout goes to stderr */
} cli_launch;

/*
 * Runs it and waits. Signals that a terminal or somebody sends to us reach the program, which
 * decides. *status is as waitpid gives it; *recorded whether there is a new trace.
 *
 * Returns 0, or CLI_TROUBLE after a line on stderr where the program could not be started, or the
 * trace not be written: then it is not started.
 */
int cli_launch_run(const cli_args *args, const cli_launch *launch, int *status, bool *recorded);

/* Ends as the program did: returns its exit status, or does not return, by its signal. */
int cli_launch_end(int status);

#endif
