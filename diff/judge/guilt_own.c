/* SPDX-License-Identifier: Apache-2.0
 *
 * guilt_own.c - what an event of a step is by itself: whether it differs, whether that counts
 * whatever becomes of it, and where it comes from.
 */
#include "diff/judge/guilt_own.h"

#include <string.h>

#include "base/hash.h"

enum { NONE = UINT32_MAX };

typedef fb__side side;

static bool same_text(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static bool is_gradient(const fb_site *site)
{
    return site->phase != FB_PHASE_FORWARD && site->slot != NULL &&
           strncmp(site->slot, "grad", 4) == 0;
}

bool fb__is_context(const fb__step_event *e)
{
    const bool alone = e->partner == NONE;

    switch (e->site->kind) {
    case FB_KIND_MODE:
        return !alone;
    case FB_KIND_SEED:
        return alone;
    case FB_KIND_SCALAR:
        return alone && (e->site->phase == FB_PHASE_OPTIMIZER || e->site->phase == FB_PHASE_LOSS);
    default:
        return false;
    }
}

static bool is_reset(const fb_site *site)
{
    return site->kind == FB_KIND_MODE && same_text(site->op, "zero_grad");
}

/* --- Draws ------------------------------------------------------------------------------------ */

/* What is drawn behind the last update moves nothing. */
static bool stream_differs(const fb__guilt *g, const char *stream)
{
    return !g->trailing && fb__stream_differs(&g->streams, stream);
}

/* As many numbers of one distribution from one state: the generator is moved alike. */
static bool is_same_draw(const fb__step_event *e, const fb__step_event *other)
{
    return e->stream_key == other->stream_key && e->counter == other->counter &&
           e->count == other->count && same_text(e->site->distribution, other->site->distribution);
}

/* A draw that differs and that something reads counts by its reader, where the generator is behind
 * it where it is behind the other one. */
static bool moves_alike(const fb__guilt *g, const fb__step_event *e, const fb__step_event *other)
{
    return !stream_differs(g, e->site->stream) || is_same_draw(e, other);
}

/* --- What an event is by itself --------------------------------------------------------------- */

/* Whether all inputs of an event have a mark, or any. Inputs from elsewhere have none. */
static bool inputs_have(const side *s, const fb__step_event *e, uint16_t mark, bool all)
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

/* The same numbers in another form: they count by what is made from them. */
static bool is_reshaped(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    const fb__step_event *other = &other_side(g, s)->events[e->partner];

    return e->site->dtype == other->site->dtype && fb_hash_equal(e->hash, other->hash) &&
           !fb_hash_is_zero(e->hash);
}

/* Other numbers than the other side's, of a generator that is put back behind them; behind the last
 * update, more or fewer of them from one state. */
static bool is_put_back(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    return e->site->kind == FB_KIND_DRAW && e->partner != NONE && !e->same_content &&
           !stream_differs(g, e->site->stream) &&
           !is_same_draw(e, &other_side(g, s)->events[e->partner]) &&
           (!g->trailing || e->stream_key == other_side(g, s)->events[e->partner].stream_key);
}

/* Such numbers, and nothing reads them. */
static bool is_passing_draw(const fb__guilt *g, const side *s, const fb__step_event *e,
                            uint16_t mark)
{
    const uint32_t at = e->input_count == 0 ? NONE
                                            : fb__key_index_find(s->index, s->step,
                                                                 s->step->inputs[e->first_input]);

    return at != NONE && (mark & FB__READ) == 0 && is_put_back(g, s, &s->step->events[at]);
}

/* Whether an op has such numbers, or what is made from them, among its inputs. */
static bool is_passing(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    for (uint32_t k = 0; k < e->input_count && e->site->kind == FB_KIND_TENSOR; k++) {
        const uint32_t at =
            fb__key_index_find(s->index, s->step, s->step->inputs[e->first_input + k]);

        if (at != NONE && (s->marks[at] & FB__DIFFERS) != 0 &&
            ((s->marks[at] & FB__PASSING) != 0 || is_put_back(g, s, &s->step->events[at])))
            return true;
    }
    return false;
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

/* --- The model -------------------------------------------------------------------------------- */

/* Whether an input that is not at hand is of the model: an event of the common start of the step,
 * or of an earlier one. */
static bool is_of_model_before(const fb__step *step, const fb__step_event *e, uint32_t k)
{
    const uint32_t number = step->input_sites[e->first_input + k];
    const fb__site_key *site = number < step->site_capacity ? &step->sites[number] : NULL;

    return site == NULL || site->site == NULL || site->from_model || fb__is_of_model(site->site);
}

/* Whether anything of the model went into an event, in this step or as it was before. */
static bool comes_from_model(const side *s, const fb__step_event *e)
{
    if (fb__is_of_model(e->site))
        return true;
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at =
            fb__key_index_find(s->index, s->step, s->step->inputs[e->first_input + k]);

        if (at != NONE ? (s->marks[at] & FB__MODEL) != 0 : is_of_model_before(s->step, e, k))
            return true;
    }
    return false;
}

static bool is_one_number(const fb_site *site)
{
    for (uint32_t i = 0; i < site->rank; i++)
        if (site->shape[i] != 1)
            return false;
    return true;
}

/* A number that a program of modules keeps beside them, on one side at least, and that nothing
 * reads: what it prints. An average of parameters is of their form, and kept beside them too. */
static bool is_only_told(const fb__guilt *g, const side *s, const fb__step_event *e, uint16_t mark)
{
    const uint16_t other = (s->step == &g->pair->a ? g->b : g->a)[e->partner];

    return g->has_model && (mark & FB__READ) == 0 && (mark & other & FB__MODEL) == 0 &&
           e->input_count > 0 && e->site->phase == FB_PHASE_FORWARD && is_one_number(e->site);
}

/* Where ops are not recorded: whether what one side does more may have reached training. An
 * evaluation more leaves losses and updates as they are. */
static bool counts_unread(const fb__guilt *g)
{
    return (g->pair->classes & 1u << FB_CLASS_OPS) == 0 && !g->told_equal;
}

/* A buffer of a module that one side alone copies to other memory, outside of all modules: the
 * state that an average keeps beside its parameters. */
static bool keeps_buffer(const side *s, const fb__step_event *e)
{
    const fb__step *step = s->step;
    const uint32_t site =
        e->input_count == 1 ? step->input_sites[e->first_input] : (uint32_t)step->site_capacity;

    return e->partner == NONE && same_text(e->site->op, "copy_") && same_text(e->site->path, "") &&
           e->site->phase == FB_PHASE_FORWARD && site < step->site_capacity &&
           step->sites[site].site != NULL && step->sites[site].site->kind == FB_KIND_PARAM &&
           same_text(step->sites[site].site->op, "buffer");
}

/* A pass of a model to train or to evaluate: what it computed is on no record. */
static bool is_other_mode(const fb__step_event *e)
{
    return e->partner != NONE && same_text(e->site->slot, "training");
}

/* Whether all that an op reads are results of an earlier step: it tells of what is past. */
static bool reads_the_past(const fb__step *step, const fb__step_event *e)
{
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t number = step->input_sites[e->first_input + k];
        const fb__site_key *site = number < step->site_capacity ? &step->sites[number] : NULL;
        const fb_hash key = step->inputs[e->first_input + k];

        if (site == NULL || site->site == NULL || site->site->kind != FB_KIND_TENSOR ||
            fb_hash_equal(key, fb_identity_hash(site->key, step->step, e->micro)) ||
            fb_hash_equal(key, fb_identity_hash(site->key, step->step, FB_MICRO_NONE)))
            return false;
    }
    return e->input_count > 0;
}

