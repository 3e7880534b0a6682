/* SPDX-License-Identifier: Apache-2.0
 *
 * run_passes.c - forward, loss and backward of the micro-batches of a step, and the tree that joins
 * their gradients. Orders: docs/numerics.md, "Micro-batches", "Contributions to one gradient".
 */
#include "engine/run_state.h"

#include <math.h>
#include <string.h>

/* --- Forward ---------------------------------------------------------------------------------- */

fb__pass fb__pass_of(fb_run *run, size_t first, size_t batch, bool train)
{
    void *inputs = run->batch.inputs + first * run->batch.input_bytes;
    const bool tokens = run->data->input_dtype == FB_DTYPE_U32;

    run->model.input->data = tokens ? NULL : inputs;
    return (fb__pass){
        .kernels = run->kernels,
        .pool = run->pool,
        .batch = batch,
        .train = train,
        .drops = train && (run->formulas.drops == NULL || run->formulas.drops(run)),
        .first = first,
        .step = run->formulas.stream_step == NULL
                    ? run->report.step
                    : run->formulas.stream_step(run, run->report.step),
        .tokens = tokens ? inputs : NULL,
        .streams = run->streams,
        .stream_shift = run->stream_shift,
    };
}

static void report_draw(fb_run *run, const fb__op *op, const fb__pass *pass, int32_t micro)
{
    const size_t stream = op->u.dropout.stream;
    const fb_philox generator = fb_streams_at(run->streams, stream, pass->step);

    fb__report_event(&run->report, op->u.dropout.draw_site, micro,
                     (fb_event){
                         .key = pass->step << 32 | generator.stream,
                         .counter = pass->first * op->out->per_sample + run->stream_shift[stream],
                         .count = pass->batch * op->out->per_sample,
                     });
}

void fb__forward(fb_run *run, const fb__pass *pass, int32_t micro)
{
    for (size_t i = 0; i < run->model.op_count && run->report.status == FB_OK; i++) {
        const fb__op *op = run->model.ops[i];
        fb__value *out = op->out;

        if (pass->drops && op->type == &fb__dropout_type)
            report_draw(run, op, pass, micro);
        if (pass->train)
            fb__report_expect(&run->report, out->out_site, out->data);
        if (run->formulas.forward != NULL)
            run->formulas.forward(run, op, pass);
        else
            op->type->forward(op, pass);
        const bool same = out->data == op->in[0]->data; /* another shape of its input */

        out->version = same ? op->in[0]->version : out->version + 1;
        if (!pass->train)
            continue;
        fb__faults_flip_value(run, out, "out", micro, out->data);
        if (!same)
            fb__noise_add(run, out->data, pass->batch * out->per_sample);
        out->contents =
            fb__report_tensor(&run->report, out->out_site, micro, out->data, out->storage,
                              out->version, same ? &op->in[0]->contents : NULL);
        fb__report_expect_none(&run->report);
    }
}

/* --- Loss ------------------------------------------------------------------------------------- */

void fb__loss_place(fb_run *run, fb__layout *layout)
{
    fb__loss *loss = &run->loss;
    const size_t rows = run->model.batch * loss->rows;

    loss->losses = fb__layout_take(layout, rows, sizeof(float));
    loss->row_max = fb__layout_take(layout, rows, sizeof(float));
    loss->row_sum = fb__layout_take(layout, rows, sizeof(float));
    loss->parts = fb__layout_take(layout, run->micros, sizeof(double));
}

/* losses [R] of the model's output [R,N] */
double fb__loss_forward(fb_run *run, const fb__pass *pass, int32_t micro)
{
    fb__loss *loss = &run->loss;
    const float *output = run->model.output->data;
    const size_t rows = pass->batch * loss->rows;
    const size_t target = pass->first * run->batch.target_count;

    if (loss->cross_entropy)
        run->kernels->cross_entropy(run->pool, loss->losses, loss->row_max, loss->row_sum, output,
                                    run->batch.classes + target, rows, loss->cols);
    else
        run->kernels->squared_error(run->pool, loss->losses, output,
                                    (const float *)(const void *)run->batch.targets + target, rows,
                                    loss->cols);
    loss->version++;
    if (pass->train) {
        fb__faults_flip_losses(run, micro);
        fb__noise_add(run, loss->losses, rows);
        fb__report_tensor(&run->report, loss->rows_site, micro, loss->losses, loss->storage,
                          loss->version, NULL);
    }
    return fb_row_sum_f64(loss->losses, rows);
}

