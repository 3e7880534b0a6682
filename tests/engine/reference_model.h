/* SPDX-License-Identifier: Apache-2.0
 *
 * reference_model.h - the same models written a second time, in float64 and in the plainest way:
 * one loop nest a layer, no order, no speed. Gradients of the engine are held against finite
 * differences of this.
 */
#ifndef FB_TESTS_ENGINE_REFERENCE_MODEL_H
#define FB_TESTS_ENGINE_REFERENCE_MODEL_H

#include <math.h>

#include "base/hash.h"
#include "engine/config/config.h"
#include "engine/run.h"
#include "kernels/kernels.h"
#include "scratch.h"

enum { REF_ARENA = 1 << 19, REF_PARAMS = 64 };

typedef struct ref_value {
    uint32_t rank; /* of one sample */
    size_t dims[4];
    size_t count; /* of one sample */
    double *x;    /* [B, sample] */
} ref_value;

typedef struct ref_param {
    const char *path;
    size_t count;
    double *x;
} ref_param;

typedef struct ref_model {
    const fb_config *config;
    uint64_t step; /* for dropout */
    size_t batch;
    uint32_t *tokens; /* [B,T], or */
    double *inputs;   /* [B, sample] */
    ref_value input;  /* shape of one sample */
    int32_t *classes; /* [B, targets], or */
    double *targets;
    size_t target_count;
    ref_param params[REF_PARAMS];
    size_t param_count;
    double *arena;
    size_t used;
} ref_model;

static inline double *ref_take(ref_model *m, size_t count)
{
    double *p = m->arena + m->used;

    m->used += count;
    assert_true(m->used <= REF_ARENA);
    return p;
}

static inline const double *ref_find(const ref_model *m, const char *path, const char *name)
{
    char whole[512];

    (void)snprintf(whole, sizeof whole, "%s.%s", path, name);
    for (size_t i = 0; i < m->param_count; i++)
        if (strcmp(m->params[i].path, whole) == 0)
            return m->params[i].x;
    return NULL;
}

static inline ref_value ref_new(ref_model *m, uint32_t rank, const size_t *dims)
{
    ref_value v = {.rank = rank, .count = 1};

    for (uint32_t i = 0; i < rank; i++) {
        v.dims[i] = dims[i];
        v.count *= dims[i];
    }
    v.x = ref_take(m, v.count * m->batch);
    return v;
}

static inline ref_value ref_linear(ref_model *m, const char *path, const char *weight_path,
                                   size_t outputs, const ref_value *in)
{
    const double *w = ref_find(m, weight_path, "weight"), *b = ref_find(m, path, "bias");
    const size_t inputs = in->dims[in->rank - 1];
    size_t dims[4] = {in->dims[0], in->dims[1], in->dims[2], in->dims[3]};
    ref_value y;

    dims[in->rank - 1] = outputs;
    y = ref_new(m, in->rank, dims);
    for (size_t r = 0; r < m->batch * in->count / inputs; r++)
        for (size_t n = 0; n < outputs; n++) {
            double sum = b == NULL ? 0 : b[n];
            for (size_t k = 0; k < inputs; k++)
                sum += in->x[r * inputs + k] * w[n * inputs + k];
            y.x[r * outputs + n] = sum;
        }
    return y;
}

static inline ref_value ref_embedding(ref_model *m, const fb_layer_config *layer)
{
    const double *w = ref_find(m, layer->path, "weight");
    const double *positions = ref_find(m, layer->path, "positions");
    const size_t time = m->input.count, dim = (size_t)layer->dim;
    ref_value y = ref_new(m, 2, (size_t[]){time, dim});

    for (size_t r = 0; r < m->batch * time; r++)
        for (size_t c = 0; c < dim; c++)
            y.x[r * dim + c] =
                w[m->tokens[r] * dim + c] + (positions == NULL ? 0 : positions[r % time * dim + c]);
    return y;
}

static inline ref_value ref_layernorm(ref_model *m, const fb_layer_config *layer,
                                      const ref_value *in)
{
    const double *g = ref_find(m, layer->path, "weight"), *b = ref_find(m, layer->path, "bias");
    const size_t n = in->dims[in->rank - 1];
    ref_value y = ref_new(m, in->rank, in->dims);

    for (size_t r = 0; r < m->batch * in->count / n; r++) {
        const double *x = in->x + r * n;
        double mean = 0, var = 0;

        for (size_t i = 0; i < n; i++)
            mean += x[i] / (double)n;
        for (size_t i = 0; i < n; i++)
            var += (x[i] - mean) * (x[i] - mean) / (double)n;
        for (size_t i = 0; i < n; i++)
            y.x[r * n + i] = (x[i] - mean) / sqrt(var + layer->eps) * g[i] + (b == NULL ? 0 : b[i]);
    }
    return y;
}

