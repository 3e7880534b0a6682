/* SPDX-License-Identifier: Apache-2.0
 *
 * why_text.c - a slice for people: a short tree, then what it comes down to; and as JSON.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "diff/why/why.h"
#include "engine/files/json.h"
#include "replay/event_name.h"

enum {
    COLUMNS = 80,
    INDENT = 10,    /* where text begins behind a label */
    INPUTS_MAX = 6, /* of one event that are told one by one */
    LINES_MAX = 40, /* of the tree */
    LIST_MAX = 5,
    DEPTH_MAX = 16,
    TEXT_MAX = 3 * FB_NAME_MAX + 128
};

/* --- Lines ------------------------------------------------------------------------------------ */

static size_t columns_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Where the column `width` begins, or the end. */
static size_t bytes_of_columns(const char *text, size_t width)
{
    size_t at = 0;

    for (size_t n = 0; text[at] != '\0'; at++) {
        n += ((unsigned char)text[at] & 0xc0) != 0x80;
        if (n > width)
            break;
    }
    return at;
}

/* "text ...       right", exactly COLUMNS wide; a long text is cut. */
static void put_line(FILE *out, size_t indent, const char *text, const char *right)
{
    const size_t room = COLUMNS - indent - (right[0] != '\0' ? columns_of(right) + 2 : 0);
    const bool cut = columns_of(text) > room;
    const size_t bytes = bytes_of_columns(text, cut ? room - 3 : room);

    fprintf(out, "%*s%.*s%s", (int)indent, "", (int)bytes, text, cut ? "..." : "");
    if (right[0] != '\0')
        fprintf(out, "%*s", (int)(COLUMNS - indent - (cut ? room : columns_of(text))), right);
    putc('\n', out);
}

/* "label     text", the text wrapped between words and indented; label "" continues. */
static void put_entry(FILE *out, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_entry(FILE *out, const char *label, const char *format, ...)
{
    const size_t width = COLUMNS - INDENT;
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(out, "%-*s", INDENT, label);
    for (const char *at = text;;) {
        size_t n = bytes_of_columns(at, width), space = n;

        while (at[n] != '\0' && space > 0 && at[space] != ' ')
            space--;
        n = at[n] != '\0' && space > 0 ? space : n;
        fprintf(out, "%.*s\n", (int)n, at);
        at += n;
        at += strspn(at, " ");
        if (*at == '\0')
            return;
        fprintf(out, "%*s", INDENT, "");
    }
}

/* "h.1.mlp.fc.weight linear grad, micro 1": what a line of the tree calls an event. */
static char *name_of(char out[TEXT_MAX], const fb_site *site, int32_t micro)
{
    char batch[32] = "";

    if (micro != FB_MICRO_NONE)
        (void)snprintf(batch, sizeof batch, ", micro %" PRIi32, micro);
    (void)snprintf(out, TEXT_MAX, "%s %s %s%s", site->path != NULL ? site->path : "",
                   site->op != NULL ? site->op : "",
                   site->kind == FB_KIND_DRAW ? "draw"
                   : site->slot != NULL       ? fb_slot_word(site->slot)
                                              : "",
                   batch);
    return fb__make_printable(out);
}

/* --- The tree --------------------------------------------------------------------------------- */

typedef struct tree {
    FILE *out;
    const fb_why *why;
    uint32_t depth;
    int lines;
    bool *told; /* by event: it and its inputs stand above */
} tree;

static void put_event(tree *t, size_t at, uint32_t depth);

static void put_reference(tree *t, const fb_ref *ref, uint32_t depth)
{
    const fb_site *site = fb_trace_site(t->why->trace, ref->site);
    const size_t at = fb_why_input(t->why, ref);
    char text[TEXT_MAX], right[48];

    if (at != SIZE_MAX) {
        put_event(t, at, depth);
        return;
    }
    (void)snprintf(right, sizeof right, "of step %" PRIu64, ref->step);
    put_line(t->out, 2 * depth, site != NULL ? name_of(text, site, ref->micro) : "?", right);
    t->lines++;
}

static void put_inputs(tree *t, const fb_why_event *e, uint32_t depth)
{
    for (uint32_t i = 0; i < e->input_count; i++) {
        char text[64], digits[32];

        if (i == INPUTS_MAX || t->lines >= LINES_MAX) {
            (void)snprintf(text, sizeof text, "and %s more",
                           fb__grouped(digits, e->input_count - i));
            put_line(t->out, 2 * depth, text, "");
            t->lines++;
            return;
        }
        put_reference(t, &t->why->inputs[e->first_input + i], depth);
    }
}

/* Depth is bounded by DEPTH_MAX, whatever the trace says. */
static void put_event(tree *t, size_t at, uint32_t depth)
{
    const fb_why_event *e = &t->why->events[at];
    const bool above = t->told[at] && e->input_count > 0;
    char text[TEXT_MAX], right[48], digits[32];

    (void)snprintf(right, sizeof right, "%sevent %s", above ? "above, " : "",
                   fb__grouped(digits, e->number));
    put_line(t->out, 2 * depth, name_of(text, e->site, e->micro), right);
    t->lines++;
    t->told[at] = true;
    if (above || e->input_count == 0)
        return;
    if (depth < t->depth)
        put_inputs(t, e, depth + 1);
}

/* --- What it comes down to -------------------------------------------------------------------- */

/* What a sample or draw of the slice says, without its hash. */
static bool contents_of(char *out, size_t size, const fb_why *why, const fb_why_event *e)
{
    const fb_event *event = NULL;
    char *hash;

    if (fb_trace_seek_event(why->trace, e->number, NULL) != FB_OK ||
        fb_trace_next(why->trace, &event, NULL, NULL) != FB_OK || event == NULL) {
        (void)snprintf(out, size, "event %" PRIu64 ", which cannot be read again", e->number);
        return false;
    }
    (void)fb_event_content_text(out, size, e->site, event);
    hash = strstr(out, ", contents ");
    if (hash != NULL)
        *hash = '\0';
    return true;
}

static void put_kind(FILE *out, const fb_why *why, fb_kind kind, const char *label)
{
    size_t told = 0, all = 0;

    for (size_t i = 0; i < why->count; i++) {
        const fb_why_event *e = &why->events[i];
        char text[512], batch[40] = "";

        if (e->depth == UINT32_MAX || e->site->kind != kind || i == why->target ||
            all++ >= LIST_MAX)
            continue;
        if (e->micro != FB_MICRO_NONE)
            (void)snprintf(batch, sizeof batch, "micro %" PRIi32 ": ", e->micro);
        (void)contents_of(text, sizeof text, why, e);
        put_entry(out, told++ == 0 ? label : "", "%s%s", batch, text);
    }
    if (all > told)
        put_entry(out, "", "and %zu more", all - told);
}

static bool is_update(const fb_why *why, const fb_ref *ref)
{
    const fb_site *site = fb_trace_site(why->trace, ref->site);
    return site != NULL && site->kind == FB_KIND_PARAM;
}

/* Events of earlier steps by name, the nearest first: updates, or all others. */
static void put_cut(FILE *out, const fb_why *why, bool updates, const char *label)
{
    char text[TEXT_MAX], name[TEXT_MAX];
    size_t told = 0, all = 0, used = 0;

    for (size_t i = why->cut_count; i-- > 0;) {
        const fb_ref *ref = &why->cut[i];
        const fb_site *site = fb_trace_site(why->trace, ref->site);
        const bool plain = site != NULL && strcmp(site->slot, "param") == 0;

        if (site == NULL || is_update(why, ref) != updates || all++ >= INPUTS_MAX)
            continue;
        (void)snprintf(name, sizeof name, "%.200s%s%.100s of step %" PRIu64, site->path,
                       plain ? "" : " ", plain ? "" : site->slot, ref->step);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", told++ > 0 ? ", " : "",
                                 fb__make_printable(name));
    }
    if (all > told)
        (void)snprintf(text + used, sizeof text - used, ", and %zu more", all - told);
    if (all > 0)
        put_entry(out, label, "%s", text);
}

