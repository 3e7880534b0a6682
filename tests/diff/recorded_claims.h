/* SPDX-License-Identifier: Apache-2.0
 *
 * recorded_claims.h - claims on the rules for the causes of recorded programs, each on the few
 * events that it looks at: a mechanism that it names, and a neighbour that it leaves alone.
 */
#ifndef FB_TESTS_DIFF_RECORDED_CLAIMS_H
#define FB_TESTS_DIFF_RECORDED_CLAIMS_H

#include "recorded_case.h"

/* --- Writing events --------------------------------------------------------------------------- */

enum { N = 32 };

static inline fb_phase phase_of(const tape *t)
{
    return t->step == 0 ? FB_PHASE_INIT : FB_PHASE_FORWARD;
}

/* N numbers that follow from `contents`. */
static inline void numbers(float *out, uint64_t contents)
{
    uint64_t state = contents * 7919 + 13;

    for (int i = 0; i < N; i++)
        out[i] = ((float)(next_random(&state) % 2000) - 999.5f) / 512;
}

static inline fb_ref floats(tape *t, fb_phase phase, const char *path, const char *op,
                            const char *slot, const float *data, const fb_ref *inputs,
                            uint32_t count)
{
    return report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = phase,
                  .path = path,
                  .op = op,
                  .slot = slot,
                  .dtype = FB_DTYPE_F32,
                  .rank = 1,
                  .shape = {N}},
        (fb_event){
            .data = data, .data_bytes = N * sizeof *data, .inputs = inputs, .input_count = count});
}

static inline fb_ref op(tape *t, const char *path, const char *name, uint64_t contents,
                        const fb_ref *inputs, uint32_t count)
{
    float data[N];

    numbers(data, contents);
    return floats(t, phase_of(t), path, name, "out", data, inputs, count);
}

/* A tensor of N elements that an op with these arguments gives. */
static inline fb_ref gives(tape *t, fb_phase phase, const char *path, const char *op_name,
                           const char *arguments, uint64_t contents, const fb_ref *inputs,
                           uint32_t count)
{
    float data[N];

    numbers(data, contents);
    return report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = phase,
                  .path = path,
                  .op = op_name,
                  .slot = "out",
                  .arguments = arguments,
                  .dtype = FB_DTYPE_F32,
                  .rank = 1,
                  .shape = {N}},
        (fb_event){
            .data = data, .data_bytes = sizeof data, .inputs = inputs, .input_count = count});
}

/* A tensor that no recorded op has made, read by `reader`. */
static inline fb_ref enters(tape *t, const char *reader, uint64_t contents)
{
    float data[N];

    numbers(data, contents);
    return floats(t, phase_of(t), "", reader, "in0", data, NULL, 0);
}

static inline fb_ref whole(tape *t, const char *name, int64_t first, const fb_ref *inputs,
                           uint32_t count)
{
    int64_t data[N];

    for (int i = 0; i < N; i++)
        data[i] = first + i;
    return report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = phase_of(t),
                  .path = "",
                  .op = name,
                  .slot = "out",
                  .dtype = FB_DTYPE_I64,
                  .rank = 1,
                  .shape = {N}},
        (fb_event){
            .data = data, .data_bytes = sizeof data, .inputs = inputs, .input_count = count});
}

static inline fb_ref parameter(tape *t, fb_phase phase, const char *path, uint64_t n,
                               uint64_t contents)
{
    float data[2 * N] = {0};

    numbers(data, contents);
    return report(t,
                  (fb_site){.kind = FB_KIND_PARAM,
                            .phase = phase,
                            .path = path,
                            .op = phase == FB_PHASE_INIT ? "init" : "sgd",
                            .slot = "param",
                            .dtype = FB_DTYPE_F32,
                            .rank = 1,
                            .shape = {n}},
                  (fb_event){.data = data, .data_bytes = n * sizeof *data});
}

static inline fb_ref draw(tape *t, const char *stream, const char *distribution, uint64_t key,
                          uint64_t count)
{
    return report(t,
                  (fb_site){.kind = FB_KIND_DRAW,
                            .phase = phase_of(t),
                            .path = stream,
                            .op = "draw",
                            .stream = stream,
                            .algorithm = "mt19937",
                            .distribution = distribution},
                  (fb_event){.key = key, .count = count});
}

/* A draw of N numbers that tells them. */
static inline fb_ref drawn(tape *t, const char *stream, const char *distribution, uint64_t key,
                           uint64_t contents)
{
    float data[N];

    numbers(data, contents);
    return report(t,
                  (fb_site){.kind = FB_KIND_DRAW,
                            .phase = phase_of(t),
                            .path = stream,
                            .op = "draw",
                            .stream = stream,
                            .algorithm = "mt19937",
                            .distribution = distribution},
                  (fb_event){.key = key, .count = N, .data = data, .data_bytes = sizeof data});
}

/* Where a generator stands at the end of a step. Of one that nobody is known to have seeded the
 * recorder notes the position alone: key 0. */
static inline void stands(tape *t, const char *stream, uint64_t key, uint64_t position)
{
    (void)report(t,
                 (fb_site){.kind = FB_KIND_DRAW,
                           .phase = FB_PHASE_DATA,
                           .path = stream,
                           .op = "state",
                           .stream = stream,
                           .algorithm = "mt19937",
                           .distribution = "state",
                           .note = key == 0},
                 (fb_event){.key = key, .counter = position});
}

/* What a backward pass gives. */
static inline fb_ref gradient(tape *t, const fb_ref *from, uint64_t contents)
{
    return gives(t, FB_PHASE_BACKWARD, "", "mm", NULL, contents, from, 1);
}

