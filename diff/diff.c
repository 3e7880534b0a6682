/* SPDX-License-Identifier: Apache-2.0
 *
 * diff.c - the course of a comparison: headers, chains, one step, its culprit, the cause.
 */
#include "diff/diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/align/align.h"
#include "diff/cause/causes.h"
#include "diff/read/chains.h"
#include "diff/diff_notes.h"
#include "diff/judge/first_event.h"
#include "diff/read/headers.h"
#include "diff/judge/judge.h"
#include "diff/next_command.h"
#include "diff/parts.h"
#include "diff/read/recorded_values.h"
#include "diff/align/resume.h"
#include "diff/align/resumed.h"
#include "diff/read/scope.h"
#include "diff/rounding/rounding.h"
#include "diff/read/step_events.h"
#include "diff/read/values.h"

static const uint32_t state_classes =
    1u << FB_CLASS_SCALARS | 1u << FB_CLASS_DATA | 1u << FB_CLASS_STATE | 1u << FB_CLASS_OPS;

typedef struct comparison {
    fb_diff_report *report;
    const fb_diff_options *options;
    fb_trace *a, *b;
    fb__headers headers;
    fb__chains chains;
    fb__noted noted;
    bool judged; /* the verdict is there */
} comparison;

const char *fb_diff_verdict_name(fb_diff_verdict verdict)
{
    static const char *const names[] = {"same", "rounding", "differ", "undecidable"};
    return names[verdict];
}

