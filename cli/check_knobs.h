/* SPDX-License-Identifier: Apache-2.0
 *
 * check_knobs.h - what `firstbit check --vary` can set, one thing at a time.
 */
#ifndef FB_CLI_CHECK_KNOBS_H
#define FB_CLI_CHECK_KNOBS_H

#include <sched.h>

#include "cli/args.h"

enum { CLI_SIDES = 2, CLI_VARIED_MAX = 64 };

typedef enum cli_knob {
    CLI_KNOB_NONE,
    CLI_KNOB_THREADS,
    CLI_KNOB_HASHSEED,
    CLI_KNOB_WORKERS,
    CLI_KNOB_AFFINITY
} cli_knob;

typedef struct cli_variation {
    cli_knob knob; /* CLI_KNOB_NONE: both sides run alike */
    char value[CLI_SIDES][CLI_VARIED_MAX];
    char *before[4]; /* variables as they were: by apply */
    bool kept;
    cpu_set_t processors;
} cli_variation;

/* "threads=1,2". Returns 0, or CLI_TROUBLE after a line on stderr. */
int cli_variation_read(const cli_args *args, const char *text, cli_variation *out);

/* "threads"; what to do about it where it changes results. Static strings. */
const char *cli_knob_name(cli_knob knob);
const char *cli_knob_fix(cli_knob knob);

/* Sets the environment, and the processors, of what is started next. False: not possible here. */
bool cli_variation_apply(cli_variation *variation, int side);

/* Gives back what the command began with. */
void cli_variation_undo(cli_variation *variation);

#endif
