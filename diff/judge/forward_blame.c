/* SPDX-License-Identifier: Apache-2.0
 *
 * forward_blame.c - the op of the forward pass behind a gradient that differs.
 */
#include "diff/judge/forward_blame.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { NONE = UINT32_MAX };

static const char *text(const char *name)
{
    return name == NULL ? "" : name;
}

static bool is_forward(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR &&
           (site->phase == FB_PHASE_FORWARD || site->phase == FB_PHASE_LOSS);
}

static bool is_backward(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_BACKWARD;
}

/* A copy hands a gradient on as it is: one more or less explains no other gradient. */
static bool is_copy(const char *op)
{
    return strcmp(op, "clone") == 0 || strcmp(op, "_to_copy") == 0 || strcmp(op, "copy_") == 0 ||
           strcmp(op, "cat") == 0 || strcmp(op, "stack") == 0;
}

static bool is_real(fb_dtype dtype)
{
    return dtype >= FB_DTYPE_F64 && dtype <= FB_DTYPE_C128;
}

/* Marks what gradients come through: what a backward pass reads, and all that it is made from.
 * Events stand behind their inputs, so one pass from the end is enough. */
static void mark_through(bool *through, const fb__step *step, const fb__key_index *index)
{
    for (size_t i = step->count; i-- > 0;) {
        const fb__step_event *e = &step->events[i];

        if (!is_backward(e->site) && !(is_forward(e->site) && through[i]))
            continue;
        for (uint32_t k = 0; k < e->input_count; k++) {
            const uint32_t at = fb__key_index_find(index, step, step->inputs[e->first_input + k]);

            if (at != NONE)
                through[at] = true;
        }
    }
}

/* Whether a side has the op alone, and what is made from it is the same in spite of it. */
static bool is_alone(const fb__step_event *e, uint16_t mark)
{
    return e->partner == NONE && (mark & (FB__DIFFERS | FB__COUNTS)) == FB__DIFFERS;
}

static bool has_other_arguments(const fb__step_event *e, const fb__step *other)
{
    return e->partner != NONE && e->same_content && e->same_inputs &&
           strcmp(text(e->site->arguments), text(other->events[e->partner].site->arguments)) != 0;
}

static const fb__step_event *find(const bool *through, const fb__step *step, const uint16_t *marks,
                                  const fb__step *other)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if (through[i] && is_forward(e->site) && is_real(e->site->dtype) &&
            !is_copy(text(e->site->op)) &&
            (is_alone(e, marks[i]) || (other != NULL && has_other_arguments(e, other))))
            return e;
    }
    return NULL;
}

fb_status fb__find_forward_op(fb__forward_op *out, const fb__guilt *g, fb_error *err)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    bool *through_a = calloc(a->count + 1, 1), *through_b = calloc(b->count + 1, 1);

    *out = (fb__forward_op){0};
    if (through_a == NULL || through_b == NULL) {
        free(through_a);
        free(through_b);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    }
    mark_through(through_a, a, &g->in_a);
    mark_through(through_b, b, &g->in_b);
    out->a = find(through_a, a, g->a, b);
    if (out->a != NULL)
        out->b = out->a->partner == NONE ? NULL : &b->events[out->a->partner];
    else
        out->b = find(through_b, b, g->b, NULL);
    free(through_a);
    free(through_b);
    return FB_OK;
}
