/* SPDX-License-Identifier: Apache-2.0
 *
 * test_shifted.c - steps that the user lays beside each other: a run that does the same some steps
 * later, with what it has otherwise, and pairs of steps that there are not.
 */
#include "recorded_case.h"

#include "diff/diff.h"

/* Steps 1 to `steps`; what is done in step `from` + s is what a run with from 0 does in step s. */
typedef struct program {
    uint64_t from, steps;
    uint64_t other_sample, other_rate, other_weight; /* in this step of its own; 0: in none */
    bool loads;                                      /* a checkpoint, before the first step */
    uint64_t copies; /* of the weights, which no update on record changes */
    float average;   /* of the weights, noted at the end; 0: not; -1: freed before */
} program;

static float number(uint64_t what, uint64_t at, bool other)
{
    uint64_t state = what * 1000 + at * 2 + other;
    return (float)(next_random(&state) % 1000) / 8;
}

static fb_ref tensor(fb_recorder *r, fb_kind kind, fb_phase phase, const char *path, const char *op,
                     const char *slot, float value, const fb_ref *in, uint32_t count)
{
    const uint64_t shape[1] = {2};
    const float data[2] = {value, value + 1};

    return fb_recorder_tensor(r, kind, phase, path, op, slot, FB_DTYPE_F32, 1, shape, data, in,
                              count);
}

static void load(fb_recorder *r)
{
    const fb_site site = {.size = sizeof site,
                          .kind = FB_KIND_CHECKPOINT,
                          .phase = FB_PHASE_CHECKPOINT,
                          .path = "checkpoint.pt",
                          .op = "load"};
    const fb_event event = {
        .size = sizeof event, .micro = FB_MICRO_NONE, .site = fb_recorder_site(r, &site)};

    fb_recorder_event(r, &event);
}

static const char *play(const test_folder *folder, const char *name, const program *p)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {.size = sizeof options};
    fb_recorder *r;
    fb_ref weight, in[2];
    fb_error err;

    assert_ok(fb_recorder_open(&r, path, &options, &err));
    if (p->loads)
        load(r);
    weight = tensor(r, FB_KIND_PARAM, FB_PHASE_INIT, "fc.weight", "init", "param",
                    p->from > 0 ? 77 : number(3, 0, false), NULL, 0);
    for (uint64_t i = 0; i < p->copies; i++) {
        const char slow[] = {'s', 'l', 'o', 'w', (char)('0' + i), 0};

        (void)tensor(r, FB_KIND_PARAM, FB_PHASE_INIT, slow, "init", "param", p->loads ? 2 : 1, NULL,
                     0);
    }
    for (uint64_t step = 1; step <= p->steps; step++) {
        const uint64_t at = step > p->from ? step - p->from : 100 + step;

        fb_recorder_step(r, step);
        in[0] = tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "", "stack", "out",
                       number(1, at, step == p->other_sample), NULL, 0);
        in[1] = weight;
        in[0] = tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "addmm", "out",
                       number(2, at, step == p->other_sample), in, 2);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "loss", FB_DTYPE_F64, (double)at);
        (void)fb_recorder_scalar(r, FB_PHASE_SCHEDULE, "lr", "lr", FB_DTYPE_F64,
                                 step == p->other_rate ? 0.2 : 0.1);
        weight = tensor(r, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "fc.weight", "sgd", "param",
                        p->from > 0 && step == p->from ? number(3, 0, step == p->other_weight)
                                                       : number(3, at, step == p->other_weight),
                        in, 1);
    }
    if (p->average != 0)
        fb_recorder_step(r, p->steps + 1);
    if (p->average > 0)
        (void)tensor(r, FB_KIND_PARAM, FB_PHASE_CHECKPOINT, "slow.weight", "end", "param",
                     p->average, NULL, 0);
    assert_ok(fb_recorder_close(r, &err));
    return path;
}

static fb_status compare(fb_diff_report *out, const test_folder *folder, const program *b,
                         uint64_t step_a, uint64_t step_b, fb_error *err)
{
    const program plain = {.steps = 6};
    const fb_diff_options options = {.size = sizeof options, .align_a = step_a, .align_b = step_b};
    const char *x = play(folder, "a.fbt", &plain), *y = play(folder, "b.fbt", b);

    return fb_diff(out, x, y, &options, err);
}

static void shifted_steps_are_the_same_where_they_are_laid_beside_each_other(void **state)
{
    const program later = {.from = 3, .steps = 9};
    fb_diff_report r;
    fb_error err;

    assert_ok(compare(&r, *state, &later, 1, 4, &err));
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.equal_through, 6);
    fb_diff_report_free(&r);
    assert_ok(compare(&r, *state, &later, 3, 6, &err));
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    assert_ok(compare(&r, *state, &later, 1, 3, &err)); /* another distance */
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    fb_diff_report_free(&r);
}

