/* SPDX-License-Identifier: Apache-2.0
 *
 * test_earlier.c - what is read in a later step than the one in which it was made: the step that
 * made it is the first to differ, and not the one that trains on it.
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

static void train(tape *t, twist how, float batch, fb_ref read)
{
    const bool other = how == OTHER_OP || how == OTHER_NUMBER_AND_OP;
    const float out = batch * (t->step == READ_AT && other ? 3 : 2);
    fb_ref made = compute(t, FB_PHASE_FORWARD, "fc", "addmm", "out", out, &read, 1);

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_enters_early_and_is_read_late_is_blamed_where_it_enters),
        cmocka_unit_test(what_enters_and_is_read_by_nothing_is_a_note),
        cmocka_unit_test(a_note_of_an_earlier_step_takes_no_blame_for_a_later_one),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
