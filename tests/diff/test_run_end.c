/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run_end.c - a run that only ends earlier than another, with what programs do behind their
 * last update: equal until it ends, whichever that is, and neither the same nor different.
 */
#include "recorded_run.h"

#include <sys/wait.h>

#include "diff/diff.h"

/* What a program does behind its last update. */
typedef enum ending {
    NOTHING,
    FETCHES,   /* a batch that it does not use */
    EVALUATES, /* other samples, another mode, draws of its own */
    STOPS,     /* in the middle of the next pass, whose gradients are there */
} ending;

typedef struct program {
    uint64_t updates;
    ending end;
    uint64_t wrong;  /* an op gives another result in this step; 0: in none */
    bool wrong_last; /* behind the last update */
    bool killed;     /* the trace is torn */
    fb_level level;
} program;

static void batch(fb_recorder *r, uint64_t step, const char *dataset)
{
    const uint64_t indices[2] = {2 * step, 2 * step + 1};

    (void)fb_recorder_sample(r, dataset, FB_ROLE_UNKNOWN, 0, indices, 2, &step, sizeof step);
}

static fb_ref forward(fb_recorder *r, uint64_t step, bool wrong)
{
    const float out[2] = {(float)step, wrong ? 2 : 1};

    (void)fb_recorder_draw(r, FB_PHASE_FORWARD, "torch", "mt19937", 7, step, 2, "bernoulli", "drop",
                           FB_DTYPE_NONE, NULL);
    return fb_recorder_f32(r, FB_PHASE_FORWARD, "fc", "addmm", out, 2, 0);
}

static void backward(fb_recorder *r, uint64_t step)
{
    const float grad[2] = {(float)step, 3};

    (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "loss", FB_DTYPE_F32, 1.0 / (double)step);
    (void)fb_recorder_f32(r, FB_PHASE_BACKWARD, "fc.weight", "grad", grad, 2, 0);
}

static void update(fb_recorder *r, uint64_t step)
{
    const float weight[2] = {(float)step, 5};

    (void)fb_recorder_scalar(r, FB_PHASE_OPTIMIZER, "optimizer0", "lr", FB_DTYPE_F64, 0.1);
    (void)fb_recorder_f32(r, FB_PHASE_OPTIMIZER, "fc.weight", "sgd", weight, 2, 0);
}

/* Where the generators stand is told when the program ends. */
static void leave(fb_recorder *r, uint64_t step)
{
    (void)fb_recorder_draw(r, FB_PHASE_DATA, "torch", "mt19937", 7, 1000 + step, 0, "state",
                           "state", FB_DTYPE_NONE, NULL);
}

static void go(fb_recorder *r, const program *p)
{
    const uint64_t last = p->updates + 1;

    for (uint64_t step = 1; step <= p->updates; step++) {
        fb_recorder_step(r, step);
        batch(r, step, "train");
        (void)forward(r, step, step == p->wrong);
        backward(r, step);
        update(r, step);
    }
    fb_recorder_step(r, last);
    if (p->end == FETCHES || p->end == STOPS)
        batch(r, last, "train");
    if (p->end == EVALUATES)
        batch(r, 77, "held out");
    if (p->end == EVALUATES || p->end == STOPS)
        (void)forward(r, p->end == STOPS ? last : 99, p->wrong_last);
    if (p->end == STOPS)
        backward(r, last);
}

static const char *play(const test_folder *folder, const char *name, const program *p)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {.size = sizeof options, .level = p->level};
    const pid_t child = p->killed ? fork() : 0;
    fb_recorder *r;
    fb_error err;
    int status;

    if (child != 0) {
        assert_int_equal(waitpid(child, &status, 0), child);
        return path;
    }
    assert_ok(fb_recorder_open(&r, path, &options, &err));
    go(r, p);
    if (p->killed)
        _exit(0);
    leave(r, p->updates + 1);
    assert_ok(fb_recorder_close(r, &err));
    return path;
}

