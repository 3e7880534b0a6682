/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_damage.c - cut files, flipped bits, recovery: never a crash, never a wrong event.
 *
 * usage: test_trace_damage [--all]   --all flips every bit instead of a sample
 */
#include "tests/tracer/damage_fixture.h"

static bool flip_all;

static void every_prefix_reads_as_torn_with_a_prefix_of_the_events(void **state)
{
    sample s;
    uint64_t events = 0;

    (void)state;
    make_sample(&s);
    /* All cuts near a page boundary, where a trace changes what it is, and a sample of the others.
     */
    for (size_t cut = 0; cut < s.count; cut++) {
        const size_t in_page = cut % FB_FORMAT_ALIGN;
        outcome o;

        if (!flip_all && in_page > 3 && in_page < FB_FORMAT_ALIGN - 3 && cut % 509 != 0)
            continue;
        write_file(s.folder.file, s.bytes, cut);
        o = read_damaged(&s);
        if (o.opened != FB_OK) {
            assert_int_equal(o.opened, FB_E_FORMAT);
            assert_true(cut < FB_FORMAT_ALIGN);
            continue;
        }
        assert_int_equal(o.verified, FB_TRACE_TORN);
        assert_true(o.prefix);
        assert_true(o.events >= events); /* a longer file never tells less */
        events = o.events;
    }
    assert_int_equal(events, s.line_count); /* only the footer was missing at last */
    free_sample(&s);
}

/* Padding is zero in what a recorder writes, so it is found by being zero up to the next page. */
static bool in_padding(const sample *s, size_t at)
{
    for (; at % FB_FORMAT_ALIGN != 0; at++)
        if (s->bytes[at] != 0)
            return false;
    return true;
}

static void every_flipped_bit_is_detected_or_in_padding(void **state)
{
    const size_t stride = flip_all ? 1 : 97 * EVERY;
    size_t detected = 0, padding = 0;
    sample s;

    (void)state;
    make_sample(&s);
    for (size_t bit = 0; bit < s.count * 8; bit += stride) {
        outcome o;

        s.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_file(s.folder.file, s.bytes, s.count);
        s.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        o = read_damaged(&s);
        assert_true(o.prefix);
        if (o.opened != FB_OK || o.verified != FB_TRACE_COMPLETE) {
            detected++;
            continue;
        }
        padding++;
        assert_int_equal(o.events, s.line_count);
        if (!in_padding(&s, bit / 8))
            fail_msg("flipped bit %zu of byte %zu is not detected", bit % 8, bit / 8);
    }
    assert_true(detected > 100 / EVERY);
    assert_true(padding > 10 / EVERY);
    free_sample(&s);
}

static void damage_in_the_middle_is_corrupt_and_has_a_place(void **state)
{
    fb_trace_info info;
    fb_error err;
    fb_trace *t;
    sample s;

    (void)state;
    make_sample(&s);
    s.bytes[FB_FORMAT_ALIGN + 600] ^= 1; /* in chunk 0 */
    write_file(s.folder.file, s.bytes, s.count);
    t = open_trace(s.folder.file);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    assert_int_equal(info.status, FB_TRACE_CORRUPT);
    assert_int_equal(info.damage, FB_FORMAT_ALIGN);
    assert_int_equal(err.offset, FB_FORMAT_ALIGN);
    assert_non_null(strstr(err.text, "chunk 0 at byte 4096: checksum mismatch"));
    fb_trace_close(t);
    free_sample(&s);
}

static void bytes_behind_the_footer_make_it_torn(void **state)
{
    sample s;
    outcome o;

    (void)state;
    make_sample(&s);
    s.bytes = realloc(s.bytes, s.count + 5);
    memset(s.bytes + s.count, 'x', 5);
    write_file(s.folder.file, s.bytes, s.count + 5);
    o = read_damaged(&s);
    assert_int_equal(o.verified, FB_TRACE_TORN);
    assert_int_equal(o.events, s.line_count);
    free_sample(&s);
}

