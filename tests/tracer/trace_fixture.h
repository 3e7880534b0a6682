/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_fixture.h - what the tracer's tests share: temporary files, and a made-up training run that
 * uses every kind and field.
 */
#ifndef FB_TESTS_TRACE_FIXTURE_H
#define FB_TESTS_TRACE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dirent.h>
#include <fcntl.h>

#include <cmocka.h>

#include "base/hash.h"
#include "firstbit/recorder.h"
#include "firstbit/trace.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A folder of this test alone; removed by drop_folder. */
typedef struct test_folder {
    char path[64];
    char file[128]; /* path/t.fbt */
} test_folder;

static inline void make_folder(test_folder *folder)
{
    /* Thousands of damaged copies: in memory where that can be. */
    (void)snprintf(folder->path, sizeof folder->path, "%s/fb-tracer-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(folder->path));
    (void)snprintf(folder->file, sizeof folder->file, "%s/t.fbt", folder->path);
}

static inline void drop_folder(const test_folder *folder)
{
    DIR *files = opendir(folder->path);

    assert_non_null(files);
    for (const struct dirent *file; (file = readdir(files)) != NULL;)
        if (file->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(files), file->d_name, 0), 0);
    assert_int_equal(closedir(files), 0);
    assert_int_equal(rmdir(folder->path), 0);
}

/* Fixed pseudo-random numbers: the tests must not depend on the day. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline fb_hash random_hash(uint64_t *state)
{
    return (fb_hash){next_random(state), next_random(state)};
}

/* One site of each kind, and some that differ in one thing only. */
enum {
    SITE_WEIGHT,
    SITE_TENSOR,
    SITE_GRAD,
    SITE_DRAW,
    SITE_SAMPLE,
    SITE_LOSS,
    SITE_SEED,
    SITE_MODE,
    SITE_PARAM,
    SITE_SUM,
    SITE_CHECKPOINT,
    SITE_MARK,
    SITE_EVAL,
    SITE_LR,
    SITE_COUNT
};

static inline fb_site fixture_site(int which)
{
    const fb_site sites[SITE_COUNT] = {
        [SITE_WEIGHT] = {.kind = FB_KIND_PARAM,
                         .phase = FB_PHASE_INIT,
                         .path = "h.0.fc.weight",
                         .op = "linear",
                         .slot = "param",
                         .dtype = FB_DTYPE_F32,
                         .rank = 2,
                         .shape = {512, 128}},
        [SITE_TENSOR] = {.kind = FB_KIND_TENSOR,
                         .phase = FB_PHASE_FORWARD,
                         .path = "h.0.fc",
                         .op = "linear",
                         .slot = "out",
                         .dtype = FB_DTYPE_F32,
                         .rank = 3,
                         .shape = {4, 64, 512}},
        [SITE_GRAD] = {.kind = FB_KIND_TENSOR,
                       .phase = FB_PHASE_BACKWARD,
                       .path = "h.0.fc.weight",
                       .op = "linear",
                       .slot = "grad",
                       .occurrence = 3,
                       .dtype = FB_DTYPE_BF16,
                       .rank = 8,
                       .shape = {1, 2, 3, 4, 5, 6, 7, UINT64_C(1) << 40}},
        [SITE_DRAW] = {.kind = FB_KIND_DRAW,
                       .phase = FB_PHASE_FORWARD,
                       .path = "h.0.drop",
                       .op = "dropout",
                       .slot = "mask",
                       .stream = "h.0.drop",
                       .algorithm = "philox4x32-10",
                       .distribution = "bernoulli",
                       .parameters = {0.1, -0.0},
                       .consumer = "h.0.drop"},
        [SITE_SAMPLE] = {.kind = FB_KIND_SAMPLE,
                         .phase = FB_PHASE_DATA,
                         .path = "data",
                         .op = "batch",
                         .dataset = "input.txt",
                         .role = FB_ROLE_TRAIN},
        [SITE_LOSS] = {.kind = FB_KIND_SCALAR,
                       .phase = FB_PHASE_LOSS,
                       .path = "loss",
                       .slot = "out",
                       .dtype = FB_DTYPE_F32},
        [SITE_SEED] = {.kind = FB_KIND_SEED,
                       .phase = FB_PHASE_INIT,
                       .path = "run",
                       .op = "seed",
                       .stream = "init",
                       .algorithm = "philox4x32-10"},
        [SITE_MODE] = {.kind = FB_KIND_MODE,
                       .phase = FB_PHASE_DATA,
                       .path = "run",
                       .slot = "training"},
        [SITE_PARAM] = {.kind = FB_KIND_PARAM,
                        .phase = FB_PHASE_OPTIMIZER,
                        .path = "h.0.fc.weight",
                        .op = "adamw",
                        .slot = "param",
                        .dtype = FB_DTYPE_F32,
                        .rank = 2,
                        .shape = {512, 128}},
        [SITE_SUM] = {.kind = FB_KIND_COLLECTIVE,
                      .phase = FB_PHASE_COMM,
                      .path = "h.0.fc.weight",
                      .op = "all_reduce",
                      .slot = "grad",
                      .dtype = FB_DTYPE_F64,
                      .rank = 1,
                      .shape = {0}},
        [SITE_CHECKPOINT] = {.kind = FB_KIND_CHECKPOINT,
                             .phase = FB_PHASE_CHECKPOINT,
                             .path = "run",
                             .op = "write"},
        [SITE_MARK] = {.kind = FB_KIND_MARK,
                       .phase = FB_PHASE_CHECKPOINT,
                       .path = "run",
                       .op = "end",
                       .slot = "final_hash"},
        [SITE_EVAL] = {.kind = FB_KIND_SCALAR,
                       .phase = FB_PHASE_EVAL,
                       .path = "loss",
                       .slot = "out",
                       .dtype = FB_DTYPE_F64},
        [SITE_LR] = {.kind = FB_KIND_SCALAR,
                     .phase = FB_PHASE_SCHEDULE,
                     .path = "lr",
                     .slot = "out",
                     .note = true,
                     .dtype = FB_DTYPE_F64},
    };
    fb_site site = sites[which];
    site.size = sizeof site;
    return site;
}

