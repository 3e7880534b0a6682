/* SPDX-License-Identifier: Apache-2.0
 *
 * replicas.c - the parameters of a run's ranks, step by step.
 */
#include "diff/replicas.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/intern.h"
#include "diff/diff_notes.h"
#include "tracer/read/linked.h"

/* A parameter of the first rank. */
typedef struct parameter {
    fb_hash hash;
    uint64_t seen; /* the step of that hash, + 1 */
    bool alike;    /* both had it alike once */
    bool met;      /* the other rank has it */
} parameter;

typedef struct comparison {
    fb_trace *first, *other;
    fb_intern *names;
    parameter *params;
    size_t capacity;
    bool all_alike; /* all state was, in some step */
    uint64_t equal_through;
    bool parted;
    uint64_t step;
    char path[FB_NAME_MAX + 1];
} comparison;

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing ranks: out of memory");
}

static bool is_value(const fb_site *site)
{
    return site != NULL && site->kind == FB_KIND_PARAM && site->path != NULL &&
           site->slot != NULL && strcmp(site->slot, "param") == 0 &&
           (site->phase == FB_PHASE_OPTIMIZER || site->phase == FB_PHASE_INIT);
}

/* The next value of a parameter in the step; *site is NULL at its end. */
static fb_status next_value(const fb_site **site, const fb_event **event, fb_trace *t,
                            uint64_t step, fb_error *err)
{
    for (;;) {
        const fb_status status = fb_trace_next(t, event, NULL, err);

        *site = NULL;
        if (status != FB_OK || *event == NULL || (*event)->step > step)
            return status;
        *site = fb_trace_site(t, (*event)->site);
        if ((*event)->step == step && is_value(*site))
            return FB_OK;
    }
}

static fb_status take(comparison *c, const fb_site *site, fb_hash hash, uint64_t step,
                      fb_error *err)
{
    const uint32_t at = fb_intern_put(c->names, site->path, strlen(site->path), NULL);

    if (at == FB_INTERN_NONE)
        return out_of_memory(err);
    if (at >= c->capacity) {
        const size_t capacity = 2 * (size_t)at + 64;
        parameter *grown = realloc(c->params, capacity * sizeof *grown);

        if (grown == NULL)
            return out_of_memory(err);
        memset(grown + c->capacity, 0, (capacity - c->capacity) * sizeof *grown);
        c->params = grown;
        c->capacity = capacity;
    }
    c->params[at].hash = hash;
    c->params[at].seen = step + 1;
    return FB_OK;
}

static void compare_value(comparison *c, const fb_site *site, fb_hash hash, uint64_t step)
{
    const uint32_t at = fb_intern_find(c->names, site->path, strlen(site->path));
    parameter *p = at == FB_INTERN_NONE ? NULL : &c->params[at];

    if (p == NULL || p->seen != step + 1)
        return;
    p->met = true;
    if (fb_hash_equal(p->hash, hash)) {
        p->alike = true;
    } else if (!c->parted && (p->alike || c->all_alike)) {
        c->parted = true;
        c->step = step;
        (void)snprintf(c->path, sizeof c->path, "%s", site->path);
    }
}

static fb_status compare_step(comparison *c, uint64_t step, fb_error *err)
{
    const fb_event *event;
    const fb_site *site;
    bool any = false;
    fb_status status = fb_trace_seek(c->first, step, err);

    while (status == FB_OK) {
        status = next_value(&site, &event, c->first, step, err);
        if (status != FB_OK || site == NULL)
            break;
        status = take(c, site, event->hash, step, err);
    }
    if (status == FB_OK)
        status = fb_trace_seek(c->other, step, err);
    while (status == FB_OK) {
        status = next_value(&site, &event, c->other, step, err);
        if (status != FB_OK || site == NULL)
            break;
        compare_value(c, site, event->hash, step);
        any = true;
    }
    if (any && !c->parted)
        c->equal_through = step;
    return status;
}

