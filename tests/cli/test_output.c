/* SPDX-License-Identifier: Apache-2.0
 *
 * test_output.c - text and JSON of the subcommands: nothing reaches a terminal but text, and every
 * number is told exactly.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/output.h"
#include "engine/files/json.h"

static void assert_escaped(const char *text, const char *expected)
{
    char out[256];

    assert_string_equal(cli_escape(out, sizeof out, text), expected);
}

static void text_of_every_language_passes(void **state)
{
    (void)state;
    assert_escaped("h.0.attn: a\\b \"c\"", "h.0.attn: a\\b \"c\"");
    assert_escaped("äß€漢𝛽", "äß€漢𝛽");
    assert_escaped("", "");
    assert_escaped(NULL, "");
}

static void what_a_terminal_acts_on_is_escaped(void **state)
{
    (void)state;
    assert_escaped("\033[2Jx", "\\x1b[2Jx");
    assert_escaped("a\nb\rc\td", "a\\x0ab\\x0dc\\x09d");
    assert_escaped("\x7f", "\\x7f");
    assert_escaped("\xc2\x9b"
                   "31m",
                   "\\xc2\\x9b31m"); /* C1: the one-character CSI */
    assert_escaped("a\xe2\x80\xae"
                   "b",
                   "a\\xe2\\x80\\xaeb");               /* right-to-left override */
    assert_escaped("\xe2\x80\x8b", "\\xe2\\x80\\x8b"); /* zero width space */
}

static void broken_utf8_is_escaped_byte_by_byte(void **state)
{
    (void)state;
    assert_escaped("\x80", "\\x80");
    assert_escaped("\xc3", "\\xc3");
    assert_escaped("\xc0\xaf", "\\xc0\\xaf");          /* overlong */
    assert_escaped("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* surrogate */
    assert_escaped("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
    assert_escaped("\xff", "\\xff");
}

static void escaping_cuts_between_characters(void **state)
{
    char out[4];
    (void)state;

    assert_string_equal(cli_escape(out, sizeof out, "ab€"), "ab");
    assert_string_equal(cli_escape(out, sizeof out, "\033x"), "");
    assert_string_equal(cli_escape(out, sizeof out, "€"), "€");
}

static void numbers_for_people_are_grouped(void **state)
{
    char out[32];
    (void)state;

    assert_string_equal(cli_count(out, 0), "0");
    assert_string_equal(cli_count(out, 999), "999");
    assert_string_equal(cli_count(out, 18204), "18,204");
    assert_string_equal(cli_count(out, UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(cli_bytes(out, 999), "999 bytes");
    assert_string_equal(cli_bytes(out, 3145728), "3.1 MB");
    assert_string_equal(cli_bytes(out, 45000), "45 kB");
    assert_string_equal(cli_bytes(out, 999600), "1.0 MB");
    assert_string_equal(cli_bytes(out, UINT64_MAX), "18 EB");
}

static void hashes_are_32_digits_high_half_first(void **state)
{
    char out[33];
    (void)state;

    assert_string_equal(cli_hash(out, (fb_hash){.lo = 0xabc, .hi = 1}),
                        "00000000000000010000000000000abc");
}

static void json_tells_every_number_exactly(void **state)
{
    cJSON *object = cli_json_object();
    (void)state;

    cli_json_count(object, "events", 1204311);
    cli_json_u64(object, "seed", UINT64_MAX);
    cli_json_real(object, "nan", NAN);
    cli_json_real(object, "inf", INFINITY);
    cli_json_real(object, "minus", -INFINITY);
    cli_json_real(object, "third", 1.0 / 3);
    cli_json_real(object, "sum", 0.1 + 0.2); /* cJSON prints 0.3 */
    cli_json_bits(object, "bits", 1.1f);
    cli_json_hash(object, "hash", (fb_hash){.lo = 2, .hi = 0});
    cli_json_text(object, "text", "a\"b");
    cli_json_text(object, "none", NULL);

    char *text = fb__json_print(object);
    assert_string_equal(text, "{\"schema\":1,\"events\":1204311,\"seed\":\"18446744073709551615\","
                              "\"nan\":\"nan\",\"inf\":\"inf\",\"minus\":\"-inf\","
                              "\"third\":0.3333333333333333,\"sum\":0.30000000000000004,"
                              "\"bits\":\"0x3f8ccccd\","
                              "\"hash\":\"00000000000000000000000000000002\",\"text\":\"a\\\"b\","
                              "\"none\":null}");
    cJSON_free(text);
    cJSON_Delete(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_every_language_passes),
        cmocka_unit_test(what_a_terminal_acts_on_is_escaped),
        cmocka_unit_test(broken_utf8_is_escaped_byte_by_byte),
        cmocka_unit_test(escaping_cuts_between_characters),
        cmocka_unit_test(numbers_for_people_are_grouped),
        cmocka_unit_test(hashes_are_32_digits_high_half_first),
        cmocka_unit_test(json_tells_every_number_exactly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
