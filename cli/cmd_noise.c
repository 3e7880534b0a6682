/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_noise.c - firstbit noise: how far rounding alone may carry a run, as a file for diff --noise.
 */
#include <stdio.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "diff/rounding/noise.h"

static void show_progress(void *argument, const char *doing, uint64_t step, uint64_t to)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "%s: step %llu of %llu", doing, (unsigned long long)step,
                          (unsigned long long)to);
}

static int run(const cli_args *args)
{
    fb_noise_options how = {.size = sizeof how};
    cli_progress progress = cli_progress_start();
    const char *out = cli_value(args, "output");
    uint64_t repeats = 0;
    fb_status status;
    fb_error err;

    if (out == NULL)
        return cli_fail(args, "-o OUT.fbt is needed");
    if (cli_number(args, "repeats", 1, FB_NOISE_REPEATS_MAX, &repeats) != 0 ||
        cli_number(args, "to", 1, INT64_MAX, &how.to) != 0)
        return CLI_TROUBLE;
    how.repeats = (unsigned)repeats;
    how.data = cli_value(args, "data");
    how.progress = show_progress;
    how.argument = &progress;
    status = fb_noise(out, args->positional[0], &how, &err);
    cli_progress_end(&progress);
    return status == FB_OK ? CLI_SAME : cli_fail_error(args, &err);
}

static const cli_option options[] = {
    {"output", 'o', "OUT.fbt", "where the envelope goes", false},
    {"repeats", 0, "N", "how often the run is repeated under noise (3)", false},
    {"to", 0, "STEP", "last step; default: all of them", false},
    {"data", 0, "PATH", "a further place for the data: a folder or a file", false},
    {0},
};

const cli_command cli_noise = {
    .name = "noise",
    .summary = "measure how far rounding alone may carry a run",
    .synopsis = "RUN.fbt -o OUT.fbt [--repeats N] [--to STEP] [--data PATH]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Makes the run again a few times. In each repeat every output, gradient and\n"
               "updated parameter is moved by up to one unit in the last place, as another\n"
               "legal order of its sums might move it. OUT.fbt has the largest distance of\n"
               "each tensor from the recorded one. `firstbit diff A B --noise OUT.fbt` takes\n"
               "what is far beyond it for a bug, and the rest for rounding.\n"
               "\n"
               "Takes a run of `firstbit train`; of another program, give diff --noise\n"
               "recordings of repeats. Exit status: 0, or 2 where it could not be done.\n"
               "\n"
               "  firstbit noise run.fbt -o envelope.fbt\n"
               "  firstbit diff run.fbt torch.fbt --noise envelope.fbt\n",
    .run = run,
};
