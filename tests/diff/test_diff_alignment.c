/* SPDX-License-Identifier: Apache-2.0
 *
 * test_diff_alignment.c - diff on made-up events: what is inserted, missing, in another order, a
 * note, or cannot be compared; and what finding the first difference costs.
 */
#include "made_up_program.h"

/* --- Alignment -------------------------------------------------------------------------------- */

static void an_inserted_call_is_the_finding_not_what_follows_it(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .extra_call = true});

    assert_first(&r, 2, "shared.new", "out");
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    fb_diff_report_free(&r);
}

/* The call that is more takes the number of the one behind it: identity alone would blame that. */
static void an_inserted_call_of_a_site_is_told_from_the_calls_behind_it(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .extra_call_of_same = true});

    assert_first(&r, 2, "shared", "out");
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    assert_int_equal(r.first.name.occurrence, 1);
    assert_int_equal(r.unaligned, 1);
    fb_diff_report_free(&r);
}

static void an_equal_result_made_otherwise_is_a_note(void **state)
{
    static const twist twists[] = {{.step = 4, .other_input = true},
                                   {.step = 2, .extra_view = true}};

    for (size_t i = 0; i < COUNT_OF(twists); i++) {
        fb_diff_report r = compare(*state, &twists[i]);

        assert_int_equal(r.verdict, FB_DIFF_SAME);
        assert_true(r.notes.count >= 1);
        fb_diff_report_free(&r);
    }
}

static void an_equal_result_made_from_another_parameter_is_a_difference(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 4, .other_weight = true});

    assert_first(&r, 4, "fc", "out");
    assert_int_equal(r.first.what, FB_DIFF_INPUTS);
    fb_diff_report_free(&r);
}

static void a_missing_gradient_is_found(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 5, .missing_gradient = true});

    assert_first(&r, 5, "fc.bias", "grad");
    assert_int_equal(r.first.what, FB_DIFF_ONLY_A);
    fb_diff_report_free(&r);
}

static void the_order_of_arrival_is_no_difference(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .reordered = true});

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void wrappers_of_modules_are_no_difference(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .wrapped = true});

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    r = compare(*state, &(twist){.step = 2, .wrapped = true, .wrong = "fc"});
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 2);
    assert_string_equal(r.first.name.path, "fc");
    fb_diff_report_free(&r);
}

/* Blame follows the data, whatever the order in which events arrive. */
static void a_consumer_that_arrives_before_its_producer_is_not_blamed(void **state)
{
    static const fb_site sites[2] = {
        {.size = sizeof(fb_site),
         .kind = FB_KIND_TENSOR,
         .phase = FB_PHASE_FORWARD,
         .path = "consumer",
         .op = "linear",
         .slot = "out",
         .dtype = FB_DTYPE_F32},
        {.size = sizeof(fb_site),
         .kind = FB_KIND_TENSOR,
         .phase = FB_PHASE_FORWARD,
         .path = "producer",
         .op = "linear",
         .slot = "out",
         .dtype = FB_DTYPE_F32},
    };
    const fb_ref input = {.site = 1, .micro = FB_MICRO_NONE, .step = 0};
    char paths[2][160];
    fb_diff_report r;
    fb_error err;

    for (uint64_t side = 0; side < 2; side++) {
        fb_recorder *recorder;
        const fb_observer *o;
        const fb_event events[2] = {
            {.size = sizeof(fb_event),
             .site = 0,
             .micro = FB_MICRO_NONE,
             .hash = {10 + side, 1},
             .inputs = &input,
             .input_count = 1},
            {.size = sizeof(fb_event), .site = 1, .micro = FB_MICRO_NONE, .hash = {20 + side, 1}},
        };

        (void)snprintf(paths[side], sizeof paths[0], "%s", in_folder(*state, side ? "b" : "a"));
        assert_ok(fb_recorder_open(&recorder, paths[side], NULL, &err));
        o = fb_recorder_observer(recorder);
        for (uint32_t i = 0; i < 2; i++)
            assert_ok(o->on_site(o->self, i, &sites[i], &err));
        for (uint32_t i = 0; i < 2; i++)
            assert_ok(o->on_event(o->self, &events[i], &err));
        assert_ok(o->on_step_end(o->self, 0, &err));
        assert_ok(fb_recorder_close(recorder, &err));
    }
    r = compare_with(paths[0], paths[1], (fb_diff_options){0});
    assert_first(&r, 0, "producer", "out");
    fb_diff_report_free(&r);
}

/* --- Notes ------------------------------------------------------------------------------------ */

