/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_values.c - traces that hold contents: the first difference has element, both values
 * and their distance; the command to go on with; the steps that the scope names.
 */
#include <math.h>

#include "base/sketch.h"
#include "diff/diff.h"
#include "diff/read/recorded_values.h"
#include "recorded_run.h"

enum { ELEMENTS = 20000, AT = 17000 }; /* more than one piece of those of four bytes */

/* One tensor of a step, in all steps; contents kept at level values. */
typedef struct side {
    fb_dtype dtype;
    const void *data;
    fb_level level;
    const char *ops_steps;
} side;

static void write_trace(const char *path, const side *s)
{
    const fb_recorder_options options = {.size = sizeof options,
                                         .level = s->level,
                                         .no_stacks = true,
                                         .ops_steps = s->ops_steps,
                                         .header =
                                             "{\"framework\":\"torch\",\"environment\":{\"argv\":["
                                             "\"python3\",\"my train.py\",\"--lr=1\"]}}"};
    const uint64_t shape[2] = {ELEMENTS / 100, 100};
    fb_recorder *r;
    fb_error err;

    assert_ok(fb_recorder_open(&r, path, &options, &err));
    for (uint64_t step = 1; step <= 5; step++) {
        fb_recorder_step(r, step);
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "it's", "matmul", "out",
                                 s->dtype, 2, shape, s->data, NULL, 0);
    }
    assert_ok(fb_recorder_close(r, &err));
}

static fb_diff_report compare(const side *a, const side *b)
{
    const test_folder folder = make_folder();
    const char *path_a = in_folder(&folder, "a.fbt"), *path_b = in_folder(&folder, "b.fbt");
    fb_diff_report report;
    fb_error err;

    write_trace(path_a, a);
    write_trace(path_b, b);
    assert_ok(fb_diff(&report, path_a, path_b, NULL, &err));
    drop_folder(&folder);
    return report;
}

/* Zeros but for one element, whose bits are given. */
static void *planted(fb_dtype dtype, uint64_t bits)
{
    const size_t size = fb_dtype_bytes(dtype);
    uint8_t *data = calloc(ELEMENTS, size);

    assert_non_null(data);
    memcpy(data + AT * size, &bits, size < 8 ? size : 8);
    return data;
}

