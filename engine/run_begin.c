/* SPDX-License-Identifier: Apache-2.0
 *
 * run_begin.c - the first state of a run: drawn from the random streams, or read from a file of
 * weights.
 */
#include "engine/run_state.h"

#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "engine/run_files.h"
#include "engine/files/safetensors.h"

/* --- Drawing ---------------------------------------------------------------------------------- */

static void draw_normal(fb_run *run, fb__param *param)
{
    const fb_philox stream = fb_streams_at(run->streams, param->stream, 0);
    const uint64_t shift = run->stream_shift[param->stream];

    run->kernels->fill_normal(run->pool, param->data, param->count, 0.0f, param->std, &stream,
                              shift);
    fb__report_event(&run->report, param->draw_site, FB_MICRO_NONE,
                     (fb_event){
                         .key = stream.stream,
                         .counter = shift,
                         .count = param->count + param->count % 2, /* an odd tail discards one */
                     });
}

static void draw_parameters(fb_run *run)
{
    for (size_t i = 0; i < run->model.param_count; i++) {
        fb__param *param = run->model.params[i];

        if (param->init == FB__INIT_NORMAL)
            draw_normal(run, param);
        else
            for (size_t e = 0; e < param->count; e++)
                param->data[e] = param->init == FB__INIT_ONE ? 1.0f : 0.0f;
        if (run->formulas.initialize != NULL)
            run->formulas.initialize(run, param);
        param->version++;
        fb__faults_flip_param(run, param, "param", FB_MICRO_NONE, param->data);
        fb__report_tensor(&run->report, param->init_site, FB_MICRO_NONE, param->data,
                          param->storage, param->version, NULL);
    }
}

/* --- Reading ---------------------------------------------------------------------------------- */

static fb_status check_tensor(const fb__param *param, const fb_safetensor *tensor, const char *file,
                              fb_error *err)
{
    fb__shape got = {.rank = tensor->rank};
    char have[FB__SHAPE_TEXT], want[FB__SHAPE_TEXT];

    memcpy(got.dims, tensor->shape, sizeof got.dims);
    fb__shape_text(have, &got);
    fb__shape_text(want, &param->shape);
    if (tensor->dtype != FB_DTYPE_F32 || strcmp(have, want) != 0)
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET, "%s: %s is %s%s, the model needs f32%s",
                        file, param->path, fb_dtype_name(tensor->dtype), have, want);
    return FB_OK;
}

fb_status fb__tensor_of_param(const fb_safetensor **out, const fb_safetensors *file,
                              const char *name, const fb__param *param, const char *file_name,
                              fb_error *err)
{
    *out = fb_safetensors_find(file, name);
    if (*out == NULL)
        return fb__fail(err, FB_E_DATA, FB_NO_OFFSET, "%s: tensor %s is missing", file_name, name);
    return check_tensor(param, *out, file_name, err);
}

static fb_status check_weights(const fb_run *run, const fb_safetensors *file, const char *name,
                               fb_error *err)
{
    const fb_safetensor *tensor;

    for (size_t i = 0; i < run->model.param_count; i++) {
        const fb__param *param = run->model.params[i];
        const fb_status status = fb__tensor_of_param(&tensor, file, param->path, param, name, err);
        if (status != FB_OK)
            return status;
    }
    for (size_t i = 0; i < fb_safetensors_count(file); i++) {
        tensor = fb_safetensors_at(file, i);
        if (fb__model_find_param(&run->model, tensor->name) == NULL)
            return fb__fail(err, FB_E_DATA, FB_NO_OFFSET,
                            "%s: tensor %s belongs to no parameter of the model", name,
                            tensor->name);
    }
    return FB_OK;
}

fb_status fb__weights_check(fb_run *run, fb_error *err)
{
    fb_safetensors *file;
    char *path;
    fb_status status;

    if (run->config->weights == NULL)
        return FB_OK;
    status = fb__find_file(&path, run->config->weights, run->folder, err);
    if (status != FB_OK)
        return status;
    run->weights_path = path;
    status = fb_hash_file(&run->weights_hash, &run->weights_bytes, path, err);
    if (status == FB_OK)
        status = fb_safetensors_open(&file, path, err);
    if (status != FB_OK)
        return status;
    status = check_weights(run, file, path, err);
    fb_safetensors_close(file);
    return status;
}

void fb__load_param(fb_run *run, fb__param *param, const fb_safetensor *tensor)
{
    memcpy(param->data, tensor->data, param->count * sizeof(float));
    param->version++;
    fb__faults_flip_param(run, param, "param", FB_MICRO_NONE, param->data);
    fb__report_tensor(&run->report, param->load_site, FB_MICRO_NONE, param->data, param->storage,
                      param->version, NULL);
}

static fb_status load_weights(fb_run *run, fb_error *err)
{
    fb_safetensors *file;
    fb_status status = fb_safetensors_open(&file, run->weights_path, err);

    if (status != FB_OK)
        return status;
    status = check_weights(run, file, run->weights_path, err);
    for (size_t i = 0; i < run->model.param_count && status == FB_OK; i++) {
        fb__param *param = run->model.params[i];
        fb__load_param(run, param, fb_safetensors_find(file, param->path));
    }
    fb_safetensors_close(file);
    return status;
}

/* --- Together --------------------------------------------------------------------------------- */

fb_status fb_run_begin(fb_run *run, fb_error *err)
{
    fb_status status = FB_OK;

    if (run->begun)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "the run has begun already");
    run->begun = true;
    fb__report_begin_step(&run->report, 0);
    fb__report_event(&run->report, run->seed_site, FB_MICRO_NONE,
                     (fb_event){.key = run->config->seed});
    fb__faults_draw(run, 0);
    if (run->config->weights == NULL)
        draw_parameters(run);
    else
        status = load_weights(run, err);
    if (status == FB_OK) {
        fb__report_end_step(&run->report);
        status = fb__run_observer_status(run, err);
    }
    return status;
}
