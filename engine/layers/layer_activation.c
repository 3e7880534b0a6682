/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_activation.c - functions of one element: gelu, relu, tanh, sigmoid, silu, softplus.
 * Values: docs/numerics.md, "Scalar functions".
 */
#include "engine/model.h"

/* y = f(x) */
static void forward(const fb__op *op, const fb__pass *pass)
{
    pass->kernels->activate(pass->pool, op->u.activation, op->out->data, op->in[0]->data,
                            pass->batch * op->out->per_sample);
}

/* dx = dy · f'(x) */
static void backward(const fb__op *op, const fb__pass *pass)
{
    if (op->din[0] != NULL)
        pass->kernels->activate_backward(pass->pool, op->u.activation, op->din[0], op->out->grad,
                                         op->in[0]->data, pass->batch * op->out->per_sample);
}

/* One type for each function: its name is the `op` of the events. */
static const fb__op_type types[FB_ACTIVATION_COUNT] = {
    [FB_ACTIVATION_RELU] = {"relu", FB__READS_INPUT, forward, backward},
    [FB_ACTIVATION_TANH] = {"tanh", FB__READS_INPUT, forward, backward},
    [FB_ACTIVATION_SIGMOID] = {"sigmoid", FB__READS_INPUT, forward, backward},
    [FB_ACTIVATION_SILU] = {"silu", FB__READS_INPUT, forward, backward},
    [FB_ACTIVATION_GELU] = {"gelu", FB__READS_INPUT, forward, backward},
    [FB_ACTIVATION_GELU_TANH] = {"gelu_tanh", FB__READS_INPUT, forward, backward},
    [FB_ACTIVATION_SOFTPLUS] = {"softplus", FB__READS_INPUT, forward, backward},
};

static fb_activation activation_of(const fb_layer_config *layer)
{
    switch (layer->type) {
    case FB_LAYER_TANH:
        return FB_ACTIVATION_TANH;
    case FB_LAYER_SIGMOID:
        return FB_ACTIVATION_SIGMOID;
    case FB_LAYER_SILU:
        return FB_ACTIVATION_SILU;
    case FB_LAYER_SOFTPLUS:
        return FB_ACTIVATION_SOFTPLUS;
    case FB_LAYER_GELU:
        return layer->gelu_tanh ? FB_ACTIVATION_GELU_TANH : FB_ACTIVATION_GELU;
    default:
        return FB_ACTIVATION_RELU;
    }
}

fb_status fb__build_activation(fb__model *model, const fb_layer_config *layer, fb__value **value,
                               fb_error *err)
{
    const fb_activation f = activation_of(layer);
    const fb__shape shape = (*value)->shape;
    fb__op *op;
    const fb_status status =
        fb__model_add_op(&op, model, &types[f], layer->path, *value, &shape, err);

    if (status != FB_OK)
        return status;
    op->u.activation = f;
    *value = op->out;
    return FB_OK;
}
