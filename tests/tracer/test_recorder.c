/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorder.c - the recorder as its users see it: order of arrival, the direct calls, large
 * traces.
 */
#include "tests/tracer/trace_fixture.h"

#include <pthread.h>

#include "tracer/record/recorder_state.h"

static void last_step_of(const char *path, uint64_t step, fb_trace_step *out)
{
    fb_trace *t = open_trace(path);

    assert_int_equal(fb_trace_get_step(t, step, out, NULL), FB_OK);
    fb_trace_close(t);
}

/* --- Chains ------------------------------------------------------------------------------------
 */

/* Records 20 steps, each with its events in an order of its own. */
static void record_shuffled(const char *path, uint64_t order, fb_hash *changed)
{
    made_event made[64];
    fb_recorder *r;
    uint64_t random = 1;

    assert_int_equal(fb_recorder_open(&r, path, NULL, NULL), FB_OK);
    const fb_observer *o = fb_recorder_observer(r);
    report_sites(o);
    for (uint64_t step = 0; step <= 20; step++) {
        size_t left = fixture_step(made, step, &random);

        if (changed != NULL && step == 10)
            made[3].event.hash = *changed;
        while (left > 0) {
            const size_t at = order == 0 ? 0 : (size_t)(next_random(&order) % left);

            assert_int_equal(o->on_event(o->self, &made[at].event, NULL), FB_OK);
            for (size_t i = at; i + 1 < left; i++) { /* pointers into the array move along */
                made[i] = made[i + 1];
                if (made[i].event.inputs != NULL)
                    made[i].event.inputs = made[i].inputs;
                if (made[i].event.indices != NULL)
                    made[i].event.indices = made[i].indices;
                if (made[i].event.text != NULL)
                    made[i].event.text = made[i].text;
            }
            left--;
        }
        assert_int_equal(o->on_step_end(o->self, step, NULL), FB_OK);
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
}

static void chains_do_not_depend_on_the_order_of_arrival(void **state)
{
    test_folder folder;
    fb_trace_step a, b;

    (void)state;
    make_folder(&folder);
    record_shuffled(folder.file, 0, NULL);
    last_step_of(folder.file, 20, &a);
    for (uint64_t order = 1; order <= 5; order++) {
        record_shuffled(folder.file, order, NULL);
        last_step_of(folder.file, 20, &b);
        assert_memory_equal(a.chain, b.chain, sizeof a.chain);
        assert_int_equal(verified(folder.file), FB_TRACE_COMPLETE);
    }
    drop_folder(&folder);
}

static void one_changed_hash_changes_its_chain_and_no_other(void **state)
{
    fb_hash other = {1, 2};
    test_folder folder;
    fb_trace_step a, b;

    (void)state;
    make_folder(&folder);
    record_shuffled(folder.file, 0, NULL);
    last_step_of(folder.file, 20, &a);
    record_shuffled(folder.file, 0, &other); /* of an activation in step 10 */
    last_step_of(folder.file, 20, &b);
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        assert_int_equal(fb_hash_equal(a.chain[c], b.chain[c]), c != FB_CLASS_OPS);
    last_step_of(folder.file, 9, &b);
    record_shuffled(folder.file, 0, NULL);
    last_step_of(folder.file, 9, &a);
    assert_memory_equal(a.chain, b.chain, sizeof a.chain);
    drop_folder(&folder);
}

/* --- Direct calls ------------------------------------------------------------------------------
 */

static void direct_calls_count_occurrences_by_step_and_micro(void **state)
{
    const uint64_t shape[2] = {2, 3};
    const float x[6] = {1, 2, 3, 4, 5, __builtin_nanf("")};
    const struct {
        uint64_t step;
        int32_t micro;
        uint32_t occurrence;
    } want[] = {
        {1, FB_MICRO_NONE, 0}, {1, FB_MICRO_NONE, 1}, {1, 0, 0}, {1, 1, 0}, {1, 0, 1}, {2, 0, 0}};
    test_folder folder;
    const fb_event *e;
    fb_recorder *r;
    fb_trace *t;
    fb_ref before = {0, FB_MICRO_NONE, 0};

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        fb_recorder_step(r, want[i].step);
        fb_recorder_micro(r, want[i].micro);
        before = fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                    FB_DTYPE_F32, 2, shape, x, &before, i > 0);
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    assert_int_equal(verified(folder.file), FB_TRACE_COMPLETE);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_get_info(t)->first_nonfinite, 0);
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
        assert_int_equal(e->step, want[i].step);
        assert_int_equal(e->micro, want[i].micro);
        assert_int_equal(fb_trace_site(t, e->site)->occurrence, want[i].occurrence);
        assert_int_equal(e->flags, FB_EVENT_NONFINITE);
        const fb_hash hash = fb_tensor_hash(NULL, FB_DTYPE_F32, x, sizeof x, NULL);
        assert_memory_equal(&e->hash, &hash, sizeof hash);
        assert_int_equal(e->input_count, i > 0);
        if (i > 0) {
            assert_int_equal(e->inputs[0].step, want[i - 1].step);
            assert_int_equal(e->inputs[0].micro, want[i - 1].micro);
        }
    }
    fb_trace_close(t);
    drop_folder(&folder);
}

