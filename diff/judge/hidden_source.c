/* SPDX-License-Identifier: Apache-2.0
 *
 * hidden_source.c - a difference that equal results have hidden.
 */
#include "diff/judge/hidden_source.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { NONE = UINT32_MAX };

/* Where an op writes: the elements before its result in the memory that it writes to. */
static unsigned long long written_at(const fb_site *site)
{
    static const char name[] = "\"out.offset\":";
    const char *at = site->arguments == NULL ? NULL : strstr(site->arguments, name);

    return at == NULL ? 0 : strtoull(at + sizeof name - 1, NULL, 10);
}

static bool is_hidden(const fb__step_event *e, const fb__step_event *other)
{
    if (e->site->kind == FB_KIND_DRAW)
        return !e->same_content;
    return e->site->kind == FB_KIND_TENSOR && e->same_content &&
           written_at(e->site) != written_at(other->site);
}

/* Marks what an event of the step is made from. Events stand behind their inputs, so one pass from
 * the end is enough. */
static void mark_ancestors(bool *marked, const fb__guilt *g)
{
    const fb__step *a = &g->pair->a;

    for (size_t i = a->count; i-- > 0;)
        for (uint32_t k = 0; marked[i] && k < a->events[i].input_count; k++) {
            const uint32_t at =
                fb__key_index_find(&g->in_a, a, a->inputs[a->events[i].first_input + k]);

            if (at != NONE)
                marked[at] = true;
        }
}

fb_status fb__find_hidden_source(const fb__step_event **out, const fb__guilt *g,
                                 const fb__step_event *e, fb_error *err)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    bool *marked = calloc(a->count + 1, sizeof *marked);

    *out = NULL;
    if (marked == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    marked[e - a->events] = true;
    mark_ancestors(marked, g);
    marked[e - a->events] = false;
    for (size_t i = 0; i < a->count && *out == NULL; i++)
        if (marked[i] && a->events[i].partner != NONE &&
            is_hidden(&a->events[i], &b->events[a->events[i].partner]))
            *out = &a->events[i];
    free(marked);
    return FB_OK;
}
