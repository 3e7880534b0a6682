/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_step.c - one step of a comparison: aligned and judged, its culprit blamed, the cause found.
 */
#include "diff/comparison.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "diff/align/align.h"
#include "diff/cause/causes.h"
#include "diff/judge/first_event.h"
#include "diff/judge/judge.h"
#include "diff/judge/run_end.h"
#include "diff/judge/update_order.h"
#include "diff/read/recorded_values.h"
#include "diff/read/step_events.h"
#include "diff/read/values.h"
#include "diff/rounding/proof.h"
#include "diff/rounding/rounding.h"

/* --- The divergent event ---------------------------------------------------------------------- */

/* Both runs were replayed, each as it was recorded, and agree: what differs in their environments
 * did not do it. */
static bool is_environment_cleared(const fb__values *v)
{
    return v->a.as_recorded && v->b.as_recorded && v->a.tensor.hash.lo == v->b.tensor.hash.lo &&
           v->a.tensor.hash.hi == v->b.tensor.hash.hi && v->a.tensor.data != NULL;
}

/* What operations on no record have computed: they are to be recorded. */
static fb_status ask_for_window(fb_diff_report *r, fb__window window, fb_error *err)
{
    if (asprintf(&r->window_steps, "%" PRIu64 ":%" PRIu64, window.first, window.last) >= 0)
        return FB_OK;
    r->window_steps = NULL;
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

static fb_status blame(fb__comparison *c, const fb__step_pair *pair, fb__culprit *culprit,
                       uint64_t step, fb_error *err)
{
    fb_diff_report *r = c->report;
    fb__values values;
    fb_status status;

    c->judged = true;
    r->verdict = FB_DIFF_DIFFER;
    fb__first_event_fill(r, pair, culprit, step, !c->options->no_stacks);
    fb__tell_places(&r->first, culprit);
    status = fb__values_find(&values, r, &c->headers, c->options, err);
    if (status == FB_OK)
        status = fb__recorded_values_find(&r->first, c->a, c->b, err);
    if (status == FB_OK) {
        const fb__case k = {.report = r,
                            .options = c->options,
                            .headers = &c->headers,
                            .pair = pair,
                            .culprit = culprit,
                            .values = &values};

        r->environment_cleared = is_environment_cleared(&values);
        status = fb__find_cause(r, &k, err);
        r->has_cause = status == FB_OK;
        if (status == FB_OK && fb__is_out_of_sight(&k))
            status = ask_for_window(r, fb__window_of(&k), err);
        if (status == FB_OK)
            status = fb__proof_find(r, c->a, c->b, err);
        if (status == FB_OK)
            status = fb__rounding_measure_first(r, c->a, c->b, err);
        if (status == FB_OK)
            status = fb__rounding_claim(r, c->options, &c->headers, c->a, c->b, err);
    }
    if (status == FB_OK && values.failure.status != FB_OK)
        status = fb__list_add(&r->left_out, err, "values: no replay: %s", values.failure.text);
    fb__values_free(&values);
    return status;
}

/* A draw that reached nothing in its own step, and moved its generator for a later one; or a seed.
 */
static uint64_t promote(const fb__comparison *c, fb__culprit *culprit, uint64_t step)
{
    const fb__noted_draw *draw;
    const fb_site *site;

    if (culprit->a == NULL || culprit->b == NULL)
        return step;
    site = culprit->a->site;
    if (site->kind != FB_KIND_DRAW && site->kind != FB_KIND_SAMPLE)
        return step;
    /* What Python's and NumPy's generators draw is not recorded: it shows in the samples. */
    draw = fb__noted_draw_of(
        &c->noted, site->kind == FB_KIND_DRAW && site->stream != NULL ? site->stream : NULL);
    if (draw == NULL)
        return step;
    culprit->what = draw->in_b ? FB_DIFF_ONLY_B : FB_DIFF_ONLY_A;
    culprit->a = draw->in_b ? NULL : &draw->event;
    culprit->b = draw->in_b ? &draw->event : NULL;
    culprit->has_previous = false;
    return draw->step;
}

/* --- One step --------------------------------------------------------------------------------- */

static void set_equal_through(fb__comparison *c, uint64_t step)
{
    c->report->has_equal_through = c->chains.any && step > c->chains.first;
    c->report->equal_through = c->report->has_equal_through ? step - 1 : 0;
}

static uint64_t events_before(const fb__chains_slot *slot, const fb__chains_slot *first)
{
    return slot->a.first_event - first->a.first_event;
}

static fb_status count_aligned(fb__comparison *c, uint64_t step, const fb__alignment *alignment,
                               fb_error *err)
{
    const fb__chains_slot *slot;
    fb__chains_slot first = {0};
    fb_status status = FB_OK;

    c->report->aligned = alignment->aligned;
    c->report->unaligned = alignment->only_a + alignment->only_b;
    if (!c->chains.any || step <= c->chains.first)
        return FB_OK;
    status = fb__chains_step(&slot, &c->chains, c->chains.first, err);
    if (status == FB_OK && slot != NULL) {
        first = *slot;
        status = fb__chains_step(&slot, &c->chains, step, err);
        if (status == FB_OK && slot != NULL)
            c->report->aligned += events_before(slot, &first);
    }
    return status;
}

fb_status fb__blame(fb__comparison *c, const fb__step_pair *pair, fb__culprit *culprit,
                    const fb__alignment *alignment, uint64_t step, fb_error *err)
{
    fb_status status = count_aligned(c, step, alignment, err);

    set_equal_through(c, step);
    return status == FB_OK ? blame(c, pair, culprit, step, err) : status;
}

/* What a step without a culprit means: notes, or where nothing explains why its roots differ a
 * contradiction. */
static fb_status judge_innocent_step(fb__comparison *c, const fb__step_pair *pair,
                                     const fb__step_notes *notes, bool is_contradiction,
                                     fb_error *err)
{
    if (pair->a.truncated || pair->b.truncated)
        return fb__undecidable(c, err,
                               "a step has more events than can be aligned in bounded memory");
    if (is_contradiction && notes->count == 0 && !pair->a.renamed && !pair->b.renamed)
        return fb__undecidable(c, err,
                               "the roots of a step differ, its events do not: run firstbit "
                               "verify on both traces");
    return fb__note_step(&c->noted, c->report, pair, notes, err);
}

/* Whether the sides have nothing in common here, where that says something: at the start, or of
 * more than the few events that stand behind the last update of a run. */
static bool is_foreign(const fb__comparison *c, const fb__step_pair *pair,
                       const fb__alignment *alignment)
{
    enum { FEW = 16 };

    if (alignment->aligned > 0 || pair->common > 0 || pair->a.count == 0 || pair->b.count == 0)
        return false;
    return c->report->aligned == 0 || pair->a.count > FEW || pair->b.count > FEW;
}

/* A step, loaded and judged. */
typedef struct judged {
    fb__step_pair pair;
    fb__alignment alignment;
    fb__judgement judgement;
    fb__run_end end; /* whether one of the runs was over here */
} judged;

/* wanted: as fb__judge. Close it in either case. */
static fb_status open_judged(judged *out, fb__comparison *c, uint64_t step, uint32_t classes,
                             const fb__earlier *wanted, fb_error *err)
{
    const uint32_t ops = 1u << FB_CLASS_OPS;
    const fb__chains_slot *slot = NULL;
    fb_status status;

    *out = (judged){.end = FB__RUN_GOES_ON};
    status = fb__step_pair_load(&out->pair, c->a, c->b, step, classes, err);
    if (status == FB_OK)
        status = fb__chains_step(&slot, &c->chains, step, err);
    if (status == FB_OK) {
        out->pair.other_depth = slot != NULL && ((slot->a.classes ^ slot->b.classes) & ops) != 0;
        out->end = fb__run_end_of(&out->pair);
        out->pair.a.cut |= out->end == FB__RUN_A_ENDED;
        out->pair.b.cut |= out->end == FB__RUN_B_ENDED;
        status = fb__align(&out->alignment, &out->pair, err);
    }
    if (status == FB_OK)
        status = fb__judge(&out->judgement, &out->pair, wanted, err);
    return status;
}

static void close_judged(judged *j)
{
    fb__judgement_free(&j->judgement);
    fb__step_pair_free(&j->pair);
}

/* As open_judged, with the classes that both sides have of a step. */
static fb_status open_noted(judged *out, fb__comparison *c, size_t at, const fb__earlier *wanted,
                            fb_error *err)
{
    const uint64_t step = c->noted.steps[at].step;
    uint32_t classes = 0;
    fb_status status = fb__chains_common(&classes, &c->chains, step, err);

    *out = (judged){0};
    return status == FB_OK ? open_judged(out, c, step, classes & FB__STATE_CLASSES, wanted, err)
                           : status;
}

/* Adds what an earlier step has read, for the steps before it. */
static fb_status join(fb__earlier *to, const fb__earlier *more, fb_error *err)
{
    fb_hash *keys = realloc(to->keys, (to->count + more->count + 1) * sizeof *keys);

    if (keys == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    memcpy(keys + to->count, more->keys, more->count * sizeof *keys);
    to->keys = keys;
    to->count += more->count;
    return FB_OK;
}

/* Of what one side alone did before the first step, numbers that a model computes with are blamed
 * there; whole numbers, a count, where they are used. */
static bool is_blamed_there(const fb__culprit *culprit, uint64_t step)
{
    const fb__step_event *e = culprit->a != NULL ? culprit->a : culprit->b;

    if (!culprit->found || step > 0 || (culprit->a != NULL && culprit->b != NULL) ||
        e->site->kind != FB_KIND_TENSOR)
        return culprit->found;
    return e->site->dtype >= FB_DTYPE_F64 && e->site->dtype <= FB_DTYPE_C128;
}

/* What differed in an earlier step and had no reader there is a note until a later step reads it
 * and differs: then the first of it is to blame. Before the first step nothing else judges what one
 * side alone has made: a copy, a cut into the weights. Of two steps at most one is held in memory.
 */
static fb_status blame_earlier(bool *found, fb__comparison *c, fb__earlier *reads, fb_error *err)
{
    size_t first = c->noted.step_count;
    fb_status status = FB_OK;
    judged j;

    for (size_t at = first; at-- > 0 && status == FB_OK;) {
        reads->alone = c->noted.steps[at].step == 0;
        status = open_noted(&j, c, at, reads, err);
        if (status == FB_OK && is_blamed_there(&j.judgement.culprit, c->noted.steps[at].step)) {
            first = at;
            status = join(reads, &j.judgement.reads, err);
        }
        close_judged(&j);
    }
    *found = first < c->noted.step_count;
    if (status != FB_OK || !*found)
        return status;
    reads->alone = c->noted.steps[first].step == 0;
    status = open_noted(&j, c, first, reads, err);
    if (status == FB_OK) {
        const uint64_t step = c->noted.steps[first].step;

        fb__notes_withdraw(&c->noted, c->report, first);
        set_equal_through(c, step);
        status = fb__note_step(&c->noted, c->report, &j.pair, &j.judgement.notes, err);
        if (status == FB_OK)
            status = count_aligned(c, step, &j.alignment, err);
        if (status == FB_OK)
            status = blame(c, &j.pair, &j.judgement.culprit, step, err);
    }
    close_judged(&j);
    return status;
}

/* Whether the step whose generators are held has given numbers to what a later step reads there. */
static fb_status find_held_use(bool *found, fb__comparison *c, fb__earlier *reads, fb_error *err)
{
    uint32_t classes = 0;
    fb_status status = fb__chains_common(&classes, &c->chains, c->held.step, err);
    judged j = {0};

    reads->alone = true;
    if (status == FB_OK)
        status = open_judged(&j, c, c->held.step, classes & FB__STATE_CLASSES, reads, err);
    *found = status == FB_OK && j.judgement.culprit.found && j.judgement.culprit.uses_draws;
    reads->alone = false;
    close_judged(&j);
    return status;
}

/* Whether the event may be made from something of an earlier step. */
static bool is_made(const fb__step_event *e)
{
    return e->site->kind == FB_KIND_TENSOR || e->site->kind == FB_KIND_PARAM ||
           e->site->kind == FB_KIND_SCALAR;
}

/* Of an update, or a gradient that one takes, which one side alone has in the step: whether the
 * other has it in the next, since its optimizers step in the other order. */
static fb_status find_other_order(fb__comparison *c, const fb__culprit *culprit, uint64_t step,
                                  fb_error *err)
{
    const fb_site *site = (culprit->a != NULL ? culprit->a : culprit->b)->site;
    fb_status status = FB_OK;

    if ((culprit->a != NULL && culprit->b != NULL) || step == 0 || c->report->engine ||
        (site->phase != FB_PHASE_OPTIMIZER && site->phase != FB_PHASE_BACKWARD))
        return FB_OK;
    status = fb__is_other_update_order(&c->order_only, c->a, c->b, step, err);
    if (status != FB_OK || !c->order_only)
        return status;
    return fb__list_add(&c->report->notes, err,
                        "the optimizers step in another order from step %" PRIu64
                        " on: each gradient and update is the same, one step earlier or later",
                        step);
}

/* What is done with a culprit: blamed at once, or where generators alone differ, later. */
static fb_status judge_culprit(fb__comparison *c, judged *j, uint64_t step, fb_error *err)
{
    const uint32_t classes = j->pair.classes;
    fb__culprit *culprit = &j->judgement.culprit;
    const bool in_b = culprit->a == NULL;
    const fb__step_event *event = in_b ? culprit->b : culprit->a;
    const bool made = is_made(event);
    bool found = false;
    fb_status status = FB_OK;
    uint64_t at;

    status = find_other_order(c, culprit, step, err);
    if (status != FB_OK || c->order_only)
        return status;
    if (c->held.tell)
        return fb__note_step(&c->noted, c->report, &j->pair,
                             &(fb__step_notes){.at = &event, .count_a = !in_b, .count = 1}, err);
    if (!c->held.blame && culprit->only_generators) {
        if (!c->held.found)
            c->held.step = step;
        c->held.used_later |= culprit->used_later;
        c->held.later += c->held.found;
        c->held.found = true;
        return FB_OK;
    }
    if (!c->held.blame && c->held.found && (c->held.used_later || culprit->uses_draws)) {
        c->held.reached = true;
        return FB_OK;
    }
    if ((c->noted.step_count > 0 || c->held.found) && j->judgement.reads.count > 0 && made) {
        fb__earlier reads = j->judgement.reads;

        j->judgement.reads = (fb__earlier){0};
        close_judged(j);
        if (c->held.found && !c->held.blame)
            status = find_held_use(&c->held.reached, c, &reads, err);
        found = c->held.reached;
        if (status == FB_OK && !found && c->noted.step_count > 0)
            status = blame_earlier(&found, c, &reads, err);
        free(reads.keys);
        if (status == FB_OK && !found)
            status = open_judged(j, c, step, classes, NULL, err);
    }
    if (status == FB_OK && !found && made && (classes & 1u << FB_CLASS_OPS) != 0)
        status = fb__judge_begin(c, step, err);
    else if (status == FB_OK && !found && made && !c->report->engine)
        status = fb__blame_suspect(c, step, err);
    if (found || c->judged || status != FB_OK)
        return status;
    at = promote(c, culprit, step);
    set_equal_through(c, at);
    return blame(c, &j->pair, culprit, at, err);
}

/* Whether the step is where one run was over. What it did behind its last update reaches nothing,
 * unless notes count, or gradients were computed there: then what both have must be equal. */
static bool is_end(const fb__comparison *c, fb__run_end end, const fb__step_pair *pair,
                   const fb__culprit *culprit)
{
    const fb__step *own = end == FB__RUN_A_ENDED ? &pair->a : &pair->b;

    return end != FB__RUN_GOES_ON && !(culprit->found && (c->options->strict || own->has_gradient));
}

static fb_status take_end(fb__comparison *c, fb__run_end end, const fb__step_pair *pair,
                          const fb__culprit *culprit, fb_error *err)
{
    const char *own = end == FB__RUN_A_ENDED ? "a" : "b";
    const fb__step_event *e = culprit->a != NULL ? culprit->a : culprit->b;
    fb_event_name name;
    char text[3 * FB_NAME_MAX + 128];

    c->ended =
        (struct fb__ended){.found = true, .is_b = end == FB__RUN_B_ENDED, .step = pair->a.step};
    if (!culprit->found || fb__is_generator_state(e->site))
        return FB_OK;
    fb__step_event_name(&name, culprit->a != NULL ? &pair->a : &pair->b, e);
    return fb__list_add(&c->report->left_out, err, "what %s does behind its last update (first %s)",
                        own, fb_event_name_text(text, sizeof text, &name));
}

fb_status fb__judge_step(fb__comparison *c, uint64_t step, uint32_t classes, bool roots_differ,
                         fb_error *err)
{
    judged j;
    fb_status status = open_judged(&j, c, step, classes, NULL, err);
    const fb__culprit *culprit = &j.judgement.culprit;

    if (status == FB_OK && (culprit->found || roots_differ))
        status = count_aligned(c, step, &j.alignment, err);
    if (status == FB_OK) {
        if (is_end(c, j.end, &j.pair, culprit))
            status = take_end(c, j.end, &j.pair, culprit, err);
        else if (is_foreign(c, &j.pair, &j.alignment))
            status =
                fb__undecidable(c, err, "no event of the first differing step could be aligned");
        else if (culprit->found)
            status = judge_culprit(c, &j, step, err);
        else
            status = judge_innocent_step(c, &j.pair, &j.judgement.notes,
                                         roots_differ && j.alignment.exchanged == 0, err);
    }
    close_judged(&j);
    return status;
}

fb_status fb__judge_held(fb__comparison *c, fb_error *err)
{
    uint32_t classes;
    fb_status status;

    if (!c->held.found || (c->judged && c->report->verdict != FB_DIFF_DIFFER))
        return FB_OK; /* beside another finding it is a note */
    c->held.blame = c->held.reached;
    c->held.tell = !c->held.reached;
    status = fb__chains_common(&classes, &c->chains, c->held.step, err);
    return status != FB_OK
               ? status
               : fb__judge_step(c, c->held.step, classes & FB__STATE_CLASSES, true, err);
}
