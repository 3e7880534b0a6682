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

enum { NONE = UINT32_MAX };

/* One side of the pair, and what its marks are. */
typedef struct side {
    const fb__step *step;
    const fb__key_index *index;
    uint8_t *marks;
} side;

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

static bool is_gradient(const fb_site *site)
{
    return site->phase != FB_PHASE_FORWARD && site->slot != NULL &&
           strncmp(site->slot, "grad", 4) == 0;
}

/* What is said of how a program is set up. It changes nothing by itself, and is the reason where
 * something else differs: a mode, a seed, an option of the optimizer. */
static bool is_context(const fb__step_event *e)
{
    const bool alone = e->partner == NONE;

    switch (e->site->kind) {
    case FB_KIND_MODE:
        return !alone;
    case FB_KIND_SEED:
        return alone;
    case FB_KIND_SCALAR:
        return alone && e->site->phase == FB_PHASE_OPTIMIZER;
    default:
        return false;
    }
}

static bool is_reset(const fb_site *site)
{
    return site->kind == FB_KIND_MODE && same_text(site->op, "zero_grad");
}

static bool is_draw_of(const fb__step_event *e, const char *stream)
{
    return e->site->kind == FB_KIND_DRAW && same_text(e->site->stream, stream);
}

/* Whether a draw of this stream that both sides have says something else on the other side, and the
 * last one of the step does too: where that is equal the generator stands where it would have
 * stood, and what was drawn before counts by who reads it. */
static bool stream_differs(const fb__step_pair *pair, const char *stream)
{
    bool differs = false, at_last = false;

    for (size_t i = 0; i < pair->a.count; i++) {
        const fb__step_event *e = &pair->a.events[i];

        if (!is_draw_of(e, stream))
            continue;
        at_last = e->partner == NONE || !e->same_content;
        differs |= e->partner != NONE && !e->same_content;
    }
    for (size_t i = pair->b.count; i > 0; i--)
        if (is_draw_of(&pair->b.events[i - 1], stream)) {
            at_last |= pair->b.events[i - 1].partner == NONE;
            break;
        }
    return differs && at_last;
}

/* As many numbers from one state. */
static bool is_same_draw(const fb__step_event *e, const fb__step_event *other)
{
    return e->stream_key == other->stream_key && e->counter == other->counter &&
           e->count == other->count;
}

/* A draw that differs and that something reads counts by its reader, where the generator is behind
 * it where it is behind the other one. */
static bool moves_alike(const fb__guilt *g, const fb__step_event *e, const fb__step_event *other)
{
    return !stream_differs(g->pair, e->site->stream) || is_same_draw(e, other);
}

/* --- What an event is by itself --------------------------------------------------------------- */

/* Whether all inputs of an event have a mark, or any. Inputs from elsewhere have none. */
static bool inputs_have(const side *s, const fb__step_event *e, uint8_t mark, bool all)
{
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at =
            fb__key_index_find(s->index, s->step, s->step->inputs[e->first_input + k]);
        const bool has = at != NONE && (s->marks[at] & mark) != 0;

        if (has != all)
            return has;
    }
    return all;
}

static bool is_parameter(const fb__step *step, const fb__step_event *e, uint32_t k)
{
    const uint32_t site = step->input_sites[e->first_input + k];
    return site < step->site_capacity && step->sites[site].site != NULL &&
           step->sites[site].site->kind == FB_KIND_PARAM;
}

/* An equal result that is made from other state: a weight in the place of another. Which op of the
 * step computed it is nobody's concern, and a copy of a weight is a copy. */
static bool reads_other_state(const fb__guilt *g, const fb__step_event *e)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    const fb__step_event *other = &b->events[e->partner];

    if (same_text(e->site->path, "") || e->site->phase != FB_PHASE_FORWARD)
        return false;
    for (uint32_t k = 0; k < e->input_count && e->input_count == other->input_count; k++)
        if (!fb_hash_equal(a->inputs[e->first_input + k], b->inputs[other->first_input + k]) &&
            is_parameter(a, e, k) && is_parameter(b, other, k))
            return true;
    return false;
}