static void put_part(char *text, size_t size, uint64_t n, const char *one, const char *many)
{
    const size_t used = strlen(text);
    char digits[32];

    if (n > 0)
        (void)snprintf(text + used, size - used, "%s%s %s", used > 0 ? ", " : "",
                       fb__grouped(digits, n), n == 1 ? one : many);
}

static void put_earlier(FILE *out, const fb_why *why)
{
    const fb_why_earlier *e = &why->earlier;
    char parts[256] = "", digits[32], steps[80];

    if (e->events == 0) {
        if (e->incomplete)
            put_entry(out, "earlier", "its inputs lead to events that the trace does not hold");
        return;
    }
    put_part(parts, sizeof parts, e->samples, "micro-batch of samples", "micro-batches of samples");
    put_part(parts, sizeof parts, e->draws, "draw", "draws");
    put_part(parts, sizeof parts, e->seeds, "seed", "seeds");
    put_part(parts, sizeof parts, e->updates, "update", "updates");
    (void)snprintf(steps, sizeof steps,
                   e->first_step == e->last_step ? "in step %" PRIu64
                                                 : "in steps %" PRIu64 " to %" PRIu64,
                   e->first_step, e->last_step);
    put_entry(out, "earlier", "and %s%s earlier events %s%s%s", e->incomplete ? "at least " : "",
              fb__grouped(digits, e->events), steps, parts[0] != '\0' ? ": " : "", parts);
}

static void put_summary(FILE *out, const fb_why *why)
{
    char label[32], events[32], all[32];

    (void)snprintf(label, sizeof label, "step %" PRIu64, why->step);
    if (strlen(label) >= INDENT)
        (void)snprintf(label, sizeof label, "step");
    put_entry(out, label, "%s of the %s events of the step so far made it",
              fb__grouped(events, why->in_slice - 1), fb__grouped(all, why->target));
    put_kind(out, why, FB_KIND_SAMPLE, "samples");
    put_kind(out, why, FB_KIND_DRAW, "draws");
    put_kind(out, why, FB_KIND_SEED, "seeds");
    put_cut(out, why, true, "updates");
    put_cut(out, why, false, "before");
    put_earlier(out, why);
}

