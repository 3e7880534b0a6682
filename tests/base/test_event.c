/* SPDX-License-Identifier: Apache-2.0
 *
 * test_event.c - names and numbers of the event model, classes, levels, status texts, errors.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "firstbit/event.h"

static void names_and_numbers_are_inverse(void **state)
{
    (void)state;
#define CHECK(name, number, text)                                                                  \
    assert_string_equal(NAME_OF(number), text);                                                    \
    assert_int_equal(NUMBER_OF(text), number);
#define NAME_OF(n)   fb_phase_name((fb_phase)n)
#define NUMBER_OF(t) fb_phase_of(t)
    FB_PHASE_LIST(CHECK)
#undef NAME_OF
#undef NUMBER_OF
#define NAME_OF(n)   fb_kind_name((fb_kind)n)
#define NUMBER_OF(t) fb_kind_of(t)
    FB_KIND_LIST(CHECK)
#undef NAME_OF
#undef NUMBER_OF
#define NAME_OF(n)   fb_role_name((fb_role)n)
#define NUMBER_OF(t) fb_role_of(t)
    FB_ROLE_LIST(CHECK)
#undef NAME_OF
#undef NUMBER_OF
#define NAME_OF(n)   fb_level_name((fb_level)n)
#define NUMBER_OF(t) fb_level_of(t)
    FB_LEVEL_LIST(CHECK)
#undef NAME_OF
#undef NUMBER_OF
#undef CHECK
#define CHECK_DTYPE(name, number, text, bytes)                                                     \
    assert_string_equal(fb_dtype_name((fb_dtype)number), text);                                    \
    assert_int_equal(fb_dtype_of(text), number);                                                   \
    assert_int_equal(fb_dtype_bytes((fb_dtype)number), bytes);
    FB_DTYPE_LIST(CHECK_DTYPE)
#undef CHECK_DTYPE
#define CHECK_CLASS(name, number, text) assert_string_equal(fb_class_name((fb_class)number), text);
    FB_CLASS_LIST(CHECK_CLASS)
#undef CHECK_CLASS
}

static void unknown_names_and_numbers_have_answers(void **state)
{
    (void)state;
    assert_int_equal(fb_phase_of("forwards"), 0);
    assert_int_equal(fb_kind_of(""), 0);
    assert_int_equal(fb_dtype_of(NULL), 0);
    assert_int_equal(fb_level_of("all"), 0);
    assert_int_equal(fb_role_of("train "), -1);
    assert_string_equal(fb_phase_name((fb_phase)99), "?");
    assert_string_equal(fb_dtype_name(FB_DTYPE_NONE), "?");
    assert_int_equal(fb_dtype_bytes((fb_dtype)99), 0);
    assert_string_equal(fb_status_text((fb_status)12345), "unknown status");
    assert_string_equal(fb_status_text(FB_E_CORRUPT), "corrupt");
}

static fb_class class_of(fb_kind kind, fb_phase phase, bool note)
{
    const fb_site site = {.size = sizeof site, .kind = kind, .phase = phase, .note = note};
    return fb_site_class(&site);
}

static void classes_keep_evaluation_out_of_training_state(void **state)
{
    (void)state;
    assert_int_equal(class_of(FB_KIND_SCALAR, FB_PHASE_LOSS, false), FB_CLASS_SCALARS);
    assert_int_equal(class_of(FB_KIND_SAMPLE, FB_PHASE_DATA, false), FB_CLASS_DATA);
    assert_int_equal(class_of(FB_KIND_DRAW, FB_PHASE_FORWARD, false), FB_CLASS_DATA);
    assert_int_equal(class_of(FB_KIND_MODE, FB_PHASE_FORWARD, false), FB_CLASS_DATA);
    assert_int_equal(class_of(FB_KIND_PARAM, FB_PHASE_OPTIMIZER, false), FB_CLASS_STATE);
    assert_int_equal(class_of(FB_KIND_TENSOR, FB_PHASE_BACKWARD, false), FB_CLASS_OPS);
    assert_int_equal(class_of(FB_KIND_COLLECTIVE, FB_PHASE_COMM, false), FB_CLASS_OPS);
    for (int kind = FB_KIND_TENSOR; kind <= FB_KIND_MARK; kind++) {
        assert_int_equal(class_of((fb_kind)kind, FB_PHASE_EVAL, false), FB_CLASS_NOTES);
        assert_int_equal(class_of((fb_kind)kind, FB_PHASE_CHECKPOINT, false), FB_CLASS_NOTES);
        assert_int_equal(class_of((fb_kind)kind, FB_PHASE_FORWARD, true), FB_CLASS_NOTES);
    }
}

static void each_level_records_what_the_one_below_does(void **state)
{
    uint32_t below = 0;

    (void)state;
    assert_int_equal(fb_level_classes(FB_LEVEL_NONE), 0);
    for (int level = FB_LEVEL_STEPS; level <= FB_LEVEL_VALUES; level++) {
        const uint32_t classes = fb_level_classes((fb_level)level);
        assert_int_equal(classes & below, below);
        assert_true(classes & 1u << FB_CLASS_SCALARS);
        below = classes;
    }
    assert_int_equal(below, (1u << FB_CLASS_COUNT) - 1);
}

static void an_error_is_one_line_that_names_the_place(void **state)
{
    fb_error err;

    (void)state;
    assert_int_equal(fb__fail(&err, FB_E_CORRUPT, 4096, "chunk %d:\n bad\x01 byte", 12),
                     FB_E_CORRUPT);
    assert_int_equal(err.status, FB_E_CORRUPT);
    assert_int_equal(err.offset, 4096);
    assert_string_equal(err.text, "chunk 12:? bad? byte");
    assert_int_equal(fb__fail_in(&err, FB_E_CORRUPT, "b.fbt: "), FB_E_CORRUPT);
    assert_non_null(strstr(err.text, "b.fbt"));
    assert_non_null(strstr(err.text, "chunk 12"));
    assert_int_equal(fb__fail(NULL, FB_E_IO, 0, "nobody listens"), FB_E_IO);
}

static void a_long_text_is_cut(void **state)
{
    char longest[2000];
    fb_error err;

    (void)state;
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    fb__fail(&err, FB_E_DATA, 0, "%s", longest);
    assert_true(strlen(err.text) < sizeof err.text);
    fb__fail_in(&err, FB_E_DATA, "%s", longest);
    assert_true(strlen(err.text) < sizeof err.text);
}

static void errno_becomes_a_status(void **state)
{
    (void)state;
    assert_int_equal(fb__status_of_errno(ENOSPC), FB_E_FULL);
    assert_int_equal(fb__status_of_errno(ENOENT), FB_E_NOT_FOUND);
    assert_int_equal(fb__status_of_errno(ENOTDIR), FB_E_NOT_FOUND);
    assert_int_equal(fb__status_of_errno(ENOMEM), FB_E_MEMORY);
    assert_int_equal(fb__status_of_errno(EACCES), FB_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_inverse),
        cmocka_unit_test(unknown_names_and_numbers_have_answers),
        cmocka_unit_test(classes_keep_evaluation_out_of_training_state),
        cmocka_unit_test(each_level_records_what_the_one_below_does),
        cmocka_unit_test(an_error_is_one_line_that_names_the_place),
        cmocka_unit_test(a_long_text_is_cut),
        cmocka_unit_test(errno_becomes_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
