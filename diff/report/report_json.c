/* SPDX-License-Identifier: Apache-2.0
 *
 * report_json.c - a comparison as one JSON object; keys: docs/diff.md, "JSON".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/sketch.h"
#include "diff/diff.h"
#include "diff/rounding/proof.h"
#include "diff/rounding/rounding_text.h"
#include "engine/files/json.h"

/* cJSON writes whole numbers up to here exactly. */
static const uint64_t exact_max = (uint64_t)1 << 53;

static void add_count(cJSON *object, const char *key, uint64_t n)
{
    char text[24];

    if (n < exact_max) {
        cJSON_AddNumberToObject(object, key, (double)n);
        return;
    }
    (void)snprintf(text, sizeof text, "%" PRIu64, n);
    cJSON_AddStringToObject(object, key, text);
}

static void add_optional_count(cJSON *object, const char *key, bool known, uint64_t n)
{
    if (known)
        add_count(object, key, n);
    else
        cJSON_AddNullToObject(object, key);
}

static void add_text(cJSON *object, const char *key, const char *text)
{
    if (text == NULL || text[0] == '\0')
        cJSON_AddNullToObject(object, key);
    else
        cJSON_AddStringToObject(object, key, text);
}

static void add_list(cJSON *object, const char *key, const fb_diff_list *list)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);

    for (size_t i = 0; i < list->count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(list->at[i]));
}

/* --- The event -------------------------------------------------------------------------------- */

static void add_bits(cJSON *object, const char *key, const fb_diff_first *first,
                     const fb_diff_value *value)
{
    char text[24];

    if (!first->has_value) {
        cJSON_AddNullToObject(object, key);
        return;
    }
    (void)snprintf(text, sizeof text, "0x%0*" PRIx64,
                   2 * (int)fb_sketch_element_bytes(first->dtype), value->bits);
    cJSON_AddStringToObject(object, key, text);
}

static void add_number(cJSON *object, const char *key, bool known, double x)
{
    if (!known)
        cJSON_AddNullToObject(object, key);
    else if (x != x)
        cJSON_AddStringToObject(object, key, "nan");
    else if (x - x != 0)
        cJSON_AddStringToObject(object, key, x > 0 ? "inf" : "-inf");
    else
        cJSON_AddNumberToObject(object, key, x);
}

/* [17, 203] of a flat index. */
static void add_index(cJSON *object, const fb_diff_first *first)
{
    uint64_t rest = first->element, stride = 1;
    cJSON *array;

    if (!first->has_element) {
        cJSON_AddNullToObject(object, "index");
        return;
    }
    array = cJSON_AddArrayToObject(object, "index");
    for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX; i++)
        stride *= first->shape[i];
    for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX; i++) {
        stride /= first->shape[i] > 0 ? first->shape[i] : 1;
        cJSON_AddItemToArray(array,
                             cJSON_CreateNumber((double)(stride > 0 ? rest / stride : rest)));
        rest = stride > 0 ? rest % stride : 0;
    }
}

static void add_shape(cJSON *object, const fb_diff_first *first)
{
    cJSON *array;

    if (first->rank == 0) {
        cJSON_AddNullToObject(object, "shape");
        return;
    }
    array = cJSON_AddArrayToObject(object, "shape");
    for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX; i++)
        cJSON_AddItemToArray(array, cJSON_CreateNumber((double)first->shape[i]));
}

static void add_first(cJSON *object, const fb_diff_report *r)
{
    static const char *const whats[] = {"content", "inputs", "only_a", "only_b", "arguments"};
    const fb_diff_first *first = &r->first;
    cJSON *o;

    if (!r->has_first) {
        cJSON_AddNullToObject(object, "first");
        return;
    }
    o = cJSON_AddObjectToObject(object, "first");
    add_count(o, "step", first->name.step);
    if (first->name.micro == FB_MICRO_NONE)
        cJSON_AddNullToObject(o, "micro");
    else
        cJSON_AddNumberToObject(o, "micro", first->name.micro);
    cJSON_AddStringToObject(o, "phase", fb_phase_name(first->name.phase));
    cJSON_AddStringToObject(o, "path", first->name.path);
    cJSON_AddStringToObject(o, "op", first->name.op);
    cJSON_AddStringToObject(o, "kind", fb_kind_name(first->name.kind));
    cJSON_AddStringToObject(o, "slot", first->name.slot);
    cJSON_AddNumberToObject(o, "occurrence", first->name.occurrence);
    cJSON_AddStringToObject(o, "what", whats[first->what]);
    add_optional_count(o, "event_a", first->number_a != UINT64_MAX, first->number_a);
    add_optional_count(o, "event_b", first->number_b != UINT64_MAX, first->number_b);
    add_text(o, "dtype", first->dtype == FB_DTYPE_NONE ? NULL : fb_dtype_name(first->dtype));
    add_shape(o, first);
    add_optional_count(o, "element", first->has_element, first->element);
    add_index(o, first);
    add_optional_count(o, "differing", first->has_element, first->differing);
    add_bits(o, "bits_a", first, &first->a);
    add_bits(o, "bits_b", first, &first->b);
    add_number(o, "value_a", first->has_value, first->a.number);
    add_number(o, "value_b", first->has_value, first->b.number);
    add_optional_count(o, "ulps", first->has_value, first->ulps);
    add_text(o, "content_a", first->content_a);
    add_text(o, "content_b", first->content_b);
    add_text(o, "stack_a", first->stack_a);
    add_text(o, "stack_b", first->stack_b);
    add_count(o, "later_equal", first->later_equal);
}

