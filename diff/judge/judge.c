/* SPDX-License-Identifier: Apache-2.0
 *
 * judge.c - whose fault it is.
 */
#include "diff/judge/judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/judge/forward_blame.h"
#include "diff/judge/guilt.h"
#include "diff/judge/hidden_source.h"

enum { NONE = UINT32_MAX };

/* --- Notes ------------------------------------------------------------------------------------ */

/* The first of a chain stands for it: what is made from a note is not told. */
static bool is_told(const fb__step *step, const fb__key_index *index, const uint16_t *marks,
                    size_t i)
{
    const fb__step_event *e = &step->events[i];

    if ((marks[i] & (FB__DIFFERS | FB__COUNTS)) != FB__DIFFERS)
        return false;
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at = fb__key_index_find(index, step, step->inputs[e->first_input + k]);

        if (at != NONE && (marks[at] & FB__DIFFERS) != 0)
            return false;
    }
    return true;
}

static fb_status collect(fb__step_notes *notes, const fb__guilt *g, fb_error *err)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;

    notes->at = calloc(a->count + b->count + 1, sizeof(fb__step_event *));
    if (notes->at == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    for (size_t i = 0; i < a->count; i++)
        if (is_told(a, &g->in_a, g->a, i))
            notes->at[notes->count++] = &a->events[i];
    notes->count_a = notes->count;
    for (size_t i = 0; i < b->count; i++)
        if (b->events[i].partner == NONE && is_told(b, &g->in_b, g->b, i))
            notes->at[notes->count++] = &b->events[i];
    return FB_OK;
}

/* What is blamed is no note. */
static void leave_out(fb__step_notes *notes, const fb__step_event *e)
{
    size_t kept = 0, kept_a = 0;

    for (size_t i = 0; i < notes->count; i++) {
        if (notes->at[i] == e)
            continue;
        kept_a += i < notes->count_a;
        notes->at[kept++] = notes->at[i];
    }
    notes->count = kept;
    notes->count_a = kept_a;
}

/* --- Blame ------------------------------------------------------------------------------------ */

/* Whether an input of the event is itself a difference that counts, so that the event only passes
 * it on. A constant is blamed on what it was made for. */
static bool inherits(const fb__step *step, const fb__key_index *index, const uint16_t *marks,
                     const fb__step_event *e)
{
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at = fb__key_index_find(index, step, step->inputs[e->first_input + k]);

        if (at != NONE && &step->events[at] != e &&
            (marks[at] & (FB__COUNTS | FB__CONSTANT)) == FB__COUNTS)
            return true;
    }
    return false;
}

/* A place in the merged order of both sides: b's own events stand behind the event of a that comes
 * before them in b. */
typedef struct place {
    uint64_t behind, side, own;
} place;

static bool is_before(place x, place y)
{
    if (x.behind != y.behind)
        return x.behind < y.behind;
    return x.side != y.side ? x.side < y.side : x.own < y.own;
}

static void take(fb__culprit *out, place *best, place at, fb_diff_what what,
                 const fb__step_event *a, const fb__step_event *b)
{
    if (out->found && !is_before(at, *best))
        return;
    out->found = true;
    out->what = what;
    out->a = a;
    out->b = b;
    *best = at;
}

/* Who may be blamed, the strictest search first. */
typedef enum search {
    ROOTS,     /* events whose inputs are equal, on one side at least: where the flow of data is
                * another one, an event stands elsewhere on the other side. No constants, and no
                * loss, which names no input */
    ALL_ROOTS, /* these too */
    ANY        /* a cycle of blame: only in a trace that no program wrote, or misaligned */
} search;

static bool may_be_blamed(const fb__step_event *e, uint16_t mark, search how)
{
    if ((mark & FB__COUNTS) == 0)
        return false;
    return how != ROOTS || ((mark & FB__CONSTANT) == 0 &&
                            !(e->site->kind == FB_KIND_SCALAR && e->input_count == 0 &&
                              e->site->phase == FB_PHASE_LOSS));
}

