/* SPDX-License-Identifier: Apache-2.0
 *
 * run.c - the life of a training run: create, step, end. What a step does is spelled out in
 * fb_run_step; each part is a file of its own (run_*.c, optimizer.c, checkpoint.c).
 */
#include "engine/run.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "engine/run_files.h"
#include "engine/run_state.h"

/* --- Create ----------------------------------------------------------------------------------- */

static unsigned processors(void)
{
    cpu_set_t set;
    int count = 1;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
    return count < 1 ? 1u : count > FB_POOL_THREADS_MAX ? FB_POOL_THREADS_MAX : (unsigned)count;
}

fb_status fb__find_file(char **out, const char *path, const char *folder, fb_error *err)
{
    char *found = NULL;

    if (access(path, F_OK) == 0 || folder == NULL || path[0] == '/')
        found = strdup(path);
    else if (asprintf(&found, "%s/%s", folder, path) < 0)
        found = NULL;
    if (found == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (access(found, F_OK) != 0) {
        free(found);
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", path,
                        strerror(errno));
    }
    *out = found;
    return FB_OK;
}

static fb_status copy_text(char **out, const char *text, fb_error *err)
{
    *out = text == NULL ? NULL : strdup(text);
    if (text != NULL && *out == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    return FB_OK;
}

/* The machine and the data. */
static fb_status create_inputs(fb_run *run, const fb_run_options *options, fb_error *err)
{
    fb_status status;

    run->threads = options->threads == 0 ? processors() : options->threads;
    run->kernels = options->kernels == NULL ? fb_kernels_best() : options->kernels;
    run->noise = options->noise;
    run->formulas = fb__formulas_default;
    run->schedule = fb__schedule_of(run->config);
    run->micros = (size_t)run->config->micro;
    status = copy_text(&run->folder, options->folder, err);
    if (status == FB_OK)
        status = copy_text(&run->checkpoint_folder, options->checkpoint_folder, err);
    if (status == FB_OK)
        status = fb_dataset_open(&run->dataset, &run->config->data, options->folder, err);
    if (status != FB_OK)
        return status;
    run->data = fb_dataset_get_info(run->dataset);
    return fb_streams_create(&run->streams, run->config->seed, err);
}

/* The graph, and what stands around it. */
static fb_status create_model(fb_run *run, const fb_run_options *options, fb_error *err)
{
    fb_status status = fb__model_build(&run->model, run->config, run->data, run->streams, err);

    if (status == FB_OK)
        status = fb_streams_add(&run->order.stream, run->streams, "shuffle", err);
    if (status == FB_OK)
        status = fb__run_check_data(run, err);
    if (status == FB_OK)
        status = fb__eval_create(run, err);
    if (status == FB_OK)
        status = fb__weights_check(run, err);
    if (status != FB_OK)
        return status;
    run->loss.storage = ++run->model.storages;
    fb__optimizer_create(run);
    return fb__faults_plant(run, options->faults, options->fault_count, err);
}

/* A tie's further contributions to its leaf gradient. */
static void place_ties(fb_run *run, fb__layout *layout)
{
    for (size_t p = 0; p < run->model.param_count; p++) {
        fb__param *param = run->model.params[p];

        for (size_t i = 1; i < param->use_count; i++)
            param->uses[i].contribution = fb__layout_take(layout, param->count, sizeof(float));
    }
}

static void place(fb_run *run, fb__layout *layout)
{
    fb__model *model = &run->model;
    size_t levels = 1; /* the stack of the tree: log2 of the leaves, and one */

    while (run->micros >> levels != 0)
        levels++;
    run->hashes = fb__layout_take(layout, model->param_count, sizeof(fb_hash));
    run->vector = fb__layout_take(layout, model->vector_count, sizeof(float));
    for (size_t i = 0; i < levels; i++)
        run->gradients[i] = fb__layout_take(layout, model->vector_count, sizeof(float));
    for (size_t p = 0; p < model->param_count && layout->base != NULL; p++) {
        model->params[p]->data = run->vector + model->params[p]->offset;
        model->params[p]->grad = run->gradients[0] + model->params[p]->offset;
    }
    place_ties(run, layout);
    fb__optimizer_place(run, layout);
    fb__batch_place(run, layout);
    fb__loss_place(run, layout);
    fb__eval_place(run, layout);
    fb__model_place(model, layout);
}

/* One allocation for all numbers. Touched here, so that a step meets no page fault. */
static fb_status allocate(fb_run *run, const fb_run_options *options, fb_error *err)
{
    const size_t offset = (options->memory_offset + 15) / 16 * 16, line = 64;
    fb__layout layout = {0};
    fb_status status = fb__model_plan(&run->model, err);
    size_t bytes;

    if (status != FB_OK)
        return status;
    place(run, &layout);
    bytes = (layout.bytes + offset + line - 1) / line * line;
    run->model.numbers = aligned_alloc(line, bytes);
    if (run->model.numbers == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET,
                        "out of memory: the model and its gradients need %zu MB",
                        layout.bytes / 1000000);
    memset(run->model.numbers, 0, bytes);
    layout = (fb__layout){.base = (uint8_t *)run->model.numbers + offset};
    place(run, &layout);
    run->stream_shift = calloc(fb_streams_count(run->streams), sizeof *run->stream_shift);
    if (run->stream_shift == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for the random streams");
    return fb__run_check_targets(run, err);
}

fb_status fb_run_create(fb_run **out, const fb_config *config, const fb_run_options *options,
                        fb_error *err)
{
    const fb_run_options none = {.size = sizeof none};
    fb_run *run = calloc(1, sizeof *run);
    fb_status status;

    if (run == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for a run");
    run->config = config;
    if (options == NULL)
        options = &none;
    status = create_inputs(run, options, err);
    if (status == FB_OK)
        status = create_model(run, options, err);
    if (status == FB_OK)
        status = allocate(run, options, err);
    if (status == FB_OK)
        status = fb_pool_create(&run->pool, run->threads, err);
    if (status == FB_OK && options->override != NULL) {
        run->report.touched = true; /* a formula may go on with what a kernel wrote */
        status = fb__override_install(run, options->override, err);
    }
    if (status == FB_OK)
        status = fb__run_make_sites(run, err);
    if (status == FB_OK)
        status = fb__run_make_header(run, err);
    if (status != FB_OK) {
        fb_run_destroy(run);
        return status;
    }
    *out = run;
    return FB_OK;
}

void fb_run_destroy(fb_run *run)
{
    if (run == NULL)
        return;
    fb__report_free(&run->report);
    fb__model_free(&run->model);
    fb_pool_destroy(run->pool);
    fb_streams_destroy(run->streams);
    fb_dataset_close(run->dataset);
    fb__override_free(run);
    free(run->planted);
    free(run->stream_shift);
    free(run->header);
    free(run->folder);
    free(run->checkpoint_folder);
    free(run->weights_path);
    free(run);
}

/* --- Step ------------------------------------------------------------------------------------- */

fb_status fb__run_observer_status(fb_run *run, fb_error *err)
{
    if (run->report.status != FB_OK && err != NULL) {
        *err = run->report.error;
        if (err->status != run->report.status)
            return fb__fail(err, run->report.status, FB_NO_OFFSET, "%s",
                            fb_status_text(run->report.status));
    }
    return run->report.status;
}

static fb_status check_environment(fb_run *run, fb_error *err)
{
    if (fb_pool_fpenv_ok(run->pool))
        return FB_OK;
    return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                    "the floating-point environment was changed behind the run's back: rounding, "
                    "subnormals or exceptions are not as contract 1 needs them");
}

static fb_status check_ready(fb_run *run, fb_error *err)
{
    if (!run->begun)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "the run has not begun");
    if (run->step >= UINT32_MAX - 1) /* a random stream counts steps in 32 bits */
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "a run has at most 4294967294 steps");
    if (run->report.status != FB_OK)
        return fb__run_observer_status(run, err);
    return check_environment(run, err);
}