/* One query of one head: row r of the batch, head h. */
static inline void ref_attend(double *out, const double *qkv, size_t b, size_t i, size_t h,
                              size_t time, size_t channels, size_t heads, bool causal)
{
    const size_t d = channels / heads, keys = causal ? i + 1 : time;
    const double *q = qkv + (b * time + i) * 3 * channels + h * d;
    double p[64], most = -INFINITY, sum = 0;

    assert_true(keys <= 64);
    for (size_t j = 0; j < keys; j++) {
        const double *k = qkv + (b * time + j) * 3 * channels + channels + h * d;
        p[j] = 0;
        for (size_t c = 0; c < d; c++)
            p[j] += q[c] * k[c];
        p[j] /= sqrt((double)d);
        most = fmax(most, p[j]);
    }
    for (size_t j = 0; j < keys; j++)
        sum += p[j] = exp(p[j] - most);
    for (size_t c = 0; c < d; c++) {
        double y = 0;
        for (size_t j = 0; j < keys; j++)
            y += p[j] / sum * qkv[(b * time + j) * 3 * channels + 2 * channels + h * d + c];
        out[(b * time + i) * channels + h * d + c] = y;
    }
}

static inline ref_value ref_attention(ref_model *m, const fb_layer_config *layer,
                                      const ref_value *in)
{
    const size_t time = in->dims[0], channels = in->dims[1], heads = (size_t)layer->heads;
    char path[384];
    ref_value qkv, y;

    (void)snprintf(path, sizeof path, "%s.qkv", layer->path);
    qkv = ref_linear(m, path, path, 3 * channels, in);
    y = ref_new(m, 2, in->dims);
    for (size_t b = 0; b < m->batch; b++)
        for (size_t i = 0; i < time; i++)
            for (size_t h = 0; h < heads; h++)
                ref_attend(y.x, qkv.x, b, i, h, time, channels, heads, layer->causal);
    (void)snprintf(path, sizeof path, "%s.proj", layer->path);
    return ref_linear(m, path, path, channels, &y);
}

static inline double ref_function(const fb_layer_config *layer, double x)
{
    switch (layer->type) {
    case FB_LAYER_RELU:
        return x > 0 ? x : 0;
    case FB_LAYER_TANH:
        return tanh(x);
    case FB_LAYER_SIGMOID:
        return 1 / (1 + exp(-x));
    case FB_LAYER_SILU:
        return x / (1 + exp(-x));
    case FB_LAYER_SOFTPLUS:
        return log(1 + exp(x));
    case FB_LAYER_GELU:
        if (layer->gelu_tanh)
            return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
        return x / 2 * (1 + erf(x / sqrt(2.0)));
    default:
        fail_msg("no function");
        return 0;
    }
}

static inline ref_value ref_dropout(ref_model *m, const fb_layer_config *layer, const ref_value *in)
{
    const fb_philox stream = {.seed = m->config->seed,
                              .step = (uint32_t)m->step,
                              .stream = (uint32_t)fb_hash_name(layer->path)};
    ref_value y = ref_new(m, in->rank, in->dims);

    for (size_t i = 0; i < m->batch * in->count; i++) {
        uint32_t word;
        fb_philox_words(&word, 1, &stream, i);
        y.x[i] = word >= floor(layer->p * 4294967296.0) ? in->x[i] / (1 - layer->p) : 0;
    }
    return y;
}

/* Element of a plane, 0 in the padding. */
static inline double ref_at(const double *plane, long h, long w, long height, long width)
{
    return h < 0 || w < 0 || h >= height || w >= width ? 0 : plane[h * width + w];
}

static inline ref_value ref_conv(ref_model *m, const fb_layer_config *layer, const ref_value *in)
{
    const double *w = ref_find(m, layer->path, "weight"), *bias = ref_find(m, layer->path, "bias");
    const size_t channels = in->dims[0], height = in->dims[1], width = in->dims[2];
    const size_t kh = (size_t)layer->kernel[0], kw = (size_t)layer->kernel[1];
    const size_t oh =
        (size_t)(((long)height + 2 * layer->padding[0] - layer->kernel[0]) / layer->stride[0] + 1);
    const size_t ow =
        (size_t)(((long)width + 2 * layer->padding[1] - layer->kernel[1]) / layer->stride[1] + 1);
    const size_t outputs = (size_t)layer->out;
    ref_value y = ref_new(m, 3, (size_t[]){outputs, oh, ow});

    for (size_t b = 0; b < m->batch; b++)
        for (size_t at = 0; at < y.count; at++) {
            const size_t o = at / (oh * ow), i = at / ow % oh, j = at % ow;
            double sum = bias == NULL ? 0 : bias[o];
            for (size_t k = 0; k < channels * kh * kw; k++)
                sum +=
                    w[o * channels * kh * kw + k] *
                    ref_at(in->x + b * in->count + k / (kh * kw) * height * width,
                           (long)(i * (size_t)layer->stride[0] + k / kw % kh) - layer->padding[0],
                           (long)(j * (size_t)layer->stride[1] + k % kw) - layer->padding[1],
                           (long)height, (long)width);
            y.x[b * y.count + at] = sum;
        }
    return y;
}

