/* SPDX-License-Identifier: Apache-2.0
 *
 * picture.c - reads what a page shows of whole runs: the losses, which steps, classes and phases
 * agree, how many events differ.
 */
#include "diff/report/picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/error.h"
#include "diff/align/align.h"
#include "diff/report/picture_gathering.h"

enum {
    EVENTS_MAX = 1 << 20,   /* read a side for the curve, and again for the shares */
    LOOKED_AT = 8,          /* steps of one column of the strip */
    SHARES_CONTIGUOUS = 12, /* steps counted one by one before they are spread out */
};

static const uint32_t state_classes =
    1u << FB_CLASS_SCALARS | 1u << FB_CLASS_DATA | 1u << FB_CLASS_STATE | 1u << FB_CLASS_OPS;

typedef fb__picture_gathering gathering;

static bool has_place(const gathering *g)
{
    return g->report->verdict == FB_DIFF_DIFFER && g->report->has_first && g->report->has_cause;
}

/* --- The curve -------------------------------------------------------------------------------- */

static bool is_loss(const fb_site *site)
{
    const char *slot = site->slot != NULL ? site->slot : "";
    const char *path = site->path != NULL ? site->path : "";

    if (site->kind != FB_KIND_SCALAR || site->phase != FB_PHASE_LOSS || site->note)
        return false;
    return strcmp(slot, "loss") == 0 || (strcmp(path, "loss") == 0 && strcmp(slot, "out") == 0);
}

/* The mean of what a step calls its loss; NaN: none. */
static fb_status loss_of(double *out, fb_trace *trace, uint64_t step, fb_error *err)
{
    double sum = 0;
    uint64_t n = 0;
    fb_status status = fb_trace_seek(trace, step, err);

    while (status == FB_OK) {
        const fb_event *e;
        const fb_site *site;

        status = fb_trace_next(trace, &e, NULL, err);
        if (status != FB_OK || e == NULL || e->step != step)
            break;
        site = fb_trace_site(trace, e->site);
        if (site == NULL || !is_loss(site))
            continue;
        sum += e->value;
        n++;
        if (e->micro == FB_MICRO_NONE) /* of the whole step: there is no other */
            break;
    }
    *out = n > 0 ? sum / (double)n : NAN;
    return status;
}

static uint64_t events_a_step(const fb_trace_info *info)
{
    return info->steps > 0 ? info->events / info->steps + 1 : info->events + 1;
}

static fb_status read_losses(gathering *g, fb_error *err)
{
    const fb_trace_info *ia = fb_trace_get_info(g->a), *ib = fb_trace_get_info(g->b);
    const uint64_t first = ia->first_step < ib->first_step ? ia->first_step : ib->first_step;
    const uint64_t last = ia->last_step > ib->last_step ? ia->last_step : ib->last_step;
    const uint64_t each = events_a_step(ia) + events_a_step(ib);
    uint64_t most = 2 * (uint64_t)EVENTS_MAX / each;
    fb_status status = FB_OK;

    if (ia->steps == 0 || ib->steps == 0 || last < first)
        return FB_OK;
    most = most < 8 ? 8 : most > FB_PICTURE_LOSSES_MAX ? FB_PICTURE_LOSSES_MAX : most;
    g->out->losses_sampled = last - first + 1 > most;
    const uint64_t count = g->out->losses_sampled ? most : last - first + 1;
    for (uint64_t i = 0; i < count && status == FB_OK; i++) {
        const uint64_t step =
            count > 1 ? first + (uint64_t)((double)(last - first) * (double)i / (double)(count - 1))
                      : first;
        fb_picture_loss loss = {step, NAN, NAN};

        status = loss_of(&loss.a, g->a, step, err);
        if (status == FB_OK)
            status = loss_of(&loss.b, g->b, step, err);
        if (status == FB_OK && (!isnan(loss.a) || !isnan(loss.b)))
            g->out->losses[g->out->loss_count++] = loss;
    }
    return status;
}

/* --- The strip -------------------------------------------------------------------------------- */

static fb_status look_at(fb_picture_column *column, gathering *g, uint64_t step, fb_error *err)
{
    const fb__chains_slot *slot;
    const fb_status status = fb__chains_step(&slot, &g->chains, step, err);

    if (status != FB_OK || slot == NULL)
        return status;
    for (int k = 0; k < FB_CLASS_COUNT; k++) {
        const uint32_t bit = 1u << k;

        if ((slot->a.classes & slot->b.classes & bit) == 0)
            continue;
        if (slot->a.root[k].lo != slot->b.root[k].lo || slot->a.root[k].hi != slot->b.root[k].hi)
            column->state[k] = FB_PICTURE_DIFFERENT;
        else if (column->state[k] == FB_PICTURE_ABSENT)
            column->state[k] = FB_PICTURE_EQUAL;
    }
    return FB_OK;
}

static fb_status read_strip(gathering *g, fb_error *err)
{
    const uint64_t first = g->chains.first, steps = g->chains.last - first + 1;
    const uint64_t count = steps < FB_PICTURE_COLUMNS_MAX ? steps : FB_PICTURE_COLUMNS_MAX;
    fb_status status = FB_OK;

    if (!g->chains.any)
        return FB_OK;
    for (uint64_t i = 0; i < count && status == FB_OK; i++) {
        fb_picture_column *c = &g->out->columns[g->out->column_count++];
        const uint64_t width = steps / count, rest = steps % count;

        c->first = first + i * width + (i < rest ? i : rest);
        c->last = c->first + width - (i >= rest);
        const uint64_t n = c->last - c->first + 1, looks = n < LOOKED_AT ? n : LOOKED_AT;
        for (uint64_t j = 0; j < looks && status == FB_OK; j++)
            status =
                look_at(c, g, looks > 1 ? c->first + (n - 1) * j / (looks - 1) : c->first, err);
    }
    return status;
}

