/* SPDX-License-Identifier: Apache-2.0
 *
 * test_expect.c - an expected difference explains what it explains, and hides nothing else.
 */
#include "recorded_run.h"

#include "diff/expect.h"

static const fb_config_set other_lr = {"optimizer.adamw.lr", "0.005"};

static const char *run_with(test_folder *folder, const char *name, const fb_config_set *sets,
                            size_t count, const fb_fault *fault)
{
    return record(folder, name,
                  &(recording){.threads = 1,
                               .sets = sets,
                               .set_count = count,
                               .faults = fault,
                               .fault_count = fault != NULL});
}

/* a against b, with the keys expected to differ. */
static fb_diff_report compare(test_folder *folder, const char *a, const char *b, const char *key)
{
    const char *made = in_folder(folder, "made.fbt");
    const fb_diff_options options = {.size = sizeof options, .data = folder->path};
    fb_diff_list expected;
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_expect_record(made, a, b, &key, 1, &options, &expected, &err));
    assert_true(expected.count > 0);
    assert_ok(fb_diff(&r, made, b, &options, &err));
    assert_ok(fb_expect_tell(&r, a, &expected, &err));
    assert_string_equal(r.name_a, a);
    return r;
}

static void an_expected_rate_explains_everything(void **state)
{
    const char *a = run_with(*state, "a.fbt", NULL, 0, NULL);
    const char *b = run_with(*state, "b.fbt", &other_lr, 1, NULL);
    const char *const keys[] = {"optimizer.adamw.lr", "optimizer.adamw", "optimizer"};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        fb_diff_report r = compare(*state, a, b, keys[i]);

        assert_int_equal(r.verdict, FB_DIFF_SAME);
        assert_int_equal(r.expected.count, 1);
        assert_memory_equal(r.expected.at[0], "optimizer.adamw.lr ", 19);
        fb_diff_report_free(&r);
    }
}

/* The rates part at step 1; the flip at step 6 is what is left. */
static void what_the_rate_does_not_explain_is_found(void **state)
{
    const fb_fault flip = {.kind = FB_FAULT_FLIP,
                           .step = 6,
                           .path = "h.1.mlp.fc",
                           .slot = "out",
                           .element = 3,
                           .bit = 21};
    const char *a = run_with(*state, "a.fbt", NULL, 0, NULL);
    const char *b = run_with(*state, "b.fbt", &other_lr, 1, &flip);
    fb_diff_report r = compare(*state, a, b, "optimizer.adamw.lr");

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 6);
    assert_string_equal(r.first.name.path, "h.1.mlp.fc");
    assert_string_equal(r.cause.name, "bit-flip");
    assert_true(r.cause.confirmed);
    fb_diff_report_free(&r);
}

static void another_key_is_still_a_difference(void **state)
{
    const fb_config_set sets[] = {other_lr, {"clip", "0.01"}};
    const char *a = run_with(*state, "a.fbt", NULL, 0, NULL);
    const char *b = run_with(*state, "b.fbt", sets, 2, NULL);
    fb_diff_report r = compare(*state, a, b, "optimizer.adamw.lr");

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_string_equal(r.cause.name, "config");
    assert_non_null(strstr(r.cause.text, "clip"));
    fb_diff_report_free(&r);
}