typedef struct made_event {
    fb_event event;
    fb_ref inputs[4];
    uint64_t indices[8];
    char text[40];
} made_event;

/* The events of one step, in the order of a run; returns how many. `made` holds at least 64. */
static inline size_t fixture_step(made_event *made, uint64_t step, uint64_t *random)
{
    size_t n = 0;

#define MAKE(which, micro_batch, ...)                                                              \
    do {                                                                                           \
        memset(&made[n], 0, sizeof made[n]);                                                       \
        made[n].event =                                                                            \
            (fb_event){.site = (which), .step = step, .micro = (micro_batch), __VA_ARGS__};        \
        made[n++].event.size = sizeof(fb_event);                                                   \
    } while (0)
#define INPUT(which, input_step, micro_batch)                                                      \
    made[n - 1].inputs[made[n - 1].event.input_count++] = (fb_ref)                                 \
    {                                                                                              \
        (which), (micro_batch), (input_step)                                                       \
    }

    if (step == 0) {
        MAKE(SITE_SEED, FB_MICRO_NONE, .key = 42);
        MAKE(SITE_WEIGHT, FB_MICRO_NONE, .hash = random_hash(random), .storage = 7);
    } else {
        MAKE(SITE_MODE, FB_MICRO_NONE, .value = 1);
        for (int micro = 0; micro < 2; micro++) {
            MAKE(SITE_SAMPLE, micro, .hash = random_hash(random), .counter = step / 4, .count = 8);
            for (int i = 0; i < 8; i++)
                made[n - 1].indices[i] = next_random(random) >> (step % 3 == 0 ? 0 : 40);
            MAKE(SITE_DRAW, micro, .key = step << 32 | 5, .counter = (uint64_t)micro * 1000,
                 .count = 1000);
            MAKE(SITE_TENSOR, micro, .hash = random_hash(random), .storage = 100,
                 .version = (uint32_t)(step * 2 + (uint64_t)micro));
            INPUT(SITE_SAMPLE, step, micro);
            INPUT(SITE_PARAM, step - 1, FB_MICRO_NONE);
            INPUT(SITE_WEIGHT, 0, FB_MICRO_NONE);
            if (step % 5 == 0)
                made[n - 1].event.flags = FB_EVENT_NONFINITE;
            if (step % 7 == 0) {
                made[n - 1].event.flags = FB_EVENT_UNDEFINED;
                made[n - 1].event.hash = (fb_hash){0, 0};
            }
            MAKE(SITE_LOSS, micro, .value = (double)(float)(3.5 / (double)(step + 1)));
            INPUT(SITE_TENSOR, step, micro);
            MAKE(SITE_GRAD, micro, .hash = random_hash(random), .storage = 1u + (step & 3));
        }
        MAKE(SITE_SUM, FB_MICRO_NONE, .hash = random_hash(random));
        INPUT(SITE_GRAD, step, 0);
        INPUT(SITE_GRAD, step, 1);
        MAKE(SITE_PARAM, FB_MICRO_NONE, .hash = random_hash(random), .storage = 7,
             .version = (uint32_t)step);
        INPUT(SITE_SUM, step, FB_MICRO_NONE);
        INPUT(SITE_PARAM, step - 1, FB_MICRO_NONE);
        MAKE(SITE_LR, FB_MICRO_NONE, .value = step % 4 == 0 ? -1.0 / 0.0 : 1e-3);
        if (step % 3 == 0) {
            MAKE(SITE_EVAL, 5, .value = 0.0 / 0.0, .flags = FB_EVENT_NONFINITE);
            MAKE(SITE_CHECKPOINT, FB_MICRO_NONE, .hash = random_hash(random));
            (void)snprintf(made[n - 1].text, sizeof made[n - 1].text, "step-%llu.safetensors",
                           (unsigned long long)step);
            MAKE(SITE_MARK, FB_MICRO_NONE, .version = 0);
            (void)snprintf(made[n - 1].text, sizeof made[n - 1].text,
                           "\x1b[31m\"quote\"\n\xc3\xa9");
        }
    }
#undef MAKE
#undef INPUT
    for (size_t i = 0; i < n; i++) {
        if (made[i].event.input_count > 0)
            made[i].event.inputs = made[i].inputs;
        if (made[i].event.site == SITE_SAMPLE)
            made[i].event.indices = made[i].indices;
        if (made[i].text[0] != '\0')
            made[i].event.text = made[i].text;
    }
    return n;
}

