/* SPDX-License-Identifier: Apache-2.0
 *
 * proof.c - the operands of an operation, from the contents that two traces hold.
 */
#include "diff/rounding/proof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/sketch.h"
#include "diff/read/recorded_values.h"

enum {
    ELEMENTS_MAX = 1 << 24, /* of all operands and both results: 128 MiB */
    PIECE = 1 << 14,        /* bytes that are read at once */
    WINDOW_INPUTS = 6,      /* named in the window to record */
};

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "evaluating an operation: out of memory");
}

static bool same_text(const char *x, const char *y)
{
    return strcmp(x == NULL ? "" : x, y == NULL ? "" : y) == 0;
}

/* --- The event and its inputs ----------------------------------------------------------------- */

typedef struct inputs {
    fb_ref refs[FB__OPERANDS_MAX];
    uint64_t numbers[FB__OPERANDS_MAX]; /* of the events; UINT64_MAX: not found */
    fb_hash hashes[FB__OPERANDS_MAX];
    const fb_site *site; /* of the event itself */
    uint32_t count;      /* 0: none, or more than an operation of evaluation.h has */
} inputs;

static fb_status find_refs(inputs *out, fb_trace *t, uint64_t number, fb_error *err)
{
    const fb_event *event = NULL;
    uint64_t at;
    fb_status status = fb_trace_seek_event(t, number, err);

    *out = (inputs){.count = 0};
    if (status == FB_OK)
        status = fb_trace_next(t, &event, &at, err);
    if (status != FB_OK || event == NULL)
        return status;
    out->site = fb_trace_site(t, event->site);
    if (out->site == NULL || event->input_count > FB__OPERANDS_MAX)
        return FB_OK;
    for (uint32_t k = 0; k < event->input_count; k++) {
        out->refs[k] = event->inputs[k];
        out->numbers[k] = UINT64_MAX;
    }
    out->count = event->input_count;
    return FB_OK;
}

/* The event of a step that a reference names. Of the same step it stands before `number`. */
static fb_status find_event(inputs *in, uint32_t k, fb_trace *t, uint64_t before, fb_error *err)
{
    const fb_ref ref = in->refs[k];
    const fb_event *event;
    uint64_t number;
    fb_status status = fb_trace_seek(t, ref.step, err);

    while (status == FB_OK) {
        status = fb_trace_next(t, &event, &number, err);
        if (status != FB_OK || event == NULL || event->step > ref.step || number >= before)
            break;
        if (event->step == ref.step && event->site == ref.site && event->micro == ref.micro) {
            in->numbers[k] = number;
            in->hashes[k] = event->hash;
        }
    }
    return status;
}

/* Where contents were recorded at all. */
static fb_status find_events(inputs *in, fb_trace *t, uint64_t number, fb_error *err)
{
    fb_status status = FB_OK;

    if (fb_trace_get_info(t)->level < FB_LEVEL_VALUES)
        return FB_OK;
    for (uint32_t k = 0; k < in->count && status == FB_OK; k++)
        status = find_event(in, k, t, number, err);
    return status;
}

/* --- Contents --------------------------------------------------------------------------------- */

/* *out stays NULL where the contents are not there. Counts down *room. */
static fb_status load(double **out, uint64_t *count, uint64_t *room, fb_trace *t, uint64_t number,
                      fb_dtype dtype, fb_error *err)
{
    const size_t size = fb_sketch_element_bytes(dtype);
    uint8_t piece[PIECE];
    uint64_t total = 0, at = 0;
    double *x;
    size_t got = 0;
    fb_status status;

    *out = NULL;
    if (size == 0 || dtype == FB_DTYPE_C64 || dtype == FB_DTYPE_C128 || number == UINT64_MAX)
        return FB_OK;
    status = fb_trace_values(t, number, 0, piece, 0, &got, &total, err);
    if (status == FB_E_NOT_FOUND || status == FB_E_TORN)
        return FB_OK;
    if (status != FB_OK || total % size != 0 || total == 0 || total / size > *room)
        return status;
    x = malloc((size_t)(total / size) * sizeof *x);
    if (x == NULL)
        return out_of_memory(err);
    while (at < total) {
        status = fb_trace_values(t, number, at, piece, PIECE, &got, &total, err);
        if (status != FB_OK || got == 0 || got % size != 0)
            break;
        for (size_t i = 0; i < got; i += size)
            x[(at + i) / size] = fb__value_of(dtype, piece + i).number;
        at += got;
    }
    if (status == FB_OK && at == total) {
        *out = x;
        *count = total / size;
        *room -= total / size;
        return FB_OK;
    }
    free(x);
    return status == FB_E_NOT_FOUND || status == FB_E_TORN ? FB_OK : status;
}

