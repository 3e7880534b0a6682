/* SPDX-License-Identifier: Apache-2.0
 *
 * made_up_program.h - a small program, told event by event, that the tests of alignment and of
 * causes twist.
 */
#ifndef FB_TESTS_DIFF_MADE_UP_PROGRAM_H
#define FB_TESTS_DIFF_MADE_UP_PROGRAM_H

#include "recorded_run.h"

#include "base/hash.h"
#include "diff/diff.h"

/* --- A made-up program ------------------------------------------------------------------------ */

/* What is different in one of the two runs. All zeros: nothing. */
typedef struct twist {
    uint64_t step; /* where it happens; the run has steps 0 .. steps */
    bool extra_draw, extra_draw_of_other_stream, swap_samples, other_contents, eval_mode, other_lr;
    bool extra_call, extra_call_of_same, extra_view, other_input, other_weight, missing_gradient,
        logged_tensor, reordered, wrapped, other_names, throughput;
    const char *wrong; /* a tensor whose value is another one: "fc", "fc.grad", "fc.weight", ... */
    uint64_t steps;    /* 0: 6 */
    uint64_t width;    /* further tensors a step */
    bool no_events;
    bool other_state;   /* of the generator, from `step` on */
    const char *header; /* of the trace; NULL: none */
} twist;

typedef struct program {
    fb_recorder *recorder;
    const twist *t;
    uint64_t step, position; /* of the default generator: it keeps it from step to step */
    uint64_t call;           /* tells the calls of one site apart */
    bool moved;              /* what follows in this step is computed from other numbers */
    fb_ref extra;
    fb_ref weights[2]; /* of the step before */
    uint32_t weight_count;
} program;

static inline bool now(const program *p, bool what)
{
    return what && p->step == p->t->step;
}

static const char *named(const program *p, const char *path)
{
    static char text[4][64];
    static int next;
    char *out = text[next++ % 4];

    (void)snprintf(out, sizeof text[0], "%s%s",
                   p->t->wrapped       ? "module."
                   : p->t->other_names ? "elsewhere."
                                       : "",
                   path);
    return out;
}

static inline fb_ref tensor(const program *p, fb_kind kind, fb_phase phase, const char *path,
                            const char *op, const char *slot, const fb_ref *inputs, uint32_t count)
{
    const uint64_t shape[2] = {2, 4};
    char key[96];
    float data[8];
    uint64_t state;
    bool wrong;

    (void)snprintf(key, sizeof key, "%s%s%s", path, strcmp(slot, "out") == 0 ? "" : ".",
                   strcmp(slot, "out") == 0 ? "" : slot);
    wrong = p->t->wrong != NULL && p->step == p->t->step && strcmp(p->t->wrong, key) == 0;
    state = fb_hash_name(key) + p->step * 1000 + p->call * 100 + wrong + (p->moved ? 50 : 0);
    for (int i = 0; i < 8; i++)
        data[i] = (float)(next_random(&state) % 1000) / 8;
    return fb_recorder_tensor(p->recorder, kind, phase, named(p, path), op, slot, FB_DTYPE_F32, 2,
                              shape, data, inputs, count);
}

static inline void draw(program *p, const char *stream, uint64_t count, const char *consumer)
{
    const uint64_t key = p->t->other_state && p->step >= p->t->step ? 6 : 5;

    (void)fb_recorder_draw(p->recorder, FB_PHASE_FORWARD, stream, "mt19937", key, p->position,
                           count, "uniform", consumer, FB_DTYPE_NONE, NULL);
    if (strcmp(stream, "default") == 0)
        p->position += count;
}

static inline void samples(const program *p)
{
    uint64_t indices[4] = {p->step * 4, p->step * 4 + 1, p->step * 4 + 2, p->step * 4 + 3};
    char contents[16];

    if (now(p, p->t->swap_samples)) {
        indices[1] = p->step * 4 + 2;
        indices[2] = p->step * 4 + 3;
        indices[3] = p->step * 4 + 1;
    }
    (void)snprintf(contents, sizeof contents, "%d%d", (int)p->step,
                   now(p, p->t->other_contents || p->t->swap_samples));
    (void)fb_recorder_sample(p->recorder, "digits", FB_ROLE_TRAIN, 0, indices, 4, contents,
                             strlen(contents));
}

static inline void scalars(const program *p)
{
    (void)fb_recorder_scalar(p->recorder, FB_PHASE_SCHEDULE, "lr", "lr", FB_DTYPE_F64,
                             now(p, p->t->other_lr) ? 0.2 : 0.1);
}

