/* SPDX-License-Identifier: Apache-2.0
 *
 * test_watch.c - a tensor that is hashed while it is written has the hash of its
 * contents, however the writing was shared out, and whatever was told of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/watch.h"

enum { ROWS = 301, COLS = 517, N = ROWS * COLS }; /* ten blocks, the last one short */

static float tensor[N];

/* A kernel that writes parts of `rows` x `cols`, as a matrix product does. */
typedef struct job {
    fb_pool *pool;
    size_t rows, cols, across;
    float value;
    size_t skip; /* this task writes and does not tell */
} job;

static void write_part(void *argument, size_t index, unsigned worker, void *scratch)
{
    const job *j = argument;
    const size_t row = index / j->across * j->rows, col = index % j->across * j->cols;
    const size_t rows = ROWS - row < j->rows ? ROWS - row : j->rows;
    const size_t cols = COLS - col < j->cols ? COLS - col : j->cols;
    float *at = tensor + row * COLS + col;

    (void)worker;
    (void)scratch;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            at[r * COLS + c] = (float)((row + r) * 7 + (col + c) % 13) * j->value;
    if (index != j->skip)
        fb_pool_wrote_rows(j->pool, at, rows, cols * sizeof *at, COLS * sizeof *at);
}

static void run_kernel(fb_pool *pool, size_t rows, size_t cols, float value, size_t skip)
{
    job j = {pool, rows, cols, (COLS + cols - 1) / cols, value, skip};

    fb_pool_run(pool, (ROWS + rows - 1) / rows * j.across, write_part, &j);
}

static void check(fb_watch *watch, fb_pool *pool)
{
    bool nonfinite = true, expected = true;
    const fb_hash hash = fb_tensor_hash(NULL, FB_DTYPE_F32, tensor, sizeof tensor, &expected);

    assert_true(fb_watch_is_on(watch, tensor, sizeof tensor));
    assert_true(fb_hash_equal(fb_watch_hash(watch, pool, &nonfinite), hash));
    assert_int_equal(nonfinite, expected);
}

typedef void scenario(fb_watch *watch, fb_pool *pool);

static void on_all(scenario *run)
{
    fb_error err;

    for (unsigned threads = 1; threads <= 3; threads++) {
        fb_watch *watch;
        fb_pool *pool;

        assert_int_equal(fb_pool_create(&pool, threads, &err), FB_OK);
        assert_int_equal(fb_watch_create(&watch, sizeof tensor, &err), FB_OK);
        run(watch, pool);
        fb_watch_destroy(watch);
        fb_pool_destroy(pool);
    }
}

static void watch_tensor(fb_watch *watch, fb_pool *pool)
{
    fb_watch_begin(watch, pool, FB_DTYPE_F32, tensor, sizeof tensor);
}

static void parts_of_any_shape(fb_watch *watch, fb_pool *pool)
{
    static const size_t shapes[][2] = {{1, COLS}, {ROWS, COLS}, {14, 32},
                                       {97, 260}, {ROWS, 16},   {3, 1}};

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        memset(tensor, 0x55, sizeof tensor);
        watch_tensor(watch, pool);
        run_kernel(pool, shapes[i][0], shapes[i][1], (float)i + 0.3f, SIZE_MAX);
        check(watch, pool);
    }
}

static void parts_of_any_shape_and_order_give_the_hash_of_the_whole(void **state)
{
    (void)state;
    on_all(parts_of_any_shape);
}

/* The blocks are hashed as soon as they are whole: a later change is not in the hash. */
static void blocks_are_taken_when_whole(fb_watch *watch, fb_pool *pool)
{
    bool nonfinite;
    fb_hash before;

    watch_tensor(watch, pool);
    run_kernel(pool, 14, 32, 1.0f, SIZE_MAX);
    before = fb_tensor_hash(NULL, FB_DTYPE_F32, tensor, sizeof tensor, NULL);
    tensor[5] += 1.0f;
    assert_true(fb_hash_equal(fb_watch_hash(watch, pool, &nonfinite), before));
}

static void a_block_is_hashed_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    on_all(blocks_are_taken_when_whole);
}

static void an_untold_part(fb_watch *watch, fb_pool *pool)
{
    for (size_t skip = 0; skip < 6; skip++) {
        memset(tensor, 0, sizeof tensor);
        watch_tensor(watch, pool);
        run_kernel(pool, 60, COLS, (float)skip + 0.7f, skip);
        check(watch, pool);
    }
}

static void what_was_not_told_is_hashed_at_the_end(void **state)
{
    (void)state;
    on_all(an_untold_part);
}

static void written_twice(fb_watch *watch, fb_pool *pool)
{
    watch_tensor(watch, pool);
    run_kernel(pool, 14, 64, 1.0f, SIZE_MAX);
    run_kernel(pool, 20, COLS, 2.0f, SIZE_MAX);
    check(watch, pool);
}

static void what_was_written_twice_has_its_last_contents(void **state)
{
    (void)state;
    on_all(written_twice);
}

static void a_nan_in_it(fb_watch *watch, fb_pool *pool)
{
    watch_tensor(watch, pool);
    run_kernel(pool, 100, 100, __builtin_nanf(""), SIZE_MAX);
    check(watch, pool);
    watch_tensor(watch, pool);
    run_kernel(pool, 100, 100, 1.0f, SIZE_MAX);
    check(watch, pool);
}

static void nonfinite_elements_are_seen(void **state)
{
    (void)state;
    on_all(a_nan_in_it);
}

static void other_tensors(fb_watch *watch, fb_pool *pool)
{
    fb_watch_begin(watch, pool, FB_DTYPE_F32, tensor, sizeof tensor + 4); /* too large */
    assert_false(fb_watch_is_on(watch, tensor, sizeof tensor + 4));
    fb_watch_begin(watch, pool, FB_DTYPE_F32, tensor, FB_HASH_BLOCK_BYTES); /* a block */
    assert_false(fb_watch_is_on(watch, tensor, FB_HASH_BLOCK_BYTES));
    watch_tensor(watch, pool);
    assert_false(fb_watch_is_on(watch, tensor, sizeof tensor - 4));
    assert_false(fb_watch_is_on(watch, tensor + 1, sizeof tensor));
    fb_watch_forget(watch);
    assert_false(fb_watch_is_on(watch, tensor, sizeof tensor));
    fb_pool_watch_none(pool);
}

static void a_watch_is_for_its_own_tensor(void **state)
{
    (void)state;
    on_all(other_tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_any_shape_and_order_give_the_hash_of_the_whole),
        cmocka_unit_test(a_block_is_hashed_as_soon_as_it_is_whole),
        cmocka_unit_test(what_was_not_told_is_hashed_at_the_end),
        cmocka_unit_test(what_was_written_twice_has_its_last_contents),
        cmocka_unit_test(nonfinite_elements_are_seen),
        cmocka_unit_test(a_watch_is_for_its_own_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