static fb_diff_report compare(const test_folder *folder, const program *a, const program *b,
                              bool prefix)
{
    const fb_diff_options options = {.size = sizeof options, .prefix = prefix};
    const char *x = play(folder, "a.fbt", a), *y = play(folder, "b.fbt", b);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, x, y, &options, &err));
    return r;
}

/* --- Claims ----------------------------------------------------------------------------------- */

static void a_run_that_only_ends_earlier_is_undecidable_and_a_prefix_where_asked(void **state)
{
    const fb_level levels[] = {FB_LEVEL_OPS, FB_LEVEL_DRAWS};

    for (size_t k = 0; k < COUNT_OF(levels); k++)
        for (int end = NOTHING; end <= STOPS; end++)
            for (int side = 0; side < 2; side++) {
                const program few = {.updates = 4, .end = (ending)end, .level = levels[k]};
                const program many = {.updates = 9, .level = levels[k]};
                fb_diff_report r = compare(*state, side ? &many : &few, side ? &few : &many, false);

                assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
                assert_string_equal(r.why, side ? "b ends first; equal through step 4"
                                                : "a ends first; equal through step 4");
                assert_true(r.has_equal_through);
                assert_int_equal(r.equal_through, 4);
                assert_false(r.has_first);
                fb_diff_report_free(&r);
                r = compare(*state, side ? &many : &few, side ? &few : &many, true);
                assert_int_equal(r.verdict, FB_DIFF_SAME);
                assert_int_equal(r.equal_through, 4);
                fb_diff_report_free(&r);
            }
}

static void a_difference_before_the_end_is_still_found(void **state)
{
    for (int end = NOTHING; end <= STOPS; end++) {
        const program few = {.updates = 4, .end = (ending)end, .wrong = 3}, many = {.updates = 9};
        fb_diff_report r = compare(*state, &few, &many, true);

        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_int_equal(r.first.name.step, 3);
        assert_string_equal(r.first.name.path, "fc");
        fb_diff_report_free(&r);
    }
}

static void a_difference_in_a_pass_that_was_broken_off_is_found(void **state)
{
    const program few = {.updates = 4, .end = STOPS, .wrong_last = true}, many = {.updates = 9};
    fb_diff_report r = compare(*state, &few, &many, false);

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 5);
    assert_string_equal(r.first.name.path, "fc");
    fb_diff_report_free(&r);
}

/* The same number of passes, of which one run makes nothing of the last: it was forgotten. */
static void a_missing_last_update_is_a_difference(void **state)
{
    const program few = {.updates = 4, .end = STOPS}, many = {.updates = 5};
    fb_diff_report r = compare(*state, &few, &many, true);

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 5);
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    fb_diff_report_free(&r);
}

static void a_torn_trace_is_compared_to_where_the_shorter_of_the_two_ends(void **state)
{
    for (int end = NOTHING; end <= STOPS; end++) {
        const program few = {.updates = 4, .end = (ending)end};
        const program torn = {.updates = 9, .end = FETCHES, .killed = true};
        const program wrong = {.updates = 9, .wrong = 4, .killed = true};
        fb_diff_report r = compare(*state, &few, &torn, false);

        assert_int_equal(r.status_b, FB_TRACE_TORN);
        assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
        assert_int_equal(r.equal_through, 4);
        fb_diff_report_free(&r);
        r = compare(*state, &few, &wrong, true);
        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_int_equal(r.first.name.step, 4);
        fb_diff_report_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_only_ends_earlier_is_undecidable_and_a_prefix_where_asked),
        cmocka_unit_test(a_difference_before_the_end_is_still_found),
        cmocka_unit_test(a_difference_in_a_pass_that_was_broken_off_is_found),
        cmocka_unit_test(a_missing_last_update_is_a_difference),
        cmocka_unit_test(a_torn_trace_is_compared_to_where_the_shorter_of_the_two_ends),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
