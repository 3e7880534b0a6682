/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_why.c - firstbit why: which samples, draws and updates made a tensor.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/processes.h"
#include "diff/why/why.h"

static void show_progress(void *argument, uint64_t step, uint64_t from)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "back to step %llu of %llu", (unsigned long long)step,
                          (unsigned long long)from);
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

/* What the main trace lacks may be in that of another process. */
static fb_status find_in_parts(fb_why **why, const cli_args *args, const fb_why_options *options,
                               fb_status status)
{
    cli_processes processes;

    if (access(args->positional[0], R_OK) != 0 ||
        cli_processes_find(&processes, args, args->positional[0]) != 0)
        return status;
    for (size_t i = 1; i < processes.count && status == FB_E_NOT_FOUND; i++) {
        fb_error ignored; /* of several failures the main trace's is told */

        status = fb_why_find(why, processes.at[i].path, args->positional[1], options, &ignored);
        if (status == FB_OK)
            fprintf(stderr, "firstbit why: in process %s\n", processes.at[i].role);
    }
    cli_processes_free(&processes);
    return status;
}

static int run(const cli_args *args)
{
    cli_progress progress = cli_progress_start();
    const fb_why_options options = {sizeof options, show_progress, &progress};
    const bool json = cli_has(args, "json");
    uint64_t depth = json ? UINT32_MAX - 1 : FB_WHY_DEPTH;
    fb_status status;
    fb_error err;
    fb_why *why;
    char *text;

    if (cli_number(args, "depth", 0, 1000, &depth) != 0)
        return CLI_TROUBLE;
    status = fb_why_find(&why, args->positional[0], args->positional[1], &options, &err);
    if (status == FB_E_NOT_FOUND)
        status = find_in_parts(&why, args, &options, status);
    cli_progress_end(&progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    text = json ? fb_why_json(why, (uint32_t)depth) : fb_why_text(why, (uint32_t)depth);
    fb_why_free(why);
    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (json)
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    cli_tell_end_of(args, args->positional[0]);
    return CLI_SAME;
}

static const cli_option options[] = {
    {"depth", 0, "N", "levels of inputs that are shown: 3, with --json all;\nat most 16 as text",
     false},
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_why = {
    .name = "why",
    .summary = "show which samples, draws and updates made a tensor",
    .synopsis = "RUN.fbt PATH@STEP [--depth N] [--json]",
    .options = options,
    .positional_min = 2,
    .positional_max = 2,
    .details = "PATH@STEP or PATH:SLOT@STEP, as `firstbit show` prints them. Follows the inputs\n"
               "that were recorded, within the step event by event. What lies in front of the\n"
               "step is cut at the parameters that were read, and counted.\n"
               "\n"
               "Exit status: 0 shown, 2 trouble.\n"
               "\n"
               "  firstbit why run.fbt loss@40\n"
               "  firstbit why run.fbt h.1.mlp.fc.weight:grad@40 --depth 6\n",
    .run = run,
};
