/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels.h - the pure numeric functions and the tables that hold one implementation of each.
 *
 * Contract 1 (docs/numerics.md) fixes every bit: an entry gives the same output on every
 * instruction set, for every thread count. Kernels cannot fail and never allocate; preconditions
 * are asserted.
 *
 * Conventions: matrices are row-major float32 and dense unless a leading dimension is given;
 * outputs come first; outputs do not overlap inputs unless a comment says so; sizes are in elements
 * and may be 0. B batch, T time, C channels, H heads, D = C/H, V vocabulary, M N K of a matrix
 * product. "pool" shares out the work and lends scratch memory; it is never NULL.
 */
#ifndef FB_KERNELS_H
#define FB_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "firstbit/event.h"
#include "firstbit/status.h"

enum { FB_CONTRACT = 1 };

/* Instruction sets, (name in C, name for people), from narrow to wide: the last that a machine has
 * is its best. docs/adding-an-instruction-set.md. */
/* clang-format off */
#define FB_ISA_LIST(X)                                                                             \
    X(REF, "ref") X(AVX2, "avx2") X(AVX512, "avx512") X(NEON, "neon")
/* clang-format on */
#define FB_ISA_ENTRY(id, text) FB_ISA_##id,
typedef enum fb_isa { FB_ISA_LIST(FB_ISA_ENTRY) FB_ISA_COUNT } fb_isa;
#undef FB_ISA_ENTRY

typedef enum fb_activation {
    FB_ACTIVATION_RELU,
    FB_ACTIVATION_TANH,
    FB_ACTIVATION_SIGMOID,
    FB_ACTIVATION_SILU,
    FB_ACTIVATION_GELU,      /* x/2 (1 + erf(x/sqrt 2)) */
    FB_ACTIVATION_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    FB_ACTIVATION_SOFTPLUS,  /* ln(1 + e^x) */
    FB_ACTIVATION_COUNT
} fb_activation;

/* C[M,N] = op(A)[M,K] · op(B)[K,N] (+ C) (+ bias), for each of `batch` matrices.
 * a_transposed: A is stored [K,M]; b_transposed: B is stored [N,K]. ld*: elements between rows as
 * stored; stride_*: elements between the matrices of a batch (0: the same one for all). */
typedef struct fb_matmul {
    float *c;
    const float *a, *b;
    const float *bias; /* N floats added to every row after the sum, or NULL */
    size_t m, n, k;
    size_t lda, ldb, ldc;
    bool a_transposed, b_transposed;
    bool accumulate;
    size_t batch; /* 1 for a single product */
    size_t stride_a, stride_b, stride_c;
} fb_matmul;

/* Multi-head self-attention over packed projections qkv [B,T,3C]: C queries, C keys, C values a
 * row, head h at columns h·D. Visible keys of query i: 0..i when causal, else all T. */
typedef struct fb_attention {
    size_t batch, time, heads, head_dim;
    bool causal;
} fb_attention;

/* 2-d convolution and pooling, NCHW; square strides and padding a dimension apart. */
typedef struct fb_conv2d {
    size_t batch, in_channels, in_height, in_width;
    size_t out_channels, out_height, out_width; /* out = (in + 2·pad - kernel)/stride + 1 */
    size_t kernel_height, kernel_width, stride_height, stride_width, pad_height, pad_width;
} fb_conv2d;

/* Scalars of an optimizer step, in float64; each kernel narrows what it uses once, where the
 * contract says so. */
typedef struct fb_adam_step {
    double lr, beta1, beta2, eps, weight_decay;
    double beta1_power, beta2_power; /* beta^t by repeated multiplication, t counts from 1 */
    bool decoupled;                  /* true: AdamW; false: decay is added to the gradient */
} fb_adam_step;

typedef struct fb_sgd_step {
    double lr, momentum, dampening, weight_decay;
    bool nesterov;
    bool first; /* momentum buffer is set to the gradient instead of mixed */
} fb_sgd_step;

/* A counter-based stream: Philox4x32-10 with key = seed and counter = (position/4, step, stream).
 */
