/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_notes.c - taking down what differs without reaching training state.
 */
#include "diff/diff_notes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { TOLD = 64 }; /* notes told one by one */

fb_status fb__list_add(fb_diff_list *list, fb_error *err, const char *format, ...)
{
    char **grown = realloc(list->at, (list->count + 1) * sizeof *grown);
    va_list args;
    int length;

    if (grown == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "report: out of memory");
    list->at = grown;
    va_start(args, format);
    length = vasprintf(&grown[list->count], format, args);
    va_end(args);
    if (length < 0)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "report: out of memory");
    fb__make_printable(grown[list->count++]);
    return FB_OK;
}

/* One note: an event and what is the matter with it. */
static fb_status tell(fb__noted *noted, fb_diff_report *report, const fb__step *step,
                      const fb__step_event *event, fb_diff_what what, const char *matter,
                      fb_error *err)
{
    fb_event_name name;
    char text[3 * FB_NAME_MAX + 128];

    fb__step_event_name(&name, step, event);
    if (!noted->has_first) {
        noted->has_first = true;
        noted->first = name;
        noted->first_what = what;
    }
    if (noted->lines++ >= TOLD)
        return FB_OK;
    return fb__list_add(&report->notes, err, "%s: %s", fb_event_name_text(text, sizeof text, &name),
                        matter);
}

static void keep_draw(fb__noted *noted, const fb__step *step, const fb__step_event *event,
                      bool in_b)
{
    fb__step_event alone = *event;

    if ((event->site->kind != FB_KIND_DRAW && event->site->kind != FB_KIND_SEED) ||
        event->partner != UINT32_MAX || noted->draw_count >= FB__NOTED_DRAWS_MAX)
        return;
    alone.input_count = alone.index_count = 0; /* they stay with the step */
    noted->draws[noted->draw_count++] = (fb__noted_draw){alone, step->step, in_b};
}

static fb_diff_what what_of(const fb__step_event *e, bool in_b)
{
    if (e->partner != UINT32_MAX)
        return e->same_content ? FB_DIFF_INPUTS : FB_DIFF_CONTENT;
    return in_b ? FB_DIFF_ONLY_B : FB_DIFF_ONLY_A;
}

/* Calls that the two do in another order: the first speaks for all, of all steps. */
static fb_status tell_order(fb__noted *noted, fb_diff_report *report, const fb__step *a,
                            fb_error *err)
{
    for (size_t i = 0; i < a->count && !noted->told_order; i++)
        if (a->events[i].exchanged && a->events[i].same_content) {
            noted->told_order = true;
            return tell(noted, report, a, &a->events[i], FB_DIFF_INPUTS,
                        "called in another order, with equal results", err);
        }
    return FB_OK;
}

/* That an optimizer knows a parameter changes nothing at once, and later all. */
static bool is_holding(const fb_site *site)
{
    return site->kind == FB_KIND_MODE && site->slot != NULL &&
           strncmp(site->slot, "held by ", 8) == 0;
}

fb_status fb__note_step(fb__noted *noted, fb_diff_report *report, const fb__step_pair *pair,
                        const fb__step_notes *notes, fb_error *err)
{
    fb_status status = FB_OK;

    if (notes->count > 0 && noted->step_count < FB__NOTED_STEPS_MAX)
        noted->steps[noted->step_count++] =
            (fb__noted_step){pair->a.step, noted->lines, report->notes.count, noted->draw_count};
    for (size_t i = 0; i < notes->count && status == FB_OK; i++) {
        const bool in_b = i >= notes->count_a;
        const fb__step *step = in_b ? &pair->b : &pair->a;
        const fb__step_event *e = notes->at[i];
        char matter[96];

        if (pair->other_depth && e->partner == UINT32_MAX && e->site->kind == FB_KIND_DRAW)
            continue;
        if (e->partner != UINT32_MAX)
            (void)snprintf(matter, sizeof matter, "%s",
                           e->same_content ? "made from other events, with an equal result"
                                           : "differs, and nothing of the training uses it");
        else
            (void)snprintf(matter, sizeof matter, "only in %s%s", in_b ? "b" : "a",
                           is_holding(e->site) ? "" : ", and changes no result of its step");
        keep_draw(noted, step, e, in_b);
        status = tell(noted, report, step, e, what_of(e, in_b), matter, err);
    }
    return status == FB_OK ? tell_order(noted, report, &pair->a, err) : status;
}

uint64_t fb__notes_untold(const fb__noted *noted)
{
    return noted->lines > TOLD ? noted->lines - TOLD : 0;
}

void fb__notes_withdraw(fb__noted *noted, fb_diff_report *report, size_t at)
{
    const fb__noted_step *before = &noted->steps[at];

    while (report->notes.count > before->told)
        free(report->notes.at[--report->notes.count]);
    noted->lines = before->lines;
    noted->draw_count = before->draw_count;
    noted->has_first = noted->has_first && before->lines > 0;
    noted->step_count = at;
}

const fb__noted_draw *fb__noted_draw_of(const fb__noted *noted, const char *stream)
{
    for (size_t i = 0; i < noted->draw_count; i++) {
        const char *own = noted->draws[i].event.site->stream;

        if (stream == NULL ? noted->draws[i].event.site->kind == FB_KIND_SEED
                           : strcmp(own == NULL ? "" : own, stream) == 0)
            return &noted->draws[i];
    }
    return NULL;
}

/* What ends a run stands where the shorter run ends, and what parameters were, where a recording
 * begins to look at operations: no differences of their own. */
static bool is_of_recording(const fb_site *site)
{
    return fb__is_learned(site, NULL) || (site->kind == FB_KIND_MARK && site->slot != NULL &&
                                          strcmp(site->slot, "final_hash") == 0);
}

static fb_status tell_side(fb__noted *noted, fb_diff_report *report, const fb__step *step,
                           bool in_b, fb_error *err)
{
    fb_status status = FB_OK;

    for (size_t i = 0; i < step->count && status == FB_OK; i++) {
        const fb__step_event *e = &step->events[i];
        const bool alone = e->partner == UINT32_MAX;

        if (e->equal || e->beyond || (alone && is_of_recording(e->site)) || (!alone && in_b))
            continue;
        status = tell(noted, report, step, e,
                      !alone ? FB_DIFF_CONTENT
                      : in_b ? FB_DIFF_ONLY_B
                             : FB_DIFF_ONLY_A,
                      !alone ? "differs"
                      : in_b ? "only in b"
                             : "only in a",
                      err);
    }
    return status;
}

fb_status fb__note_class(fb__noted *noted, fb_diff_report *report, fb__chains *chains,
                         uint64_t last, fb_error *err)
{
    fb__step_pair pair;
    fb__alignment alignment;
    uint64_t step = 0, before = noted->lines;
    bool found = false;
    fb_status status =
        fb__chains_first(&found, &step, chains, FB_CLASS_NOTES, chains->first, true, err);

    if (status != FB_OK || !found || step > last)
        return status;
    status = fb__step_pair_load(&pair, chains->a, chains->b, step, 1u << FB_CLASS_NOTES, err);
    if (status == FB_OK)
        status = fb__align(&alignment, &pair, err);
    if (status == FB_OK)
        status = tell_side(noted, report, &pair.a, false, err);
    if (status == FB_OK)
        status = tell_side(noted, report, &pair.b, true, err);
    fb__step_pair_free(&pair);
    if (status == FB_OK && noted->lines > before && step < last)
        status = fb__list_add(&report->notes, err,
                              "notes of steps after %" PRIu64 " are not compared one by one", step);
    return status;
}
