/* SPDX-License-Identifier: Apache-2.0
 *
 * model.h - the graph of a run: values, parameters, and ops in forward order. Built once from the
 * configuration, run many times. How to add a layer: docs/adding-a-layer.md.
 *
 * Shapes are those of one sample; a pass runs a whole micro-batch, `batch` samples behind each
 * other. Letters: B batch, T time, C channels, K inputs and N outputs of a linear layer, R rows
 * (all leading dimensions of a micro-batch), H W height and width.
 */
#ifndef FB_ENGINE_MODEL_H
#define FB_ENGINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/config/config.h"
#include "engine/data/data.h"
#include "engine/report.h"
#include "engine/streams.h"
#include "kernels/kernels.h"

typedef struct fb__op fb__op;
typedef struct fb__value fb__value;
typedef struct fb__param fb__param;

enum {
    FB__OP_INPUTS = 2, /* residual reads two values */
    FB__OP_PARAMS = 2, /* weight and bias; weight and positions */
    FB__OP_SAVED = 3,  /* buffers that forward keeps for backward */
};

typedef struct fb__shape {
    uint32_t rank;
    uint64_t dims[FB_RANK_MAX];
} fb__shape;

size_t fb__shape_count(const fb__shape *shape); /* product of the dimensions */

/* "[64,128]"; returns text. */
enum { FB__SHAPE_TEXT = 192 };
char *fb__shape_text(char text[FB__SHAPE_TEXT], const fb__shape *shape);

/* --- Values ----------------------------------------------------------------------------------- */

/* One consumer of a value, and its contribution to the value's gradient. */
typedef struct fb__use {
    fb__op *op;
    unsigned input;      /* which input of op */
    size_t offset;       /* of the contribution among the gradients, in elements */
    float *contribution; /* [B, shape]; where op's backward leaves it */
} fb__use;

/* What an op makes: an activation and its gradient. */
struct fb__value {
    fb__op *producer; /* NULL: the input of the model */
    fb__shape shape;
    size_t per_sample; /* elements of one sample */
    bool needs_grad;
    bool own_data, own_grad; /* a fault is planted here: do not share memory with a neighbour */

    float *data; /* [B, shape]; the model's input points into the batch */
    float *grad; /* [B, shape]; with one consumer that hands its gradient on, the consumer's */
    size_t grad_offset; /* among the gradients, in elements */
    uint64_t storage, grad_storage;
    uint32_t version, grad_version;
    fb__contents contents, grad_contents; /* as last reported */

    fb__use *uses; /* in forward order */
    size_t use_count;

    uint32_t out_site, grad_site;
};

/* --- Parameters ------------------------------------------------------------------------------- */

typedef enum fb__init { FB__INIT_NORMAL, FB__INIT_ZERO, FB__INIT_ONE } fb__init;

typedef struct fb__param_use {
    fb__op *op;
    unsigned index;      /* which parameter of op */
    float *contribution; /* NULL: the leaf gradient itself */
} fb__param_use;

/* All parameters lie in one vector, in order of creation; gradients and optimizer states are
 * vectors of the same layout, so joining micro-batches is one addition over all of them. */
struct fb__param {
    const char *path;
    fb__shape shape;
    size_t count;
    size_t offset; /* in the vector, in elements */
    fb__init init;
    float std;     /* of FB__INIT_NORMAL, mean 0 */
    size_t stream; /* of the initialization */

    float *data, *grad; /* grad: joined (and clipped) gradient of the step */
    uint64_t storage, leaf_storage, grad_storage;
    uint32_t version, leaf_version, grad_version;
    fb__contents grad_contents; /* as last reported, so that equal contents are hashed once */

    fb__param_use *uses; /* ties have several; in forward order */
    size_t use_count;

    uint32_t draw_site, init_site, load_site; /* phase init */
    uint32_t grad_site, sum_site, clip_site;  /* gradients */
    uint32_t update_site;                     /* after the optimizer */
};

/* --- Ops -------------------------------------------------------------------------------------- */

/* What an op's functions need to know of the moment. */
typedef struct fb__pass {
    const fb_kernels *kernels;
    fb_pool *pool;
    size_t batch;   /* samples */
    bool train;     /* false: evaluation */
    bool drops;     /* false: dropout passes its input on */
    uint64_t first; /* index in the whole batch of the first sample */
    uint64_t step;
    const uint32_t *tokens; /* [B,T] when the data is tokens */
    const fb_streams *streams;
    const uint64_t *stream_shift; /* by stream: where its positions start in this step */
} fb__pass;

enum {
    FB__READS_INPUT = 1,        /* backward to the input reads the input */
    FB__READS_OUTPUT = 2,       /* ... the output */
    FB__READS_WEIGHT = 4,       /* ... params[0] */
    FB__WEIGHT_READS_INPUT = 8, /* the gradient of params[0] reads the input */
    FB__HANDS_GRAD_ON = 16,     /* every input's gradient is the output's, unchanged */
    FB__HANDS_DATA_ON = 32,     /* the output is the input in another shape */
};

/*
 * The functions of an op. They cannot fail and allocate nothing.
 *
 *   forward   writes op->out->data and op->saved
 *   backward  reads op->out->grad; writes op->din[i] where it is not NULL and op->dparams[i], each
 *             from +0; NULL for ops that hand their gradient on
 */
typedef struct fb__op_type {
    const char *name; /* `op` of its events */
    unsigned flags;
    void (*forward)(const fb__op *op, const fb__pass *pass);
    void (*backward)(const fb__op *op, const fb__pass *pass);
} fb__op_type;

