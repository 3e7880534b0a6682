/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_attention.c - multi-head self-attention: linear P.qkv, the core P, linear P.proj.
 * Orders: docs/numerics.md, "Attention".
 */
#include <inttypes.h>

#include "base/error.h"
#include "engine/model.h"

enum { ROW_MAX, ROW_SUM }; /* saved: one float a query and head, [B,H,T] */

static fb_attention shape_of(const fb__op *op, const fb__pass *pass)
{
    fb_attention shape = op->u.attention;

    shape.batch = pass->batch;
    return shape;
}

/* out [B,T,C] of qkv [B,T,3C] */
static void forward(const fb__op *op, const fb__pass *pass)
{
    const fb_attention shape = shape_of(op, pass);

    pass->kernels->attention(pass->pool, op->out->data, op->saved[ROW_MAX], op->saved[ROW_SUM],
                             op->in[0]->data, &shape);
}

/* dqkv [B,T,3C] of dout [B,T,C] */
static void backward(const fb__op *op, const fb__pass *pass)
{
    const fb_attention shape = shape_of(op, pass);

    pass->kernels->attention_backward(pass->pool, op->din[0], op->out->grad, op->out->data,
                                      op->in[0]->data, op->saved[ROW_MAX], op->saved[ROW_SUM],
                                      &shape);
}

static const fb__op_type attention = {
    .name = "attention",
    .flags = FB__READS_INPUT | FB__READS_OUTPUT,
    .forward = forward,
    .backward = backward,
};

static fb_status build_core(fb__model *model, const fb_layer_config *layer, const fb__shape *shape,
                            fb__value **value, fb_error *err)
{
    fb__op *op;
    const fb_status status =
        fb__model_add_op(&op, model, &attention, layer->path, *value, shape, err);

    if (status != FB_OK)
        return status;
    op->u.attention = (fb_attention){
        .time = shape->dims[0],
        .heads = (size_t)layer->heads,
        .head_dim = shape->dims[1] / (uint64_t)layer->heads,
        .causal = layer->causal,
    };
    op->saved_per_sample[ROW_MAX] = op->u.attention.heads * op->u.attention.time;
    op->saved_per_sample[ROW_SUM] = op->u.attention.heads * op->u.attention.time;
    *value = op->out;
    return FB_OK;
}

fb_status fb__build_attention(fb__model *model, const fb_layer_config *layer, fb__value **value,
                              fb_error *err)
{
    const fb__shape shape = (*value)->shape;
    const char *qkv = fb__model_path(model, layer->path, "qkv");
    const char *proj = fb__model_path(model, layer->path, "proj");
    char text[FB__SHAPE_TEXT];
    fb_status status;

    if (qkv == NULL || proj == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for the model");
    if (shape.rank != 2)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: attention needs samples of shape [T,C], got %s", layer->where,
                        fb__shape_text(text, &shape));
    if (shape.dims[1] % (uint64_t)layer->heads != 0)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: heads: %" PRIi64 " does not divide the %" PRIu64 " channels of %s",
                        layer->where, layer->heads, shape.dims[1], fb__shape_text(text, &shape));
    status = fb__build_linear_op(model, qkv, layer->where, 3 * shape.dims[1], layer->bias, NULL,
                                 value, err);
    if (status == FB_OK)
        status = build_core(model, layer, &shape, value, err);
    if (status == FB_OK)
        status = fb__build_linear_op(model, proj, layer->where, shape.dims[1], layer->bias, NULL,
                                     value, err);
    return status;
}
