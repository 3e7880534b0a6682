/* SPDX-License-Identifier: Apache-2.0
 *
 * test_vary.c - the certificate of a run: silent where every environment gives the recorded bits,
 * and exact about the one that does not.
 */
#include "replay_fixture.h"

#include "replay/vary.h"

static fb_vary_report vary(const char *path, fb_vary_options options)
{
    fb_vary_report r;
    fb_error err;

    options.size = sizeof options;
    assert_ok(fb_vary(&r, path, &options, &err));
    return r;
}

static void every_environment_of_this_machine_gives_the_recorded_bits(void **state)
{
    const fixture *f = *state;
    fb_vary_report r = vary(f->trace, (fb_vary_options){0});

    assert_int_equal(r.differing, 0);
    assert_int_equal(r.first_differing, r.row_count);
    for (size_t i = 0; i < r.row_count; i++) {
        assert_true(r.rows[i].same);
        assert_int_equal(r.rows[i].replay.events_checked, f->events);
        assert_true(fb_hash_equal(r.rows[i].replay.final_hash, f->final_hash));
    }
    fb_vary_report_free(&r);
}

static void every_instruction_set_and_four_thread_counts_are_tried(void **state)
{
    static const unsigned threads[] = {1, 2, 3, 7};
    fb_vary_environment list[FB_VARY_MAX];
    char not_tried[128];
    const size_t n = fb_vary_environments(list, not_tried, sizeof not_tried);
    bool offset = false, stack = false;

    (void)state;
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
        bool found = kernels == NULL;

        for (size_t i = 0; i < n; i++)
            found |= list[i].kernels == kernels;
        assert_true(found);
    }
    for (size_t t = 0; t < COUNT_OF(threads); t++) {
        bool found = false;

        for (size_t i = 0; i < n; i++)
            found |= list[i].threads == threads[t];
        assert_true(found);
    }
    for (size_t i = 0; i < n; i++) {
        offset |= list[i].memory_offset % 64 != 0;
        stack |= list[i].stack_bytes > 0;
    }
    assert_true(offset && stack);
}

/* No date and no time: the same text and the same JSON every time. */
static void a_certificate_is_itself_reproducible(void **state)
{
    const fixture *f = *state;
    char *texts[2], *jsons[2];

    for (int i = 0; i < 2; i++) {
        fb_vary_report r = vary(f->trace, (fb_vary_options){0});

        texts[i] = fb_vary_report_text(&r, "run.fbt");
        jsons[i] = fb_vary_report_json(&r);
        assert_non_null(texts[i]);
        assert_non_null(jsons[i]);
        fb_vary_report_free(&r);
    }
    assert_string_equal(texts[0], texts[1]);
    assert_string_equal(jsons[0], jsons[1]);
    for (const char *line = texts[0]; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_in_range(strcspn(line, "\n"), 0, 80);
    for (int i = 0; i < 2; i++) {
        free(texts[i]);
        free(jsons[i]);
    }
}

/* --- An environment that differs -------------------------------------------------------------- */

/* Kernels of contract 1 with the right fingerprint, whose layernorm is off by a bit in some call.
 */
static int calls_left;

static void late_layernorm(fb_pool *pool, float *y, float *mean, float *rstd, const float *x,
                           const float *gain, const float *bias, size_t rows, size_t cols,
                           double eps)
{
    fb_kernels_best()->layernorm(pool, y, mean, rstd, x, gain, bias, rows, cols, eps);
    if (calls_left-- == 0)
        y[0] += y[0] * 2.4e-7f + 1e-30f;
}

static void the_one_environment_that_differs_is_named_with_its_first_event(void **state)
{
    const fixture *f = *state;
    fb_kernels late = *fb_kernels_best();
    const fb_vary_environment list[] = {
        {.threads = 1, .kernels = fb_kernels_best()},
        {.threads = 3, .kernels = &late},
        {.threads = 2, .kernels = fb_kernels_best()},
    };
    fb_vary_report r;
    char *text;

    late.name = "late";
    late.layernorm = late_layernorm;
    calls_left = 60;
    r = vary(f->trace, (fb_vary_options){.environments = list, .environment_count = 3});
    assert_int_equal(r.row_count, 3);
    assert_int_equal(r.differing, 1);
    assert_int_equal(r.first_differing, 1);
    assert_true(r.rows[0].same && r.rows[2].same);
    assert_string_equal(r.rows[1].replay.first.name.op, "layernorm");
    text = fb_vary_report_text(&r, "run.fbt");
    assert_non_null(text);
    assert_non_null(strstr(text, "DIFFERS run.fbt: other bits in 1 of 3 environments\n"));
    assert_non_null(strstr(text, "row      2: 3 threads, late, -\n"));
    assert_non_null(strstr(text, "(layernorm), output\n"));
    free(text);
    text = fb_vary_report_json(&r);
    assert_non_null(strstr(text, "\"verdict\":\"diverged\""));
    assert_non_null(strstr(text, "\"differing\":1"));
    free(text);
    fb_vary_report_free(&r);
}

static void rows_after_one_that_differs_are_judged_by_themselves(void **state)
{
    const fixture *f = *state;
    fb_kernels late = *fb_kernels_best();
    const fb_vary_environment list[] = {
        {.threads = 1, .kernels = &late},
        {.threads = 1, .kernels = fb_kernels_best()},
        {.threads = 2, .kernels = fb_kernels_best()},
    };
    fb_vary_report r;

    late.layernorm = late_layernorm;
    calls_left = 60;
    r = vary(f->trace, (fb_vary_options){.environments = list, .environment_count = 3});
    assert_int_equal(r.differing, 1);
    assert_int_equal(r.first_differing, 0);
    assert_true(r.rows[1].same && r.rows[2].same);
    fb_vary_report_free(&r);
}

static void kernels_without_the_fingerprint_are_a_row_that_differs(void **state)
{
    const fixture *f = *state;
    fb_kernels wrong = *fb_kernels_best();
    const fb_vary_environment list[] = {
        {.threads = 1, .kernels = fb_kernels_best()},
        {.threads = 1, .kernels = &wrong},
    };
    fb_vary_options options = {.environments = list, .environment_count = 2};
    fb_vary_report r;
    fb_error err;

    wrong.name = "wrong";
    wrong.layernorm = late_layernorm;
    calls_left = 0; /* the fingerprint's own call */
    r = vary(f->trace, options);
    assert_int_equal(r.differing, 1);
    assert_true(r.rows[1].refused);
    assert_non_null(strstr(r.rows[1].error.text, "fingerprint"));
    fb_vary_report_free(&r);
    calls_left = 0;
    options =
        (fb_vary_options){.size = sizeof options, .environments = list + 1, .environment_count = 1};
    assert_int_equal(fb_vary(&r, f->trace, &options, &err), FB_E_UNSUPPORTED);
}

/* A trace that no environment gives: the environment is not to blame. */
static void a_damaged_run_differs_everywhere_and_that_is_said(void **state)
{
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 2,
                            .path = "ln",
                            .slot = "out",
                            .micro = 1,
                            .element = 9,
                            .bit = 1};
    const recording how = {.faults = &fault, .fault_count = 1};
    fb_vary_report r = vary(record(&f->folder, "bad.fbt", &how), (fb_vary_options){0});
    char *text = fb_vary_report_text(&r, "bad.fbt");

    assert_int_equal(r.differing, r.row_count);
    assert_int_equal(r.first_differing, 0);
    for (size_t i = 0; i < r.row_count; i++)
        assert_int_equal(r.rows[i].replay.first.number, r.rows[0].replay.first.number);
    assert_non_null(strstr(text, "every environment differs"));
    free(text);
    fb_vary_report_free(&r);
}

