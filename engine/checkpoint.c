/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint.c - the state of a run as a safetensors file, and going on from one, bit for bit.
 *
 * Tensors: each parameter by its path, each optimizer state as "optimizer.<slot>.<path>". Metadata:
 * format, step, epoch, beta powers (bits of the float64), the part of the resolved configuration
 * that decides bits, hashes of the data. So equal states give equal files, whatever the files are
 * called and however often they are written. Everything else that a step needs follows from the
 * configuration and the step: random streams are random-access, the shuffle is keyed by the epoch.
 */
#include "engine/run_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cJSON.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "engine/config/config_reader.h"
#include "engine/files/json.h"
#include "engine/run_files.h"
#include "engine/files/safetensors.h"

#define FORMAT "firstbit-checkpoint-1"

enum { NAME_BYTES = FB_NAME_MAX + 64, METADATA = 7 };

static char *state_name(char name[NAME_BYTES], const char *slot, const char *path)
{
    (void)snprintf(name, NAME_BYTES, "optimizer.%s.%s", slot, path);
    return name;
}

static uint64_t double_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The content hashes of the data files, which decide bits as the configuration does. */
static void data_hashes(const fb_run *run, char out[2 * FB_HASH_HEX_BYTES])
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < run->data->file_count && i < 2; i++) {
        if (i > 0)
            out[used++] = ',';
        fb_hash_hex(out + used, run->data->files[i].hash);
        used += FB_HASH_HEX_BYTES - 1;
    }
}

/* --- What must not change --------------------------------------------------------------------- */

enum { PATH_BYTES = 1024 };

/* Appends a key or an index to a path and returns its length before. */
static size_t enter(char path[PATH_BYTES], const cJSON *child, int index)
{
    const size_t length = strlen(path);

    if (child->string == NULL)
        (void)snprintf(path + length, PATH_BYTES - length, "[%d]", index);
    else
        (void)snprintf(path + length, PATH_BYTES - length, "%s%s", length == 0 ? "" : ".",
                       child->string);
    return length;
}

/* Keys that decide no bit of the steps that follow. Files go by their hash, not by their name. */
static bool is_free(const char *path, const cJSON *item)
{
    static const char *const keys[] = {"steps", "eval", "checkpoint", "weights"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(path, keys[i]) == 0)
            return true;
    return strncmp(path, "data.", 5) == 0 && cJSON_IsString(item);
}