static fb_status compare_steps(comparison *c, fb_error *err)
{
    const fb_trace_info *x = fb_trace_get_info(c->first), *y = fb_trace_get_info(c->other);
    const uint64_t last = x->last_step < y->last_step ? x->last_step : y->last_step;
    fb_status status = FB_OK;

    for (uint64_t step = 0; step <= last && status == FB_OK && !c->parted; step++) {
        const uint32_t state = 1u << FB_CLASS_STATE;
        fb_trace_step a, b;

        if (fb_trace_get_step(c->first, step, &a, NULL) != FB_OK ||
            fb_trace_get_step(c->other, step, &b, NULL) != FB_OK ||
            (a.classes & b.classes & state) == 0)
            continue;
        if (fb_hash_equal(a.root[FB_CLASS_STATE], b.root[FB_CLASS_STATE]) && step > 0 &&
            !fb_hash_is_zero(a.root[FB_CLASS_STATE])) {
            c->all_alike = true;
            c->equal_through = step;
        } else {
            status = compare_step(c, step, err);
        }
    }
    return status;
}

/* The earliest parting of all counts. */
static void merge(fb_replicas *out, const comparison *c, const char *role)
{
    const uint32_t count = fb_intern_count(c->names);

    out->ranks++;
    out->replicated = out->own = 0;
    for (uint32_t i = 0; i < count; i++) {
        const bool alike = c->params[i].alike || (c->params[i].met && c->all_alike);

        out->replicated += alike;
        out->own += c->params[i].met && !alike;
    }
    if (out->ranks == 1 || c->equal_through < out->equal_through)
        out->equal_through = c->equal_through;
    if (!c->parted || (out->parted && out->step <= c->step))
        return;
    out->parted = true;
    out->step = c->step;
    (void)snprintf(out->role, sizeof out->role, "%s", role);
    (void)snprintf(out->path, sizeof out->path, "%s", c->path);
}

static fb_status compare_rank(fb_replicas *out, fb_trace *first, const fb_linked_part *part,
                              const char *main, fb_error *err)
{
    comparison c = {.first = first, .names = fb_intern_create()};
    char *path = fb_linked_path(part, main);
    fb_status status = path == NULL || c.names == NULL
                           ? out_of_memory(err)
                           : fb_trace_open_beside(&c.other, path, first, err);

    if (status == FB_OK)
        status = compare_steps(&c, err);
    if (status == FB_OK)
        merge(out, &c, part->role);
    fb_trace_close(c.other);
    fb_intern_destroy(c.names);
    free(c.params);
    free(path);
    return status;
}

/* Traces of more than `most` bytes are passed over. */
static fb_status find(fb_replicas *out, const char *path, uint64_t most, fb_error *err)
{
    fb_linked linked = {.count = 0};
    fb_trace *first;
    fb_status status = fb_trace_open(&first, path, err);

    *out = (fb_replicas){.ranks = 0};
    if (status != FB_OK)
        return status;
    if (fb_trace_get_info(first)->bytes <= most)
        status = fb_linked_parts(&linked, first, path, err);
    for (size_t i = 0; i < linked.count && status == FB_OK; i++)
        if (strncmp(linked.parts[i].role, "rank", 4) == 0 && linked.parts[i].bytes <= most)
            status = compare_rank(out, first, &linked.parts[i], path, err);
    fb_linked_free(&linked);
    fb_trace_close(first);
    return status;
}

fb_status fb_replicas_find(fb_replicas *out, const char *path, fb_error *err)
{
    return find(out, path, UINT64_MAX, err);
}

fb_status fb__note_replicas(fb_diff_list *notes, const char *path, const char *which, fb_error *err)
{
    char text[FB_NAME_MAX + 160];
    fb_replicas found;
    const fb_status status = find(&found, path, 32 << 20, err);

    if (status != FB_OK || !found.parted)
        return status;
    return fb__list_add(notes, err, "within %s %s", which,
                        fb_replicas_text(text, sizeof text, &found));
}

char *fb_replicas_text(char *out, size_t size, const fb_replicas *r)
{
    out[0] = '\0';
    if (r->ranks == 0)
        return out;
    if (r->parted)
        (void)snprintf(out, size, "%s parts from rank0 in step %" PRIu64 ": %s", r->role, r->step,
                       r->path);
    else if (r->replicated == 0)
        (void)snprintf(out, size, "%zu beside rank0, no parameter alike in both", r->ranks);
    else
        (void)snprintf(out, size, "%zu beside rank0, parameters alike through step %" PRIu64,
                       r->ranks, r->equal_through);
    if (!r->parted && r->own > 0 && r->replicated > 0)
        (void)snprintf(out + strlen(out), size - strlen(out), "; %" PRIu64 " never were", r->own);
    return out;
}
