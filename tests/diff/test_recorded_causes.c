/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_causes.c - what diff says of two runs of a small training program: each mechanism
 * is planted in one run, computed, and must be found where it is and named; its neighbour changes
 * the program without changing its results.
 */
#include "twisted_program.h"

static fb_diff_report compare(const test_folder *folder, twist a, twist b)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    const char *x = twisted_play(folder, "a.fbt", a);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, x, twisted_play(folder, "b.fbt", b), &options, &err));
    return r;
}

/* --- Claims ----------------------------------------------------------------------------------- */

typedef struct claim {
    twist twist;
    uint64_t step;
    const char *path, *op; /* of the first event; "" stands for none */
    const char *cause;
    const char *says; /* a part of the sentence */
} claim;

static const claim claims[] = {
    {OTHER_SCALE, AT, "attn", "mul", "forward-op", "other 0.5 | 0.25: b is 0.5 times a"},
    {SCALE_MISSING, AT, "attn", "mul", "forward-op", "a scale of 0.5"},
    {OTHER_EPS, AT, "norm", "native_batch_norm", "forward-op", "eps 1e-05 | 0.001"},
    {OTHER_ACTIVATION, AT, "act", "leaky_relu", "forward-op", "computes relu in a and leaky_relu"},
    {SOFTMAX_TWICE, AT, "act", "_softmax", "forward-op", "a softmax"},
    {ADDED_NUMBER, AT, "attn", "add", "forward-op", "add by 3"},
    {ROUNDED, AT, "fc", "addmm", "precision-cast", "rounded to bf16"},
    {CAST_MORE, AT, "fc", "_to_copy", "precision-cast", "only b casts to bf16"},
    {OTHER_FILL, AT, "attn", "masked_fill", "mask-or-position", "value \"-inf\" | -2"},
    {MASK_MISSING, AT, "attn", "masked_fill", "mask-or-position", "only a has the mask's op"},
    {POSITIONS_FLIPPED, AT, "", "flip", "mask-or-position", "only b has flip"},
    {BATCHNORM_FROZEN, AT, "norm", "native_batch_norm", "mode-flag", "training true | false"},
    {EVALUATED_OTHERWISE, AT, "Net", "mul", "forward-op", "b is 1.5 times a"},
    {GATE_OF_ONES, AT, "act", "mul", "forward-op", "it changes no number yet"},
    {ZEROS_SCALED, AT, "low", "mul", "forward-op", "other 2 | 4: the result is equal so far"},
    {OTHER_TARGETS, AT, "", "index", "loss-target", "targets"},
    {OTHER_IGNORED, AT, "", "nll_loss_forward", "loss-target", "ignore_index -100 | 0"},
    {OTHER_REDUCTION, AT, "", "nll_loss_forward", "loss-normalization",
     "the loss of b is 24 times that of a"},
    {LOSS_FACTOR, AT, "", "mul", "loss-normalization", "the loss of b is 2 times that of a"},
    {RESET_MISSING, AT, "optimizer0", "zero_grad", "grad-accumulation", "to zero here"},
    {RESET_TWICE, AT, "optimizer0", "zero_grad", "grad-accumulation", "only b sets"},
    {BACKWARD_FACTOR, AT, "fc", "mul_backward", "backward-op", ""},
    {GRADIENT_MISSING, AT, "fc.weight", "grad", "optimizer-formula", "fc.weight"},
    {SCALED_GRADIENTS, AT, "", "div_", "loss-normalization", "0.125 times"},
    {CLIP_MISSING, AT, "clip", "", "clipping", "only a clips"},
    {OTHER_LIMIT, AT, "clip", "", "clipping", "0.1"},
    {RATE_SHIFTED, AT, "optimizer0.group0", "", "schedule", "peaks with"},
    {RATE_SCALED, AT, "optimizer0.group0", "", "schedule", "peaks with"},
    {OTHER_DECAY, AT, "optimizer0.group0", "", "optimizer-formula", "weight_decay"},
    {OTHER_OPTIMIZER, AT, "fc.weight", "adam", "optimizer-formula", "sgd | adam"},
    {NOT_REGISTERED, 1, "fc.bias", "grad", "optimizer-formula", "never updated in b"},
    {SAME_BATCH_AGAIN, AT, "Digits", "sample", "data-order", "reads the batch of epoch 0 again"},
    {SAMPLE_TWICE, AT, "Digits", "sample", "sample-duplicated-or-missing", "more than once"},
    {BATCH_SMALLER, AT, "Digits", "sample", "sample-duplicated-or-missing", "4 | 3 samples"},
    {EVALUATED_ON_TRAINING, AT, "Digits", "sample", "evaluation-leak", "of the 4 samples that b"},
    {KEY_AGAIN, AT, "torch", "draw", "rng-key-reuse", "again that it has drawn in step 2"},
    {DROPOUT_IN_EVALUATION, AT, "torch", "draw", "mode-flag", "though the model is in evaluation"},
    {UNTIED, 0, "fc.second", "init", "aliasing-or-tying", "fc.second"},
    {INIT_SCALE, 0, "torch", "draw", "init", "(1, 0) | (0.5, 0)"},
    {OTHER_ARGUMENT, AT, "optimizer0.group0", "", "config", "1 | 4"},
};