static bool fill_shape(fb__operand *x, const fb_site *site)
{
    uint64_t count = 1;

    x->rank = site->rank <= FB_RANK_MAX ? site->rank : 0;
    for (uint32_t d = 0; d < x->rank; d++) {
        x->shape[d] = site->shape[d];
        if (x->shape[d] == 0 || count > ELEMENTS_MAX / x->shape[d])
            return false;
        count *= x->shape[d];
    }
    return site->rank <= FB_RANK_MAX && count == x->count;
}

/* Each operand from the trace that has it; where both name one, it is the same one. */
static fb_status load_operands(bool *all, fb__operation *o, fb_trace *const t[2],
                               const inputs in[2], uint64_t *room, fb_error *err)
{
    fb_status status = FB_OK;

    *all = in[0].count == in[1].count && in[0].count > 0;
    for (uint32_t k = 0; k < in[0].count && *all && status == FB_OK; k++) {
        fb__operand *x = &o->in[k];

        for (int side = 0; side < 2 && x->at == NULL && status == FB_OK; side++) {
            const fb_site *site = fb_trace_site(t[side], in[side].refs[k].site);

            if (site == NULL)
                continue;
            status = load(&x->at, &x->count, room, t[side], in[side].numbers[k], site->dtype, err);
            if (status == FB_OK && x->at != NULL && !fill_shape(x, site))
                *all = false;
        }
        *all = *all && x->at != NULL &&
               (in[0].numbers[k] == UINT64_MAX || in[1].numbers[k] == UINT64_MAX ||
                memcmp(&in[0].hashes[k], &in[1].hashes[k], sizeof in[0].hashes[k]) == 0);
        o->in_count = k + 1;
    }
    return status;
}

/* --- The window ------------------------------------------------------------------------------- */

static void put_step(FILE *out, uint64_t step, uint64_t *last)
{
    if (step != *last)
        fprintf(out, "%s%" PRIu64, *last == UINT64_MAX ? "" : ",", step);
    *last = step;
}

/* What has to be recorded with its contents: the event and its inputs. */
static fb_status find_window(fb_diff_report *r, fb_trace *t, const inputs *in, fb_error *err)
{
    size_t size;
    FILE *path = open_memstream(&r->window_path, &size), *steps;
    uint64_t last = UINT64_MAX, earliest[FB__OPERANDS_MAX];
    uint32_t count = 0;

    if (path == NULL)
        return out_of_memory(err);
    fputs(r->first.name.path, path);
    for (uint32_t k = 0; k < in->count && k < WINDOW_INPUTS; k++) {
        const fb_site *site = fb_trace_site(t, in->refs[k].site);
        uint32_t at = count;

        if (site == NULL)
            continue;
        if (!same_text(site->path, r->first.name.path))
            fprintf(path, ",%s:%s", site->path == NULL ? "" : site->path,
                    site->slot == NULL ? "" : site->slot);
        while (at > 0 && earliest[at - 1] > in->refs[k].step)
            at--;
        memmove(earliest + at + 1, earliest + at, (count - at) * sizeof *earliest);
        earliest[at] = in->refs[k].step;
        count++;
    }
    if (fclose(path) != 0)
        return out_of_memory(err);
    steps = open_memstream(&r->window_steps, &size);
    if (steps == NULL)
        return out_of_memory(err);
    for (uint32_t k = 0; k < count; k++)
        put_step(steps, earliest[k], &last);
    put_step(steps, r->first.name.step, &last);
    return fclose(steps) == 0 ? FB_OK : out_of_memory(err);
}

