/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_recover.c - firstbit recover: the sound part of a torn trace as a whole one.
 */
#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/steps.h"
#include "firstbit/trace.h"

static int print_json(const cli_args *args, const char *to, const fb_trace_info *info,
                      uint64_t dropped)
{
    cJSON *o = cli_json_object();

    cli_json_text(o, "trace", to);
    cli_json_count(o, "events", info->events);
    cli_json_count(o, "steps", cli_steps(info));
    cli_json_count(o, "dropped_bytes", dropped);
    return cli_json_print(args, o);
}

static int report(const cli_args *args, const char *to, uint64_t dropped)
{
    char events[32], steps[32], bytes[32];
    const fb_trace_info *info;
    fb_trace *t;
    fb_error err;
    int status = CLI_SAME;

    if (fb_trace_open(&t, to, &err) != FB_OK)
        return cli_fail_error(args, &err);
    info = fb_trace_get_info(t);
    if (cli_has(args, "json")) {
        status = print_json(args, to, info, dropped);
    } else {
        cli_put(stdout, to);
        printf(": %s events, %s steps kept and checked; ", cli_count(events, info->events),
               cli_count(steps, cli_steps(info)));
        printf("%s%s dropped\n", dropped == 0 ? "nothing" : cli_bytes(bytes, dropped),
               dropped == 0 ? "" : " at the end");
    }
    fb_trace_close(t);
    return status;
}

static int run(const cli_args *args)
{
    const char *to = cli_value(args, "output");
    uint64_t dropped;
    fb_error err;

    if (to == NULL)
        return cli_fail(args, "expected -o OUT.fbt, the trace to write");
    if (fb_trace_recover(&dropped, args->positional[0], to, &err) != FB_OK)
        return cli_fail_error(args, &err);
    return report(args, to, dropped);
}

static const cli_option options[] = {
    {"output", 'o', "OUT.fbt", "the trace to write; required", false},
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_recover = {
    .name = "recover",
    .summary = "turn the sound part of a torn trace into a whole one",
    .synopsis = "TORN.fbt -o OUT.fbt [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Keeps everything up to the last sound chunk, or up to the first damaged one,\n"
               "reads the result again, and only then gives it its name. The torn trace stays\n"
               "as it is.\n"
               "\n"
               "Exit status: 0 written and checked, 2 trouble.\n",
    .run = run,
};