enum { THREADS = 4, CALLS = 2000 };

static void *record_scalars(void *argument)
{
    fb_recorder *r = argument;

    for (int i = 0; i < CALLS; i++)
        (void)fb_recorder_scalar(r, FB_PHASE_FORWARD, "x", "out", FB_DTYPE_F64, i);
    return NULL;
}

static void threads_may_record_at_the_same_time(void **state)
{
    pthread_t threads[THREADS];
    test_folder folder;
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_scalars, r), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    assert_int_equal(verified(folder.file), FB_TRACE_COMPLETE);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_get_info(t)->events, THREADS * CALLS);
    fb_trace_close(t);
    drop_folder(&folder);
}

static void the_stack_of_a_call_begins_with_its_caller(void **state)
{
    test_folder folder;
    const fb_event *e;
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "out", FB_DTYPE_F32, 1);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
    const char *stack = fb_trace_stack(t, e->site);
    if (strncmp(stack, __func__, strlen(__func__)) != 0)
        fail_msg("stack begins with: %.100s", stack);
    assert_null(strchr(stack, '/')); /* no folder is told */
    fb_trace_close(t);
    drop_folder(&folder);
}

static void expect_told(const char *path, const char *stack, const char *arguments)
{
    const float x[2] = {1, 2};
    const fb_event *e;
    fb_trace *t = open_trace(path);

    assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
    assert_non_null(e);
    assert_int_equal(e->step, 3);
    assert_string_equal(fb_trace_site(t, e->site)->op, "mul");
    assert_true(fb_hash_equal(e->hash, fb_tensor_hash(NULL, FB_DTYPE_F32, x, sizeof x, NULL)));
    assert_string_equal(fb_trace_stack(t, e->site), stack);
    assert_string_equal(fb_trace_site(t, e->site)->arguments, "");
    assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
    assert_non_null(e);
    assert_string_equal(fb_trace_site(t, e->site)->op, "mul");
    assert_string_equal(fb_trace_site(t, e->site)->arguments, arguments);
    fb_trace_close(t);
}

/* From the tail of a recording that goes on, and from the sealed file. */
static void a_stack_and_arguments_that_the_program_tells_are_read_back(void **state)
{
    const float x[2] = {1, 2};
    char source[FB_NAME_MAX + 100], told[16];
    fb_site site = {.size = sizeof site,
                    .kind = FB_KIND_TENSOR,
                    .phase = FB_PHASE_FORWARD,
                    .path = "h.0",
                    .op = "mul",
                    .slot = "out",
                    .dtype = FB_DTYPE_F32,
                    .rank = 1,
                    .shape = {2},
                    .source = source};
    fb_event event = {.size = sizeof event, .data = x, .data_bytes = sizeof x};
    test_folder folder;
    fb_recorder *r;

    (void)state;
    (void)snprintf(told, sizeof told, "f at a.py:12");
    memset(source, 'x', sizeof source); /* an outer frame that is too long */
    memcpy(source, told, strlen(told));
    source[strlen(told)] = '\n';
    source[sizeof source - 1] = '\0';
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    fb_recorder_step(r, 3);
    event.site = fb_recorder_site(r, &site);
    fb_recorder_event(r, &event);
    site.arguments = "{\"p\":0.5}"; /* another site, of the same identity */
    site.source = NULL;
    event.site = fb_recorder_site(r, &site);
    fb_recorder_event(r, &event);
    expect_told(folder.file, told, site.arguments);
    assert_int_equal(fb_recorder_wants(r), fb_level_classes(FB_LEVEL_OPS));
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    assert_int_equal(verified(folder.file), FB_TRACE_COMPLETE);
    expect_told(folder.file, told, site.arguments);
    drop_folder(&folder);
}

