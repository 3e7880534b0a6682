/* SPDX-License-Identifier: Apache-2.0
 *
 * why.c - goes from an event to what it was made from: first within its step, then step by step to
 * the start of the trace, holding one step at a time and the references that wait.
 */
#include "diff/why/why.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "replay/event_name.h"

/* The events of one step, found by site and micro-batch. */
typedef struct step_graph {
    fb_why_event *events;
    size_t count, capacity;
    fb_ref *inputs;
    size_t input_count, input_capacity;
    uint32_t *slots; /* index + 1 of an event, 0 where empty */
    size_t mask;
    uint32_t *queue; /* of events whose inputs are still to be followed */
} step_graph;

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "following inputs: out of memory");
}

static void graph_free(step_graph *g)
{
    free(g->events);
    free(g->inputs);
    free(g->slots);
    free(g->queue);
    *g = (step_graph){0};
}

/* Room for `needed` elements of `bytes`; NULL when memory is out, and the old array stays. */
static void *grown(void *array, size_t *capacity, size_t needed, size_t bytes)
{
    size_t n = *capacity > 0 ? *capacity : 256;
    void *to;

    if (needed <= *capacity)
        return array;
    while (n < needed)
        n *= 2;
    to = realloc(array, n * bytes);
    if (to != NULL)
        *capacity = n;
    return to;
}

static size_t memory_of(const step_graph *g)
{
    enum { INDEX = 12 }; /* bytes of slots and queue, an event */

    return g->capacity * (sizeof *g->events + INDEX) + g->input_capacity * sizeof *g->inputs;
}

static fb_status add_event(step_graph *g, fb_trace *trace, const fb_event *e, uint64_t number,
                           fb_error *err)
{
    void *events, *inputs;

    if (g->count >= FB_WHY_EVENTS_MAX || e->input_count > FB_WHY_INPUTS_MAX - g->input_count ||
        fb_trace_memory(trace) + memory_of(g) > FB_WHY_MEMORY)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET,
                        "step %" PRIu64 " has more events than can be held", e->step);
    events = grown(g->events, &g->capacity, g->count + 1, sizeof *g->events);
    if (events == NULL)
        return out_of_memory(err);
    g->events = events;
    inputs =
        grown(g->inputs, &g->input_capacity, g->input_count + e->input_count, sizeof *g->inputs);
    if (inputs == NULL && e->input_count > 0)
        return out_of_memory(err);
    g->inputs = inputs;
    if (e->input_count > 0)
        memcpy(g->inputs + g->input_count, e->inputs, e->input_count * sizeof *e->inputs);
    g->events[g->count++] = (fb_why_event){.site = fb_trace_site(trace, e->site),
                                           .number = number,
                                           .site_number = e->site,
                                           .micro = e->micro,
                                           .depth = UINT32_MAX,
                                           .first_input = (uint32_t)g->input_count,
                                           .input_count = e->input_count};
    g->input_count += e->input_count;
    return FB_OK;
}

static size_t slot_of(const step_graph *g, uint32_t site, int32_t micro)
{
    const uint64_t key = (uint64_t)site << 32 | (uint32_t)micro;
    return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & g->mask;
}

/* The index of an event of the step, or SIZE_MAX. */
static size_t find(const step_graph *g, uint32_t site, int32_t micro)
{
    if (g->slots == NULL)
        return SIZE_MAX;
    for (size_t at = slot_of(g, site, micro); g->slots[at] != 0; at = (at + 1) & g->mask) {
        const fb_why_event *e = &g->events[g->slots[at] - 1];

        if (e->site_number == site && e->micro == micro)
            return g->slots[at] - 1;
    }
    return SIZE_MAX;
}

static bool is_event(const fb_why_event *a, const fb_why_event *b)
{
    return a->site_number == b->site_number && a->micro == b->micro;
}

