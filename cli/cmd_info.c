/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_info.c - firstbit info: what a trace is of, how it ended, what it holds.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/contents.h"
#include "cli/info_chain.h"
#include "cli/output.h"
#include "cli/steps.h"
#include "diff/read/step_events.h"
#include "engine/files/json.h"
#include "firstbit/trace.h"
#include "tracer/read/linked.h"

#define FINAL_HASH_SLOT "final_hash" /* slot of the mark that ends a run */

/* What takes a look at the events. */
typedef struct findings {
    char final_hash[33]; /* "" where the trace has none */
    bool last_trains;    /* the last step has a loss, a gradient or an update */
    bool nonfinite;
    uint64_t event, step;
    int32_t micro;
    fb_phase phase;
    fb_kind kind;
    char path[FB_NAME_MAX + 1], op[FB_NAME_MAX + 1], slot[FB_NAME_MAX + 1];
    fb_trace_chain chain; /* of files, where the run went on from a checkpoint */
} findings;

/* --- Looking ---------------------------------------------------------------------------------- */

static bool is_hash(const char *text)
{
    return text != NULL && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

/* The mark lies among the last events; where they are damaged there is none. */
static void look_at_last_step(fb_trace *t, findings *out)
{
    const fb_trace_info *info = fb_trace_get_info(t);
    const fb_event *e;

    if (info->steps == 0 || fb_trace_seek(t, info->last_step, NULL) != FB_OK)
        return;
    while (fb_trace_next(t, &e, NULL, NULL) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(t, e->site);

        out->last_trains |= fb__is_of_backward(site) || fb__is_of_update(site);
        if (site->kind == FB_KIND_MARK && strcmp(site->slot, FINAL_HASH_SLOT) == 0 &&
            is_hash(e->text))
            memcpy(out->final_hash, e->text, sizeof out->final_hash);
    }
}

static void find_nonfinite(fb_trace *t, findings *out)
{
    const uint64_t number = fb_trace_get_info(t)->first_nonfinite;
    const fb_site *site;
    const fb_event *e;

    if (number == UINT64_MAX || fb_trace_seek_event(t, number, NULL) != FB_OK ||
        fb_trace_next(t, &e, NULL, NULL) != FB_OK || e == NULL)
        return;
    out->nonfinite = true;
    out->event = number;
    out->step = e->step;
    out->micro = e->micro;
    site = fb_trace_site(t, e->site);
    out->phase = site->phase;
    out->kind = site->kind;
    (void)snprintf(out->path, sizeof out->path, "%s", site->path);
    (void)snprintf(out->op, sizeof out->op, "%s", site->op);
    (void)snprintf(out->slot, sizeof out->slot, "%s", site->slot);
}

/* Inside a packed trace, or beside it; none where they cannot be looked for. */
static void find_parts(fb_trace *t, const char *path, fb_linked *inside, fb_linked *beside)
{
    if (fb_packed_find(inside, t, NULL) != FB_OK)
        *inside = (fb_linked){0};
    if (fb_linked_find(beside, t, path, NULL) != FB_OK)
        *beside = (fb_linked){0};
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void move_member(cJSON *to, cJSON *from, const char *key)
{
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(from, key);

    if (item == NULL || !cJSON_AddItemToObject(to, key, item))
        cJSON_AddNullToObject(to, key);
}

static void add_nonfinite(cJSON *o, const findings *found)
{
    cJSON *event;

    if (!found->nonfinite) {
        cJSON_AddNullToObject(o, "first_nonfinite");
        return;
    }
    event = cJSON_AddObjectToObject(o, "first_nonfinite");
    cli_json_count(event, "event", found->event);
    cli_json_count(event, "step", found->step);
    if (found->micro == FB_MICRO_NONE)
        cJSON_AddNullToObject(event, "micro");
    else
        cli_json_count(event, "micro", (uint64_t)found->micro);
    cli_json_text(event, "phase",
                  found->phase == FB_PHASE_NONE ? NULL : fb_phase_name(found->phase));
    cli_json_text(event, "path", found->path);
    cli_json_text(event, "op", found->op);
    cli_json_text(event, "kind", fb_kind_name(found->kind));
    cli_json_text(event, "slot", found->slot);
}

static void add_parts(cJSON *o, const char *key, const fb_linked *linked)
{
    cJSON *array = cJSON_AddArrayToObject(o, key);

    for (size_t i = 0; i < linked->count; i++) {
        const fb_linked_part *part = &linked->parts[i];
        cJSON *item = cJSON_CreateObject();

        cli_json_text(item, "file", part->name);
        cli_json_count(item, "bytes", part->bytes);
        if ((part->id.lo | part->id.hi) != 0) { /* beside it: was looked into */
            cli_json_text(item, "role", part->role);
            cli_json_text(item, "status", fb_trace_status_name(part->status));
            cli_json_count(item, "events", part->events);
        }
        cJSON_AddItemToArray(array, item);
    }
}

static int print_json(const cli_args *args, const fb_trace_info *info, cJSON *header,
                      const findings *found, const fb_linked *inside, const fb_linked *beside)
{
    static const char *const members[] = {"contract",    "fingerprint",   "version", "seed",
                                          "environment", "configuration", "files"};
    cJSON *o = cli_json_object(), *levels;

    cli_json_text(o, "trace", args->positional[0]);
    cli_json_text(o, "status", fb_trace_status_name(info->status));
    cli_json_text(o, "reason", info->reason[0] == '\0' ? NULL : info->reason);
    cJSON_AddBoolToObject(o, "recovered", info->recovered);
    cli_json_hash(o, "id", info->id);
    cli_json_count(o, "format", info->version);
    cli_json_count(o, "steps", cli_steps(info));
    if (info->steps == 0) {
        cJSON_AddNullToObject(o, "first_step");
        cJSON_AddNullToObject(o, "last_step");
    } else {
        cli_json_count(o, "first_step", info->first_step);
        cli_json_count(o, "last_step", info->last_step);
    }
    cli_json_count(o, "events", info->events);
    cli_json_count(o, "bytes", info->bytes);
    cli_json_count(o, "chunks", info->chunks);
    if (info->events == 0)
        cJSON_AddNullToObject(o, "bytes_per_event");
    else
        cli_json_real(o, "bytes_per_event", (double)info->bytes / (double)info->events);
    if (info->elapsed_ns == 0) {
        cJSON_AddNullToObject(o, "elapsed_seconds");
        cJSON_AddNullToObject(o, "recorder_seconds");
    } else {
        cli_json_real(o, "elapsed_seconds", (double)info->elapsed_ns * 1e-9);
        cli_json_real(o, "recorder_seconds", (double)info->own_ns * 1e-9);
    }
    levels = cJSON_AddArrayToObject(o, "levels");
    cJSON_AddItemToArray(levels, cJSON_CreateString(fb_level_name(info->level)));
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        move_member(o, header, members[i]);
    cli_json_text(o, "final_hash", found->final_hash[0] == '\0' ? NULL : found->final_hash);
    add_nonfinite(o, found);
    cli_info_chain_json(o, &found->chain);
    add_parts(o, "parts", beside);
    add_parts(o, "packed", inside);
    return cli_json_print(args, o);
}

/* --- Text ------------------------------------------------------------------------------------- */

enum { LABEL_WIDTH = 15 };

static void print_label(const char *label)
{
    printf("%-*s", LABEL_WIDTH, label);
}

/* A value on one line; long ones are cut, --json has them whole. */
static void print_value(const cJSON *value)
{
    char *text = cJSON_IsString(value) ? strdup(value->valuestring) : fb__json_print(value);
    const size_t width = 80 - LABEL_WIDTH;
    char escaped[512];

    if (text == NULL)
        return;
    (void)cli_escape(escaped, sizeof escaped, text);
    if (strlen(escaped) > width)
        printf("%.*s...\n", (int)width - 3, escaped);
    else
        printf("%s\n", escaped);
    free(text);
}

static void print_members(const cJSON *object, const char *heading)
{
    const cJSON *item;

    if (!cJSON_IsObject(object) || object->child == NULL)
        return;
    printf("%s\n", heading);
    cJSON_ArrayForEach(item, object)
    {
        char label[64], escaped[64];

        (void)snprintf(label, sizeof label, "  %.40s ",
                       cli_escape(escaped, sizeof escaped, item->string));
        print_label(label);
        print_value(item);
    }
}

static void print_files(const cJSON *files)
{
    const cJSON *file;

    cJSON_ArrayForEach(file, files)
    {
        const cJSON *path = cJSON_GetObjectItemCaseSensitive(file, "path");
        const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(file, "bytes");
        const cJSON *hash = cJSON_GetObjectItemCaseSensitive(file, "hash");
        char size[32];

        print_label("file");
        cli_put(stdout, cJSON_GetStringValue(path));
        if (cJSON_IsNumber(bytes) && bytes->valuedouble >= 0 && bytes->valuedouble < 1e18)
            printf(" (%s)", cli_bytes(size, (uint64_t)bytes->valuedouble));
        if (cJSON_IsString(hash)) {
            fputs("  ", stdout);
            cli_put(stdout, hash->valuestring);
        }
        putchar('\n');
    }
}

/* What a recorded PyTorch program does behind its last update has a step of its own, which is no
 * step of training. */
static bool ends_behind_update(const fb_trace_info *info, const cJSON *header,
                               const findings *found)
{
    const cJSON *framework = cJSON_GetObjectItemCaseSensitive(header, "framework");

    return cli_steps(info) > 1 && info->status == FB_TRACE_COMPLETE && !found->last_trains &&
           cJSON_IsString(framework) && strcmp(framework->valuestring, "torch") == 0;
}

static void print_steps(const fb_trace_info *info, bool behind)
{
    const uint64_t steps = cli_steps(info) - behind;
    char a[32];

    print_label("steps");
    fputs(cli_count(a, steps), stdout);
    if (steps > 0)
        printf(" (%" PRIu64 " to %" PRIu64 ")", info->first_step == 0 ? 1 : info->first_step,
               info->last_step - behind);
    if (info->steps > 0 && info->first_step == 0)
        fputs(steps > 0 ? ", and initialization" : ", initialization only", stdout);
    if (behind)
        printf(", and what follows the last update (step %" PRIu64 ")", info->last_step);
    putchar('\n');
}

static void print_counts(const fb_trace_info *info, bool behind)
{
    char a[32], b[32];

    print_label("status");
    fputs(fb_trace_status_name(info->status), stdout);
    if (info->recovered)
        fputs(", recovered", stdout);
    if (info->reason[0] != '\0') {
        fputs(": ", stdout);
        cli_put(stdout, info->reason);
    }
    putchar('\n');
    print_steps(info, behind);
    print_label("events");
    printf("%s, level %s\n", cli_count(a, info->events), fb_level_name(info->level));
    print_label("size");
    printf("%s in %s chunks", cli_bytes(a, info->bytes), cli_count(b, info->chunks));
    if (info->events > 0)
        printf(", %.1f bytes an event", (double)info->bytes / (double)info->events);
    putchar('\n');
    if (info->elapsed_ns == 0)
        return;
    print_label("recorder");
    printf("%.3g s of processor time in %.3g s (%.2g %%), hashing not counted\n",
           (double)info->own_ns * 1e-9, (double)info->elapsed_ns * 1e-9,
           100 * (double)info->own_ns / (double)info->elapsed_ns);
}

static void print_findings(const findings *found)
{
    char digits[32];

    print_label("final hash");
    puts(found->final_hash[0] == '\0' ? "none" : found->final_hash);
    print_label("NaN, infinity");
    if (!found->nonfinite) {
        puts("none");
        return;
    }
    printf("first in step %" PRIu64, found->step);
    if (found->micro != FB_MICRO_NONE)
        printf(", micro-batch %" PRId32, found->micro);
    if (found->phase != FB_PHASE_NONE)
        printf(", %s", fb_phase_name(found->phase));
    fputs(", ", stdout);
    cli_put(stdout, found->path);
    putchar(' ');
    cli_put(stdout, found->slot);
    printf(" (event %s)\n", cli_count(digits, found->event));
}

static void print_parts(const char *label, const fb_linked *linked)
{
    for (size_t i = 0; i < linked->count; i++) {
        const fb_linked_part *part = &linked->parts[i];
        char bytes[32], events[32];

        print_label(label);
        cli_put(stdout, part->name);
        printf(" (%s", cli_bytes(bytes, part->bytes));
        if ((part->id.lo | part->id.hi) != 0)
            printf(", %s events, %s", cli_count(events, part->events),
                   fb_trace_status_name(part->status));
        puts(")");
    }
    if (linked->more)
        printf("%-*sand more\n", LABEL_WIDTH, "");
}

/* What a part is a part of. */
static void print_links(const cJSON *header)
{
    static const char *const links[] = {"parent", "role"};

    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        const cJSON *link = cJSON_GetObjectItemCaseSensitive(header, links[i]);

        if (link != NULL) {
            print_label(links[i]);
            print_value(link);
        }
    }
}

static int print_text(const cli_args *args, const fb_trace_info *info, const cJSON *header,
                      const findings *found, const fb_linked *inside, const fb_linked *beside)
{
    static const char *const facts[] = {"contract", "fingerprint", "version", "seed"};
    char hex[33];

    print_label("trace");
    cli_put(stdout, args->positional[0]);
    printf("\n");
    print_label("id");
    printf("%s\n", cli_hash(hex, info->id));
    print_counts(info, ends_behind_update(info, header, found));
    print_findings(found);
    cli_info_chain_print(&found->chain, "chain", LABEL_WIDTH);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        const cJSON *fact = cJSON_GetObjectItemCaseSensitive(header, facts[i]);

        if (fact != NULL) {
            print_label(facts[i]);
            print_value(fact);
        }
    }
    print_links(header);
    print_parts("part", beside);
    print_parts("packed part", inside);
    print_files(cJSON_GetObjectItemCaseSensitive(header, "files"));
    print_members(cJSON_GetObjectItemCaseSensitive(header, "environment"), "environment");
    print_members(cJSON_GetObjectItemCaseSensitive(header, "configuration"), "configuration");
    return CLI_SAME;
}