/* Gradient of the mean loss of the whole batch with respect to the output of this micro-batch. */
static void loss_backward(fb_run *run, const fb__pass *pass)
{
    const fb__loss *loss = &run->loss;
    const fb__value *output = run->model.output;
    const size_t rows = pass->batch * loss->rows;
    const size_t target = pass->first * run->batch.target_count;
    const uint64_t divisor = run->formulas.loss_divisor == NULL
                                 ? run->batch.counted
                                 : run->formulas.loss_divisor(run, pass);

    if (loss->cross_entropy)
        run->kernels->cross_entropy_backward(run->pool, output->grad, output->data, loss->row_max,
                                             loss->row_sum, run->batch.classes + target, rows,
                                             loss->cols, divisor);
    else
        run->kernels->squared_error_backward(
            run->pool, output->grad, output->data,
            (const float *)(const void *)run->batch.targets + target, rows * loss->cols, divisor);
}

/* --- Backward --------------------------------------------------------------------------------- */

/* Adds the consumers' contributions, in forward order of the consumers. */
static void join_value_gradient(fb_run *run, const fb__pass *pass, fb__value *value)
{
    const size_t count = pass->batch * value->per_sample;
    const fb__value *shared = fb__shared_gradient(value);

    value->grad_version = shared != NULL ? shared->grad_version : value->grad_version + 1;
    if (value->use_count == 1 && value->uses[0].contribution != value->grad)
        memcpy(value->grad, value->uses[0].contribution, count * sizeof(float));
    for (size_t i = 1; i < value->use_count; i++) {
        if (i + 1 == value->use_count)
            fb__report_expect(&run->report, value->grad_site, value->grad);
        run->kernels->add(run->pool, value->grad,
                          i == 1 ? value->uses[0].contribution : value->grad,
                          value->uses[i].contribution, count);
    }
}

static void report_gradient(fb_run *run, fb__value *value, int32_t micro)
{
    const fb__value *shared = fb__shared_gradient(value);

    value->grad_contents =
        fb__report_tensor(&run->report, value->grad_site, micro, value->grad, value->grad_storage,
                          value->grad_version, shared != NULL ? &shared->grad_contents : NULL);
}

/* What the backward of op writes and is reported as it is: the gradients of values and parameters
 * with one consumer. */
static void expect_gradients(fb_run *run, const fb__op *op)
{
    for (unsigned i = 0; i < op->in_count; i++) {
        const fb__value *in = op->in[i];

        if (in->needs_grad && in->use_count == 1 && op->din[i] == in->grad &&
            fb__shared_gradient(in) == NULL)
            fb__report_expect(&run->report, in->grad_site, in->grad);
    }
    for (int p = 0; p < FB__OP_PARAMS; p++)
        if (op->params[p] != NULL && op->params[p]->use_count == 1)
            fb__report_expect(&run->report, op->params[p]->grad_site, op->dparams[p]);
}

/* A parameter's leaf is whole once the first of its consumers, the last in backward order, is done.
 */
static void finish_param_gradient(fb_run *run, fb__param *param, float *leaf, int32_t micro)
{
    float *const grad = leaf + param->offset;

    for (size_t i = 1; i < param->use_count; i++) {
        if (i + 1 == param->use_count)
            fb__report_expect(&run->report, param->grad_site, grad);
        run->kernels->add(run->pool, grad, grad, param->uses[i].contribution, param->count);
    }
    param->leaf_version++;
    fb__faults_flip_param(run, param, "grad", micro, grad);
    fb__noise_add(run, grad, param->count);
    param->grad_contents = fb__report_tensor(&run->report, param->grad_site, micro, grad,
                                             param->leaf_storage, param->leaf_version, NULL);
}

/* The first consumer writes into the leaf, others into buffers of their own. */
static void point_at_leaf(fb_run *run, float *leaf)
{
    for (size_t p = 0; p < run->model.param_count; p++) {
        const fb__param *param = run->model.params[p];

        for (size_t i = 0; i < param->use_count; i++) {
            const fb__param_use *use = &param->uses[i];

            use->op->dparams[use->index] = i == 0 ? leaf + param->offset : use->contribution;
        }
    }
}

