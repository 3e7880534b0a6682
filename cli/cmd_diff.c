/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_diff.c - firstbit diff: where two traces part, and why.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "diff/diff.h"
#include "diff/digest.h"

static void show_progress(void *argument, const char *doing, uint64_t step, uint64_t to)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "%s: step %llu of %llu", doing, (unsigned long long)step,
                          (unsigned long long)to);
}

static int exit_status_of(fb_diff_verdict verdict)
{
    switch (verdict) {
    case FB_DIFF_SAME:
    case FB_DIFF_ROUNDING:
        return CLI_SAME;
    case FB_DIFF_DIFFER:
        return CLI_DIFFERENT;
    case FB_DIFF_UNDECIDABLE:
        break;
    }
    return CLI_UNDECIDABLE;
}

/* Names in the text come from files: escaped line by line. */
static void put_lines(char *text)
{
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        cli_put(stdout, line);
        putchar('\n');
    }
}

static void show_digest_progress(void *argument, uint64_t step, uint64_t last)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "step %llu of %llu%s", (unsigned long long)step,
                          (unsigned long long)last, cli_progress_left(progress, step, last));
}

/* One side, or both, is a digest. */
static int run_digest(const cli_args *args)
{
    cli_progress progress = cli_progress_start();
    fb_digest_report report;
    fb_status status;
    fb_error err;
    char *text;

    status = fb_digest_diff(&report, args->positional[0], args->positional[1],
                            cli_has(args, "prefix"), show_digest_progress, &progress, &err);
    cli_progress_end(&progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    text = cli_has(args, "json") ? fb_digest_report_json(&report) : fb_digest_report_text(&report);
    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json"))
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    return exit_status_of(report.verdict);
}

static int run(const cli_args *args)
{
    fb_diff_options how = {.size = sizeof how};
    cli_progress progress = cli_progress_start();
    fb_diff_report report;
    fb_status status;
    fb_error err;
    char *text;
    int exit_status;

    if (fb_digest_is_file(args->positional[0]) || fb_digest_is_file(args->positional[1]))
        return run_digest(args);
    how.strict = cli_has(args, "strict");
    how.prefix = cli_has(args, "prefix");
    how.data = cli_value(args, "data");
    how.progress = show_progress;
    how.argument = &progress;
    status = fb_diff(&report, args->positional[0], args->positional[1], &how, &err);
    cli_progress_end(&progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    text = cli_has(args, "json") ? fb_diff_report_json(&report) : fb_diff_report_text(&report);
    exit_status = exit_status_of(report.verdict);
    fb_diff_report_free(&report);
    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json"))
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    return exit_status;
}

static const cli_option options[] = {
    {"bitwise", 0, NULL, "compare bits (this is what diff does; the flag says so)", false},
    {"strict", 0, NULL, "notes count: evaluation, checkpoints, unused draws", false},
    {"prefix", 0, NULL, "equal to the end of the shorter trace is the same", false},
    {"data", 0, "PATH", "a further place for the data of replays: a folder or a\nfile", false},
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_diff = {
    .name = "diff",
    .summary = "find the first event in which two traces part, and the cause",
    .synopsis = "A B [--bitwise] [--strict] [--prefix] [--data PATH] [--json]",
    .options = options,
    .positional_min = 2,
    .positional_max = 2,
    .details = "Bisects over the steps, aligns the events of the first step that differs, and\n"
               "blames the earliest event whose inputs are equal while it is not. Runs of\n"
               "`firstbit train` are replayed for the values and to confirm the cause. Notes\n"
               "(evaluation, checkpoints, draws that nothing uses) do not count. A or B may be a\n"
               "digest (firstbit digest): then chains of some steps are compared, no events.\n"
               "\n"
               "Exit status: 0 same, 1 different, 2 trouble, 3 undecidable.\n"
               "\n"
               "  firstbit diff a.fbt b.fbt\n"
               "  firstbit diff --prefix killed.fbt whole.fbt --json\n"
               "  firstbit diff run.lock new.fbt\n",
    .run = run,
};
