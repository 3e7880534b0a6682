/* SPDX-License-Identifier: Apache-2.0
 *
 * hidden_source.c - a difference that equal results have hidden.
 */
#include "diff/judge/hidden_source.h"

#include <stdlib.h>

#include "base/error.h"

enum { NONE = UINT32_MAX };

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
    const fb__step *a = &g->pair->a;
    bool *marked = calloc(a->count + 1, sizeof *marked);

    *out = NULL;
    if (marked == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    marked[e - a->events] = true;
    mark_ancestors(marked, g);
    marked[e - a->events] = false;
    for (size_t i = 0; i < a->count && *out == NULL; i++)
        if (marked[i] && a->events[i].partner != NONE && !a->events[i].same_content &&
            a->events[i].site->kind == FB_KIND_DRAW)
            *out = &a->events[i];
    free(marked);
    return FB_OK;
}
