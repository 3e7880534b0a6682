/* SPDX-License-Identifier: Apache-2.0
 *
 * forward_blame.c - the op of the forward pass behind a gradient that differs.
 */
#include "diff/judge/forward_blame.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

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

/* Ops that do not mind the order of their operands. */
static bool is_symmetric(const char *op)
{
    static const char *const ops[] = {"add",  "mul",  "maximum", "minimum",
                                      "add_", "mul_", "eq",      "ne"};

    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (strcmp(op, ops[i]) == 0)
            return true;
    return false;
}

/* Whether two identities, one of each side, are of one event. */
static bool is_one(const fb__guilt *g, fb_hash x, fb_hash y)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    const uint32_t i = fb__key_index_find(&g->in_a, a, x), j = fb__key_index_find(&g->in_b, b, y);

    return i == NONE || j == NONE ? i == j && fb_hash_equal(x, y) : a->events[i].partner == j;
}

/* An equal result of the same operands in the other order: a difference of equal numbers is zero
 * either way, its gradient has the other sign. */
static bool has_exchanged_operands(const fb__guilt *g, const fb__step_event *e)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    const fb__step_event *other = e->partner == NONE ? NULL : &b->events[e->partner];
    const uint32_t n = e->input_count;

    if (other == NULL || n < 2 || n != other->input_count || !e->same_content ||
        is_symmetric(text(e->site->op)))
        return false;
    const fb_hash *x = &a->inputs[e->first_input + n - 2];
    const fb_hash *y = &b->inputs[other->first_input + n - 2];

    return !is_one(g, x[0], y[0]) && is_one(g, x[0], y[1]) && is_one(g, x[1], y[0]);
}

static const fb__step_event *find(const bool *through, const fb__step *step, const uint16_t *marks,
                                  const fb__guilt *g)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if (through[i] && is_forward(e->site) && is_real(e->site->dtype) &&
            !is_copy(text(e->site->op)) &&
            (is_alone(e, marks[i]) ||
             (g != NULL && (has_other_arguments(e, &g->pair->b) || has_exchanged_operands(g, e)))))
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
    out->a = find(through_a, a, g->a, g);
    if (out->a != NULL)
        out->b = out->a->partner == NONE ? NULL : &b->events[out->a->partner];
    else
        out->b = find(through_b, b, g->b, NULL);
    free(through_a);
    free(through_b);
    return FB_OK;
}