struct fb__op {
    const fb__op_type *type;
    const char *path;
    fb__value *in[FB__OP_INPUTS];
    unsigned in_count;
    fb__value *out;
    fb__param *params[FB__OP_PARAMS]; /* NULL where absent (no bias) */

    float *din[FB__OP_INPUTS];     /* this op's contribution to the gradient of in[i] */
    float *dparams[FB__OP_PARAMS]; /* set for each micro-batch */
    void *saved[FB__OP_SAVED];
    size_t saved_per_sample[FB__OP_SAVED]; /* 4-byte elements */

    size_t rows;    /* of one sample, where the op works on rows */
    size_t inputs;  /* K: columns read */
    size_t outputs; /* N: columns written */
    union {
        fb_activation activation;
        double eps;
        fb_attention attention; /* batch is set by each pass */
        fb_conv2d conv;         /* batch is set by each pass */
        struct {
            double p;
            size_t stream;
            uint32_t draw_site;
        } dropout;
    } u;
};

/* --- The model -------------------------------------------------------------------------------- */

typedef struct fb__model {
    fb__value *input;
    fb__value *output;
    fb__op **ops; /* forward order */
    size_t op_count, op_capacity;
    fb__param **params; /* order of creation */
    size_t param_count, param_capacity;
    size_t vector_count;   /* elements of the vector of all parameters, padding included */
    size_t batch;          /* samples of a micro-batch */
    size_t gradient_count; /* elements that the activation gradients share */
    uint64_t storages;     /* storage numbers given out */

    const fb_dataset_info *data;
    fb_streams *streams;
    struct fb__block *memory; /* owns the structures */
    void *numbers;            /* one allocation: every activation, gradient, parameter */
} fb__model;

/*
 * Builds the ops of config->layers; allocates structures, no numbers yet.
 *
 *   data, streams  borrowed, outlive the model
 *
 * FB_E_SHAPE, FB_E_CONFIG: one line that names the layer's place and the shapes. FB_E_MEMORY.
 */
FB_NODISCARD fb_status fb__model_build(fb__model *model, const fb_config *config,
                                       const fb_dataset_info *data, fb_streams *streams,
                                       fb_error *err);
void fb__model_free(fb__model *model);

/* NULL where there is none. */
fb__op *fb__model_find_op(const fb__model *model, const char *path);
fb__param *fb__model_find_param(const fb__model *model, const char *path);

/* Hands out 64-byte aligned pieces of one allocation: run once with base NULL to count, once with
 * the memory to assign. */
typedef struct fb__layout {
    uint8_t *base; /* NULL: counting */
    size_t bytes;
} fb__layout;

void *fb__layout_take(fb__layout *layout, size_t count, size_t element_bytes);

/* The value whose gradient this one's is, unchanged and in the same memory; else NULL. */
fb__value *fb__shared_gradient(const fb__value *value);

/* Decides which activation gradients share memory; once own_grad is known. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__model_plan(fb__model *model, fb_error *err);

/* Places activations, saved buffers and activation gradients. */
void fb__model_place(fb__model *model, fb__layout *layout);

/* --- For the layer files ---------------------------------------------------------------------- */

/* Zeroed memory that lives as long as the model; NULL when memory is out. */
void *fb__model_take(fb__model *model, size_t bytes);

/* "a.b" in the model's memory; NULL when memory is out. */
char *fb__model_path(fb__model *model, const char *a, const char *b);

/*
 * Appends an op that reads `in` (several: fb__model_read afterwards) and makes a value of `shape`.
 *
 *   path  borrowed, outlives the model
 */
FB_NODISCARD fb_status fb__model_add_op(fb__op **out, fb__model *model, const fb__op_type *type,
                                        const char *path, fb__value *in, const fb__shape *shape,
                                        fb_error *err);
FB_NODISCARD fb_status fb__model_read(fb__model *model, fb__op *op, fb__value *value,
                                      fb_error *err);

/* Makes the parameter `op->path`.`name` and lets op use it as params[index]. */
FB_NODISCARD fb_status fb__model_add_param(fb__model *model, fb__op *op, unsigned index,
                                           const char *name, const fb__shape *shape, fb__init init,
                                           float std, fb_error *err);
/* Lets op use another op's parameter. */
FB_NODISCARD fb_status fb__model_tie(fb__model *model, fb__op *op, unsigned index, fb__param *param,
                                     fb_error *err);

extern const fb__op_type fb__dropout_type; /* it reports a draw, and depends on the mode */

/* Standard deviation of N(0, 1/fan_in). */
float fb__init_std(uint64_t fan_in);

/* One for each layer type: appends its ops behind *value and moves *value to their result. */
typedef fb_status fb__layer_builder(fb__model *model, const fb_layer_config *layer,
                                    fb__value **value, fb_error *err);
fb__layer_builder fb__build_embedding, fb__build_linear, fb__build_layernorm, fb__build_attention,
    fb__build_activation, fb__build_dropout, fb__build_conv2d, fb__build_pool, fb__build_flatten,
    fb__build_residual;

/* A list of layers, one behind the other. */
FB_NODISCARD fb_status fb__build_layers(fb__model *model, const fb_layer_config *layers,
                                        size_t count, fb__value **value, fb_error *err);

/* The linear op that a linear layer and attention share. weight: NULL makes `path`.weight. */
FB_NODISCARD fb_status fb__build_linear_op(fb__model *model, const char *path, const char *where,
                                           uint64_t outputs, bool bias, fb__param *weight,
                                           fb__value **value, fb_error *err);

#endif
