/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_recover.c - firstbit recover: the sound part of a torn trace as a whole one.
 */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/processes.h"
#include "cli/steps.h"
#include "firstbit/trace.h"

/* One trace that was written. */
typedef struct written {
    char path[4096];
    fb_recovered what;
    uint64_t steps;
} written;

static cJSON *describe(cJSON *o, const written *w)
{
    cli_json_text(o, "trace", w->path);
    cli_json_count(o, "events", w->what.events);
    cli_json_count(o, "steps", w->steps);
    cli_json_count(o, "dropped_bytes", w->what.dropped_bytes);
    if (w->what.events_known)
        cli_json_count(o, "dropped_events", w->what.dropped_events);
    else
        cJSON_AddNullToObject(o, "dropped_events");
    return o;
}

static void print_text(const written *w)
{
    char events[32], steps[32], bytes[32], dropped[32];

    cli_put(stdout, w->path);
    printf(": %s events, %s steps kept and checked; ", cli_count(events, w->what.events),
           cli_count(steps, w->steps));
    if (w->what.dropped_bytes == 0 && w->what.dropped_events == 0)
        puts("nothing dropped");
    else if (w->what.events_known)
        printf("%s events (%s) dropped at the end\n", cli_count(dropped, w->what.dropped_events),
               cli_bytes(bytes, w->what.dropped_bytes));
    else
        printf("%s dropped at the end, of how many events is not known\n",
               cli_bytes(bytes, w->what.dropped_bytes));
}

/* w->path is set. */
static int recover(const cli_args *args, written *w, const char *from)
{
    cli_progress progress = cli_progress_start();
    fb_trace *t;
    fb_error err;
    fb_status status =
        fb_trace_recover(&w->what, from, w->path, cli_progress_bytes, &progress, &err);

    cli_progress_end(&progress);
    if (status == FB_OK)
        status = fb_trace_open(&t, w->path, &err);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    w->steps = cli_steps(fb_trace_get_info(t));
    fb_trace_close(t);
    return CLI_SAME;
}

/* The traces of other processes lie beside the new one as they lay beside the old one. */
static void name_part(written *w, const char *to, const char *role)
{
    const size_t count = strlen(to);
    const bool has = count > 4 && strcmp(to + count - 4, ".fbt") == 0;

    (void)snprintf(w->path, sizeof w->path, "%.*s.%s.fbt", (int)(has ? count - 4 : count), to,
                   role);
}

static int recover_all(const cli_args *args, const cli_processes *processes, cJSON *json)
{
    const char *to = cli_value(args, "output");
    cJSON *parts = NULL;
    int worst = CLI_SAME;

    for (size_t i = 0; i < processes->count; i++) {
        written w = {.steps = 0};
        int status;

        if (i == 0)
            (void)snprintf(w.path, sizeof w.path, "%s", to);
        else
            name_part(&w, to, processes->at[i].role);
        status = recover(args, &w, processes->at[i].path);
        worst = status > worst ? status : worst;
        if (i == 0 && status != CLI_SAME)
            return status;
        if (json != NULL && i == 0) {
            (void)describe(json, &w);
            parts = cJSON_AddArrayToObject(json, "parts");
        } else if (status == CLI_SAME && json != NULL) {
            cJSON_AddItemToArray(parts, describe(cJSON_CreateObject(), &w));
        } else if (status == CLI_SAME) {
            print_text(&w);
        }
    }
    return worst;
}

static int run(const cli_args *args)
{
    const bool json = cli_has(args, "json");
    cJSON *object;
    cli_processes processes;
    int status;

    if (cli_value(args, "output") == NULL)
        return cli_fail(args, "expected -o OUT.fbt, the trace to write");
    if (cli_processes_find(&processes, args, args->positional[0]) != 0)
        return CLI_TROUBLE;
    cli_processes_drop_packed(&processes); /* a packed trace takes them along */
    object = json ? cli_json_object() : NULL;
    status = recover_all(args, &processes, object);
    cli_processes_free(&processes);
    if (cJSON_HasObjectItem(object, "parts"))
        return cli_json_print(args, object) != 0 ? CLI_TROUBLE : status;
    cJSON_Delete(object);
    return status;
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
               "as it is. Traces of the run's other processes, torn or whole, are written beside\n"
               "it: OUT.child1.fbt.\n"
               "\n"
               "Exit status: 0 written and checked, 2 trouble.\n",
    .run = run,
};
