/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_pool.c - max and average pooling over samples [C,H,W], and the window arithmetic that they
 * share with the convolution.
 */
#include <inttypes.h>

#include "base/error.h"
#include "engine/layers/window.h"

enum { ARGMAX }; /* saved by max pooling: index in the input plane, one u32 an output */

static fb_status window_side(size_t *out, const fb_layer_config *layer, uint64_t in, int side,
                             fb_error *err)
{
    const uint64_t kernel = (uint64_t)layer->kernel[side];
    const uint64_t padding = (uint64_t)layer->padding[side];

    if (padding > in || kernel > in + 2 * padding)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: %s: a window %s of %" PRIu64 " with padding %" PRIu64
                        " does not fit an input %s of %" PRIu64,
                        layer->where, fb_layer_type_name(layer->type),
                        side == 0 ? "height" : "width", kernel, padding,
                        side == 0 ? "height" : "width", in);
    *out = (size_t)((in + 2 * padding - kernel) / (uint64_t)layer->stride[side] + 1);
    return FB_OK;
}

fb_status fb__window_shape(fb_conv2d *out, const fb_layer_config *layer, const fb__shape *in,
                           fb_error *err)
{
    char text[FB__SHAPE_TEXT];
    fb_status status;

    if (in->rank != 3)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: %s needs samples of shape [C,H,W], got %s", layer->where,
                        fb_layer_type_name(layer->type), fb__shape_text(text, in));
    *out = (fb_conv2d){
        .in_channels = in->dims[0],
        .in_height = in->dims[1],
        .in_width = in->dims[2],
        .out_channels = in->dims[0],
        .kernel_height = (size_t)layer->kernel[0],
        .kernel_width = (size_t)layer->kernel[1],
        .stride_height = (size_t)layer->stride[0],
        .stride_width = (size_t)layer->stride[1],
        .pad_height = (size_t)layer->padding[0],
        .pad_width = (size_t)layer->padding[1],
    };
    status = window_side(&out->out_height, layer, in->dims[1], 0, err);
    if (status == FB_OK)
        status = window_side(&out->out_width, layer, in->dims[2], 1, err);
    return status;
}

static fb_conv2d shape_of(const fb__op *op, const fb__pass *pass)
{
    fb_conv2d shape = op->u.conv;

    shape.batch = pass->batch;
    return shape;
}

/* y [B,C,OH,OW] = largest of each window of x [B,C,H,W] */
static void max_forward(const fb__op *op, const fb__pass *pass)
{
    const fb_conv2d shape = shape_of(op, pass);

    pass->kernels->maxpool2d(pass->pool, op->out->data, op->saved[ARGMAX], op->in[0]->data, &shape);
}

/* dx: each dy goes to the element that won */
static void max_backward(const fb__op *op, const fb__pass *pass)
{
    const fb_conv2d shape = shape_of(op, pass);

    if (op->din[0] != NULL)
        pass->kernels->maxpool2d_backward(pass->pool, op->din[0], op->out->grad, op->saved[ARGMAX],
                                          &shape);
}

/* y [B,C,OH,OW] = mean of each window of x [B,C,H,W], padding counted as zeros */
static void average_forward(const fb__op *op, const fb__pass *pass)
{
    const fb_conv2d shape = shape_of(op, pass);

    pass->kernels->avgpool2d(pass->pool, op->out->data, op->in[0]->data, &shape);
}

/* dx: each dy is shared out over its window */
static void average_backward(const fb__op *op, const fb__pass *pass)
{
    const fb_conv2d shape = shape_of(op, pass);

    if (op->din[0] != NULL)
        pass->kernels->avgpool2d_backward(pass->pool, op->din[0], op->out->grad, &shape);
}

static const fb__op_type maxpool = {"maxpool", FB__READS_INPUT, max_forward, max_backward};
static const fb__op_type avgpool = {"avgpool", 0, average_forward, average_backward};

fb_status fb__build_pool(fb__model *model, const fb_layer_config *layer, fb__value **value,
                         fb_error *err)
{
    const bool max = layer->type == FB_LAYER_MAXPOOL;
    fb_conv2d window;
    fb__shape shape;
    fb__op *op;
    fb_status status = fb__window_shape(&window, layer, &(*value)->shape, err);

    if (status != FB_OK)
        return status;
    shape = (fb__shape){
        .rank = 3,
        .dims = {window.in_channels, window.out_height, window.out_width},
    };
    status =
        fb__model_add_op(&op, model, max ? &maxpool : &avgpool, layer->path, *value, &shape, err);
    if (status != FB_OK)
        return status;
    op->u.conv = window;
    if (max)
        op->saved_per_sample[ARGMAX] = op->out->per_sample;
    *value = op->out;
    return FB_OK;
}