static fb_diff_what what_of(const fb__step_event *a, const fb__step_event *b)
{
    if (b == NULL)
        return FB_DIFF_ONLY_A;
    if (a->same_content)
        return FB_DIFF_INPUTS;
    return fb_hash_equal(a->content, b->content) ? FB_DIFF_ARGUMENTS : FB_DIFF_CONTENT;
}

static void find(fb__culprit *out, place *best, const fb__guilt *g, search how)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    uint64_t behind = 0;

    for (size_t i = 0; i < a->count; i++) {
        const fb__step_event *e = &a->events[i];
        const fb__step_event *partner = e->partner == NONE ? NULL : &b->events[e->partner];

        if (!may_be_blamed(e, g->a[i], how))
            continue;
        if (how != ANY && inherits(a, &g->in_a, g->a, e) &&
            (partner == NULL || inherits(b, &g->in_b, g->b, partner)))
            continue;
        take(out, best, (place){i + 1, 0, i}, what_of(e, partner), e, partner);
    }
    for (size_t i = 0; i < b->count; i++) {
        const fb__step_event *e = &b->events[i];

        if (e->partner != NONE)
            behind = (uint64_t)e->partner + 1;
        else if (may_be_blamed(e, g->b[i], how) && (how == ANY || !inherits(b, &g->in_b, g->b, e)))
            take(out, best, (place){behind, 1, i}, FB_DIFF_ONLY_B, NULL, e);
    }
}

/* Resets that one side has more before `end`; *last is the last of them. */
static size_t count_resets(const fb__step_event **last, size_t *at, const fb__step *step,
                           const uint16_t *marks, size_t end)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count && i < end; i++)
        if ((marks[i] & FB__RESET) != 0) {
            *last = &step->events[i];
            *at = i;
            n++;
        }
    return n;
}

static size_t end_before(const fb__step *step, const fb__step_event *e)
{
    return e == NULL ? step->count : (size_t)(e - step->events);
}

/* A call of zero_grad changes nothing by itself: the gradients that it leaves or does not leave do.
 * Where a gradient is the first difference and one side has more such calls before it, the call
 * that the other side lacks is what to look at. */
static void blame_reset(fb__culprit *out, place *best, const fb__guilt *g)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    const fb_phase phase = (out->a != NULL ? out->a : out->b)->site->phase;
    const fb__step_event *in_a = NULL, *in_b = NULL;
    size_t at_a = 0, at_b = 0, count_a, count_b;

    if (phase != FB_PHASE_BACKWARD && phase != FB_PHASE_OPTIMIZER)
        return;
    count_a = count_resets(&in_a, &at_a, a, g->a, end_before(a, out->a));
    count_b = count_resets(&in_b, &at_b, b, g->b, end_before(b, out->b));
    if (count_a == count_b)
        return;
    out->a = count_a > count_b ? in_a : NULL;
    out->b = count_a > count_b ? NULL : in_b;
    out->what = count_a > count_b ? FB_DIFF_ONLY_A : FB_DIFF_ONLY_B;
    if (count_a > count_b)
        *best = (place){at_a + 1, 0, at_a};
}

static bool same_arguments(const fb_site *x, const fb_site *y)
{
    return strcmp(x->arguments == NULL ? "" : x->arguments,
                  y->arguments == NULL ? "" : y->arguments) == 0;
}

/* Where b's own event stands: behind the last partner that comes before it. */
static place place_in_b(const fb__step *b, const fb__step_event *e)
{
    const size_t own = (size_t)(e - b->events);

    for (size_t i = own; i-- > 0;)
        if (b->events[i].partner != NONE)
            return (place){(uint64_t)b->events[i].partner + 1, 1, own};
    return (place){0, 1, own};
}