/* Writes a resolved configuration without its free keys. Nesting is bounded by its reader. */
static void put_binding(fb_buffer *out, const cJSON *item, char path[PATH_BYTES])
{
    const bool array = cJSON_IsArray(item);
    const cJSON *child;
    char number[FB__NUMBER_TEXT];
    int index = 0, written = 0;

    if (cJSON_IsString(item)) {
        fb__json_put_string(out, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        fb__number_text(number, item->valuedouble);
        fb_buffer_append(out, number, strlen(number));
    } else if (!array && !cJSON_IsObject(item)) {
        const char *word = cJSON_IsTrue(item) ? "true" : cJSON_IsFalse(item) ? "false" : "null";
        fb_buffer_append(out, word, strlen(word));
    } else {
        fb_buffer_u8(out, array ? '[' : '{');
        cJSON_ArrayForEach(child, item)
        {
            const size_t length = enter(path, child, index++);

            if (!is_free(path, child)) {
                if (written++ > 0)
                    fb_buffer_u8(out, ',');
                if (!array) {
                    fb__json_put_string(out, child->string);
                    fb_buffer_u8(out, ':');
                }
                put_binding(out, child, path);
            }
            path[length] = '\0';
        }
        fb_buffer_u8(out, array ? ']' : '}');
    }
}

/* The part of the run's configuration that decides bits, as text with a final zero. */
static fb_status binding_configuration(const fb_run *run, fb_buffer *out, fb_error *err)
{
    cJSON *tree = fb__json_parse(run->config->resolved, NULL);
    char path[PATH_BYTES] = "";

    *out = (fb_buffer){0};
    if (tree != NULL)
        put_binding(out, tree, path);
    fb_buffer_u8(out, 0);
    cJSON_Delete(tree);
    if (tree != NULL && !out->failed)
        return FB_OK;
    fb_buffer_free(out);
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for a checkpoint");
}

/* Whether two values differ; path then names the innermost key that does. */
static bool differs(const cJSON *a, const cJSON *b, char path[PATH_BYTES])
{
    const cJSON *x, *y;
    int index = 0;

    if (a == NULL || b == NULL || (a->type & 0xff) != (b->type & 0xff))
        return true;
    if (cJSON_IsNumber(a))
        return double_bits(a->valuedouble) != double_bits(b->valuedouble);
    if (cJSON_IsString(a))
        return strcmp(a->valuestring, b->valuestring) != 0;
    for (x = a->child, y = b->child; x != NULL || y != NULL; index++) {
        const size_t length = enter(path, x != NULL ? x : y, index);

        if (x != NULL && x->string != NULL)
            y = cJSON_GetObjectItemCaseSensitive(b, x->string);
        if (differs(x, y, path))
            return true;
        path[length] = '\0';
        if (x != NULL)
            x = x->next;
        if (y != NULL)
            y = y->next;
    }
    return false;
}

static fb_status check_configuration(const fb_run *run, const char *text, const char *name,
                                     fb_error *err)
{
    fb_buffer binding;
    cJSON *mine, *theirs;
    char path[PATH_BYTES] = "";
    fb_status status = binding_configuration(run, &binding, err);

    if (status != FB_OK)
        return status;
    mine = fb__json_parse((const char *)binding.data, NULL);
    theirs = text == NULL ? NULL : fb__json_parse(text, NULL);
    fb_buffer_free(&binding);
    if (mine == NULL || theirs == NULL)
        status = fb__fail(err, theirs == NULL ? FB_E_CORRUPT : FB_E_MEMORY, FB_NO_OFFSET,
                          "%s: its configuration cannot be read", name);
    else if (differs(mine, theirs, path))
        status = fb__fail(err, FB_E_CHANGED, FB_NO_OFFSET,
                          "%s: written by a run with another %s; only steps, eval, checkpoint and "
                          "file names may change",
                          name, path[0] == '\0' ? "configuration" : path);
    cJSON_Delete(mine);
    cJSON_Delete(theirs);
    return status;
}

/* --- Writing ---------------------------------------------------------------------------------- */

static fb_safetensor tensor_of(const fb__param *param, const char *name, const float *data)
{
    fb_safetensor tensor = {
        .name = name,
        .dtype = FB_DTYPE_F32,
        .rank = param->shape.rank,
        .data = data,
        .bytes = param->count * sizeof *data,
    };

    memcpy(tensor.shape, param->shape.dims, sizeof tensor.shape);
    return tensor;
}

/* names: NAME_BYTES for each tensor. */
static size_t list_tensors(const fb_run *run, fb_safetensor *tensors, char *names)
{
    const fb__optimizer *o = &run->optimizer;
    size_t count = 0;

    for (size_t i = 0; i < run->model.param_count; i++, count++)
        tensors[count] =
            tensor_of(run->model.params[i], run->model.params[i]->path, run->model.params[i]->data);
    for (size_t s = 0; s < o->state_count; s++)
        for (size_t i = 0; i < run->model.param_count; i++, count++) {
            const fb__param *param = run->model.params[i];
            const char *name =
                state_name(names + count * NAME_BYTES, o->states[s].slot, param->path);
            tensors[count] = tensor_of(param, name, o->states[s].vector + param->offset);
        }
    return count;
}

static fb_status write_file(fb_run *run, const char *path, fb_hash *hash, fb_error *err)
{
    static const char *const keys[METADATA] = {
        "format", "step", "epoch", "beta1_power", "beta2_power", "configuration", "data",
    };
    const size_t most = run->model.param_count * (1 + run->optimizer.state_count);
    fb_safetensor *tensors = calloc(most, sizeof *tensors);
    char *names = malloc(most * NAME_BYTES);
    char numbers[4][32], data[2 * FB_HASH_HEX_BYTES];
    fb_buffer binding;
    fb_status status = binding_configuration(run, &binding, err);

    if (status == FB_OK && (tensors == NULL || names == NULL)) {
        fb_buffer_free(&binding);
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for a checkpoint");
    }
    if (status != FB_OK) {
        free(tensors);
        free(names);
        return status;
    }
    const char *values[METADATA] = {
        FORMAT, numbers[0], numbers[1], numbers[2], numbers[3], (const char *)binding.data, data,
    };
    (void)snprintf(numbers[0], sizeof numbers[0], "%" PRIu64, run->step);
    (void)snprintf(numbers[1], sizeof numbers[1], "%" PRIu64, run->order.epoch);
    for (int b = 0; b < 2; b++)
        (void)snprintf(numbers[2 + b], sizeof numbers[0], "0x%016" PRIx64,
                       double_bits(run->optimizer.beta_power[b]));
    data_hashes(run, data);
    status = fb_safetensors_write(path, tensors, list_tensors(run, tensors, names), keys, values,
                                  METADATA, hash, err);
    fb_buffer_free(&binding);
    free(tensors);
    free(names);
    return status;
}

fb_status fb__checkpoint_write(fb_run *run, fb_error *err)
{
    const char *folder = run->checkpoint_folder;
    char name[64];
    char *path = NULL;
    fb_hash hash = {0, 0};
    fb_status status = FB_OK;

    (void)snprintf(name, sizeof name, "step-%08" PRIu64 ".safetensors", run->step);
    if (folder != NULL) {
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET,
                            "%s: cannot make the folder: %s", folder, strerror(errno));
        if (asprintf(&path, "%s/%s", folder, name) < 0)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for a checkpoint");
    }
    if (path != NULL || fb__report_wants(&run->report, run->checkpoint_site))
        status = write_file(run, path, &hash, err);
    free(path);
    if (status == FB_OK)
        fb__report_event(&run->report, run->checkpoint_site, FB_MICRO_NONE,
                         (fb_event){.hash = hash, .text = name});
    return status;
}