static const fb__step *other_side(const fb__guilt *g, const side *s)
{
    return s->step == &g->pair->a ? &g->pair->b : &g->pair->a;
}

/* Whether an input is the result of other numbers, not of the event itself. */
static bool reads_other_numbers(const side *s, const fb__step_event *e)
{
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at =
            fb__key_index_find(s->index, s->step, s->step->inputs[e->first_input + k]);

        if (at != NONE && (s->marks[at] & FB__DIFFERS) != 0 && !s->step->events[at].same_content)
            return true;
    }
    return false;
}

/* The same op with the same arguments from the same inputs, whose contents are equal. What a clone
 * copies is a view, of which no recorder tells the order: it may be another one. */
static bool is_same_call(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    return e->same_inputs && !same_text(e->site->op, "clone") && !reads_other_numbers(s, e) &&
           same_text(e->site->arguments, other_side(g, s)->events[e->partner].site->arguments);
}

/* Other numbers than the other side's, of a generator that is put back behind them. */
static bool is_put_back(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    return e->site->kind == FB_KIND_DRAW && e->partner != NONE && !e->same_content &&
           !stream_differs(g->pair, e->site->stream) &&
           !is_same_draw(e, &other_side(g, s)->events[e->partner]);
}

/* Such numbers, and nothing reads them. */
static bool is_passing_draw(const fb__guilt *g, const side *s, const fb__step_event *e,
                            uint8_t mark)
{
    const uint32_t at = e->input_count == 0 ? NONE
                                            : fb__key_index_find(s->index, s->step,
                                                                 s->step->inputs[e->first_input]);

    return at != NONE && (mark & FB__READ) == 0 && is_put_back(g, s, &s->step->events[at]);
}

/* Whether the same op has the same inputs, of which no others differ than such numbers and what is
 * made from them. */
static bool is_passing(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    bool any = false;

    if (e->site->kind != FB_KIND_TENSOR || e->partner == NONE || !e->same_inputs)
        return false;
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at =
            fb__key_index_find(s->index, s->step, s->step->inputs[e->first_input + k]);

        if (at == NONE || (s->marks[at] & FB__DIFFERS) == 0)
            continue;
        if ((s->marks[at] & FB__PASSING) == 0 && !is_put_back(g, s, &s->step->events[at]))
            return false;
        any = true;
    }
    return any;
}

/* The same samples with the same contents: what is left is how the epoch was counted. */
static bool is_same_batch(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    const fb__step *own = s->step, *other = other_side(g, s);
    const fb__step_event *x = &other->events[e->partner];

    return e->count == x->count && e->index_count == x->index_count &&
           fb_hash_equal(e->hash, x->hash) &&
           (e->index_count == 0 ||
            memcmp(own->indices + e->first_index, other->indices + x->first_index,
                   e->index_count * sizeof *own->indices) == 0);
}

/* A difference that counts whatever becomes of it. One call with two results does, and a result
 * that nothing of the step reads; one that is made otherwise counts where what is made from it
 * does. */
static bool counts_alone(const fb__guilt *g, const side *s, const fb__step_event *e, uint8_t mark)
{
    const bool ops = (g->pair->classes & 1u << FB_CLASS_OPS) != 0;
    const bool paired = e->partner != NONE;

    if (paired && e->same_content)
        return s->step == &g->pair->a && e->site->kind == FB_KIND_TENSOR && reads_other_state(g, e);
    switch (e->site->kind) {
    case FB_KIND_TENSOR:
        return is_gradient(e->site) || (paired && (mark & (FB__OUTSIDE | FB__PASSING)) == 0 &&
                                        !is_passing_draw(g, s, e, mark) &&
                                        ((mark & FB__READ) == 0 || is_same_call(g, s, e)));
    case FB_KIND_DRAW:
        if (!paired)
            return stream_differs(g->pair, e->site->stream);
        return !ops || (mark & FB__READ) == 0 ||
               !moves_alike(g, e, &other_side(g, s)->events[e->partner]);
    case FB_KIND_PARAM:
        return paired || !ops || !same_text(e->site->op, "buffer");
    case FB_KIND_SAMPLE:
        return paired ? !is_same_batch(g, s, e) : !ops;
    case FB_KIND_COLLECTIVE:
        return paired || !ops;
    case FB_KIND_MODE:
        return !is_reset(e->site) && !ops;
    default:
        return !ops || !is_context(e);
    }
}