/* A gradient that differs first is blamed on the op of the forward pass that one side lacks, or
 * calls otherwise, though its result is equal so far. */
static fb_status blame_forward(fb__culprit *out, place *best, const fb__guilt *g, fb_error *err)
{
    const fb_site *site = (out->a != NULL ? out->a : out->b)->site;
    fb__forward_op op;
    fb_status status;

    if (site->phase != FB_PHASE_BACKWARD || site->kind != FB_KIND_TENSOR)
        return FB_OK;
    status = fb__find_forward_op(&op, g, err);
    if (status != FB_OK || (op.a == NULL && op.b == NULL))
        return status;
    out->a = op.a;
    out->b = op.b;
    out->what = op.b == NULL         ? FB_DIFF_ONLY_A
                : op.a == NULL       ? FB_DIFF_ONLY_B
                : !op.a->same_inputs ? FB_DIFF_INPUTS
                                     : FB_DIFF_ARGUMENTS;
    *best = op.a == NULL ? place_in_b(&g->pair->b, op.b)
                         : (place){(uint64_t)(op.a - g->pair->a.events) + 1, 0,
                                   (uint64_t)(op.a - g->pair->a.events)};
    return FB_OK;
}

/* A result that differs though inputs and arguments are equal is blamed on what these hide. */
static fb_status blame_hidden(fb__culprit *out, place *best, const fb__guilt *g, fb_error *err)
{
    const fb__step_event *source;
    fb_status status;

    if (out->a == NULL || out->b == NULL || !out->a->same_inputs || out->a->input_count == 0 ||
        (out->a->site->kind != FB_KIND_TENSOR && out->a->site->kind != FB_KIND_PARAM) ||
        !same_arguments(out->a->site, out->b->site))
        return FB_OK;
    status = fb__find_hidden_source(&source, g, out->a, err);
    if (status != FB_OK || source == NULL)
        return status;
    out->a = source;
    out->b = &g->pair->b.events[source->partner];
    out->what = FB_DIFF_CONTENT;
    *best = (place){(uint64_t)(source - g->pair->a.events) + 1, 0,
                    (uint64_t)(source - g->pair->a.events)};
    return FB_OK;
}

static bool is_outside_modules(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && (site->path == NULL || site->path[0] == '\0') &&
           (site->phase == FB_PHASE_INIT || site->phase == FB_PHASE_FORWARD);
}

static bool same_samples(const fb__step_pair *p, const fb__step_event *x, const fb__step_event *y)
{
    return x->count == y->count && x->index_count == y->index_count &&
           (x->index_count == 0 ||
            memcmp(p->a.indices + x->first_index, p->b.indices + y->first_index,
                   x->index_count * sizeof(uint64_t)) == 0);
}

/* What puts samples together computes nothing: what differs there was made elsewhere. */
static bool is_putting_together(const fb_site *site)
{
    return site->op != NULL && (strcmp(site->op, "stack") == 0 || strcmp(site->op, "cat") == 0);
}

/* What a dataset computes differs where it is asked for other samples, and a batch names none of
 * it: then the batch is the first difference. */
static void blame_sample(fb__culprit *out, place *best, const fb__guilt *g)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    const size_t from = out->a != NULL ? best->own : best->behind;

    if (!is_outside_modules((out->a != NULL ? out->a : out->b)->site))
        return;
    for (size_t i = from > 0 ? from - 1 : 0; i < a->count; i++) {
        const fb__step_event *e = &a->events[i];
        const bool counts = (g->a[i] & FB__COUNTS) != 0;

        if (e->site->kind == FB_KIND_SAMPLE && counts) {
            const fb__step_event *partner = e->partner == NONE ? NULL : &b->events[e->partner];

            if (partner != NULL && same_samples(g->pair, e, partner) &&
                !is_putting_together((out->a != NULL ? out->a : out->b)->site))
                return; /* other contents of the same samples: made where they differ */
            out->a = e;
            out->b = partner;
            out->what = partner == NULL ? FB_DIFF_ONLY_A : FB_DIFF_CONTENT;
            *best = (place){i + 1, 0, i};
            return;
        }
        if (counts && !is_outside_modules(e->site))
            return;
    }
}

