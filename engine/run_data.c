/* SPDX-License-Identifier: Apache-2.0
 *
 * run_data.c - which samples a step sees: the shuffle of an epoch, the batch, its events.
 *
 * Batches of an epoch follow the permutation; a last partial batch is dropped. Step t reads batch
 * (t-1) mod B of epoch (t-1) div B, so any step can be reached without the ones before.
 */
#include "engine/run_state.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

/* --- Checks at creation ----------------------------------------------------------------------- */

static size_t shape_count(uint32_t rank, const uint64_t *dims)
{
    size_t count = 1;

    for (uint32_t i = 0; i < rank; i++)
        count *= dims[i];
    return count;
}

/* The last dimension of the model's output holds the classes; all others are rows, one target each.
 */
static fb_status check_cross_entropy(fb_run *run, fb_error *err)
{
    const fb__shape *shape = &run->model.output->shape;
    fb__loss *loss = &run->loss;
    char text[FB__SHAPE_TEXT];

    if (run->data->target_dtype != FB_DTYPE_I32)
        return fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET,
                        "loss: cross_entropy needs classes, the targets of %s are real numbers",
                        run->data->name);
    if (shape->rank < 1)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "loss: cross_entropy needs a dimension of classes");
    loss->cols = shape->dims[shape->rank - 1];
    loss->rows = loss->cols == 0 ? 0 : run->model.output->per_sample / loss->cols;
    if (loss->rows != run->batch.target_count)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "loss: the model gives %s for a sample: %zu predictions for %zu targets",
                        fb__shape_text(text, shape), loss->rows, run->batch.target_count);
    return FB_OK;
}

static fb_status check_mse(fb_run *run, fb_error *err)
{
    const fb__shape *shape = &run->model.output->shape;
    fb__loss *loss = &run->loss;
    char text[FB__SHAPE_TEXT];

    if (run->data->target_dtype != FB_DTYPE_F32)
        return fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET,
                        "loss: mse needs real numbers, the targets of %s are classes",
                        run->data->name);
    loss->rows = 1;
    loss->cols = run->model.output->per_sample;
    if (loss->cols != run->batch.target_count)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "loss: the model gives %s for a sample, the targets have %zu elements",
                        fb__shape_text(text, shape), run->batch.target_count);
    return FB_OK;
}

/* Every target is a class of the model's or the ignored one. Only .npy targets and models with
 * fewer classes than the data need to be read through. */
static fb_status check_targets(fb_run *run, fb_error *err)
{
    const fb__loss *loss = &run->loss;
    const int32_t *targets = (const int32_t *)(const void *)run->batch.targets;

    if (run->data->classes <= loss->cols && run->config->data.type != FB_DATA_NPY)
        return FB_OK;
    for (int role = FB_ROLE_TRAIN; role <= FB_ROLE_TEST; role++)
        for (uint64_t i = 0; i < run->data->samples[role]; i++) {
            fb_dataset_sample(run->dataset, (fb_role)role, i, run->batch.inputs,
                              run->batch.targets);
            for (size_t t = 0; t < run->batch.target_count; t++) {
                const int64_t target = targets[t];
                if (target != loss->ignore_index && (target < 0 || target >= (int64_t)loss->cols))
                    return fb__fail(
                        err, FB_E_DATA, FB_NO_OFFSET,
                        "%s: %s sample %" PRIu64 ": class %" PRIi64 ", the model has %zu",
                        run->data->name, fb_role_name((fb_role)role), i, target, loss->cols);
            }
        }
    return FB_OK;
}

fb_status fb__run_check_data(fb_run *run, fb_error *err)
{
    const fb_dataset_info *data = run->data;
    const uint64_t samples = data->samples[FB_ROLE_TRAIN];
    const uint64_t size = (uint64_t)run->config->batch_size;
    fb_status status;

    if (samples < size)
        return fb__fail(err, FB_E_DATA, FB_NO_OFFSET,
                        "%s: %" PRIu64 " training samples, fewer than batch.size %" PRIu64,
                        data->name, samples, size);
    run->order.count = samples;
    run->order.batches = samples / size;
    run->order.epoch = UINT64_MAX;
    run->batch.samples = size;
    run->batch.input_count = shape_count(data->input_rank, data->input_shape);
    run->batch.input_bytes = run->batch.input_count * fb_dtype_bytes(data->input_dtype);
    run->batch.target_count = shape_count(data->target_rank, data->target_shape);
    run->batch.target_bytes = run->batch.target_count * fb_dtype_bytes(data->target_dtype);
    run->loss.cross_entropy = run->config->loss == FB_LOSS_CROSS_ENTROPY;
    run->loss.ignore_index = run->config->ignore_index;
    status = run->loss.cross_entropy ? check_cross_entropy(run, err) : check_mse(run, err);
    return status;
}