static fb_status make_index(step_graph *g, fb_error *err)
{
    size_t size = 16;

    while (size < 2 * g->count)
        size *= 2;
    g->mask = size - 1;
    free(g->slots);
    free(g->queue);
    g->slots = calloc(size, sizeof *g->slots);
    g->queue = malloc((g->count + 1) * sizeof *g->queue);
    if (g->slots == NULL || g->queue == NULL)
        return out_of_memory(err);
    for (size_t i = 0; i < g->count; i++) {
        const fb_why_event *e = &g->events[i];
        size_t at = slot_of(g, e->site_number, e->micro);

        while (g->slots[at] != 0 && !is_event(&g->events[g->slots[at] - 1], e))
            at = (at + 1) & g->mask;
        if (g->slots[at] == 0) /* of several the first counts */
            g->slots[at] = (uint32_t)i + 1;
    }
    return FB_OK;
}

/* All events of a step. */
static fb_status load(step_graph *g, fb_trace *trace, uint64_t step, fb_error *err)
{
    fb_status status = fb_trace_seek(trace, step, err);

    g->count = g->input_count = 0;
    while (status == FB_OK) {
        const fb_event *e;
        uint64_t number;

        status = fb_trace_next(trace, &e, &number, err);
        if (status != FB_OK || e == NULL || e->step > step)
            break;
        if (e->step == step)
            status = add_event(g, trace, e, number, err);
    }
    return status == FB_OK ? make_index(g, err) : status;
}

/* --- The references that wait ----------------------------------------------------------------- */

typedef struct pending {
    fb_ref *at;
    size_t count, capacity;
    bool full; /* some may have been left out */
    bool lost; /* some name what the trace does not hold */
} pending;

/* By step, then site, then micro-batch. */
static int compare_refs(const void *x, const void *y)
{
    const fb_ref *a = x, *b = y;

    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    if (a->site != b->site)
        return a->site < b->site ? -1 : 1;
    return (a->micro > b->micro) - (a->micro < b->micro);
}

/* Ascending by step, each once. */
static void settle(pending *p)
{
    size_t n = 0;

    if (p->count > 1)
        qsort(p->at, p->count, sizeof *p->at, compare_refs);
    for (size_t i = 0; i < p->count; i++)
        if (n == 0 || compare_refs(&p->at[n - 1], &p->at[i]) != 0)
            p->at[n++] = p->at[i];
    p->count = n;
}

/* Sorts only where that frees a quarter of the room, so however many references there are, few
 * sorts are made. */
static fb_status wait_for(pending *p, const fb_ref *ref, fb_error *err)
{
    void *at;

    if (p->count >= FB_WHY_PENDING_MAX && !p->full) {
        settle(p);
        p->full = p->count > FB_WHY_PENDING_MAX / 4 * 3;
    }
    if (p->count >= FB_WHY_PENDING_MAX)
        return FB_OK;
    at = grown(p->at, &p->capacity, p->count + 1, sizeof *p->at);
    if (at == NULL)
        return out_of_memory(err);
    p->at = at;
    p->at[p->count++] = *ref;
    return FB_OK;
}

/* Follows the inputs of what is queued, `queued` events, within the step; references to earlier
 * steps wait. Returns by *reached how many events the slice has in this step. */
static fb_status follow(size_t *reached, step_graph *g, uint64_t step, size_t queued, pending *p,
                        fb_error *err)
{
    for (size_t i = 0; i < queued; i++) {
        const fb_why_event *e = &g->events[g->queue[i]];

        for (uint32_t k = 0; k < e->input_count; k++) {
            const fb_ref *ref = &g->inputs[e->first_input + k];
            const size_t at = ref->step == step ? find(g, ref->site, ref->micro) : SIZE_MAX;

            if (ref->step < step) {
                const fb_status status = wait_for(p, ref, err);

                if (status != FB_OK)
                    return status;
            } else if (at == SIZE_MAX) {
                p->lost = true; /* it names what the trace does not hold */
            } else if (g->events[at].depth == UINT32_MAX) {
                g->events[at].depth = e->depth + 1;
                g->queue[queued++] = (uint32_t)at;
            }
        }
    }
    *reached = queued;
    return FB_OK;
}

/* --- What lies before ------------------------------------------------------------------------- */

