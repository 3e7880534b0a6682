/* SPDX-License-Identifier: Apache-2.0
 *
 * run_faults.c - planting faults: names are resolved when the run is created, and each fault
 * strikes at one place of one step. Nothing reports that it was asked for.
 */
#include "engine/run_state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

/* --- Resolving -------------------------------------------------------------------------------- */

static fb_status check_element(const fb_fault *fault, uint64_t count, fb_error *err)
{
    if (fault->element >= count)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "flip: element %" PRIu64 ": %s has %" PRIu64 " elements in slot %s",
                        fault->element, fault->path, count, fault->slot);
    if (fault->bit > 31)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "flip: bit %u: expected 0 to 31",
                        fault->bit);
    return FB_OK;
}

/* A layer, or a parameter where the slot is that of its gradient or update. */
static fb_status resolve_flip(fb_run *run, fb__planted *planted, fb_error *err)
{
    const fb_fault *fault = &planted->fault;
    const bool out = strcmp(fault->slot, "out") == 0, grad = strcmp(fault->slot, "grad") == 0;
    fb__op *op = fb__model_find_op(&run->model, fault->path);
    fb__param *param = fb__model_find_param(&run->model, fault->path);

    if (!out && !grad && strcmp(fault->slot, "param") != 0)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "flip: slot \"%s\": expected out, grad or param", fault->slot);
    if ((out || grad) && (fault->micro < 0 || (uint64_t)fault->micro >= (uint64_t)run->micros))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "flip: micro %" PRIi64 ": a step has %zu micro-batches", fault->micro,
                        run->micros);
    if (op != NULL && (out || (grad && op->out->needs_grad))) {
        op->out->own_data |= out;
        op->out->own_grad |= grad;
        planted->value = op->out;
        return check_element(fault, run->model.batch * op->out->per_sample, err);
    }
    if (param != NULL && !out) {
        planted->param = param;
        return check_element(fault, param->count, err);
    }
    if (out && strcmp(fault->path, "loss") == 0) {
        planted->loss = true;
        return check_element(fault, run->model.batch * run->loss.rows, err);
    }
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "flip: path \"%s\": no such %s", fault->path,
                    out    ? "layer"
                    : grad ? "layer or parameter with a gradient"
                           : "parameter");
}

static fb_status resolve_draw(fb_run *run, fb__planted *planted, fb_error *err)
{
    for (size_t i = 0; i < fb_streams_count(run->streams); i++)
        if (strcmp(fb_streams_name(run->streams, i), planted->fault.stream) == 0) {
            planted->stream = i;
            return FB_OK;
        }
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "draw: stream \"%s\": no such random stream",
                    planted->fault.stream);
}

static fb_status resolve_swap(const fb_run *run, const fb__planted *planted, fb_error *err)
{
    const fb_fault *fault = &planted->fault;
    const uint64_t size = run->batch.samples;

    if (fault->i >= size || fault->j >= size)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "swap: sample %" PRIu64 ": the batch has %" PRIu64 " samples",
                        fault->i >= size ? fault->i : fault->j, size);
    if (fault->i == fault->j)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "swap: i and j are both %" PRIu64, fault->i);
    return FB_OK;
}

/* Steps count from 1. Step 0, the initialization, has parameters and their streams. */
static fb_status check_step(const fb_run *run, const fb_fault *fault, fb_error *err)
{
    const uint64_t steps = (uint64_t)run->config->steps;
    const bool initial = fault->kind == FB_FAULT_DRAW ||
                         (fault->kind == FB_FAULT_FLIP && strcmp(fault->slot, "param") == 0);

    if (fault->step > steps)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "fault: step %" PRIu64 ": the run has %" PRIu64 " steps", fault->step,
                        steps);
    if (fault->step == 0 && !initial)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "fault: step 0: it initializes, the first step is 1");
    return FB_OK;
}