static int run(const cli_args *args)
{
    findings found = {.final_hash = ""};
    fb_linked inside, beside;
    const fb_trace_info *info;
    cJSON *header;
    fb_trace *t;
    fb_error err;
    int status;

    if (fb_trace_open(&t, args->positional[0], &err) != FB_OK)
        return cli_fail_error(args, &err);
    if (cli_has(args, "contents")) {
        status = cli_contents(args, t);
        fb_trace_close(t);
        return status;
    }
    find_parts(t, args->positional[0], &inside, &beside);
    look_at_last_step(t, &found);
    find_nonfinite(t, &found);
    /* Events and header are not held at the same time: each may be as large as a reader allows. */
    fb_trace_close(t);
    if (fb_trace_chain_read(&found.chain, args->positional[0], NULL) != FB_OK)
        found.chain = (fb_trace_chain){0}; /* why, is told below */
    if (fb_trace_open(&t, args->positional[0], &err) != FB_OK) {
        fb_trace_chain_free(&found.chain);
        fb_linked_free(&inside);
        fb_linked_free(&beside);
        return cli_fail_error(args, &err);
    }
    info = fb_trace_get_info(t);
    header = cJSON_Parse(info->header);
    if (!cJSON_IsObject(header))
        status = cli_fail(args, "%s: header at byte 0: not a JSON object", args->positional[0]);
    else if (cli_has(args, "json"))
        status = print_json(args, info, header, &found, &inside, &beside);
    else
        status = print_text(args, info, header, &found, &inside, &beside);
    cJSON_Delete(header);
    fb_trace_chain_free(&found.chain);
    fb_linked_free(&inside);
    fb_linked_free(&beside);
    fb_trace_close(t);
    return status;
}

static const cli_option options[] = {
    {"contents", 0, NULL, "list everything that the trace discloses, name by name", false},
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_info = {
    .name = "info",
    .summary = "say what a trace is of, how it ended, what it holds",
    .synopsis = "RUN.fbt [--contents] [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Cheap, however long the trace: it reads the header, the end and the last step.\n"
               "verify is what checks everything. The final hash is over all parameters after\n"
               "the last step; the first event with a NaN or an infinity is named; so are the\n"
               "parts of a run of several processes. --contents reads all of the trace, and\n"
               "also says what of each kind there is and where the bytes are.\n"
               "\n"
               "Exit status: 0 done, 2 trouble.\n",
    .run = run,
};
