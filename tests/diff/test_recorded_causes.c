/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_causes.c - what diff says of two runs of a small training program that records
 * itself as the recorder of PyTorch would: each mechanism is planted in one run, computed, and must
 * be found where it is and named; its neighbour changes the program without changing its results.
 */
#include "recorded_run.h"

#include <math.h>

#include "base/hash.h"
#include "diff/diff.h"

/* --- A small program --------------------------------------------------------------------------
 *
 * N weights w and biases b; of a batch x: h = x·w + b, scores = scale·h, hidden ones are -inf, the
 * loss is the sum of the others over their number, times a factor. */

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
    fb_recorder *recorder;
    twist twist;
    uint64_t step;
    uint32_t counts[64]; /* occurrences of identities in this step */
    fb_hash known[64];
    size_t known_count;
    float x[N], w[N], b[N], grad_w[N], grad_b[N];
    bool has_grad;
    fb_ref copy, batch, weight, bias, grads[2];
} program;

static bool is(const program *p, twist t)
{
    return p->twist == t && p->step >= AT;
}

static bool now(const program *p, twist t)
{
    return p->twist == t && p->step == AT;
}

static uint32_t occurrence(program *p, const fb_site *site)
{
    fb_site plain = *site;
    fb_hash key;
    size_t i = 0;

    plain.occurrence = 0;
    key = fb_site_hash(&plain);
    while (i < p->known_count && !fb_hash_equal(p->known[i], key))
        i++;
    assert_true(i < COUNT_OF(p->known));
    if (i == p->known_count) {
        p->known[p->known_count++] = key;
        p->counts[i] = 0;
    }
    return p->counts[i]++;
}

static fb_ref report(program *p, fb_site site, fb_event event)
{
    site.size = sizeof site;
    site.occurrence = occurrence(p, &site);
    event.size = sizeof event;
    event.site = fb_recorder_site(p->recorder, &site);
    event.step = p->step;
    event.micro = FB_MICRO_NONE;
    fb_recorder_event(p->recorder, &event);
    return (fb_ref){.site = event.site, .micro = FB_MICRO_NONE, .step = p->step};
}

