/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_pack.c - firstbit pack: a run of several files as one file, and back.
 */
#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "tracer/read/linked.h"

static int extract(const cli_args *args, const char *folder)
{
    cli_progress progress = cli_progress_start();
    size_t files;
    fb_error err;
    const fb_status status =
        fb_trace_unpack(&files, args->positional[0], folder, cli_progress_bytes, &progress, &err);

    cli_progress_end(&progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    cli_put(stdout, folder);
    printf(": %zu files, as they were\n", files);
    return CLI_SAME;
}

static int run(const cli_args *args)
{
    const char *to = cli_value(args, "output");
    cli_progress progress = cli_progress_start();
    fb_status status;
    size_t parts;
    fb_error err;

    if (to == NULL)
        return cli_fail(args, cli_has(args, "extract") ? "expected -o FOLDER"
                                                       : "expected -o OUT.fbt, the file to write");
    if (cli_has(args, "extract"))
        return extract(args, to);
    status = fb_trace_pack(&parts, args->positional[0], to, cli_progress_bytes, &progress, &err);
    cli_progress_end(&progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    cli_put(stdout, to);
    if (parts == 0)
        puts(": the trace alone; no parts of it lie beside it");
    else
        printf(": the trace and %zu part%s, written and checked\n", parts, parts == 1 ? "" : "s");
    return CLI_SAME;
}

static const cli_option options[] = {
    {"output", 'o', "OUT", "the file to write (--extract: the folder); required", false},
    {"extract", 0, NULL, "write the files of a packed trace again", false},
    {0},
};

const cli_command cli_pack = {
    .name = "pack",
    .summary = "make one file of a run that is several",
    .synopsis = "RUN.fbt -o OUT.fbt [--extract]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "A run that forks, or has several ranks or workers, has one trace a process:\n"
               "run.child1.fbt, run.rank1.fbt, run.worker0.fbt beside run.fbt. A packed file\n"
               "is the main trace to every command and has the parts in it; firstbit info\n"
               "lists them. --extract writes all of them into a folder, byte for byte as they\n"
               "were, and replaces nothing.\n"
               "\n"
               "Exit status: 0 written and checked, 2 trouble.\n"
               "\n"
               "  firstbit pack run.fbt -o packed.fbt\n"
               "  firstbit pack packed.fbt --extract -o folder\n",
    .run = run,
};
