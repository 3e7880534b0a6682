/* SPDX-License-Identifier: Apache-2.0
 *
 * picture_draws.c - the ledger of random draws of a picture: those of the first differing step, in
 * the order of the run, the last few before the first difference and what follows.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "diff/report/picture_gathering.h"

typedef fb__picture_gathering gathering;

/* One side of an event, from a loaded step or straight from a trace. */
typedef struct draw_side {
    const fb_site *site;
    int32_t micro;
    uint64_t key, counter, count;
    bool counted;
} draw_side;

static draw_side side_of(const fb__step_event *e)
{
    return (draw_side){.site = e->site,
                       .micro = e->micro,
                       .key = e->stream_key,
                       .counter = e->counter,
                       .count = e->count,
                       .counted = e->hash.lo == 0 && e->hash.hi == 0};
}

static bool is_draw(const fb_site *site)
{
    return !site->note && (site->kind == FB_KIND_DRAW || site->kind == FB_KIND_SEED);
}

static void cut(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text == NULL ? "" : text);
}

static void describe(fb_picture_draw *out, uint64_t step, const draw_side *s)
{
    const fb_event bare = {.step = step, .micro = s->micro};
    const double *p = s->site->parameters;

    fb_event_name_of(&out->name, s->site, &bare);
    cut(out->stream, sizeof out->stream, s->site->stream);
    cut(out->consumer, sizeof out->consumer, s->site->consumer);
    out->seed = s->site->kind == FB_KIND_SEED;
    out->counted = s->counted;
    if (out->seed || s->site->distribution == NULL)
        return;
    if (p[0] != 0 || p[1] != 0)
        (void)snprintf(out->distribution, sizeof out->distribution,
                       p[1] != 0 ? "%s(%g, %g)" : "%s(%g)", s->site->distribution, p[0], p[1]);
    else
        cut(out->distribution, sizeof out->distribution, s->site->distribution);
}

static void set_a(fb_picture_draw *out, const draw_side *s)
{
    out->key_a = s->key;
    out->counter_a = s->counter;
    out->count_a = s->count;
}

static void set_b(fb_picture_draw *out, const draw_side *s)
{
    out->key_b = s->key;
    out->counter_b = s->counter;
    out->count_b = s->count;
}

/* Room for one more entry: in front of the first difference the oldest one makes it. */
static fb_picture_draw *next_entry(fb_picture *out, bool passed)
{
    out->draws_in_all++;
    if (!passed && out->draw_count == FB_PICTURE_DRAWS_BEFORE)
        memmove(out->draws, out->draws + 1, --out->draw_count * sizeof out->draws[0]);
    if (out->draw_count == FB_PICTURE_DRAWS_MAX)
        return NULL;
    fb_picture_draw *entry = &out->draws[out->draw_count++];
    memset(entry, 0, sizeof *entry);
    return entry;
}

/* Whether the event is the first difference, or stands behind it on its side. */
static bool is_behind(const gathering *g, const fb__step_event *e, bool in_b)
{
    const fb_diff_first *first = &g->report->first;
    const uint64_t at = in_b ? first->number_b : first->number_a;

    return at != UINT64_MAX && e->number >= at;
}

static void add(gathering *g, const fb__step_pair *pair, const fb__step_event *e, bool in_b,
                bool *passed)
{
    const fb__step_event *other =
        e->partner == UINT32_MAX ? NULL : &(in_b ? &pair->a : &pair->b)->events[e->partner];
    const draw_side own = side_of(e);
    fb_picture_draw *entry;

    *passed = *passed || fb__picture_differs(e) || is_behind(g, e, in_b);
    if (!is_draw(e->site))
        return;
    entry = next_entry(g->out, *passed);
    if (entry == NULL)
        return;
    describe(entry, pair->a.step, &own);
    entry->mark = other == NULL     ? (in_b ? FB_PICTURE_ROW_ONLY_B : FB_PICTURE_ROW_ONLY_A)
                  : e->same_content ? FB_PICTURE_ROW_EQUAL
                                    : FB_PICTURE_ROW_DIFFERS;
    if (in_b)
        set_b(entry, &own);
    else
        set_a(entry, &own);
    if (other != NULL) {
        const draw_side theirs = side_of(other);
        set_b(entry, &theirs);
    }
}

/* What both sides have in common at the start of the step: it is in the file only. */
static fb_status read_common(gathering *g, const fb__step_pair *pair, fb_error *err)
{
    const uint64_t until = pair->a.count > 0 ? pair->a.events[0].number : UINT64_MAX;
    fb_status status = fb_trace_seek(g->a, pair->a.step, err);

    while (status == FB_OK) {
        const fb_event *e;
        uint64_t number = 0;

        status = fb_trace_next(g->a, &e, &number, err);
        if (status != FB_OK || e == NULL || e->step != pair->a.step || number >= until)
            break;
        const fb_site *site = fb_trace_site(g->a, e->site);
        if (site == NULL || !is_draw(site))
            continue;
        const draw_side own = {site,       e->micro, e->key,
                               e->counter, e->count, e->hash.lo == 0 && e->hash.hi == 0};
        fb_picture_draw *entry = next_entry(g->out, false);
        describe(entry, e->step, &own);
        entry->mark = FB_PICTURE_ROW_EQUAL;
        set_a(entry, &own);
        set_b(entry, &own);
    }
    return status;
}

fb_status fb__picture_draws(gathering *g, const fb__step_pair *pair, fb_error *err)
{
    const fb_status status = read_common(g, pair, err);
    bool passed = false;
    size_t j = 0; /* events that only b has stand where b has them */

    for (size_t i = 0; status == FB_OK && i < pair->a.count; i++) {
        const fb__step_event *e = &pair->a.events[i];

        for (; e->partner != UINT32_MAX && j < e->partner; j++)
            if (pair->b.events[j].partner == UINT32_MAX)
                add(g, pair, &pair->b.events[j], true, &passed);
        add(g, pair, e, false, &passed);
    }
    for (; status == FB_OK && j < pair->b.count; j++)
        if (pair->b.events[j].partner == UINT32_MAX)
            add(g, pair, &pair->b.events[j], true, &passed);
    return status;
}