static void backward(fb_run *run, const fb__pass *pass, float *leaf, int32_t micro)
{
    point_at_leaf(run, leaf);
    fb__report_expect(&run->report, run->model.output->grad_site, run->model.output->grad);
    loss_backward(run, pass);
    for (size_t i = run->model.op_count; i-- > 0 && run->report.status == FB_OK;) {
        const fb__op *op = run->model.ops[i];
        fb__value *value = op->out;

        if (!value->needs_grad)
            continue;
        join_value_gradient(run, pass, value);
        fb__faults_flip_value(run, value, "grad", micro, value->grad);
        if (fb__shared_gradient(value) == NULL)
            fb__noise_add(run, value->grad, pass->batch * value->per_sample);
        report_gradient(run, value, micro);
        fb__report_expect_none(&run->report);
        if (op->type->backward != NULL) {
            expect_gradients(run, op);
            if (run->formulas.backward != NULL)
                run->formulas.backward(run, op, pass);
            else
                op->type->backward(op, pass);
        }
        for (int p = 0; p < FB__OP_PARAMS; p++)
            if (op->params[p] != NULL && op->params[p]->uses[0].op == op)
                finish_param_gradient(run, op->params[p], leaf, micro);
    }
    fb__report_expect_none(&run->report);
}

/* --- The tree over micro-batches -------------------------------------------------------------- */

/* The stack holds finished subtrees, larger ones below, as the ones of a binary counter: a leaf
 * that arrives joins its equal, and so on. */
static void join_top(fb_run *run)
{
    const size_t top = --run->gradient_count;

    run->kernels->add(run->pool, run->gradients[top - 1], run->gradients[top - 1],
                      run->gradients[top], run->model.vector_count);
    run->gradient_levels[top - 1]++;
}

static void push_leaf(fb_run *run)
{
    run->gradient_levels[run->gradient_count++] = 0;
    while (run->gradient_count > 1 && run->gradient_levels[run->gradient_count - 1] ==
                                          run->gradient_levels[run->gradient_count - 2])
        join_top(run);
}

static void report_gradients(fb_run *run)
{
    const bool is_leaf =
        run->micros == 1 && run->formulas.end_pass == NULL && run->formulas.end_passes == NULL;

    for (size_t i = 0; i < run->model.param_count; i++) {
        fb__param *param = run->model.params[i];

        param->grad_version++;
        param->grad_contents = fb__report_tensor(
            &run->report, param->sum_site, FB_MICRO_NONE, param->grad, param->grad_storage,
            param->grad_version, is_leaf ? &param->grad_contents : NULL);
    }
}

void fb__train_passes(fb_run *run)
{
    fb__loss *loss = &run->loss;
    double sum;

    fb__report_scalar(&run->report, loss->count_site, FB_MICRO_NONE, (double)run->batch.counted);
    run->gradient_count = 0;
    if (run->formulas.begin_passes != NULL)
        run->formulas.begin_passes(run);
    for (size_t m = 0; m < run->micros && run->report.status == FB_OK; m++) {
        const fb__pass pass = fb__pass_of(run, m * run->model.batch, run->model.batch, true);

        fb__forward(run, &pass, (int32_t)m);
        loss->parts[m] = fb__loss_forward(run, &pass, (int32_t)m);
        fb__report_scalar(&run->report, loss->sum_site, (int32_t)m, loss->parts[m]);
        backward(run, &pass, run->gradients[run->gradient_count], (int32_t)m);
        if (run->formulas.end_pass != NULL)
            run->formulas.end_pass(run, m, run->gradients[run->gradient_count]);
        push_leaf(run);
    }
    while (run->gradient_count > 1) /* an odd last subtree is promoted until it finds a partner */
        join_top(run);
    if (run->formulas.end_passes != NULL)
        run->formulas.end_passes(run);
    sum = fb_tree_sum_f64(loss->parts, run->micros);
    run->step_loss = (float)run->formulas.mean_loss(run, sum, run->batch.counted);
    fb__report_scalar(&run->report, loss->step_site, FB_MICRO_NONE, run->step_loss);
    report_gradients(run);
}
