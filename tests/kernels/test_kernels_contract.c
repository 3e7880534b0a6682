/* SPDX-License-Identifier: Apache-2.0
 *
 * test_kernels_contract.c - every kernel of every table has the bits of the contract's text
 * (naive.c).
 */
#include "tests/kernels/compare.h"

#include "kernels/kernels.h"
#include "tests/kernels/naive.h"

static void check(const kernel_case *c)
{
    static const unsigned threads[FB_ISA_COUNT] = {1, 2, 3, 2};
    outputs want = {0};

    run_case(&want, c, &naive_kernels, pool_of(1));
    check_guards(&want, c, "naive");
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
        if (kernels != NULL)
            check_case(c, &want, "the contract", kernels, threads[isa]);
    }
    free_outputs(&want);
}

#define CLAIM(name)                                                                                \
    static void name##_has_the_bits_of_the_contract(void **state)                                  \
    {                                                                                              \
        (void)state;                                                                               \
        for (uint64_t seed = 0; seed < 60; seed++) {                                               \
            const kernel_case c = random_case(CASE_##name, seed, seed < 30 ? 5 : 19);              \
            check(&c);                                                                             \
        }                                                                                          \
    }
CASE_LIST(CLAIM)
#undef CLAIM

/* Sizes at which something in the contract or in an implementation begins anew. */
static void sizes_at_edges_have_the_bits_of_the_contract(void **state)
{
    static const kernel_case cases[] = {
        {CASE_matmul, {1, 1, 256, 1}, 0, NUMBERS_PLAIN, 1},
        {CASE_matmul, {1, 1, 257, 1}, 4, NUMBERS_PLAIN, 2},
        {CASE_matmul, {3, 33, 513, 1}, 8, NUMBERS_PLAIN, 3},
        {CASE_matmul, {15, 31, 769, 1}, 14, NUMBERS_WIDE, 4},
        {CASE_matmul, {29, 65, 255, 2}, 1, NUMBERS_PLAIN, 5},
        {CASE_matmul, {2, 130, 300, 1}, 2, NUMBERS_NONFINITE, 6},
        {CASE_matmul, {57, 70, 260, 1}, 12, NUMBERS_PLAIN, 7},
        {CASE_matmul, {1, 200, 300, 1}, 0, NUMBERS_PLAIN, 8},
        {CASE_matmul, {340, 40, 258, 1}, 4, NUMBERS_PLAIN, 9},
        {CASE_matmul, {5, 2060, 257, 1}, 2, NUMBERS_PLAIN, 10},
        /* B is copied while it is used: a ragged last panel; blocks of rows that find it copied;
         * more columns than a block has. */
        {CASE_matmul, {90, 100, 300, 1, 5}, 5, NUMBERS_PLAIN, 11},
        {CASE_matmul, {345, 97, 258, 1, 0}, 8, NUMBERS_WIDE, 12},
        {CASE_matmul, {88, 2090, 17, 1, 0}, 0, NUMBERS_PLAIN, 13},
        {CASE_row_sums, {3, 4096}, 0, NUMBERS_PLAIN, 1},
        {CASE_row_sums, {2, 4097}, 0, NUMBERS_WIDE, 2},
        {CASE_sum_squares, {1, 7 * 4096 - 1}, 0, NUMBERS_WIDE, 1},
        {CASE_sum_squares, {100, 4096 + 5}, 0, NUMBERS_WIDE, 2},
        {CASE_column_sums, {700, 17}, 0, NUMBERS_PLAIN, 1},
        {CASE_layernorm, {2, 4101}, 1, NUMBERS_PLAIN, 1},
        {CASE_layernorm, {3, 768}, 1, NUMBERS_PLAIN, 2},
        {CASE_cross_entropy, {2, 4200}, 0, NUMBERS_PLAIN, 1},
        {CASE_squared_error, {2, 4200}, 0, NUMBERS_PLAIN, 1},
        {CASE_attention, {1, 33, 1, 5}, 1, NUMBERS_PLAIN, 1},
        {CASE_attention, {1, 256, 1, 4}, 1, NUMBERS_PLAIN, 2},
        {CASE_attention, {1, 263, 1, 6}, 1, NUMBERS_PLAIN, 3},
        {CASE_attention, {1, 530, 1, 3}, 1, NUMBERS_PLAIN, 4},
        {CASE_attention, {1, 530, 1, 3}, 0, NUMBERS_PLAIN, 5},
        {CASE_attention, {1, 9, 1, 300}, 1, NUMBERS_PLAIN, 6},
        {CASE_embedding, {2, 5, 1030, 7}, 1, NUMBERS_PLAIN, 1},
        {CASE_embedding, {3, 4, 20, 900}, 1, NUMBERS_PLAIN, 2},
        {CASE_conv2d, {2, 30, 5, 6, 15, 3, 1, 1}, 1, NUMBERS_PLAIN, 1},
        {CASE_conv2d, {3, 1, 14, 13, 5, 5, 2, 2}, 1, NUMBERS_PLAIN, 2},
        /* Read in windows: two blocks of steps; a row of several tiles; planes cut into bands; more
         * padding than kernel; weights that are packed again for each image. */
        {CASE_conv2d, {2, 30, 9, 31, 15, 3, 1, 1}, 1, NUMBERS_PLAIN, 4},
        {CASE_conv2d, {5, 2, 5, 47, 20, 2, 1, 1}, 1, NUMBERS_PLAIN, 5},
        {CASE_conv2d, {1, 16, 90, 100, 2, 2, 1, 1}, 1, NUMBERS_PLAIN, 6},
        {CASE_conv2d, {1, 3, 4, 12, 5, 1, 1, 3}, 0, NUMBERS_PLAIN, 7},
        {CASE_conv2d, {2, 2, 3, 15, 340, 3, 1, 0}, 1, NUMBERS_PLAIN, 8},
        /* The gradient of the weight in windows: small planes, of which a block has many; strides;
         * two columns of panels; channels in two tasks. */
        {CASE_conv2d, {70, 3, 3, 3, 14, 2, 1, 0}, 1, NUMBERS_PLAIN, 9},
        {CASE_conv2d, {9, 5, 11, 14, 30, 3, 3, 1}, 1, NUMBERS_PLAIN, 10},
        {CASE_conv2d, {2, 20, 12, 13, 60, 3, 2, 2}, 0, NUMBERS_PLAIN, 11},
        {CASE_pool2d, {1, 2, 70, 72, 1, 65, 2, 3}, 0, NUMBERS_PLAIN, 3},
        {CASE_elementwise, {1, 40000}, 0, NUMBERS_PLAIN, 1},
        {CASE_random, {1, 40001, 3}, 0, NUMBERS_PLAIN, 3},
        {CASE_optimizer, {1, 40001}, 3, NUMBERS_PLAIN, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check(&cases[i]);
}

/* Huge numbers at random places that cancel: the result counts what was added outside of them. */
static void the_order_of_long_sums_is_that_of_the_contract(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        const size_t n = 4096 * (seed % 9) + 1 + seed * 211;
        const kernel_case cases[] = {
            {CASE_row_sums, {1, n}, 0, NUMBERS_SWAMP, seed},
            {CASE_row_sums, {9, 100}, 0, NUMBERS_SWAMP, seed},
            {CASE_column_sums, {n % 700 + 2, 2}, 0, NUMBERS_SWAMP, seed},
            {CASE_layernorm, {1, n}, 1, NUMBERS_SWAMP, seed},
            {CASE_embedding, {9, 2, 3, 2}, 1, NUMBERS_SWAMP, seed},
            {CASE_matmul, {1, 2, 900, 1}, 0, NUMBERS_SWAMP, seed},
        };

        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            check(&cases[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define REGISTER(name) cmocka_unit_test(name##_has_the_bits_of_the_contract),
        CASE_LIST(REGISTER)
#undef REGISTER
            cmocka_unit_test(sizes_at_edges_have_the_bits_of_the_contract),
        cmocka_unit_test(the_order_of_long_sums_is_that_of_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