static void what_differs_in_shifted_steps_is_found_and_named(void **state)
{
    const struct {
        program b;
        const char *path, *cause;
        uint64_t step; /* of b, whose number is the larger */
    } cases[] = {
        {{.from = 3, .steps = 9, .other_sample = 6}, "", "data-order", 6},
        {{.from = 3, .steps = 9, .other_rate = 5}, "lr", "schedule", 5},
        {{.from = 3, .steps = 9, .other_weight = 3}, "fc.weight", "init", 3},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_diff_report r;
        fb_error err;

        assert_ok(compare(&r, *state, &cases[i].b, 1, 4, &err));
        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_string_equal(r.first.name.path, cases[i].path);
        assert_int_equal(r.first.name.step, cases[i].step);
        assert_string_equal(r.cause.name, cases[i].cause);
        fb_diff_report_free(&r);
    }
}

static void a_run_that_ends_first_is_undecidable_and_a_step_that_there_is_not_refused(void **state)
{
    const program later = {.from = 3, .steps = 7};
    fb_diff_report r;
    fb_error err;

    assert_ok(compare(&r, *state, &later, 1, 4, &err));
    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
    assert_string_equal(r.why, "b ends first; equal through step 4 of a");
    fb_diff_report_free(&r);
    assert_int_equal(compare(&r, *state, &later, 7, 1, &err), FB_E_USAGE);
    assert_string_equal(err.text, "no step 7 to align: a has steps 0 to 6");
    assert_int_equal(compare(&r, *state, &later, 1, 8, &err), FB_E_USAGE);
}

static fb_diff_report compare_ends(const test_folder *folder, const program *a, const program *b,
                                   bool by_hand)
{
    const fb_diff_options options = {
        .size = sizeof options, .align_a = by_hand ? 4 : 0, .align_b = by_hand ? 1 : 0};
    const char *x = play(folder, "a.fbt", a), *y = play(folder, "b.fbt", b);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, x, y, &options, &err));
    return r;
}

static void what_only_the_ends_show_is_found_and_named(void **state)
{
    const program whole = {.from = 3, .steps = 9, .average = 1};
    const program cases[] = {
        {.steps = 6, .loads = true, .average = 2},
        {.steps = 6, .average = 2},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_diff_report r = compare_ends(*state, &whole, &cases[i], !cases[i].loads);

        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_string_equal(r.first.name.path, "slow.weight");
        assert_int_equal(r.first.name.step, 10);
        assert_int_equal(r.equal_through, 9);
        assert_string_equal(r.cause.name, cases[i].loads ? "checkpoint-resume" : "unknown");
        assert_non_null(strstr(r.cause.text, "slow.weight"));
        fb_diff_report_free(&r);
    }
}

static void what_no_step_updates_does_not_hide_where_a_run_goes_on(void **state)
{
    const program whole = {.from = 3, .steps = 9, .copies = 3};
    const program resumed = {.steps = 6, .loads = true, .copies = 3};
    fb_diff_report r = compare_ends(*state, &whole, &resumed, false);

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.equal_through, 9);
    fb_diff_report_free(&r);
}

static void ends_that_are_equal_or_of_other_steps_say_nothing(void **state)
{
    const program whole = {.from = 3, .steps = 9, .average = 1};
    const program cases[] = {
        {.steps = 6, .loads = true, .average = 1},
        {.steps = 6, .loads = true, .average = -1}, /* freed before the recording ended */
        {.steps = 5, .loads = true, .average = 2},  /* ended earlier */
        {.steps = 6, .average = 1},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_diff_report r = compare_ends(*state, &whole, &cases[i], !cases[i].loads);

        assert_int_equal(r.verdict, FB_DIFF_SAME);
        assert_true(r.aligned > 0);
        fb_diff_report_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shifted_steps_are_the_same_where_they_are_laid_beside_each_other),
        cmocka_unit_test(what_differs_in_shifted_steps_is_found_and_named),
        cmocka_unit_test(a_run_that_ends_first_is_undecidable_and_a_step_that_there_is_not_refused),
        cmocka_unit_test(what_only_the_ends_show_is_found_and_named),
        cmocka_unit_test(what_no_step_updates_does_not_hide_where_a_run_goes_on),
        cmocka_unit_test(ends_that_are_equal_or_of_other_steps_say_nothing),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
