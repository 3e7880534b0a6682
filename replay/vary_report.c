/* SPDX-License-Identifier: Apache-2.0
 *
 * vary_report.c - the certificate of a run as JSON and as a table for a terminal.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/files/json.h"
#include "replay/replay_report.h"
#include "replay/vary.h"

/* What a row changes besides threads and instruction set; "-" where nothing. */
static const char *also_changed(char out[96], const fb_vary_environment *e)
{
    char number[32];

    if (e->memory_offset > 0)
        (void)snprintf(out, 96, "memory %s bytes further on",
                       fb__grouped(number, e->memory_offset));
    else if (e->stack_bytes > 0)
        (void)snprintf(out, 96, "stack of %zu KiB", e->stack_bytes >> 10);
    else if (e->locale != NULL)
        (void)snprintf(out, 96, "locale %.60s", e->locale);
    else if (e->flush_to_zero)
        (void)snprintf(out, 96, "caller flushes subnormals to zero");
    else
        (void)snprintf(out, 96, "-");
    return out;
}

static const fb_replay_report no_replay;

/* The one that speaks for all that are the same. */
static const fb_replay_report *reference(const fb_vary_report *report)
{
    for (size_t i = 0; i < report->row_count; i++)
        if (report->rows[i].same)
            return &report->rows[i].replay;
    return &no_replay;
}

