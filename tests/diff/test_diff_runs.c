/* SPDX-License-Identifier: Apache-2.0
 *
 * test_diff_runs.c - what diff says of pairs of whole runs: silence on clean ones, and the name of
 * what was changed on others.
 */
#include "run_pairs.h"
#include "tests/sanitized.h"

/* --- Silence ---------------------------------------------------------------------------------- */

static void clean_pairs_are_the_same_for_all_threads_and_isas(void **state)
{
    static const unsigned threads[] = {1, 2, 3, 7};
    const fixture *f = *state;
    int pairs = 0;

    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);

        for (size_t t = 0; kernels != NULL && t < COUNT_OF(threads); t++)
            for (int mlp = 0; mlp < 2; mlp++) {
                const recording how = {.config = mlp ? SMALL_MLP : SMALL_GPT,
                                       .threads = threads[t],
                                       .kernels = kernels};
                const recording first = {.config = how.config};
                char what[64];

                (void)snprintf(what, sizeof what, "%s on %u threads", kernels->name, threads[t]);
                assert_same(what, record(&f->folder, "x.fbt", &how),
                            mlp ? record(&f->folder, "y.fbt", &first) : f->clean);
                pairs++;
            }
    }
    assert_true(pairs >= 8); /* ref alone gives 8, x86 with AVX-512 24 */
}

static void a_trace_is_the_same_as_itself(void **state)
{
    const fixture *f = *state;

    assert_same("itself", f->clean, f->clean);
}

/* --- Changed configurations ------------------------------------------------------------------- */

typedef struct change {
    const char *key, *value;
    const char *cause;
    bool confirmed;
    uint64_t step;
    fb_phase phase;
} change;

static void a_changed_key_is_the_cause(void **state)
{
    static const change changes[] = {
        {"optimizer.adamw.lr", "0.011", "config", true, 1, FB_PHASE_SCHEDULE},
        {"optimizer.adamw.weight_decay", "0.2", "config", true, 1, FB_PHASE_OPTIMIZER},
        {"optimizer.adamw.betas", "[0.9, 0.99]", "config", true, 1, FB_PHASE_OPTIMIZER},
        {"optimizer.adamw.eps", "1e-7", "config", true, 1, FB_PHASE_OPTIMIZER},
        {"schedule.cosine.min_factor", "0.2", "config", true, 3, FB_PHASE_SCHEDULE},
        {"clip", "0.25", "config", true, 1, FB_PHASE_OPTIMIZER},
        {"seed", "43", "rng-seed", true, 0, FB_PHASE_INIT},
    };
    const fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        const change *c = &changes[i];
        const fb_config_set set = {c->key, c->value};
        const recording how = {.sets = &set, .set_count = 1};
        fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

        assert_cause(&r, c->cause, c->confirmed);
        assert_int_equal(r.first.name.step, c->step);
        assert_int_equal(r.first.name.phase, c->phase);
        fb_diff_report_free(&r);
    }
}

static void another_dropout_rate_is_the_cause_at_the_first_draw(void **state)
{
    static const fb_config_set set = {"model[1].layers[1].residual[4].dropout.p", "0.5"};
    const recording how = {.sets = &set, .set_count = 1};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "config", true);
    assert_int_equal(r.first.name.step, 1);
    assert_int_equal(r.first.name.kind, FB_KIND_DRAW);
    assert_string_equal(r.first.name.path, "h.0.mlp.drop");
    fb_diff_report_free(&r);
}

static void of_two_changed_keys_the_one_that_acts_first_is_blamed(void **state)
{
    static const fb_config_set sets[] = {{"optimizer.adamw.weight_decay", "0.2"},
                                         {"optimizer.adamw.lr", "0.02"},
                                         {"eval.every", "2"}};
    const recording how = {.sets = sets, .set_count = 3};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "config", true);
    assert_non_null(strstr(r.cause.text, "optimizer.adamw.lr 0.01 | 0.02"));
    assert_int_equal(r.first.name.phase, FB_PHASE_SCHEDULE);
    assert_true(r.candidate_count >= 3);
    fb_diff_report_free(&r);
}

static void a_key_that_a_replay_refutes_is_not_blamed(void **state)
{
    /* eps stands before clip in the configuration, and acts on the same phase, but later. */
    static const fb_config_set sets[] = {{"optimizer.adamw.eps", "1e-7"}, {"clip", "0.25"}};
    const recording how = {.sets = sets, .set_count = 2};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "config", true);
    assert_non_null(strstr(r.cause.text, "clip 0.5 | 0.25"));
    assert_string_equal(r.first.name.slot, "coefficient");
    fb_diff_report_free(&r);
}

