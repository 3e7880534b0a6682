/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_inputs.c - what an op reads: something of an earlier step, which is then the first
 * to differ, and not the op that trains on it; another event than in the other run, which is then
 * named.
 */
#include "recorded_case.h"

#include "diff/diff.h"

enum { STEPS = 4, READ_AT = 2 };

typedef enum twist {
    PLAIN,
    OTHER_BATCH,         /* what step 0 puts together, and step 2 trains on, differs */
    OTHER_NUMBER,        /* what step 0 prints differs */
    OTHER_OP,            /* step 2 computes otherwise */
    OTHER_NUMBER_AND_OP, /* both */
    EXCHANGED,           /* step 2 reads two results in the other order */
    OTHER_TOLD,          /* a number made beside the model, which nothing reads, differs */
    OTHER_KEPT,          /* so does a tensor that is made and kept there */
    EQUAL,               /* the two results are equal */
    EQUAL_EXCHANGED,     /* as EXCHANGED, and the op computes otherwise */
} twist;

static fb_ref compute(tape *t, fb_phase phase, const char *path, const char *op, const char *slot,
                      float value, const fb_ref *inputs, uint32_t count)
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
                  .shape = {1}},
        (fb_event){
            .data = &value, .data_bytes = sizeof value, .inputs = inputs, .input_count = count});
}

/* A tensor that the program makes of numbers of its own, and an op on it. */
static fb_ref enter(tape *t, const char *op, float value)
{
    const fb_ref in = compute(t, FB_PHASE_INIT, "", op, "in0", value, NULL, 0);

    return compute(t, FB_PHASE_INIT, "", op, "out", value, &in, 1);
}

/* Two results put together, weighed by their places. */
static fb_ref put_together(tape *t, twist how, float *batch, fb_ref read)
{
    const bool equal = how == EQUAL || how == EQUAL_EXCHANGED;
    const bool swapped = t->step == READ_AT && (how == EXCHANGED || how == EQUAL_EXCHANGED);
    const float x = *batch, y = equal ? *batch : *batch + 2;
    const fb_ref plain[2] = {compute(t, FB_PHASE_FORWARD, "", "sin", "out", x, &read, 1),
                             compute(t, FB_PHASE_FORWARD, "", "cos", "out", y, &read, 1)};
    const fb_ref other[2] = {plain[1], plain[0]};

    *batch = swapped ? 2 * y + x + (float)equal : 2 * x + y;
    return compute(t, FB_PHASE_FORWARD, "", "cat", "out", *batch, swapped ? other : plain, 2);
}

/* `n` numbers made of what entered from outside, and read by nothing. */
static void keep_beside(tape *t, const char *op, uint64_t n, bool other)
{
    const float values[4] = {other ? 9.0f : 8.0f};
    const fb_ref in = compute(t, FB_PHASE_FORWARD, "", op, "in0", 1, NULL, 0);

    (void)report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = FB_PHASE_FORWARD,
                  .path = "",
                  .op = op,
                  .slot = "out",
                  .dtype = FB_DTYPE_F32,
                  .rank = 1,
                  .shape = {n}},
        (fb_event){
            .data = values, .data_bytes = n * sizeof *values, .inputs = &in, .input_count = 1});
}