static void what_is_no_trace_is_refused_with_a_reason(void **state)
{
    test_folder folder;
    fb_error err;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_trace_open(&t, folder.file, &err), FB_E_NOT_FOUND);
    assert_int_equal(fb_trace_open(&t, folder.path, &err), FB_E_FORMAT);
    write_file(folder.file, "", 0);
    assert_int_equal(fb_trace_open(&t, folder.file, &err), FB_E_FORMAT);
    assert_non_null(strstr(err.text, "empty"));
    write_file(folder.file, "{\"seed\": 1}", 11);
    assert_int_equal(fb_trace_open(&t, folder.file, &err), FB_E_FORMAT);
    assert_non_null(strstr(err.text, "not a firstbit trace"));
    assert_null(t);
    drop_folder(&folder);
}

/* --- Recovery ----------------------------------------------------------------------------------
 */

static void recovering_a_torn_trace_keeps_all_that_is_sound(void **state)
{
    sample s;
    outcome torn, whole;
    char out[160];
    fb_recovered dropped;

    (void)state;
    make_sample(&s);
    (void)snprintf(out, sizeof out, "%s/out.fbt", s.folder.path);
    write_file(s.folder.file, s.bytes, s.count - 2 * FB_FORMAT_ALIGN - 700);
    torn = read_damaged(&s);
    assert_int_equal(fb_trace_recover(&dropped, s.folder.file, out, NULL, NULL, NULL), FB_OK);
    assert_int_equal(rename(out, s.folder.file), 0);
    whole = read_damaged(&s);
    assert_int_equal(whole.verified, FB_TRACE_COMPLETE);
    assert_true(whole.prefix);
    assert_int_equal(whole.events, torn.events);
    assert_true(torn.events > 0 && torn.events < s.line_count);
    free_sample(&s);
}

static void recovering_a_corrupt_trace_keeps_what_lies_before(void **state)
{
    sample s;
    outcome o;
    char out[160];
    fb_recovered dropped;

    (void)state;
    make_sample(&s);
    (void)snprintf(out, sizeof out, "%s/out.fbt", s.folder.path);
    s.bytes[FB_FORMAT_ALIGN + 600] ^= 1;
    write_file(s.folder.file, s.bytes, s.count);
    assert_int_equal(fb_trace_recover(&dropped, s.folder.file, out, NULL, NULL, NULL), FB_OK);
    assert_int_equal(dropped.dropped_bytes, s.count - FB_FORMAT_ALIGN);
    assert_int_equal(rename(out, s.folder.file), 0);
    o = read_damaged(&s);
    assert_int_equal(o.verified, FB_TRACE_COMPLETE);
    assert_int_equal(o.events, 0);
    free_sample(&s);
}

static void recovering_onto_itself_is_refused(void **state)
{
    sample s;
    fb_recovered dropped;

    (void)state;
    make_sample(&s);
    assert_int_equal(fb_trace_recover(&dropped, s.folder.file, s.folder.file, NULL, NULL, NULL),
                     FB_E_USAGE);
    assert_int_equal(read_damaged(&s).verified, FB_TRACE_COMPLETE);
    free_sample(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix_reads_as_torn_with_a_prefix_of_the_events),
        cmocka_unit_test(every_flipped_bit_is_detected_or_in_padding),
        cmocka_unit_test(damage_in_the_middle_is_corrupt_and_has_a_place),
        cmocka_unit_test(bytes_behind_the_footer_make_it_torn),
        cmocka_unit_test(what_is_no_trace_is_refused_with_a_reason),
        cmocka_unit_test(recovering_a_torn_trace_keeps_all_that_is_sound),
        cmocka_unit_test(recovering_a_corrupt_trace_keeps_what_lies_before),
        cmocka_unit_test(recovering_onto_itself_is_refused),
    };

    flip_all = argc > 1 && strcmp(argv[1], "--all") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
