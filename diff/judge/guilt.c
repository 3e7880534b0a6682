/* SPDX-License-Identifier: Apache-2.0
 *
 * guilt.c - which differences of a step reach training state.
 */
#include "diff/judge/guilt.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/judge/carried.h"
#include "diff/judge/guilt_own.h"

enum { NONE = UINT32_MAX };

typedef fb__side side;

static side side_a(const fb__guilt *g)
{
    return (side){&g->pair->a, &g->in_a, g->a};
}

static side side_b(const fb__guilt *g)
{
    return (side){&g->pair->b, &g->in_b, g->b};
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static bool is_real(fb_dtype dtype)
{
    return dtype >= FB_DTYPE_F64 && dtype <= FB_DTYPE_C128;
}

/* Ones in the form of a loss, noise in the form of an image. */
static bool takes_form_only(const fb_site *reader)
{
    const size_t length = reader->op == NULL ? 0 : strlen(reader->op);

    return length > 5 && strcmp(reader->op + length - 5, "_like") == 0;
}

/* A comparison, or the place of the largest, hides how far numbers are apart, and what takes a form
 * alone reads none of them: that its result is equal does not make the numbers equal, and who makes
 * it counts as no reader. */
static bool absorbs(const fb_site *reader, const fb_site *read)
{
    if (takes_form_only(reader))
        return true;
    if (reader->kind != FB_KIND_TENSOR || is_real(reader->dtype))
        return false;
    return is_real(read->dtype) || (reader->dtype == FB_DTYPE_BOOL && read->dtype != FB_DTYPE_BOOL);
}

static void mark_reads(const side *s)
{
    for (size_t i = 0; i < s->step->count; i++)
        for (uint32_t k = 0; k < s->step->events[i].input_count; k++) {
            const fb_hash key = s->step->inputs[s->step->events[i].first_input + k];
            const uint32_t at = fb__key_index_find(s->index, s->step, key);

            if (at != NONE && !absorbs(s->step->events[i].site, s->step->events[at].site))
                s->marks[at] |= FB__READ;
        }
}

/* Read on one side is read. */
static void share_reads(const fb__guilt *g)
{
    for (size_t i = 0; i < g->pair->a.count; i++) {
        const uint32_t j = g->pair->a.events[i].partner;

        if (j == NONE)
            continue;
        g->a[i] |= g->b[j] & FB__READ;
        g->b[j] |= g->a[i] & FB__READ;
    }
}

/* --- What reads it ---------------------------------------------------------------------------- */

/* Marks the event of a key as one that counts. */
static bool mark_read(const side *s, const side *other, fb_hash key)
{
    const uint32_t at = fb__key_index_find(s->index, s->step, key);
    const fb__step_event *e = at == NONE ? NULL : &s->step->events[at];

    if (e == NULL || (s->marks[at] & (FB__COUNTS | FB__DIFFERS)) != FB__DIFFERS ||
        (e->partner != NONE && e->same_content)) /* an equal result tells nothing on */
        return false;
    s->marks[at] |= FB__COUNTS;
    if (e->partner != NONE)
        other->marks[e->partner] |= FB__COUNTS;
    return true;
}

/* A loss names no op (levels agree on scalars). Before it stands the gradient that its backward
 * pass begins with: ones, in the form of the loss, which is what it names. */
static bool mark_loss(const side *s, const side *other, size_t i)
{
    const fb__step_event *loss = &s->step->events[i], *ones = i > 0 ? loss - 1 : loss;

    if (loss->site->kind != FB_KIND_SCALAR || loss->site->phase != FB_PHASE_LOSS ||
        !same_text(ones->site->op, "ones_like") || ones->input_count != 1)
        return false;
    return mark_read(s, other, s->step->inputs[ones->first_input]);
}

/* The first value of a parameter names nothing that it was made from: it is the last tensor before
 * it that has these contents. */
static bool mark_first_value(const side *s, const side *other, size_t i)
{
    const fb__step_event *parameter = &s->step->events[i];

    if (parameter->site->kind != FB_KIND_PARAM || parameter->site->phase != FB_PHASE_INIT ||
        parameter->input_count > 0 || fb_hash_is_zero(parameter->hash))
        return false;
    for (size_t at = i; at-- > 0;)
        if (s->step->events[at].site->kind == FB_KIND_TENSOR &&
            fb_hash_equal(s->step->events[at].hash, parameter->hash))
            return mark_read(s, other, s->step->events[at].key);
    return false;
}

/* From what counts back to the differences that it was made from. Returns whether anything is new.
 */
static bool spread(const side *s, const side *other)
{
    bool any = false;

    for (size_t i = s->step->count; i-- > 0;) {
        const fb__step_event *e = &s->step->events[i];

        if ((s->marks[i] & FB__COUNTS) == 0)
            continue;
        any |= mark_loss(s, other, i);
        any |= mark_first_value(s, other, i);
        for (uint32_t k = 0; k < e->input_count; k++)
            any |= mark_read(s, other, s->step->inputs[e->first_input + k]);
    }
    return any;
}

static void share_marks(const fb__guilt *g)
{
    for (size_t i = 0; i < g->pair->a.count; i++) {
        const uint32_t j = g->pair->a.events[i].partner;

        if (j == NONE)
            continue;
        g->a[i] |= g->b[j] & FB__COUNTS;
        g->b[j] |= g->a[i] & FB__COUNTS;
    }
}

static bool anything_counts(const side *s)
{
    for (size_t i = 0; i < s->step->count; i++)
        if ((s->marks[i] & FB__COUNTS) != 0)
            return true;
    return false;
}

static void count_context(const side *s)
{
    for (size_t i = 0; i < s->step->count; i++)
        if ((s->marks[i] & FB__DIFFERS) != 0 && fb__is_context(&s->step->events[i]))
            s->marks[i] |= FB__COUNTS;
}

/* Whether a step has an event that training is made of. */
static bool trains(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb_site *site = step->events[i].site;

        if (site->kind == FB_KIND_PARAM || site->phase == FB_PHASE_BACKWARD ||
            site->phase == FB_PHASE_LOSS || site->phase == FB_PHASE_OPTIMIZER)
            return true;
    }
    return false;
}

