/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_share.c - firstbit share: a trace without names, to be given to others.
 */
#include <errno.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/processes.h"
#include "cli/steps.h"
#include "firstbit/trace.h"

enum { KEY_MAX = 4096 };

typedef struct key {
    char bytes[KEY_MAX];
    size_t count;
} key;

static int read_key(const cli_args *args, key *out)
{
    const char *path = cli_value(args, "key");
    FILE *file;
    bool failed;

    out->count = 0;
    if (path == NULL)
        return 0;
    file = fopen(path, "rb");
    if (file == NULL)
        return cli_fail(args, "%s: %s", path, strerror(errno));
    out->count = fread(out->bytes, 1, sizeof out->bytes, file);
    failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed)
        return cli_fail(args, "%s: cannot be read", path);
    return out->count >= 16 ? 0
                            : cli_fail(args,
                                       "%s: a key has at least 16 bytes (head -c 32 "
                                       "/dev/urandom > %s makes one)",
                                       path, path);
}

static void show_progress(void *argument, uint64_t done, uint64_t total)
{
    cli_progress *progress = argument;
    char a[32], b[32];

    if (cli_progress_due(progress))
        cli_progress_show(progress, "%s of %s events%s", cli_count(a, done), cli_count(b, total),
                          cli_progress_left(progress, done, total));
}

/* The trace has its name: from here on nothing can fail. All events are in it. */
static int report(const cli_args *args, const char *to, const fb_trace_info *source)
{
    char events[32];

    cli_tell_end(args, source);
    cli_put(stdout, to);
    printf(": %s events: hashes, numbers and references\n", cli_count(events, source->events));
    puts("left out: names, stacks, configuration, environment, texts, sketches, values");
    if (!cli_has(args, "key"))
        puts("note: without --key a name that somebody guesses can be confirmed");
    return CLI_SAME;
}

static int run(const cli_args *args)
{
    const char *to = cli_value(args, "output");
    cli_progress progress = cli_progress_start();
    cli_processes processes;
    fb_trace *source;
    fb_status status;
    fb_error err;
    int result;
    key k;

    if (to == NULL)
        return cli_fail(args, "expected -o OUT.fbt, the trace to write");
    if (read_key(args, &k) != 0)
        return CLI_TROUBLE;
    if (cli_processes_find(&processes, args, args->positional[0]) != 0)
        return CLI_TROUBLE;
    if (processes.count > 1)
        (void)cli_fail(args, "%s: the traces of its %zu other processes are not in %s; share each",
                       args->positional[0], processes.count - 1, to);
    cli_processes_free(&processes);
    status = fb_trace_open(&source, args->positional[0], &err);
    if (status == FB_OK)
        status = fb_trace_share(args->positional[0], to, k.bytes, k.count, show_progress, &progress,
                                &err);
    cli_progress_end(&progress);
    result =
        status == FB_OK ? report(args, to, fb_trace_get_info(source)) : cli_fail_error(args, &err);
    fb_trace_close(source);
    return result;
}

static const cli_option options[] = {
    {"output", 'o', "OUT.fbt", "the trace to write; required", false},
    {"key", 0, "FILE",
     "a secret of at least 16 bytes that the numbers of names\ndepend on; the same for traces to "
     "be compared",
     false},
    {0},
};

const cli_command cli_share = {
    .name = "share",
    .summary = "write a trace without names, to be given to others",
    .synopsis = "RUN.fbt -o OUT.fbt [--key FILE]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Every name (path, operation, stream, data set) becomes a number that depends on\n"
               "the name alone, so that two shared traces can be compared with each other. Call\n"
               "stacks, configuration, argv, environment, file names, notes, sketches and values\n"
               "are left out. Hashes, losses, shapes and sample indices stay: hashes of small\n"
               "tensors can be guessed. `firstbit info --contents OUT.fbt` lists what remains.\n"
               "\n"
               "Exit status: 0 written and checked, 2 trouble (then OUT.fbt is not there).\n"
               "\n"
               "  head -c 32 /dev/urandom > key\n"
               "  firstbit share a.fbt -o a.shared.fbt --key key\n"
               "  firstbit share b.fbt -o b.shared.fbt --key key\n",
    .run = run,
};
