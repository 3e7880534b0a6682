/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h - the JSON configuration of a run, read, checked and resolved: every default written
 * out. Nothing that decides a bit lives outside it and the data. Reference: docs/configuration.md.
 */
#ifndef FB_ENGINE_CONFIG_CONFIG_H
#define FB_ENGINE_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"
#include "kernels/kernels.h"

/* X(NAME, "name in the configuration") */
#define FB_LAYER_LIST(X)                                                                           \
    X(EMBEDDING, "embedding")                                                                      \
    X(LINEAR, "linear")                                                                            \
    X(LAYERNORM, "layernorm")                                                                      \
    X(ATTENTION, "attention")                                                                      \
    X(GELU, "gelu")                                                                                \
    X(RELU, "relu")                                                                                \
    X(TANH, "tanh")                                                                                \
    X(SIGMOID, "sigmoid")                                                                          \
    X(SILU, "silu")                                                                                \
    X(SOFTPLUS, "softplus")                                                                        \
    X(DROPOUT, "dropout")                                                                          \
    X(CONV2D, "conv2d")                                                                            \
    X(MAXPOOL, "maxpool")                                                                          \
    X(AVGPOOL, "avgpool")                                                                          \
    X(FLATTEN, "flatten")                                                                          \
    X(RESIDUAL, "residual")

typedef enum fb_layer_type {
#define FB_LAYER_ENUM(name, text) FB_LAYER_##name,
    FB_LAYER_LIST(FB_LAYER_ENUM)
#undef FB_LAYER_ENUM
        FB_LAYER_COUNT
} fb_layer_type;

/* Sizes that only the data can tell, in fb_layer_config.out. */
enum { FB_OUT_VOCAB = -1, FB_OUT_CLASSES = -2 };

/* One layer. `repeat` is unrolled by the reader: its copies are listed one after the other with
 * paths "h.0...", "h.1...". A residual holds its branch as children: y = x + branch(x). */
typedef struct fb_layer_config {
    fb_layer_type type;
    const char *path; /* unique: names of the enclosing lists and of the layer, joined by dots */
    /* Place in the configuration, for messages: "model[1].layers[0]", in a residual
     * "model[1].layers[0].residual[2]". Copies of a repeat share it. */
    const char *where;

    int64_t dim;      /* embedding: channels */
    bool positions;   /* embedding: add a learned position */
    int64_t out;      /* linear: features; conv2d: channels; or FB_OUT_... */
    bool bias;        /* linear, conv2d, layernorm, attention */
    const char *tied; /* linear: path of the embedding whose weight it uses, or NULL */
    double eps;       /* layernorm */
    int64_t heads;    /* attention */
    bool causal;      /* attention */
    bool gelu_tanh;   /* gelu: "approximate": "tanh" */
    double p;         /* dropout */
    int64_t kernel[2], stride[2], padding[2]; /* conv2d, maxpool, avgpool: height, width */

    struct fb_layer_config *children; /* residual */
    size_t child_count;
} fb_layer_config;

typedef enum fb_data_type { FB_DATA_TEXT, FB_DATA_TOKENS, FB_DATA_IDX, FB_DATA_NPY } fb_data_type;

typedef struct fb_data_config {
    fb_data_type type;
    const char *path;     /* text, tokens: the file; idx: images; npy: inputs; as configured */
    const char *labels;   /* idx: labels; npy: targets */
    int64_t context;      /* text, tokens: T */
    int64_t vocab;        /* tokens: V, larger than every token; 0 for text (the file tells) */
    double split[3];      /* shares of train, val, test; they sum to 1 */
    double mean, std;     /* idx: x = (byte/255 - mean)/std in float32 */
    int64_t ignore_index; /* the loss's: a target of this value is no class and in range */
} fb_data_config;

typedef enum fb_loss_type { FB_LOSS_CROSS_ENTROPY, FB_LOSS_MSE } fb_loss_type;
typedef enum fb_optimizer_type {
    FB_OPTIMIZER_SGD,
    FB_OPTIMIZER_ADAM,
    FB_OPTIMIZER_ADAMW
} fb_optimizer_type;
typedef enum fb_schedule_type {
    FB_SCHEDULE_CONSTANT, /* factor 1 */
    FB_SCHEDULE_WARMUP,   /* linear from 1/warmup to 1, then 1 */
    FB_SCHEDULE_COSINE,   /* warm-up (t <= warmup: t/warmup), then half a cosine down to min_factor
                           * at step `total`, which it keeps; total may be below warmup */
    FB_SCHEDULE_STEP      /* factor gamma^floor((t-1)/every) */
} fb_schedule_type;

typedef struct fb_optimizer_config {
    fb_optimizer_type type;
    double lr, weight_decay;
    double beta1, beta2, eps;   /* adam, adamw */
    double momentum, dampening; /* sgd */
    bool nesterov;              /* sgd */
} fb_optimizer_config;

typedef struct fb_schedule_config {
    fb_schedule_type type;
    int64_t warmup, total, every;
    double min_factor, gamma;
} fb_schedule_config;

typedef struct fb_config {
    uint64_t seed; /* at most 2^53 - 1 */
    fb_data_config data;
    fb_layer_config *layers; /* the model, repeats unrolled */
    size_t layer_count;
    const char *weights; /* safetensors file with initial weights, or NULL */
    fb_loss_type loss;
    int64_t ignore_index; /* cross-entropy: targets of this value do not count; default -100 */
    fb_optimizer_config optimizer;
    fb_schedule_config schedule;
    double clip;               /* global norm; 0: off */
    int64_t batch_size, micro; /* micro: number of micro-batches, divides batch_size */
    int64_t steps;
    int64_t eval_every, eval_batches; /* eval_every 0: never */
    int64_t checkpoint_every;         /* 0: only where asked */
    char *resolved;                   /* this configuration as JSON text, every default written out;
                                       * reading it gives an equal fb_config */
    void *memory;                     /* owns everything above */
} fb_config;

/* "--set model[0].embedding.dim=64" or "optimizer.adamw.lr=1e-3": the value is JSON, or else a
 * string. */
typedef struct fb_config_set {
    const char *path, *value;
} fb_config_set;

/*
 * Reads a configuration.
 *
 *   text   JSON; name: how messages call it, such as the file name
 *   sets   applied before checking, in order; may be NULL when set_count is 0. A path must name an
 *          existing key or a key that the reference lists; a wrong one is refused.
 *
 * FB_E_CONFIG   names the key and says what was expected: "gpt.json: optimizer.adamw.lr: expected a
 *               number > 0, got \"fast\""
 * FB_E_MEMORY
 */
FB_NODISCARD fb_status fb_config_parse(fb_config *out, const char *text, const char *name,
                                       const fb_config_set *sets, size_t set_count, fb_error *err);

/* The same from a file of at most 16 MiB. Also FB_E_NOT_FOUND, FB_E_IO. */
FB_NODISCARD fb_status fb_config_read(fb_config *out, const char *path, const fb_config_set *sets,
                                      size_t set_count, fb_error *err);

void fb_config_free(fb_config *config); /* NULL and all zeros are fine */

const char *fb_layer_type_name(fb_layer_type type);

#endif
