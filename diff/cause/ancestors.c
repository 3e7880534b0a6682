/* SPDX-License-Identifier: Apache-2.0
 *
 * ancestors.c - what an event is made from in its step, nearest first, the common start of the step
 * included, which is not loaded: it is read from the trace again.
 */
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"

enum { NONE = UINT32_MAX };

/* Events of one step up to one of them, in the order of the file. */
typedef struct past {
    fb_trace *trace;
    uint64_t step;
    struct node {
        uint32_t site, first_input, input_count, before; /* before: of the same site, or NONE */
        int32_t micro;
    } * nodes;
    fb_ref *inputs;
    size_t count, capacity, input_count, input_capacity;
    uint32_t *last; /* of each site its last node */
    size_t site_capacity;
} past;

static void past_free(past *p)
{
    free(p->nodes);
    free(p->inputs);
    free(p->last);
}

static bool grow(void **at, size_t *capacity, size_t needed, size_t size)
{
    size_t n = *capacity > 0 ? *capacity : 256;
    void *grown;

    while (n < needed)
        n *= 2;
    if (n == *capacity)
        return true;
    grown = realloc(*at, n * size);
    if (grown == NULL)
        return false;
    *at = grown;
    *capacity = n;
    return true;
}

static bool grow_sites(past *p, uint32_t site)
{
    const size_t before = p->site_capacity;

    if (!grow((void **)&p->last, &p->site_capacity, (size_t)site + 1, sizeof *p->last))
        return false;
    for (size_t i = before; i < p->site_capacity; i++)
        p->last[i] = NONE;
    return true;
}

static bool add(past *p, const fb_event *e)
{
    if (!grow((void **)&p->nodes, &p->capacity, p->count + 1, sizeof *p->nodes) ||
        !grow((void **)&p->inputs, &p->input_capacity, p->input_count + e->input_count,
              sizeof *p->inputs) ||
        !grow_sites(p, e->site))
        return false;
    p->nodes[p->count] = (struct node){.site = e->site,
                                       .first_input = (uint32_t)p->input_count,
                                       .input_count = e->input_count,
                                       .before = p->last[e->site],
                                       .micro = e->micro};
    if (e->input_count > 0)
        memcpy(p->inputs + p->input_count, e->inputs, e->input_count * sizeof *p->inputs);
    p->input_count += e->input_count;
    p->last[e->site] = (uint32_t)p->count++;
    return true;
}

/* Reads the step up to the event of this number. */
static bool read_past(past *p, const fb__step *step, uint64_t to)
{
    const fb_event *e = NULL;
    uint64_t number = 0;

    *p = (past){.trace = step->trace, .step = step->step};
    if (fb_trace_seek(step->trace, step->step, NULL) != FB_OK)
        return false;
    while (p->count < FB__STEP_EVENTS_MAX &&
           fb_trace_next(step->trace, &e, &number, NULL) == FB_OK && e != NULL &&
           e->step == step->step && number <= to)
        if (!add(p, e))
            return false;
    return p->count > 0 && number >= to;
}

static uint32_t node_of(const past *p, const fb_ref *ref)
{
    uint32_t at = ref->step == p->step && ref->site < p->site_capacity ? p->last[ref->site] : NONE;

    while (at != NONE && p->nodes[at].micro != ref->micro)
        at = p->nodes[at].before;
    return at;
}

/* Breadth first over `queue`, whose first `count` nodes are the ones to begin with. */
typedef struct search {
    uint32_t queue[FB__ORIGIN_REACH];
    size_t count;
} search;

static void push(search *s, uint32_t node, size_t reach)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->queue[i] == node)
            return;
    if (s->count < reach && s->count < FB__ORIGIN_REACH)
        s->queue[s->count++] = node;
}

/* Looks at the inputs from `k` to `end` of one node: a match, or more to look at. */
static const fb_site *look(search *s, const past *p, uint32_t node, uint32_t k, uint32_t end,
                           fb__match *match, fb__match *through, size_t reach)
{
    for (; k < end && k < p->nodes[node].input_count; k++) {
        const fb_ref *ref = &p->inputs[p->nodes[node].first_input + k];
        const fb_site *site = fb_trace_site(p->trace, ref->site);
        const uint32_t at = node_of(p, ref);

        if (site != NULL && match(site))
            return site;
        if (site != NULL && at != NONE && (through == NULL || through(site)))
            push(s, at, reach);
    }
    return NULL;
}

const fb_site *fb__origin(const fb__case *c, const fb__step_event *e, uint32_t k, fb__match *match,
                          fb__match *through, size_t reach)
{
    const fb_site *found = NULL;
    search s = {.count = 0};
    past p;

    if (read_past(&p, fb__step_of(c, e), e->number)) {
        const uint32_t own = (uint32_t)p.count - 1;

        found = look(&s, &p, own, k == FB__ALL_INPUTS ? 0 : k, k == FB__ALL_INPUTS ? NONE : k + 1,
                     match, through, reach);
        for (size_t i = 0; i < s.count && found == NULL; i++)
            found = look(&s, &p, s.queue[i], 0, NONE, match, through, reach);
    }
    past_free(&p);
    return found;
}

const fb_site *fb__ancestor(const fb__case *c, const fb__step_event *e, fb__match *match,
                            size_t reach)
{
    return fb__origin(c, e, FB__ALL_INPUTS, match, NULL, reach);
}
