/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_verify.c - firstbit verify: reads a whole trace and holds it against its own checks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/steps.h"
#include "diff/replicas.h"
#include "firstbit/trace.h"
#include "tracer/read/linked.h"

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

/* What one file of the run was found to be. */
typedef struct verified {
    char path[4096];
    fb_trace_info info; /* its texts are not used */
    fb_error err;
    bool read; /* else err says why not */
} verified;

static cJSON *describe(cJSON *o, const verified *v)
{
    const fb_trace_info *info = &v->info;
    const bool complete = v->read && info->status == FB_TRACE_COMPLETE;

    cli_json_text(o, "trace", v->path);
    cli_json_text(o, "status", v->read ? fb_trace_status_name(info->status) : NULL);
    cli_json_count(o, "events", info->events);
    cli_json_count(o, "steps", v->read ? cli_steps(info) : 0);
    cli_json_count(o, "chunks", info->chunks);
    cli_json_count(o, "bytes", info->bytes);
    if (complete || !v->read)
        cJSON_AddNullToObject(o, "damage");
    else
        cli_json_count(o, "damage", info->damage == FB_NO_OFFSET ? info->bytes : info->damage);
    cli_json_text(o, "text", complete ? NULL : v->err.text);
    return o;
}

static void print_text(const cli_args *args, const verified *v)
{
    const fb_trace_info *info = &v->info;
    char events[32], steps[32], bytes[32];

    if (v->read) {
        cli_put(stdout, v->path);
        printf(": %s: %s event%s, %s step%s, %s", fb_trace_status_name(info->status),
               cli_count(events, info->events), info->events == 1 ? "" : "s",
               cli_count(steps, cli_steps(info)), cli_steps(info) == 1 ? "" : "s",
               cli_bytes(bytes, info->bytes));
        if (info->status == FB_TRACE_COMPLETE)
            puts(info->recovered ? "; every check holds; recovered from a torn one"
                                 : "; every check holds");
        else
            puts(info->status == FB_TRACE_CORRUPT ? " up to the damage" : "; sound up to its end");
    }
    if (!v->read || info->status != FB_TRACE_COMPLETE) {
        fflush(stdout);
        (void)cli_fail_error(args, &v->err);
    }
}

/* Reads all of v->path; of the main trace, parts says what belongs to it. Returns the exit status
 * that it deserves. */
static int verify(verified *v, fb_linked *parts)
{
    cli_progress progress = cli_progress_start();
    fb_trace *t;
    fb_status status = fb_trace_open(&t, v->path, &v->err);

    v->read = false;
    v->info = (fb_trace_info){.status = FB_TRACE_CORRUPT};
    if (status != FB_OK)
        return CLI_TROUBLE;
    status = fb_trace_verify(&v->info, t, cli_progress_bytes, &progress, &v->err);
    cli_progress_end(&progress);
    if (status == FB_OK && parts != NULL)
        status = fb_linked_parts(parts, t, v->path, &v->err);
    v->read = status == FB_OK;
    fb_trace_close(t);
    return status == FB_OK ? exit_status_of(v->info.status) : CLI_TROUBLE;
}

static int verify_all(const cli_args *args, cJSON *json, fb_linked *parts)
{
    verified v;
    int worst, result;

    (void)snprintf(v.path, sizeof v.path, "%s", args->positional[0]);
    worst = verify(&v, parts);
    if (json == NULL)
        print_text(args, &v);
    else if (!v.read)
        return cli_fail_error(args, &v.err);
    else
        (void)describe(json, &v);
    if (json != NULL)
        json = cJSON_AddArrayToObject(json, "parts");
    for (size_t i = 0; i < parts->count; i++) {
        char *path = fb_linked_path(&parts->parts[i], args->positional[0]);

        if (path == NULL)
            return cli_fail(args, "out of memory");
        (void)snprintf(v.path, sizeof v.path, "%s", path);
        free(path);
        result = verify(&v, NULL);
        worst = result > worst ? result : worst;
        if (json == NULL)
            print_text(args, &v);
        else
            cJSON_AddItemToArray(json, describe(cJSON_CreateObject(), &v));
    }
    return worst;
}

static void add_replicas(cJSON *json, const fb_replicas *r, const char *text)
{
    cJSON *o, *parted;

    if (r->ranks == 0) {
        cJSON_AddNullToObject(json, "replicas");
        return;
    }
    o = cJSON_AddObjectToObject(json, "replicas");
    cli_json_count(o, "ranks", r->ranks);
    cli_json_count(o, "replicated", r->replicated);
    cli_json_count(o, "own", r->own);
    cli_json_count(o, "equal_through", r->equal_through);
    parted = r->parted ? cJSON_AddObjectToObject(o, "parted") : cJSON_AddNullToObject(o, "parted");
    if (r->parted) {
        cli_json_text(parted, "role", r->role);
        cli_json_count(parted, "step", r->step);
        cli_json_text(parted, "path", r->path);
    }
    cli_json_text(o, "text", text);
}

/* The ranks of a sound run beside each other. A run of one file has none, and is not read again. */
static int tell_replicas(const cli_args *args, cJSON *json, const fb_linked *parts)
{
    fb_replicas replicas = {0};
    fb_error err;
    char text[FB_NAME_MAX + 160];

    if (parts->count > 0 && fb_replicas_find(&replicas, args->positional[0], &err) != FB_OK)
        return cli_fail_error(args, &err);
    (void)fb_replicas_text(text, sizeof text, &replicas);
    if (json != NULL) {
        add_replicas(json, &replicas, text);
    } else if (replicas.ranks > 0) {
        cli_put(stdout, args->positional[0]);
        fputs(": ranks: ", stdout);
        cli_put(stdout, text);
        putchar('\n');
    }
    return 0;
}

static int run(const cli_args *args)
{
    cJSON *json = cli_has(args, "json") ? cli_json_object() : NULL;
    fb_linked parts = {.count = 0};
    int exit_status = verify_all(args, json, &parts);

    if (exit_status != CLI_TROUBLE && tell_replicas(args, json, &parts) != 0)
        exit_status = CLI_TROUBLE;

    if (json != NULL && cJSON_HasObjectItem(json, "parts")) {
        if (cli_json_print(args, json) != 0)
            exit_status = CLI_TROUBLE;
    } else {
        cJSON_Delete(json);
    }
    fb_linked_free(&parts);
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
               "finds accidents, not forgery: the hashes are not cryptographic. The parts of a\n"
               "run, traces of its children and workers beside it or packed into it, are read\n"
               "too; the ranks of one are held beside each other: a parameter that they had\n"
               "alike and have no longer is named, with the step, and changes no exit status.\n"
               "\n"
               "Exit status, the worst of all files: 0 complete, 1 torn (ends early) or full\n"
               "(the disk was), 2 corrupt or unreadable.\n",
    .run = run,
};
