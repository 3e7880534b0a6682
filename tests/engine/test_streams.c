/* SPDX-License-Identifier: Apache-2.0
 *
 * test_streams.c - random streams: numbers from names, collisions, permutations.
 */
#include "engine/streams.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#include "base/hash.h"

static void a_stream_is_keyed_by_seed_step_and_name(void **state)
{
    (void)state;
    fb_streams *streams;
    size_t shuffle, weight;

    assert_int_equal(fb_streams_create(&streams, 42, NULL), FB_OK);
    assert_int_equal(fb_streams_add(&shuffle, streams, "shuffle", NULL), FB_OK);
    assert_int_equal(fb_streams_add(&weight, streams, "h.0.fc.weight", NULL), FB_OK);
    assert_int_equal(shuffle, 0);
    assert_int_equal(weight, 1);
    assert_int_equal(fb_streams_count(streams), 2);
    assert_string_equal(fb_streams_name(streams, 1), "h.0.fc.weight");

    const fb_philox at = fb_streams_at(streams, weight, 7);
    assert_int_equal(at.seed, 42);
    assert_int_equal(at.step, 7);
    assert_int_equal(at.stream, (uint32_t)fb_hash_name("h.0.fc.weight"));
    /* Pinned: a change of the hash or of its half would be another contract. */
    assert_int_equal(fb_streams_at(streams, shuffle, 0).stream, 0xd95842c4);
    fb_streams_destroy(streams);
    fb_streams_destroy(NULL);
}

/* Many streams: the registry grows, and a name keeps its number whatever comes before it. */
static void a_number_depends_on_the_name_alone(void **state)
{
    (void)state;
    fb_streams *few, *many;
    size_t index;
    char name[32];

    assert_int_equal(fb_streams_create(&few, 1, NULL), FB_OK);
    assert_int_equal(fb_streams_create(&many, 1, NULL), FB_OK);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "layer%d.weight", i);
        assert_int_equal(fb_streams_add(&index, many, name, NULL), FB_OK);
        assert_int_equal(index, i);
    }
    assert_int_equal(fb_streams_add(&index, few, "layer999.weight", NULL), FB_OK);
    assert_int_equal(fb_streams_at(few, 0, 5).stream, fb_streams_at(many, 999, 5).stream);
    fb_streams_destroy(few);
    fb_streams_destroy(many);
}

static void a_name_registers_once(void **state)
{
    (void)state;
    fb_streams *streams;
    fb_error err;
    size_t index = 5;

    assert_int_equal(fb_streams_create(&streams, 1, NULL), FB_OK);
    assert_int_equal(fb_streams_add(&index, streams, "shuffle", NULL), FB_OK);
    assert_int_equal(fb_streams_add(&index, streams, "shuffle", &err), FB_E_CONFIG);
    assert_string_equal(err.text, "random stream \"shuffle\" is registered twice");
    assert_int_equal(fb_streams_count(streams), 1);
    fb_streams_destroy(streams);
}

/* --- Collisions ------------------------------------------------------------------------------- */

enum { NAMES = 300000 };

static int compare_keys(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Two of 300,000 names "sN" with one number: by the birthday bound some ten pairs exist. */
static void find_collision(char a[16], char b[16])
{
    uint64_t *keys = malloc(NAMES * sizeof *keys);

    assert_non_null(keys);
    for (uint32_t i = 0; i < NAMES; i++) {
        (void)snprintf(a, 16, "s%u", (unsigned)i);
        keys[i] = fb_hash_name(a) << 32 | i;
    }
    qsort(keys, NAMES, sizeof *keys, compare_keys);
    for (uint32_t i = 1; i < NAMES; i++)
        if (keys[i] >> 32 == keys[i - 1] >> 32) {
            (void)snprintf(a, 16, "s%u", (unsigned)(uint32_t)keys[i - 1]);
            (void)snprintf(b, 16, "s%u", (unsigned)(uint32_t)keys[i]);
            free(keys);
            return;
        }
    fail_msg("no collision found");
}

static void two_names_with_one_number_are_refused(void **state)
{
    (void)state;
    char a[16], b[16], want[256];
    fb_streams *streams;
    fb_error err;
    size_t index;

    find_collision(a, b);
    assert_string_not_equal(a, b);
    assert_int_equal(fb_streams_create(&streams, 1, NULL), FB_OK);
    assert_int_equal(fb_streams_add(&index, streams, a, NULL), FB_OK);
    assert_int_equal(fb_streams_add(&index, streams, b, &err), FB_E_CONFIG);
    (void)snprintf(want, sizeof want,
                   "random streams \"%s\" and \"%s\" have the same number 0x%08x; rename the layer "
                   "of one",
                   a, b, (unsigned)(uint32_t)fb_hash_name(a));
    assert_string_equal(err.text, want);
    fb_streams_destroy(streams);
}

/* --- Permutations ----------------------------------------------------------------------------- */

/* The text of the contract, taken literally: i from n-1 down to 1, j = (u64·(i+1)) >> 64, exchange;
 * each u64 from two words, low one first. */
static void reference_permutation(uint64_t *out, uint64_t n, const fb_philox *stream,
                                  uint64_t position)
{
    uint64_t number = position;

    for (uint64_t i = 0; i < n; i++)
        out[i] = i;
    for (uint64_t i = n - 1; i >= 1 && n > 0; i--, number++) {
        uint32_t words[2];
        uint64_t j, kept;

        fb_philox_words(words, 2, stream, 2 * number);
        j = (uint64_t)(((unsigned __int128)((uint64_t)words[1] << 32 | words[0]) * (i + 1)) >> 64);
        kept = out[i];
        out[i] = out[j];
        out[j] = kept;
    }
}

static void a_permutation_is_fisher_yates_from_the_top(void **state)
{
    (void)state;
    uint64_t got[300], want[300];

    for (uint64_t n = 0; n <= 300; n += n < 10 ? 1 : 29)
        for (uint64_t position = 0; position < 5; position++) {
            const fb_philox stream = {.seed = 42 + n, .step = 3, .stream = 0xdeadbeef};
            bool seen[300] = {false};

            memset(got, 0xff, sizeof got);
            fb_permutation(got, n, &stream, position);
            reference_permutation(want, n, &stream, position);
            assert_memory_equal(got, want, n * sizeof *got);
            for (uint64_t i = 0; i < n; i++) {
                assert_true(got[i] < n && !seen[got[i]]);
                seen[got[i]] = true;
            }
            for (uint64_t i = n; i < 300; i++)
                assert_true(got[i] == UINT64_MAX);
        }
}

static void epochs_and_positions_change_the_permutation(void **state)
{
    (void)state;
    uint64_t first[64], other[64];
    const fb_philox stream = {.seed = 1, .step = 0, .stream = 5};
    const fb_philox next = {.seed = 1, .step = 1, .stream = 5};

    fb_permutation(first, 64, &stream, 0);
    fb_permutation(other, 64, &next, 0);
    assert_memory_not_equal(first, other, sizeof first);
    fb_permutation(other, 64, &stream, 1);
    assert_memory_not_equal(first, other, sizeof first);
    fb_permutation(other, 64, &stream, 0);
    assert_memory_equal(first, other, sizeof first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_keyed_by_seed_step_and_name),
        cmocka_unit_test(a_number_depends_on_the_name_alone),
        cmocka_unit_test(a_name_registers_once),
        cmocka_unit_test(two_names_with_one_number_are_refused),
        cmocka_unit_test(a_permutation_is_fisher_yates_from_the_top),
        cmocka_unit_test(epochs_and_positions_change_the_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
