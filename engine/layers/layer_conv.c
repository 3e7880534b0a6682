/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_conv.c - 2-d convolution over samples [C,H,W].
 * Orders: docs/numerics.md, "Convolution".
 */
#include "base/error.h"
#include "engine/layers/window.h"

static fb_conv2d shape_of(const fb__op *op, const fb__pass *pass)
{
    fb_conv2d shape = op->u.conv;

    shape.batch = pass->batch;
    return shape;
}

/* y [B,O,OH,OW] of x [B,C,H,W]; weight [O,C,KH,KW], bias [O] */
static void forward(const fb__op *op, const fb__pass *pass)
{
    const fb_conv2d shape = shape_of(op, pass);

    pass->kernels->conv2d(pass->pool, op->out->data, op->in[0]->data, op->params[0]->data,
                          op->params[1] == NULL ? NULL : op->params[1]->data, &shape);
}

/* dx [B,C,H,W]; dweight [O,C,KH,KW], dbias [O] */
static void backward(const fb__op *op, const fb__pass *pass)
{
    const fb_conv2d shape = shape_of(op, pass);

    if (op->din[0] != NULL)
        pass->kernels->conv2d_backward_input(pass->pool, op->din[0], op->out->grad,
                                             op->params[0]->data, &shape);
    pass->kernels->conv2d_backward_weight(pass->pool, op->dparams[0], op->dparams[1], op->out->grad,
                                          op->in[0]->data, &shape);
}

static const fb__op_type conv2d = {
    .name = "conv2d",
    .flags = FB__READS_WEIGHT | FB__WEIGHT_READS_INPUT,
    .forward = forward,
    .backward = backward,
};

fb_status fb__build_conv2d(fb__model *model, const fb_layer_config *layer, fb__value **value,
                           fb_error *err)
{
    const uint64_t outputs = layer->out < 0 ? model->data->classes : (uint64_t)layer->out;
    fb_conv2d window;
    fb__shape kernel;
    fb__op *op;
    fb_status status;

    if (outputs == 0)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET, "%s: out: unknown, the data has no classes",
                        layer->where);
    status = fb__window_shape(&window, layer, &(*value)->shape, err);
    if (status != FB_OK)
        return status;
    window.out_channels = outputs;
    status = fb__model_add_op(&op, model, &conv2d, layer->path, *value,
                              &(fb__shape){
                                  .rank = 3,
                                  .dims = {outputs, window.out_height, window.out_width},
                              },
                              err);
    if (status != FB_OK)
        return status;
    op->u.conv = window;
    kernel = (fb__shape){
        .rank = 4,
        .dims = {outputs, window.in_channels, window.kernel_height, window.kernel_width},
    };
    status = fb__model_add_param(
        model, op, 0, "weight", &kernel, FB__INIT_NORMAL,
        fb__init_std(window.in_channels * window.kernel_height * window.kernel_width), err);
    if (status == FB_OK && layer->bias)
        status =
            fb__model_add_param(model, op, 1, "bias", &(fb__shape){.rank = 1, .dims = {outputs}},
                                FB__INIT_ZERO, 0, err);
    *value = op->out;
    return status;
}