/* --- The proof -------------------------------------------------------------------------------- */

static unsigned output_of(const char *slot)
{
    return strcmp(slot, "out") == 0 ? 0
           : strncmp(slot, "out", 3) == 0 && slot[3] >= '1' && slot[3] <= '7' && slot[4] == '\0'
               ? (unsigned)(slot[3] - '0')
               : 99;
}

/* Half a unit in the last place of 1, in which sums are made; 0 for what is not evaluated. */
static double unit_of(fb_dtype dtype)
{
    return dtype == FB_DTYPE_F64                             ? 0x1p-53
           : dtype == FB_DTYPE_F32                           ? 0x1p-24
           : dtype == FB_DTYPE_F16 || dtype == FB_DTYPE_BF16 ? 0x1p-24
                                                             : 0;
}

static double narrow_of(fb_dtype dtype)
{
    return dtype == FB_DTYPE_F16 ? 0x1p-11 : dtype == FB_DTYPE_BF16 ? 0x1p-8 : 0;
}

static fb_status prove(fb_diff_report *r, fb__operation *o, fb_trace *const t[2],
                       const inputs in[2], fb_error *err)
{
    const uint64_t numbers[2] = {r->first.number_a, r->first.number_b};
    uint64_t room = ELEMENTS_MAX, counts[2] = {0, 0};
    double *results[2] = {NULL, NULL};
    bool all = false;
    fb_status status = FB_OK;

    for (int side = 0; side < 2 && status == FB_OK; side++)
        status =
            load(&results[side], &counts[side], &room, t[side], numbers[side], r->first.dtype, err);
    if (status == FB_OK && results[0] != NULL && results[1] != NULL && counts[0] == counts[1])
        status = load_operands(&all, o, t, in, &room, err);
    o->out.count = counts[0];
    if (status == FB_OK && all && fill_shape(&o->out, in[0].site)) {
        fb__proof_judge(&r->proof, o, results[0], results[1]);
        free(r->window_steps); /* there is no more to record */
        free(r->window_path);
        r->window_steps = r->window_path = NULL;
    }
    for (int side = 0; side < 2; side++)
        free(results[side]);
    for (uint32_t k = 0; k < FB__OPERANDS_MAX; k++)
        free(o->in[k].at);
    return status;
}

fb_status fb__proof_find(fb_diff_report *report, fb_trace *a, fb_trace *b, fb_error *err)
{
    const fb_diff_first *first = &report->first;
    fb__operation o = {.op = report->proof.op,
                       .output = output_of(first->name.slot),
                       .unit = unit_of(first->dtype),
                       .narrow = narrow_of(first->dtype),
                       .out = {.rank = first->rank}};
    fb_trace *const t[2] = {a, b};
    inputs in[2];
    cJSON *arguments;
    fb_status status;

    if (first->what != FB_DIFF_CONTENT || first->name.kind != FB_KIND_TENSOR || o.unit == 0 ||
        first->rank > FB_RANK_MAX)
        return FB_OK;
    (void)snprintf(report->proof.op, sizeof report->proof.op, "%s", first->name.op);
    memcpy(o.out.shape, first->shape, sizeof o.out.shape);
    status = find_refs(&in[0], a, first->number_a, err);
    o.in_count = in[0].count;
    if (status != FB_OK || fb__exact_form_of(&o) == NULL)
        return status;
    status = find_refs(&in[1], b, first->number_b, err);
    if (status != FB_OK || in[1].count != in[0].count || in[0].site == NULL || in[1].site == NULL ||
        !same_text(in[0].site->arguments, in[1].site->arguments))
        return status;
    for (int side = 0; side < 2 && status == FB_OK; side++)
        status =
            find_events(&in[side], t[side], side == 0 ? first->number_a : first->number_b, err);
    if (status != FB_OK)
        return status;
    status = find_window(report, a, &in[0], err);
    if (status != FB_OK)
        return status;
    arguments = in[0].site->arguments != NULL ? cJSON_Parse(in[0].site->arguments) : NULL;
    o.arguments = arguments;
    o.in_count = 0;
    status = prove(report, &o, t, in, err);
    cJSON_Delete(arguments);
    return status;
}
