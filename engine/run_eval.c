/* SPDX-License-Identifier: Apache-2.0
 *
 * run_eval.c - loss and accuracy on held-out samples, in their order, dropout off. Draws no random
 * number, so evaluating more often changes nothing.
 *
 * eval.batches batches of batch.size samples are read in chunks of one micro-batch; a role with
 * fewer samples gives its whole chunks.
 */
#include "engine/run_state.h"

#include <inttypes.h>
#include <math.h>

#include "base/error.h"

fb_status fb__eval_create(fb_run *run, fb_error *err)
{
    fb__evaluation *eval = &run->eval;
    const uint64_t *samples = run->data->samples;
    uint64_t chunks;

    eval->loss = NAN;
    eval->accuracy = NAN;
    if (run->config->eval_every == 0)
        return FB_OK;
    eval->role = samples[FB_ROLE_VAL] > 0 ? FB_ROLE_VAL : FB_ROLE_TEST;
    if (samples[eval->role] == 0)
        return fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET,
                        "eval.every: %s has neither validation nor test samples: give data.split a "
                        "second share, or leave eval out",
                        run->data->name);
    chunks = samples[eval->role] / run->model.batch;
    if (chunks == 0)
        return fb__fail(err, FB_E_DATA, FB_NO_OFFSET,
                        "%s: %" PRIu64 " %s samples, fewer than a micro-batch of %zu",
                        run->data->name, samples[eval->role], fb_role_name(eval->role),
                        run->model.batch);
    if (chunks > (uint64_t)run->config->eval_batches * run->micros)
        chunks = (uint64_t)run->config->eval_batches * run->micros;
    eval->chunks = chunks;
    return FB_OK;
}

void fb__eval_place(fb_run *run, fb__layout *layout)
{
    run->eval.parts = fb__layout_take(layout, run->eval.chunks, sizeof(double));
}

/* Index of the largest: NaN wins, then the lowest index. */
static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n && !isnan(x[best]); i++)
        if (isnan(x[i]) || x[i] > x[best])
            best = i;
    return best;
}

static uint64_t count_right(const fb_run *run, const fb__pass *pass)
{
    const size_t rows = pass->batch * run->loss.rows;
    uint64_t right = 0;

    for (size_t r = 0; r < rows; r++) {
        const int32_t target = run->batch.classes[r];
        const float *row = run->model.output->data + r * run->loss.cols;

        right += target >= 0 && argmax(row, run->loss.cols) == (size_t)target;
    }
    return right;
}

void fb__evaluate(fb_run *run)
{
    fb__evaluation *eval = &run->eval;
    fb__report *report = &run->report;
    const fb__value *output = run->model.output;
    uint64_t counted = 0, right = 0;

    fb__report_event(report, eval->mode_site, FB_MICRO_NONE, (fb_event){.value = 0});
    for (uint64_t c = 0; c < eval->chunks && report->status == FB_OK; c++) {
        const size_t batch = run->model.batch;
        const int32_t micro = (int32_t)c;

        fb__batch_read_in_order(run, eval->role, c * batch, batch);
        fb__batch_report(run, eval->sample_site, micro, 0, batch, 0);
        const fb__pass pass = fb__pass_of(run, 0, batch, false);
        fb__forward(run, &pass, micro);
        fb__report_tensor(report, eval->out_site, micro, output->data, output->storage,
                          output->version, NULL);
        eval->parts[c] = fb__loss_forward(run, &pass, micro);
        fb__report_scalar(report, eval->sum_site, micro, eval->parts[c]);
        counted += run->batch.counted;
        if (run->loss.cross_entropy)
            right += count_right(run, &pass);
    }
    eval->loss =
        (float)run->formulas.mean_loss(run, fb_tree_sum_f64(eval->parts, eval->chunks), counted);
    fb__report_scalar(report, eval->loss_site, FB_MICRO_NONE, eval->loss);
    if (!run->loss.cross_entropy)
        return;
    eval->accuracy = counted == 0 ? 0.0 : (double)right / (double)counted;
    fb__report_scalar(report, eval->accuracy_site, FB_MICRO_NONE, eval->accuracy);
}
