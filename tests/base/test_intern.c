/* SPDX-License-Identifier: Apache-2.0
 *
 * test_intern.c - equal byte strings have equal numbers, dense and in order of first use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/intern.h"

static void numbers_are_dense_and_stable(void **state)
{
    enum { N = 20000 };
    fb_intern *table = fb_intern_create();
    char text[32];

    (void)state;
    assert_non_null(table);
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < N; i++) {
            bool is_new;
            const int n = snprintf(text, sizeof text, "h.%u.attn.qkv", (unsigned)i);

            assert_int_equal(fb_intern_put(table, text, (size_t)n, &is_new), i);
            assert_int_equal(is_new, round == 0);
        }
    assert_int_equal(fb_intern_count(table), N);
    for (uint32_t i = 0; i < N; i += 7) {
        size_t count;
        const char *bytes = fb_intern_get(table, i, &count);

        snprintf(text, sizeof text, "h.%u.attn.qkv", (unsigned)i);
        assert_string_equal(bytes, text);
        assert_int_equal(count, strlen(text));
        assert_int_equal(fb_intern_find(table, text, count), i);
    }
    fb_intern_destroy(table);
}

static void bytes_are_compared_not_text(void **state)
{
    fb_intern *table = fb_intern_create();

    (void)state;
    assert_int_equal(fb_intern_put(table, "", 0, NULL), 0);
    assert_int_equal(fb_intern_put(table, "a", 1, NULL), 1);
    assert_int_equal(fb_intern_put(table, "a\0b", 3, NULL), 2);
    assert_int_equal(fb_intern_put(table, "a\0c", 3, NULL), 3);
    assert_int_equal(fb_intern_put(table, "a\0b", 3, NULL), 2);
    assert_int_equal(fb_intern_put(table, "a", 2, NULL), 4); /* with its final zero */
    assert_int_equal(fb_intern_put(table, "", 0, NULL), 0);
    assert_int_equal(fb_intern_find(table, "b", 1), FB_INTERN_NONE);
    assert_int_equal(fb_intern_find(table, NULL, 0), 0);
    fb_intern_destroy(table);
    fb_intern_destroy(NULL);
}

/* Pointers that were handed out stay good while the table grows, for strings of any length. */
static void bytes_do_not_move(void **state)
{
    fb_intern *table = fb_intern_create();
    char *large = malloc(100000);
    const char *first, *second;

    (void)state;
    memset(large, 'x', 100000);
    first = fb_intern_get(table, fb_intern_put(table, "first", 5, NULL), NULL);
    second = fb_intern_get(table, fb_intern_put(table, large, 100000, NULL), NULL);
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(fb_intern_put(table, &i, sizeof i, NULL), i + 2);
    assert_string_equal(first, "first");
    assert_memory_equal(second, large, 100000);
    assert_int_equal(second[100000], 0);
    assert_ptr_equal(fb_intern_get(table, 0, NULL), first);
    free(large);
    fb_intern_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_dense_and_stable),
        cmocka_unit_test(bytes_are_compared_not_text),
        cmocka_unit_test(bytes_do_not_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