static bool is_training(const fb_run *run)
{
    return run->formulas.trains == NULL || run->formulas.trains(run);
}

fb_status fb_run_step(fb_run *run, fb_error *err)
{
    const uint64_t step = run->step + 1;
    const uint64_t eval_every = (uint64_t)run->config->eval_every;
    const uint64_t checkpoint_every = (uint64_t)run->config->checkpoint_every;
    fb_status status = check_ready(run, err);

    if (status != FB_OK)
        return status;
    fb__report_begin_step(&run->report, step);
    fb__faults_draw(run, step);
    fb__report_event(&run->report, run->mode_site, FB_MICRO_NONE,
                     (fb_event){.value = is_training(run)});
    fb__batch_read(run, step);
    fb__train_passes(run);
    fb__optimizer_step(run, step);
    status = fb__run_observer_status(run, err);
    if (status != FB_OK)
        return status;
    run->step = step;
    run->report.updated = step;

    if (eval_every != 0 && step % eval_every == 0)
        fb__evaluate(run);
    if (checkpoint_every != 0 && step % checkpoint_every == 0)
        status = fb__checkpoint_write(run, err);
    fb__report_end_step(&run->report);
    if (status == FB_OK)
        status = fb__run_observer_status(run, err);
    return status == FB_OK ? check_environment(run, err) : status;
}

