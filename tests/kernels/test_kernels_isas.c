/* SPDX-License-Identifier: Apache-2.0
 *
 * test_kernels_isas.c - every instruction set, on any number of threads, has the bits of ref with
 * the fused multiply-add in software.
 */
#include "tests/kernels/compare.h"

#include "kernels/isa.h"
#include "kernels/kernels.h"
#include "tests/sanitized.h"

static const unsigned thread_counts[] = {1, 2, 3, 7};

static void check(const kernel_case *c)
{
    const fb_kernels *ref = &fb__kernels_ref;
    outputs want = {0};

    run_case(&want, c, ref, pool_of(1));
    check_guards(&want, c, "ref");
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
        for (size_t i = 0; kernels != NULL && i < sizeof thread_counts / sizeof thread_counts[0];
             i++)
            check_case(c, &want, "ref on 1 thread", kernels, thread_counts[i]);
    }
    free_outputs(&want);
}

#define CLAIM(name)                                                                                \
    static void name##_has_reference_bits_on_every_isa(void **state)                               \
    {                                                                                              \
        (void)state;                                                                               \
        for (uint64_t seed = 1000; seed < 1040; seed += seed < 1025 ? 1 : EVERY) {                 \
            const kernel_case c = random_case(CASE_##name, seed, seed < 1025 ? 17 : 70);           \
            check(&c);                                                                             \
        }                                                                                          \
    }
CASE_LIST(CLAIM)
#undef CLAIM

/* Large enough that each thread count cuts the work differently. */
static void large_shapes_have_reference_bits_on_every_isa(void **state)
{
    static const kernel_case cases[] = {
        {CASE_matmul, {200, 300, 520, 1, 3}, 8, NUMBERS_PLAIN, 1},
        {CASE_matmul, {200, 300, 520, 1, 0}, 3, NUMBERS_WIDE, 2},
        {CASE_matmul, {8, 1500, 700, 1, 0}, 2, NUMBERS_PLAIN, 3},
        {CASE_matmul, {1, 3000, 300, 1, 0}, 0, NUMBERS_PLAIN, 4},
        {CASE_matmul, {700, 9, 300, 2, 1}, 4, NUMBERS_PLAIN, 5},
        {CASE_matmul, {64, 64, 64, 9, 0}, 16, NUMBERS_PLAIN, 6},
        {CASE_attention, {2, 300, 3, 40}, 1, NUMBERS_PLAIN, 1},
        {CASE_attention, {1, 300, 2, 33}, 0, NUMBERS_PLAIN, 2},
        {CASE_sum_squares, {1000, 4321}, 0, NUMBERS_PLAIN, 1},
        {CASE_column_sums, {300, 1000}, 0, NUMBERS_WIDE, 1},
        {CASE_embedding, {8, 100, 100, 5000}, 1, NUMBERS_PLAIN, 1},
        {CASE_layernorm, {100, 1000}, 1, NUMBERS_PLAIN, 1},
        {CASE_cross_entropy, {60, 5000}, 0, NUMBERS_PLAIN, 1},
        {CASE_conv2d, {3, 16, 28, 28, 40, 5, 1, 2}, 1, NUMBERS_PLAIN, 1},
        {CASE_activation, {300, 300}, FB_ACTIVATION_GELU, NUMBERS_PLAIN, 2},
        {CASE_activation, {300, 300}, FB_ACTIVATION_GELU_TANH, NUMBERS_PLAIN, 2},
        {CASE_random, {500, 500, 77}, 0, NUMBERS_PLAIN, 4},
        {CASE_optimizer, {500, 500}, 3, NUMBERS_PLAIN, 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i += EVERY)
        check(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define REGISTER(name) cmocka_unit_test(name##_has_reference_bits_on_every_isa),
        CASE_LIST(REGISTER)
#undef REGISTER
            cmocka_unit_test(large_shapes_have_reference_bits_on_every_isa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