static void what_reaches_no_training_state_is_a_note(void **state)
{
    static const twist twists[] = {
        {.step = 2, .logged_tensor = true},
        {.step = 2, .extra_draw_of_other_stream = true},
        {.step = 6, .extra_draw = true}, /* no later step for it to move */
        {.step = 2, .throughput = true},
    };

    for (size_t i = 0; i < COUNT_OF(twists); i++) {
        fb_diff_report r = compare(*state, &twists[i]);

        assert_int_equal(r.verdict, FB_DIFF_SAME);
        assert_true(r.notes.count >= 1);
        fb_diff_report_free(&r);
        r = compare_with(in_folder(*state, "a.fbt"), in_folder(*state, "b.fbt"),
                         (fb_diff_options){.strict = true});
        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        fb_diff_report_free(&r);
    }
}

/* --- Nothing to say --------------------------------------------------------------------------- */

static void what_cannot_be_compared_is_never_the_same(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.no_events = true});

    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
    fb_diff_report_free(&r);
    r = compare(*state, &(twist){.steps = 3});
    fb_diff_report_free(&r);
    {
        const twist none = {.no_events = true};
        char a[160];

        (void)snprintf(a, sizeof a, "%s", play(*state, "a.fbt", &none));
        r = compare_with(a, play(*state, "b.fbt", &none), (fb_diff_options){0});
        assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
        fb_diff_report_free(&r);
    }
}

/* --- Torn traces ------------------------------------------------------------------------------ */

static void a_difference_in_an_unfinished_step_is_found_and_a_missing_rest_is_none(void **state)
{
    const twist plain = {.steps = 3, .width = 60000},
                bad = {.steps = 3, .width = 60000, .step = 3, .wrong = "fc"};
    const char *a = play(*state, "a.fbt", &plain), *torn = in_folder(*state, "torn.fbt");
    fb_diff_report r;

    cut_file(a, torn, 1500000); /* a step has some 1.2 MB in several chunks */
    for (int side = 0; side < 2; side++) {
        r = compare_with(side ? torn : a, side ? a : torn, (fb_diff_options){0});
        assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
        assert_int_equal(side ? r.status_a : r.status_b, FB_TRACE_TORN);
        fb_diff_report_free(&r);
    }
    cut_file(play(*state, "b.fbt", &bad), torn, 300000);
    r = compare_with(a, torn, (fb_diff_options){0});
    assert_int_equal(r.status_b, FB_TRACE_TORN);
    assert_first(&r, 3, "fc", "out");
    assert_int_equal(r.equal_through, 2);
    fb_diff_report_free(&r);
}

/* --- Cost ------------------------------------------------------------------------------------- */

static uint64_t bytes_to_find(const test_folder *folder, uint64_t steps, uint64_t *file_bytes)
{
    fb_diff_report r = compare(
        folder, &(twist){.steps = steps, .step = steps * 2 / 3, .width = 40, .wrong = "fc"});
    const uint64_t bytes = r.bytes_read;
    FILE *file = fopen(in_folder(folder, "a.fbt"), "rb");

    assert_first(&r, steps * 2 / 3, "fc", "out");
    fb_diff_report_free(&r);
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *file_bytes = (uint64_t)ftell(file);
    fclose(file);
    return bytes;
}

static void the_first_difference_is_found_in_logarithmic_bytes(void **state)
{
    uint64_t small_file, large_file;
    const uint64_t small = bytes_to_find(*state, 500, &small_file);
    const uint64_t large = bytes_to_find(*state, 8000, &large_file);

    print_message("%llu of 2 x %llu bytes, %llu of 2 x %llu bytes\n", (unsigned long long)small,
                  (unsigned long long)small_file, (unsigned long long)large,
                  (unsigned long long)large_file);
    assert_true(large_file > 12 * small_file);
    assert_true(large < 4 * small);
    assert_true(large < large_file / 4); /* of both files: no chunk is read twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inserted_call_is_the_finding_not_what_follows_it),
        cmocka_unit_test(an_inserted_call_of_a_site_is_told_from_the_calls_behind_it),
        cmocka_unit_test(an_equal_result_made_otherwise_is_a_note),
        cmocka_unit_test(an_equal_result_made_from_another_parameter_is_a_difference),
        cmocka_unit_test(a_missing_gradient_is_found),
        cmocka_unit_test(the_order_of_arrival_is_no_difference),
        cmocka_unit_test(wrappers_of_modules_are_no_difference),
        cmocka_unit_test(a_consumer_that_arrives_before_its_producer_is_not_blamed),
        cmocka_unit_test(what_reaches_no_training_state_is_a_note),
        cmocka_unit_test(what_cannot_be_compared_is_never_the_same),
        cmocka_unit_test(a_difference_in_an_unfinished_step_is_found_and_a_missing_rest_is_none),
        cmocka_unit_test(the_first_difference_is_found_in_logarithmic_bytes),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