/* --- The rest --------------------------------------------------------------------------------- */

static void add_cause(cJSON *object, const fb_diff_report *r)
{
    cJSON *o, *further;

    if (!r->has_cause) {
        cJSON_AddNullToObject(object, "cause");
        return;
    }
    o = cJSON_AddObjectToObject(object, "cause");
    cJSON_AddStringToObject(o, "name", r->cause.name);
    cJSON_AddStringToObject(o, "confidence", r->cause.confirmed ? "confirmed" : "likely");
    cJSON_AddStringToObject(o, "text", r->cause.text);
    cJSON_AddStringToObject(o, "fix", r->cause.fix);
    further = cJSON_AddArrayToObject(o, "candidates");
    for (size_t i = 0; i < r->guess_count; i++) {
        cJSON *guess = cJSON_CreateObject();

        cJSON_AddStringToObject(guess, "name", r->guesses[i].name);
        cJSON_AddStringToObject(guess, "text", r->guesses[i].text);
        cJSON_AddStringToObject(guess, "fix", r->guesses[i].fix);
        cJSON_AddItemToArray(further, guess);
    }
}

static void add_candidates(cJSON *object, const fb_diff_report *r)
{
    cJSON *array = cJSON_AddArrayToObject(object, "candidates");

    for (size_t i = 0; i < r->candidate_count; i++) {
        const fb_diff_candidate *k = &r->candidates[i];
        cJSON *o = cJSON_CreateObject();

        cJSON_AddStringToObject(o, "what", k->what);
        cJSON_AddStringToObject(o, "key", k->key);
        cJSON_AddStringToObject(o, "a", k->a);
        cJSON_AddStringToObject(o, "b", k->b);
        cJSON_AddItemToArray(array, o);
    }
}

static void add_pair(cJSON *object, const char *key, const char *a, const char *b)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);

    cJSON_AddItemToArray(array, cJSON_CreateString(a));
    cJSON_AddItemToArray(array, cJSON_CreateString(b));
}

static void add_scope(cJSON *object, const fb_diff_report *r)
{
    cJSON *o = cJSON_AddObjectToObject(object, "scope");
    cJSON *classes = cJSON_AddArrayToObject(o, "classes");

    for (int k = 0; k < FB_CLASS_COUNT; k++)
        if ((r->classes & 1u << k) != 0)
            cJSON_AddItemToArray(classes, cJSON_CreateString(fb_class_name((fb_class)k)));
    add_pair(o, "levels", fb_level_name(r->level_a), fb_level_name(r->level_b));
    add_pair(o, "status", fb_trace_status_name(r->status_a), fb_trace_status_name(r->status_b));
    add_optional_count(o, "first_step", r->has_steps, r->first_step);
    add_optional_count(o, "last_step", r->has_steps, r->last_step);
    add_text(o, "depth", r->depth);
    add_list(o, "left_out", &r->left_out);
}

static void add_compared(cJSON *object, const fb_diff_report *r)
{
    cJSON *o = cJSON_AddObjectToObject(object, "compared");

    add_count(o, "events_a", r->events_a);
    add_count(o, "events_b", r->events_b);
    add_count(o, "aligned", r->aligned);
    add_count(o, "unaligned", r->unaligned);
}

static void add_parts(cJSON *object, const fb_diff_report *r)
{
    cJSON *array;

    add_text(object, "part", r->part > 0 ? r->parts[r->part - 1].role : NULL);
    array = cJSON_AddArrayToObject(object, "parts");
    for (size_t i = 0; i < r->part_count; i++) {
        const fb_diff_part *p = &r->parts[i];
        cJSON *o = cJSON_CreateObject();

        cJSON_AddStringToObject(o, "role", p->role);
        add_text(o, "a", p->a);
        add_text(o, "b", p->b);
        cJSON_AddStringToObject(o, "verdict", fb_diff_verdict_name(p->verdict));
        add_text(o, "why", p->why);
        add_optional_count(o, "first_step", p->has_first, p->first_step);
        add_count(o, "events_a", p->events_a);
        add_count(o, "events_b", p->events_b);
        cJSON_AddItemToArray(array, o);
    }
}

/* Those that are not listed are counted in a last line. */
static void add_notes(cJSON *object, const fb_diff_report *r)
{
    char more[48];

    add_list(object, "notes", &r->notes);
    if (r->notes_more == 0)
        return;
    (void)snprintf(more, sizeof more, "and %" PRIu64 " more", r->notes_more);
    cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(object, "notes"),
                         cJSON_CreateString(more));
}

char *fb_diff_report_json(const fb_diff_report *report)
{
    cJSON *object = cJSON_CreateObject();
    char *text;

    cJSON_AddNumberToObject(object, "schema", 1);
    add_text(object, "a", report->name_a);
    add_text(object, "b", report->name_b);
    cJSON_AddStringToObject(object, "verdict", fb_diff_verdict_name(report->verdict));
    add_text(object, "why", report->why);
    add_first(object, report);
    add_cause(object, report);
    add_text(object, "next", report->next);
    add_candidates(object, report);
    cJSON_AddBoolToObject(object, "environment_cleared", report->environment_cleared);
    add_scope(object, report);
    add_compared(object, report);
    add_parts(object, report);
    fb__rounding_json(object, &report->rounding);
    fb__proof_json(object, &report->proof);
    add_list(object, "expected", &report->expected);
    add_notes(object, report);
    add_optional_count(object, "equal_through", report->has_equal_through, report->equal_through);
    add_count(object, "bytes_read", report->bytes_read);
    text = fb__json_print(object);
    cJSON_Delete(object);
    return text;
}