static bool is_numbers(const fb__step_event *e)
{
    return e->site->kind == FB_KIND_DRAW && e->count > 0 && e->site->stream != NULL;
}

/* The last draw of a generator's numbers before `end`, where the other side lacks it; NULL: it does
 * not, or there is none. */
static const fb__step_event *lone_draw(const fb__step *step, const uint16_t *marks,
                                       const fb__step_event *end)
{
    for (const fb__step_event *e = end; e-- > step->events;)
        if (is_numbers(e) && strcmp(e->site->stream, end->site->stream) == 0)
            return e->partner == NONE && (marks[e - step->events] & FB__COUNTS) != 0 ? e : NULL;
    return NULL;
}

/* A draw from another state is blamed on the one before it, where one side alone has that. */
static void blame_draw(fb__culprit *out, place *best, const fb__guilt *g)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    const fb__step_event *in_a, *in_b;

    if (out->a == NULL || out->b == NULL || !is_numbers(out->a) || !is_numbers(out->b) ||
        out->a->stream_key == out->b->stream_key)
        return;
    in_a = lone_draw(a, g->a, out->a);
    in_b = lone_draw(b, g->b, out->b);
    if ((in_a == NULL) == (in_b == NULL))
        return;
    out->a = in_a;
    out->b = in_b;
    out->what = in_a != NULL ? FB_DIFF_ONLY_A : FB_DIFF_ONLY_B;
    *best = in_a == NULL
                ? place_in_b(b, in_b)
                : (place){(uint64_t)(in_a - a->events) + 1, 0, (uint64_t)(in_a - a->events)};
}

/* The last equal event before the culprit, and how many equal ones follow. */
static void look_around(fb__culprit *out, const fb__step *a, place best)
{
    const uint64_t here = out->a != NULL ? best.own : best.behind;

    if (a->has_last_equal) {
        out->has_previous = true;
        out->previous = a->last_equal;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!a->events[i].equal)
            continue;
        if (i < here) {
            out->has_previous = true;
            fb__step_event_name(&out->previous, a, &a->events[i]);
        } else {
            out->later_equal++;
        }
    }
}

/* A seed, where a generator stands, or a draw with the tensor that took it and that nothing reads:
 * it moves a generator, and no more. Who took a draw that no tensor names is not known. */
static bool moves_generator(const fb__step *step, const fb__key_index *index,
                            const fb__step_event *e, uint16_t mark)
{
    if (e->site->kind == FB_KIND_DRAW)
        return (mark & FB__READ) != 0 || fb__is_generator_state(e->site);
    if (e->site->kind == FB_KIND_SEED)
        return true;
    if (e->site->kind != FB_KIND_TENSOR || e->input_count == 0 || (mark & FB__READ) != 0)
        return false;
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at = fb__key_index_find(index, step, step->inputs[e->first_input + k]);

        if (at == NONE || step->events[at].site->kind != FB_KIND_DRAW)
            return false;
    }
    return true;
}

/* Whether it is told where generators stand at the end of the step: then a seed that was put back
 * is known to be. */
static bool tells_states(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++)
        if (fb__is_generator_state(step->events[i].site))
            return true;
    return false;
}

/* known: what a seed does would show. Else it may have been used at once. */
static bool only_generators(const fb__step *step, const fb__key_index *index, const uint16_t *marks,
                            bool known)
{
    for (size_t i = 0; i < step->count; i++)
        if ((marks[i] & FB__COUNTS) != 0 &&
            ((!known && step->events[i].site->kind == FB_KIND_SEED) ||
             !moves_generator(step, index, &step->events[i], marks[i])))
            return false;
    return true;
}

