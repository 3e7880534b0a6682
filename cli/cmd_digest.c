/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_digest.c - firstbit digest: a run in 10 KB of text, to commit beside its code.
 */
#include <stdlib.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/processes.h"
#include "diff/digest/digest.h"

static void show_progress(void *argument, uint64_t step, uint64_t last)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "step %llu of %llu%s", (unsigned long long)step,
                          (unsigned long long)last, cli_progress_left(progress, step, last));
}

/* Where the other processes of the run stay, is said. */
static void tell_parts(const cli_args *args)
{
    cli_processes processes;

    if (cli_processes_find(&processes, args, args->positional[0]) != 0)
        return;
    if (processes.count > 1)
        (void)cli_fail(args, "%s: the digest is of the main process; %zu other%s not in it",
                       args->positional[0], processes.count - 1,
                       processes.count == 2 ? " is" : "s are");
    cli_processes_free(&processes);
}

static int run(const cli_args *args)
{
    cli_progress progress = cli_progress_start();
    fb_digest *digest = malloc(sizeof *digest);
    fb_status status;
    fb_error err;
    char *text = NULL;
    int result = CLI_SAME;

    if (digest == NULL)
        return cli_fail(args, "out of memory");
    status = fb_digest_of_trace(digest, args->positional[0], show_progress, &progress, &err);
    cli_progress_end(&progress);
    if (status != FB_OK)
        result = cli_fail_error(args, &err);
    else if ((text = fb_digest_text(digest)) == NULL)
        result = cli_fail(args, "out of memory");
    else
        fputs(text, stdout);
    if (result == CLI_SAME && !digest->complete) /* and the digest is of what is there */
        cli_tell_end_of(args, args->positional[0]);
    if (result == CLI_SAME)
        tell_parts(args);
    free(text);
    free(digest);
    return result;
}

static const cli_option options[] = {{0}};

const cli_command cli_digest = {
    .name = "digest",
    .summary = "print a run as 10 KB of text, to commit beside its code",
    .synopsis = "RUN.fbt > run.lock",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "The chains of up to 46 steps, the environment, the contract and the final hash,\n"
               "at most 10 KB. The trace is checked first. `firstbit diff run.lock NEW.fbt`\n"
               "holds a new run against it: same is 0, different 1, and 3 where the lock is of\n"
               "another machine and nothing promises equal bits between the two.\n"
               "\n"
               "Exit status: 0 printed, 2 trouble.\n",
    .run = run,
};
