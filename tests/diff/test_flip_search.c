/* SPDX-License-Identifier: Apache-2.0
 *
 * test_flip_search.c - the search finds the bit that was flipped, for every size and place at which
 * the hash works differently, and finds nothing where no single bit explains a hash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "diff/read/flip_search.h"

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Bits of every kind: numbers of all sizes, some NaNs and infinities. */
static void fill(uint32_t *bits, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t r = next_random(&seed);

        bits[i] = (uint32_t)(r >> 8);
        if (r % 16 == 0)
            bits[i] = 0x7fc00000u | (uint32_t)(r >> 40);
        if (r % 16 == 1)
            bits[i] = 0x3f800000u;
    }
}

static fb_hash flipped_hash(uint32_t *bits, size_t n, uint64_t element, uint32_t bit)
{
    fb_hash hash;

    bits[element] ^= (uint32_t)1 << bit;
    hash = fb_tensor_hash(NULL, FB_DTYPE_F32, bits, 4 * n, NULL);
    bits[element] ^= (uint32_t)1 << bit;
    return hash;
}

static uint32_t canonical(uint32_t bits)
{
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
}

static void check(fb_pool *pool, uint32_t *bits, size_t n, uint64_t element, uint32_t bit)
{
    const fb_hash plain = fb_tensor_hash(NULL, FB_DTYPE_F32, bits, 4 * n, NULL);
    const fb_hash wanted = flipped_hash(bits, n, element, bit);
    fb_flip_search found;

    if (fb_hash_equal(plain, wanted))
        return; /* one NaN became another: nothing to find */
    assert_int_equal(fb_search_flip(&found, pool, FB_DTYPE_F32, bits, 4 * n, wanted, 60, NULL),
                     FB_OK);
    if (!found.found || found.element != element)
        fail_msg("%zu elements, element %d, bit %u: found %d at %d", n, (int)element, bit,
                 found.found, (int)found.element);
    /* A number may become a NaN by more than one flip: the hash is that of all of them. */
    assert_int_equal(canonical(bits[element] ^ (uint32_t)1 << found.bit),
                     canonical(bits[element] ^ (uint32_t)1 << bit));
}

static void the_flipped_bit_is_found_in_tensors_of_all_sizes(void **state)
{
    /* Around 240 bytes (another hash), 1 KiB (a scramble), 64 KiB (a block). */
    static const size_t sizes[] = {1,   2,   15,  16,  59,   60,    61,    64,    65,   80,
                                   255, 256, 257, 300, 1024, 16383, 16384, 16385, 40000};
    uint32_t *bits = malloc(40000 * sizeof *bits);

    (void)state;
    assert_non_null(bits);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t n = sizes[s];
        const uint64_t places[] = {0, n - 1, n / 2, n > 17 ? n - 17 : 0, n > 16 ? n - 16 : 0};
        uint64_t seed = n;

        fill(bits, n, n);
        for (size_t p = 0; p < sizeof places / sizeof places[0]; p++)
            check(NULL, bits, n, places[p], (uint32_t)(next_random(&seed) % 32));
        for (int i = 0; i < (n > 1000 ? 4 : 40); i++)
            check(NULL, bits, n, next_random(&seed) % n, (uint32_t)(next_random(&seed) % 32));
    }
    free(bits);
}

static void every_bit_of_an_element_is_found(void **state)
{
    uint32_t bits[400];

    (void)state;
    fill(bits, 400, 5);
    for (uint64_t element = 0; element < 400; element += 57)
        for (uint32_t bit = 0; bit < 32; bit++)
            check(NULL, bits, 400, element, bit);
}

static void threads_find_the_same_bit(void **state)
{
    enum { COUNT = 200000 };
    uint32_t *bits = malloc(COUNT * sizeof *bits);
    fb_pool *pool;

    (void)state;
    assert_non_null(bits);
    assert_int_equal(fb_pool_create(&pool, 3, NULL), FB_OK);
    fill(bits, COUNT, 6);
    check(pool, bits, COUNT, 123456, 3);
    check(pool, bits, COUNT, 7, 31);
    check(pool, bits, COUNT, COUNT - 1, 0);
    fb_pool_destroy(pool);
    free(bits);
}

static void nothing_is_found_where_two_bits_differ(void **state)
{
    uint32_t bits[300];
    fb_flip_search found;
    fb_hash wanted;

    (void)state;
    fill(bits, 300, 7);
    bits[10] ^= 4;
    wanted = flipped_hash(bits, 300, 200, 9);
    bits[10] ^= 4;
    assert_int_equal(
        fb_search_flip(&found, NULL, FB_DTYPE_F32, bits, sizeof bits, wanted, 60, NULL), FB_OK);
    assert_false(found.found);
    assert_true(found.complete);
    assert_int_equal(fb_search_flip(&found, NULL, FB_DTYPE_F32, bits, 0, wanted, 60, NULL), FB_OK);
    assert_false(found.found);
}

static void a_search_out_of_time_says_so(void **state)
{
    enum { COUNT = 1 << 20 };
    uint32_t *bits = calloc(COUNT, sizeof *bits);
    fb_flip_search found;

    (void)state;
    assert_non_null(bits);
    assert_int_equal(
        fb_search_flip(&found, NULL, FB_DTYPE_F32, bits, 4 * COUNT, (fb_hash){1, 2}, 0, NULL),
        FB_OK);
    assert_false(found.found);
    assert_false(found.complete);
    free(bits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_flipped_bit_is_found_in_tensors_of_all_sizes),
        cmocka_unit_test(every_bit_of_an_element_is_found),
        cmocka_unit_test(threads_find_the_same_bit),
        cmocka_unit_test(nothing_is_found_where_two_bits_differ),
        cmocka_unit_test(a_search_out_of_time_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
