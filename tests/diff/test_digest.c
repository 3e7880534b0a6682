/* SPDX-License-Identifier: Apache-2.0
 *
 * test_digest.c - a digest survives its text, finds what differs, and never accuses a machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "diff/digest/digest.h"

typedef struct two_files {
    char a[64], b[64];
} two_files;

static int make_files(void **state)
{
    two_files *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    strcpy(f->a, "/tmp/fb-digest-a-XXXXXX");
    strcpy(f->b, "/tmp/fb-digest-b-XXXXXX");
    close(mkstemp(f->a));
    close(mkstemp(f->b));
    *state = f;
    return 0;
}

static int drop_files(void **state)
{
    two_files *f = *state;

    unlink(f->a);
    unlink(f->b);
    free(f);
    return 0;
}

/* A program without a contract: 1,000 steps, of which the digest names 46. */
static fb_digest foreign_run(void)
{
    fb_digest d = {.level = FB_LEVEL_OPS, .last_step = 1000, .steps = 1001, .complete = true};

    for (int c = 0; c < FB_DIGEST_CLASSES; c++)
        d.classes[c] = (fb_digest_class){.recorded = 1001, .pattern = {7, 8}};
    for (size_t i = 0; i < FB_DIGEST_STEPS_MAX; i++) {
        d.at[i].step = i + 1 == FB_DIGEST_STEPS_MAX ? 1000 : i * 20;
        for (int c = 0; c < FB_DIGEST_CLASSES; c++)
            d.at[i].chain[c] = (fb_hash){UINT64_MAX - i, 17 + (uint64_t)c};
    }
    d.at_count = FB_DIGEST_STEPS_MAX;
    strcpy(d.facts[0], "cpu: one");
    d.fact_count = 1;
    return d;
}

static void write_digest(const char *path, const fb_digest *d)
{
    char *text = fb_digest_text(d);
    FILE *file = fopen(path, "w");

    assert_non_null(text);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(text);
}

static fb_digest_report compare(const two_files *f, const fb_digest *a, const fb_digest *b)
{
    fb_digest_report report;

    write_digest(f->a, a);
    write_digest(f->b, b);
    assert_int_equal(fb_digest_diff(&report, f->a, f->b, false, NULL, NULL, NULL), FB_OK);
    return report;
}

static void the_largest_digest_fits_and_comes_back(void **state)
{
    const two_files *f = *state;
    fb_digest d = foreign_run(), back;
    char *text, *again;

    d.first_step = UINT64_MAX / 4;
    d.last_step = d.steps = d.events = d.contract = UINT64_MAX / 2;
    d.configuration = d.final_hash = (fb_hash){UINT64_MAX, UINT64_MAX};
    d.fact_count = FB_DIGEST_FACTS_MAX;
    for (size_t i = 0; i < d.fact_count; i++)
        memset(d.facts[i], 'a' + (int)i, sizeof d.facts[i] - 1);
    for (size_t i = 0; i < d.at_count; i++)
        d.at[i].step = UINT64_MAX / 2 - d.at_count + i;
    text = fb_digest_text(&d);
    assert_non_null(text);
    assert_true(strlen(text) <= FB_DIGEST_BYTES_MAX);
    write_digest(f->a, &d);
    assert_int_equal(fb_digest_read(&back, f->a, NULL), FB_OK);
    again = fb_digest_text(&back);
    assert_string_equal(text, again);
    free(text);
    free(again);
}

static void every_changed_byte_is_refused(void **state)
{
    const two_files *f = *state;
    const fb_digest d = foreign_run();
    char *text = fb_digest_text(&d);
    const size_t count = strlen(text);

    for (size_t i = 0; i < count; i += i < 900 ? 1 : 37) {
        FILE *file = fopen(f->a, "w");
        fb_digest back;

        assert_non_null(file);
        text[i] ^= 1;
        (void)fwrite(text, 1, count, file);
        text[i] ^= 1;
        assert_int_equal(fclose(file), 0);
        if (fb_digest_read(&back, f->a, NULL) == FB_OK)
            fail_msg("byte %zu of a digest was changed, and nobody saw it", i);
    }
    free(text);
}

static void equal_runs_are_the_same_on_any_machine(void **state)
{
    const fb_digest a = foreign_run();
    fb_digest b = a;

    strcpy(b.facts[0], "cpu: two");
    assert_int_equal(compare(*state, &a, &b).verdict, FB_DIFF_SAME);
}

static void a_difference_is_named_by_step_and_class(void **state)
{
    const fb_digest a = foreign_run();
    fb_digest b = a;
    fb_digest_report r;

    for (size_t i = 20; i < b.at_count; i++)
        b.at[i].chain[FB_CLASS_OPS].lo ^= 1;
    r = compare(*state, &a, &b);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.step, 400);
    assert_true(r.has_after);
    assert_int_equal(r.after, 380);
    assert_int_equal(r.differing, 1u << FB_CLASS_OPS);
}

static void another_machine_without_a_contract_is_undecidable(void **state)
{
    const fb_digest a = foreign_run();
    fb_digest b = a;

    b.at[5].chain[0].lo ^= 1;
    strcpy(b.facts[0], "cpu: two");
    assert_int_equal(compare(*state, &a, &b).verdict, FB_DIFF_UNDECIDABLE);
}

static void another_machine_under_a_contract_is_a_difference(void **state)
{
    fb_digest a = foreign_run(), b;

    a.contract = 1;
    a.exact = true;
    b = a;
    b.at[5].chain[0].lo ^= 1;
    strcpy(b.facts[0], "cpu: two");
    assert_int_equal(compare(*state, &a, &b).verdict, FB_DIFF_DIFFER);
    b.exact = false; /* one side promises nothing */
    b.contract = 0;
    assert_int_equal(compare(*state, &a, &b).verdict, FB_DIFF_UNDECIDABLE);
}

static void a_class_recorded_in_other_steps_is_left_out(void **state)
{
    const fb_digest a = foreign_run();
    fb_digest b = a;
    fb_digest_report r;

    b.classes[FB_CLASS_OPS] = (fb_digest_class){.recorded = 11, .pattern = {1, 2}};
    for (size_t i = 0; i < b.at_count; i++)
        b.at[i].chain[FB_CLASS_OPS].lo ^= 1;
    r = compare(*state, &a, &b);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.classes & 1u << FB_CLASS_OPS, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_files, drop_files)
    const struct CMUnitTest tests[] = {
        CASE(the_largest_digest_fits_and_comes_back),
        CASE(every_changed_byte_is_refused),
        CASE(equal_runs_are_the_same_on_any_machine),
        CASE(a_difference_is_named_by_step_and_class),
        CASE(another_machine_without_a_contract_is_undecidable),
        CASE(another_machine_under_a_contract_is_a_difference),
        CASE(a_class_recorded_in_other_steps_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
