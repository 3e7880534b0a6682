/* SPDX-License-Identifier: Apache-2.0
 *
 * test_kernel_tables.c - choosing a table, its fingerprint, the OpenBLAS table, the sums that
 * callers use by themselves.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/hash.h"
#include "kernels/kernels.h"

/* Of contract 1. A change here is a change of bits, hence of the contract's number. */
#define GOLDEN_FINGERPRINT "e081cbcf3ccd8d4dbcf841c1c30b0e30"

static fb_pool *pool_of(unsigned threads)
{
    fb_pool *pool = NULL;

    assert_int_equal(fb_pool_create(&pool, threads, NULL), FB_OK);
    return pool;
}

static void every_table_has_the_golden_fingerprint(void **state)
{
    char hex[FB_HASH_HEX_BYTES];

    (void)state;
    for (unsigned threads = 1; threads <= 7; threads += threads < 3 ? 1 : 4) {
        fb_pool *pool = pool_of(threads);

        for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
            const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
            if (kernels != NULL)
                assert_string_equal(fb_hash_hex(hex, fb_kernels_fingerprint(kernels, pool)),
                                    GOLDEN_FINGERPRINT);
        }
        fb_pool_destroy(pool);
    }
}

/* Every entry reaches the fingerprint: a table with one entry replaced has another one. */
static void one_off_matmul(fb_pool *pool, const fb_matmul *x)
{
    fb_kernels_for(FB_ISA_REF)->matmul(pool, x);
    x->c[0] = nextafterf(x->c[0], 1e30f);
}

static void one_off_dropout(fb_pool *pool, float *y, const float *x, size_t n, double p,
                            const fb_philox *stream, uint64_t position)
{
    fb_kernels_for(FB_ISA_REF)->dropout(pool, y, x, n, p, stream, position + 1);
}

static void a_changed_kernel_changes_the_fingerprint(void **state)
{
    fb_pool *pool = pool_of(1);
    fb_kernels changed = *fb_kernels_for(FB_ISA_REF);
    const fb_hash want = fb_kernels_fingerprint(&changed, pool);

    (void)state;
    changed.matmul = one_off_matmul;
    assert_false(fb_hash_equal(want, fb_kernels_fingerprint(&changed, pool)));
    changed = *fb_kernels_for(FB_ISA_REF);
    changed.dropout = one_off_dropout;
    assert_false(fb_hash_equal(want, fb_kernels_fingerprint(&changed, pool)));
    fb_pool_destroy(pool);
}

static void tables_are_found_by_name(void **state)
{
    (void)state;
    assert_non_null(fb_kernels_for(FB_ISA_REF));
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);

        if (kernels == NULL)
            continue;
        assert_ptr_equal(fb_kernels_named(kernels->name), kernels);
        assert_int_equal(kernels->contract, FB_CONTRACT);
    }
    assert_null(fb_kernels_named("sse9"));
    assert_null(fb_kernels_named(""));
    assert_non_null(fb_kernels_best());
    assert_null(fb_kernels_for(FB_ISA_COUNT));
}

static void openblas_promises_no_bits_and_is_close(void **state)
{
    const fb_kernels *ref = fb_kernels_for(FB_ISA_REF), *blas = NULL;
    static float a[30 * 50], b[50 * 40], bias[40], want[30 * 40], got[30 * 40];
    fb_matmul x = {.a = a,
                   .b = b,
                   .bias = bias,
                   .m = 30,
                   .n = 40,
                   .k = 50,
                   .lda = 50,
                   .ldb = 40,
                   .ldc = 40,
                   .batch = 1,
                   .accumulate = true};
    const fb_philox stream = {.seed = 3};
    fb_pool *pool = pool_of(1);
    fb_error err;

    (void)state;
    if (fb_kernels_openblas(&blas, ref, 1, &err) != FB_OK) {
        assert_int_equal(err.status, FB_E_NOT_FOUND);
        fb_pool_destroy(pool);
        skip();
    }
    assert_int_equal(blas->contract, 0);
    assert_string_equal(blas->name, "openblas");
    assert_true(blas->layernorm == ref->layernorm);
    ref->fill_normal(pool, a, 30 * 50, 0, 1, &stream, 0);
    ref->fill_normal(pool, b, 50 * 40, 0, 1, &stream, 5000);
    ref->fill_normal(pool, bias, 40, 0, 1, &stream, 9000);
    for (int i = 0; i < 30 * 40; i++)
        want[i] = got[i] = (float)i / 100;
    x.c = want;
    ref->matmul(pool, &x);
    x.c = got;
    blas->matmul(pool, &x);
    for (int i = 0; i < 30 * 40; i++) /* 52 roundings of terms below about 15 */
        assert_true(fabsf(want[i] - got[i]) < 52 * 15 * 0x1p-24f);
    assert_int_equal(fb_kernels_openblas(&blas, blas, 1, &err), FB_E_USAGE);
    fb_pool_destroy(pool);
}

static double tree(const double *parts, size_t n)
{
    size_t left = 1;

    if (n < 2)
        return n == 0 ? 0.0 : parts[0];
    while (2 * left < n)
        left *= 2;
    return tree(parts, left) + tree(parts + left, n - left);
}

static void parts_join_by_the_tree(void **state)
{
    double parts[70], copy[70];

    (void)state;
    for (size_t n = 0; n <= 70; n++) {
        for (size_t i = 0; i < n; i++)
            copy[i] = parts[i] = (i % 3 == 0 ? 1.0 : -1e-3) / (double)(i + 1);
        assert_true(fb_tree_sum_f64(copy, n) == tree(parts, n));
    }
}

static void the_row_sum_for_callers_is_that_of_the_kernels(void **state)
{
    enum { N = 9000 };
    static float x[N];
    fb_pool *pool = pool_of(1);
    const fb_philox stream = {.seed = 4};

    (void)state;
    fb_kernels_best()->fill_normal(pool, x, N, 0, 1, &stream, 0);
    for (size_t n = 0; n <= N; n += n < 40 ? 1 : 1117) {
        float want;
        fb_kernels_best()->row_sums(pool, &want, x, 1, n);
        assert_true((float)fb_row_sum_f64(x, n) == want);
    }
    fb_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_has_the_golden_fingerprint),
        cmocka_unit_test(a_changed_kernel_changes_the_fingerprint),
        cmocka_unit_test(tables_are_found_by_name),
        cmocka_unit_test(openblas_promises_no_bits_and_is_close),
        cmocka_unit_test(parts_join_by_the_tree),
        cmocka_unit_test(the_row_sum_for_callers_is_that_of_the_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