static void element_values_and_distance_of_every_dtype(void **state)
{
    static const struct {
        fb_dtype dtype;
        uint64_t bits_a, bits_b;
        double a, b;
        uint64_t ulps;
    } cases[] = {
        {FB_DTYPE_F64, 0x3ff0000000000000, 0x3ff0000000000003, 1, 0, 3},
        {FB_DTYPE_F32, 0x3f800000, 0x3f7fffff, 1, 0x1.fffffep-1, 1},
        {FB_DTYPE_F32, 0x80000001, 0x00000002, -0x1p-149, 0x1p-148, 3},
        {FB_DTYPE_F16, 0x3c00, 0x0001, 1, 0x1p-24, 0x3bff},
        {FB_DTYPE_BF16, 0x3f80, 0xbf80, 1, -1, 2 * 0x3f80},
        {FB_DTYPE_F8_E4M3, 0x7e, 0x01, 448, 0x1p-9, 0x7d},
        {FB_DTYPE_F8_E5M2, 0x7b, 0x01, 57344, 0x1p-16, 0x7a},
        {FB_DTYPE_C64, 0x4000000000000000, 0x3f80000000000000, 0, 0, 0},
        {FB_DTYPE_I8, 0x80, 0x7f, -128, 127, 255},
        {FB_DTYPE_I64, UINT64_MAX, 1, -1, 1, 2},
        {FB_DTYPE_U16, 0xffff, 0, 65535, 0, 65535},
        {FB_DTYPE_BOOL, 1, 0, 1, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const fb_dtype dtype = cases[i].dtype;
        void *x = planted(dtype, cases[i].bits_a), *y = planted(dtype, cases[i].bits_b);
        const side a = {dtype, x, FB_LEVEL_VALUES, NULL}, b = {dtype, y, FB_LEVEL_VALUES, NULL};
        fb_diff_report r = compare(&a, &b);

        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_true(r.first.has_value && r.first.has_element);
        assert_int_equal(r.first.element, AT);
        assert_int_equal(r.first.differing, 1);
        if (dtype == FB_DTYPE_C64) { /* the imaginary part is the one that differs */
            assert_int_equal(r.first.a.bits, 0x40000000);
            assert_true(r.first.a.number == 2 && r.first.b.number == 1);
        } else {
            assert_int_equal(r.first.a.bits, cases[i].bits_a);
            assert_int_equal(r.first.b.bits, cases[i].bits_b);
            assert_true(r.first.a.number == cases[i].a);
            assert_true(dtype == FB_DTYPE_F64 || r.first.b.number == cases[i].b);
            assert_int_equal(r.first.ulps, cases[i].ulps);
        }
        assert_non_null(strstr(r.next, "firstbit show "));
        fb_diff_report_free(&r);
        free(x);
        free(y);
    }
}

static void numbers_that_are_none_are_told_so(void **state)
{
    const uint16_t f16[] = {0x7c00, 0xfc00, 0x7c01};
    const uint8_t e4m3[] = {0x7f, 0x78}, e5m2[] = {0x7c, 0x7d};

    (void)state;
    assert_true(fb__value_of(FB_DTYPE_F16, &f16[0]).number == INFINITY);
    assert_true(fb__value_of(FB_DTYPE_F16, &f16[1]).number == -INFINITY);
    assert_true(isnan(fb__value_of(FB_DTYPE_F16, &f16[2]).number));
    assert_true(isnan(fb__value_of(FB_DTYPE_F8_E4M3, &e4m3[0]).number));
    assert_true(fb__value_of(FB_DTYPE_F8_E4M3, &e4m3[1]).number == 256);
    assert_true(fb__value_of(FB_DTYPE_F8_E5M2, &e5m2[0]).number == INFINITY);
    assert_true(isnan(fb__value_of(FB_DTYPE_F8_E5M2, &e5m2[1]).number));
}

static void two_nans_do_not_count_as_different(void **state)
{
    uint32_t *x = planted(FB_DTYPE_F32, 0x3f800000), *y = planted(FB_DTYPE_F32, 0x40000000);
    const side a = {FB_DTYPE_F32, x, FB_LEVEL_VALUES, NULL};
    const side b = {FB_DTYPE_F32, y, FB_LEVEL_VALUES, NULL};
    fb_diff_report r;

    (void)state;
    x[5] = 0x7fc00000;
    y[5] = 0xffc00001;
    r = compare(&a, &b);
    assert_int_equal(r.first.element, AT);
    assert_int_equal(r.first.differing, 1);
    fb_diff_report_free(&r);
    free(x);
    free(y);
}

static void without_contents_the_next_command_keeps_them(void **state)
{
    void *x = planted(FB_DTYPE_F32, 1), *y = planted(FB_DTYPE_F32, 2);
    const side a = {FB_DTYPE_F32, x, FB_LEVEL_OPS, NULL};
    const side b = {FB_DTYPE_F32, y, FB_LEVEL_VALUES, NULL};
    fb_diff_report r = compare(&a, &b);

    (void)state;
    assert_false(r.first.has_value || r.first.has_element);
    assert_string_equal(r.next, "firstbit record --at 1 --path 'it'\\''s' --level values -- "
                                "python3 'my train.py' --lr=1");
    fb_diff_report_free(&r);
    free(x);
    free(y);
}

static void scope_names_the_steps_that_have_ops(void **state)
{
    static const struct {
        fb_level level;
        const char *steps, *depth;
    } cases[] = {
        {FB_LEVEL_OPS, NULL, NULL},
        {FB_LEVEL_OPS, "0:10,every=1000", NULL}, /* all five steps */
        {FB_LEVEL_OPS, "0:2,4,every=1000", "ops and state in steps 0-2, 4"},
        {FB_LEVEL_OPS, "0:2,every=3", "ops and state in steps 0-2 and every 3 steps"},
        {FB_LEVEL_OPS, "1", "ops and state in step 1"},
        {FB_LEVEL_OPS, "9", "ops and state in no step"},
        {FB_LEVEL_DRAWS, NULL, "no ops, no state"},
    };
    void *x = planted(FB_DTYPE_F32, 1);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const side a = {FB_DTYPE_F32, x, cases[i].level, cases[i].steps};
        fb_diff_report r = compare(&a, &a);

        if (cases[i].depth == NULL)
            assert_null(r.depth);
        else
            assert_string_equal(r.depth, cases[i].depth);
        fb_diff_report_free(&r);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(element_values_and_distance_of_every_dtype),
        cmocka_unit_test(numbers_that_are_none_are_told_so),
        cmocka_unit_test(two_nans_do_not_count_as_different),
        cmocka_unit_test(without_contents_the_next_command_keeps_them),
        cmocka_unit_test(scope_names_the_steps_that_have_ops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
