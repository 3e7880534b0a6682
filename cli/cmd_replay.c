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
#include "replay/vary.h"

/* A replay on its way. */
typedef struct course {
    cli_progress line;
    bool started;
    uint64_t first;   /* steps done before the first call */
    double began;     /* seconds, then */
    size_t row, rows; /* of --vary; rows is 0 without */
} course;

static void show_progress(void *argument, uint64_t step, uint64_t to)
{
    course *c = argument;
    char row[48] = "";
    double seconds, left;

    if (!c->started || step <= c->first) {
        c->started = true;
        c->first = step - 1;
        c->began = cli_progress_seconds(&c->line);
    }
    if (!cli_progress_due(&c->line))
        return;
    seconds = cli_progress_seconds(&c->line) - c->began;
    left = seconds / (double)(step - c->first) * (double)(to - step);
    if (c->rows > 0)
        (void)snprintf(row, sizeof row, "environment %zu of %zu  ", c->row + 1, c->rows);
    cli_progress_show(&c->line, "%sstep %" PRIu64 " of %" PRIu64 "  %d:%02d left%s", row, step, to,
                      (int)(left / 60), (int)left % 60, c->rows > 0 ? " in this one" : "");
}

static void show_row_progress(void *argument, size_t row, size_t rows, uint64_t step, uint64_t to)
{
    course *c = argument;

    if (row != c->row)
        c->started = false;
    c->row = row;
    c->rows = rows;
    show_progress(c, step, to);
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
    o->make_output = cli_value(args, "output");
    if (o->make != NULL && o->make_output == NULL)
        return cli_fail(args, "--make: expected -o, the folder or the .safetensors file to write");
    if (o->make == NULL && o->make_output != NULL)
        return cli_fail(args, "-o: expected --make GLOB, which tensors to write");
    return 0;
}

/* --vary chooses what these choose. */
static int check_vary(const cli_args *args)
{
    static const char *const others[] = {"threads", "isa", "make"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (cli_has(args, others[i]))
            return cli_fail(args, "--vary: not together with --%s", others[i]);
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

/* Prints and frees the text of a report. */
static int print_text(const cli_args *args, char *text)
{
    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json"))
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    return 0;
}

static int vary(const cli_args *args, const fb_replay_options *how, course *c)
{
    const char *path = args->positional[0];
    const fb_vary_options options = {.size = sizeof options,
                                     .data = how->data,
                                     .has_from = how->has_from,
                                     .from = how->from,
                                     .has_to = how->has_to,
                                     .to = how->to,
                                     .progress = show_row_progress,
                                     .argument = c};
    fb_vary_report report;
    fb_error err;
    int failed;

    const fb_status status = fb_vary(&report, path, &options, &err);
    cli_progress_end(&c->line);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    failed = print_text(args, cli_has(args, "json") ? fb_vary_report_json(&report)
                                                    : fb_vary_report_text(&report, path));
    if (failed == 0 && report.differing > 0)
        failed = CLI_DIFFERENT;
    fb_vary_report_free(&report);
    return failed;
}

static int replay_once(const cli_args *args, fb_replay_options *how, course *c)
{
    const char *path = args->positional[0];
    fb_replay_report report;
    fb_error err;
    int result;

    how->progress = show_progress;
    how->argument = c;
    how->no_stack = !cli_has(args, "json"); /* an engine's stacks say little to a reader */

    const fb_status status = fb_replay(&report, path, how, &err);
    cli_progress_end(&c->line);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    if (!report.diverged && report.events_checked == 0 && report.made == 0) {
        result = cli_fail(args, "%s: %s: nothing to verify", path,
                          report.ended_early ? "ends before an event of these steps"
                                             : "no event of these steps is recorded");
        fb_replay_report_free(&report);
        return result;
    }
    result = print_text(args, cli_has(args, "json") ? fb_replay_report_json(&report)
                                                    : fb_replay_report_text(&report, path));
    if (result == 0 && report.diverged)
        result = CLI_DIFFERENT;
    else if (result == 0 && how->make != NULL && report.made == 0)
        result = cli_fail(args, "--make: no tensor of these steps matches %s", how->make);
    fb_replay_report_free(&report);
    return result;
}

static int run(const cli_args *args)
{
    fb_replay_options how = {.size = sizeof how};
    course c = {.line = cli_progress_start()};

    if (cli_has(args, "vary") && check_vary(args) != 0)
        return CLI_TROUBLE;
    if (read_options(args, &how) != 0)
        return CLI_TROUBLE;
    return cli_has(args, "vary") ? vary(args, &how, &c) : replay_once(args, &how, &c);
}

static const cli_option options[] = {
    CLI_THREADS_OPTION,
    CLI_ISA_OPTION,
    {"from", 0, "STEP", "start from the newest checkpoint at or before STEP - 1", false},
    {"to", 0, "STEP", "stop after STEP (default: the end of the trace)", false},
    {"make", 0, "GLOB",
     "write the tensors whose path, path:slot or path.slot\nmatches, each checked against the "
     "trace first",
     false},
    {"output", 'o', "PATH",
     "for --make: a folder for .npy files, or one file that\nends in .safetensors", false},
    {"vary", 0, NULL,
     "replay under other threads, instruction sets and\nenvironments: do all give the same bits?",
     false},
    {"data", 0, "PATH", "a further place for data and checkpoints: a folder or a\nfile", false},
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_replay = {
    .name = "replay",
    .summary = "run a recorded run again and check every event",
    .synopsis = "RUN.fbt [--threads N] [--isa NAME] [--from STEP] [--to STEP] "
                "[--make GLOB -o PATH] [--vary] [--data PATH] [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Builds the run from the trace alone, finds its data by recorded path (from the\n"
               "working directory, then beside the trace, then at --data) or, where it was\n"
               "moved or renamed, by contents, accepts data by content hash only, and stops at\n"
               "the first event that differs. The bits do not depend on threads or instruction\n"
               "set; --vary proves it for one run. A torn trace is replayed to its end.\n"
               "\n"
               "Exit status: 0 verified, 1 diverged, 2 trouble.\n"
               "\n"
               "  firstbit replay run.fbt --threads 7 --isa ref\n"
               "  firstbit replay run.fbt --from 40 --to 42 --make 'h.1.mlp.fc*' -o out/\n"
               "  firstbit replay run.fbt --to 42 --make '*:grad' -o grads.safetensors\n"
               "  firstbit replay run.fbt --vary\n",
    .run = run,
};
