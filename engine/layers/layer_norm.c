/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_norm.c - layer normalization over the last dimension.
 * Orders: docs/numerics.md, "Layernorm".
 */
#include "base/error.h"
#include "engine/model.h"

/* saved: one float a row; and a place for the gradient of an input that needs none (the data) */
enum { MEAN, RSTD, UNUSED_DX };

/* y [R,C] = (x - mean)·rstd·weight (+ bias); weight, bias [C] */
static void forward(const fb__op *op, const fb__pass *pass)
{
    pass->kernels->layernorm(pass->pool, op->out->data, op->saved[MEAN], op->saved[RSTD],
                             op->in[0]->data, op->params[0]->data,
                             op->params[1] == NULL ? NULL : op->params[1]->data,
                             pass->batch * op->rows, op->outputs, op->u.eps);
}

/* dx [R,C]; dweight, dbias [C] */
static void backward(const fb__op *op, const fb__pass *pass)
{
    float *dx = op->din[0] != NULL ? op->din[0] : op->saved[UNUSED_DX];

    pass->kernels->layernorm_backward(pass->pool, dx, op->dparams[0], op->dparams[1], op->out->grad,
                                      op->in[0]->data, op->saved[MEAN], op->saved[RSTD],
                                      op->params[0]->data, pass->batch * op->rows, op->outputs);
}

static const fb__op_type layernorm = {
    .name = "layernorm",
    .flags = FB__READS_INPUT | FB__READS_WEIGHT | FB__WEIGHT_READS_INPUT,
    .forward = forward,
    .backward = backward,
};

fb_status fb__build_layernorm(fb__model *model, const fb_layer_config *layer, fb__value **value,
                              fb_error *err)
{
    const fb__shape shape = (*value)->shape;
    fb__shape columns = {.rank = 1};
    fb__op *op;
    fb_status status;

    if (shape.rank < 1)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET, "%s: layernorm needs at least one dimension",
                        layer->where);
    columns.dims[0] = shape.dims[shape.rank - 1];
    status = fb__model_add_op(&op, model, &layernorm, layer->path, *value, &shape, err);
    if (status != FB_OK)
        return status;
    op->outputs = columns.dims[0];
    op->rows = op->out->per_sample / op->outputs;
    op->u.eps = layer->eps;
    op->saved_per_sample[MEAN] = op->rows;
    op->saved_per_sample[RSTD] = op->rows;
    op->saved_per_sample[UNUSED_DX] = (*value)->needs_grad ? 0 : op->out->per_sample;
    status = fb__model_add_param(model, op, 0, "weight", &columns, FB__INIT_ONE, 0, err);
    if (status == FB_OK && layer->bias)
        status = fb__model_add_param(model, op, 1, "bias", &columns, FB__INIT_ZERO, 0, err);
    *value = op->out;
    return status;
}
