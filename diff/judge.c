/* SPDX-License-Identifier: Apache-2.0
 *
 * judge.c - whose fault it is.
 */
#include "diff/judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum { NONE = UINT32_MAX };

typedef struct judge {
    const fb__step_pair *pair;
    fb__key_index in_a, in_b;
    bool *innocent_a, *innocent_b; /* only on this side, and reaching nothing */
} judge;

/* --- Notes ------------------------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

/* Whether a draw of this stream that both sides have says something else on the other side. */
static bool stream_differs(const fb__step_pair *pair, const char *stream)
{
    for (size_t i = 0; i < pair->a.count; i++) {
        const fb__step_event *e = &pair->a.events[i];

        if (e->site->kind == FB_KIND_DRAW && e->partner != NONE && !e->same_content &&
            same_text(e->site->stream, stream))
            return true;
    }
    return false;
}

/* An event that one side lacks and that nothing of the step reads. A draw is innocent when it moves
 * no other draw of its stream; a tensor when it is an output that a program looked at: gradients,
 * parameters, samples, scalars and modes are training state by themselves. */
static bool is_innocent(const judge *j, const fb__step_event *e)
{
    if (e->partner != NONE || e->consumed || e->beyond)
        return false;
    if (e->site->kind == FB_KIND_DRAW)
        return !stream_differs(j->pair, e->site->stream);
    return e->site->kind == FB_KIND_TENSOR && e->site->phase == FB_PHASE_FORWARD;
}

static void mark_innocent(const judge *j, const fb__step *step, bool *innocent)
{
    for (size_t i = 0; i < step->count; i++)
        innocent[i] = is_innocent(j, &step->events[i]);
}

static void collect(fb__step_notes *notes, const fb__step *step, const bool *innocent)
{
    for (size_t i = 0; i < step->count; i++)
        if (innocent[i])
            notes->at[notes->count++] = &step->events[i];
}

/* --- Blame ------------------------------------------------------------------------------------ */

static bool is_difference(const fb__step *step, const bool *innocent, size_t i)
{
    return !step->events[i].equal && !step->events[i].beyond && !innocent[i];
}

/* Whether an input of the event is itself a difference, so that the event only passes it on. */
static bool inherits(const fb__step *step, const fb__key_index *index, const bool *innocent,
                     const fb__step_event *e)
{
    for (uint32_t k = 0; k < e->input_count; k++) {
        const uint32_t at = fb__key_index_find(index, step, step->inputs[e->first_input + k]);

        if (at != NONE && &step->events[at] != e && is_difference(step, innocent, at))
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

/* roots_only: consider events only whose inputs are equal. */
static void find(fb__culprit *out, place *best, const judge *j, bool roots_only)
{
    const fb__step *a = &j->pair->a, *b = &j->pair->b;
    uint64_t behind = 0;

    for (size_t i = 0; i < a->count; i++) {
        const fb__step_event *e = &a->events[i];
        const fb__step_event *partner = e->partner == NONE ? NULL : &b->events[e->partner];

        if (!is_difference(a, j->innocent_a, i))
            continue;
        if (roots_only && (inherits(a, &j->in_a, j->innocent_a, e) ||
                           (partner != NULL && inherits(b, &j->in_b, j->innocent_b, partner))))
            continue;
        take(out, best, (place){i + 1, 0, i},
             partner == NULL   ? FB_DIFF_ONLY_A
             : e->same_content ? FB_DIFF_INPUTS
                               : FB_DIFF_CONTENT,
             e, partner);
    }
    for (size_t i = 0; i < b->count; i++) {
        const fb__step_event *e = &b->events[i];

        if (e->partner != NONE) {
            behind = (uint64_t)e->partner + 1;
            continue;
        }
        if (is_difference(b, j->innocent_b, i) &&
            !(roots_only && inherits(b, &j->in_b, j->innocent_b, e)))
            take(out, best, (place){behind, 1, i}, FB_DIFF_ONLY_B, NULL, e);
    }
}

/* The last equal event before the culprit, and how many equal ones follow. */
static void look_around(fb__culprit *out, const judge *j, place best)
{
    const fb__step *a = &j->pair->a;
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

static fb_status decide(fb__culprit *out, fb__step_notes *notes, judge *j, fb_error *err)
{
    const fb__step *a = &j->pair->a, *b = &j->pair->b;
    place best = {0, 0, 0};

    j->innocent_a = calloc(a->count + 1, sizeof *j->innocent_a);
    j->innocent_b = calloc(b->count + 1, sizeof *j->innocent_b);
    notes->at = calloc(a->count + b->count + 1, sizeof(fb__step_event *));
    if (j->innocent_a == NULL || j->innocent_b == NULL || notes->at == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    mark_innocent(j, a, j->innocent_a);
    mark_innocent(j, b, j->innocent_b);
    collect(notes, a, j->innocent_a);
    notes->count_a = notes->count;
    collect(notes, b, j->innocent_b);
    find(out, &best, j, true);
    if (!out->found) /* a cycle of blame: only in a trace that no program wrote */
        find(out, &best, j, false);
    if (out->found)
        look_around(out, j, best);
    return FB_OK;
}

fb_status fb__judge(fb__culprit *out, fb__step_notes *notes, const fb__step_pair *pair,
                    fb_error *err)
{
    judge j = {.pair = pair};
    fb_status status = fb__key_index_make(&j.in_a, &pair->a, err);

    *out = (fb__culprit){0};
    *notes = (fb__step_notes){0};
    if (status == FB_OK)
        status = fb__key_index_make(&j.in_b, &pair->b, err);
    if (status == FB_OK)
        status = decide(out, notes, &j, err);
    fb__key_index_free(&j.in_a);
    fb__key_index_free(&j.in_b);
    free(j.innocent_a);
    free(j.innocent_b);
    return status;
}

void fb__step_notes_free(fb__step_notes *notes)
{
    free(notes->at);
    *notes = (fb__step_notes){0};
}
