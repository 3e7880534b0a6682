/* SPDX-License-Identifier: Apache-2.0
 *
 * model_place.c - where the numbers of a graph lie in its one allocation.
 *
 * Activations live from forward to backward, each in memory of its own. A gradient lives from its
 * first contribution to the backward of the op that made its value, so gradients share memory: the
 * backward pass is played once without numbers, and whoever ends leaves its place to others.
 */
#include "engine/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { LAYOUT_ALIGN = 64 }; /* bytes: a cache line */

void *fb__layout_take(fb__layout *layout, size_t count, size_t element_bytes)
{
    const size_t at = layout->bytes;

    layout->bytes += (count * element_bytes + LAYOUT_ALIGN - 1) / LAYOUT_ALIGN * LAYOUT_ALIGN;
    return layout->base == NULL ? NULL : layout->base + at;
}

/* --- Planning gradients ----------------------------------------------------------------------- */

/* A buffer of the plan. Several values may hold it: a gradient that is handed on is one buffer. */
typedef struct buffer {
    size_t offset, count; /* elements */
    size_t holders;       /* 0: free */
} buffer;

typedef struct planner {
    buffer *buffers; /* those in use, by offset */
    size_t buffer_count;
    size_t total; /* elements that all buffers need at most */
    size_t batch;
} planner;

/* Places a buffer into the first gap that is large enough; returns its offset. */
static size_t take(planner *p, size_t count)
{
    const size_t step = LAYOUT_ALIGN / sizeof(float);
    const size_t size = (count + step - 1) / step * step;
    size_t at = 0, i = 0;

    while (i < p->buffer_count && p->buffers[i].offset - at < size) {
        at = p->buffers[i].offset + p->buffers[i].count;
        i++;
    }
    memmove(p->buffers + i + 1, p->buffers + i, (p->buffer_count - i) * sizeof *p->buffers);
    p->buffers[i] = (buffer){.offset = at, .count = size, .holders = 1};
    p->buffer_count++;
    if (at + size > p->total)
        p->total = at + size;
    return at;
}

static size_t find(const planner *p, size_t offset)
{
    size_t i = 0;

    while (p->buffers[i].offset != offset)
        i++;
    return i;
}

static size_t hold(planner *p, size_t offset)
{
    p->buffers[find(p, offset)].holders++;
    return offset;
}

static void leave(planner *p, size_t offset)
{
    const size_t i = find(p, offset);

    if (--p->buffers[i].holders > 0)
        return;
    p->buffer_count--;
    memmove(p->buffers + i, p->buffers + i + 1, (p->buffer_count - i) * sizeof *p->buffers);
}

fb__value *fb__shared_gradient(const fb__value *value)
{
    if (value->use_count == 1 && !value->own_grad &&
        (value->uses[0].op->type->flags & FB__HANDS_GRAD_ON))
        return value->uses[0].op->out;
    return NULL;
}

/* All contributions are there: the gradient is the only one or their sum, which takes the place of
 * the first where that is no other value's gradient. Afterwards the value holds one buffer. */
static void plan_join(planner *p, fb__value *value)
{
    const bool handed =
        value->use_count > 0 && (value->uses[0].op->type->flags & FB__HANDS_GRAD_ON) != 0;
    const size_t count = p->batch * value->per_sample;

    if (value->use_count == 0 || (handed && fb__shared_gradient(value) == NULL))
        value->grad_offset = take(p, count);
    else
        value->grad_offset = hold(p, value->uses[0].offset);
    for (size_t i = 0; i < value->use_count; i++)
        leave(p, value->uses[i].offset);
}

/* The buffers that the backward of op writes, or hands on. */
static void plan_contributions(planner *p, const fb__op *op)
{
    for (unsigned i = 0; i < op->in_count; i++) {
        const fb__value *in = op->in[i];

        for (size_t u = 0; u < in->use_count && in->needs_grad; u++)
            if (in->uses[u].op == op && in->uses[u].input == i)
                in->uses[u].offset = op->type->flags & FB__HANDS_GRAD_ON
                                         ? hold(p, op->out->grad_offset)
                                         : take(p, p->batch * in->per_sample);
    }
}

fb_status fb__model_plan(fb__model *model, fb_error *err)
{
    planner p = {.batch = model->batch};
    size_t most = 1; /* buffers at one time: at most one a use, and one a value */

    for (size_t i = 0; i < model->op_count; i++)
        most += 1 + model->ops[i]->in_count;
    p.buffers = calloc(most, sizeof *p.buffers);
    if (p.buffers == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for the model");
    for (size_t i = model->op_count; i-- > 0;) {
        const fb__op *op = model->ops[i];

        if (!op->out->needs_grad)
            continue;
        plan_join(&p, op->out);
        plan_contributions(&p, op);
        leave(&p, op->out->grad_offset);
    }
    model->gradient_count = p.total;
    free(p.buffers);
    return FB_OK;
}

/* --- Placing ---------------------------------------------------------------------------------- */

static void place_gradient(fb__value *value, float *gradients)
{
    const fb__value *shared = fb__shared_gradient(value);

    value->grad = gradients + value->grad_offset;
    if (shared != NULL)
        value->grad_storage = shared->grad_storage;
    for (size_t i = 0; i < value->use_count; i++) {
        fb__use *use = &value->uses[i];

        use->contribution = gradients + use->offset;
        use->op->din[use->input] = use->contribution;
    }
}

void fb__model_place(fb__model *model, fb__layout *layout)
{
    float *gradients;

    for (size_t i = 0; i < model->op_count; i++) {
        fb__op *op = model->ops[i];
        const bool follows = (op->type->flags & FB__HANDS_DATA_ON) && !op->out->own_data;

        if (!follows) /* else the output is the input, set in each pass */
            op->out->data =
                fb__layout_take(layout, model->batch * op->out->per_sample, sizeof(float));
        for (int s = 0; s < FB__OP_SAVED; s++)
            if (op->saved_per_sample[s] != 0)
                op->saved[s] = fb__layout_take(layout, model->batch * op->saved_per_sample[s], 4);
    }
    gradients = fb__layout_take(layout, model->gradient_count, sizeof(float));
    for (size_t i = model->op_count; i-- > 0 && layout->base != NULL;)
        if (model->ops[i]->out->needs_grad)
            place_gradient(model->ops[i]->out, gradients);
}