static void without_replay_nothing_is_confirmed(void **state)
{
    static const fb_config_set set = {"clip", "0.25"};
    static const fb_config_set note = {"eval.every", "3"};
    const fb_fault fault = {.kind = FB_FAULT_SWAP, .step = 2, .i = 0, .j = 1};
    const recording changed = {.sets = &set, .set_count = 1};
    const recording swapped = {.sets = &note, .set_count = 1, .faults = &fault, .fault_count = 1};
    const fixture *f = *state;
    fb_diff_report r = compare_with(f->clean, record(&f->folder, "x.fbt", &changed),
                                    (fb_diff_options){.no_replay = true});

    assert_cause(&r, "config", false);
    fb_diff_report_free(&r);
    r = compare_with(f->clean, record(&f->folder, "x.fbt", &swapped),
                     (fb_diff_options){.no_replay = true});
    assert_cause(&r, "data-order", false);
    fb_diff_report_free(&r);
}

static void a_hypothesis_that_does_not_explain_all_of_the_step_is_not_confirmed(void **state)
{
    const fb_fault faults[2] = {
        {.kind = FB_FAULT_SWAP, .step = 4, .i = 1, .j = 2},
        {.kind = FB_FAULT_FLIP,
         .step = 4,
         .path = "h.1.mlp.proj",
         .slot = "grad",
         .micro = 1,
         .element = 3,
         .bit = 11},
    };
    const recording how = {.faults = faults, .fault_count = 2};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "data-order", false);
    assert_non_null(strstr(r.cause.text, "samples 1 and 2"));
    fb_diff_report_free(&r);
}

static void a_key_that_cannot_have_done_it_is_not_blamed(void **state)
{
    static const fb_config_set set = {"eval.every", "2"};
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 5,
                            .path = "h.0.mlp.fc",
                            .slot = "out",
                            .micro = 2,
                            .element = 3,
                            .bit = 9};
    const recording how = {.sets = &set, .set_count = 1, .faults = &fault, .fault_count = 1};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "bit-flip", true);
    assert_int_equal(r.first.name.step, 5);
    assert_true(r.has_equal_through);
    assert_int_equal(r.equal_through, 4);
    fb_diff_report_free(&r);
}

static void one_changed_byte_of_the_data_is_found_where_it_is_first_read(void **state)
{
    const fixture *f = *state;
    const recording how = {0};
    fb_diff_report r;

    write_text(&f->folder, 100);
    r = compare(f->clean, record(&f->folder, "x.fbt", &how));
    assert_cause(&r, "data-content", false);
    assert_int_equal(r.first.name.kind, FB_KIND_SAMPLE);
    assert_true(r.first.name.step >= 1 && r.first.name.step <= 5); /* one epoch */
    assert_non_null(strstr(r.cause.text, "text.txt"));
    fb_diff_report_free(&r);
    write_text(&f->folder, SIZE_MAX);
}

static void the_same_data_under_another_name_makes_no_difference(void **state)
{
    static const fb_config_set set = {"data.text", "other.txt"};
    const fb_fault fault = {.kind = FB_FAULT_SWAP, .step = 3, .i = 0, .j = 5};
    const recording renamed = {.sets = &set, .set_count = 1};
    const recording swapped = {.sets = &set, .set_count = 1, .faults = &fault, .fault_count = 1};
    const fixture *f = *state;
    char text[192], other[192];
    fb_diff_report r;

    (void)snprintf(text, sizeof text, "%s", in_folder(&f->folder, "text.txt"));
    (void)snprintf(other, sizeof other, "%s", in_folder(&f->folder, "other.txt"));
    assert_int_equal(link(text, other), 0);
    assert_same("another name", f->clean, record(&f->folder, "x.fbt", &renamed));
    r = compare(f->clean, record(&f->folder, "x.fbt", &swapped));
    assert_cause(&r, "data-order", false); /* replay of one is not the other: names are recorded */
    assert_int_equal(r.first.name.step, 3);
    fb_diff_report_free(&r);
    r = compare_with(f->clean, in_folder(&f->folder, "x.fbt"),
                     (fb_diff_options){.no_replay = true});
    assert_cause(&r, "data-order", false);
    fb_diff_report_free(&r);
    assert_int_equal(unlink(other), 0);
}

