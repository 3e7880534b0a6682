/* SPDX-License-Identifier: Apache-2.0
 *
 * recording.h - the options that say how much of a run is recorded.
 */
#ifndef FB_CLI_RECORDING_H
#define FB_CLI_RECORDING_H

#include "cli/args.h"
#include "firstbit/recorder.h"

#define CLI_RECORDING_OPTIONS                                                                      \
    {"level", 0, "LEVEL", "what to record: steps, draws, ops (default), sketch or\nvalues",        \
     false},                                                                                       \
        {"ops-steps", 0, "LIST",                                                                   \
         "record at the level in these steps, at draws in the\n"                                   \
         "others: 0:10,500,every=1000",                                                            \
         false},                                                                                   \
        {"at", 0, "STEP[:STEP]", "level values: keep contents in these steps (all)", false},       \
        {"path", 0, "GLOB",                                                                        \
         "level values: of these tensors, by path, path:slot or\npath.slot (all)", false},         \
        {"values-size", 0, "SIZE", "level values: at most so much (1G)", false},                   \
    {                                                                                              \
        "max-size", 0, "SIZE", "end the recording before the trace is larger: 500M, 2G", false     \
    }

/* Fills the options' part of *out, which borrows from args. Returns 0, or CLI_TROUBLE after a line
 * on stderr. */
int cli_recording_options(const cli_args *args, fb_recorder_options *out);

#endif
