/* SPDX-License-Identifier: Apache-2.0
 *
 * processes.h - the traces of a run, one a process: the main one that was given, and its parts,
 * beside it or packed into it.
 */
#ifndef FB_CLI_PROCESSES_H
#define FB_CLI_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/args.h"
#include "firstbit/trace.h"

typedef struct cli_process {
    char *path;    /* as fb_trace_open takes it */
    char role[64]; /* "child1"; "main" of the main trace */
    bool inside;   /* of a packed trace */
} cli_process;

typedef struct cli_processes {
    cli_process *at; /* at[0] is the main trace */
    size_t count;
    bool more; /* there are others: a limit was reached */
} cli_processes;

/* Finds them; where the trace has parts that cannot be looked for, says so on stderr and goes on.
 * Returns 0, or what to return from the command: the main trace cannot be opened. */
int cli_processes_find(cli_processes *out, const cli_args *args, const char *path);

/* Drops all but the one of --process ROLE, where that is given. Returns 0, or what to return. */
int cli_processes_choose(cli_processes *processes, const cli_args *args);

/* Drops those that lie inside the main trace's file. */
void cli_processes_drop_packed(cli_processes *processes);

/* Prints an event's JSON as one line; of another process than the main one with a last member that
 * says which: "process". False where writing fails. */
bool cli_put_event(FILE *out, const char *json, const char *role);

/* One line on stderr for a trace that is not complete: its status, and why. */
void cli_tell_end(const cli_args *args, const fb_trace_info *info);
void cli_tell_end_of(const cli_args *args, const char *path); /* or that it cannot be opened */

void cli_processes_free(cli_processes *processes);

#endif
