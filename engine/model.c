/* SPDX-License-Identifier: Apache-2.0
 *
 * model.c - builds the graph of a run from its configuration.
 */
#include "engine/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { VECTOR_ALIGN = 16 }; /* elements: a parameter starts on a cache line */

/* --- Memory of the structures ----------------------------------------------------------------- */

typedef struct fb__block {
    struct fb__block *next;
    max_align_t bytes[];
} fb__block;

void *fb__model_take(fb__model *model, size_t bytes)
{
    fb__block *block = calloc(1, sizeof *block + bytes);

    if (block == NULL)
        return NULL;
    block->next = model->memory;
    model->memory = block;
    return block->bytes;
}

char *fb__model_path(fb__model *model, const char *a, const char *b)
{
    const size_t bytes = strlen(a) + 1 + strlen(b) + 1;
    char *path = fb__model_take(model, bytes);

    if (path != NULL)
        snprintf(path, bytes, "%s.%s", a, b);
    return path;
}

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for the model");
}

/* Makes room for one more pointer in a list that doubles. Old lists stay in the model's memory. */
static bool grow(fb__model *model, void *list, size_t count, size_t *capacity)
{
    void **old;
    void **larger;

    if (count < *capacity)
        return true;
    memcpy(&old, list, sizeof old);
    larger = fb__model_take(model, (count * 2 + 16) * sizeof *larger);
    if (larger == NULL)
        return false;
    if (count > 0)
        memcpy(larger, old, count * sizeof *larger);
    *capacity = count * 2 + 16;
    memcpy(list, &larger, sizeof larger);
    return true;
}

/* --- Shapes ----------------------------------------------------------------------------------- */

size_t fb__shape_count(const fb__shape *shape)
{
    size_t count = 1;

    for (uint32_t i = 0; i < shape->rank; i++)
        count *= shape->dims[i];
    return count;
}

char *fb__shape_text(char text[FB__SHAPE_TEXT], const fb__shape *shape)
{
    size_t used = 1;

    text[0] = '[';
    for (uint32_t i = 0; i < shape->rank; i++)
        used += (size_t)snprintf(text + used, FB__SHAPE_TEXT - used, i == 0 ? "%llu" : ",%llu",
                                 (unsigned long long)shape->dims[i]);
    text[used] = ']';
    text[used + 1] = '\0';
    return text;
}

/* Whether a tensor of this shape, `times` over, can exist: 2^40 elements are beyond any machine
 * that this runs on, and keep every later product of sizes inside 64 bits. */
static bool shape_fits(const fb__shape *shape, uint64_t times)
{
    const uint64_t limit = (uint64_t)1 << 40;
    uint64_t count = times;

    if (count > limit)
        return false;
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (shape->dims[i] > limit || (count != 0 && shape->dims[i] > limit / count))
            return false;
        count *= shape->dims[i];
    }
    return true;
}

/* --- Values, ops, parameters ------------------------------------------------------------------ */

static fb__value *new_value(fb__model *model, const fb__shape *shape)
{
    fb__value *value = fb__model_take(model, sizeof *value);

    if (value == NULL)
        return NULL;
    value->shape = *shape;
    value->per_sample = fb__shape_count(shape);
    value->storage = ++model->storages;
    value->grad_storage = ++model->storages;
    return value;
}

fb_status fb__model_read(fb__model *model, fb__op *op, fb__value *value, fb_error *err)
{
    fb__use *uses = fb__model_take(model, (value->use_count + 1) * sizeof *uses);

    if (uses == NULL)
        return out_of_memory(err);
    if (value->use_count > 0)
        memcpy(uses, value->uses, value->use_count * sizeof *uses);
    uses[value->use_count++] = (fb__use){.op = op, .input = op->in_count};
    value->uses = uses;
    op->in[op->in_count++] = value;
    op->out->needs_grad = op->out->needs_grad || value->needs_grad;
    return FB_OK;
}

fb_status fb__model_add_op(fb__op **out, fb__model *model, const fb__op_type *type,
                           const char *path, fb__value *in, const fb__shape *shape, fb_error *err)
{
    fb__op *op = fb__model_take(model, sizeof *op);

    if (op == NULL || !grow(model, &model->ops, model->op_count, &model->op_capacity))
        return out_of_memory(err);
    if (!shape_fits(shape, model->batch)) {
        char text[FB__SHAPE_TEXT];
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                        "%s: output %s of %zu samples is too large for any machine", path,
                        fb__shape_text(text, shape), model->batch);
    }
    op->type = type;
    op->path = path;
    op->out = new_value(model, shape);
    if (op->out == NULL)
        return out_of_memory(err);
    op->out->producer = op;
    if (type->flags & FB__HANDS_DATA_ON)
        op->out->storage = in->storage;
    model->ops[model->op_count++] = op;
    *out = op;
    return fb__model_read(model, op, in, err);
}

fb_status fb__model_tie(fb__model *model, fb__op *op, unsigned index, fb__param *param,
                        fb_error *err)
{
    fb__param_use *uses = fb__model_take(model, (param->use_count + 1) * sizeof *uses);

    if (uses == NULL)
        return out_of_memory(err);
    if (param->use_count > 0)
        memcpy(uses, param->uses, param->use_count * sizeof *uses);
    uses[param->use_count++] = (fb__param_use){.op = op, .index = index};
    param->uses = uses;
    op->params[index] = param;
    op->out->needs_grad = true;
    return FB_OK;
}

