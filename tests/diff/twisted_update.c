/* SPDX-License-Identifier: Apache-2.0
 *
 * twisted_update.c - the backward pass, clipping and the update of the twisted program.
 */
#include "twisted_program.h"

#include <math.h>

void twisted_backward(program *p, const float *s, float factor, fb_ref scores)
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

void twisted_reset(program *p, const char *what)
{
    mode(p, FB_PHASE_BACKWARD, what, "zero_grad", "zero_grad", true);
    p->has_grad = false;
}

double twisted_norm_of(const program *p)
{
    double sum = 0;

    for (int i = 0; i < N; i++)
        sum += (double)p->grad_w[i] * p->grad_w[i] + (double)p->grad_b[i] * p->grad_b[i];
    return sqrt(sum);
}

void twisted_clip(program *p)
{
    const double norm = twisted_norm_of(p), limit = now(p, OTHER_LIMIT) ? 0.05 : 0.1;
    const float by = (float)fmin(1, limit / norm);
    float coefficient = by;

    if (now(p, CLIP_MISSING))
        return;
    scalar(&p->tape, FB_PHASE_OPTIMIZER, "clip", "max_norm", limit);
    scalar(&p->tape, FB_PHASE_OPTIMIZER, "clip", "grad_norm", norm);
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

    return rates[p->tape.step + (is(p, RATE_SHIFTED) ? 1 : 0)] * (is(p, RATE_SCALED) ? 4 : 1);
}

/* A schedule may move the momentum too, and then a setting of the schedule shows there first. */
static double momentum(const program *p)
{
    switch (p->twist) {
    case MOMENTUM_CYCLED:
        return 0.9 + 0.01 * (double)p->tape.step;
    case MOMENTUM_CYCLED_WIDER:
        return 0.9 + 0.02 * (double)p->tape.step;
    case MOMENTUM_FIXED_HIGHER:
        return 0.95;
    default:
        return 0.9;
    }
}

void twisted_update(program *p)
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
        scalar(&p->tape, FB_PHASE_OPTIMIZER, "optimizer0.group0", "momentum", momentum(p));
    scalar(&p->tape, FB_PHASE_OPTIMIZER, "optimizer0.group0", "lr", lr);
    scalar(&p->tape, FB_PHASE_OPTIMIZER, "optimizer0.group0", "weight_decay", decay);
    for (int i = 0; i < N; i++) {
        p->w[i] -= (float)lr * (p->grad_w[i] + (float)decay * p->w[i]) *
                   (is(p, OTHER_OPTIMIZER) || is(p, NOT_RESTORED) ? 2 : 1);
        p->b[i] -= p->twist == NOT_REGISTERED ? 0 : (float)lr * p->grad_b[i];
    }
    p->tape.weight = parameter(p, FB_PHASE_OPTIMIZER, "fc.weight", op, p->w, &p->grads[0]);
    if (p->twist != NOT_REGISTERED)
        p->bias = parameter(p, FB_PHASE_OPTIMIZER, "fc.bias", op, p->b, &p->grads[1]);
}