/* --- Resuming --------------------------------------------------------------------------------- */

static bool read_u64(uint64_t *out, const char *text, int base)
{
    char *end;

    if (text == NULL || text[0] == '\0' || text[0] == '-')
        return false;
    errno = 0;
    *out = strtoull(text, &end, base);
    return errno == 0 && *end == '\0';
}

/* What a step needs beside tensors. */
typedef struct progress {
    uint64_t step;
    double beta_power[2];
} progress;

static fb_status read_metadata(progress *out, const fb_run *run, const fb_safetensors *file,
                               const char *name, fb_error *err)
{
    static const char *const keys[2] = {"beta1_power", "beta2_power"};
    const char *format = fb_safetensors_metadata(file, "format");
    const char *data = fb_safetensors_metadata(file, "data");
    char mine[2 * FB_HASH_HEX_BYTES];
    fb_status status;

    if (format == NULL || strcmp(format, FORMAT) != 0)
        return fb__fail(err, FB_E_FORMAT, FB_NO_OFFSET, "%s: not a checkpoint of firstbit", name);
    status = check_configuration(run, fb_safetensors_metadata(file, "configuration"), name, err);
    if (status != FB_OK)
        return status;
    data_hashes(run, mine);
    if (data == NULL || strcmp(data, mine) != 0)
        return fb__fail(err, FB_E_CHANGED, FB_NO_OFFSET,
                        "%s: written by a run on other data than %s", name, run->data->name);
    if (!read_u64(&out->step, fb_safetensors_metadata(file, "step"), 10) || out->step == 0 ||
        out->step >= UINT32_MAX)
        return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: step is missing or wrong", name);
    for (int b = 0; b < 2; b++) {
        uint64_t bits;

        if (!read_u64(&bits, fb_safetensors_metadata(file, keys[b]), 16))
            return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: %s is missing or wrong", name,
                            keys[b]);
        memcpy(&out->beta_power[b], &bits, sizeof bits);
    }
    return FB_OK;
}

