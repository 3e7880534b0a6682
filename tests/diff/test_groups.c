/* SPDX-License-Identifier: Apache-2.0
 *
 * test_groups.c - many runs fall into the groups that they belong to, and the odd one out is named.
 */
#include "recorded_run.h"

#include "diff/groups/groups.h"

static const char *run_with(test_folder *folder, const char *name, const fb_fault *fault,
                            uint64_t steps)
{
    return strdup(record(
        folder, name,
        &(recording){.threads = 1, .faults = fault, .fault_count = fault != NULL, .steps = steps}));
}

static fb_fault flip(uint64_t step)
{
    return (fb_fault){.kind = FB_FAULT_FLIP,
                      .step = step,
                      .path = "h.1.mlp.fc",
                      .slot = "out",
                      .element = 3,
                      .bit = 21};
}

static fb_groups group(const char *const *paths, size_t count, bool prefix)
{
    const fb_diff_options options = {.size = sizeof options, .prefix = prefix};
    fb_groups g;
    fb_error err;

    assert_ok(fb_groups_find(&g, paths, count, &options, &err));
    return g;
}

static void drop(const char **paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((char *)paths[i]);
}

static void equal_runs_are_one_group(void **state)
{
    const char *paths[] = {run_with(*state, "a.fbt", NULL, 0), run_with(*state, "b.fbt", NULL, 0),
                           run_with(*state, "c.fbt", NULL, 0)};
    fb_groups g = group(paths, 3, false);

    assert_int_equal(g.verdict, FB_DIFF_SAME);
    assert_int_equal(g.group_count, 1);
    assert_int_equal(g.groups[0].size, 3);
    assert_false(g.has_first_step);
    fb_groups_free(&g);
    drop(paths, 3);
}

/* Wherever it stands in the list. */
static void the_odd_one_out_is_named_with_its_event(void **state)
{
    const fb_fault fault = flip(4);

    for (size_t at = 0; at < 4; at++) {
        const char *paths[4];
        fb_groups g;
        char *text;

        for (size_t i = 0; i < 4; i++) {
            char name[16];

            (void)snprintf(name, sizeof name, "%zu.fbt", i);
            paths[i] = run_with(*state, name, i == at ? &fault : NULL, 0);
        }
        g = group(paths, 4, false);
        assert_int_equal(g.verdict, FB_DIFF_DIFFER);
        assert_int_equal(g.group_count, 2);
        assert_true(g.majority);
        assert_int_equal(g.groups[0].size, 3);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(g.runs[i].group, i == at);
        assert_int_equal(g.groups[1].first.step, 4);
        assert_string_equal(g.groups[1].first.path, "h.1.mlp.fc");
        assert_string_equal(g.groups[1].cause, "bit-flip");
        assert_true(g.groups[1].confirmed);
        text = fb_groups_text(&g);
        assert_non_null(strstr(text, "; the odd one out is "));
        free(text);
        fb_groups_free(&g);
        drop(paths, 4);
    }
}

static void groups_stand_in_the_order_in_which_they_part(void **state)
{
    const fb_fault early = flip(2), late = flip(6);
    const char *paths[] = {
        run_with(*state, "late.fbt", &late, 0),    run_with(*state, "early.fbt", &early, 0),
        run_with(*state, "early2.fbt", &early, 0), run_with(*state, "a.fbt", NULL, 0),
        run_with(*state, "b.fbt", NULL, 0),        run_with(*state, "c.fbt", NULL, 0)};
    fb_groups g = group(paths, 6, false);

    assert_int_equal(g.group_count, 3);
    assert_false(g.majority); /* half is not more than half */
    assert_int_equal(g.groups[0].size, 3);
    assert_int_equal(g.groups[1].size, 2);
    assert_int_equal(g.groups[1].first.step, 2);
    assert_int_equal(g.groups[2].first.step, 6);
    assert_int_equal(g.runs[0].group, 2);
    assert_int_equal(g.runs[1].group, 1);
    assert_int_equal(g.runs[2].group, 1);
    assert_int_equal(g.runs[5].group, 0);
    assert_int_equal(g.first_step, 2);
    fb_groups_free(&g);
    drop(paths, 6);
}

static void a_shorter_run_is_undecidable_unless_a_prefix_will_do(void **state)
{
    const char *paths[] = {run_with(*state, "short.fbt", NULL, 4),
                           run_with(*state, "a.fbt", NULL, 0), run_with(*state, "b.fbt", NULL, 0)};
    fb_groups g = group(paths, 3, false);

    assert_int_equal(g.verdict, FB_DIFF_UNDECIDABLE);
    assert_int_equal(g.group_count, 1);
    assert_true(g.runs[0].shorter);
    assert_false(g.runs[0].ambiguous);
    assert_false(g.runs[1].shorter);
    fb_groups_free(&g);
    g = group(paths, 3, true);
    assert_int_equal(g.verdict, FB_DIFF_SAME);
    fb_groups_free(&g);
    drop(paths, 3);
}

/* It ends before the two others part: it is told of neither alone. */
static void a_run_that_ends_before_the_others_part_is_ambiguous(void **state)
{
    const fb_fault late = flip(6);
    const char *paths[] = {run_with(*state, "short.fbt", NULL, 4),
                           run_with(*state, "a.fbt", NULL, 0),
                           run_with(*state, "late.fbt", &late, 0)};
    fb_groups g = group(paths, 3, true);

    assert_int_equal(g.verdict, FB_DIFF_DIFFER);
    assert_int_equal(g.group_count, 2);
    assert_true(g.runs[0].ambiguous);
    fb_groups_free(&g);
    drop(paths, 3);
}

static void a_damaged_trace_is_named(void **state)
{
    const char *paths[] = {run_with(*state, "a.fbt", NULL, 0), run_with(*state, "b.fbt", NULL, 0),
                           run_with(*state, "c.fbt", NULL, 0)};
    fb_groups g;
    fb_error err;
    long size;
    uint8_t *bytes = read_file(paths[1], &size);

    bytes[size / 2] ^= 4;
    write_file(paths[1], bytes, (size_t)size);
    free(bytes);
    assert_int_equal(fb_groups_find(&g, paths, 3, NULL, &err), FB_E_CORRUPT);
    assert_non_null(strstr(err.text, "b.fbt"));
    assert_int_equal(fb_groups_find(&g, paths, 1, NULL, &err), FB_E_USAGE);
    drop(paths, 3);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up_folder, tear_down_folder)
    const struct CMUnitTest tests[] = {
        CASE(equal_runs_are_one_group),
        CASE(the_odd_one_out_is_named_with_its_event),
        CASE(groups_stand_in_the_order_in_which_they_part),
        CASE(a_shorter_run_is_undecidable_unless_a_prefix_will_do),
        CASE(a_run_that_ends_before_the_others_part_is_ambiguous),
        CASE(a_damaged_trace_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
