/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_replay.c - firstbit replay: runs a recorded run again and checks every event.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "replay/replay.h"

static void show_progress(void *argument, uint64_t step, uint64_t to)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "step %" PRIu64 " of %" PRIu64, step, to);
}

static int read_options(const cli_args *args, fb_replay_options *o)
{
    if (cli_threads(args, &o->threads) != 0 || cli_isa(args, &o->kernels) != 0 ||
        cli_number(args, "from", 0, INT64_MAX, &o->from) != 0 ||
        cli_number(args, "to", 0, INT64_MAX, &o->to) != 0)
        return CLI_TROUBLE;
    o->has_from = cli_has(args, "from");
    o->has_to = cli_has(args, "to");
    o->data = cli_value(args, "data");
    o->make = cli_value(args, "make");
    o->make_folder = cli_value(args, "output");
    if (o->make != NULL && o->make_folder == NULL)
        return cli_fail(args, "--make: expected -o DIR, the folder to write to");
    if (o->make == NULL && o->make_folder != NULL)
        return cli_fail(args, "-o: expected --make GLOB, which tensors to write");
    return 0;
}

/* Names in the text come from a file: escaped line by line. */
static void put_lines(char *text)
{
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (end == NULL)
            break;
        *end = '\0';
        cli_put(stdout, line);
        putchar('\n');
    }
}

static int print_report(const cli_args *args, const fb_replay_report *report, const char *name)
{
    char *text =
        cli_has(args, "json") ? fb_replay_report_json(report) : fb_replay_report_text(report, name);

    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json"))
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    return report->diverged ? CLI_DIFFERENT : CLI_SAME;
}

static int run(const cli_args *args)
{
    const char *path = args->positional[0];
    fb_replay_options how = {.size = sizeof how};
    cli_progress progress = cli_progress_start();
    fb_replay_report report;
    fb_status status;
    fb_error err;
    int exit_status;

    if (read_options(args, &how) != 0)
        return CLI_TROUBLE;
    how.progress = show_progress;
    how.argument = &progress;
    how.no_stack = !cli_has(args, "json"); /* an engine's stacks say little to a reader */
    status = fb_replay(&report, path, &how, &err);
    cli_progress_end(&progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    exit_status = print_report(args, &report, path);
    if (exit_status == CLI_SAME && how.make != NULL && report.made == 0)
        exit_status = cli_fail(args, "--make: no tensor of these steps matches %s", how.make);
    fb_replay_report_free(&report);
    return exit_status;
}

static const cli_option options[] = {
    CLI_THREADS_OPTION,
    CLI_ISA_OPTION,
    {"from", 0, "STEP", "start from the newest checkpoint at or before STEP - 1", false},
    {"to", 0, "STEP", "stop after STEP (default: the end of the trace)", false},
    {"make", 0, "GLOB", "write the tensors whose path, path:slot or path.slot\nmatches as .npy",
     false},
    {"output", 'o', "DIR", "folder for --make, made when needed", false},
    {"data", 0, "PATH", "a further place for data and checkpoints: a folder or a\nfile", false},
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_replay = {
    .name = "replay",
    .summary = "run a recorded run again and check every event",
    .synopsis = "RUN.fbt [--threads N] [--isa NAME] [--from STEP] [--to STEP] "
                "[--make GLOB -o DIR] [--data PATH] [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Builds the run from the trace alone, finds its data by recorded path (from the\n"
               "working directory, then beside the trace, then at --data), accepts data by\n"
               "content hash only, and stops at the first event that differs. The bits do not\n"
               "depend on threads or instruction set. A torn trace is replayed to its end.\n"
               "\n"
               "Exit status: 0 verified, 1 diverged, 2 trouble.\n"
               "\n"
               "  firstbit replay run.fbt --threads 7 --isa ref\n"
               "  firstbit replay run.fbt --from 40 --to 42 --make 'h.1.mlp.fc*' -o out/\n",
    .run = run,
};