static inline ref_value ref_pool(ref_model *m, const fb_layer_config *layer, const ref_value *in)
{
    const bool max = layer->type == FB_LAYER_MAXPOOL;
    const long height = (long)in->dims[1], width = (long)in->dims[2];
    const size_t oh =
        (size_t)((height + 2 * layer->padding[0] - layer->kernel[0]) / layer->stride[0] + 1);
    const size_t ow =
        (size_t)((width + 2 * layer->padding[1] - layer->kernel[1]) / layer->stride[1] + 1);
    ref_value y = ref_new(m, 3, (size_t[]){in->dims[0], oh, ow});

    for (size_t at = 0; at < m->batch * y.count; at++) {
        const double *plane = in->x + at / (oh * ow) * (size_t)(height * width);
        double best = -INFINITY, sum = 0;

        for (long k = 0; k < layer->kernel[0] * layer->kernel[1]; k++) {
            const long h =
                (long)(at / ow % oh) * layer->stride[0] + k / layer->kernel[1] - layer->padding[0];
            const long w =
                (long)(at % ow) * layer->stride[1] + k % layer->kernel[1] - layer->padding[1];
            sum += ref_at(plane, h, w, height, width);
            if (h >= 0 && w >= 0 && h < height && w < width)
                best = fmax(best, plane[h * width + w]);
        }
        y.x[at] = max ? best : sum / (double)(layer->kernel[0] * layer->kernel[1]);
    }
    return y;
}

static inline ref_value ref_layers(ref_model *m, const fb_layer_config *layers, size_t count,
                                   ref_value value);

static inline ref_value ref_layer(ref_model *m, const fb_layer_config *layer, ref_value in)
{
    ref_value y = in;

    switch (layer->type) {
    case FB_LAYER_EMBEDDING:
        return ref_embedding(m, layer);
    case FB_LAYER_LINEAR:
        return ref_linear(m, layer->path, layer->tied != NULL ? layer->tied : layer->path,
                          (size_t)layer->out, &in);
    case FB_LAYER_LAYERNORM:
        return ref_layernorm(m, layer, &in);
    case FB_LAYER_ATTENTION:
        return ref_attention(m, layer, &in);
    case FB_LAYER_DROPOUT:
        return ref_dropout(m, layer, &in);
    case FB_LAYER_CONV2D:
        return ref_conv(m, layer, &in);
    case FB_LAYER_MAXPOOL:
    case FB_LAYER_AVGPOOL:
        return ref_pool(m, layer, &in);
    case FB_LAYER_FLATTEN:
        y.rank = 1;
        y.dims[0] = in.count;
        return y;
    case FB_LAYER_RESIDUAL: {
        const ref_value branch = ref_layers(m, layer->children, layer->child_count, in);
        y = ref_new(m, in.rank, in.dims);
        for (size_t i = 0; i < m->batch * in.count; i++)
            y.x[i] = in.x[i] + branch.x[i];
        return y;
    }
    default:
        y = ref_new(m, in.rank, in.dims);
        for (size_t i = 0; i < m->batch * in.count; i++)
            y.x[i] = ref_function(layer, in.x[i]);
        return y;
    }
}

static inline ref_value ref_layers(ref_model *m, const fb_layer_config *layers, size_t count,
                                   ref_value value)
{
    for (size_t i = 0; i < count; i++)
        value = ref_layer(m, &layers[i], value);
    return value;
}

/* Mean loss of the whole batch with the parameters as they are now. */
static inline double ref_loss(ref_model *m)
{
    double sum = 0;
    size_t counted = 0, cols;
    ref_value y;

    m->used = 0;
    m->input.x = m->inputs;
    y = ref_layers(m, m->config->layers, m->config->layer_count, m->input);
    if (m->classes == NULL) {
        for (size_t i = 0; i < m->batch * m->target_count; i++)
            sum += (y.x[i] - m->targets[i]) * (y.x[i] - m->targets[i]);
        return sum / (double)(m->batch * m->target_count);
    }
    cols = y.dims[y.rank - 1];
    for (size_t r = 0; r < m->batch * m->target_count; r++) {
        const double *x = y.x + r * cols;
        double most = -INFINITY, total = 0;

        if (m->classes[r] == m->config->ignore_index)
            continue;
        for (size_t c = 0; c < cols; c++)
            most = fmax(most, x[c]);
        for (size_t c = 0; c < cols; c++)
            total += exp(x[c] - most);
        sum += log(total) + most - x[m->classes[r]];
        counted++;
    }
    return counted == 0 ? 0 : sum / (double)counted;
}

#endif
