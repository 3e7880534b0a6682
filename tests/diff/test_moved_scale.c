/* SPDX-License-Identifier: Apache-2.0
 *
 * test_moved_scale.c - a factor that one program takes before a product and the other behind it: of
 * operations between the two the results differ by the factor, which has vanished behind them.
 */
#include "recorded_case.h"

#include <math.h>

enum { ELEMENTS = 4096 };

static const float factor = 0.40824829f;

static float next_float(uint64_t *state)
{
    return ((float)(next_random(state) % 20000) - 9999.5f) / 4096;
}

static fb_ref written(tape *t, fb_kind kind, fb_phase phase, const char *path, const char *op,
                      const float *data, const fb_ref *inputs, uint32_t count)
{
    return report(t,
                  (fb_site){.kind = kind,
                            .phase = phase,
                            .path = path,
                            .op = op,
                            .slot = kind == FB_KIND_PARAM ? "param" : "out",
                            .dtype = FB_DTYPE_F32,
                            .rank = 1,
                            .shape = {ELEMENTS}},
                  (fb_event){.data = data,
                             .data_bytes = ELEMENTS * sizeof *data,
                             .inputs = inputs,
                             .input_count = count});
}

/* early: the factor is taken before `clone` and `bmm`. Scores are some units in the last place away
 * from what they should be, in random directions; kept: the factor reaches them. */
static const char *record_scores(const test_folder *folder, const char *name, bool early, int units,
                                 bool kept)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {
        .size = sizeof options, .level = FB_LEVEL_SKETCH, .no_stacks = true};
    float *start = malloc(5 * ELEMENTS * sizeof *start), *key = start + ELEMENTS,
          *product = key + ELEMENTS, *scores = product + ELEMENTS, *learned = scores + ELEMENTS;
    tape t = {.step = 0};
    uint64_t state = 7, noise = 99;
    fb_ref weight, made;
    fb_error err;

    assert_non_null(start);
    assert_ok(fb_recorder_open(&t.recorder, path, &options, &err));
    for (int i = 0; i < ELEMENTS; i++) {
        const float k = next_float(&state), s = next_float(&state);
        const int64_t away = (int64_t)(next_random(&noise) % (2 * (uint64_t)units + 1)) - units;

        start[i] = k;
        learned[i] = early && i % 2 == 0 ? nextafterf(k, 9) : k;
        key[i] = early ? k * factor : k;
        product[i] = early ? s * factor * (1 + (float)away * 0x1p-24f) : s;
        scores[i] =
            (kept && early ? s * factor * factor : s * factor) * (1 + (float)away * 0x1p-23f);
    }
    fb_recorder_step(t.recorder, 0);
    weight = written(&t, FB_KIND_PARAM, FB_PHASE_INIT, "k.weight", "init", start, NULL, 0);
    fb_recorder_step(t.recorder, ++t.step);
    t.known_count = 0;
    made = weight;
    if (early)
        made = written(&t, FB_KIND_TENSOR, FB_PHASE_FORWARD, "attn", "mul", key, &made, 1);
    made = written(&t, FB_KIND_TENSOR, FB_PHASE_FORWARD, "attn", "clone", key, &made, 1);
    made = written(&t, FB_KIND_TENSOR, FB_PHASE_FORWARD, "attn", "bmm", product, &made, 1);
    if (!early)
        made = written(&t, FB_KIND_TENSOR, FB_PHASE_FORWARD, "attn", "div", scores, &made, 1);
    made = written(&t, FB_KIND_TENSOR, FB_PHASE_FORWARD, "attn", "masked_fill", scores, &made, 1);
    scalar(&t, FB_PHASE_LOSS, "loss", "loss", 1.5);
    made = written(&t, FB_KIND_TENSOR, FB_PHASE_BACKWARD, "k.weight", "grad",
                   kept ? scores : learned, &made, 1);
    (void)written(&t, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "k.weight", "sgd", kept ? scores : learned,
                  &made, 1);
    assert_ok(fb_recorder_close(t.recorder, &err));
    free(start);
    return path;
}

static fb_diff_report compare_scores(const test_folder *folder, int units, bool kept)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true, .rounding = true};
    const char *a = record_scores(folder, "late.fbt", false, 0, kept);
    fb_diff_report r;
    fb_error err;

    assert_ok(
        fb_diff(&r, a, record_scores(folder, "early.fbt", true, units, kept), &options, &err));
    return r;
}

static void a_factor_that_has_vanished_is_rounding_however_near_its_limit_that_is(void **state)
{
    for (int units = 30; units <= 60; units += 10) {
        fb_diff_report r = compare_scores(*state, units, false);

        assert_int_equal(r.verdict, FB_DIFF_ROUNDING);
        assert_true(r.rounding.largest > 3 && r.rounding.largest < 10);
        fb_diff_report_free(&r);
    }
}

static void a_factor_that_is_kept_is_a_difference(void **state)
{
    fb_diff_report r = compare_scores(*state, 1, true);

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_string_equal(r.first.name.op, "mul");
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_factor_that_has_vanished_is_rounding_however_near_its_limit_that_is),
        cmocka_unit_test(a_factor_that_is_kept_is_a_difference),
    };

    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