/* A number that one side makes of this step and the other of the one before, and that nothing
 * reads: the same is told, later. */
static bool is_told_later(const fb__guilt *g, const side *s, const fb__step_event *e, uint16_t mark)
{
    return (mark & FB__READ) == 0 && e->site->rank == 0 && same_text(e->site->path, "") &&
           reads_the_past(s->step, e) !=
               reads_the_past(other_side(g, s), &other_side(g, s)->events[e->partner]);
}

/* A difference that counts whatever becomes of it. One call with two results does, and a result
 * that nothing of the step reads; one that is made otherwise counts where what is made from it
 * does. */
static bool counts_alone(const fb__guilt *g, const side *s, const fb__step_event *e, uint16_t mark)
{
    const bool ops = (g->pair->classes & 1u << FB_CLASS_OPS) != 0;
    const bool paired = e->partner != NONE;

    if (paired && e->same_content)
        return s->step == &g->pair->a && e->site->kind == FB_KIND_TENSOR && reads_other_state(g, e);
    switch (e->site->kind) {
    case FB_KIND_TENSOR:
        return is_gradient(e->site) || keeps_buffer(s, e) ||
               (paired && (mark & (FB__OUTSIDE | FB__PASSING)) == 0 &&
                !is_passing_draw(g, s, e, mark) && !is_only_told(g, s, e, mark) &&
                !is_told_later(g, s, e, mark) &&
                ((mark & FB__READ) == 0 || (is_same_call(g, s, e) && !is_reshaped(g, s, e))));
    case FB_KIND_DRAW:
        if (!paired)
            return stream_differs(g, e->site->stream);
        return !ops || (mark & FB__READ) == 0 ||
               !moves_alike(g, e, &other_side(g, s)->events[e->partner]);
    case FB_KIND_PARAM:
        return paired || !ops || !same_text(e->site->op, "buffer");
    case FB_KIND_SAMPLE:
        return paired ? !is_same_batch(g, s, e) : counts_unread(g);
    case FB_KIND_COLLECTIVE:
        return paired || counts_unread(g);
    case FB_KIND_MODE:
        return !is_reset(e->site) && (counts_unread(g) || (!ops && is_other_mode(e)));
    default:
        return !ops || !fb__is_context(e);
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

static uint16_t marks_of(const fb__guilt *g, const side *s, const fb__step_event *e)
{
    const bool alone = e->partner == NONE;
    uint16_t mark = s->marks[e - s->step->events] & (FB__READ | FB__MODEL);

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
        mark &= (uint16_t)~FB__DIFFERS; /* no contents: nothing that could differ */
    if ((mark & FB__DIFFERS) != 0 && is_passing(g, s, e))
        mark |= FB__PASSING;
    if ((mark & FB__DIFFERS) != 0 && counts_alone(g, s, e, mark))
        mark |= FB__COUNTS;
    return mark;
}

/* Events stand behind their inputs in all files that a program wrote, so one pass is enough. */
void fb__mark_origin(const fb__side *s)
{
    for (size_t i = 0; i < s->step->count; i++)
        if (comes_from_model(s, &s->step->events[i]))
            s->marks[i] |= FB__MODEL;
}

void fb__mark_own(const fb__guilt *g, const side *s)
{
    for (size_t i = 0; i < s->step->count; i++)
        s->marks[i] = marks_of(g, s, &s->step->events[i]);
}
