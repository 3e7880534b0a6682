/* SPDX-License-Identifier: Apache-2.0
 *
 * twisted_forward.c - the forward pass and the loss of the twisted program.
 */
#include "twisted_program.h"

#include <math.h>

static float round_to_bf16(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
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
    fb_ref from[2] = {p->batch, shared ? p->tape.weight : p->copy};
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
    fb_ref from[4] = {p->batch, p->tape.weight, p->bias, positions(p)};
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
        h = report(&p->tape,
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

fb_ref twisted_forward(program *p, float *s)
{
    fb_ref h = multiply(p, s);

    h = normalize(p, s, h);
    h = activate(p, s, h);
    h = add_zeros(p, s, h);
    h = add_teacher(p, s, h);
    h = scores_of(p, s, h);
    return hide(p, s, h);
}

static double sum_up(const float *s)
{
    double sum = 0;

    for (int i = 0; i < N; i++)
        sum += s[i] < -1e8f ? 0 : s[i];
    return sum;
}

float twisted_lose(program *p, const float *s, fb_ref h)
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
    scalar(&p->tape, FB_PHASE_LOSS, "loss", "loss", loss);
    return (float)factor * (now(p, OTHER_TARGETS) || now(p, OTHER_IGNORED) ? 0.75f : 1);
}
