/* SPDX-License-Identifier: Apache-2.0
 *
 * replay_report.c - the result of a replay as JSON and as lines for a terminal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "engine/files/json.h"
#include "replay/replay_report.h"

/* --- JSON ------------------------------------------------------------------------------------- */

static void add_bits(cJSON *object, const char *key, const fb_replay_difference *d, double value)
{
    char text[24];
    uint64_t bits;

    if (!d->is_scalar) {
        cJSON_AddNullToObject(object, key);
        return;
    }
    if (d->dtype == FB_DTYPE_F32) {
        (void)snprintf(text, sizeof text, "0x%08" PRIx32, fb_float_bits((float)value));
    } else {
        memcpy(&bits, &value, sizeof bits);
        (void)snprintf(text, sizeof text, "0x%016" PRIx64, bits);
    }
    cJSON_AddStringToObject(object, key, text);
}

static uint64_t ulps_of(const fb_replay_difference *d)
{
    uint64_t a, b;

    if (d->dtype == FB_DTYPE_F32)
        return fb_ulps_f32(fb_float_bits((float)d->value_a), fb_float_bits((float)d->value_b));
    memcpy(&a, &d->value_a, sizeof a);
    memcpy(&b, &d->value_b, sizeof b);
    return fb_ulps_f64(a, b);
}

static const char *what_name(fb_replay_what what)
{
    static const char *const names[] = {"content", "inputs", "missing", "extra"};
    return names[what];
}

void fb__text_json(cJSON *object, const char *key, const char *text)
{
    if (text == NULL || text[0] == '\0')
        cJSON_AddNullToObject(object, key);
    else
        cJSON_AddStringToObject(object, key, text);
}

void fb__difference_json(cJSON *object, const fb_replay_difference *d)
{
    cJSON *first;

    if (d == NULL) {
        cJSON_AddNullToObject(object, "first");
        return;
    }
    first = cJSON_AddObjectToObject(object, "first");
    cJSON_AddNumberToObject(first, "step", (double)d->name.step);
    if (d->name.micro == FB_MICRO_NONE)
        cJSON_AddNullToObject(first, "micro");
    else
        cJSON_AddNumberToObject(first, "micro", d->name.micro);
    cJSON_AddStringToObject(first, "phase", fb_phase_name(d->name.phase));
    cJSON_AddStringToObject(first, "path", d->name.path);
    cJSON_AddStringToObject(first, "op", d->name.op);
    cJSON_AddStringToObject(first, "kind", fb_kind_name(d->name.kind));
    cJSON_AddStringToObject(first, "slot", d->name.slot);
    cJSON_AddNullToObject(first, "element");
    add_bits(first, "bits_a", d, d->value_a);
    add_bits(first, "bits_b", d, d->value_b);
    if (d->is_scalar)
        cJSON_AddNumberToObject(first, "ulps", (double)ulps_of(d));
    else
        cJSON_AddNullToObject(first, "ulps");
    fb__text_json(first, "stack_a", d->stack);
    cJSON_AddNullToObject(first, "stack_b");
    cJSON_AddNumberToObject(first, "event", (double)d->number);
    cJSON_AddStringToObject(first, "what", what_name(d->what));
    fb__text_json(first, "expected", d->expected);
    fb__text_json(first, "came", d->came);
}

char *fb_replay_report_json(const fb_replay_report *report)
{
    cJSON *object = cJSON_CreateObject();
    char hash[FB_HASH_HEX_BYTES];
    cJSON *notes;
    char *text;

    cJSON_AddNumberToObject(object, "schema", 1);
    if (report->diverged || report->events_checked > 0)
        cJSON_AddStringToObject(object, "verdict", report->diverged ? "diverged" : "verified");
    else
        cJSON_AddNullToObject(object, "verdict");
    cJSON_AddNumberToObject(object, "events_checked", (double)report->events_checked);
    fb__text_json(object, "final_hash",
                  report->has_final_hash ? fb_hash_hex(hash, report->final_hash) : NULL);
    fb__difference_json(object, report->diverged ? &report->first : NULL);
    cJSON_AddNumberToObject(object, "started_from", (double)report->start);
    cJSON_AddNumberToObject(object, "last_step", (double)report->end);
    cJSON_AddBoolToObject(object, "torn", report->torn);
    cJSON_AddNumberToObject(object, "made", (double)report->made);
    notes = cJSON_AddArrayToObject(object, "notes");
    for (size_t i = 0; i < report->note_count; i++)
        cJSON_AddItemToArray(notes, cJSON_CreateString(report->notes[i]));
    text = fb__json_print(object);
    cJSON_Delete(object);
    return text;
}

/* --- Text ------------------------------------------------------------------------------------- */

void fb__difference_print(FILE *out, const fb_replay_difference *d)
{
    char name[3 * FB_NAME_MAX + 128], number[32];
    static const char *const whats[] = {
        "the same event with other contents",
        "the same contents, made from other inputs",
        "the trace has this event, the replay does not make it",
        "the replay makes this event, the trace does not have it",
    };

    fprintf(out, "DIVERGED at %s\n", fb_event_name_text(name, sizeof name, &d->name));
    fprintf(out, "what     %s; event %s of the trace\n", whats[d->what],
            fb__grouped(number, d->number));
    if (d->expected[0] != '\0')
        fprintf(out, "trace    %s\n", d->expected);
    if (d->came[0] != '\0')
        fprintf(out, "replay   %s\n", d->came);
}

void fb__note_print(FILE *out, const char *note)
{
    enum { WIDTH = 80 - sizeof "note     " + 1 };
    const char *label = "note     ";

    do {
        size_t n = strlen(note);

        if (n > WIDTH) {
            size_t blank = WIDTH;

            while (blank > 0 && note[blank] != ' ')
                blank--;
            n = blank > 0 ? blank : strcspn(note, " ");
        }
        fprintf(out, "%s%.*s\n", label, (int)n, note);
        label = "         ";
        note += n;
        note += strspn(note, " ");
    } while (*note != '\0');
}

char *fb_replay_report_text(const fb_replay_report *report, const char *name)
{
    char *text = NULL, hash[FB_HASH_HEX_BYTES], number[32];
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    if (report->diverged)
        fb__difference_print(out, &report->first);
    else if (report->events_checked == 0)
        fprintf(out, "UNCHECKED %s: no event of these steps is recorded\n", name);
    else
        fprintf(out, "VERIFIED %s, bit for bit, through step %" PRIu64 "%s\n", name, report->end,
                report->ended_early ? " and up to its torn end" : "");
    fprintf(out, "checked  %s events", fb__grouped(number, report->events_checked));
    if (report->start > 0)
        fprintf(out, ", from the checkpoint of step %" PRIu64, report->start);
    fprintf(out, "\n");
    if (report->torn && !report->ended_early)
        fprintf(out, "torn     the trace ends early, behind what was replayed\n");
    if (report->has_final_hash)
        fprintf(out, "final    %s  (hash of all parameters)\n",
                fb_hash_hex(hash, report->final_hash));
    if (report->made > 0) {
        fprintf(out, "made     %s tensor%s", fb__grouped(number, report->made),
                report->made == 1 ? "" : "s");
        if (report->unchecked > 0)
            fprintf(out, ", %" PRIu64 " of them without a hash in the trace to check them with",
                    report->unchecked);
        fprintf(out, "\n");
    }
    for (size_t i = 0; i < report->note_count; i++)
        fb__note_print(out, report->notes[i]);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
