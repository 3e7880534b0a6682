/* SPDX-License-Identifier: Apache-2.0
 *
 * diff.c - the course of a comparison: headers, chains, from one differing step to the next, and
 * the end of its report.
 */
#include "diff/diff.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/align/resume.h"
#include "diff/comparison.h"
#include "diff/next_command.h"
#include "diff/parts.h"
#include "diff/read/scope.h"
#include "diff/rounding/rounding.h"

const char *fb_diff_verdict_name(fb_diff_verdict verdict)
{
    static const char *const names[] = {"same", "rounding", "differ", "undecidable"};
    return names[verdict];
}

fb_status fb__undecidable(fb__comparison *c, fb_error *err, const char *why)
{
    c->judged = true;
    c->report->verdict = FB_DIFF_UNDECIDABLE;
    free(c->report->why);
    c->report->why = strdup(why);
    return c->report->why != NULL ? FB_OK
                                  : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

/* --- Opening ---------------------------------------------------------------------------------- */

static fb_status open_one(fb_trace **out, const char *path, fb_trace *beside, fb_error *err)
{
    const fb_trace_info *info;
    const fb_status status = fb_trace_open_beside(out, path, beside, err);

    if (status != FB_OK)
        return status;
    info = fb_trace_get_info(*out);
    if (info->status == FB_TRACE_CORRUPT)
        return fb__fail(err, FB_E_CORRUPT, info->damage, "%s: corrupt at byte %" PRIu64, path,
                        info->damage);
    return FB_OK;
}

static fb_status open_both(fb__comparison *c, const char *a, const char *b, fb_error *err)
{
    fb_diff_report *r = c->report;
    fb_status status;

    r->name_a = strdup(a);
    r->name_b = strdup(b);
    if (r->name_a == NULL || r->name_b == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    status = open_one(&c->a, a, NULL, err);
    if (status == FB_OK)
        status = open_one(&c->b, b, c->a, err);
    if (status == FB_OK)
        status = fb__headers_compare(&c->headers, r, c->a, c->b, err);
    r->engine = c->headers.a.configuration != NULL && c->headers.b.configuration != NULL;
    if (status == FB_OK)
        fb__chains_open(&c->chains, c->a, c->b, fb__resume_point(&c->headers));
    return status;
}

/* Classes whose chains have begun on both sides, and the range of steps. */
static fb_status find_scope(fb__comparison *c, fb_error *err)
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

/* --- All steps -------------------------------------------------------------------------------- */

typedef struct next_step {
    bool found[FB_CLASS_COUNT];
    uint64_t step[FB_CLASS_COUNT];
} next_step;

/* Behind a generator that was moved every step may differ by its draws: where a number of them have
 * reached nothing, only losses and parameters are asked. */
static bool is_asked(const fb__comparison *c, int class_)
{
    enum { ASKED_MAX = 256 };

    return c->held.later < ASKED_MAX || class_ == FB_CLASS_SCALARS || class_ == FB_CLASS_STATE;
}

static bool earliest(uint64_t *step, const fb__comparison *c, const next_step *next)
{
    bool any = false;

    for (int k = 0; k < FB_CLASS_NOTES; k++)
        if (next->found[k] && is_asked(c, k) && (!any || next->step[k] < *step)) {
            *step = next->step[k];
            any = true;
        }
    return any;
}

/* Goes from one differing step to the next until one of them has a culprit. */
static fb_status search(fb__comparison *c, fb_error *err)
{
    next_step next = {{false}, {0}};
    fb_status status = FB_OK;
    uint64_t step = 0;

    for (int k = 0; k < FB_CLASS_NOTES && status == FB_OK; k++)
        if ((c->report->classes & 1u << k) != 0)
            status = fb__chains_first(&next.found[k], &next.step[k], &c->chains, (fb_class)k,
                                      c->chains.first, true, err);
    while (status == FB_OK && !c->judged && !c->held.reached && !c->ended.found && !c->order_only &&
           earliest(&step, c, &next)) {
        uint32_t classes;

        status = fb__chains_common(&classes, &c->chains, step, err);
        if (status == FB_OK)
            status = fb__judge_step(c, step, classes & FB__STATE_CLASSES, true, err);
        for (int k = 0; k < FB_CLASS_NOTES && status == FB_OK && !c->judged; k++)
            if (next.found[k] && next.step[k] == step && is_asked(c, k))
                status = fb__chains_first(&next.found[k], &next.step[k], &c->chains, (fb_class)k,
                                          step + 1, false, err);
    }
    return status;
}

/* The events behind the last finished step of a torn trace have no root: compared one by one. */
static fb_status search_tail(fb__comparison *c, fb_error *err)
{
    const fb_trace_info *ia = fb_trace_get_info(c->a), *ib = fb_trace_get_info(c->b);
    const uint32_t classes =
        fb_level_classes(ia->level) & fb_level_classes(ib->level) & FB__STATE_CLASSES;
    const uint64_t next_a = ia->steps > 0 ? ia->last_step + 1 : ia->first_step;
    const uint64_t next_b = ib->steps > 0 ? ib->last_step + 1 : ib->first_step;
    const uint64_t step = next_a < next_b ? next_a : next_b;
    const bool torn = (ia->status != FB_TRACE_COMPLETE && next_a == step) ||
                      (ib->status != FB_TRACE_COMPLETE && next_b == step);

    if (!torn || classes == 0)
        return FB_OK;
    return fb__judge_step(c, step, classes, false, err);
}

/* --- The whole -------------------------------------------------------------------------------- */

/* Other frameworks, kernels or names: judged by other rules, where both have steps. */
static fb_status compare_by_rounding(fb__comparison *c, fb_error *err)
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
            status = fb__check_integrity(c, err);
    }
    return status;
}

