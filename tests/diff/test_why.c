/* SPDX-License-Identifier: Apache-2.0
 *
 * test_why.c - the backward slice of a tensor holds what made it and nothing else.
 */
#include "recorded_run.h"

#include "diff/why/why.h"

/* --- A program whose data flow is known --------------------------------------------------------
 *
 * Each step: x = samples, draw d; y = f(x, w of the step before); z = g(d), which nothing of the
 * rest reads; w = update(y, w). Step 0 draws w.
 */

static fb_ref tensor(fb_recorder *r, fb_kind kind, fb_phase phase, const char *path,
                     const char *slot, const fb_ref *inputs, uint32_t count)
{
    const uint64_t shape[1] = {2};
    const float data[2] = {1, 2};

    return fb_recorder_tensor(r, kind, phase, path, "op", slot, FB_DTYPE_F32, 1, shape, data,
                              inputs, count);
}

static const char *play(const test_folder *folder, uint64_t steps)
{
    const char *path = in_folder(folder, "flow.fbt");
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    fb_recorder *r;
    fb_error err;

    assert_ok(fb_recorder_open(&r, path, &options, &err));
    fb_ref w = fb_recorder_draw(r, FB_PHASE_INIT, "init", "mt19937", 1, 0, 2, "normal", "w",
                                FB_DTYPE_NONE, NULL);
    w = tensor(r, FB_KIND_PARAM, FB_PHASE_INIT, "w", "param", &w, 1);
    for (uint64_t s = 1; s <= steps; s++) {
        const uint64_t indices[2] = {2 * s, 2 * s + 1};

        fb_recorder_step(r, s);
        const fb_ref x = fb_recorder_sample(r, "digits", FB_ROLE_TRAIN, 0, indices, 2, "x", 1);
        const fb_ref d = fb_recorder_draw(r, FB_PHASE_FORWARD, "noise", "mt19937", 1, 2 * s, 2,
                                          "uniform", "z", FB_DTYPE_NONE, NULL);
        const fb_ref y =
            tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "y", "out", (const fb_ref[]){x, w}, 2);
        (void)tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "z", "out", &d, 1);
        w = tensor(r, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "w", "param", (const fb_ref[]){y, w}, 2);
    }
    assert_ok(fb_recorder_close(r, &err));
    return path;
}

static void the_slice_of_a_parameter_leaves_out_what_it_was_not_made_from(void **state)
{
    const char *path = play(*state, 5);
    fb_why *why;
    fb_error err;

    assert_ok(fb_why_find(&why, path, "w@5", NULL, &err));
    assert_string_equal(why->events[why->target].site->slot, "param");
    assert_int_equal(why->in_slice, 3); /* w, y, x: not z, not its draw */
    for (size_t i = 0; i < why->count; i++)
        assert_int_equal(why->events[i].depth != UINT32_MAX,
                         strcmp(why->events[i].site->path, "z") != 0 &&
                             why->events[i].site->kind != FB_KIND_DRAW);
    assert_int_equal(why->cut_count, 1);
    assert_int_equal(why->cut[0].step, 4);
    /* Three events in each of the steps 4 to 1, and w and its draw in step 0. */
    assert_int_equal(why->earlier.events, 4 * 3 + 2);
    assert_int_equal(why->earlier.samples, 4);
    assert_int_equal(why->earlier.draws, 1);
    assert_int_equal(why->earlier.updates, 5);
    assert_int_equal(why->earlier.first_step, 0);
    assert_int_equal(why->earlier.last_step, 4);
    assert_false(why->earlier.incomplete);
    fb_why_free(why);
}

static void the_slice_of_a_leaf_is_the_leaf(void **state)
{
    const char *path = play(*state, 3);
    fb_why *why;
    fb_error err;

    assert_ok(fb_why_find(&why, path, "z@2", NULL, &err));
    assert_int_equal(why->in_slice, 2); /* z and its draw */
    assert_int_equal(why->cut_count, 0);
    assert_int_equal(why->earlier.events, 0);
    assert_false(why->earlier.incomplete);
    fb_why_free(why);
}