static inline void shared_call(program *p, fb_ref *act)
{
    const uint64_t call = p->call;

    if (now(p, p->t->extra_call) && call == 2)
        *act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared.new", "linear", "out", act, 1);
    if (now(p, p->t->extra_view) && call == 2)
        *act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared.new", "clone", "out", act, 1);
    if (now(p, p->t->extra_call_of_same) && call == 2) {
        p->call = 7; /* read by the first gradient, not by the calls behind it */
        p->extra = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared", "linear", "out", act, 1);
        p->call = call;
    }
    p->moved |= call == 2 && now(p, p->t->extra_call);
    *act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared", "linear", "out", act, 1);
}

static inline void step(program *p)
{
    const fb_ref x = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "ln", "layernorm", "out", NULL, 0);
    fb_ref fc, act, g, reads[2] = {x, {0, 0, 0}};

    if (p->weight_count == 2)
        reads[1] = p->weights[now(p, p->t->other_weight) ? 1 : 0];

    draw(p, "default", 10, "dropout");
    fc = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out", reads,
                now(p, p->t->other_input) ? 0
                : p->weight_count == 2    ? 2
                                          : 1);
    if (now(p, p->t->reordered))
        scalars(p);
    act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "act", "gelu", "out", &fc, 1);
    for (p->call = 1; p->call <= 3; p->call++) /* one site called several times */
        shared_call(p, &act);
    p->call = 0;
    for (uint64_t i = 0; i < p->t->width; i++) {
        char path[32];

        (void)snprintf(path, sizeof path, "wide.%d", (int)i);
        (void)tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, path, "linear", "out", &act, 1);
    }
    if (now(p, p->t->logged_tensor))
        (void)tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "logged", "mean", "out", &act, 1);
    if (now(p, p->t->extra_draw_of_other_stream))
        draw(p, "logging", 3, "logger");
    if (now(p, p->t->extra_call_of_same)) {
        act = p->extra;
        p->moved = true;
    }
    g = tensor(p, FB_KIND_TENSOR, FB_PHASE_BACKWARD, "fc.weight", "linear", "grad", &act, 1);
    if (!now(p, p->t->missing_gradient))
        (void)tensor(p, FB_KIND_TENSOR, FB_PHASE_BACKWARD, "fc.bias", "linear", "grad", &act, 1);
    if (!now(p, p->t->reordered))
        scalars(p);
    g = tensor(p, FB_KIND_TENSOR, FB_PHASE_OPTIMIZER, "fc.weight", "clip", "grad.clip", &g, 1);
    p->weights[0] =
        tensor(p, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "fc.weight", "sgd", "param", &g, 1);
    p->weights[1] =
        tensor(p, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "fc2.weight", "sgd", "param", &g, 1);
    p->weight_count = 2;
    p->moved = false;
    if (p->t->throughput)
        fb_recorder_mark(p->recorder, "1000 samples/s");
    if (now(p, p->t->extra_draw))
        draw(p, "default", 2, "augmentation"); /* at the end: it moves the next step's draws */
}

static const char *play(const test_folder *folder, const char *name, const twist *t)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {
        .size = sizeof options, .no_stacks = true, .header = t->header};
    program p = {.t = t};
    fb_error err;

    assert_ok(fb_recorder_open(&p.recorder, path, &options, &err));
    for (uint64_t s = 0; s <= (t->steps > 0 ? t->steps : 6) && !t->no_events; s++) {
        p.step = s;
        if (s > 0)
            fb_recorder_step(p.recorder, s);
        samples(&p);
        step(&p);
    }
    assert_ok(fb_recorder_close(p.recorder, &err));
    return path;
}

static inline fb_diff_report compare_with(const char *a, const char *b, fb_diff_options options)
{
    fb_diff_report r;
    fb_error err;

    options.size = sizeof options;
    options.no_stacks = true;
    assert_ok(fb_diff(&r, a, b, &options, &err));
    return r;
}

/* A plain run against a twisted one. */
static inline fb_diff_report compare(const test_folder *folder, const twist *t)
{
    const twist plain = {.steps = t->steps, .width = t->width};
    const char *a = play(folder, "a.fbt", &plain);

    return compare_with(a, play(folder, "b.fbt", t), (fb_diff_options){0});
}

static inline void assert_first(const fb_diff_report *r, uint64_t at, const char *path,
                                const char *slot)
{
    char text[512];

    if (r->verdict != FB_DIFF_DIFFER || r->first.name.step != at ||
        strcmp(r->first.name.path, path) != 0 || strcmp(r->first.name.slot, slot) != 0)
        fail_msg("%s at %s; expected step %d, %s, %s", fb_diff_verdict_name(r->verdict),
                 r->has_first ? fb_event_name_text(text, sizeof text, &r->first.name) : "nothing",
                 (int)at, path, slot);
}

static inline void assert_likely(const fb_diff_report *r, const char *cause)
{
    if (!r->has_cause || strcmp(r->cause.name, cause) != 0 || r->cause.confirmed)
        fail_msg("cause %s (%s), expected %s, likely", r->has_cause ? r->cause.name : "none",
                 r->has_cause ? r->cause.text : "", cause);
}

#endif