/* `n` floats; one of them has no dimensions. */
static fb_ref tensor(program *p, fb_phase phase, const char *path, const char *op,
                     const char *arguments, const float *data, size_t n, const fb_ref *inputs,
                     uint32_t count)
{
    return report(
        p,
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

static fb_ref number(program *p, const char *op, const char *arguments, float value,
                     const fb_ref *inputs, uint32_t count)
{
    return tensor(p, FB_PHASE_FORWARD, "", op, arguments, &value, 1, inputs, count);
}

static fb_ref integers(program *p, const char *op, const char *arguments, const int64_t *data,
                       size_t n, const fb_ref *inputs, uint32_t count)
{
    return report(
        p,
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

static fb_ref parameter(program *p, fb_phase phase, const char *path, const char *op,
                        const float *data, const fb_ref *grad)
{
    return report(p,
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

static void mode(program *p, fb_phase phase, const char *path, const char *op, const char *slot,
                 bool on)
{
    (void)report(
        p, (fb_site){.kind = FB_KIND_MODE, .phase = phase, .path = path, .op = op, .slot = slot},
        (fb_event){.value = on});
}

static void scalar(program *p, fb_phase phase, const char *path, const char *slot, double value)
{
    (void)report(p,
                 (fb_site){.kind = FB_KIND_SCALAR,
                           .phase = phase,
                           .path = path,
                           .slot = slot,
                           .dtype = FB_DTYPE_F64},
                 (fb_event){.value = value});
}

static fb_ref draw(program *p, const char *stream, const char *distribution, const char *consumer,
                   uint64_t key, uint64_t count, double parameter)
{
    return report(p,
                  (fb_site){.kind = FB_KIND_DRAW,
                            .phase = p->step == 0 ? FB_PHASE_INIT : FB_PHASE_FORWARD,
                            .path = stream,
                            .op = "draw",
                            .stream = stream,
                            .algorithm = "mt19937",
                            .distribution = distribution,
                            .parameters = {parameter, 0},
                            .consumer = consumer},
                  (fb_event){.key = key, .count = count});
}

static void seed(program *p, const char *stream, uint64_t value)
{
    (void)report(p,
                 (fb_site){.kind = FB_KIND_SEED,
                           .phase = p->step == 0 ? FB_PHASE_INIT : FB_PHASE_DATA,
                           .path = stream,
                           .op = "seed",
                           .slot = "seed",
                           .stream = stream,
                           .algorithm = "mt19937"},
                 (fb_event){.key = value});
}

static fb_ref batch(program *p, const uint64_t *indices, uint64_t count, uint64_t epoch)
{
    return report(p,
                  (fb_site){.kind = FB_KIND_SAMPLE,
                            .phase = FB_PHASE_DATA,
                            .path = "Digits",
                            .op = "sample",
                            .slot = "samples",
                            .dataset = "Digits"},
                  (fb_event){.counter = epoch,
                             .count = count,
                             .indices = indices,
                             .hash = (fb_hash){indices[0] * 31 + indices[2], 1 + count}});
}

static void fill(float *out, const char *name, uint64_t step)
{
    uint64_t state = fb_hash_name(name) + 977 * step;

    for (int i = 0; i < N; i++)
        out[i] = ((float)(next_random(&state) % 2000) - 999.5f) / 512;
}

static float round_to_bf16(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* --- A step of it ----------------------------------------------------------------------------- */

static void begin(program *p)
{
    fill(p->w, "w", 0);
    fill(p->b, "b", 0);
    seed(p, "torch", 7);
    if (p->twist == SEEDED_AGAIN)
        seed(p, "torch", 7);
    if (p->twist == UNUSED_SEED)
        seed(p, "python", 3);
    (void)draw(p, "torch", "normal_", "", 100, N, p->twist == INIT_SCALE ? 0.5 : 1);
    for (int i = 0; i < N && p->twist == INIT_SCALE; i++)
        p->w[i] *= 0.5f;
    p->weight = parameter(p, FB_PHASE_INIT, "fc.weight", "init", p->w, NULL);
    p->bias = parameter(p, FB_PHASE_INIT, "fc.bias", "init", p->b, NULL);
    if (p->twist == TEACHER_COPIED)
        p->copy = tensor(p, FB_PHASE_INIT, "", "clone", NULL, p->w, N, &p->weight, 1);
    if (p->twist == UNTIED)
        (void)parameter(p, FB_PHASE_INIT, "head.weight", "init", p->w, NULL);
}

static void read_batch(program *p)
{
    const uint64_t step = p->step, epoch = (step - 1) / 2, at = 8 * ((step - 1) % 2);
    uint64_t indices[4] = {at + 2 * epoch, at + 7, at + 1, at + 4 + epoch};

    if (now(p, SAME_BATCH_AGAIN))
        memcpy(indices, (uint64_t[4]){at, at + 7, at + 1, at + 4}, sizeof indices);
    if (now(p, SAMPLE_TWICE))
        indices[2] = indices[1];
    p->batch = batch(p, indices, now(p, BATCH_SMALLER) ? 3 : 4, epoch);
    fill(p->x, "x", now(p, SAME_BATCH_AGAIN) ? step - 2 : step);
}

/* What is evaluated is seen by the place of the largest result alone, always the first. */
static void evaluate(program *p)
{
    uint64_t rows[4] = {40, 41, 42, 43};
    const int64_t largest = 0;
    fb_ref inputs[3], result;
    uint32_t count = 2;
    float out[N];

    if (now(p, EVALUATED_ON_TRAINING))
        memcpy(rows, (uint64_t[4]){7, 1, 15, 9}, sizeof rows);
    inputs[0] = batch(p, rows, 4, 0);
    inputs[1] = p->weight;
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "training", false);
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "grad", !now(p, GRAD_MODE_OFF));
    if (now(p, DROPOUT_IN_EVALUATION))
        inputs[count++] = draw(p, "torch", "bernoulli_", "Net.drop", 900 + p->step, N, 0.9);
    for (int i = 0; i < N; i++)
        out[i] = (float)rows[0] * p->w[i] * (now(p, EVALUATED_OTHERWISE) ? 1.5f : 1);
    if (now(p, DROPOUT_IN_EVALUATION))
        out[3] = 0;
    result = tensor(p, FB_PHASE_FORWARD, "Net", "mul", NULL, out, N, inputs, count);
    (void)integers(p, "argmax", NULL, &largest, 1, &result, 1);
}

/* Hidden elements: one in four. */
static bool is_hidden(int i)
{
    return i % 4 == 3;
}

static fb_ref hide(program *p, float *s, fb_ref scores)
{
    const float fill_value = now(p, OTHER_FILL)             ? -2.0f
                             : now(p, OTHER_FILL_NO_EFFECT) ? -1e9f
                                                            : -INFINITY;

    if (now(p, MASK_MISSING))
        return scores;
    for (int i = 0; i < N; i++)
        if (is_hidden(i))
            s[i] = fill_value;
    return tensor(p, FB_PHASE_FORWARD, "attn", "masked_fill",
                  now(p, OTHER_FILL)             ? "{\"value\":-2.0}"
                  : now(p, OTHER_FILL_NO_EFFECT) ? "{\"value\":-1e9}"
                                                 : "{\"value\":\"-inf\"}",
                  s, N, &scores, 1);
}

static fb_ref scores_of(program *p, float *s, fb_ref h)
{
    const float scale = now(p, OTHER_SCALE) || now(p, SCALED_IN_TWO) ? 0.25f : 0.5f;
    const fb_ref from = h;
    fb_ref scores;

    if (now(p, SCALE_MISSING))
        return h;
    for (int i = 0; i < N; i++)
        s[i] *= scale;
    scores = tensor(p, FB_PHASE_FORWARD, "attn", "mul",
                    scale < 0.5f ? "{\"other\":0.25}" : "{\"other\":0.5}", s, N, &from, 1);
    scores = tensor(p, FB_PHASE_FORWARD, "attn", "slice_copy", NULL, s, N, &scores, 1);
    if (now(p, SCALED_IN_TWO)) {
        for (int i = 0; i < N; i++)
            s[i] += s[i];
        scores = tensor(p, FB_PHASE_FORWARD, "attn", "add", NULL, s, N, &scores, 1);
    }
    if (now(p, ADDED_NUMBER)) {
        for (int i = 0; i < N; i++)
            s[i] += 3;
        scores = tensor(p, FB_PHASE_FORWARD, "attn", "add", "{\"other\":3}", s, N, &scores, 1);
    }
    return scores;
}

static fb_ref normalize(program *p, float *s, fb_ref h)
{
    const bool other = now(p, OTHER_EPS) || now(p, BATCHNORM_FROZEN);

    for (int i = 0; i < N; i++)
        s[i] = (s[i] - 0.1f) * (other ? 0.99f + 0.001f * (float)i : 1.5f);
    return tensor(p, FB_PHASE_FORWARD, "norm", "native_batch_norm",
                  now(p, OTHER_EPS)          ? "{\"training\":true,\"eps\":0.001}"
                  : now(p, BATCHNORM_FROZEN) ? "{\"training\":false,\"eps\":1e-05}"
                                             : "{\"training\":true,\"eps\":1e-05}",
                  s, N, &h, 1);
}

static fb_ref activate(program *p, float *s, fb_ref h)
{
    for (int i = 0; i < N; i++)
        s[i] = s[i] > 0 ? s[i] : now(p, OTHER_ACTIVATION) ? 0.01f * s[i] : 0.1f;
    h = tensor(p, FB_PHASE_FORWARD, "act", now(p, OTHER_ACTIVATION) ? "leaky_relu" : "relu", NULL,
               s, N, &h, 1);
    if (now(p, SOFTMAX_TWICE)) {
        for (int i = 0; i < N; i++)
            s[i] = 1 / (1 + s[i] * s[i]);
        h = tensor(p, FB_PHASE_FORWARD, "act", "_softmax", "{\"dim\":-1}", s, N, &h, 1);
    }
    if (now(p, GATE_OF_ONES) || now(p, TIMES_ONE))
        h = tensor(p, FB_PHASE_FORWARD, "act", "mul", NULL, s, N, &h, 1);
    return h;
}

/* A teacher that begins as the layer: a copy of its weights, or the weights themselves. */
static fb_ref add_teacher(program *p, float *s, fb_ref h)
{
    const bool shared = p->twist == TEACHER_SHARED;
    fb_ref from[2] = {p->batch, shared ? p->weight : p->copy};
    fb_ref both[2] = {h, h};
    float first[N], out[N];

    if (p->twist != TEACHER_COPIED && p->twist != TEACHER_SHARED)
        return h;
    fill(first, "w", 0);
    for (int i = 0; i < N; i++)
        out[i] = p->x[i] * (shared ? p->w[i] : first[i]);
    both[1] = tensor(p, FB_PHASE_FORWARD, shared ? "fc" : "teacher", "mv", NULL, out, N, from, 2);
    for (int i = 0; i < N; i++)
        s[i] += out[i];
    return tensor(p, FB_PHASE_FORWARD, "", "add", NULL, s, N, both, 2);
}

/* What a projection that begins with zeros adds: nothing yet, whatever it is scaled by. */
static fb_ref add_zeros(program *p, const float *s, fb_ref h)
{
    const float zeros[N] = {0};
    fb_ref from[2] = {h, tensor(p, FB_PHASE_FORWARD, "low", "mm", NULL, zeros, N, &h, 1)};

    from[1] =
        tensor(p, FB_PHASE_FORWARD, "low", "mul",
               now(p, ZEROS_SCALED) ? "{\"other\":4.0}" : "{\"other\":2.0}", zeros, N, &from[1], 1);
    return tensor(p, FB_PHASE_FORWARD, "low", "add", NULL, s, N, from, 2);
}

static fb_ref positions(program *p)
{
    int64_t at[N];
    fb_ref made;

    for (int i = 0; i < N; i++)
        at[i] = i;
    made = integers(p, "arange", "{\"end\":32}", at, N, NULL, 0);
    if (now(p, POSITIONS_FLIPPED)) {
        for (int i = 0; i < N; i++)
            at[i] = N - 1 - i;
        made = integers(p, "flip", "{\"dims\":[0]}", at, N, &made, 1);
    }
    return made;
}

static fb_ref multiply(program *p, float *s)
{
    fb_ref from[4] = {p->batch, p->weight, p->bias, positions(p)};
    fb_ref h, e;
    float table[N];

    for (int i = 0; i < N; i++)
        table[i] = (float)(now(p, POSITIONS_FLIPPED) ? N - 1 - i : i) / 64;
    e = tensor(p, FB_PHASE_FORWARD, "wpe", "embedding", NULL, table, N,
               (fb_ref[]){p->bias, from[3]}, 2);
    from[3] = e;
    for (int i = 0; i < N; i++)
        s[i] = p->x[i] * p->w[i] + p->b[i] + table[i];
    if (now(p, ROUNDED))
        for (int i = 0; i < N; i++)
            s[i] = round_to_bf16(s[i]);
    h = tensor(p, FB_PHASE_FORWARD, "fc", "addmm", NULL, s, N, from, 4);
    if (now(p, CAST_MORE)) {
        for (int i = 0; i < N; i++)
            s[i] = round_to_bf16(s[i]);
        h = report(p,
                   (fb_site){.kind = FB_KIND_TENSOR,
                             .phase = FB_PHASE_FORWARD,
                             .path = "fc",
                             .op = "_to_copy",
                             .slot = "out",
                             .dtype = FB_DTYPE_BF16,
                             .rank = 1,
                             .shape = {N},
                             .arguments = "{\"dtype\":\"bfloat16\"}"},
                   (fb_event){.data = s, .data_bytes = N * 2, .inputs = &h, .input_count = 1});
    }
    if (now(p, EXTRA_COPY))
        h = tensor(p, FB_PHASE_FORWARD, "fc", "clone", NULL, s, N, &h, 1);
    return h;
}

static double sum_up(const float *s)
{
    double sum = 0;

    for (int i = 0; i < N; i++)
        sum += s[i] < -1e8f ? 0 : s[i];
    return sum;
}

/* The loss; the factor that all gradients get is returned. */
static float lose(program *p, const float *s, fb_ref h)
{
    const double factor = now(p, OTHER_REDUCTION) ? 24 : now(p, LOSS_FACTOR) ? 2 : 1;
    int64_t targets[N] = {now(p, OTHER_TARGETS) ? 9 : 4};
    float loss = (float)(sum_up(s) / 24 * factor);
    fb_ref made[2] = {h, integers(p, "index", NULL, targets, N, &p->batch, 1)};
    fb_ref out;
    float plain;

    if (now(p, OTHER_TARGETS) || now(p, OTHER_IGNORED))
        loss *= 0.75f;
    plain = now(p, LOSS_FACTOR) ? loss / 2 : loss;
    out = tensor(p, FB_PHASE_FORWARD, "", "nll_loss_forward",
                 now(p, OTHER_REDUCTION) ? "{\"reduction\":2,\"ignore_index\":-100}"
                 : now(p, OTHER_IGNORED) ? "{\"reduction\":1,\"ignore_index\":0}"
                                         : "{\"reduction\":1,\"ignore_index\":-100}",
                 &plain, 1, made, 2);
    if (now(p, LOSS_FACTOR))
        out = tensor(p, FB_PHASE_FORWARD, "", "mul", "{\"other\":2}", &loss, 1, &out, 1);
    (void)number(p, "ones_like", NULL, 1, &out, 1);
    scalar(p, FB_PHASE_LOSS, "loss", "loss", loss);
    return (float)factor * (now(p, OTHER_TARGETS) || now(p, OTHER_IGNORED) ? 0.75f : 1);
}

/* Gradients of the scores behind them, joined to what is there. */
static void backward(program *p, const float *s, float factor, fb_ref scores)
{
    fb_ref made, from[2] = {p->batch, scores};
    float fresh[N];

    for (int i = 0; i < N; i++)
        fresh[i] = factor * (s[i] < -1e8f ? 0.01f : 1 + 0.125f * s[i]) / 24;
    if (now(p, BACKWARD_FACTOR) || now(p, GATE_OF_ONES) || now(p, ZEROS_SCALED))
        for (int i = 0; i < N; i++)
            fresh[i] *= 1 + 0.01f * (float)i;
    made = tensor(p, FB_PHASE_BACKWARD, "fc", "mul_backward", NULL, fresh, N, from, 2);
    for (int i = 0; i < N; i++) {
        p->grad_w[i] = (p->has_grad ? p->grad_w[i] : 0) + fresh[i] * p->x[i];
        p->grad_b[i] = (p->has_grad ? p->grad_b[i] : 0) + fresh[i];
    }
    p->has_grad = true;
    p->grads[0] = p->grads[1] = made;
    if (now(p, SCALED_GRADIENTS)) {
        for (int i = 0; i < N; i++) {
            p->grad_w[i] /= 8;
            p->grad_b[i] /= 8;
        }
        p->grads[0] =
            tensor(p, FB_PHASE_FORWARD, "", "div_", "{\"other\":8}", p->grad_w, N, &p->grads[0], 1);
        p->grads[1] =
            tensor(p, FB_PHASE_FORWARD, "", "div_", "{\"other\":8}", p->grad_b, N, &p->grads[1], 1);
    }
}

static void reset(program *p, const char *what)
{
    mode(p, FB_PHASE_BACKWARD, what, "zero_grad", "zero_grad", true);
    p->has_grad = false;
}

static double norm_of(const program *p)
{
    double sum = 0;

    for (int i = 0; i < N; i++)
        sum += (double)p->grad_w[i] * p->grad_w[i] + (double)p->grad_b[i] * p->grad_b[i];
    return sqrt(sum);
}

static void clip(program *p)
{
    const double norm = norm_of(p), limit = now(p, OTHER_LIMIT) ? 0.05 : 0.1;
    const float by = (float)fmin(1, limit / norm);
    float coefficient = by;

    if (now(p, CLIP_MISSING))
        return;
    scalar(p, FB_PHASE_OPTIMIZER, "clip", "max_norm", limit);
    scalar(p, FB_PHASE_OPTIMIZER, "clip", "grad_norm", norm);
    (void)tensor(p, FB_PHASE_OPTIMIZER, "clip", "clamp", NULL, &coefficient, 1, p->grads, 2);
    for (int i = 0; i < N; i++) {
        p->grad_w[i] *= by;
        p->grad_b[i] *= by;
    }
    p->grads[0] = tensor(p, FB_PHASE_OPTIMIZER, "clip", "mul_", NULL, p->grad_w, N, p->grads, 1);
    p->grads[1] =
        tensor(p, FB_PHASE_OPTIMIZER, "clip", "mul_", NULL, p->grad_b, N, p->grads + 1, 1);
}

static double rate(const program *p)
{
    static const double rates[STEPS + 3] = {0, 0.1, 0.2, 0.3, 0.25, 0.15, 0.05, 0.01};

    return rates[p->step + (is(p, RATE_SHIFTED) ? 1 : 0)] * (is(p, RATE_SCALED) ? 4 : 1);
}

/* A schedule may move the momentum too, and then a setting of the schedule shows there first. */
static double momentum(const program *p)
{
    switch (p->twist) {
    case MOMENTUM_CYCLED:
        return 0.9 + 0.01 * (double)p->step;
    case MOMENTUM_CYCLED_WIDER:
        return 0.9 + 0.02 * (double)p->step;
    case MOMENTUM_FIXED_HIGHER:
        return 0.95;
    default:
        return 0.9;
    }
}

static void update(program *p)
{
    const char *op = is(p, OTHER_OPTIMIZER) ? "adam" : "sgd";
    const double lr = rate(p), decay = is(p, OTHER_DECAY) ? 0.1 : 0;

    if (p->twist != NOT_REGISTERED)
        p->grads[1] =
            tensor(p, FB_PHASE_BACKWARD, "fc.bias", "grad", NULL, p->grad_b, N, p->grads + 1, 1);
    if (!now(p, GRADIENT_MISSING))
        p->grads[0] =
            tensor(p, FB_PHASE_BACKWARD, "fc.weight", "grad", NULL, p->grad_w, N, p->grads, 1);
    if (p->twist >= MOMENTUM_CYCLED && p->twist <= MOMENTUM_FIXED_HIGHER)
        scalar(p, FB_PHASE_OPTIMIZER, "optimizer0.group0", "momentum", momentum(p));
    scalar(p, FB_PHASE_OPTIMIZER, "optimizer0.group0", "lr", lr);
    scalar(p, FB_PHASE_OPTIMIZER, "optimizer0.group0", "weight_decay", decay);
    for (int i = 0; i < N; i++) {
        p->w[i] -= (float)lr * (p->grad_w[i] + (float)decay * p->w[i]) *
                   (is(p, OTHER_OPTIMIZER) || is(p, NOT_RESTORED) ? 2 : 1);
        p->b[i] -= p->twist == NOT_REGISTERED ? 0 : (float)lr * p->grad_b[i];
    }
    p->weight = parameter(p, FB_PHASE_OPTIMIZER, "fc.weight", op, p->w, &p->grads[0]);
    if (p->twist != NOT_REGISTERED)
        p->bias = parameter(p, FB_PHASE_OPTIMIZER, "fc.bias", op, p->b, &p->grads[1]);
}

static void load(program *p, const char *path, const char *op)
{
    (void)report(p,
                 (fb_site){.kind = FB_KIND_CHECKPOINT,
                           .phase = FB_PHASE_CHECKPOINT,
                           .path = path,
                           .op = op,
                           .slot = "file"},
                 (fb_event){.value = 0});
}

static void step(program *p)
{
    float s[N];
    float factor;
    fb_ref h;

    p->known_count = 0;
    if (now(p, CLOCK))
        (void)number(p, "lift", NULL, 12.5f, NULL, 0);
    else
        (void)number(p, "lift", NULL, 11.25f, NULL, 0);
    if (now(p, RESTORED) || now(p, NOT_RESTORED)) {
        load(p, "Net", "load_state_dict");
        if (p->twist == RESTORED)
            load(p, "optimizer0", "load_state_dict");
    }
    read_batch(p);
    if (!is(p, RESET_MISSING))
        reset(p, now(p, RESET_BY_MODEL) ? "Net" : "optimizer0");
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "training", true);
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "grad", true);
    draw(p, "torch", "bernoulli_", "Net.drop", is(p, KEY_AGAIN) ? 200 + AT - 1 : 200 + p->step, N,
         0.9);
    h = multiply(p, s);
    h = normalize(p, s, h);
    h = activate(p, s, h);
    h = add_zeros(p, s, h);
    h = add_teacher(p, s, h);
    h = scores_of(p, s, h);
    h = hide(p, s, h);
    factor = lose(p, s, h);
    backward(p, s, factor, h);
    if (now(p, LOGGED_NORM))
        (void)number(p, "norm", NULL, (float)norm_of(p), p->grads, 2);
    if (now(p, RESET_TWICE)) { /* the gradients of the first half are lost */
        reset(p, "optimizer0");
        backward(p, s, factor / 2, h);
    }
    clip(p);
    update(p);
    if (p->step == AT)
        evaluate(p);
}

static const char *play(const test_folder *folder, const char *name, twist t)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {
        .size = sizeof options,
        .level = FB_LEVEL_SKETCH,
        .no_stacks = true,
        .header = t == OTHER_ARGUMENT ? "{\"environment\":{\"argv\":[\"t.py\",\"--lr\",\"4\"]}}"
                  : t == OTHER_HASH_SEED
                      ? "{\"environment\":{\"argv\":[\"t.py\",\"--lr\",\"1\"],"
                        "\"variables\":{\"PYTHONHASHSEED\":\"5\"}}}"
                      : "{\"environment\":{\"argv\":[\"t.py\",\"--lr\",\"1\"]}}"};
    program *p = calloc(1, sizeof *p);
    fb_error err;

    assert_non_null(p);
    p->twist = t == OTHER_ARGUMENT ? RATE_SCALED : t == OTHER_HASH_SEED ? SAMPLE_TWICE : t;
    assert_ok(fb_recorder_open(&p->recorder, path, &options, &err));
    begin(p);
    for (p->step = 1; p->step <= STEPS; p->step++) {
        fb_recorder_step(p->recorder, p->step);
        step(p);
    }
    assert_ok(fb_recorder_close(p->recorder, &err));
    free(p);
    return path;
}

static fb_diff_report compare(const test_folder *folder, twist a, twist b)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    const char *x = play(folder, "a.fbt", a);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, x, play(folder, "b.fbt", b), &options, &err));
    return r;
}