static void depth_is_the_shortest_way(void **state)
{
    const char *path = play(*state, 3);
    fb_why *why;
    fb_error err;

    assert_ok(fb_why_find(&why, path, "w:param@2", NULL, &err));
    for (size_t i = 0; i < why->count; i++) {
        const fb_why_event *e = &why->events[i];

        if (e->depth != UINT32_MAX)
            assert_int_equal(e->depth, e->site->kind == FB_KIND_PARAM    ? 0
                                       : e->site->kind == FB_KIND_TENSOR ? 1
                                                                         : 2);
    }
    fb_why_free(why);
}

static void what_is_not_there_is_named(void **state)
{
    static const struct {
        const char *what, *text;
        fb_status status;
    } cases[] = {
        {"w", "expected PATH@STEP or PATH:SLOT@STEP, got \"w\"", FB_E_USAGE},
        {"@3", "expected PATH@STEP or PATH:SLOT@STEP, got \"@3\"", FB_E_USAGE},
        {"w@3x", "\"3x\" is not a step", FB_E_USAGE},
        {"w@-1", "expected PATH@STEP or PATH:SLOT@STEP, got \"w@-1\"", FB_E_USAGE},
        {"w@99999999999999999999999",
         "expected PATH@STEP or PATH:SLOT@STEP, got "
         "\"w@99999999999999999999999\"",
         FB_E_USAGE},
        {"v@3", "step 3 has no event of path v", FB_E_NOT_FOUND},
        {"w:grad@3", "step 3: w has no grad; it has param", FB_E_NOT_FOUND},
        {"w@4", "the trace has no events of step 4 (looking for w)", FB_E_NOT_FOUND},
    };
    const char *path = play(*state, 3);

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_why *why;
        fb_error err;

        assert_int_equal(fb_why_find(&why, path, cases[i].what, NULL, &err), cases[i].status);
        assert_null(why);
        assert_string_equal(err.text, cases[i].text);
    }
}

/* --- A run of the engine ---------------------------------------------------------------------- */

/* Every update of a step has the whole batch of the step behind it: the clipped norm sees all. */
static void an_update_stands_on_the_whole_batch(void **state)
{
    const char *path = record(*state, "run.fbt", &(recording){.threads = 1});
    uint64_t samples = 0, all = 0, draws = 0;
    fb_why *why;
    fb_error err;
    char *text;

    assert_ok(fb_why_find(&why, path, "h.0.mlp.fc.weight@3", NULL, &err));
    for (size_t i = 0; i < why->count; i++) {
        all += why->events[i].site->kind == FB_KIND_SAMPLE;
        if (why->events[i].depth != UINT32_MAX) {
            samples += why->events[i].site->kind == FB_KIND_SAMPLE;
            draws += why->events[i].site->kind == FB_KIND_DRAW &&
                     strcmp(why->events[i].site->op, "dropout") == 0;
        }
    }
    assert_true(all > 1);
    assert_int_equal(samples, all);
    assert_int_equal(draws, 2 * all); /* two layers with dropout */
    assert_true(why->earlier.events > 100);
    assert_false(why->earlier.incomplete);
    text = fb_why_text(why, 16);
    assert_non_null(text);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strlen(line) > 80)
            fail_msg("more than 80 columns: %s", line);
    free(text);
    fb_why_free(why);
}

/* The forward pass of micro-batch 0 knows nothing of micro-batch 1. */
static void an_output_stands_on_its_own_micro_batch(void **state)
{
    const char *path = record(*state, "run.fbt", &(recording){.threads = 1});
    fb_why *why;
    fb_error err;

    assert_ok(fb_why_find(&why, path, "h.1.mlp.fc@3", NULL, &err));
    for (size_t i = 0; i < why->count; i++)
        if (why->events[i].depth != UINT32_MAX)
            assert_true(why->events[i].micro <= 0);
    fb_why_free(why);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up_folder, tear_down_folder)
    const struct CMUnitTest tests[] = {
        CASE(the_slice_of_a_parameter_leaves_out_what_it_was_not_made_from),
        CASE(the_slice_of_a_leaf_is_the_leaf),
        CASE(depth_is_the_shortest_way),
        CASE(what_is_not_there_is_named),
        CASE(an_update_stands_on_the_whole_batch),
        CASE(an_output_stands_on_its_own_micro_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