typedef struct fb_philox {
    uint64_t seed;
    uint32_t step, stream;
} fb_philox;

typedef struct fb_kernels {
    const char *name;  /* "ref", "avx2", "avx512", "neon", "openblas" */
    uint32_t contract; /* FB_CONTRACT, or 0 for a table that promises no bits */

    void (*matmul)(fb_pool *pool, const fb_matmul *product);

    /* sums[i] = row sum of x[i, 0..cols) */
    void (*row_sums)(fb_pool *pool, float *sums, const float *x, size_t rows, size_t cols);
    /* out[j] = column sum of x[0..rows, j]; the bias gradient */
    void (*column_sums)(fb_pool *pool, float *out, const float *x, size_t rows, size_t cols);
    /* Row sum of x[i]·x[i] (float32 products), not narrowed: a part of the gradient norm. */
    double (*sum_squares)(fb_pool *pool, const float *x, size_t n);

    /* y may be a or x in these three */
    void (*add)(fb_pool *pool, float *y, const float *a, const float *b, size_t n);
    void (*scale)(fb_pool *pool, float *y, const float *x, float factor, size_t n);
    void (*activate)(fb_pool *pool, fb_activation f, float *y, const float *x, size_t n);
    /* dx = dy · f'(x); dx may be dy */
    void (*activate_backward)(fb_pool *pool, fb_activation f, float *dx, const float *dy,
                              const float *x, size_t n);

    /* mean, rstd: rows floats, saved for backward. bias may be NULL. */
    void (*layernorm)(fb_pool *pool, float *y, float *mean, float *rstd, const float *x,
                      const float *gain, const float *bias, size_t rows, size_t cols, double eps);
    /* dgain and dbias (may be NULL) are overwritten. */
    void (*layernorm_backward)(fb_pool *pool, float *dx, float *dgain, float *dbias,
                               const float *dy, const float *x, const float *mean,
                               const float *rstd, const float *gain, size_t rows, size_t cols);

    /* out [B,T,C]; row_max and row_sum [B,H,T] are saved for backward (the probabilities are
     * recomputed from them, so memory is linear in T). */
    void (*attention)(fb_pool *pool, float *out, float *row_max, float *row_sum, const float *qkv,
                      const fb_attention *shape);
    void (*attention_backward)(fb_pool *pool, float *dqkv, const float *dout, const float *out,
                               const float *qkv, const float *row_max, const float *row_sum,
                               const fb_attention *shape);

    /* y[r] = weight[token[r]] (+ positions[r mod T] when positions is not NULL); rows = B·T.
     * Tokens are below vocab (the caller checked). */
    void (*embedding)(fb_pool *pool, float *y, const float *weight, const float *positions,
                      const uint32_t *tokens, size_t rows, size_t time, size_t channels);
    /* dweight [V,C] and dpositions [T,C] (may be NULL) are overwritten. */
    void (*embedding_backward)(fb_pool *pool, float *dweight, float *dpositions, const float *dy,
                               const uint32_t *tokens, size_t rows, size_t time, size_t channels,
                               size_t vocab);

    /* losses[r] for target[r] < cols; 0 where target[r] < 0 (ignored). row_max, row_sum: saved. */
    void (*cross_entropy)(fb_pool *pool, float *losses, float *row_max, float *row_sum,
                          const float *logits, const int32_t *targets, size_t rows, size_t cols);
    /* dlogits = (p - onehot)/count, rows of ignored targets are 0; count 0 gives all zeros.
     * count: non-ignored targets of the whole batch. */
    void (*cross_entropy_backward)(fb_pool *pool, float *dlogits, const float *logits,
                                   const float *row_max, const float *row_sum,
                                   const int32_t *targets, size_t rows, size_t cols, size_t count);
    /* losses[r] = row sum of (x - target)^2 over cols. */
    void (*squared_error)(fb_pool *pool, float *losses, const float *x, const float *target,
                          size_t rows, size_t cols);
    /* dx = 2 (x - target)/count; count: elements of the whole batch. */
    void (*squared_error_backward)(fb_pool *pool, float *dx, const float *x, const float *target,
                                   size_t n, size_t count);

    void (*conv2d)(fb_pool *pool, float *y, const float *x, const float *weight, const float *bias,
                   const fb_conv2d *shape);
    void (*conv2d_backward_input)(fb_pool *pool, float *dx, const float *dy, const float *weight,
                                  const fb_conv2d *shape);
    /* dbias may be NULL. Both are overwritten. */
    void (*conv2d_backward_weight)(fb_pool *pool, float *dweight, float *dbias, const float *dy,
                                   const float *x, const fb_conv2d *shape);
    /* Pooling: out_channels = in_channels. argmax: index into the input plane (h·W + w) of each
     * output; padding is never chosen. */
    void (*maxpool2d)(fb_pool *pool, float *y, uint32_t *argmax, const float *x,
                      const fb_conv2d *shape);
    void (*maxpool2d_backward)(fb_pool *pool, float *dx, const float *dy, const uint32_t *argmax,
                               const fb_conv2d *shape);
    /* Divides by the whole kernel area, padding counted as zeros (PyTorch's default). */
    void (*avgpool2d)(fb_pool *pool, float *y, const float *x, const fb_conv2d *shape);
    void (*avgpool2d_backward)(fb_pool *pool, float *dx, const float *dy, const fb_conv2d *shape);

    /* y = keep ? x·float(1/(1-p)) : +0 with the random words position .. position+n-1 of the
     * stream, keep where word >= floor(p·2^32). 0 <= p < 1. y may be x. Backward is the same call
     * on dy. */
    void (*dropout)(fb_pool *pool, float *y, const float *x, size_t n, double p,
                    const fb_philox *stream, uint64_t position);
    /* out[i] = mean + std·z with z the standard normals of the stream from position 0, computed as
     * docs/numerics.md, "Random numbers", says. */
    void (*fill_normal)(fb_pool *pool, float *out, size_t n, float mean, float std,
                        const fb_philox *stream, uint64_t position);

    /* In place. m and v (momentum) have n elements; momentum may be NULL when step->momentum is 0.
     */
    void (*adam)(fb_pool *pool, float *p, float *m, float *v, const float *g, size_t n,
                 const fb_adam_step *step);
    void (*sgd)(fb_pool *pool, float *p, float *momentum, const float *g, size_t n,
                const fb_sgd_step *step);
} fb_kernels;

