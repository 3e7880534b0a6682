/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_verify.c - firstbit verify: reads a whole trace and holds it against its own checks.
 */
#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/steps.h"
#include "firstbit/trace.h"

static void show_progress(void *argument, uint64_t done, uint64_t total)
{
    cli_progress *progress = argument;
    char a[32], b[32];

    if (cli_progress_due(progress))
        cli_progress_show(progress, "%s of %s", cli_bytes(a, done), cli_bytes(b, total));
}

static int exit_status_of(fb_trace_status status)
{
    switch (status) {
    case FB_TRACE_COMPLETE:
        return CLI_SAME;
    case FB_TRACE_TORN:
    case FB_TRACE_FULL:
        return CLI_DIFFERENT;
    case FB_TRACE_CORRUPT:
        break;
    }
    return CLI_TROUBLE;
}

static int print_json(const cli_args *args, const fb_trace_info *info, const fb_error *err)
{
    const bool complete = info->status == FB_TRACE_COMPLETE;
    cJSON *o = cli_json_object();

    cli_json_text(o, "trace", args->positional[0]);
    cli_json_text(o, "status", fb_trace_status_name(info->status));
    cli_json_count(o, "events", info->events);
    cli_json_count(o, "steps", cli_steps(info));
    cli_json_count(o, "chunks", info->chunks);
    cli_json_count(o, "bytes", info->bytes);
    if (complete)
        cJSON_AddNullToObject(o, "damage");
    else
        cli_json_count(o, "damage", info->damage == FB_NO_OFFSET ? info->bytes : info->damage);
    cli_json_text(o, "text", complete ? NULL : err->text);
    return cli_json_print(args, o);
}

static void print_text(const cli_args *args, const fb_trace_info *info, const fb_error *err)
{
    char events[32], steps[32], bytes[32];

    cli_put(stdout, args->positional[0]);
    printf(": %s: %s events, %s steps, %s", fb_trace_status_name(info->status),
           cli_count(events, info->events), cli_count(steps, cli_steps(info)),
           cli_bytes(bytes, info->bytes));
    if (info->status == FB_TRACE_COMPLETE)
        puts(info->recovered ? "; every check holds; recovered from a torn one"
                             : "; every check holds");
    else
        puts(info->status == FB_TRACE_CORRUPT ? " up to the damage" : "; sound up to its end");
    if (info->status != FB_TRACE_COMPLETE) {
        fflush(stdout);
        (void)cli_fail_error(args, err);
    }
}

static int run(const cli_args *args)
{
    cli_progress progress = cli_progress_start();
    fb_trace_info info;
    fb_trace *t;
    fb_error err;
    fb_status status;
    int exit_status;

    if (fb_trace_open(&t, args->positional[0], &err) != FB_OK)
        return cli_fail_error(args, &err);
    status = fb_trace_verify(&info, t, show_progress, &progress, &err);
    cli_progress_end(&progress);
    if (status != FB_OK) {
        fb_trace_close(t);
        return cli_fail_error(args, &err);
    }
    exit_status = exit_status_of(info.status);
    if (!cli_has(args, "json"))
        print_text(args, &info, &err);
    else if (print_json(args, &info, &err) != 0)
        exit_status = CLI_TROUBLE;
    fb_trace_close(t);
    return exit_status;
}

static const cli_option options[] = {
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_verify = {
    .name = "verify",
    .summary = "check that a trace is whole and unchanged",
    .synopsis = "RUN.fbt [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Reads everything: the check of every chunk; roots and chains computed again from\n"
               "the events; the order of steps; pointers and footer against the contents. This\n"
               "finds accidents, not forgery: the hashes are not cryptographic.\n"
               "\n"
               "Exit status: 0 complete, 1 torn (ends early) or full (the disk was), 2 corrupt\n"
               "or unreadable.\n",
    .run = run,
};
