/* SPDX-License-Identifier: Apache-2.0
 *
 * test_sha256.c - the published examples of FIPS 180-4 and RFC 4231.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tracer/format/sha256.h"

static void expect_hex(const uint8_t digest[FB_SHA256_BYTES], const char *want)
{
    char text[2 * FB_SHA256_BYTES + 1];

    for (size_t i = 0; i < FB_SHA256_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, want);
}

static void sha256_has_the_published_values(void **state)
{
    uint8_t digest[FB_SHA256_BYTES];
    fb_sha256 s;

    (void)state;
    fb__sha256_begin(&s);
    fb__sha256_end(&s, digest);
    expect_hex(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    fb__sha256_begin(&s);
    fb__sha256_add(&s, "abc", 3);
    fb__sha256_end(&s, digest);
    expect_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    fb__sha256_begin(&s);
    for (int i = 0; i < 1000000; i++)
        fb__sha256_add(&s, "a", 1);
    fb__sha256_end(&s, digest);
    expect_hex(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void hmac_has_the_published_values(void **state)
{
    uint8_t digest[FB_SHA256_BYTES], long_key[131];
    static const char what[] = "what do ya want for nothing?";
    static const char larger[] = "Test Using Larger Than Block-Size Key - Hash Key First";

    (void)state;
    fb__hmac_sha256(digest, "Jefe", 4, what, sizeof what - 1);
    expect_hex(digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(long_key, 0xaa, sizeof long_key);
    fb__hmac_sha256(digest, long_key, sizeof long_key, larger, sizeof larger - 1);
    expect_hex(digest, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_has_the_published_values),
        cmocka_unit_test(hmac_has_the_published_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