static void late_adam(fb_pool *pool, float *p, float *m, float *v, const float *g, size_t n,
                      const fb_adam_step *step)
{
    fb_kernels_best()->adam(pool, p, m, v, g, n, step);
    if (calls_left-- == 0)
        p[0] += p[0] * 2.4e-7f + 1e-30f;
}

/* The scalars of a step say nothing of its own update, and a trace of level `steps` has no more. */
static void final_hashes_are_compared_where_the_trace_has_none(void **state)
{
    static const recording how = {.level = FB_LEVEL_STEPS, .steps = 2};
    const fixture *f = *state;
    fb_kernels late = *fb_kernels_best();
    const fb_vary_environment list[] = {
        {.threads = 1, .kernels = fb_kernels_best()},
        {.threads = 1, .kernels = &late},
    };
    const fb_vary_options options = {
        .environments = list, .environment_count = 2, .has_to = true, .to = 1};
    const char *trace = record(&f->folder, "x.fbt", &how);
    fb_vary_report r;
    fb_pool *pool;
    fb_error err;

    late.adam = late_adam;
    assert_ok(fb_pool_create(&pool, 1, &err));
    calls_left = INT32_MAX;
    (void)fb_kernels_fingerprint(&late, pool);
    calls_left = INT32_MAX - calls_left; /* those of a fingerprint pass */
    fb_pool_destroy(pool);
    r = vary(trace, options);
    assert_false(r.rows[1].replay.diverged);
    assert_false(r.rows[1].same);
    assert_int_equal(r.differing, 1);
    fb_vary_report_free(&r);
}

static void nothing_is_certified_where_nothing_was_recorded(void **state)
{
    const fixture *f = *state;
    const char *cut = in_folder(&f->folder, "header.fbt");
    const fb_vary_options options = {.size = sizeof options};
    fb_vary_report r;
    fb_error err;
    long size;

    free(read_file(f->trace, &size));
    cut_file(f->trace, cut, size - 8192); /* the header, and no whole chunk */
    assert_int_equal(fb_vary(&r, cut, &options, &err), FB_E_USAGE);
    assert_non_null(strstr(err.text, "nothing to certify"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_environment_of_this_machine_gives_the_recorded_bits),
        cmocka_unit_test(every_instruction_set_and_four_thread_counts_are_tried),
        cmocka_unit_test(a_certificate_is_itself_reproducible),
        cmocka_unit_test(the_one_environment_that_differs_is_named_with_its_first_event),
        cmocka_unit_test(rows_after_one_that_differs_are_judged_by_themselves),
        cmocka_unit_test(kernels_without_the_fingerprint_are_a_row_that_differs),
        cmocka_unit_test(a_damaged_run_differs_everywhere_and_that_is_said),
        cmocka_unit_test(nothing_is_certified_where_nothing_was_recorded),
        cmocka_unit_test(final_hashes_are_compared_where_the_trace_has_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