/* --- Claims ----------------------------------------------------------------------------------- */

typedef struct claim {
    twist twist;
    uint64_t step;
    const char *path, *op; /* of the first event; "" stands for none */
    const char *cause;
    const char *says; /* a part of the sentence */
} claim;

static const claim claims[] = {
    {OTHER_SCALE, AT, "attn", "mul", "forward-op", "other 0.5 | 0.25: b is 0.5 times a"},
    {SCALE_MISSING, AT, "attn", "mul", "forward-op", "a scale of 0.5"},
    {OTHER_EPS, AT, "norm", "native_batch_norm", "forward-op", "eps 1e-05 | 0.001"},
    {OTHER_ACTIVATION, AT, "act", "leaky_relu", "forward-op", "computes relu in a and leaky_relu"},
    {SOFTMAX_TWICE, AT, "act", "_softmax", "forward-op", "a softmax"},
    {ADDED_NUMBER, AT, "attn", "add", "forward-op", "add by 3"},
    {ROUNDED, AT, "fc", "addmm", "precision-cast", "rounded to bf16"},
    {CAST_MORE, AT, "fc", "_to_copy", "precision-cast", "only b casts to bf16"},
    {OTHER_FILL, AT, "attn", "masked_fill", "mask-or-position", "value \"-inf\" | -2"},
    {MASK_MISSING, AT, "attn", "masked_fill", "mask-or-position", "only a has the mask's op"},
    {POSITIONS_FLIPPED, AT, "", "flip", "mask-or-position", "only b has flip"},
    {BATCHNORM_FROZEN, AT, "norm", "native_batch_norm", "mode-flag", "training true | false"},
    {EVALUATED_OTHERWISE, AT, "Net", "mul", "forward-op", "b is 1.5 times a"},
    {GATE_OF_ONES, AT, "act", "mul", "forward-op", "it changes no number yet"},
    {ZEROS_SCALED, AT, "low", "mul", "forward-op", "other 2 | 4: the result is equal so far"},
    {OTHER_TARGETS, AT, "", "index", "loss-target", "targets"},
    {OTHER_IGNORED, AT, "", "nll_loss_forward", "loss-target", "ignore_index -100 | 0"},
    {OTHER_REDUCTION, AT, "", "nll_loss_forward", "loss-normalization",
     "the loss of b is 24 times that of a"},
    {LOSS_FACTOR, AT, "", "mul", "loss-normalization", "the loss of b is 2 times that of a"},
    {RESET_MISSING, AT, "optimizer0", "zero_grad", "grad-accumulation", "to zero here"},
    {RESET_TWICE, AT, "optimizer0", "zero_grad", "grad-accumulation", "only b sets"},
    {BACKWARD_FACTOR, AT, "fc", "mul_backward", "backward-op", ""},
    {GRADIENT_MISSING, AT, "fc.weight", "grad", "optimizer-formula", "fc.weight"},
    {SCALED_GRADIENTS, AT, "", "div_", "loss-normalization", "0.125 times"},
    {CLIP_MISSING, AT, "clip", "", "clipping", "only a clips"},
    {OTHER_LIMIT, AT, "clip", "", "clipping", "0.1"},
    {RATE_SHIFTED, AT, "optimizer0.group0", "", "schedule", "peaks with"},
    {RATE_SCALED, AT, "optimizer0.group0", "", "schedule", "peaks with"},
    {OTHER_DECAY, AT, "optimizer0.group0", "", "optimizer-formula", "weight_decay"},
    {OTHER_OPTIMIZER, AT, "fc.weight", "adam", "optimizer-formula", "sgd | adam"},
    {NOT_REGISTERED, 1, "fc.bias", "grad", "optimizer-formula", "never updated in b"},
    {SAME_BATCH_AGAIN, AT, "Digits", "sample", "data-order", "reads the batch of epoch 0 again"},
    {SAMPLE_TWICE, AT, "Digits", "sample", "sample-duplicated-or-missing", "more than once"},
    {BATCH_SMALLER, AT, "Digits", "sample", "sample-duplicated-or-missing", "4 | 3 samples"},
    {EVALUATED_ON_TRAINING, AT, "Digits", "sample", "evaluation-leak", "of the 4 samples that b"},
    {KEY_AGAIN, AT, "torch", "draw", "rng-key-reuse", "again that it has drawn in step 2"},
    {DROPOUT_IN_EVALUATION, AT, "torch", "draw", "mode-flag", "though the model is in evaluation"},
    {UNTIED, 0, "head.weight", "init", "aliasing-or-tying", "head.weight"},
    {INIT_SCALE, 0, "torch", "draw", "init", "(1, 0) | (0.5, 0)"},
    {OTHER_ARGUMENT, AT, "optimizer0.group0", "", "config", "1 | 4"},
};