static void keys_that_differ_in_their_last_digit_differ(void **state)
{
    static const fb_config_set set = {"optimizer.adamw.lr", "0.010000000000000002"};
    const recording how = {.sets = &set, .set_count = 1};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "config", true);
    assert_int_equal(r.first.ulps, 1);
    fb_diff_report_free(&r);
}

static void a_byte_that_no_step_reads_makes_no_difference(void **state)
{
    const fixture *f = *state;
    const recording how = {0};
    fb_diff_report r;

    write_text(&f->folder, 284); /* behind the last whole window of the training part */
    r = compare(f->clean, record(&f->folder, "x.fbt", &how));
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.candidate_count > 0, 1);
    fb_diff_report_free(&r);
    write_text(&f->folder, SIZE_MAX);
}

static void other_data_means_values_stay_unknown_and_nothing_is_confirmed(void **state)
{
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 2,
                            .path = "h.0.mlp.fc",
                            .slot = "out",
                            .element = 3,
                            .bit = 9};
    const recording how = {.faults = &fault, .fault_count = 1};
    const char *bad = record(&f->folder, "x.fbt", &how);
    fb_diff_report r;

    write_text(&f->folder, 100);
    r = compare(f->clean, bad);
    write_text(&f->folder, SIZE_MAX);
    assert_cause(&r, "forward-op", false);
    assert_false(r.first.has_value);
    assert_int_equal(r.left_out.count, 1);
    assert_non_null(strstr(r.left_out.at[0], "contents changed"));
    fb_diff_report_free(&r);
}

/* --- Resumed runs ----------------------------------------------------------------------------- */

static void a_resumed_run_is_compared_from_its_checkpoint(void **state)
{
    static const recording how = {.checkpoints = true};
    const fixture *f = *state;
    const fb_fault late = {.kind = FB_FAULT_FLIP,
                           .step = 7,
                           .path = "ln",
                           .slot = "out",
                           .micro = 1,
                           .element = 2,
                           .bit = 3};
    const fb_fault early = {
        .kind = FB_FAULT_FLIP, .step = 2, .path = "ln", .slot = "out", .element = 2, .bit = 20};
    const recording damaged = {.checkpoints = true, .faults = &early, .fault_count = 1};
    char checkpoint[192];
    fb_diff_report r;

    (void)record(&f->folder, "whole.fbt", &how);
    (void)record(&f->folder, "damaged.fbt", &damaged);
    (void)snprintf(checkpoint, sizeof checkpoint, "%s/whole.ckpt/step-00000003.safetensors",
                   f->folder.path);
    for (int side = 0; side < 2; side++) {
        const char *resumed = record_resumed(&f->folder, "x.fbt", checkpoint, 3, NULL);

        assert_same("resumed", side ? resumed : f->clean, side ? f->clean : resumed);
    }
    r = compare(f->clean, record_resumed(&f->folder, "x.fbt", checkpoint, 3, &late));
    assert_cause(&r, "bit-flip", true);
    assert_int_equal(r.first.name.step, 7);
    assert_int_equal(r.first_step, 4);
    assert_true(r.left_out.count > 0);
    fb_diff_report_free(&r);
    (void)snprintf(checkpoint, sizeof checkpoint, "%s/damaged.ckpt/step-00000003.safetensors",
                   f->folder.path);
    r = compare(f->clean, record_resumed(&f->folder, "x.fbt", checkpoint, 3, NULL));
    assert_cause(&r, "checkpoint-resume", false);
    assert_int_equal(r.first.name.step, 3);
    fb_diff_report_free(&r);
}

/* --- Notes ------------------------------------------------------------------------------------ */

static void more_evaluation_is_a_note_unless_strict(void **state)
{
    static const fb_config_set set = {"eval.every", "2"};
    const recording how = {.sets = &set, .set_count = 1};
    const fixture *f = *state;
    const char *more = record(&f->folder, "x.fbt", &how);
    fb_diff_report r = compare(f->clean, more);

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_true(r.notes.count > 0);
    fb_diff_report_free(&r);
    r = compare_with(f->clean, more, (fb_diff_options){.strict = true});
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_true(r.has_first);
    assert_int_equal(r.first.name.step, 2);
    assert_int_equal(r.first.name.phase, FB_PHASE_EVAL);
    fb_diff_report_free(&r);
}

static void a_fault_behind_an_unused_draw_is_found_all_the_same(void **state)
{
    const fb_fault faults[2] = {
        {.kind = FB_FAULT_DRAW, .step = 2, .stream = "shuffle"},
        {.kind = FB_FAULT_FLIP,
         .step = 4,
         .path = "ln",
         .slot = "out",
         .micro = 1,
         .element = 0,
         .bit = 31},
    };
    const recording how = {.faults = faults, .fault_count = 2};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 4);
    assert_string_equal(r.first.name.path, "ln");
    assert_int_equal(r.first.name.micro, 1);
    assert_int_equal(r.notes.count, 1);
    fb_diff_report_free(&r);
}

