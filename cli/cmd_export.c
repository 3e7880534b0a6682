/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_export.c - firstbit export: the events of a trace in a format of other tools.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/export_sqlite.h"
#include "cli/output.h"
#include "cli/processes.h"
#include "firstbit/trace.h"

/* An output that appears under its name when it is whole; a pipe or device is written as it is. */
typedef struct output {
    FILE *file;
    const char *path;
    char *temporary; /* NULL: written in place */
} output;

static int fail_output(const cli_args *args, const output *o)
{
    return cli_fail(args, "%s: %s", o->path, strerror(errno));
}

static int open_output(const cli_args *args, output *o)
{
    struct stat st;
    const size_t size = strlen(o->path) + 32;

    if (strcmp(o->path, "-") == 0) {
        o->file = stdout;
        return 0;
    }
    if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        o->file = fopen(o->path, "w");
        return o->file == NULL ? fail_output(args, o) : 0;
    }
    o->temporary = malloc(size);
    if (o->temporary == NULL)
        return cli_fail(args, "out of memory");
    (void)snprintf(o->temporary, size, "%s.%ld.part", o->path, (long)getpid());
    o->file = fopen(o->temporary, "w");
    return o->file == NULL ? fail_output(args, o) : 0;
}

/* Publishes the output where all went well, removes it otherwise. */
static int close_output(const cli_args *args, output *o, int status)
{
    if (o->file != NULL && o->file != stdout && fclose(o->file) != 0 && status == 0)
        status = fail_output(args, o);
    if (o->temporary != NULL && o->file != NULL) {
        if (status == 0 && rename(o->temporary, o->path) != 0)
            status = fail_output(args, o);
        if (status != 0)
            (void)unlink(o->temporary);
    }
    free(o->temporary);
    return status;
}

/* The events of one process. */
static int write_events(const cli_args *args, fb_trace *t, const char *role, output *o)
{
    const uint64_t total = fb_trace_get_info(t)->events;
    cli_progress progress = cli_progress_start();
    int status = 0;
    fb_error err;

    while (status == 0) {
        char *text, done[32], all[32];
        const fb_event *e;
        uint64_t number;

        if (fb_trace_next(t, &e, &number, &err) != FB_OK) {
            status = cli_fail_error(args, &err);
            break;
        }
        if (e == NULL)
            break;
        if (cli_interrupted()) {
            status = CLI_TROUBLE;
            break;
        }
        text = fb_trace_event_json(t, e, number);
        if (text == NULL)
            status = cli_fail(args, "out of memory");
        else if (!cli_put_event(o->file, text, role))
            status = fail_output(args, o);
        free(text);
        if (cli_progress_due(&progress))
            cli_progress_show(&progress, "%s of %s events%s", cli_count(done, number),
                              cli_count(all, total), cli_progress_left(&progress, number, total));
    }
    cli_progress_end(&progress);
    return status;
}

static int write_lines(const cli_args *args, const cli_processes *processes, output *o)
{
    int status = 0;

    for (size_t i = 0; i < processes->count && status == 0; i++) {
        fb_trace *t;
        fb_error err;

        if (fb_trace_open(&t, processes->at[i].path, &err) != FB_OK)
            return cli_fail_error(args, &err);
        status = write_events(args, t, processes->at[i].role, o);
        fb_trace_close(t);
    }
    return status;
}

/* A database is written in place, page by page: to a file, and to no other thing. */
static int write_database(const cli_args *args, const cli_processes *processes, const output *o)
{
    return o->temporary == NULL
               ? cli_fail(args, "%s: a database needs a regular file", args->positional[2])
               : cli_export_sqlite(args, processes, o->temporary);
}

static int run(const cli_args *args)
{
    const bool sqlite = strcmp(args->positional[1], "sqlite") == 0;
    output o = {.path = args->positional[2]};
    cli_processes processes;
    int status;

    if (!sqlite && strcmp(args->positional[1], "jsonl") != 0)
        return cli_fail(args, "%s: unknown format (expected jsonl or sqlite)", args->positional[1]);
    if (cli_processes_find(&processes, args, args->positional[0]) != 0)
        return CLI_TROUBLE;
    cli_catch_interrupts(); /* nothing half-written stays */
    status = open_output(args, &o);
    if (status == 0 && sqlite)
        status = write_database(args, &processes, &o);
    else if (status == 0)
        status = write_lines(args, &processes, &o);
    status = close_output(args, &o, status);
    if (status == 0)
        for (size_t i = 0; i < processes.count; i++)
            cli_tell_end_of(args, processes.at[i].path);
    cli_processes_free(&processes);
    return status;
}

static const cli_option options[] = {{0}};

const cli_command cli_export = {
    .name = "export",
    .summary = "write the events of a trace in another format",
    .synopsis = "RUN.fbt FORMAT OUT",
    .options = options,
    .positional_min = 3,
    .positional_max = 3,
    .details = "FORMAT is jsonl, one JSON object a line for each event, the same as show --json;\n"
               "or sqlite, a database with indexes whose schema docs/export.md describes. OUT\n"
               "may be - for standard output (jsonl). A torn trace is exported to its end. The\n"
               "other processes of a run (children, workers, ranks) follow the main one.\n"
               "\n"
               "Exit status: 0 written, 2 trouble (then OUT is not there).\n",
    .run = run,
};