static void an_element_of_a_list_can_be_expected(void **state)
{
    const fb_config_set betas = {"optimizer.adamw.betas", "[0.8, 0.999]"};
    const char *a = run_with(*state, "a.fbt", NULL, 0, NULL);
    const char *b = run_with(*state, "b.fbt", &betas, 1, NULL);
    fb_diff_report r = compare(*state, a, b, "optimizer.adamw.betas[0]");

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void a_seed_can_be_expected(void **state)
{
    const fb_config_set seed = {"seed", "43"};
    const char *a = run_with(*state, "a.fbt", NULL, 0, NULL);
    const char *b = run_with(*state, "b.fbt", &seed, 1, NULL);
    fb_diff_report r = compare(*state, a, b, "seed");

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

/* A run that went on from a checkpoint, on either side: a is made again from its beginning, since
 * its checkpoint holds what the old rate made. */
static void a_rate_of_resumed_runs_can_be_expected(void **state)
{
    const fb_fault flip = {
        .kind = FB_FAULT_FLIP, .step = 7, .path = "ln", .slot = "out", .element = 3, .bit = 21};
    const test_folder *folder = *state;
    const char *key = "optimizer.adamw.lr";
    const recording slow = {.threads = 1, .checkpoints = true};
    const recording fast = {.threads = 1, .checkpoints = true, .sets = &other_lr, .set_count = 1};
    char of_a[192], of_b[192];
    fb_diff_report r;

    (void)record(folder, "slow.fbt", &slow);
    (void)record(folder, "fast.fbt", &fast);
    (void)snprintf(of_a, sizeof of_a, "%s/slow.ckpt/step-00000003.safetensors", folder->path);
    (void)snprintf(of_b, sizeof of_b, "%s/fast.ckpt/step-00000003.safetensors", folder->path);
    const char *a = record_resumed(folder, "a.fbt", of_a, 3, NULL);
    const char *b = record_resumed_with(folder, "b.fbt", of_b, 3, NULL, &other_lr, 1);
    const char *c = record_resumed_with(folder, "c.fbt", of_b, 3, &flip, &other_lr, 1);

    r = compare(*state, a, b, key);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.equal_through, 8);
    fb_diff_report_free(&r);
    r = compare(*state, in_folder(folder, "slow.fbt"), b, key);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    r = compare(*state, a, c, key);
    assert_int_equal(r.first.name.step, 7);
    assert_string_equal(r.cause.name, "bit-flip");
    fb_diff_report_free(&r);
}

static void equal_keys_make_nothing(void **state)
{
    const char *a = run_with(*state, "a.fbt", NULL, 0, NULL);
    const char *b = run_with(*state, "b.fbt", &other_lr, 1, NULL);
    const char *made = in_folder(*state, "made.fbt"), *key = "clip";
    fb_diff_list expected;
    fb_error err;

    assert_ok(fb_expect_record(made, a, b, &key, 1, NULL, &expected, &err));
    assert_int_equal(expected.count, 0);
    assert_int_not_equal(access(made, F_OK), 0);
}

static void what_cannot_be_applied_is_refused(void **state)
{
    const fb_config_set sgd = {"optimizer", "{\"sgd\": {\"lr\": 0.1}}"};
    const char *a = run_with(*state, "a.fbt", NULL, 0, NULL);
    const char *b = run_with(*state, "b.fbt", &sgd, 1, NULL);
    const char *made = in_folder(*state, "made.fbt"), *other = in_folder(*state, "other.fbt");
    const char *const wrong[] = {"optimizer.adamw.lx", "optimizer.adamw.betas[7]", "", "clip.x"};
    const char *optimizer = "optimizer";
    fb_diff_list expected;
    fb_recorder *recorder;
    fb_error err;

    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(fb_expect_record(made, a, b, &wrong[i], 1, NULL, &expected, &err),
                         FB_E_USAGE);
        assert_non_null(strstr(err.text, "no such key"));
    }
    assert_int_equal(fb_expect_record(made, a, b, &optimizer, 1, NULL, &expected, &err),
                     FB_E_UNSUPPORTED);
    assert_ok(fb_recorder_open(&recorder, other, NULL, &err));
    assert_ok(fb_recorder_close(recorder, &err));
    assert_int_equal(fb_expect_record(made, a, other, &optimizer, 1, NULL, &expected, &err),
                     FB_E_UNSUPPORTED);
    assert_int_not_equal(access(made, F_OK), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up_folder, tear_down_folder)
    const struct CMUnitTest tests[] = {
        CASE(an_expected_rate_explains_everything),
        CASE(what_the_rate_does_not_explain_is_found),
        CASE(another_key_is_still_a_difference),
        CASE(an_element_of_a_list_can_be_expected),
        CASE(a_seed_can_be_expected),
        CASE(a_rate_of_resumed_runs_can_be_expected),
        CASE(equal_keys_make_nothing),
        CASE(what_cannot_be_applied_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