fb_status fb__run_check_targets(fb_run *run, fb_error *err)
{
    return run->loss.cross_entropy ? check_targets(run, err) : FB_OK;
}

void fb__batch_place(fb_run *run, fb__layout *layout)
{
    fb__batch *batch = &run->batch;

    run->order.indices = fb__layout_take(layout, run->order.count, sizeof(uint64_t));
    batch->inputs = fb__layout_take(layout, batch->samples, batch->input_bytes);
    batch->targets = fb__layout_take(layout, batch->samples, batch->target_bytes);
    batch->classes =
        run->loss.cross_entropy
            ? fb__layout_take(layout, batch->samples * batch->target_count, sizeof(int32_t))
            : NULL;
    batch->indices = fb__layout_take(layout, batch->samples, sizeof(uint64_t));
}

/* --- Order ------------------------------------------------------------------------------------ */

void fb__order_load(fb_run *run, uint64_t step)
{
    fb__order *order = &run->order;
    const uint64_t epoch = (step - 1) / order->batches;
    const uint64_t first = epoch * order->batches + 1;

    run->report.epoch_step = first;
    if (order->epoch == epoch)
        return;
    const fb_philox stream = fb_streams_at(run->streams, order->stream, epoch);
    const uint64_t shift = run->stream_shift[order->stream];

    fb_permutation(order->indices, order->count, &stream, shift);
    order->epoch = epoch;
    if (step == first)
        fb__report_event(&run->report, run->shuffle_site, FB_MICRO_NONE,
                         (fb_event){
                             .key = epoch << 32 | stream.stream,
                             .counter = shift,
                             .count = order->count - 1,
                         });
}

/* --- Batch ------------------------------------------------------------------------------------ */

/* Copies the samples that batch->indices names and marks ignored targets. */
static void read_samples(fb_run *run, fb_role role, size_t count)
{
    fb__batch *batch = &run->batch;
    const int32_t *targets = (const int32_t *)(const void *)batch->targets;

    for (size_t i = 0; i < count; i++)
        fb_dataset_sample(run->dataset, role, batch->indices[i],
                          batch->inputs + i * batch->input_bytes,
                          batch->targets + i * batch->target_bytes);
    batch->counted = count * batch->target_count;
    if (!run->loss.cross_entropy)
        return;
    for (size_t i = 0; i < count * batch->target_count; i++) {
        const bool ignored = targets[i] == run->loss.ignore_index;

        batch->classes[i] = ignored ? -1 : targets[i];
        batch->counted -= ignored;
    }
    if (run->formulas.targets != NULL)
        run->formulas.targets(run, count);
}

/* Content hash: XXH3-128 of the tensor hashes of inputs and targets, lo then hi each. */
static fb_hash content_hash(fb_run *run, size_t first, size_t count)
{
    const fb__batch *batch = &run->batch;
    const fb_hash hashes[2] = {
        fb_tensor_hash(run->pool, run->data->input_dtype,
                       batch->inputs + first * batch->input_bytes, count * batch->input_bytes,
                       NULL),
        fb_tensor_hash(run->pool, run->data->target_dtype,
                       batch->targets + first * batch->target_bytes, count * batch->target_bytes,
                       NULL),
    };

    return fb_hash_bytes(hashes, sizeof hashes);
}

void fb__batch_report(fb_run *run, uint32_t site, int32_t micro, size_t first, size_t count,
                      uint64_t epoch)
{
    if (!fb__report_wants(&run->report, site))
        return;
    fb__report_event(&run->report, site, micro,
                     (fb_event){
                         .hash = content_hash(run, first, count),
                         .counter = epoch,
                         .count = count,
                         .indices = run->batch.indices + first,
                     });
}

void fb__batch_read(fb_run *run, uint64_t step)
{
    fb__order *order = &run->order;
    fb__batch *batch = &run->batch;
    const uint64_t at = (step - 1) % order->batches * batch->samples;

    fb__order_load(run, step);
    memcpy(batch->indices, order->indices + at, batch->samples * sizeof *batch->indices);
    if (run->formulas.choose != NULL)
        run->formulas.choose(run, step);
    fb__faults_swap(run, step);
    read_samples(run, FB_ROLE_TRAIN, batch->samples);
    for (size_t m = 0; m < run->micros; m++)
        fb__batch_report(run, run->sample_site, (int32_t)m, m * run->model.batch, run->model.batch,
                         order->epoch);
}

void fb__batch_read_in_order(fb_run *run, fb_role role, uint64_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run->batch.indices[i] = first + i;
    read_samples(run, role, count);
}
