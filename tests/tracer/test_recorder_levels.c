/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorder_levels.c - levels sketch and values through a recorder: what comes back from the
 * file, and from the tail of a program that was killed, is what was there.
 */
#include "tests/tracer/trace_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/sketch.h"

/* Larger than several halves of the tail, a block, less than a block, one element, none. */
static const uint64_t sizes[] = {700000, 16384, 100, 1, 0};
enum { TENSORS = COUNT_OF(sizes), STEPS = 3 };

static float *contents(uint64_t step, size_t tensor)
{
    uint64_t random = step * 100 + tensor;
    float *x = malloc(sizes[tensor] * sizeof *x + 1);

    for (uint64_t i = 0; i < sizes[tensor]; i++)
        x[i] = (float)(int64_t)(next_random(&random) >> 40) * 0x1p-20f - 4.0f;
    return x;
}

static fb_recorder *record(const char *path, const fb_recorder_options *options)
{
    fb_recorder *r;

    assert_int_equal(fb_recorder_open(&r, path, options, NULL), FB_OK);
    for (uint64_t step = 1; step <= STEPS; step++) {
        fb_recorder_step(r, step);
        for (size_t i = 0; i < TENSORS; i++) {
            char name[16];
            float *x = contents(step, i);

            (void)snprintf(name, sizeof name, "layer%zu", i);
            (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, name, "op", "out",
                                     FB_DTYPE_F32, 1, &sizes[i], x, NULL, 0);
            free(x);
        }
    }
    return r;
}

static void check_sketch(const fb_event *e, const float *x, uint64_t count)
{
    fb_hash blocks[64];
    fb_sketch want;
    const fb_hash hash =
        fb_tensor_sketch(&want, blocks, NULL, FB_DTYPE_F32, x, count * sizeof *x, NULL);

    assert_memory_equal(&e->hash, &hash, sizeof hash);
    assert_non_null(e->sketch);
    assert_memory_equal(e->sketch, &want, sizeof want);
    assert_int_equal(e->block_count, fb_sketch_blocks(count * sizeof *x));
    if (e->block_count > 0)
        assert_memory_equal(e->blocks, blocks, e->block_count * sizeof *blocks);
}

static void check_values(fb_trace *t, uint64_t number, const float *x, uint64_t count)
{
    const size_t bytes = count * sizeof *x;
    uint8_t *got = malloc(bytes + 1);
    uint64_t total;
    size_t n;

    assert_int_equal(fb_trace_values(t, number, 0, got, bytes, &n, &total, NULL), FB_OK);
    assert_int_equal(n, bytes);
    assert_int_equal(total, bytes);
    assert_memory_equal(got, x, bytes);
    free(got);
}

/* Bit (step - 1) * TENSORS + tensor for each event whose contents are in the trace. */
static uint32_t check_trace(const char *path, bool sketches)
{
    fb_trace *t = open_trace(path);
    uint32_t kept = 0, events = 0;
    const fb_event *e;
    fb_trace_info info;
    uint64_t number;

    while (fb_trace_next(t, &e, &number, NULL) == FB_OK && e != NULL) {
        const size_t i = (size_t)(fb_trace_site(t, e->site)->path[5] - '0');
        float *x = contents(e->step, i);

        if (sketches)
            check_sketch(e, x, sizes[i]);
        else
            assert_null(e->sketch);
        if ((e->flags & FB_EVENT_VALUES) != 0) {
            check_values(t, number, x, sizes[i]);
            kept |= 1u << ((e->step - 1) * TENSORS + i);
        }
        free(x);
        events++;
    }
    assert_int_equal(events, STEPS * TENSORS);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, NULL), FB_OK);
    assert_true(info.status == FB_TRACE_COMPLETE || info.status == FB_TRACE_TORN);
    fb_trace_close(t);
    return kept;
}

static uint32_t recorded(const fb_recorder_options *options, uint64_t left_out)
{
    test_folder folder;
    fb_recorder_stats stats;
    fb_recorder *r;
    uint32_t kept;

    make_folder(&folder);
    r = record(folder.file, options);
    fb_recorder_get_stats(r, &stats);
    assert_int_equal(stats.values_left_out, left_out);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    kept = check_trace(folder.file, options->level >= FB_LEVEL_SKETCH);
    drop_folder(&folder);
    return kept;
}

enum { ALL = 0x3def }; /* every tensor that has an element, in three steps */

static void sketches_come_back(void **state)
{
    (void)state;
    assert_int_equal(recorded(&(fb_recorder_options){.size = sizeof(fb_recorder_options),
                                                     .level = FB_LEVEL_SKETCH},
                              0),
                     0);
    assert_int_equal(
        recorded(&(fb_recorder_options){.size = sizeof(fb_recorder_options), .level = FB_LEVEL_OPS},
                 0),
        0);
}

static void all_contents_come_back(void **state)
{
    (void)state;
    assert_int_equal(recorded(&(fb_recorder_options){.size = sizeof(fb_recorder_options),
                                                     .level = FB_LEVEL_VALUES},
                              0),
                     ALL);
}

static void contents_are_those_of_the_selected_tensors_and_steps(void **state)
{
    (void)state;
    assert_int_equal(recorded(&(fb_recorder_options){.size = sizeof(fb_recorder_options),
                                                     .level = FB_LEVEL_VALUES,
                                                     .values_path = "layer[02]:out",
                                                     .values_steps = "2:3"},
                              0),
                     5u << TENSORS | 5u << 2 * TENSORS);
    assert_int_equal(recorded(&(fb_recorder_options){.size = sizeof(fb_recorder_options),
                                                     .level = FB_LEVEL_VALUES,
                                                     .values_path = "layer9*"},
                              0),
                     0);
}

/* The large tensor fits once; the small ones go on being kept. */
static void contents_beyond_the_limit_are_left_out(void **state)
{
    (void)state;
    assert_int_equal(recorded(&(fb_recorder_options){.size = sizeof(fb_recorder_options),
                                                     .level = FB_LEVEL_VALUES,
                                                     .values_bytes = 3200000},
                              2),
                     ALL & ~(1u << TENSORS | 1u << 2 * TENSORS));
}

static void contents_outlive_a_killed_program(void **state)
{
    const fb_recorder_options options = {.size = sizeof options, .level = FB_LEVEL_VALUES};
    test_folder folder;
    char whole[192];
    fb_recovered dropped;
    int status;

    (void)state;
    make_folder(&folder);
    const pid_t child = fork();
    if (child == 0) {
        (void)record(folder.file, &options);
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(check_trace(folder.file, true), ALL);
    (void)snprintf(whole, sizeof whole, "%s/whole.fbt", folder.path);
    assert_int_equal(fb_trace_recover(&dropped, folder.file, whole, NULL, NULL, NULL), FB_OK);
    assert_int_equal(check_trace(whole, true), ALL);
    drop_folder(&folder);
}

static void a_level_that_does_not_exist_is_refused(void **state)
{
    const fb_recorder_options options = {.size = sizeof options, .level = (fb_level)6};
    test_folder folder;
    fb_recorder *r;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_E_USAGE);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sketches_come_back),
        cmocka_unit_test(all_contents_come_back),
        cmocka_unit_test(contents_are_those_of_the_selected_tensors_and_steps),
        cmocka_unit_test(contents_beyond_the_limit_are_left_out),
        cmocka_unit_test(contents_outlive_a_killed_program),
        cmocka_unit_test(a_level_that_does_not_exist_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