/* Whether later steps may take what generators have given here: an order of which they take their
 * share; whatever is drawn from a generator whose draws are not recorded. A DataLoader draws a
 * single number for its workers. */
static bool may_be_used_later(const fb__step *step, const uint16_t *marks)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb_site *site = step->events[i].site;

        if ((marks[i] & FB__COUNTS) == 0)
            continue;
        if (site->kind == FB_KIND_SEED || (site->kind == FB_KIND_TENSOR && site->rank > 0) ||
            (site->kind == FB_KIND_DRAW &&
             (site->stream == NULL || strncmp(site->stream, "torch", 5) != 0)))
            return true;
    }
    return false;
}

static bool reads_other_draw(const fb__step *step, const fb__key_index *index,
                             const uint16_t *marks, const fb__step_event *e)
{
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at = fb__key_index_find(index, step, step->inputs[e->first_input + k]);

        if (at != NONE && step->events[at].site->kind == FB_KIND_DRAW &&
            (marks[at] & FB__DIFFERS) != 0)
            return true;
    }
    return false;
}

/* Whether numbers of a generator that differ reach what counts: a tensor that something reads; or
 * samples and what enters from outside, as numbers that are drawn where nothing is recorded do. */
static bool uses_draws(const fb__step *step, const fb__key_index *index, const uint16_t *marks)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if ((marks[i] & FB__COUNTS) == 0)
            continue;
        if (e->site->kind == FB_KIND_SAMPLE || (marks[i] & FB__OUTSIDE) != 0)
            return true;
        if (e->site->kind == FB_KIND_TENSOR && (marks[i] & FB__READ) != 0 &&
            reads_other_draw(step, index, marks, e))
            return true;
    }
    return false;
}

fb_status fb__judge(fb__judgement *judgement, const fb__step_pair *pair, const fb__earlier *wanted,
                    fb_error *err)
{
    fb__culprit *out = &judgement->culprit;
    fb__step_notes *notes = &judgement->notes;
    const bool ops = (pair->classes & 1u << FB_CLASS_OPS) != 0; /* else the file's order decides */
    place best = {0, 0, 0};
    fb__guilt guilt;
    fb_status status;

    *judgement = (fb__judgement){0};
    status = fb__guilt_find(&guilt, pair, wanted, err);
    if (status == FB_OK)
        status = collect(notes, &guilt, err);
    for (int how = ops ? ROOTS : ALL_ROOTS; how <= ANY && status == FB_OK && !out->found; how++)
        find(out, &best, &guilt, (search)how);
    if (status == FB_OK && out->found) {
        const bool known =
            ops || guilt.trailing || (tells_states(&pair->a) && tells_states(&pair->b));

        out->only_generators = only_generators(&pair->a, &guilt.in_a, guilt.a, known) &&
                               only_generators(&pair->b, &guilt.in_b, guilt.b, known);
        out->used_later =
            may_be_used_later(&pair->a, guilt.a) || may_be_used_later(&pair->b, guilt.b);
        out->uses_draws = !ops || uses_draws(&pair->a, &guilt.in_a, guilt.a) ||
                          uses_draws(&pair->b, &guilt.in_b, guilt.b);
        blame_reset(out, &best, &guilt);
        blame_draw(out, &best, &guilt);
        blame_sample(out, &best, &guilt);
        status = blame_forward(out, &best, &guilt, err);
        if (status == FB_OK)
            status = blame_hidden(out, &best, &guilt, err);
        leave_out(notes, out->a);
        leave_out(notes, out->b);
        look_around(out, &pair->a, best);
    }
    if (status == FB_OK && out->found)
        status = fb__earlier_collect(&judgement->reads, &guilt, err);
    fb__guilt_free(&guilt);
    return status;
}

void fb__judgement_free(fb__judgement *judgement)
{
    free(judgement->notes.at);
    free(judgement->reads.keys);
    *judgement = (fb__judgement){0};
}