fb_status fb__faults_plant(fb_run *run, const fb_fault *faults, size_t count, fb_error *err)
{
    fb_status status = FB_OK;

    if (count == 0)
        return FB_OK;
    run->planted = calloc(count, sizeof *run->planted);
    if (run->planted == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for faults");
    run->planted_count = count;
    run->report.touched = true;
    for (size_t i = 0; i < count && status == FB_OK; i++) {
        fb__planted *planted = &run->planted[i];

        planted->fault = faults[i];
        status = check_step(run, &faults[i], err);
        if (status != FB_OK)
            break;
        switch (faults[i].kind) {
        case FB_FAULT_FLIP:
            status = resolve_flip(run, planted, err);
            break;
        case FB_FAULT_DRAW:
            status = resolve_draw(run, planted, err);
            break;
        case FB_FAULT_SWAP:
            status = resolve_swap(run, planted, err);
            break;
        }
    }
    return status;
}

/* --- Striking --------------------------------------------------------------------------------- */

static void flip(const fb_fault *fault, float *data)
{
    data[fault->element] =
        fb_float_of_bits(fb_float_bits(data[fault->element]) ^ (UINT32_C(1) << fault->bit));
}

static bool flips_now(const fb_run *run, const fb__planted *planted, const char *slot,
                      int32_t micro)
{
    const fb_fault *fault = &planted->fault;

    return fault->kind == FB_FAULT_FLIP && fault->step == run->report.step &&
           (micro == FB_MICRO_NONE || fault->micro == micro) && strcmp(fault->slot, slot) == 0;
}

void fb__faults_flip_value(fb_run *run, const fb__value *value, const char *slot, int32_t micro,
                           float *data)
{
    for (size_t i = 0; i < run->planted_count; i++)
        if (run->planted[i].value == value && flips_now(run, &run->planted[i], slot, micro))
            flip(&run->planted[i].fault, data);
}

void fb__faults_flip_param(fb_run *run, const fb__param *param, const char *slot, int32_t micro,
                           float *data)
{
    for (size_t i = 0; i < run->planted_count; i++)
        if (run->planted[i].param == param && flips_now(run, &run->planted[i], slot, micro))
            flip(&run->planted[i].fault, data);
}

void fb__faults_flip_losses(fb_run *run, int32_t micro)
{
    for (size_t i = 0; i < run->planted_count; i++)
        if (run->planted[i].loss && flips_now(run, &run->planted[i], "out", micro))
            flip(&run->planted[i].fault, run->loss.losses);
}

void fb__faults_swap(fb_run *run, uint64_t step)
{
    uint64_t *indices = run->batch.indices;

    for (size_t f = 0; f < run->planted_count; f++) {
        const fb_fault *fault = &run->planted[f].fault;
        uint64_t kept;

        if (fault->kind != FB_FAULT_SWAP || fault->step != step)
            continue;
        kept = indices[fault->i];
        indices[fault->i] = indices[fault->j];
        indices[fault->j] = kept;
    }
}

/* --- Extra draws ------------------------------------------------------------------------------ */

void fb__faults_make_sites(fb_run *run)
{
    for (size_t f = 0; f < run->planted_count; f++) {
        fb__planted *planted = &run->planted[f];
        fb_site site = {
            .kind = FB_KIND_DRAW,
            .phase = FB_PHASE_FORWARD,
            .op = "extra",
            .slot = "draw",
            .algorithm = "philox4x32-10",
            .distribution = "raw",
        };

        if (planted->fault.kind != FB_FAULT_DRAW || planted->fault.silent)
            continue;
        site.stream = fb_streams_name(run->streams, planted->stream);
        site.path = site.stream;
        if (planted->stream == run->order.stream) {
            site.phase = FB_PHASE_DATA;
            site.path = "data";
        } else if (fb__model_find_param(&run->model, site.stream) != NULL) {
            site.phase = FB_PHASE_INIT;
        }
        site.consumer = site.path;
        for (size_t before = 0; before < f; before++) /* several draws are told apart */
            site.occurrence += run->planted[before].fault.kind == FB_FAULT_DRAW &&
                               !run->planted[before].fault.silent &&
                               run->planted[before].stream == planted->stream &&
                               run->planted[before].fault.step == planted->fault.step;
        planted->draw_site = fb__report_late_site(&run->report, site);
    }
}

/* Where the shuffle stream stands before `step`: behind the permutation of an epoch that is under
 * way, at the extra draws of an epoch that begins. */
static uint64_t shuffle_position(const fb_run *run, uint64_t step)
{
    const bool under_way = (step - 1) % run->order.batches != 0;

    return (under_way ? run->order.count - 1 : 0) + run->stream_shift[run->order.stream];
}

void fb__faults_draw(fb_run *run, uint64_t step)
{
    const size_t shuffle = run->order.stream;
    const bool epoch_begins = step > 0 && (step - 1) % run->order.batches == 0;

    for (size_t s = 0; s < fb_streams_count(run->streams); s++)
        if (s != shuffle || epoch_begins)
            run->stream_shift[s] = 0;
    for (size_t f = 0; f < run->planted_count; f++) {
        const fb__planted *planted = &run->planted[f];
        const bool shuffled = planted->stream == shuffle && step > 0;
        const uint64_t count = planted->fault.count == 0 ? 1 : planted->fault.count;
        uint64_t time = step; /* of the stream: a step, or an epoch */
        fb_philox generator;

        if (planted->fault.kind != FB_FAULT_DRAW || planted->fault.step != step)
            continue;
        if (shuffled)
            time = (step - 1) / run->order.batches;
        generator = fb_streams_at(run->streams, planted->stream, time);
        run->stream_shift[planted->stream] += count;
        if (planted->fault.silent)
            continue;
        fb__report_event(&run->report, planted->draw_site, FB_MICRO_NONE,
                         (fb_event){
                             .key = time << 32 | generator.stream,
                             .counter = (shuffled ? shuffle_position(run, step)
                                                  : run->stream_shift[planted->stream]) -
                                        count,
                             .count = count,
                         });
    }
}