/* --- Large traces ------------------------------------------------------------------------------
 */

/* 3,000 chunks of one step: what bisecting reads must not grow with the trace. */
static void a_step_of_a_long_trace_is_found_with_few_reads(void **state)
{
    const uint64_t steps = 3000;
    test_folder folder;
    fb_recorder *r;
    uint64_t random = 1, most = 0;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    report_sites(fb_recorder_observer(r));
    for (uint64_t step = 0; step < steps; step++) {
        report_steps(fb_recorder_observer(r), step, step, &random);
        fb__recorder_seal(r);
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_get_info(t)->chunks, steps);
    assert_true(fb_trace_bytes_read(t) < 20000); /* opening looks at both ends */
    for (uint64_t step = 0; step < steps; step += 37) {
        const uint64_t before = fb_trace_bytes_read(t);
        fb_trace_step s;

        assert_int_equal(fb_trace_get_step(t, step, &s, NULL), FB_OK);
        assert_int_equal(s.step, step);
        const uint64_t bytes = fb_trace_bytes_read(t) - before;
        most = bytes > most ? bytes : most;
    }
    assert_true(most <= 13 * 512 + 1024); /* log2(3000) chunk headers and one steps part */
    fb_trace_close(t);
    drop_folder(&folder);
}

static uint64_t bytes_to_read_event(fb_trace *t, uint64_t number)
{
    const uint64_t before = fb_trace_bytes_read(t);
    const fb_event *e;
    uint64_t at;

    assert_int_equal(fb_trace_seek_event(t, number, NULL), FB_OK);
    assert_int_equal(fb_trace_next(t, &e, &at, NULL), FB_OK);
    assert_non_null(e);
    assert_int_equal(at, number);
    return fb_trace_bytes_read(t) - before;
}

/* Two far places of a trace in turns, as a comparison asks for them: headers only from the second
 * time on. */
static void going_to_and_fro_reads_a_chunk_once(void **state)
{
    enum { STEPS = 400 };
    test_folder folder;
    uint64_t random = 1, last;
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    report_sites(fb_recorder_observer(r));
    for (uint64_t step = 0; step < STEPS; step += STEPS / 4) {
        report_steps(fb_recorder_observer(r), step, step + STEPS / 4 - 1, &random);
        fb__recorder_seal(r);
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    last = fb_trace_get_info(t)->events - 1;
    assert_true(bytes_to_read_event(t, 0) > 8000);
    assert_true(bytes_to_read_event(t, last) > 8000);
    for (int i = 0; i < 3; i++) {
        assert_true(bytes_to_read_event(t, last / 2) <= (i == 0 ? UINT64_MAX : 4 * 512));
        assert_true(bytes_to_read_event(t, 0) <= 4 * 512);
        assert_true(bytes_to_read_event(t, last) <= 4 * 512);
    }
    fb_trace_close(t);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_do_not_depend_on_the_order_of_arrival),
        cmocka_unit_test(one_changed_hash_changes_its_chain_and_no_other),
        cmocka_unit_test(direct_calls_count_occurrences_by_step_and_micro),
        cmocka_unit_test(threads_may_record_at_the_same_time),
        cmocka_unit_test(the_stack_of_a_call_begins_with_its_caller),
        cmocka_unit_test(a_stack_and_arguments_that_the_program_tells_are_read_back),
        cmocka_unit_test(going_to_and_fro_reads_a_chunk_once),
        cmocka_unit_test(a_step_of_a_long_trace_is_found_with_few_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
