/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_record.c - firstbit record: runs a PyTorch program as it is and records it.
 */
#include "cli/args.h"
#include "cli/command.h"
#include "cli/launch.h"
#include "cli/output.h"
#include "cli/recording.h"

static int run(const cli_args *args)
{
    const char *trace = cli_value(args, "output");
    fb_recorder_options options = {.size = sizeof options};
    bool recorded = false;
    int status = 0;

    if (args->positional_options > 0)
        return cli_fail(args, "expected -- before the program");
    if (cli_recording_options(args, &options) != 0)
        return CLI_TROUBLE;
    if (options.ops_steps == NULL) /* contents in some steps: the others at less depth */
        options.ops_steps = options.values_steps;
    const cli_launch launch = {
        .program = args->positional,
        .count = args->positional_count,
        .trace = trace == NULL ? "run.fbt" : trace,
        .default_depth = !cli_has(args, "level"),
        .options = &options,
    };
    if (cli_launch_run(args, &launch, &status, &recorded) != 0)
        return CLI_LAUNCH_FAILED;
    if (!recorded)
        (void)cli_fail(args, "%s: " CLI_NOTHING_RECORDED, launch.trace);
    return cli_launch_end(status);
}

static const cli_option options[] = {
    {"output", 'o', "FILE", "the trace to write (run.fbt)", false},
    CLI_RECORDING_OPTIONS,
    {0},
};

const cli_command cli_record = {
    .name = "record",
    .summary = "run a PyTorch program and record it, without a change to it",
    .synopsis = "[-o RUN.fbt] [--level L] [--ops-steps LIST] [--at STEP[:STEP] --path GLOB] "
                "-- PROGRAM ARGUMENT...",
    .options = options,
    .positional_min = 1,
    .positional_max = (size_t)-1,
    .details = "Steps end with the first optimizer's step(). Without --level: samples, seeds,\n"
               "losses, learning rates, results of evaluations and the generators' states of\n"
               "every step; parameters and the optimizer's state each 100 steps; all of it with\n"
               "ops, draws and gradients in the first ten steps and each thousandth. Paths\n"
               "begin with the class of the model; where the program is yours,\n"
               "firstbit.torch.record knows its names (docs/python.md).\n"
               "\n"
               "The program's output, exit status and signals are its own: results do not\n"
               "change. Python programs that it starts record too, into RUN.process1.fbt, ...;\n"
               "as ranks into RUN.rank0.fbt, ...; those that a shell starts into RUN.fbt,\n"
               "RUN.also2.fbt, ...; what a recorded one becomes by exec into RUN.exec1.fbt, ...\n"
               "\n"
               "Exit status: the program's; 125 where it could not be started or recorded, 2 for\n"
               "a wrong option.\n"
               "\n"
               "    firstbit record -o a.fbt -- python3 train.py --steps 100\n",
    .run = run,
};