/* --- Counts ----------------------------------------------------------------------------------- */

fb_status fb__picture_load_step(fb__step_pair *pair, fb__picture_gathering *g, uint64_t step,
                                fb_error *err)
{
    fb__alignment alignment;
    fb_status status = fb__step_pair_load(pair, g->a, g->b, step, state_classes, err);

    if (status == FB_OK)
        status = fb__align(&alignment, pair, err);
    return status;
}

static void count_event(fb_picture_share *share, const fb__step_event *e)
{
    const bool differs = fb__picture_differs(e);

    share->events++;
    share->differing += differs;
    if ((unsigned)e->site->phase < FB__STEP_PHASES) {
        share->phases[e->site->phase].events++;
        share->phases[e->site->phase].differing += differs;
    }
}

/* Counts the events of a step; what both sides have in common at its start is equal. */
static fb_status count_step(bool *full, gathering *g, uint64_t step, uint64_t *read, fb_error *err)
{
    fb_picture_share share = {.step = step};
    fb__step_pair pair;
    const fb_status status = fb__picture_load_step(&pair, g, step, err);

    for (size_t i = 0; i < FB__STEP_PHASES; i++) {
        share.phases[i].events = pair.common_of_phase[i];
        share.events += pair.common_of_phase[i];
    }
    for (size_t i = 0; i < pair.a.count; i++)
        count_event(&share, &pair.a.events[i]);
    for (size_t i = 0; i < pair.b.count; i++)
        if (pair.b.events[i].partner == UINT32_MAX)
            count_event(&share, &pair.b.events[i]);
    *read += share.events;
    *full = *read > EVENTS_MAX || pair.a.truncated || pair.b.truncated;
    if (status == FB_OK && !pair.a.truncated && !pair.b.truncated && share.events > 0)
        g->out->shares[g->out->share_count++] = share;
    fb__step_pair_free(&pair);
    return status;
}

/* From two steps before the first difference on: every step, then ever wider apart. */
static fb_status read_shares(gathering *g, fb_error *err)
{
    const uint64_t at = g->report->first.name.step, last = g->chains.last;
    uint64_t step = at > g->chains.first + 2 ? at - 2 : g->chains.first;
    uint64_t read = 0;
    fb_status status = FB_OK;
    bool full = false;

    while (g->chains.any && status == FB_OK && !full && step <= last &&
           g->out->share_count < FB_PICTURE_SHARES_MAX) {
        const uint64_t done = g->out->share_count;

        status = count_step(&full, g, step, &read, err);
        if (step == last)
            break;
        const uint64_t left = FB_PICTURE_SHARES_MAX - 1 - done;
        const uint64_t wide = left > 0 ? (last - step + left - 1) / left : 1;
        step += done < SHARES_CONTIGUOUS || wide == 0 ? 1 : wide;
        if (step > last)
            step = last;
    }
    return status;
}

/* --- All -------------------------------------------------------------------------------------- */

static fb_status gather(gathering *g, fb_error *err)
{
    fb_status status = fb_trace_open(&g->a, g->report->name_a, err);

    if (status == FB_OK)
        status = fb_trace_open_beside(&g->b, g->report->name_b, g->a, err);
    if (status != FB_OK)
        return status;
    fb__chains_open(&g->chains, g->a, g->b, g->report->has_steps ? g->report->first_step : 0);
    status = read_losses(g, err);
    if (status == FB_OK)
        status = read_strip(g, err);
    if (status == FB_OK && has_place(g))
        status = read_shares(g, err);
    if (status == FB_OK && has_place(g))
        status = fb__picture_place(g, err);
    return status;
}

/* A process that only one of the runs has: there is nothing to set beside its events. */
static bool is_without_partner(const fb_diff_report *r)
{
    return r->part > 0 && (r->parts[r->part - 1].a == NULL || r->parts[r->part - 1].b == NULL);
}

fb_status fb_picture_gather(fb_picture *out, const fb_diff_report *report,
                            const fb_diff_options *options, fb_error *err)
{
    gathering *g = calloc(1, sizeof *g);
    fb_status status;

    memset(out, 0, sizeof *out);
    if (g == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "gathering a picture: out of memory");
    if (is_without_partner(report)) {
        free(g);
        return FB_OK;
    }
#ifdef __GLIBC__
    (void)malloc_trim(0); /* what the comparison has freed counts no longer */
#endif
    g->out = out;
    g->report = report;
    status = gather(g, err);
    fb_trace_close(g->a);
    fb_trace_close(g->b);
    free(g);
    if (status == FB_OK) /* with readers of its own */
        status = fb_growth_measure(&out->growth, report, options, err);
    if (status != FB_OK)
        fb_picture_free(out);
    return status;
}

void fb_picture_free(fb_picture *picture)
{
    fb_growth_free(&picture->growth);
    memset(picture, 0, sizeof *picture);
}
