/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_dropout.c - sets elements to zero at random while training, passes them on in evaluation.
 *
 * The stream is the layer's path. An element's position is sample index in the whole batch x
 * elements a sample + index in the sample, so a micro-batch split does not change masks.
 */
#include "base/error.h"
#include "engine/model.h"

/* y or dx, of x or dy: the same words of the stream, so the same mask. */
static void mask(const fb__op *op, const fb__pass *pass, float *y, const float *x)
{
    const size_t stream = op->u.dropout.stream;
    const fb_philox generator = fb_streams_at(pass->streams, stream, pass->step);
    const uint64_t position = pass->first * op->out->per_sample + pass->stream_shift[stream];

    pass->kernels->dropout(pass->pool, y, x, pass->batch * op->out->per_sample, op->u.dropout.p,
                           &generator, position);
}

static void pass_on(const fb__op *op, const fb__pass *pass, float *y, const float *x)
{
    pass->kernels->scale(pass->pool, y, x, 1.0f, pass->batch * op->out->per_sample);
}

/* y = keep ? x·float(1/(1-p)) : +0 */
static void forward(const fb__op *op, const fb__pass *pass)
{
    (pass->drops ? mask : pass_on)(op, pass, op->out->data, op->in[0]->data);
}

/* dx = keep ? dy·float(1/(1-p)) : +0 */
static void backward(const fb__op *op, const fb__pass *pass)
{
    if (op->din[0] != NULL)
        (pass->drops ? mask : pass_on)(op, pass, op->din[0], op->out->grad);
}

const fb__op_type fb__dropout_type = {
    .name = "dropout",
    .forward = forward,
    .backward = backward,
};

fb_status fb__build_dropout(fb__model *model, const fb_layer_config *layer, fb__value **value,
                            fb_error *err)
{
    const fb__shape shape = (*value)->shape;
    fb__op *op;
    fb_status status;

    status = fb__model_add_op(&op, model, &fb__dropout_type, layer->path, *value, &shape, err);
    if (status != FB_OK)
        return status;
    op->u.dropout.p = layer->p;
    *value = op->out;
    return fb_streams_add(&op->u.dropout.stream, model->streams, layer->path, err);
}