fb_status fb_run_end(fb_run *run, fb_error *err)
{
    char hex[FB_HASH_HEX_BYTES];

    if (fb__report_wants(&run->report, run->end_site))
        fb__report_event(&run->report, run->end_site, FB_MICRO_NONE,
                         (fb_event){.text = fb_hash_hex(hex, fb_run_final_hash(run))});
    return fb__run_observer_status(run, err);
}

/* --- Looking at a run ------------------------------------------------------------------------- */

void fb_run_observe(fb_run *run, const fb_observer *observer)
{
    fb__report_observe(&run->report, observer);
}

const char *fb_run_header(const fb_run *run)
{
    return run->header;
}

const fb_dataset_info *fb_run_data(const fb_run *run)
{
    return run->data;
}

uint64_t fb_run_current_step(const fb_run *run)
{
    return run->step;
}

float fb_run_loss(const fb_run *run)
{
    return run->step_loss;
}

float fb_run_eval_loss(const fb_run *run)
{
    return run->eval.loss;
}

double fb_run_eval_accuracy(const fb_run *run)
{
    return run->eval.accuracy;
}

uint64_t fb_run_items_per_step(const fb_run *run)
{
    const uint64_t tokens = run->data->input_dtype == FB_DTYPE_U32 ? run->batch.input_count : 1;

    return run->batch.samples * tokens;
}

fb_hash fb_run_final_hash(const fb_run *run)
{
    const size_t count = run->model.param_count;

    for (size_t i = 0; i < count; i++) {
        const fb__param *param = run->model.params[i];
        run->hashes[i] = fb_tensor_hash(run->pool, FB_DTYPE_F32, param->data,
                                        param->count * sizeof(float), NULL);
    }
    return fb_hash_bytes(run->hashes, count * sizeof *run->hashes);
}

fb_nonfinite fb_run_first_nonfinite(const fb_run *run)
{
    return run->report.nonfinite;
}

size_t fb_run_parameter_count(const fb_run *run)
{
    return run->model.param_count;
}

fb_run_tensor fb_run_parameter(fb_run *run, size_t index)
{
    const fb__param *param = run->model.params[index];
    fb_run_tensor tensor = {
        .path = param->path,
        .rank = param->shape.rank,
        .data = param->data,
        .grad = param->grad,
        .count = param->count,
    };

    memcpy(tensor.shape, param->shape.dims, sizeof tensor.shape);
    return tensor;
}