static fb_status add_unrecorded(fb__comparison *c, fb_error *err)
{
    char *text;
    fb_status status = fb__scope_unrecorded(&text, c->a, c->b, err);

    if (status == FB_OK && text != NULL)
        status = fb__list_add(&c->report->left_out, err, "%s", text);
    free(text);
    return status;
}

static fb_status compare(fb__comparison *c, const char *a, const char *b, fb_error *err)
{
    fb_status status = open_both(c, a, b, err);

    if (status == FB_OK)
        status = find_scope(c, err);
    if (status == FB_OK && c->options->align_a > 0)
        status = fb__check_shifted(c, err);
    else if (status == FB_OK)
        status = fb__check_resumed(c, err);
    if (status == FB_OK && !c->judged)
        status = compare_by_rounding(c, err);
    if (status == FB_OK && !c->judged)
        status = fb__check_resume(c, err);
    if (status == FB_OK && !c->judged && c->chains.any)
        status = search(c, err);
    if (status == FB_OK && !c->judged && !c->held.reached && !c->ended.found)
        status = search_tail(c, err);
    if (status == FB_OK)
        status = fb__judge_held(c, err);
    if (status == FB_OK && !c->judged)
        status = fb__judge_results(c, err);
    if (status == FB_OK && !c->judged)
        status = fb__judge_end(c, err);
    if (status == FB_OK && !c->judged)
        status = fb__judge_equal(c, err);
    if (status == FB_OK)
        status = fb__scope_depth(&c->report->depth, &c->headers, c->chains.last, err);
    if (status == FB_OK)
        status = add_unrecorded(c, err);
    if (status == FB_OK)
        status = fb__next_command(c->report, &c->headers, err);
    c->report->notes_more += fb__notes_untold(&c->noted);
    if (c->a != NULL && c->b != NULL)
        c->report->bytes_read += fb_trace_bytes_read(c->a) + fb_trace_bytes_read(c->b);
    return status;
}

fb_status fb__diff_files(fb_diff_report *out, const char *a, const char *b,
                         const fb_diff_options *options, fb_error *err)
{
    fb__comparison *c = calloc(1, sizeof *c);
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

    if (status != FB_OK || how->align_a > 0)
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
    free(report->window_steps);
    free(report->window_path);
    free(report->depth);
    *report = (fb_diff_report){0};
}
