/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_embedding.c - tokens to vectors, with a learned position where asked.
 * Orders: docs/numerics.md, "Column sums".
 */
#include "base/error.h"
#include "engine/model.h"

/* y [B,T,C] = weight[token] (+ positions[t]); weight [V,C], positions [T,C] */
static void forward(const fb__op *op, const fb__pass *pass)
{
    pass->kernels->embedding(pass->pool, op->out->data, op->params[0]->data,
                             op->params[1] == NULL ? NULL : op->params[1]->data, pass->tokens,
                             pass->batch * op->rows, op->rows, op->outputs);
}

/* dweight [V,C], dpositions [T,C]: sums of the rows of dy that each row made */
static void backward(const fb__op *op, const fb__pass *pass)
{
    pass->kernels->embedding_backward(pass->pool, op->dparams[0], op->dparams[1], op->out->grad,
                                      pass->tokens, pass->batch * op->rows, op->rows, op->outputs,
                                      op->inputs);
}

static const fb__op_type embedding = {
    .name = "embedding",
    .flags = FB__WEIGHT_READS_INPUT,
    .forward = forward,
    .backward = backward,
};

fb_status fb__build_embedding(fb__model *model, const fb_layer_config *layer, fb__value **value,
                              fb_error *err)
{
    const float std = 0.02f;
    const uint64_t dim = (uint64_t)layer->dim;
    const uint64_t vocab = model->data->classes;
    const uint64_t time = (*value)->per_sample;
    fb__op *op;
    fb_status status;

    if (*value != model->input || model->data->input_dtype != FB_DTYPE_U32)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: an embedding reads tokens: it must be the first layer, and the data "
                        "text or tokens",
                        layer->where);
    status = fb__model_add_op(&op, model, &embedding, layer->path, *value,
                              &(fb__shape){.rank = 2, .dims = {time, dim}}, err);
    if (status != FB_OK)
        return status;
    op->rows = time;
    op->inputs = vocab;
    op->outputs = dim;
    status =
        fb__model_add_param(model, op, 0, "weight", &(fb__shape){.rank = 2, .dims = {vocab, dim}},
                            FB__INIT_NORMAL, std, err);
    if (status == FB_OK && layer->positions)
        status = fb__model_add_param(model, op, 1, "positions",
                                     &(fb__shape){.rank = 2, .dims = {time, dim}}, FB__INIT_NORMAL,
                                     std, err);
    *value = op->out;
    return status;
}
