/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_linear.c - y = x · weightᵀ + bias over the last dimension.
 * Orders: docs/numerics.md, "Matrix product" and "Column sums".
 */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "engine/model.h"

/* y [R,N] = x [R,K] · weightᵀ + bias; weight [N,K], bias [N] */
static void forward(const fb__op *op, const fb__pass *pass)
{
    const fb_matmul product = {
        .c = op->out->data,
        .a = op->in[0]->data,
        .b = op->params[0]->data,
        .bias = op->params[1] == NULL ? NULL : op->params[1]->data,
        .m = pass->batch * op->rows,
        .n = op->outputs,
        .k = op->inputs,
        .lda = op->inputs,
        .ldb = op->inputs,
        .ldc = op->outputs,
        .b_transposed = true,
        .batch = 1,
    };

    pass->kernels->matmul(pass->pool, &product);
}

/* dx [R,K] = dy [R,N] · weight; dweight [N,K] = dyᵀ · x; dbias [N] = column sums of dy */
static void backward(const fb__op *op, const fb__pass *pass)
{
    const float *dy = op->out->grad;
    const size_t rows = pass->batch * op->rows;
    const fb_matmul dx = {
        .c = op->din[0],
        .a = dy,
        .b = op->params[0]->data,
        .m = rows,
        .n = op->inputs,
        .k = op->outputs,
        .lda = op->outputs,
        .ldb = op->inputs,
        .ldc = op->inputs,
        .batch = 1,
    };
    const fb_matmul dweight = {
        .c = op->dparams[0],
        .a = dy,
        .b = op->in[0]->data,
        .m = op->outputs,
        .n = op->inputs,
        .k = rows,
        .lda = op->outputs,
        .ldb = op->inputs,
        .ldc = op->inputs,
        .a_transposed = true,
        .batch = 1,
    };

    if (dx.c != NULL)
        pass->kernels->matmul(pass->pool, &dx);
    pass->kernels->matmul(pass->pool, &dweight);
    if (op->params[1] != NULL)
        pass->kernels->column_sums(pass->pool, op->dparams[1], dy, rows, op->outputs);
}

static const fb__op_type linear = {
    .name = "linear",
    .flags = FB__READS_WEIGHT | FB__WEIGHT_READS_INPUT,
    .forward = forward,
    .backward = backward,
};

fb_status fb__build_linear_op(fb__model *model, const char *path, const char *where,
                              uint64_t outputs, bool bias, fb__param *weight, fb__value **value,
                              fb_error *err)
{
    fb__shape shape = (*value)->shape;
    uint64_t inputs;
    fb__op *op;
    fb_status status;

    if (shape.rank < 1 || shape.dims[shape.rank - 1] == 0)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET, "%s: linear needs at least one dimension",
                        where);
    inputs = shape.dims[shape.rank - 1];
    shape.dims[shape.rank - 1] = outputs;
    status = fb__model_add_op(&op, model, &linear, path, *value, &shape, err);
    if (status != FB_OK)
        return status;
    op->rows = op->in[0]->per_sample / inputs;
    op->inputs = inputs;
    op->outputs = outputs;
    if (weight != NULL)
        status = fb__model_tie(model, op, 0, weight, err);
    else
        status = fb__model_add_param(model, op, 0, "weight",
                                     &(fb__shape){.rank = 2, .dims = {outputs, inputs}},
                                     FB__INIT_NORMAL, fb__init_std(inputs), err);
    if (status == FB_OK && bias)
        status =
            fb__model_add_param(model, op, 1, "bias", &(fb__shape){.rank = 1, .dims = {outputs}},
                                FB__INIT_ZERO, 0, err);
    *value = op->out;
    return status;
}

/* The weight of the embedding that a tied layer names, once its shape is known to fit. */
static fb_status find_tied(fb__param **out, fb__model *model, const fb_layer_config *layer,
                           uint64_t outputs, uint64_t inputs, fb_error *err)
{
    fb__op *op = fb__model_find_op(model, layer->tied);
    char text[FB__SHAPE_TEXT];

    if (op == NULL || strcmp(op->type->name, "embedding") != 0)
        return fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET,
                        "%s: tied: no embedding named \"%s\" comes before this layer", layer->where,
                        layer->tied);
    *out = op->params[0];
    if ((*out)->shape.dims[0] != outputs || (*out)->shape.dims[1] != inputs)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: tied: %s is %s, this layer needs [%" PRIu64 ",%" PRIu64 "]",
                        layer->where, (*out)->path, fb__shape_text(text, &(*out)->shape), outputs,
                        inputs);
    return FB_OK;
}

fb_status fb__build_linear(fb__model *model, const fb_layer_config *layer, fb__value **value,
                           fb_error *err)
{
    const fb__shape *shape = &(*value)->shape;
    const uint64_t outputs = layer->out < 0 ? model->data->classes : (uint64_t)layer->out;
    fb__param *weight = NULL;

    if (outputs == 0)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: out: \"%s\" is unknown, the data has no classes", layer->where,
                        layer->out == FB_OUT_VOCAB ? "vocab" : "classes");
    if (layer->tied != NULL) {
        const uint64_t inputs = shape->rank < 1 ? 0 : shape->dims[shape->rank - 1];
        const fb_status status = find_tied(&weight, model, layer, outputs, inputs, err);
        if (status != FB_OK)
            return status;
    }
    return fb__build_linear_op(model, layer->path, layer->where, outputs, layer->bias, weight,
                               value, err);
}