static void of_two_faults_in_one_step_the_first_is_found(void **state)
{
    const fb_fault faults[2] = {
        {.kind = FB_FAULT_FLIP,
         .step = 4,
         .path = "h.1.mlp.proj",
         .slot = "grad",
         .micro = 1,
         .element = 3,
         .bit = 11},
        {.kind = FB_FAULT_FLIP,
         .step = 4,
         .path = "h.0.mlp.proj",
         .slot = "out",
         .micro = 2,
         .element = 5,
         .bit = 12},
    };
    const recording how = {.faults = faults, .fault_count = 2};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "bit-flip", true);
    assert_string_equal(r.first.name.slot, "grad"); /* micro-batch 1 comes before 2 */
    assert_int_equal(r.first.name.micro, 1);
    fb_diff_report_free(&r);
}

static void two_flipped_bits_of_one_tensor_are_not_called_a_bit_flip(void **state)
{
    const fb_fault faults[2] = {
        {.kind = FB_FAULT_FLIP,
         .step = 3,
         .path = "h.1.mlp.proj",
         .slot = "out",
         .element = 3,
         .bit = 11},
        {.kind = FB_FAULT_FLIP,
         .step = 3,
         .path = "h.1.mlp.proj",
         .slot = "out",
         .element = 4,
         .bit = 11},
    };
    const recording how = {.faults = faults, .fault_count = 2};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_cause(&r, "nondeterminism", true);
    assert_string_equal(r.first.name.path, "h.1.mlp.proj");
    assert_false(r.first.has_value);
    fb_diff_report_free(&r);
}

/* --- Reports ---------------------------------------------------------------------------------- */

static void the_screen_has_at_most_25_lines_of_80_columns(void **state)
{
    static const fb_config_set sets[] = {{"optimizer.adamw.weight_decay", "0.2"},
                                         {"optimizer.adamw.lr", "0.02"},
                                         {"optimizer.adamw.eps", "1e-6"},
                                         {"schedule.cosine.min_factor", "0.3"},
                                         {"clip", "2"},
                                         {"eval.every", "1"}};
    const recording how = {.sets = sets, .set_count = COUNT_OF(sets), .threads = 3};
    const fixture *f = *state;
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));
    char *text = fb_diff_report_text(&r);
    int lines = 0;

    assert_non_null(text);
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++)
        if (end - line > 80)
            fail_msg("%d columns: %.*s", (int)(end - line), (int)(end - line), line);
    assert_true(lines > 5 && lines <= 25);
    free(text);
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_pairs_are_the_same_for_all_threads_and_isas),
        cmocka_unit_test(a_trace_is_the_same_as_itself),
        cmocka_unit_test(a_changed_key_is_the_cause),
        cmocka_unit_test(another_dropout_rate_is_the_cause_at_the_first_draw),
        cmocka_unit_test(of_two_changed_keys_the_one_that_acts_first_is_blamed),
        cmocka_unit_test(a_key_that_a_replay_refutes_is_not_blamed),
        cmocka_unit_test(without_replay_nothing_is_confirmed),
        cmocka_unit_test(a_hypothesis_that_does_not_explain_all_of_the_step_is_not_confirmed),
        cmocka_unit_test(a_key_that_cannot_have_done_it_is_not_blamed),
        cmocka_unit_test(one_changed_byte_of_the_data_is_found_where_it_is_first_read),
        cmocka_unit_test(the_same_data_under_another_name_makes_no_difference),
        cmocka_unit_test(keys_that_differ_in_their_last_digit_differ),
        cmocka_unit_test(a_byte_that_no_step_reads_makes_no_difference),
        cmocka_unit_test(other_data_means_values_stay_unknown_and_nothing_is_confirmed),
        cmocka_unit_test(a_resumed_run_is_compared_from_its_checkpoint),
        cmocka_unit_test(more_evaluation_is_a_note_unless_strict),
        cmocka_unit_test(a_fault_behind_an_unused_draw_is_found_all_the_same),
        cmocka_unit_test(of_two_faults_in_one_step_the_first_is_found),
        cmocka_unit_test(two_flipped_bits_of_one_tensor_are_not_called_a_bit_flip),
        cmocka_unit_test(the_screen_has_at_most_25_lines_of_80_columns),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
