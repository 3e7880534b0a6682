/* SPDX-License-Identifier: Apache-2.0
 *
 * train_plan.h - what a train command was asked for: names, configuration, faults, overrides,
 * machine.
 */
#ifndef FB_CLI_TRAIN_PLAN_H
#define FB_CLI_TRAIN_PLAN_H

#include "cli/args.h"
#include "engine/run.h"

typedef struct cli_train_plan {
    const cli_args *args;
    char *trace;       /* path, also where none is written: checkpoints are named after it */
    char *checkpoints; /* folder */
    char *folder;      /* of the configuration */
    char *data[2];     /* JSON texts of the paths that --data gives */
    fb_config_set *sets;
    size_t set_count;
    fb_config config;
    fb_fault *faults;
    size_t fault_count;
    fb_override_use override;
    fb_run_options options; /* borrows from the above */
} cli_train_plan;

/* Returns 0, or CLI_TROUBLE after a line on stderr. Free it in either case. */
int cli_train_plan_read(cli_train_plan *plan, const cli_args *args);
void cli_train_plan_free(cli_train_plan *plan);

/* The last component of a path. */
const char *cli_base_name(const char *path);

#endif