/* The table of an instruction set, static; NULL where this build or this machine lacks it. REF is
 * always there. */
const fb_kernels *fb_kernels_for(fb_isa isa);

/* The fastest table of contract 1 on this machine. */
const fb_kernels *fb_kernels_best(void);

/* By name: "ref", "avx2", "avx512", "neon". NULL for an unknown name or a missing ISA. */
const fb_kernels *fb_kernels_named(const char *name);

/* A table of contract 0 whose matmul calls OpenBLAS, loaded at the first call; the rest is that of
 * `base`. threads: for OpenBLAS. FB_E_NOT_FOUND where the library is not installed. */
FB_NODISCARD fb_status fb_kernels_openblas(const fb_kernels **out, const fb_kernels *base,
                                           unsigned threads, fb_error *err);

/* Hash of the outputs of every entry on golden inputs; equal on all tables of one contract. Takes
 * under 20 ms; fb_pool as everywhere. */
fb_hash fb_kernels_fingerprint(const fb_kernels *kernels, fb_pool *pool);

/* Random words position .. position+n-1 of a stream (serial; for tests and small draws). */
void fb_philox_words(uint32_t *out, size_t n, const fb_philox *stream, uint64_t position);

/* (u64·n) >> 64 with the u64 from words 2·index (low) and 2·index+1 (high) of the stream; n > 0. */
uint64_t fb_philox_bounded(const fb_philox *stream, uint64_t index, uint64_t n);

/* Row sum in float64, not narrowed; joins of chunk and micro-batch losses use it. */
double fb_row_sum_f64(const float *x, size_t n);

/* Joins n float64 parts by the tree of the contract, in place; returns parts[0], or +0 for n = 0.
 */
double fb_tree_sum_f64(double *parts, size_t n);

#endif
