/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_suspect.c - what one of two programs alone did right before a result that was computed by
 * operations on no record: a call of zero_grad() that the other left out, a schedule that went on.
 * In its own step it changed nothing that can be seen.
 */
#include "diff/comparison.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "diff/align/align.h"
#include "diff/read/step_events.h"

static bool is_alike(const char *x, const char *y)
{
    return strcmp(x == NULL ? "" : x, y == NULL ? "" : y) == 0;
}

static bool is_same_call(const fb_site *x, const fb_site *y)
{
    return x->phase == y->phase && is_alike(x->path, y->path) && is_alike(x->op, y->op) &&
           is_alike(x->slot, y->slot);
}

/* A call that is told as a mode, and that the other side lacks. */
static bool is_lone(const fb__step_event *e)
{
    return e->site->kind == FB_KIND_MODE && e->partner == UINT32_MAX && !e->beyond &&
           (e->site->phase == FB_PHASE_BACKWARD || e->site->phase == FB_PHASE_SCHEDULE);
}

static bool has_lone(const fb__step *step, const fb_site *like)
{
    for (size_t i = 0; i < step->count; i++)
        if (is_lone(&step->events[i]) && is_same_call(step->events[i].site, like))
            return true;
    return false;
}

/* The first lone call of a step that was none in the step before, where it would have shown. */
static const fb__step_event *first_new(const fb__step *step, const fb__step *before)
{
    for (size_t i = 0; i < step->count; i++)
        if (is_lone(&step->events[i]) && !has_lone(before, step->events[i].site))
            return &step->events[i];
    return NULL;
}

static fb_status load(fb__step_pair *pair, fb__alignment *alignment, fb__comparison *c,
                      uint64_t step, fb_error *err)
{
    uint32_t classes;
    fb_status status = fb__chains_common(&classes, &c->chains, step, err);

    *pair = (fb__step_pair){.classes = 0};
    if (status == FB_OK)
        status = fb__step_pair_load(pair, c->a, c->b, step, classes & FB__STATE_CLASSES, err);
    return status == FB_OK ? fb__align(alignment, pair, err) : status;
}

/* The notes of this step and of those behind it are judged again. */
static void withdraw(fb__comparison *c, uint64_t step)
{
    for (size_t at = 0; at < c->noted.step_count; at++)
        if (c->noted.steps[at].step >= step) {
            fb__notes_withdraw(&c->noted, c->report, at);
            return;
        }
}

fb_status fb__blame_suspect(fb__comparison *c, uint64_t step, fb_error *err)
{
    fb__step_pair pair, before;
    fb__alignment alignment, unused;
    fb__culprit culprit = {.found = true};
    fb_status status;

    if (!c->chains.any || step < c->chains.first + 2)
        return FB_OK;
    status = load(&pair, &alignment, c, step - 1, err);
    if (status != FB_OK) {
        fb__step_pair_free(&pair);
        return status;
    }
    status = load(&before, &unused, c, step - 2, err);
    if (status == FB_OK) {
        culprit.a = first_new(&pair.a, &before.a);
        culprit.b = culprit.a == NULL ? first_new(&pair.b, &before.b) : NULL;
        culprit.what = culprit.a != NULL ? FB_DIFF_ONLY_A : FB_DIFF_ONLY_B;
    }
    fb__step_pair_free(&before);
    if (status == FB_OK && (culprit.a != NULL || culprit.b != NULL)) {
        withdraw(c, step - 1);
        status = fb__blame(c, &pair, &culprit, &alignment, step - 1, err);
    }
    fb__step_pair_free(&pair);
    return status;
}