static void train(tape *t, twist how, float batch, fb_ref read)
{
    const bool other = how == OTHER_OP || how == OTHER_NUMBER_AND_OP;
    fb_ref made = put_together(t, how, &batch, read);
    const float out = batch * (t->step == READ_AT && other ? 3 : 2);

    keep_beside(t, "mean", 1, t->step == READ_AT && how == OTHER_TOLD);
    keep_beside(t, "lerp", 4, t->step == READ_AT && how == OTHER_KEPT);
    made = compute(t, FB_PHASE_FORWARD, "fc", "addmm", "out", out, &made, 1);

    made = compute(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", out / 2, &made, 1);
    scalar(t, FB_PHASE_LOSS, "loss", "out", (double)out);
    (void)report(t,
                 (fb_site){.kind = FB_KIND_PARAM,
                           .phase = FB_PHASE_OPTIMIZER,
                           .path = "fc.weight",
                           .op = "sgd",
                           .slot = "param",
                           .dtype = FB_DTYPE_F32,
                           .rank = 1,
                           .shape = {1}},
                 (fb_event){.data = &out, .data_bytes = 4, .inputs = &made, .input_count = 1});
}

/* The batch of step 2 is made in step 0 and put together in step 1. */
static const char *play(const test_folder *folder, const char *name, twist how)
{
    const char *path = in_folder(folder, name);
    const float batch = how == OTHER_BATCH ? 5 : 4;
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    tape t = {0};
    fb_ref kept;
    fb_error err;

    assert_ok(fb_recorder_open(&t.recorder, path, &options, &err));
    (void)enter(&t, "mean", how == OTHER_NUMBER || how == OTHER_NUMBER_AND_OP ? 8 : 7);
    kept = enter(&t, "cat", batch);
    for (t.step = 1; t.step <= STEPS; t.step++) {
        fb_recorder_step(t.recorder, t.step);
        t.known_count = 0;
        if (t.step < READ_AT)
            kept = compute(&t, FB_PHASE_FORWARD, "", "stack", "out", batch, &kept, 1);
        train(&t, how, t.step == READ_AT ? batch : 1,
              t.step == READ_AT ? kept
                                : compute(&t, FB_PHASE_FORWARD, "", "ones", "out", 1, NULL, 0));
    }
    assert_ok(fb_recorder_close(t.recorder, &err));
    return path;
}

static fb_diff_report compare(const test_folder *folder, twist a, twist b)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    const char *x = play(folder, "a.fbt", a);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, x, play(folder, "b.fbt", b), &options, &err));
    return r;
}

static void what_enters_early_and_is_read_late_is_blamed_where_it_enters(void **state)
{
    fb_diff_report r = compare(*state, PLAIN, OTHER_BATCH);

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 0);
    assert_string_equal(r.first.name.op, "cat");
    assert_string_equal(r.first.name.slot, "in0");
    assert_string_equal(r.cause.name, "data-content");
    assert_false(r.has_equal_through);
    assert_int_equal(r.notes.count, 0); /* none says that nothing uses it */
    fb_diff_report_free(&r);
}

static void what_enters_and_is_read_by_nothing_is_a_note(void **state)
{
    fb_diff_report r = compare(*state, PLAIN, OTHER_NUMBER);

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.notes.count, 1);
    fb_diff_report_free(&r);
}

static void a_note_of_an_earlier_step_takes_no_blame_for_a_later_one(void **state)
{
    static const twist faults[] = {OTHER_OP, OTHER_NUMBER_AND_OP};

    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        fb_diff_report r = compare(*state, PLAIN, faults[i]);

        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_int_equal(r.first.name.step, READ_AT);
        assert_string_equal(r.first.name.op, "addmm");
        assert_int_equal(r.notes.count, i);
        fb_diff_report_free(&r);
    }
}

static void an_op_that_reads_another_event_is_said_to(void **state)
{
    fb_diff_report r = compare(*state, PLAIN, EXCHANGED);

    assert_int_equal(r.first.name.step, READ_AT);
    assert_string_equal(r.first.name.op, "cat");
    assert_non_null(
        strstr(r.cause.text, "has its operands exchanged: sin, cos in a | cos, sin in b"));
    fb_diff_report_free(&r);
    r = compare(*state, EQUAL, EQUAL_EXCHANGED); /* equal numbers are equal, whoever made them */
    assert_string_equal(r.first.name.op, "cat");
    assert_non_null(strstr(r.cause.text, "all that it is computed from is equal"));
    fb_diff_report_free(&r);
}

static void a_number_that_is_printed_is_a_note_and_a_tensor_that_is_kept_is_not(void **state)
{
    fb_diff_report r = compare(*state, PLAIN, OTHER_TOLD);

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.notes.count, 1);
    fb_diff_report_free(&r);
    r = compare(*state, PLAIN, OTHER_KEPT);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_string_equal(r.first.name.op, "lerp");
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_enters_early_and_is_read_late_is_blamed_where_it_enters),
        cmocka_unit_test(what_enters_and_is_read_by_nothing_is_a_note),
        cmocka_unit_test(a_note_of_an_earlier_step_takes_no_blame_for_a_later_one),
        cmocka_unit_test(an_op_that_reads_another_event_is_said_to),
        cmocka_unit_test(a_number_that_is_printed_is_a_note_and_a_tensor_that_is_kept_is_not),
    };

    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