char *fb_why_text(const fb_why *why, uint32_t depth)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    tree t = {out, why, depth < DEPTH_MAX ? depth : DEPTH_MAX, 0,
              calloc(why->count, sizeof *t.told)};

    if (out == NULL || t.told == NULL) {
        if (out != NULL)
            (void)fclose(out);
        free(text);
        free(t.told);
        return NULL;
    }
    put_event(&t, why->target, 0);
    putc('\n', out);
    put_summary(out, why);
    free(t.told);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void add_micro(cJSON *o, int32_t micro)
{
    if (micro == FB_MICRO_NONE)
        cJSON_AddNullToObject(o, "micro");
    else
        cJSON_AddNumberToObject(o, "micro", micro);
}

static void add_name(cJSON *o, const fb_site *site)
{
    cJSON_AddStringToObject(o, "phase", fb_phase_name(site->phase));
    cJSON_AddStringToObject(o, "path", site->path != NULL ? site->path : "");
    cJSON_AddStringToObject(o, "op", site->op != NULL ? site->op : "");
    cJSON_AddStringToObject(o, "kind", fb_kind_name(site->kind));
    cJSON_AddStringToObject(o, "slot", site->slot != NULL ? site->slot : "");
    cJSON_AddNumberToObject(o, "occurrence", site->occurrence);
}

static cJSON *event_of(const fb_why *why, const fb_why_event *e)
{
    cJSON *o = cJSON_CreateObject(), *inputs;
    char text[512];

    cJSON_AddNumberToObject(o, "event", (double)e->number);
    cJSON_AddNumberToObject(o, "depth", e->depth);
    add_micro(o, e->micro);
    add_name(o, e->site);
    if (contents_of(text, sizeof text, why, e))
        cJSON_AddStringToObject(o, "content", text);
    else
        cJSON_AddNullToObject(o, "content");
    inputs = cJSON_AddArrayToObject(o, "inputs");
    for (uint32_t i = 0; i < e->input_count; i++) {
        const size_t at = fb_why_input(why, &why->inputs[e->first_input + i]);

        if (at != SIZE_MAX)
            cJSON_AddItemToArray(inputs, cJSON_CreateNumber((double)why->events[at].number));
    }
    return o;
}

static void add_cut(cJSON *object, const fb_why *why)
{
    cJSON *array = cJSON_AddArrayToObject(object, "cut");

    for (size_t i = 0; i < why->cut_count; i++) {
        const fb_site *site = fb_trace_site(why->trace, why->cut[i].site);
        cJSON *o = cJSON_CreateObject();

        cJSON_AddNumberToObject(o, "step", (double)why->cut[i].step);
        add_micro(o, why->cut[i].micro);
        if (site != NULL)
            add_name(o, site);
        cJSON_AddItemToArray(array, o);
    }
}

static void add_earlier(cJSON *object, const fb_why_earlier *e)
{
    cJSON *o = cJSON_AddObjectToObject(object, "earlier");

    cJSON_AddNumberToObject(o, "events", (double)e->events);
    cJSON_AddNumberToObject(o, "samples", (double)e->samples);
    cJSON_AddNumberToObject(o, "draws", (double)e->draws);
    cJSON_AddNumberToObject(o, "seeds", (double)e->seeds);
    cJSON_AddNumberToObject(o, "updates", (double)e->updates);
    if (e->events > 0) {
        cJSON_AddNumberToObject(o, "first_step", (double)e->first_step);
        cJSON_AddNumberToObject(o, "last_step", (double)e->last_step);
    } else {
        cJSON_AddNullToObject(o, "first_step");
        cJSON_AddNullToObject(o, "last_step");
    }
    cJSON_AddBoolToObject(o, "complete", !e->incomplete);
}

char *fb_why_json(const fb_why *why, uint32_t depth)
{
    cJSON *object = cJSON_CreateObject(), *array;
    char *text;

    cJSON_AddNumberToObject(object, "schema", 1);
    cJSON_AddNumberToObject(object, "step", (double)why->step);
    cJSON_AddNumberToObject(object, "target", (double)why->events[why->target].number);
    cJSON_AddNumberToObject(object, "slice", (double)why->in_slice);
    array = cJSON_AddArrayToObject(object, "events");
    for (size_t i = 0; i < why->count; i++)
        if (why->events[i].depth <= depth && why->events[i].depth != UINT32_MAX)
            cJSON_AddItemToArray(array, event_of(why, &why->events[i]));
    add_cut(object, why);
    add_earlier(object, &why->earlier);
    text = fb__json_print(object);
    cJSON_Delete(object);
    return text;
}
