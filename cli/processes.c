/* SPDX-License-Identifier: Apache-2.0
 *
 * processes.c - finds the traces of a run's processes.
 */
#include "cli/processes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"
#include "tracer/read/linked.h"

static int take(cli_processes *out, const cli_args *args, const char *path, const fb_linked *parts)
{
    out->at = calloc(parts->count + 1, sizeof *out->at);
    if (out->at == NULL)
        return cli_fail(args, "out of memory");
    out->at[0].path = strdup(path);
    (void)snprintf(out->at[0].role, sizeof out->at[0].role, "main");
    for (out->count = 1; out->count <= parts->count; out->count++) {
        const fb_linked_part *part = &parts->parts[out->count - 1];

        out->at[out->count].path = fb_linked_path(part, path);
        memcpy(out->at[out->count].role, part->role, sizeof part->role);
        out->at[out->count].inside = part->inside;
    }
    for (size_t i = 0; i < out->count; i++)
        if (out->at[i].path == NULL)
            return cli_fail(args, "out of memory");
    return 0;
}

int cli_processes_find(cli_processes *out, const cli_args *args, const char *path)
{
    fb_linked parts = {.count = 0};
    fb_trace *t;
    fb_error err;
    int failed;

    *out = (cli_processes){.count = 0};
    if (fb_trace_open(&t, path, &err) != FB_OK)
        return cli_fail_error(args, &err);
    if (fb_linked_parts(&parts, t, path, &err) != FB_OK)
        (void)cli_fail(args, "other processes of %s: %s", path, err.text);
    fb_trace_close(t);
    failed = take(out, args, path, &parts);
    out->more = parts.more;
    if (parts.more)
        (void)cli_fail(args, "%s: has more than %zu parts; the others are left out", path,
                       parts.count);
    fb_linked_free(&parts);
    if (failed != 0)
        cli_processes_free(out);
    return failed;
}

void cli_tell_end(const cli_args *args, const fb_trace_info *info)
{
    if (info->status == FB_TRACE_COMPLETE)
        return;
    (void)fflush(stdout);
    (void)cli_fail(args, "%s: %s", fb_trace_status_name(info->status), info->reason);
}

void cli_tell_end_of(const cli_args *args, const char *path)
{
    fb_trace *t;
    fb_error err;

    if (fb_trace_open(&t, path, &err) != FB_OK) {
        (void)cli_fail(args, "whether it is complete is not known: %s", err.text);
        return;
    }
    cli_tell_end(args, fb_trace_get_info(t));
    fb_trace_close(t);
}

int cli_processes_choose(cli_processes *processes, const cli_args *args)
{
    const char *role = cli_value(args, "process");
    cli_process chosen;
    size_t i = 0;

    if (role == NULL)
        return 0;
    while (i < processes->count && strcmp(processes->at[i].role, role) != 0)
        i++;
    if (i == processes->count)
        return cli_fail(args, "--process %s: the run has main%s", role,
                        processes->count == 1 ? " alone" : " and other processes: firstbit info");
    chosen = processes->at[i];
    processes->at[i] = processes->at[0];
    processes->at[0] = chosen;
    while (processes->count > 1)
        free(processes->at[--processes->count].path);
    return 0;
}

void cli_processes_drop_packed(cli_processes *processes)
{
    while (processes->count > 1 && processes->at[processes->count - 1].inside)
        free(processes->at[--processes->count].path);
}

bool cli_put_event(FILE *out, const char *json, const char *role)
{
    if (strcmp(role, "main") == 0)
        return fputs(json, out) != EOF && putc('\n', out) != EOF;
    return fwrite(json, 1, strlen(json) - 1, out) == strlen(json) - 1 &&
           fprintf(out, ",\"process\":\"%s\"}\n", role) > 0;
}

void cli_processes_free(cli_processes *processes)
{
    for (size_t i = 0; i < processes->count; i++)
        free(processes->at[i].path);
    free(processes->at);
    *processes = (cli_processes){.count = 0};
}
