/* SPDX-License-Identifier: Apache-2.0
 *
 * test_bytes.c - reading never leaves its bytes, and what was written is read back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void numbers_are_little_endian(void **state)
{
    static const uint8_t bytes[] = {1,  0x02, 0x03, 4, 5, 6, 7, 8, 9, 10,   11,  12,
                                    13, 14,   15,   0, 0, 0, 0, 0, 0, 0xf8, 0x3f};
    fb_bytes b = fb_bytes_of(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(fb_bytes_u8(&b), 1);
    assert_int_equal(fb_bytes_u16(&b), 0x0302);
    assert_int_equal(fb_bytes_u32(&b), 0x07060504);
    assert_true(fb_bytes_u64(&b) == 0x0f0e0d0c0b0a0908);
    assert_true(fb_bytes_f64(&b) == 1.5);
    assert_int_equal(fb_bytes_left(&b), 0);
    assert_false(b.failed);
}

static void a_read_past_the_end_fails_for_good(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};

    (void)state;
    for (size_t n = 0; n <= 3; n++) {
        fb_bytes b = fb_bytes_of(bytes, n);

        assert_int_equal(fb_bytes_u32(&b), 0);
        assert_true(b.failed);
        assert_int_equal(fb_bytes_u8(&b), 0); /* though one byte might be left */
        assert_null(fb_bytes_take(&b, 0));
    }
    fb_bytes b = fb_bytes_of(bytes, 3);
    assert_null(fb_bytes_take(&b, SIZE_MAX));
    assert_true(b.failed);
}

static uint64_t varint_of(const uint8_t *bytes, size_t n, bool *failed)
{
    fb_bytes b = fb_bytes_of(bytes, n);
    const uint64_t value = fb_bytes_varint(&b);

    *failed = b.failed;
    return value;
}

static void varints_come_back(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++)
        for (int delta = -1; delta <= 1; delta++) {
            const uint64_t value = (UINT64_C(1) << shift) + (uint64_t)(int64_t)delta;
            fb_buffer buffer = {0};
            bool failed;

            fb_buffer_varint(&buffer, value);
            assert_true(varint_of(buffer.data, buffer.count, &failed) == value);
            assert_false(failed);
            varint_of(buffer.data, buffer.count - 1, &failed); /* cut short */
            assert_true(failed);
            fb_buffer_free(&buffer);
        }
}

static void bad_varints_are_refused(void **state)
{
    static const struct {
        uint8_t bytes[11];
        size_t n;
    } bad[] = {
        {{0x80, 0x00}, 2},                                                        /* overlong */
        {{0xff, 0xff, 0x00}, 3},                                                  /* overlong */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10},       /* 2^64 */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00}, 11}, /* 11 bytes */
        {{0}, 0},
    };
    static const uint8_t largest[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    bool failed;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        varint_of(bad[i].bytes, bad[i].n, &failed);
        assert_true(failed);
    }
    assert_true(varint_of(largest, sizeof largest, &failed) == UINT64_MAX);
    assert_false(failed);
}

static void a_buffer_grows_and_keeps_its_contents(void **state)
{
    fb_buffer buffer = {0};
    fb_bytes b;

    (void)state;
    for (uint32_t i = 0; i < 10000; i++)
        fb_buffer_u32(&buffer, i);
    fb_buffer_append(&buffer, NULL, 0);
    fb_buffer_f64(&buffer, -0.0);
    assert_int_equal(buffer.count, 40008);
    b = fb_bytes_of(buffer.data, buffer.count);
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(fb_bytes_u32(&b), i);
    assert_true(__builtin_signbit(fb_bytes_f64(&b)) != 0);
    fb_buffer_free(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.count, 0);
}

static void a_buffer_that_cannot_grow_keeps_what_it_has(void **state)
{
    fb_buffer buffer = {0};

    (void)state;
    fb_buffer_u8(&buffer, 7);
    assert_false(fb_buffer_reserve(&buffer, SIZE_MAX));
    assert_true(buffer.failed);
    fb_buffer_u8(&buffer, 8);
    assert_int_equal(buffer.count, 1);
    assert_int_equal(buffer.data[0], 7);
    fb_buffer_free(&buffer);
    assert_false(buffer.failed);
}

static void zigzag_keeps_small_magnitudes_small(void **state)
{
    static const int64_t values[] = {0, -1, 1, -2, 2, INT64_MAX, INT64_MIN};
    static const uint64_t want[] = {0, 1, 2, 3, 4, UINT64_MAX - 1, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        assert_true(fb_zigzag(values[i]) == want[i]);
        assert_true(fb_unzigzag(want[i]) == values[i]);
    }
}

static void float_bits_come_back(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0xff000000u; bits += 0x00fffffd)
        assert_int_equal(fb_float_bits(fb_float_of_bits(bits)), bits);
    assert_int_equal(fb_float_bits(-1.0f), 0xbf800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(a_read_past_the_end_fails_for_good),
        cmocka_unit_test(varints_come_back),
        cmocka_unit_test(bad_varints_are_refused),
        cmocka_unit_test(a_buffer_grows_and_keeps_its_contents),
        cmocka_unit_test(a_buffer_that_cannot_grow_keeps_what_it_has),
        cmocka_unit_test(zigzag_keeps_small_magnitudes_small),
        cmocka_unit_test(float_bits_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