static inline void report_sites(const fb_observer *o)
{
    for (int i = 0; i < SITE_COUNT; i++) {
        const fb_site site = fixture_site(i);
        assert_int_equal(o->on_site(o->self, (uint32_t)i, &site, NULL), FB_OK);
    }
}

/* Reports steps [from, to] to an observer. */
static inline void report_steps(const fb_observer *o, uint64_t from, uint64_t to, uint64_t *random)
{
    made_event made[64];

    for (uint64_t step = from; step <= to; step++) {
        const size_t n = fixture_step(made, step, random);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(o->on_event(o->self, &made[i].event, NULL), FB_OK);
        assert_int_equal(o->on_step_end(o->self, step, NULL), FB_OK);
    }
}

/* A whole recording of steps 0 to `steps`; returns its number of events. */
static inline uint64_t record_fixture(const char *path, uint64_t steps, fb_level level)
{
    const fb_recorder_options options = {.size = sizeof options, .level = level, .no_stacks = true};
    fb_recorder_stats stats;
    fb_recorder *r;
    fb_error err;
    uint64_t random = 1;

    if (fb_recorder_open(&r, path, &options, &err) != FB_OK)
        fail_msg("%s", err.text);
    report_sites(fb_recorder_observer(r));
    report_steps(fb_recorder_observer(r), 0, steps, &random);
    fb_recorder_get_stats(r, &stats);
    if (fb_recorder_close(r, &err) != FB_OK)
        fail_msg("%s", err.text);
    return stats.events;
}

static inline fb_trace *open_trace(const char *path)
{
    fb_trace *t;
    fb_error err;

    if (fb_trace_open(&t, path, &err) != FB_OK)
        fail_msg("%s", err.text);
    return t;
}

/* What reading all of it finds. */
static inline fb_trace_status verified(const char *path)
{
    fb_trace_info info;
    fb_trace *t = open_trace(path);

    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, NULL), FB_OK);
    fb_trace_close(t);
    return info.status;
}

#endif