/* Finds every tensor before any is loaded; extra ones are refused by their number. */
static fb_status check_tensors(const fb_run *run, const fb_safetensors *file, const char *name,
                               fb_error *err)
{
    const fb__optimizer *o = &run->optimizer;
    const size_t count = run->model.param_count * (1 + o->state_count);
    const fb_safetensor *tensor;
    char text[NAME_BYTES];

    for (size_t i = 0; i < run->model.param_count; i++) {
        const fb__param *param = run->model.params[i];
        fb_status status = fb__tensor_of_param(&tensor, file, param->path, param, name, err);

        for (size_t s = 0; s < o->state_count && status == FB_OK; s++)
            status = fb__tensor_of_param(
                &tensor, file, state_name(text, o->states[s].slot, param->path), param, name, err);
        if (status != FB_OK)
            return status;
    }
    if (fb_safetensors_count(file) != count)
        return fb__fail(err, FB_E_DATA, FB_NO_OFFSET, "%s: %zu tensors, the run has %zu", name,
                        fb_safetensors_count(file), count);
    return FB_OK;
}

static void load_states(fb_run *run, const fb_safetensors *file)
{
    fb__optimizer *o = &run->optimizer;
    char text[NAME_BYTES];

    for (size_t s = 0; s < o->state_count; s++) {
        o->states[s].version++;
        for (size_t i = 0; i < run->model.param_count; i++) {
            const fb__param *param = run->model.params[i];
            float *data = o->states[s].vector + param->offset;

            memcpy(
                data,
                fb_safetensors_find(file, state_name(text, o->states[s].slot, param->path))->data,
                param->count * sizeof *data);
            if (run->formulas.load_state != NULL)
                run->formulas.load_state(run, data, param->count);
            fb__report_tensor(&run->report, o->states[s].first_load_site + (uint32_t)i,
                              FB_MICRO_NONE, data, o->states[s].first_storage + i,
                              o->states[s].version, NULL);
        }
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static void load(fb_run *run, const fb_safetensors *file, const progress *from, const char *path,
                 fb_hash hash)
{
    run->begun = true;
    run->step = from->step;
    memcpy(run->optimizer.beta_power, from->beta_power, sizeof from->beta_power);
    fb__report_begin_step(&run->report, run->step);
    run->report.updated = run->step;
    fb__report_event(&run->report, run->seed_site, FB_MICRO_NONE,
                     (fb_event){.key = run->config->seed});
    fb__report_event(&run->report, run->resume_site, FB_MICRO_NONE,
                     (fb_event){.hash = hash, .text = base_name(path)});
    for (size_t i = 0; i < run->model.param_count; i++) {
        fb__param *param = run->model.params[i];
        fb__load_param(run, param, fb_safetensors_find(file, param->path));
    }
    load_states(run, file);
    run->override.resumed = run->step;
    if (run->formulas.resume != NULL)
        run->formulas.resume(run);
    fb__report_end_step(&run->report);
}

/* Opens a checkpoint and checks all of it. */
static fb_status open_checkpoint(fb_safetensors **out, progress *from, fb_hash *hash,
                                 const fb_run *run, const char *path, fb_error *err)
{
    fb_safetensors *file;
    fb_status status;

    if (run->begun)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "the run has begun already");
    status = fb_hash_file(hash, NULL, path, err);
    if (status == FB_OK)
        status = fb_safetensors_open(&file, path, err);
    if (status != FB_OK)
        return status;
    status = read_metadata(from, run, file, path, err);
    if (status == FB_OK)
        status = check_tensors(run, file, path, err);
    if (status != FB_OK) {
        fb_safetensors_close(file);
        return status;
    }
    *out = file;
    return FB_OK;
}

fb_status fb_run_check_checkpoint(fb_run *run, const char *checkpoint, uint64_t *step,
                                  fb_hash *hash, fb_error *err)
{
    fb_safetensors *file = NULL;
    progress from;
    const fb_status status = open_checkpoint(&file, &from, hash, run, checkpoint, err);

    if (status != FB_OK)
        return status;
    *step = from.step;
    fb_safetensors_close(file);
    return FB_OK;
}

fb_status fb_run_resume(fb_run *run, const char *checkpoint, fb_error *err)
{
    fb_safetensors *file = NULL;
    progress from;
    fb_hash hash;
    fb_status status = open_checkpoint(&file, &from, &hash, run, checkpoint, err);

    if (status != FB_OK)
        return status;
    load(run, file, &from, checkpoint, hash);
    fb_safetensors_close(file);
    return fb__run_observer_status(run, err);
}
