/* SPDX-License-Identifier: Apache-2.0
 *
 * twisted_program.c - the course of the twisted program: its start, its batches, its steps, what is
 * evaluated.
 */
#include "twisted_program.h"

static fb_ref draw(program *p, const char *stream, const char *distribution, const char *consumer,
                   uint64_t key, uint64_t count, double parameter)
{
    return report(&p->tape,
                  (fb_site){.kind = FB_KIND_DRAW,
                            .phase = p->tape.step == 0 ? FB_PHASE_INIT : FB_PHASE_FORWARD,
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
    (void)report(&p->tape,
                 (fb_site){.kind = FB_KIND_SEED,
                           .phase = p->tape.step == 0 ? FB_PHASE_INIT : FB_PHASE_DATA,
                           .path = stream,
                           .op = "seed",
                           .slot = "seed",
                           .stream = stream,
                           .algorithm = "mt19937"},
                 (fb_event){.key = value});
}

static fb_ref batch(program *p, const uint64_t *indices, uint64_t count, uint64_t epoch)
{
    return report(&p->tape,
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
    p->tape.weight = parameter(p, FB_PHASE_INIT, "fc.weight", "init", p->w, NULL);
    p->bias = parameter(p, FB_PHASE_INIT, "fc.bias", "init", p->b, NULL);
    if (p->twist == TEACHER_COPIED)
        p->copy = tensor(p, FB_PHASE_INIT, "", "clone", NULL, p->w, N, &p->tape.weight, 1);
    if (p->twist == UNTIED)
        (void)parameter(p, FB_PHASE_INIT, "fc.second", "init", p->w, NULL);
}

static void read_batch(program *p)
{
    const uint64_t step = p->tape.step, epoch = (step - 1) / 2, at = 8 * ((step - 1) % 2);
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
    inputs[1] = p->tape.weight;
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "training", false);
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "grad", !now(p, GRAD_MODE_OFF));
    if (now(p, DROPOUT_IN_EVALUATION))
        inputs[count++] = draw(p, "torch", "bernoulli_", "Net.drop", 900 + p->tape.step, N, 0.9);
    for (int i = 0; i < N; i++)
        out[i] = (float)rows[0] * p->w[i] * (now(p, EVALUATED_OTHERWISE) ? 1.5f : 1);
    if (now(p, DROPOUT_IN_EVALUATION))
        out[3] = 0;
    result = tensor(p, FB_PHASE_FORWARD, "Net", "mul", NULL, out, N, inputs, count);
    (void)integers(p, "argmax", NULL, &largest, 1, &result, 1);
}

static void step(program *p)
{
    float s[N];
    float factor;
    fb_ref h;

    p->tape.known_count = 0;
    if (now(p, CLOCK))
        (void)number(p, "lift", NULL, 12.5f, NULL, 0);
    else
        (void)number(p, "lift", NULL, 11.25f, NULL, 0);
    if (now(p, RESTORED) || now(p, NOT_RESTORED)) {
        restores(&p->tape, "Net", "load_state_dict");
        if (p->twist == RESTORED)
            restores(&p->tape, "optimizer0", "load_state_dict");
    }
    read_batch(p);
    if (!is(p, RESET_MISSING))
        twisted_reset(p, now(p, RESET_BY_MODEL) ? "Net" : "optimizer0");
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "training", true);
    mode(p, FB_PHASE_FORWARD, "Net", "mode", "grad", true);
    draw(p, "torch", "bernoulli_", "Net.drop", is(p, KEY_AGAIN) ? 200 + AT - 1 : 200 + p->tape.step,
         N, 0.9);
    h = twisted_forward(p, s);
    factor = twisted_lose(p, s, h);
    twisted_backward(p, s, factor, h);
    if (now(p, LOGGED_NORM))
        (void)number(p, "norm", NULL, (float)twisted_norm_of(p), p->grads, 2);
    if (now(p, RESET_TWICE)) { /* the gradients of the first half are lost */
        twisted_reset(p, "optimizer0");
        twisted_backward(p, s, factor / 2, h);
    }
    twisted_clip(p);
    twisted_update(p);
    if (p->tape.step == AT)
        evaluate(p);
}

const char *twisted_play(const test_folder *folder, const char *name, twist t)
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
    assert_ok(fb_recorder_open(&p->tape.recorder, path, &options, &err));
    begin(p);
    for (p->tape.step = 1; p->tape.step <= STEPS; p->tape.step++) {
        fb_recorder_step(p->tape.recorder, p->tape.step);
        step(p);
    }
    assert_ok(fb_recorder_close(p->tape.recorder, &err));
    free(p);
    return path;
}
