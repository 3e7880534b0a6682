/* SPDX-License-Identifier: Apache-2.0
 *
 * test_matmul_order.c - the order of a product's sum, found out from its outputs alone.
 *
 * After FPRev (Xie et al. 2025): with a_i = M, a_j = -M and units elsewhere, the huge M swamps
 * every unit that is added between it and -M, so the result counts the units that join after M and
 * -M have met. That number, for all pairs, is the shape of the tree; the test rebuilds it from the
 * contract's words (blocks of 256, a chain in each, blocks joined in order) and compares. What the
 * outputs tell is not what the code says: nothing here looks at the kernels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/kernels.h"

enum { K = 700, BLOCK = 256 };

static fb_pool *pool;

static int start(void **state)
{
    (void)state;
    return fb_pool_create(&pool, 2, NULL) == FB_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    fb_pool_destroy(pool);
    return 0;
}

/* Units that join outside the smallest subtree that holds both i < j, or, where `bias` or C is
 * part of the sum, so many more. */
static size_t units_outside(size_t i, size_t j)
{
    const size_t block_j = j / BLOCK;
    const size_t end = (block_j + 1) * BLOCK < K ? (block_j + 1) * BLOCK : K;

    /* One chain: everything from its start to j is inside, as +0 and the units before i are swamped
     * when M arrives. */
    if (i / BLOCK == block_j)
        return K - (j - block_j * BLOCK + 1);
    /* Two blocks: all before, and all of block j, join before M and -M meet. */
    return K - end;
}

typedef enum layout { NN, NT, TN, TT, LAYOUTS } layout;

/* The product of one row of a with columns that are all alike, as an m x n product. */
static void check_layout(const fb_kernels *kernels, layout how, size_t m, size_t n, size_t i,
                         size_t j)
{
    static float a[K * 20], b[K * 40], c[20 * 40];
    fb_matmul x = {.c = c, .a = a, .b = b, .m = m, .n = n, .k = K, .ldc = n, .batch = 1};
    const float huge = 0x1p50f;

    x.a_transposed = how == TN || how == TT;
    x.b_transposed = how == NT || how == TT;
    x.lda = x.a_transposed ? m : K;
    x.ldb = x.b_transposed ? K : n;
    for (size_t k = 0; k < K; k++) {
        const float value = k == i ? huge : k == j ? -huge : 1.0f;

        for (size_t r = 0; r < m; r++)
            a[x.a_transposed ? k * m + r : r * K + k] = value;
        for (size_t r = 0; r < n; r++)
            b[x.b_transposed ? r * K + k : k * n + r] = 1.0f;
    }
    kernels->matmul(pool, &x);
    for (size_t at = 0; at < m * n; at++)
        if (c[at] != (float)units_outside(i, j))
            fail_msg("%s, layout %d, %zux%zu: units %zu and %zu: %g join outside, not %zu",
                     kernels->name, (int)how, m, n, i, j, (double)c[at], units_outside(i, j));
}

static void the_tree_seen_in_outputs_is_that_of_the_contract(void **state)
{
    static const size_t shapes[][2] = {{1, 1}, {1, 40}, {2, 33}, {20, 40}, {17, 1}};
    static const size_t places[] = {0,   1,   2,   3,   7,   8,   15,  16,  17,
                                    100, 127, 128, 254, 255, 256, 257, 300, 383,
                                    384, 510, 511, 512, 513, 600, 698, 699};
    const size_t n = sizeof places / sizeof places[0];

    (void)state;
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);

        for (size_t i = 0; kernels != NULL && i < n; i++)
            for (size_t j = i + 1; j < n; j++) {
                const size_t *shape = shapes[(i + j) % 5];
                check_layout(kernels, (layout)((i * 7 + j) % LAYOUTS), shape[0], shape[1],
                             places[i], places[j]);
            }
    }
}

/* A product step is fused: (1 + e)(1 - e) - 1 is -e², which a rounded product loses. */
static void each_step_is_fused(void **state)
{
    const float e = 0x1p-13f, a[2] = {1.0f, 1.0f + e}, b[2] = {-1.0f, 1.0f - e};

    (void)state;
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
        float c = 7.0f;
        const fb_matmul x = {.c = &c,
                             .a = a,
                             .b = b,
                             .m = 1,
                             .n = 1,
                             .k = 2,
                             .lda = 2,
                             .ldb = 1,
                             .ldc = 1,
                             .batch = 1};

        if (kernels == NULL)
            continue;
        kernels->matmul(pool, &x);
        assert_true(c == -e * e);
    }
}

/* With no step the result is +0, not whatever was there, and -0 of C stays when accumulating. */
static void an_empty_sum_is_plus_zero_or_c(void **state)
{
    (void)state;
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
        float c = -0.0f, unused = 1.0f;
        fb_matmul x = {.c = &c,
                       .a = &unused,
                       .b = &unused,
                       .m = 1,
                       .n = 1,
                       .k = 0,
                       .lda = 1,
                       .ldb = 1,
                       .ldc = 1,
                       .accumulate = true,
                       .batch = 1};

        if (kernels == NULL)
            continue;
        kernels->matmul(pool, &x);
        assert_true(__builtin_signbit(c) != 0);
        x.accumulate = false;
        kernels->matmul(pool, &x);
        assert_true(c == 0.0f && __builtin_signbit(c) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_seen_in_outputs_is_that_of_the_contract),
        cmocka_unit_test(each_step_is_fused),
        cmocka_unit_test(an_empty_sum_is_plus_zero_or_c),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