/* What a program does behind its last update, in the last step of both: it trains no more. */
static bool is_trailing(const fb__step_pair *pair)
{
    const fb__step *a = &pair->a, *b = &pair->b;

    return a->step > 1 && !a->cut && !b->cut && a->step >= fb_trace_get_info(a->trace)->last_step &&
           b->step >= fb_trace_get_info(b->trace)->last_step &&
           pair->common_of_phase[FB_PHASE_BACKWARD] == 0 &&
           pair->common_of_phase[FB_PHASE_LOSS] == 0 &&
           pair->common_of_phase[FB_PHASE_OPTIMIZER] == 0 && !trains(a) && !trains(b);
}

/* Whether all numbers and parameters of a step have an equal partner. */
static bool is_told_equal(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if ((e->site->kind == FB_KIND_SCALAR || e->site->kind == FB_KIND_PARAM) && !e->equal &&
            !e->beyond)
            return false;
    }
    return true;
}

static bool has_model(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->phase == FB_PHASE_BACKWARD ||
            (step->events[i].site->kind == FB_KIND_MODE && step->events[i].site->path != NULL))
            return true;
    return false;
}

/* What a later step reads reaches training there. What one side alone made is another way to go,
 * which that step judges where it comes to an end, but for the numbers that generators have given.
 */
static void mark_wanted(const side *a, const side *b, const fb__earlier *wanted)
{
    for (size_t i = 0; wanted != NULL && i < wanted->count; i++) {
        const uint32_t at = fb__key_index_find(a->index, a->step, wanted->keys[i]);

        if (at != NONE && (a->step->events[at].partner != NONE || wanted->alone))
            (void)mark_read(a, b, wanted->keys[i]);
        if (wanted->alone)
            (void)mark_read(b, a, wanted->keys[i]);
    }
}

fb_status fb__guilt_find(fb__guilt *out, const fb__step_pair *pair, const fb__earlier *wanted,
                         fb_error *err)
{
    enum { ROUNDS_MAX = 16 }; /* one or two do, except where events stand before their inputs */
    fb_status status;

    *out = (fb__guilt){.pair = pair,
                       .trailing = is_trailing(pair),
                       .told_equal = is_told_equal(&pair->a) && is_told_equal(&pair->b),
                       .has_model = has_model(&pair->a) && has_model(&pair->b)};
    status = fb__key_index_make(&out->in_a, &pair->a, err);
    if (status == FB_OK)
        status = fb__key_index_make(&out->in_b, &pair->b, err);
    if (status == FB_OK)
        status = fb__draw_streams_find(&out->streams, pair, err);
    out->a = calloc(pair->a.count + 1, sizeof *out->a);
    out->b = calloc(pair->b.count + 1, sizeof *out->b);
    if (status == FB_OK && (out->a == NULL || out->b == NULL))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    if (status != FB_OK)
        return status;
    const side a = side_a(out), b = side_b(out);
    mark_reads(&a);
    mark_reads(&b);
    share_reads(out);
    fb__mark_origin(&a);
    fb__mark_origin(&b);
    fb__mark_own(out, &a);
    fb__mark_own(out, &b);
    share_marks(out);
    fb__mark_carried(out);
    mark_wanted(&a, &b, wanted);
    for (int round = 0; round < ROUNDS_MAX; round++) {
        const bool any = spread(&a, &b);

        if (!spread(&b, &a) && !any)
            break;
    }
    if (anything_counts(&a) || anything_counts(&b)) {
        count_context(&a);
        count_context(&b);
    }
    return FB_OK;
}

void fb__guilt_free(fb__guilt *guilt)
{
    fb__key_index_free(&guilt->in_a);
    fb__key_index_free(&guilt->in_b);
    fb__draw_streams_free(&guilt->streams);
    free(guilt->a);
    free(guilt->b);
    *guilt = (fb__guilt){0};
}
