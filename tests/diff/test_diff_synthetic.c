/* SPDX-License-Identifier: Apache-2.0
 *
 * test_diff_synthetic.c - causes that diff names in traces that a program records by itself: from
 * the environment, and from signatures.
 */
#include "made_up_program.h"

/* --- Causes from the environment ---------------------------------------------------------------
 */

/* Threads change the order of a sum; a hash seed, a language, a kernel of the system do not. */
static void only_what_changes_sums_is_blamed_on_the_environment(void **state)
{
    static const struct {
        const char *a, *b, *wrong, *cause;
    } cases[] = {
        {"{\"environment\":{\"threads\":1}}", "{\"environment\":{\"threads\":2}}", "fc",
         "environment"},
        {"{\"environment\":{\"variables\":{\"PYTHONHASHSEED\":\"1\"}}}",
         "{\"environment\":{\"variables\":{\"PYTHONHASHSEED\":\"2\"}}}", "fc", "forward-op"},
        {"{\"environment\":{\"kernel\":\"5.1\"}}", "{\"environment\":{\"kernel\":\"6.1\"}}",
         "fc.bias.grad", "backward-op"},
        {"{\"environment\":{\"variables\":{\"LANG\":\"C\"},\"threads\":1}}",
         "{\"environment\":{\"variables\":{\"LANG\":\"D\"},\"threads\":2}}", "fc", "environment"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const twist plain = {.header = cases[i].a};
        const twist other = {.step = 3, .wrong = cases[i].wrong, .header = cases[i].b};
        const char *a = play(*state, "a.fbt", &plain);
        fb_diff_report r = compare_with(a, play(*state, "b.fbt", &other), (fb_diff_options){0});

        assert_likely(&r, cases[i].cause);
        fb_diff_report_free(&r);
    }
}

/* Versions of the engine that compute otherwise; with one fingerprint they do not. */
static void another_version_of_the_engine_is_code_unless_its_kernels_are_the_same(void **state)
{
#define ENGINE "{\"configuration\":{},\"contract\":1,\"environment\":{\"isa\":\"avx2\"},"
    static const struct {
        const char *b, *cause;
    } cases[] = {
        {ENGINE "\"fingerprint\":\"02\",\"version\":\"0.2\"}", "code"},
        {ENGINE "\"fingerprint\":\"01\",\"version\":\"0.2\"}", "forward-op"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const twist plain = {.header = ENGINE "\"fingerprint\":\"01\",\"version\":\"0.1\"}"};
        const twist other = {.step = 3, .wrong = "fc", .header = cases[i].b};
        const char *a = play(*state, "a.fbt", &plain);
        fb_diff_report r =
            compare_with(a, play(*state, "b.fbt", &other), (fb_diff_options){.no_replay = true});

        assert_first(&r, 3, "fc", "out");
        assert_likely(&r, cases[i].cause);
        fb_diff_report_free(&r);
    }
#undef ENGINE
}

/* The first draw of all finds the generator in another state: that is the seed. Later it is not. */
static void another_state_at_the_first_draw_is_a_seed(void **state)
{
    for (uint64_t at = 0; at < 3; at += 2) {
        const twist t = {.step = at, .other_state = true};
        fb_diff_report r = compare(*state, &t);

        assert_int_equal(r.first.name.step, at);
        assert_int_equal(r.first.name.kind, FB_KIND_DRAW);
        assert_likely(&r, at == 0 ? "rng-seed" : "rng-offset");
        fb_diff_report_free(&r);
    }
}

/* --- Causes from signatures ------------------------------------------------------------------- */

static void a_wrong_result_is_named_after_its_phase(void **state)
{
    static const struct {
        const char *wrong, *path, *slot, *cause;
    } cases[] = {
        {"ln", "ln", "out", "forward-op"},
        {"fc", "fc", "out", "forward-op"},
        {"fc.weight.grad", "fc.weight", "grad", "backward-op"},
        {"fc.bias.grad", "fc.bias", "grad", "backward-op"},
        {"fc.weight.grad.clip", "fc.weight", "grad.clip", "clipping"},
        {"fc.weight.param", "fc.weight", "param", "optimizer-formula"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_diff_report r = compare(*state, &(twist){.step = 3, .wrong = cases[i].wrong});

        assert_first(&r, 3, cases[i].path, cases[i].slot);
        assert_likely(&r, cases[i].cause);
        assert_int_equal(r.equal_through, 2);
        fb_diff_report_free(&r);
    }
}

static void another_learning_rate_is_a_schedule(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .other_lr = true});

    assert_first(&r, 2, "lr", "lr");
    assert_likely(&r, "schedule");
    assert_true(r.first.has_value);
    assert_true(r.first.a.number == 0.1 && r.first.b.number == 0.2);
    fb_diff_report_free(&r);
}

static void exchanged_samples_are_an_order_and_other_contents_are_contents(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 4, .swap_samples = true});

    assert_int_equal(r.first.name.kind, FB_KIND_SAMPLE);
    assert_likely(&r, "data-order");
    assert_non_null(strstr(r.cause.text, "3 places"));
    fb_diff_report_free(&r);
    r = compare(*state, &(twist){.step = 4, .other_contents = true});
    assert_int_equal(r.first.name.kind, FB_KIND_SAMPLE);
    assert_likely(&r, "data-content");
    fb_diff_report_free(&r);
}

static void an_extra_draw_is_found_in_the_step_before_the_one_that_it_moves(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 3, .extra_draw = true});

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 3);
    assert_int_equal(r.first.name.kind, FB_KIND_DRAW);
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    assert_int_equal(r.equal_through, 2);
    assert_likely(&r, "rng-offset");
    assert_non_null(strstr(r.cause.text, "augmentation"));
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_changes_sums_is_blamed_on_the_environment),
        cmocka_unit_test(another_version_of_the_engine_is_code_unless_its_kernels_are_the_same),
        cmocka_unit_test(another_state_at_the_first_draw_is_a_seed),
        cmocka_unit_test(a_wrong_result_is_named_after_its_phase),
        cmocka_unit_test(another_learning_rate_is_a_schedule),
        cmocka_unit_test(exchanged_samples_are_an_order_and_other_contents_are_contents),
        cmocka_unit_test(an_extra_draw_is_found_in_the_step_before_the_one_that_it_moves),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