static inline void seed(tape *t, const char *stream, uint64_t value)
{
    (void)report(t,
                 (fb_site){.kind = FB_KIND_SEED,
                           .phase = phase_of(t),
                           .path = stream,
                           .op = "seed",
                           .slot = "seed",
                           .stream = stream,
                           .algorithm = "mt19937"},
                 (fb_event){.key = value});
}

static inline void batch(tape *t, uint64_t first, uint64_t epoch, uint64_t contents)
{
    const uint64_t indices[4] = {first, first + 1, first + 2, first + 3};

    (void)report(t,
                 (fb_site){.kind = FB_KIND_SAMPLE,
                           .phase = FB_PHASE_DATA,
                           .path = "Digits",
                           .op = "sample",
                           .slot = "samples",
                           .dataset = "Digits"},
                 (fb_event){.counter = epoch,
                            .count = 4,
                            .indices = indices,
                            .data = &contents,
                            .data_bytes = sizeof contents});
}

static inline void next(tape *t)
{
    fb_recorder_step(t->recorder, ++t->step);
    t->known_count = 0;
}

static inline fb_ref single(tape *t, const char *name, float value, const fb_ref *inputs,
                            uint32_t count)
{
    return report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = FB_PHASE_FORWARD,
                  .path = "",
                  .op = name,
                  .slot = "out",
                  .dtype = FB_DTYPE_F32},
        (fb_event){
            .data = &value, .data_bytes = sizeof value, .inputs = inputs, .input_count = count});
}

/* Each mechanism is played right, wrong, or as its neighbour: another difference at the same place.
 */
typedef enum side { RIGHT, WRONG, NEIGHBOUR } side;

/* --- Claims ----------------------------------------------------------------------------------- */

typedef struct claim {
    void (*play)(tape *t, side s);
    const char *cause, *says;
    bool one_program; /* both headers tell the same sources */
} claim;

static inline const char *play(const test_folder *folder, const char *name, const claim *k, side s)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {
        .size = sizeof options,
        .level = FB_LEVEL_SKETCH,
        .no_stacks = true,
        .header = k->one_program ? "{\"sources\":{\"train.py\":\"0123\"}}" : NULL};
    tape *t = calloc(1, sizeof *t);
    fb_error err;

    assert_non_null(t);
    assert_ok(fb_recorder_open(&t->recorder, path, &options, &err));
    fb_recorder_step(t->recorder, 0);
    t->weight = parameter(t, FB_PHASE_INIT, "fc.weight", N, 1);
    k->play(t, s);
    assert_ok(fb_recorder_close(t->recorder, &err));
    free(t);
    return path;
}

static inline fb_diff_report compare(const test_folder *folder, const claim *k, side b)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    const char *x = play(folder, "a.fbt", k, RIGHT);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, x, play(folder, "b.fbt", k, b), &options, &err));
    return r;
}

/* How many of the claims fail: that the mechanism is found and named. */
static inline size_t count_unnamed(const test_folder *folder, const claim *claims, size_t count)
{
    size_t failed = 0;

    for (size_t i = 0; i < count; i++) {
        fb_diff_report r = compare(folder, &claims[i], WRONG);

        if (r.verdict != FB_DIFF_DIFFER || strcmp(text_or(r.cause.name), claims[i].cause) != 0 ||
            strstr(text_or(r.cause.text), claims[i].says) == NULL || text_or(r.cause.fix)[0] == 0) {
            tell(&r, claims[i].cause, i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    return failed;
}

/* How many neighbours are given the name and the reason that are not theirs. */
static inline size_t count_misnamed(const test_folder *folder, const claim *claims, size_t count)
{
    size_t failed = 0;

    for (size_t i = 0; i < count; i++) {
        fb_diff_report r = compare(folder, &claims[i], NEIGHBOUR);

        if (r.verdict != FB_DIFF_DIFFER ||
            (strcmp(text_or(r.cause.name), claims[i].cause) == 0 &&
             strstr(text_or(r.cause.text), claims[i].says) != NULL)) {
            tell(&r, "neighbour", i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    return failed;
}

/* How many harmless changes are called a difference. */
static inline size_t count_alarms(const test_folder *folder, const claim *harmless, size_t count)
{
    size_t failed = 0;

    for (size_t i = 0; i < count; i++) {
        fb_diff_report r = compare(folder, &harmless[i], WRONG);

        if (r.verdict != FB_DIFF_SAME) {
            tell(&r, "harmless", i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    return failed;
}

/* --- Tests of claims -------------------------------------------------------------------------- */

/* The two tests that a file with `claims` has of them, and their entries in its list of tests. */
#define TESTS_OF_CLAIMS(claims)                                                                    \
    static void each_rule_names_its_mechanism(void **state)                                        \
    {                                                                                              \
        assert_int_equal(count_unnamed(*state, claims, COUNT_OF(claims)), 0);                      \
    }                                                                                              \
    static void each_rule_leaves_its_neighbour_alone(void **state)                                 \
    {                                                                                              \
        assert_int_equal(count_misnamed(*state, claims, COUNT_OF(claims)), 0);                     \
    }

#define ENTRIES_OF_CLAIMS                                                                          \
    cmocka_unit_test(each_rule_names_its_mechanism),                                               \
        cmocka_unit_test(each_rule_leaves_its_neighbour_alone)

/* All of a file that tests nothing else. */
#define MAIN_OF_CLAIMS(claims)                                                                     \
    TESTS_OF_CLAIMS(claims)                                                                        \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {ENTRIES_OF_CLAIMS};                                     \
                                                                                                   \
        return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);                     \
    }

#endif