fb_status fb__model_add_param(fb__model *model, fb__op *op, unsigned index, const char *name,
                              const fb__shape *shape, fb__init init, float std, fb_error *err)
{
    fb__param *param = fb__model_take(model, sizeof *param);
    fb_status status;

    if (param == NULL || !grow(model, &model->params, model->param_count, &model->param_capacity))
        return out_of_memory(err);
    param->path = fb__model_path(model, op->path, name);
    if (param->path == NULL)
        return out_of_memory(err);
    if (!shape_fits(shape, 1)) {
        char text[FB__SHAPE_TEXT];
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET, "%s: %s is too large for any machine",
                        param->path, fb__shape_text(text, shape));
    }
    param->shape = *shape;
    param->count = fb__shape_count(shape);
    param->offset = model->vector_count;
    param->init = init;
    param->std = std;
    param->storage = ++model->storages;
    param->leaf_storage = ++model->storages;
    param->grad_storage = ++model->storages;
    status = fb_streams_add(&param->stream, model->streams, param->path, err);
    if (status != FB_OK)
        return status;
    model->vector_count += (param->count + VECTOR_ALIGN - 1) / VECTOR_ALIGN * VECTOR_ALIGN;
    model->params[model->param_count++] = param;
    return fb__model_tie(model, op, index, param, err);
}

float fb__init_std(uint64_t fan_in)
{
    return (float)(1.0 / sqrt((double)fan_in));
}

fb__op *fb__model_find_op(const fb__model *model, const char *path)
{
    for (size_t i = 0; i < model->op_count; i++)
        if (strcmp(model->ops[i]->path, path) == 0)
            return model->ops[i];
    return NULL;
}

fb__param *fb__model_find_param(const fb__model *model, const char *path)
{
    for (size_t i = 0; i < model->param_count; i++)
        if (strcmp(model->params[i]->path, path) == 0)
            return model->params[i];
    return NULL;
}

/* --- Layers ----------------------------------------------------------------------------------- */

static fb__layer_builder *const builders[FB_LAYER_COUNT] = {
    [FB_LAYER_EMBEDDING] = fb__build_embedding, [FB_LAYER_LINEAR] = fb__build_linear,
    [FB_LAYER_LAYERNORM] = fb__build_layernorm, [FB_LAYER_ATTENTION] = fb__build_attention,
    [FB_LAYER_GELU] = fb__build_activation,     [FB_LAYER_RELU] = fb__build_activation,
    [FB_LAYER_TANH] = fb__build_activation,     [FB_LAYER_SIGMOID] = fb__build_activation,
    [FB_LAYER_SILU] = fb__build_activation,     [FB_LAYER_SOFTPLUS] = fb__build_activation,
    [FB_LAYER_DROPOUT] = fb__build_dropout,     [FB_LAYER_CONV2D] = fb__build_conv2d,
    [FB_LAYER_MAXPOOL] = fb__build_pool,        [FB_LAYER_AVGPOOL] = fb__build_pool,
    [FB_LAYER_FLATTEN] = fb__build_flatten,     [FB_LAYER_RESIDUAL] = fb__build_residual,
};

fb_status fb__build_layers(fb__model *model, const fb_layer_config *layers, size_t count,
                           fb__value **value, fb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const fb_layer_config *layer = &layers[i];
        fb_status status;

        if (*value == model->input && model->data->input_dtype == FB_DTYPE_U32 &&
            layer->type != FB_LAYER_EMBEDDING && layer->type != FB_LAYER_RESIDUAL)
            return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET,
                            "%s: %s cannot read tokens; the first layer must be an embedding",
                            layer->where, fb_layer_type_name(layer->type));
        status = builders[layer->type](model, layer, value, err);
        if (status != FB_OK)
            return status;
    }
    return FB_OK;
}

fb_status fb__model_build(fb__model *model, const fb_config *config, const fb_dataset_info *data,
                          fb_streams *streams, fb_error *err)
{
    fb__shape shape = {.rank = data->input_rank};
    fb_status status;

    *model = (fb__model){.data = data, .streams = streams};
    if (data->input_rank >= FB_RANK_MAX) /* the batch is one more */
        return fb__fail(err, FB_E_SHAPE, FB_NO_OFFSET, "%s: samples of %u dimensions, at most %d",
                        data->name, data->input_rank, FB_RANK_MAX - 1);
    model->batch = (size_t)(config->batch_size / config->micro);
    memcpy(shape.dims, data->input_shape, sizeof shape.dims);
    model->input = new_value(model, &shape);
    if (model->input == NULL)
        return out_of_memory(err);
    model->output = model->input;
    status = fb__build_layers(model, config->layers, config->layer_count, &model->output, err);
    if (status == FB_OK && !model->output->needs_grad)
        status = fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET, "model: there is nothing to train");
    if (status != FB_OK)
        fb__model_free(model);
    return status;
}

void fb__model_free(fb__model *model)
{
    fb__block *block = model->memory;

    while (block != NULL) {
        fb__block *next = block->next;
        free(block);
        block = next;
    }
    free(model->numbers);
    *model = (fb__model){0};
}