static void count_event(fb_why_earlier *out, const fb_site *site, uint64_t step)
{
    out->last_step = out->events == 0 ? step : out->last_step;
    out->first_step = step;
    out->events++;
    out->samples += site->kind == FB_KIND_SAMPLE;
    out->draws += site->kind == FB_KIND_DRAW;
    out->seeds += site->kind == FB_KIND_SEED;
    out->updates += site->kind == FB_KIND_PARAM;
}

/* The latest step that a reference leads to: its events, and what they wait for. */
static fb_status count_step(fb_why *why, step_graph *g, pending *p, fb_error *err)
{
    const uint64_t step = p->at[p->count - 1].step;
    size_t queued = 0, reached = 0;
    fb_status status = load(g, why->trace, step, err);

    if (status != FB_OK)
        return status;
    for (; p->count > 0 && p->at[p->count - 1].step == step; p->count--) {
        const fb_ref *ref = &p->at[p->count - 1];
        const size_t at = find(g, ref->site, ref->micro);

        if (at == SIZE_MAX) {
            p->lost = true;
        } else if (g->events[at].depth == UINT32_MAX) {
            g->events[at].depth = 0;
            g->queue[queued++] = (uint32_t)at;
        }
    }
    status = follow(&reached, g, step, queued, p, err);
    for (size_t i = 0; i < reached && status == FB_OK; i++)
        count_event(&why->earlier, g->events[g->queue[i]].site, step);
    return status;
}

static fb_status count_earlier(fb_why *why, const pending *cut, const fb_why_options *options,
                               fb_error *err)
{
    step_graph g = {0};
    pending p = {0};
    fb_status status = FB_OK;

    for (size_t i = 0; i < cut->count && status == FB_OK; i++)
        status = wait_for(&p, &cut->at[i], err);
    p.full = cut->full;
    p.lost = cut->lost;
    while (status == FB_OK && p.count > 0) {
        const uint64_t step = p.at[p.count - 1].step;

        status = count_step(why, &g, &p, err);
        settle(&p);
        if (options != NULL && options->progress != NULL)
            options->progress(options->argument, step, why->step);
    }
    why->earlier.incomplete = p.full || p.lost;
    free(p.at);
    graph_free(&g);
    return status;
}

/* --- The target ------------------------------------------------------------------------------- */

typedef struct target_name {
    char path[FB_NAME_MAX + 1], slot[FB_NAME_MAX + 1]; /* slot "": any */
    uint64_t step;
} target_name;

static fb_status parse_target(target_name *out, const char *what, fb_error *err)
{
    const char *at = strrchr(what, '@'), *colon;
    size_t length = at == NULL ? 0 : (size_t)(at - what);
    char *end = NULL;

    if (at == NULL || length == 0 || length > FB_NAME_MAX || at[1] < '0' || at[1] > '9' ||
        strlen(at) > 19)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "expected PATH@STEP or PATH:SLOT@STEP, got \"%s\"", what);
    out->step = strtoull(at + 1, &end, 10);
    if (*end != '\0')
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "\"%s\" is not a step", at + 1);
    memcpy(out->path, what, length);
    out->path[length] = out->slot[0] = '\0';
    colon = strrchr(out->path, ':');
    if (colon != NULL && colon != out->path) {
        (void)snprintf(out->slot, sizeof out->slot, "%s", colon + 1);
        out->path[colon - out->path] = '\0';
    }
    return FB_OK;
}

static const char *text_of(const char *text)
{
    return text != NULL ? text : "";
}

/* How well an event answers to a name: 0 not at all. */
static int rank_of(const fb_why_event *e, const target_name *name)
{
    const char *slot = text_of(e->site->slot);

    if (strcmp(text_of(e->site->path), name->path) != 0)
        return 0;
    if (name->slot[0] != '\0')
        return strcmp(slot, name->slot) == 0 ? 1 : 0;
    return strcmp(slot, "param") == 0  ? 4
           : strcmp(slot, "loss") == 0 ? 3
           : strcmp(slot, "out") == 0  ? 2
                                       : 1;
}