/* The one whose notes are told: the first that differs, else the first. */
static const fb_replay_report *noted_row(const fb_vary_report *report)
{
    if (report->row_count == 0)
        return &no_replay;
    return &report->rows[report->differing > 0 ? report->first_differing : 0].replay;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void put_hash(cJSON *object, const char *key, bool has, fb_hash hash)
{
    char hex[FB_HASH_HEX_BYTES];

    fb__text_json(object, key, has ? fb_hash_hex(hex, hash) : NULL);
}

static void put_size(cJSON *object, const char *key, size_t n)
{
    if (n > 0)
        cJSON_AddNumberToObject(object, key, (double)n);
    else
        cJSON_AddNullToObject(object, key);
}

static void put_row(cJSON *rows, const fb_vary_row *row)
{
    const fb_vary_environment *e = &row->environment;
    cJSON *object = cJSON_CreateObject();

    cJSON_AddItemToArray(rows, object);
    cJSON_AddNumberToObject(object, "threads", e->threads);
    cJSON_AddStringToObject(object, "isa", e->kernels->name);
    put_size(object, "memory_offset", e->memory_offset);
    put_size(object, "stack_bytes", e->stack_bytes);
    fb__text_json(object, "locale", e->locale);
    cJSON_AddBoolToObject(object, "flush_to_zero", e->flush_to_zero);
    cJSON_AddBoolToObject(object, "same", row->same);
    cJSON_AddNumberToObject(object, "events_checked", (double)row->replay.events_checked);
    put_hash(object, "final_hash", row->replay.has_final_hash, row->replay.final_hash);
    fb__text_json(object, "refused", row->refused ? row->error.text : NULL);
    fb__difference_json(object, row->replay.diverged ? &row->replay.first : NULL);
}

static void put_notes(cJSON *object, const fb_vary_report *report)
{
    const fb_replay_report *noted = noted_row(report);
    cJSON *notes = cJSON_AddArrayToObject(object, "notes");

    for (size_t i = 0; i < noted->note_count; i++)
        cJSON_AddItemToArray(notes, cJSON_CreateString(noted->notes[i]));
}

char *fb_vary_report_json(const fb_vary_report *report)
{
    const fb_replay_report *same = reference(report);
    const fb_vary_row *differs =
        report->differing > 0 ? &report->rows[report->first_differing] : NULL;
    cJSON *object = cJSON_CreateObject(), *rows;
    char *text;

    cJSON_AddNumberToObject(object, "schema", 1);
    cJSON_AddStringToObject(object, "verdict", differs != NULL ? "diverged" : "verified");
    put_hash(object, "trace", true, report->trace);
    if (report->has_contract)
        cJSON_AddNumberToObject(object, "contract", report->contract);
    else
        cJSON_AddNullToObject(object, "contract");
    fb__text_json(object, "fingerprint", report->fingerprint);
    cJSON_AddNumberToObject(object, "started_from", (double)same->start);
    cJSON_AddNumberToObject(object, "last_step", (double)same->end);
    cJSON_AddBoolToObject(object, "torn", same->torn);
    cJSON_AddNumberToObject(object, "events_checked", (double)same->events_checked);
    put_hash(object, "final_hash", same->has_final_hash, same->final_hash);
    cJSON_AddNumberToObject(object, "environments", (double)report->row_count);
    cJSON_AddNumberToObject(object, "differing", (double)report->differing);
    fb__difference_json(object, differs != NULL && differs->replay.diverged ? &differs->replay.first
                                                                            : NULL);
    rows = cJSON_AddArrayToObject(object, "rows");
    assert(report->rows != NULL || report->row_count == 0);
    for (size_t i = 0; i < report->row_count; i++)
        put_row(rows, &report->rows[i]);
    fb__text_json(object, "not_tried", report->not_tried);
    put_notes(object, report);
    text = fb__json_print(object);
    cJSON_Delete(object);
    return text;
}

/* --- Text ------------------------------------------------------------------------------------- */

static void print_verdict(FILE *out, const fb_vary_report *report, const char *name)
{
    const fb_replay_report *same = reference(report);

    if (report->differing == 0)
        fprintf(
            out, "REPRODUCED %s, bit for bit, in %zu environments, through step %" PRIu64 "%s\n",
            name, report->row_count, same->end, same->ended_early ? " and up to its torn end" : "");
    else
        fprintf(out, "DIFFERS %s: other bits in %zu of %zu environments\n", name, report->differing,
                report->row_count);
}

static void print_table(FILE *out, const fb_vary_report *report)
{
    fprintf(out, "\n%7s  %-8s  %-34s  %14s  bits\n", "threads", "isa", "also changed",
            "events checked");
    for (size_t i = 0; i < report->row_count; i++) {
        const fb_vary_row *row = &report->rows[i];
        char number[32], also[96];

        fprintf(out, "%7u  %-8s  %-34s  %14s  %s\n", row->environment.threads,
                row->environment.kernels->name, also_changed(also, &row->environment),
                fb__grouped(number, row->replay.events_checked),
                row->same      ? "same"
                : row->refused ? "refused"
                               : "differ");
    }
    fprintf(out, "\n");
}

/* The first row that differs, and where. */
static void print_difference(FILE *out, const fb_vary_report *report)
{
    const fb_vary_row *row = &report->rows[report->first_differing];
    char also[96], hash[FB_HASH_HEX_BYTES];

    fprintf(out, "row      %zu: %u thread%s, %s, %s\n", report->first_differing + 1,
            row->environment.threads, row->environment.threads == 1 ? "" : "s",
            row->environment.kernels->name, also_changed(also, &row->environment));
    if (row->refused)
        fprintf(out, "refused  %s\n", row->error.text);
    else if (row->replay.diverged)
        fb__difference_print(out, &row->replay.first);
    else
        fprintf(out, "final    %s, and not that of the first row\n",
                row->replay.has_final_hash ? fb_hash_hex(hash, row->replay.final_hash) : "none");
    if (report->differing == report->row_count)
        fb__note_print(out, "every environment differs: it is not the environment that does it");
}

static void print_facts(FILE *out, const fb_vary_report *report)
{
    const fb_replay_report *same = reference(report), *noted = noted_row(report);
    char hash[FB_HASH_HEX_BYTES];

    fprintf(out, "trace    %s\n", fb_hash_hex(hash, report->trace));
    if (report->has_contract)
        fprintf(out, "contract %" PRIu32 ", fingerprint %s\n", report->contract,
                report->fingerprint[0] == '\0' ? "none" : report->fingerprint);
    if (same->has_final_hash)
        fprintf(out, "final    %s  (hash of all parameters)\n",
                fb_hash_hex(hash, same->final_hash));
    if (same->start > 0)
        fprintf(out, "from     the checkpoint of step %" PRIu64 "\n", same->start);
    if (report->not_tried[0] != '\0')
        fprintf(out, "left out %s\n", report->not_tried);
    for (size_t i = 0; i < noted->note_count; i++)
        fb__note_print(out, noted->notes[i]);
}

char *fb_vary_report_text(const fb_vary_report *report, const char *name)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    print_verdict(out, report, name);
    print_table(out, report);
    if (report->differing > 0)
        print_difference(out, report);
    print_facts(out, report);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
