/* SPDX-License-Identifier: Apache-2.0
 *
 * test_pool.c - the team of threads runs every index once, in the contract's environment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fpenv.h"
#include "base/pool.h"

enum { INDICES = 5000 };

typedef struct job {
    _Atomic int runs[INDICES];
    unsigned threads;
    _Atomic bool bad_worker, bad_scratch, bad_fpenv;
    _Atomic unsigned inside[FB_POOL_THREADS_MAX]; /* tasks that a worker runs at this moment */
    _Atomic bool overlap;
} job;

static job shared;

static void count(void *argument, size_t index, unsigned worker, void *scratch)
{
    job *j = argument;

    if (worker >= j->threads)
        atomic_store(&j->bad_worker, true);
    if (atomic_fetch_add(&j->inside[worker], 1) != 0)
        atomic_store(&j->overlap, true);
    if ((uintptr_t)scratch % 64 != 0)
        atomic_store(&j->bad_scratch, true);
    memset(scratch, (int)worker, 256);
    if (!fb_fpenv_ok())
        atomic_store(&j->bad_fpenv, true);
    atomic_fetch_add(&j->runs[index], 1);
    if (((const unsigned char *)scratch)[255] != (unsigned char)worker)
        atomic_store(&j->bad_scratch, true);
    atomic_fetch_sub(&j->inside[worker], 1);
}

static void every_index_runs_once_with_a_scratch_of_its_own(void **state)
{
    static const unsigned thread_counts[] = {1, 2, 3, 7, 16};
    static const size_t index_counts[] = {0, 1, 2, 3, 100, INDICES};

    (void)state;
    for (size_t t = 0; t < 5; t++) {
        fb_pool *pool;

        assert_int_equal(fb_pool_create(&pool, thread_counts[t], NULL), FB_OK);
        assert_int_equal(fb_pool_threads(pool), thread_counts[t]);
        assert_non_null(fb_pool_scratch(pool));
        for (size_t c = 0; c < 6; c++) {
            memset(&shared, 0, sizeof shared);
            shared.threads = thread_counts[t];
            fb_pool_run(pool, index_counts[c], count, &shared);
            for (size_t i = 0; i < INDICES; i++)
                assert_int_equal(shared.runs[i], i < index_counts[c]);
            assert_false(shared.bad_worker);
            assert_false(shared.bad_scratch);
            assert_false(shared.bad_fpenv);
            assert_false(shared.overlap);
        }
        fb_pool_destroy(pool);
    }
}

static void add_one(void *argument, size_t index, unsigned worker, void *scratch)
{
    (void)worker;
    (void)scratch;
    ((unsigned *)argument)[index]++;
}

/* Runs follow each other closely and with pauses, so that helpers are met spinning and asleep. */
static void runs_do_not_overlap(void **state)
{
    unsigned sums[64] = {0};
    fb_pool *pool;

    (void)state;
    assert_int_equal(fb_pool_create(&pool, 4, NULL), FB_OK);
    for (unsigned run = 0; run < 3000; run++) {
        fb_pool_run(pool, 64, add_one, sums);
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(sums[i], run + 1);
        for (volatile int pause = 0; run % 500 == 0 && pause < 1000000;)
            pause = pause + 1;
    }
    fb_pool_destroy(pool);
}

typedef struct slow_job {
    _Atomic unsigned done, by_helper;
} slow_job;

/* The caller's task ends long before a helper's. */
static void work_slowly(void *argument, size_t index, unsigned worker, void *scratch)
{
    slow_job *j = argument;

    (void)index;
    (void)scratch;
    (void)usleep(worker == 0 ? 2000 : 20000);
    atomic_fetch_add(&j->by_helper, worker != 0);
    atomic_fetch_add(&j->done, 1);
}

static void a_run_ends_when_its_slowest_task_has(void **state)
{
    slow_job slow = {0};
    fb_pool *pool;

    (void)state;
    assert_int_equal(fb_pool_create(&pool, 3, NULL), FB_OK);
    for (unsigned run = 1; run <= 10; run++) {
        fb_pool_run(pool, 3, work_slowly, &slow);
        assert_int_equal(atomic_load(&slow.done), 3 * run);
    }
    assert_true(atomic_load(&slow.by_helper) > 0); /* else this test has shown nothing */
    fb_pool_destroy(pool);
}

static void a_bad_thread_count_is_refused(void **state)
{
    fb_pool *pool = NULL;
    fb_error err;

    (void)state;
    assert_int_equal(fb_pool_create(&pool, 0, &err), FB_E_USAGE);
    assert_string_equal(err.text, "threads: 0 is not between 1 and 256");
    assert_int_equal(fb_pool_create(&pool, FB_POOL_THREADS_MAX + 1, &err), FB_E_USAGE);
    assert_null(pool);
    fb_pool_destroy(NULL);
}

#if defined(__x86_64__)
static void flush_to_zero(void *argument, size_t index, unsigned worker, void *scratch)
{
    (void)argument;
    (void)index;
    (void)worker;
    (void)scratch;
    _mm_setcsr(FB_FPENV_WANT | 0x8000);
}

static void a_changed_environment_is_seen(void **state)
{
    fb_pool *pool;

    (void)state;
    assert_int_equal(fb_pool_create(&pool, 2, NULL), FB_OK);
    assert_true(fb_pool_fpenv_ok(pool));
    _mm_setcsr(FB_FPENV_WANT | 0x3f); /* exceptions that happened are not a change */
    assert_true(fb_pool_fpenv_ok(pool));
    fb_pool_run(pool, 100, flush_to_zero, NULL);
    assert_false(fb_pool_fpenv_ok(pool));
    fb_fpenv_set();
    fb_pool_destroy(pool);

    /* A new pool sets the caller's environment too. */
    _mm_setcsr(FB_FPENV_WANT | 0x8040);
    assert_int_equal(fb_pool_create(&pool, 1, NULL), FB_OK);
    assert_true(fb_fpenv_ok());
    fb_pool_destroy(pool);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_runs_once_with_a_scratch_of_its_own),
        cmocka_unit_test(runs_do_not_overlap),
        cmocka_unit_test(a_run_ends_when_its_slowest_task_has),
        cmocka_unit_test(a_bad_thread_count_is_refused),
#if defined(__x86_64__)
        cmocka_unit_test(a_changed_environment_is_seen),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