static bool is_found(const fb_diff_report *r, const claim *k)
{
    return r->verdict == FB_DIFF_DIFFER && r->first.name.step == k->step &&
           strcmp(r->first.name.path, k->path) == 0 && strcmp(r->first.name.op, k->op) == 0;
}

static bool is_named(const fb_diff_report *r, const claim *k)
{
    return strcmp(text_or(r->cause.name), k->cause) == 0 && r->cause.fix != NULL &&
           !r->cause.confirmed;
}

static void each_mechanism_is_found_where_it_is_and_named(void **state)
{
    size_t failed = 0;

    for (size_t i = 0; i < COUNT_OF(claims); i++) {
        fb_diff_report r = compare(*state, NOTHING, claims[i].twist);

        if (!is_found(&r, &claims[i]) || !is_named(&r, &claims[i]) ||
            strstr(text_or(r.cause.text), claims[i].says) == NULL) {
            tell(&r, claims[i].cause, i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    assert_int_equal(failed, 0);
}

/* The same with the sides exchanged: nothing depends on which run is the good one. */
static void each_mechanism_is_named_from_the_other_side_too(void **state)
{
    size_t failed = 0;

    for (size_t i = 0; i < COUNT_OF(claims); i++) {
        fb_diff_report r = compare(*state, claims[i].twist, NOTHING);

        if (r.verdict != FB_DIFF_DIFFER || !is_named(&r, &claims[i])) {
            tell(&r, claims[i].cause, i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    assert_int_equal(failed, 0);
}

static void a_change_without_a_changed_result_is_a_note(void **state)
{
    static const twist harmless[] = {
        NOTHING,       EXTRA_COPY, LOGGED_NORM,  RESET_BY_MODEL, UNUSED_SEED, OTHER_FILL_NO_EFFECT,
        GRAD_MODE_OFF, CLOCK,      SEEDED_AGAIN, SCALED_IN_TWO,  TIMES_ONE};
    size_t failed = 0;

    for (size_t i = 0; i < COUNT_OF(harmless); i++) {
        fb_diff_report r = compare(*state, NOTHING, harmless[i]);

        if (r.verdict != FB_DIFF_SAME || (i > 0 && r.notes.count == 0)) {
            tell(&r, "harmless", i);
            failed++;
        }
        fb_diff_report_free(&r);
    }
    assert_int_equal(failed, 0);
}

static void a_state_that_is_not_restored_is_named(void **state)
{
    fb_diff_report r = compare(*state, RESTORED, NOT_RESTORED);

    assert_string_equal(text_or(r.cause.name), "checkpoint-resume");
    assert_non_null(strstr(r.cause.text, "only a restores optimizer0"));
    fb_diff_report_free(&r);
    r = compare(*state, RESTORED, RESTORED);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void a_momentum_that_a_schedule_moves_is_a_matter_of_the_schedule(void **state)
{
    fb_diff_report r = compare(*state, MOMENTUM_CYCLED, MOMENTUM_CYCLED_WIDER);

    assert_string_equal(text_or(r.cause.name), "schedule");
    assert_string_equal(r.first.name.slot, "momentum");
    fb_diff_report_free(&r);
    r = compare(*state, MOMENTUM_FIXED, MOMENTUM_FIXED_HIGHER);
    assert_string_equal(text_or(r.cause.name), "optimizer-formula");
    assert_non_null(strstr(r.cause.text, "momentum of optimizer0.group0 is 0.9 | 0.95"));
    fb_diff_report_free(&r);
    r = compare(*state, MOMENTUM_CYCLED, MOMENTUM_CYCLED);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void a_teacher_that_is_the_pupil_is_told_from_its_copy(void **state)
{
    fb_diff_report r = compare(*state, TEACHER_COPIED, TEACHER_SHARED);

    assert_string_equal(text_or(r.cause.name), "aliasing-or-tying");
    assert_non_null(strstr(r.cause.text, "only a copies (clone) fc.weight before"));
    fb_diff_report_free(&r);
    r = compare(*state, TEACHER_SHARED, TEACHER_COPIED);
    assert_string_equal(text_or(r.cause.name), "aliasing-or-tying");
    assert_non_null(strstr(r.cause.text, "only b copies (clone) fc.weight before"));
    fb_diff_report_free(&r);
    r = compare(*state, TEACHER_COPIED, TEACHER_COPIED);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void further_guesses_have_other_names(void **state)
{
    fb_diff_report r = compare(*state, NOTHING, OTHER_REDUCTION);

    assert_true(r.guess_count >= 1);
    for (size_t i = 0; i < r.guess_count; i++) {
        assert_string_not_equal(r.guesses[i].name, r.cause.name);
        assert_non_null(r.guesses[i].text);
        assert_non_null(r.guesses[i].fix);
    }
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mechanism_is_found_where_it_is_and_named),
        cmocka_unit_test(each_mechanism_is_named_from_the_other_side_too),
        cmocka_unit_test(a_change_without_a_changed_result_is_a_note),
        cmocka_unit_test(a_state_that_is_not_restored_is_named),
        cmocka_unit_test(a_momentum_that_a_schedule_moves_is_a_matter_of_the_schedule),
        cmocka_unit_test(a_teacher_that_is_the_pupil_is_told_from_its_copy),
        cmocka_unit_test(further_guesses_have_other_names),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