/* What the step has instead: the slots of that path, or that there is none of it. */
static fb_status fail_target(const step_graph *g, const target_name *name, fb_error *err)
{
    char slots[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < g->count; i++) {
        const char *slot = text_of(g->events[i].site->slot);

        if (strcmp(text_of(g->events[i].site->path), name->path) != 0 ||
            strlen(slot) + used + 3 > sizeof slots || strstr(slots, slot) != NULL)
            continue;
        used +=
            (size_t)snprintf(slots + used, sizeof slots - used, "%s%s", used > 0 ? ", " : "", slot);
    }
    if (used > 0)
        return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET,
                        "step %" PRIu64 ": %s has no %s; it has %s", name->step, name->path,
                        name->slot, slots);
    return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET,
                    g->count > 0 ? "step %" PRIu64 " has no event of path %s"
                                 : "the trace has no events of step %" PRIu64 " (looking for %s)",
                    name->step, name->path);
}

static fb_status find_target(size_t *out, const step_graph *g, const target_name *name,
                             fb_error *err)
{
    int best = 0;

    for (size_t i = 0; i < g->count; i++)
        if (rank_of(&g->events[i], name) > best) {
            best = rank_of(&g->events[i], name);
            *out = i;
        }
    return best > 0 ? FB_OK : fail_target(g, name, err);
}

/* --- All -------------------------------------------------------------------------------------- */

/* The slice owns what the graph held. */
static void adopt(fb_why *why, step_graph *g, pending *cut)
{
    why->events = g->events;
    why->count = g->count;
    why->inputs = g->inputs;
    why->input_count = g->input_count;
    why->cut = cut->at;
    why->cut_count = cut->count;
    g->events = NULL;
    g->inputs = NULL;
    cut->at = NULL;
}

static fb_status slice(fb_why *why, const char *what, const fb_why_options *options, fb_error *err)
{
    target_name *name = malloc(sizeof *name);
    step_graph g = {0};
    pending cut = {0};
    fb_status status = name == NULL ? out_of_memory(err) : parse_target(name, what, err);

    if (status == FB_OK)
        status = load(&g, why->trace, name->step, err);
    if (status == FB_OK)
        status = find_target(&why->target, &g, name, err);
    if (status == FB_OK) {
        why->step = name->step;
        g.events[why->target].depth = 0;
        g.queue[0] = (uint32_t)why->target;
        status = follow(&why->in_slice, &g, why->step, 1, &cut, err);
    }
    free(name);
    if (status == FB_OK) {
        settle(&cut);
        free(g.slots); /* before another step is held */
        free(g.queue);
        g.slots = g.queue = NULL;
        status = count_earlier(why, &cut, options, err);
    }
    if (status == FB_OK)
        adopt(why, &g, &cut);
    free(cut.at);
    graph_free(&g);
    return status;
}

fb_status fb_why_find(fb_why **out, const char *path, const char *what,
                      const fb_why_options *options, fb_error *err)
{
    fb_why *why = calloc(1, sizeof *why);
    fb_status status;

    *out = NULL;
    if (why == NULL)
        return out_of_memory(err);
    status = fb_trace_open(&why->trace, path, err);
    if (status == FB_OK && fb_trace_get_info(why->trace)->status == FB_TRACE_CORRUPT)
        status =
            fb__fail(err, FB_E_CORRUPT, fb_trace_get_info(why->trace)->damage,
                     "%s: corrupt at byte %" PRIu64, path, fb_trace_get_info(why->trace)->damage);
    if (status == FB_OK)
        status = slice(why, what, options, err);
    if (status != FB_OK) {
        fb_why_free(why);
        return status;
    }
    *out = why;
    return FB_OK;
}

void fb_why_free(fb_why *why)
{
    if (why == NULL)
        return;
    fb_trace_close(why->trace);
    free(why->events);
    free(why->inputs);
    free(why->cut);
    free(why);
}

size_t fb_why_input(const fb_why *why, const fb_ref *ref)
{
    for (size_t i = 0; i < why->count && ref->step == why->step; i++)
        if (why->events[i].site_number == ref->site && why->events[i].micro == ref->micro)
            return i;
    return SIZE_MAX;
}