static const char *text_or(const char *text)
{
    return text == NULL ? "" : text;
}

static bool is_found(const fb_diff_report *r, const claim *k)
{
    return r->verdict == FB_DIFF_DIFFER && r->first.name.step == k->step &&
           strcmp(r->first.name.path, k->path) == 0 && strcmp(r->first.name.op, k->op) == 0;
}

static bool is_named(const fb_diff_report *r, const claim *k)
{
    return strcmp(text_or(r->cause.name), k->cause) == 0 && r->cause.fix != NULL &&
           !r->cause.confirmed;
}

static void tell(const fb_diff_report *r, const char *what, size_t i)
{
    print_error("%s %d: %s at step %d, %s (%s): %s: %s\n", what, (int)i,
                fb_diff_verdict_name(r->verdict), (int)r->first.name.step, r->first.name.path,
                r->first.name.op, text_or(r->cause.name), text_or(r->cause.text));
}

static void each_mechanism_is_found_where_it_is_and_named(void **state)
{
    size_t failed = 0;

    for (size_t i = 0; i < COUNT_OF(claims); i++) {
        fb_diff_report r = compare(*state, NOTHING, claims[i].twist);

        if (!is_found(&r, &claims[i]) || !is_named(&r, &claims[i]) ||
            strstr(text_or(r.cause.text), claims[i].says) == NULL) {
            tell(&r, claims[i].cause, i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    assert_int_equal(failed, 0);
}

/* The same with the sides exchanged: nothing depends on which run is the good one. */
static void each_mechanism_is_named_from_the_other_side_too(void **state)
{
    size_t failed = 0;

    for (size_t i = 0; i < COUNT_OF(claims); i++) {
        fb_diff_report r = compare(*state, claims[i].twist, NOTHING);

        if (r.verdict != FB_DIFF_DIFFER || !is_named(&r, &claims[i])) {
            tell(&r, claims[i].cause, i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    assert_int_equal(failed, 0);
}

static void a_change_without_a_changed_result_is_a_note(void **state)
{
    static const twist harmless[] = {
        NOTHING,       EXTRA_COPY, LOGGED_NORM,  RESET_BY_MODEL, UNUSED_SEED, OTHER_FILL_NO_EFFECT,
        GRAD_MODE_OFF, CLOCK,      SEEDED_AGAIN, SCALED_IN_TWO,  TIMES_ONE};
    size_t failed = 0;

    for (size_t i = 0; i < COUNT_OF(harmless); i++) {
        fb_diff_report r = compare(*state, NOTHING, harmless[i]);

        if (r.verdict != FB_DIFF_SAME || (i > 0 && r.notes.count == 0)) {
            tell(&r, "harmless", i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    assert_int_equal(failed, 0);
}

static void a_state_that_is_not_restored_is_named(void **state)
{
    fb_diff_report r = compare(*state, RESTORED, NOT_RESTORED);

    assert_string_equal(text_or(r.cause.name), "checkpoint-resume");
    assert_non_null(strstr(r.cause.text, "only a restores optimizer0"));
    fb_diff_report_free(&r);
    r = compare(*state, RESTORED, RESTORED);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void a_momentum_that_a_schedule_moves_is_a_matter_of_the_schedule(void **state)
{
    fb_diff_report r = compare(*state, MOMENTUM_CYCLED, MOMENTUM_CYCLED_WIDER);

    assert_string_equal(text_or(r.cause.name), "schedule");
    assert_string_equal(r.first.name.slot, "momentum");
    fb_diff_report_free(&r);
    r = compare(*state, MOMENTUM_FIXED, MOMENTUM_FIXED_HIGHER);
    assert_string_equal(text_or(r.cause.name), "optimizer-formula");
    assert_non_null(strstr(r.cause.text, "momentum of optimizer0.group0 is 0.9 | 0.95"));
    fb_diff_report_free(&r);
    r = compare(*state, MOMENTUM_CYCLED, MOMENTUM_CYCLED);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void a_teacher_that_is_the_pupil_is_told_from_its_copy(void **state)
{
    fb_diff_report r = compare(*state, TEACHER_COPIED, TEACHER_SHARED);

    assert_string_equal(text_or(r.cause.name), "aliasing-or-tying");
    assert_non_null(strstr(r.cause.text, "in b fc computes with fc.weight itself"));
    fb_diff_report_free(&r);
    r = compare(*state, TEACHER_SHARED, TEACHER_COPIED);
    assert_string_equal(text_or(r.cause.name), "aliasing-or-tying");
    assert_non_null(strstr(r.cause.text, "in a fc computes with fc.weight itself"));
    fb_diff_report_free(&r);
    r = compare(*state, TEACHER_COPIED, TEACHER_COPIED);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void further_guesses_have_other_names(void **state)
{
    fb_diff_report r = compare(*state, NOTHING, OTHER_REDUCTION);

    assert_true(r.guess_count >= 1);
    for (size_t i = 0; i < r.guess_count; i++) {
        assert_string_not_equal(r.guesses[i].name, r.cause.name);
        assert_non_null(r.guesses[i].text);
        assert_non_null(r.guesses[i].fix);
    }
    fb_diff_report_free(&r);
}

static int set_up(void **state)
{
    test_folder *folder = malloc(sizeof *folder);

    assert_non_null(folder);
    *folder = make_folder();
    *state = folder;
    return 0;
}

static int tear_down(void **state)
{
    drop_folder(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mechanism_is_found_where_it_is_and_named),
        cmocka_unit_test(each_mechanism_is_named_from_the_other_side_too),
        cmocka_unit_test(a_change_without_a_changed_result_is_a_note),
        cmocka_unit_test(a_state_that_is_not_restored_is_named),
        cmocka_unit_test(a_momentum_that_a_schedule_moves_is_a_matter_of_the_schedule),
        cmocka_unit_test(a_teacher_that_is_the_pupil_is_told_from_its_copy),
        cmocka_unit_test(further_guesses_have_other_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
