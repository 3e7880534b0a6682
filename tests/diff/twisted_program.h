/* SPDX-License-Identifier: Apache-2.0
 *
 * twisted_program.h - a small training program that records itself as the recorder of PyTorch
 * would, plain or with one of many changes planted.
 *
 * N weights w and biases b; of a batch x: h = x·w + b, scores = scale·h, hidden ones are -inf, the
 * loss is the sum of the others over their number, times a factor.
 */
#ifndef FB_TESTS_DIFF_TWISTED_PROGRAM_H
#define FB_TESTS_DIFF_TWISTED_PROGRAM_H

#include "recorded_case.h"

enum { N = 32, STEPS = 5, AT = 3 };

typedef enum twist {
    NOTHING,
    /* forward */
    OTHER_SCALE,
    SCALE_MISSING,
    OTHER_EPS,
    OTHER_ACTIVATION,
    SOFTMAX_TWICE,
    ADDED_NUMBER,
    ROUNDED,
    CAST_MORE,
    OTHER_FILL,
    MASK_MISSING,
    POSITIONS_FLIPPED,
    BATCHNORM_FROZEN,
    EVALUATED_OTHERWISE,
    GATE_OF_ONES,
    ZEROS_SCALED,
    /* loss */
    OTHER_TARGETS,
    OTHER_IGNORED,
    OTHER_REDUCTION,
    LOSS_FACTOR,
    /* backward */
    RESET_MISSING,
    RESET_TWICE,
    BACKWARD_FACTOR,
    GRADIENT_MISSING,
    SCALED_GRADIENTS,
    /* update */
    CLIP_MISSING,
    OTHER_LIMIT,
    RATE_SHIFTED,
    RATE_SCALED,
    TEACHER_COPIED,
    TEACHER_SHARED,
    MOMENTUM_CYCLED,
    MOMENTUM_CYCLED_WIDER,
    MOMENTUM_FIXED,
    MOMENTUM_FIXED_HIGHER,
    OTHER_DECAY,
    OTHER_OPTIMIZER,
    NOT_REGISTERED,
    /* data, draws, modes */
    SAME_BATCH_AGAIN,
    SAMPLE_TWICE,
    BATCH_SMALLER,
    EVALUATED_ON_TRAINING,
    KEY_AGAIN,
    SEEDED_AGAIN,
    DROPOUT_IN_EVALUATION,
    UNTIED,
    INIT_SCALE,
    RESTORED,
    NOT_RESTORED,
    OTHER_ARGUMENT,
    OTHER_HASH_SEED,
    /* harmless */
    EXTRA_COPY,
    LOGGED_NORM,
    RESET_BY_MODEL,
    UNUSED_SEED,
    OTHER_FILL_NO_EFFECT,
    SCALED_IN_TWO,
    GRAD_MODE_OFF,
    CLOCK,
    TIMES_ONE,
} twist;

typedef struct program {
    tape tape;
    twist twist;
    float x[N], w[N], b[N], grad_w[N], grad_b[N];
    bool has_grad;
    fb_ref copy, batch, bias, grads[2];
} program;

/* Trains STEPS steps and records to "FOLDER/name". Returns its path (see in_folder). */
const char *twisted_play(const test_folder *folder, const char *name, twist t);

/* --- Parts of a step -------------------------------------------------------------------------- */

/* From the batch to the scores, which are left in s[N]. */
fb_ref twisted_forward(program *p, float *s);

/* The loss; the factor that all gradients get is returned. */
float twisted_lose(program *p, const float *s, fb_ref h);

/* Gradients of the scores behind them, joined to what is there. */
void twisted_backward(program *p, const float *s, float factor, fb_ref scores);

void twisted_reset(program *p, const char *what); /* gradients to zero */
double twisted_norm_of(const program *p);         /* of all gradients */
void twisted_clip(program *p);
void twisted_update(program *p);

/* --- Where a twist acts, and events ----------------------------------------------------------- */

/* From step AT on. */
static inline bool is(const program *p, twist t)
{
    return p->twist == t && p->tape.step >= AT;
}

/* In step AT alone. */
static inline bool now(const program *p, twist t)
{
    return p->twist == t && p->tape.step == AT;
}

/* `n` floats; one of them has no dimensions. */
static inline fb_ref tensor(program *p, fb_phase phase, const char *path, const char *op,
                            const char *arguments, const float *data, size_t n,
                            const fb_ref *inputs, uint32_t count)
{
    return report(
        &p->tape,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = phase,
                  .path = path,
                  .op = op,
                  .slot = strcmp(op, "grad") == 0 ? "grad" : "out",
                  .dtype = FB_DTYPE_F32,
                  .rank = n > 1,
                  .shape = {n},
                  .arguments = arguments},
        (fb_event){
            .data = data, .data_bytes = n * sizeof *data, .inputs = inputs, .input_count = count});
}

static inline fb_ref number(program *p, const char *op, const char *arguments, float value,
                            const fb_ref *inputs, uint32_t count)
{
    return tensor(p, FB_PHASE_FORWARD, "", op, arguments, &value, 1, inputs, count);
}

static inline fb_ref integers(program *p, const char *op, const char *arguments,
                              const int64_t *data, size_t n, const fb_ref *inputs, uint32_t count)
{
    return report(
        &p->tape,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = FB_PHASE_FORWARD,
                  .path = "",
                  .op = op,
                  .slot = "out",
                  .dtype = FB_DTYPE_I64,
                  .rank = 1,
                  .shape = {n},
                  .arguments = arguments},
        (fb_event){
            .data = data, .data_bytes = n * sizeof *data, .inputs = inputs, .input_count = count});
}

static inline fb_ref parameter(program *p, fb_phase phase, const char *path, const char *op,
                               const float *data, const fb_ref *grad)
{
    return report(&p->tape,
                  (fb_site){.kind = FB_KIND_PARAM,
                            .phase = phase,
                            .path = path,
                            .op = op,
                            .slot = "param",
                            .dtype = FB_DTYPE_F32,
                            .rank = 1,
                            .shape = {N}},
                  (fb_event){.data = data,
                             .data_bytes = N * sizeof *data,
                             .inputs = grad,
                             .input_count = grad != NULL});
}

static inline void mode(program *p, fb_phase phase, const char *path, const char *op,
                        const char *slot, bool on)
{
    (void)report(
        &p->tape,
        (fb_site){.kind = FB_KIND_MODE, .phase = phase, .path = path, .op = op, .slot = slot},
        (fb_event){.value = on});
}

/* N numbers that follow from a name and a step. */
static inline void fill(float *out, const char *name, uint64_t step)
{
    uint64_t state = fb_hash_name(name) + 977 * step;

    for (int i = 0; i < N; i++)
        out[i] = ((float)(next_random(&state) % 2000) - 999.5f) / 512;
}

#endif
