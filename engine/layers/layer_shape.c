/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_shape.c - layers that join or reshape values without arithmetic of their own: residual,
 * flatten.
 */
#include <string.h>

#include "base/error.h"
#include "engine/model.h"

/* --- residual --------------------------------------------------------------------------------- */

/* y = x + branch(x) */
static void residual_forward(const fb__op *op, const fb__pass *pass)
{
    pass->kernels->add(pass->pool, op->out->data, op->in[0]->data, op->in[1]->data,
                       pass->batch * op->out->per_sample);
}

/* dx and dbranch are dy: no function, the gradient is handed on. */
static const fb__op_type residual = {
    .name = "residual",
    .flags = FB__HANDS_GRAD_ON,
    .forward = residual_forward,
};

fb_status fb__build_residual(fb__model *model, const fb_layer_config *layer, fb__value **value,
                             fb_error *err)
{
    fb__value *const x = *value;
    fb__op *op;
    char from[FB__SHAPE_TEXT], to[FB__SHAPE_TEXT];
    fb_status status = fb__build_layers(model, layer->children, layer->child_count, value, err);

    if (status != FB_OK)
        return status;
    if (x == model->input && model->data->input_dtype == FB_DTYPE_U32)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET, "%s: residual cannot add to tokens",
                        layer->where);
    if (x->shape.rank != (*value)->shape.rank ||
        memcmp(x->shape.dims, (*value)->shape.dims, x->shape.rank * sizeof x->shape.dims[0]) != 0)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: residual: the branch turns %s into %s; they must be equal",
                        layer->where, fb__shape_text(from, &x->shape),
                        fb__shape_text(to, &(*value)->shape));
    status = fb__model_add_op(&op, model, &residual, layer->path, x, &x->shape, err);
    if (status == FB_OK)
        status = fb__model_read(model, op, *value, err);
    if (status == FB_OK)
        *value = op->out;
    return status;
}

/* --- flatten ---------------------------------------------------------------------------------- */

/* y [B,n] is x [B,...]: the same memory, unless a planted fault needs a copy to fall into */
static void flatten_forward(const fb__op *op, const fb__pass *pass)
{
    if (op->out->own_data)
        memcpy(op->out->data, op->in[0]->data, pass->batch * op->out->per_sample * sizeof(float));
    else
        op->out->data = op->in[0]->data;
}

static const fb__op_type flatten = {
    .name = "flatten",
    .flags = FB__HANDS_GRAD_ON | FB__HANDS_DATA_ON,
    .forward = flatten_forward,
};

fb_status fb__build_flatten(fb__model *model, const fb_layer_config *layer, fb__value **value,
                            fb_error *err)
{
    const fb__shape shape = {.rank = 1, .dims = {(*value)->per_sample}};
    fb__op *op;
    const fb_status status =
        fb__model_add_op(&op, model, &flatten, layer->path, *value, &shape, err);

    if (status == FB_OK)
        *value = op->out;
    return status;
}