/* What enters by itself, with contents that enter nowhere on the other side. */
static bool has_entered_otherwise(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    const fb__step *other = other_side(g, s);

    if (e->partner != NONE)
        return !e->same_content;
    for (size_t i = 0; i < other->count; i++)
        if (other->events[i].input_count == 0 && other->events[i].partner == NONE &&
            fb_hash_equal(other->events[i].hash, e->hash))
            return false;
    return true;
}

static uint8_t marks_of(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    const bool alone = e->partner == NONE;
    uint8_t mark = s->marks[e - s->step->events] & FB__READ;

    if (!e->equal && !e->beyond)
        mark |= FB__DIFFERS;
    if (e->site->kind == FB_KIND_TENSOR && inputs_have(s, e, FB__SOURCE, true))
        mark |= FB__SOURCE;
    /* Where no path is told either: in a module, or in a program that tells no inputs, an event
     * without inputs is a result. What is only made otherwise did not enter. */
    if ((mark & FB__SOURCE) != 0 && same_text(e->site->path, "") &&
        (e->input_count == 0 ? has_entered_otherwise(g, s, e)
                             : inputs_have(s, e, FB__OUTSIDE, false)))
        mark |= FB__OUTSIDE;
    if ((mark & FB__SOURCE) != 0 && alone && inputs_have(s, e, FB__CONSTANT, true))
        mark |= FB__CONSTANT;
    if ((mark & FB__DIFFERS) != 0 && alone && is_reset(e->site))
        mark |= FB__RESET;
    if ((e->flags & FB_EVENT_UNDEFINED) != 0)
        mark &= (uint8_t)~FB__DIFFERS; /* no contents: nothing that could differ */
    if ((mark & FB__DIFFERS) != 0 && is_passing(g, s, e))
        mark |= FB__PASSING;
    if ((mark & FB__DIFFERS) != 0 && counts_alone(g, s, e, mark))
        mark |= FB__COUNTS;
    return mark;
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

/* Events stand behind their inputs in all files that a program wrote, so one pass is enough. */
static void mark_side(const fb__guilt *g, const side *s)
{
    for (size_t i = 0; i < s->step->count; i++)
        s->marks[i] = marks_of(g, s, &s->step->events[i]);
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
        if ((s->marks[i] & FB__DIFFERS) != 0 && is_context(&s->step->events[i]))
            s->marks[i] |= FB__COUNTS;
}

fb_status fb__guilt_find(fb__guilt *out, const fb__step_pair *pair, fb_error *err)
{
    enum { ROUNDS_MAX = 16 }; /* one or two do, except where events stand before their inputs */
    fb_status status;

    *out = (fb__guilt){.pair = pair};
    status = fb__key_index_make(&out->in_a, &pair->a, err);
    if (status == FB_OK)
        status = fb__key_index_make(&out->in_b, &pair->b, err);
    out->a = calloc(pair->a.count + 1, 1);
    out->b = calloc(pair->b.count + 1, 1);
    if (status == FB_OK && (out->a == NULL || out->b == NULL))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    if (status != FB_OK)
        return status;
    const side a = side_a(out), b = side_b(out);
    mark_reads(&a);
    mark_reads(&b);
    share_reads(out);
    mark_side(out, &a);
    mark_side(out, &b);
    share_marks(out);
    fb__mark_carried(out);
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
    free(guilt->a);
    free(guilt->b);
    *guilt = (fb__guilt){0};
}
