/* SPDX-License-Identifier: Apache-2.0
 *
 * test_philox.c - random words are Random123's, whatever the position at which they are asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "kernels/philox.h"

/* Known answers of philox4x32, 10 rounds, from Random123's kat_vectors: counter, key, output. */
static void words_are_the_known_answers_of_random123(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const uint64_t block = (uint64_t)known[i].counter[1] << 32 | known[i].counter[0];
        const fb_philox stream = {(uint64_t)known[i].key[1] << 32 | known[i].key[0],
                                  known[i].counter[2], known[i].counter[3]};
        uint32_t word[PHILOX_WORDS];

        /* Positions reach the blocks below 2^62; the vectors need all of them. */
        philox_blocks(word, &stream, block);
        assert_memory_equal(word, known[i].want, sizeof known[i].want);
        if (block >> 62 != 0)
            continue;
        fb_philox_words(word, 4, &stream, block << 2);
        assert_memory_equal(word, known[i].want, sizeof known[i].want);
    }
}

static void any_position_gives_the_same_words(void **state)
{
    const fb_philox stream = {.seed = 0x0123456789abcdef, .step = 3, .stream = 0xfeedbeef};
    uint32_t all[300], part[300];

    (void)state;
    fb_philox_words(all, 300, &stream, 1000);
    for (size_t from = 0; from < 70; from++)
        for (size_t n = 0; n < 200; n += 13) {
            memset(part, 0xa5, sizeof part);
            fb_philox_words(part, n, &stream, 1000 + from);
            assert_memory_equal(part, all + from, n * sizeof part[0]);
            assert_int_equal(part[n], 0xa5a5a5a5);
        }
}

static void the_counter_carries_into_its_second_word(void **state)
{
    const fb_philox stream = {.seed = 5, .step = 1, .stream = 2};
    const uint64_t edge = UINT64_C(1) << 34; /* position of block 2^32 */
    uint32_t across[8], first[4], second[4];

    (void)state;
    fb_philox_words(across, 8, &stream, edge - 4);
    fb_philox_words(first, 4, &stream, edge - 4);
    fb_philox_words(second, 4, &stream, edge);
    assert_memory_equal(across, first, sizeof first);
    assert_memory_equal(across + 4, second, sizeof second);
    fb_philox_words(first, 4, &stream, 0);
    assert_memory_not_equal(first, second, sizeof first);
}

static void seed_step_and_stream_each_change_the_words(void **state)
{
    const fb_philox base = {.seed = 1, .step = 2, .stream = 3};
    const fb_philox others[] = {{2, 2, 3}, {1 | UINT64_C(1) << 32, 2, 3}, {1, 3, 3}, {1, 2, 4}};
    uint32_t want[4], got[4];

    (void)state;
    fb_philox_words(want, 4, &base, 0);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        fb_philox_words(got, 4, &others[i], 0);
        assert_memory_not_equal(want, got, sizeof want);
    }
}

static void bounded_numbers_are_the_high_half_of_a_product(void **state)
{
    const fb_philox stream = {.seed = 42, .step = 1, .stream = 9};
    uint32_t word[20];

    (void)state;
    fb_philox_words(word, 20, &stream, 0);
    for (uint64_t i = 0; i < 10; i++) {
        const uint64_t u = (uint64_t)word[2 * i + 1] << 32 | word[2 * i];

        assert_int_equal(fb_philox_bounded(&stream, i, 1), 0);
        assert_int_equal(fb_philox_bounded(&stream, i, UINT64_C(1) << 32), u >> 32);
        assert_true(fb_philox_bounded(&stream, i, 1000) ==
                    (uint64_t)((unsigned __int128)u * 1000 >> 64));
        assert_true(fb_philox_bounded(&stream, i, UINT64_MAX) <= u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_the_known_answers_of_random123),
        cmocka_unit_test(any_position_gives_the_same_words),
        cmocka_unit_test(the_counter_carries_into_its_second_word),
        cmocka_unit_test(seed_step_and_stream_each_change_the_words),
        cmocka_unit_test(bounded_numbers_are_the_high_half_of_a_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