static fb_status undecidable(comparison *c, fb_error *err, const char *why)
{
    c->judged = true;
    c->report->verdict = FB_DIFF_UNDECIDABLE;
    free(c->report->why);
    c->report->why = strdup(why);
    return c->report->why != NULL ? FB_OK
                                  : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

/* --- Opening ---------------------------------------------------------------------------------- */

static fb_status open_one(fb_trace **out, const char *path, fb_error *err)
{
    const fb_trace_info *info;
    const fb_status status = fb_trace_open(out, path, err);

    if (status != FB_OK)
        return status;
    info = fb_trace_get_info(*out);
    if (info->status == FB_TRACE_CORRUPT)
        return fb__fail(err, FB_E_CORRUPT, info->damage, "%s: corrupt at byte %" PRIu64, path,
                        info->damage);
    return FB_OK;
}

static fb_status open_both(comparison *c, const char *a, const char *b, fb_error *err)
{
    fb_diff_report *r = c->report;
    fb_status status;

    r->name_a = strdup(a);
    r->name_b = strdup(b);
    if (r->name_a == NULL || r->name_b == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    status = open_one(&c->a, a, err);
    if (status == FB_OK)
        status = open_one(&c->b, b, err);
    if (status == FB_OK)
        status = fb__headers_compare(&c->headers, r, c->a, c->b, err);
    r->engine = c->headers.a.configuration != NULL && c->headers.b.configuration != NULL;
    if (status == FB_OK)
        fb__chains_open(&c->chains, c->a, c->b, fb__resume_point(&c->headers));
    return status;
}

/* Classes whose chains have begun on both sides, and the range of steps. */
static fb_status find_scope(comparison *c, fb_error *err)
{
    const fb_trace_info *ia = fb_trace_get_info(c->a), *ib = fb_trace_get_info(c->b);
    fb_diff_report *r = c->report;
    const fb__chains_slot *slot;
    fb_status status;

    r->level_a = ia->level;
    r->level_b = ib->level;
    r->status_a = ia->status;
    r->status_b = ib->status;
    r->events_a = ia->events;
    r->events_b = ib->events;
    r->has_steps = c->chains.any;
    r->first_step = c->chains.first;
    r->last_step = c->chains.last;
    if (!c->chains.any)
        return FB_OK;
    status = fb__chains_step(&slot, &c->chains, c->chains.last, err);
    for (int k = 0; status == FB_OK && slot != NULL && k < FB_CLASS_COUNT; k++)
        if (!fb_hash_is_zero(slot->a.chain[k]) && !fb_hash_is_zero(slot->b.chain[k]))
            r->classes |= 1u << k;
    if (status == FB_OK && (ia->first_step < c->chains.first || ib->first_step < c->chains.first))
        status = fb__list_add(&r->left_out, err, "steps before %" PRIu64 "%s", c->chains.first,
                              fb__resume_point(&c->headers) > 0
                                  ? " (one side goes on from a checkpoint there)"
                                  : " (one side lacks them)");
    for (int k = 0; status == FB_OK && k < FB_CLASS_NOTES; k++)
        if (slot != NULL && (r->classes & 1u << k) == 0 &&
            (!fb_hash_is_zero(slot->a.chain[k]) || !fb_hash_is_zero(slot->b.chain[k])))
            status = fb__list_add(&r->left_out, err, "class %s (only %s has it)",
                                  fb_class_name((fb_class)k),
                                  fb_hash_is_zero(slot->a.chain[k]) ? "b" : "a");
    return status;
}

/* --- The divergent event ---------------------------------------------------------------------- */

/* Both runs were replayed, each as it was recorded, and agree: what differs in their environments
 * did not do it. */
static bool is_environment_cleared(const fb__values *v)
{
    return v->a.as_recorded && v->b.as_recorded && v->a.tensor.hash.lo == v->b.tensor.hash.lo &&
           v->a.tensor.hash.hi == v->b.tensor.hash.hi && v->a.tensor.data != NULL;
}

static fb_status blame(comparison *c, const fb__step_pair *pair, fb__culprit *culprit,
                       uint64_t step, fb_error *err)
{
    fb_diff_report *r = c->report;
    fb__values values;
    fb_status status;

    c->judged = true;
    r->verdict = FB_DIFF_DIFFER;
    fb__first_event_fill(r, pair, culprit, step, !c->options->no_stacks);
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
static uint64_t promote(const comparison *c, fb__culprit *culprit, uint64_t step)
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

static void set_equal_through(comparison *c, uint64_t step)
{
    c->report->has_equal_through = c->chains.any && step > c->chains.first;
    c->report->equal_through = c->report->has_equal_through ? step - 1 : 0;
}

static uint64_t events_before(const fb__chains_slot *slot, const fb__chains_slot *first)
{
    return slot->a.first_event - first->a.first_event;
}

static fb_status count_aligned(comparison *c, uint64_t step, const fb__alignment *alignment,
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

/* What a step without a culprit means: notes, or a contradiction. */
static fb_status judge_innocent_step(comparison *c, const fb__step_pair *pair,
                                     const fb__step_notes *notes, bool roots_differ, fb_error *err)
{
    if (pair->a.truncated || pair->b.truncated)
        return undecidable(c, err, "a step has more events than can be aligned in bounded memory");
    if (roots_differ && notes->count == 0 && !pair->a.renamed && !pair->b.renamed)
        return undecidable(c, err,
                           "the roots of a step differ, its events do not: run firstbit "
                           "verify on both traces");
    return fb__note_step(&c->noted, c->report, pair, notes, err);
}

/* Whether the sides have nothing in common here, where that says something: at the start, or of
 * more than the few events that stand behind the last update of a run. */
static bool is_foreign(const comparison *c, const fb__step_pair *pair,
                       const fb__alignment *alignment)
{
    enum { FEW = 16 };

    if (alignment->aligned > 0 || pair->common > 0 || pair->a.count == 0 || pair->b.count == 0)
        return false;
    return c->report->aligned == 0 || pair->a.count > FEW || pair->b.count > FEW;
}

/* Loads, aligns and judges one step. roots_differ: it is known that something differs. */
static fb_status judge_step(comparison *c, uint64_t step, uint32_t classes, bool roots_differ,
                            fb_error *err)
{
    fb__step_pair pair;
    fb__alignment alignment = {0};
    fb__culprit culprit = {0};
    fb__step_notes notes = {0};
    fb_status status = fb__step_pair_load(&pair, c->a, c->b, step, classes, err);

    if (status == FB_OK)
        status = fb__align(&alignment, &pair, err);
    if (status == FB_OK)
        status = fb__judge(&culprit, &notes, &pair, err);
    if (status == FB_OK && (culprit.found || roots_differ))
        status = count_aligned(c, step, &alignment, err);
    if (status == FB_OK) {
        if (is_foreign(c, &pair, &alignment))
            status = undecidable(c, err, "no event of the first differing step could be aligned");
        else if (culprit.found) {
            const uint64_t at = promote(c, &culprit, step);

            set_equal_through(c, at);
            status = blame(c, &pair, &culprit, at, err);
        } else
            status = judge_innocent_step(c, &pair, &notes, roots_differ, err);
    }
    fb__step_notes_free(&notes);
    fb__step_pair_free(&pair);
    return status;
}

/* --- Resumed runs ----------------------------------------------------------------------------- */

/* A run that went on from a checkpoint must have loaded what the other had at that step. */
static fb_status check_resume(comparison *c, fb_error *err)
{
    fb_override_use use;
    bool in_b;
    fb__resume_difference d;
    fb_status status = fb__resume_compare(&d, c->a, c->b, &c->headers, err);

    if (status != FB_OK || !d.found)
        return status;
    c->judged = true;
    c->report->verdict = FB_DIFF_DIFFER;
    c->report->has_first = true;
    c->report->first = (fb_diff_first){.what = FB_DIFF_CONTENT,
                                       .name = d.name,
                                       .number_a = d.number_a,
                                       .number_b = d.number_b,
                                       .dtype = d.dtype};
    c->report->has_cause = true;
    c->report->cause.name = "checkpoint-resume";
    fb__say(&c->report->cause, "%s loads another %s of %s than %s has after step %" PRIu64,
            d.resumed_is_b ? "b" : "a", fb_slot_word(d.name.slot), d.name.path,
            d.resumed_is_b ? "a" : "b", d.name.step);
    fb__say_fix(&c->report->cause, "resume from the checkpoint of step %" PRIu64 " of that run",
                d.name.step);
    (void)fb__try_bank(&c->report->cause, &use, &in_b,
                       &(fb__case){.report = c->report,
                                   .options = c->options,
                                   .headers = &c->headers,
                                   .values = &(fb__values){.tried = false}});
    return c->report->cause.text != NULL && c->report->cause.fix != NULL
               ? FB_OK
               : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

/* A recorded program that was resumed in a process of its own counts its steps from 1 again. */
static fb_status check_resumed(comparison *c, fb_error *err)
{
    fb_diff_report *r = c->report;
    fb__resumed d;
    fb_status status;

    if (c->headers.a.configuration != NULL || c->headers.b.configuration != NULL || !c->chains.any)
        return FB_OK;
    status = fb__resumed_compare(&d, c->a, c->b, err);
    if (status != FB_OK || !d.found)
        return status;
    c->judged = true;
    r->aligned = d.compared;
    r->unaligned = d.unmatched;
    r->has_equal_through = true;
    r->equal_through = d.from + d.steps;
    status = fb__list_add(&r->left_out, err,
                          "steps before %" PRIu64 " of %s (%s goes on from there), and events "
                          "that are no tensor, draw or scalar",
                          d.from + 1, d.is_b ? "a" : "b", d.is_b ? "b" : "a");
    if (status != FB_OK)
        return status;
    if (d.item == FB__RESUMED_EQUAL && d.compared == 0)
        return undecidable(c, err, "a resumed run, of whose steps nothing could be compared");
    r->verdict = FB_DIFF_SAME;
    if (d.item == FB__RESUMED_EQUAL)
        return FB_OK;
    r->verdict = FB_DIFF_DIFFER;
    r->has_first = true;
    r->first = (fb_diff_first){.what = FB_DIFF_CONTENT,
                               .name = d.name,
                               .number_a = d.number_a,
                               .number_b = d.number_b,
                               .dtype = d.dtype};
    fb__say_resumed(r, &d);
    return r->cause.text != NULL && r->cause.fix != NULL
               ? FB_OK
               : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

/* --- All steps -------------------------------------------------------------------------------- */

typedef struct next_step {
    bool found[FB_CLASS_COUNT];
    uint64_t step[FB_CLASS_COUNT];
} next_step;

static bool earliest(uint64_t *step, const next_step *next)
{
    bool any = false;

    for (int k = 0; k < FB_CLASS_NOTES; k++)
        if (next->found[k] && (!any || next->step[k] < *step)) {
            *step = next->step[k];
            any = true;
        }
    return any;
}

/* Goes from one differing step to the next until one of them has a culprit. */
static fb_status search(comparison *c, fb_error *err)
{
    next_step next = {{false}, {0}};
    fb_status status = FB_OK;
    uint64_t step = 0;

    for (int k = 0; k < FB_CLASS_NOTES && status == FB_OK; k++)
        if ((c->report->classes & 1u << k) != 0)
            status = fb__chains_first(&next.found[k], &next.step[k], &c->chains, (fb_class)k,
                                      c->chains.first, true, err);
    while (status == FB_OK && !c->judged && earliest(&step, &next)) {
        uint32_t classes;

        status = fb__chains_common(&classes, &c->chains, step, err);
        if (status == FB_OK)
            status = judge_step(c, step, classes & state_classes, true, err);
        for (int k = 0; k < FB_CLASS_NOTES && status == FB_OK && !c->judged; k++)
            if (next.found[k] && next.step[k] == step)
                status = fb__chains_first(&next.found[k], &next.step[k], &c->chains, (fb_class)k,
                                          step + 1, false, err);
    }
    return status;
}

/* The events behind the last finished step of a torn trace have no root: compared one by one. */
static fb_status search_tail(comparison *c, fb_error *err)
{
    const fb_trace_info *ia = fb_trace_get_info(c->a), *ib = fb_trace_get_info(c->b);
    const uint32_t classes =
        fb_level_classes(ia->level) & fb_level_classes(ib->level) & state_classes;
    const uint64_t next_a = ia->steps > 0 ? ia->last_step + 1 : ia->first_step;
    const uint64_t next_b = ib->steps > 0 ? ib->last_step + 1 : ib->first_step;
    const uint64_t step = next_a < next_b ? next_a : next_b;
    const bool torn = (ia->status != FB_TRACE_COMPLETE && next_a == step) ||
                      (ib->status != FB_TRACE_COMPLETE && next_b == step);

    if (!torn || classes == 0)
        return FB_OK;
    return judge_step(c, step, classes, false, err);
}

/* --- The verdict without a difference --------------------------------------------------------- */

static fb_status count_equal(comparison *c, fb_error *err)
{
    const fb__chains_slot *slot;
    uint64_t a = 0, b = 0;
    fb_status status = fb__chains_step(&slot, &c->chains, c->chains.last, err);

    if (status == FB_OK && slot != NULL) {
        a = slot->a.first_event + slot->a.events;
        b = slot->b.first_event + slot->b.events;
        status = fb__chains_step(&slot, &c->chains, c->chains.first, err);
        if (status == FB_OK && slot != NULL) {
            a -= slot->a.first_event;
            b -= slot->b.first_event;
        }
    }
    c->report->aligned = a < b ? a : b;
    c->report->unaligned = a < b ? b - a : a - b;
    return status;
}

/* Which trace ends early or first, in words; "" where both end alike and whole. */
static void say_end(char *out, size_t size, const comparison *c)
{
    const fb_trace_info *ia = fb_trace_get_info(c->a), *ib = fb_trace_get_info(c->b);
    const bool torn_a = ia->status != FB_TRACE_COMPLETE, torn_b = ib->status != FB_TRACE_COMPLETE;
    const uint64_t through = c->chains.last;

    if (torn_a && torn_b)
        (void)snprintf(out, size, "both traces end early; equal through step %" PRIu64, through);
    else if (torn_a || torn_b)
        (void)snprintf(out, size, "%s is %s; equal through step %" PRIu64, torn_a ? "a" : "b",
                       fb_trace_status_name(torn_a ? ia->status : ib->status), through);
    else if (ia->last_step != ib->last_step)
        (void)snprintf(out, size, "%s ends first; equal through step %" PRIu64,
                       ia->last_step < ib->last_step ? "a" : "b", through);
    else
        out[0] = '\0';
}

/* With a reader of its own, which gives back what it had to remember: of both traces at once that
 * would be too much. */
static fb_status verify_alone(fb_trace_info *out, fb_diff_report *report, const char *path,
                              fb_error *err)
{
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    status = fb_trace_verify(out, t, NULL, NULL, err);
    report->bytes_read += fb_trace_bytes_read(t);
    fb_trace_close(t);
    return status;
}

/* Equal chains speak for the events that they were made from. That these are the events in the file
 * takes reading all of it, which a comparison of large traces is spared: the report says so. */
static fb_status check_integrity(comparison *c, fb_error *err)
{
    enum { CHECKED_MAX = 32 << 20 }; /* bytes: 1.6 million events, some 0.4 s a trace */
    fb_trace *const traces[2] = {c->a, c->b};
    fb_status status = FB_OK;

    for (int side = 0; side < 2 && status == FB_OK && !c->options->no_verify; side++) {
        const char *name = side == 0 ? c->report->name_a : c->report->name_b;
        fb_trace_info info;

        if (fb_trace_get_info(traces[side])->bytes > CHECKED_MAX) {
            status = fb__list_add(&c->report->left_out, err,
                                  "integrity of %s (firstbit verify reads all of it)", name);
            continue;
        }
        status = verify_alone(&info, c->report, name, err);
        if (status == FB_OK && info.status == FB_TRACE_CORRUPT)
            status = fb__fail(err, FB_E_CORRUPT, info.damage, "%s: corrupt at byte %" PRIu64, name,
                              info.damage);
    }
    return status;
}

/* With --strict the first note is the difference. */
static void judge_notes(comparison *c)
{
    fb_diff_report *r = c->report;

    r->verdict = FB_DIFF_DIFFER;
    r->has_first = true;
    r->first = (fb_diff_first){.what = c->noted.first_what,
                               .number_a = UINT64_MAX,
                               .number_b = UINT64_MAX,
                               .name = c->noted.first};
}

static fb_status judge_equal(comparison *c, fb_error *err)
{
    fb_diff_report *r = c->report;
    char end[128];
    fb_status status;

    if (!c->chains.any)
        return undecidable(c, err, "there is no step that both traces have finished");
    if ((r->classes & state_classes) == 0)
        return undecidable(c, err, "the traces have no class of events in common");
    status = check_integrity(c, err);
    if (status == FB_OK)
        status = count_equal(c, err);
    if (status == FB_OK)
        status = fb__note_class(&c->noted, r, &c->chains, err);
    if (status != FB_OK)
        return status;
    r->has_equal_through = true;
    r->equal_through = c->chains.last;
    r->verdict = FB_DIFF_SAME;
    say_end(end, sizeof end, c);
    if (c->options->strict && c->noted.has_first)
        judge_notes(c);
    else if (end[0] != '\0' && !c->options->prefix)
        status = undecidable(c, err, end);
    else if (end[0] != '\0')
        status = fb__list_add(&r->left_out, err, "%s", end);
    return status;
}

/* Other frameworks, kernels or names: judged by other rules, where both have steps. */
static fb_status compare_by_rounding(comparison *c, fb_error *err)
{
    bool applies = false;
    fb_status status;

    if (!c->chains.any)
        return FB_OK;
    status = fb__rounding_applies(&applies, c->report, c->options, &c->headers, c->a, c->b, err);
    if (status == FB_OK && applies) {
        c->judged = true;
        status = fb__rounding_compare(c->report, c->options, &c->headers, c->a, c->b,
                                      c->chains.first, c->chains.last, err);
        if (status == FB_OK && c->report->verdict != FB_DIFF_DIFFER)
            status = check_integrity(c, err);
    }
    return status;
}

static fb_status compare(comparison *c, const char *a, const char *b, fb_error *err)
{
    fb_status status = open_both(c, a, b, err);

    if (status == FB_OK)
        status = find_scope(c, err);
    if (status == FB_OK)
        status = check_resumed(c, err);
    if (status == FB_OK && !c->judged)
        status = compare_by_rounding(c, err);
    if (status == FB_OK && !c->judged)
        status = check_resume(c, err);
    if (status == FB_OK && !c->judged && c->chains.any)
        status = search(c, err);
    if (status == FB_OK && !c->judged)
        status = search_tail(c, err);
    if (status == FB_OK && !c->judged)
        status = judge_equal(c, err);
    if (status == FB_OK)
        status = fb__scope_depth(&c->report->depth, &c->headers, c->chains.last, err);
    if (status == FB_OK)
        status = fb__next_command(c->report, &c->headers, err);
    if (c->noted.lines > c->report->notes.count && status == FB_OK)
        status = fb__list_add(&c->report->notes, err, "and %" PRIu64 " more",
                              c->noted.lines - c->report->notes.count);
    if (c->a != NULL && c->b != NULL)
        c->report->bytes_read += fb_trace_bytes_read(c->a) + fb_trace_bytes_read(c->b);
    return status;
}

fb_status fb__diff_files(fb_diff_report *out, const char *a, const char *b,
                         const fb_diff_options *options, fb_error *err)
{
    comparison *c = calloc(1, sizeof *c);
    fb_status status;

    *out = (fb_diff_report){0};
    if (c == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    c->report = out;
    c->options = options;
    status = compare(c, a, b, err);
    fb__headers_free(&c->headers);
    fb_trace_close(c->a);
    fb_trace_close(c->b);
    free(c);
    if (status == FB_OK)
        status = fb__rounding_recheck(out, a, b, options, err);
    if (status != FB_OK)
        fb_diff_report_free(out);
    return status;
}

fb_status fb_diff(fb_diff_report *out, const char *a, const char *b, const fb_diff_options *options,
                  fb_error *err)
{
    const fb_diff_options defaults = {.size = sizeof defaults};
    const fb_diff_options *how = options != NULL ? options : &defaults;
    fb_status status = fb__diff_files(out, a, b, how, err);

    if (status != FB_OK)
        return status;
    status = fb__diff_parts(out, how, err);
    if (status != FB_OK)
        fb_diff_report_free(out);
    return status;
}

static void free_list(fb_diff_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->at[i]);
    free(list->at);
}

void fb__candidates_free(fb_diff_report *report)
{
    for (size_t i = 0; i < report->candidate_count; i++) {
        free(report->candidates[i].key);
        free(report->candidates[i].a);
        free(report->candidates[i].b);
    }
    free(report->candidates);
    report->candidates = NULL;
    report->candidate_count = 0;
}

static void free_parts(fb_diff_report *report)
{
    for (size_t i = 0; i < report->part_count; i++) {
        free(report->parts[i].a);
        free(report->parts[i].b);
        free(report->parts[i].why);
    }
    free(report->parts);
}

void fb_diff_report_free(fb_diff_report *report)
{
    fb__candidates_free(report);
    free_parts(report);
    free_list(&report->left_out);
    free_list(&report->expected);
    free_list(&report->notes);
    free_list(&report->rounding.unpaired_a);
    free_list(&report->rounding.unpaired_b);
    free_list(&report->rounding.pairs);
    free(report->name_a);
    free(report->name_b);
    free(report->first.stack_a);
    free(report->first.stack_b);
    free(report->cause.text);
    free(report->cause.fix);
    for (size_t i = 0; i < report->guess_count; i++) {
        free(report->guesses[i].text);
        free(report->guesses[i].fix);
    }
    free(report->why);
    free(report->next);
    free(report->depth);
    *report = (fb_diff_report){0};
}
