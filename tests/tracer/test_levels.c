/* SPDX-License-Identifier: Apache-2.0
 *
 * test_levels.c - sketches, block hashes and contents come back from a trace bit for bit, and a
 * damaged one is refused.
 */
#include "tests/tracer/trace_fixture.h"

#include "base/sketch.h"
#include "tests/tracer/level_fixture.h"

static void assert_no_error(fb_status status, const fb_error *err)
{
    if (status != FB_OK)
        fail_msg("%s", err->text);
}

static void sketches_and_blocks_come_back_bit_for_bit(void **state)
{
    const uint64_t steps = 40; /* several chunks */
    test_folder folder;
    uint64_t number, seen = 0, random = 7;
    const fb_event *e;
    fb_error err;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    write_level_trace(folder.file, steps);
    t = open_trace(folder.file);
    assert_true(fb_trace_get_info(t)->chunks > 2);
    for (uint64_t step = 0; step < steps; step++)
        for (int which = 0; which < LEVEL_SITES; which++) {
            level_event want;

            make_level_event(&want, which, step, &random);
            assert_no_error(fb_trace_next(t, &e, &number, &err), &err);
            assert_non_null(e);
            assert_int_equal(number, seen++);
            assert_memory_equal(&e->hash, &want.event.hash, sizeof e->hash);
            assert_int_equal(e->sketch == NULL, want.event.sketch == NULL);
            if (e->sketch != NULL)
                assert_memory_equal(e->sketch, &want.sketch, sizeof want.sketch);
            assert_int_equal(e->block_count, want.event.block_count);
            if (e->block_count > 0)
                assert_memory_equal(e->blocks, want.blocks, e->block_count * sizeof *e->blocks);
            assert_int_equal((e->flags & FB_EVENT_VALUES) != 0, want.recorded);
            assert_int_equal(e->flags & FB_EVENT_NONFINITE, want.event.flags & FB_EVENT_NONFINITE);
            assert_int_equal(e->data_bytes, want.recorded ? want.event.data_bytes : 0);
        }
    assert_no_error(fb_trace_next(t, &e, &number, &err), &err);
    assert_null(e);
    fb_trace_close(t);
    drop_folder(&folder);
}

/* Of every size, in one read, in odd pieces, and backwards; events are read in between. */
static void contents_come_back_bit_for_bit(void **state)
{
    const uint64_t steps = 12;
    test_folder folder;
    static uint8_t whole[LEVEL_BYTES_MAX], piece[LEVEL_BYTES_MAX];
    uint64_t total, number = 0, event_number, random = 7;
    const fb_event *e;
    fb_error err;
    size_t got;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    write_level_trace(folder.file, steps);
    t = open_trace(folder.file);
    for (uint64_t step = 0; step < steps; step++)
        for (int which = 0; which < LEVEL_SITES; which++, number++) {
            static level_event want;

            make_level_event(&want, which, step, &random);
            assert_no_error(fb_trace_next(t, &e, &event_number, &err), &err);
            if (!want.recorded) {
                assert_int_equal(
                    fb_trace_values(t, number, 0, whole, sizeof whole, &got, &total, &err),
                    FB_E_NOT_FOUND);
                assert_int_equal(got, 0);
                continue;
            }
            assert_no_error(fb_trace_values(t, number, 0, whole, sizeof whole, &got, &total, &err),
                            &err);
            assert_int_equal(total, want.event.data_bytes);
            assert_int_equal(got, total);
            assert_memory_equal(whole, want.event.data, total);
            for (uint64_t at = 0; at < total; at += 77777) {
                assert_no_error(fb_trace_values(t, number, at, piece, 77777, &got, NULL, &err),
                                &err);
                assert_int_equal(got, total - at < 77777 ? total - at : 77777);
                assert_memory_equal(piece, whole + at, got);
            }
            for (uint64_t at = total; at > 0; at = at > 500009 ? at - 500009 : 0) {
                assert_no_error(fb_trace_values(t, number, at, piece, 100, &got, NULL, &err), &err);
                assert_int_equal(got, total - at < 100 ? total - at : 100);
                assert_memory_equal(piece, whole + at, got);
            }
            assert_int_equal(e->site, which); /* the reader of events was not disturbed */
        }
    assert_int_equal(fb_trace_values(t, number, 0, whole, 1, &got, NULL, &err), FB_E_NOT_FOUND);
    fb_trace_close(t);
    drop_folder(&folder);
}

/* A trace with extras verifies, and its chains are those of a trace without. */
static void chains_do_not_depend_on_the_level(void **state)
{
    test_folder folder, plain;
    fb_trace_info info;
    fb_trace_step a, b;
    fb_error err;
    fb_trace *t, *u;

    (void)state;
    make_folder(&folder);
    make_folder(&plain);
    write_level_trace(folder.file, 9);
    write_plain_trace(plain.file, 9);
    t = open_trace(folder.file);
    u = open_trace(plain.file);
    assert_no_error(fb_trace_verify(&info, t, NULL, NULL, &err), &err);
    if (info.status != FB_TRACE_COMPLETE)
        fail_msg("%s", err.text);
    assert_no_error(fb_trace_get_step(t, 8, &a, &err), &err);
    assert_no_error(fb_trace_get_step(u, 8, &b, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);
    fb_trace_close(t);
    fb_trace_close(u);
    drop_folder(&folder);
    drop_folder(&plain);
}

/* --- Damage ------------------------------------------------------------------------------------
 */

/* The raw sections of a small chunk, changed in one byte at a time and loaded without a checksum in
 * the way: read or refused, never more. Sanitizers watch. */
static void no_byte_of_an_extra_section_misleads_the_reader(void **state)
{
    fb_extras_builder x = {0};
    static uint8_t copy[FB_EXTRA_SECTIONS][2000000];
    static level_event made;
    uint64_t random = 3, events = 0;

    (void)state;
    for (int which = 0; which < LEVEL_SITES; which++) {
        make_level_event(&made, which, 3, &random);
        fb__extras_event(&x, (uint32_t)events, level_site(which).dtype, &made.event);
        events++;
        if (made.recorded)
            fb__extras_contents(&x, events, (uint32_t)fb_dtype_bytes(level_site(which).dtype),
                                made.event.data_bytes, 0, made.event.data,
                                made.event.data_bytes < 4096 ? made.event.data_bytes : 4096);
    }
    fb__extras_pack(&x);
    assert_false(fb__extras_failed(&x));
    for (int section = 1; section < FB_EXTRA_SECTIONS; section++) {
        const fb_buffer *b = &x.sections[section];
        const size_t tries = b->count < 600 ? b->count : 600;

        assert_true(b->count > 0 && b->count < sizeof copy[0]);
        for (size_t at = 0; at < tries; at++)
            for (int change = 1; change < 256; change *= 2) {
                fb_bytes sections[FB_EXTRA_SECTIONS] = {
                    fb_bytes_of(copy[0], 0), fb_bytes_of(copy[1], 0), fb_bytes_of(copy[2], 0),
                    fb_bytes_of(copy[3], 0)};
                fb_extras_reader r = {0};

                memcpy(copy[section], b->data, b->count);
                copy[section][at] ^= (uint8_t)change;
                sections[section] = fb_bytes_of(copy[section], b->count);
                if (fb__extras_load(&r, sections, (uint32_t)events) == NULL)
                    for (uint32_t i = 0; i < events; i++) {
                        fb_event e = {0};
                        fb_piece piece;

                        if (fb__extras_next(&r, i, level_site((int)i).dtype, true, &e) != NULL)
                            break;
                        fb__pieces_rewind(&r);
                        while (fb__pieces_next(&r, &piece))
                            fb__piece_copy(copy[(section + 1) % FB_EXTRA_SECTIONS], &piece, 0,
                                           piece.bytes);
                    }
                fb__extras_reader_free(&r);
            }
    }
    fb__extras_free(&x);
}

typedef struct rows {
    uint64_t number[16];
    int count;
} rows;

static const char *load_section(int section, const rows *r, size_t zeros, uint32_t events)
{
    static uint8_t nothing[1];
    fb_buffer b = {0};
    fb_extras_reader x = {0};
    fb_bytes sections[FB_EXTRA_SECTIONS];
    const char *flaw;

    for (int i = 0; i < r->count; i++)
        fb_buffer_varint(&b, r->number[i]);
    for (size_t i = 0; i < zeros; i++)
        fb_buffer_u8(&b, 0);
    for (int i = 0; i < FB_EXTRA_SECTIONS; i++)
        sections[i] = i == section ? fb_bytes_of(b.data, b.count) : fb_bytes_of(nothing, 0);
    flaw = fb__extras_load(&x, sections, events);
    fb__extras_reader_free(&x);
    fb_buffer_free(&b);
    return flaw;
}

#define ROWS(...) (&(rows){.number = {__VA_ARGS__}, .count = sizeof((uint64_t[]){__VA_ARGS__}) / 8})

static void impossible_rows_are_refused(void **state)
{
    const size_t one = FB_SKETCH_REALS * 8 + 32; /* a sketch without samples */
    const uint64_t huge = UINT64_C(1) << 63;

    (void)state;
    assert_null(load_section(0, ROWS(1, 0, 2, 0, 0, 0, 0, 4), one + 8, 1));
    assert_non_null(load_section(0, ROWS(0), 0, 1));                            /* no row */
    assert_non_null(load_section(0, ROWS(1, 1, 2, 0, 0, 0, 0, 4), one + 8, 1)); /* event 1 */
    assert_non_null(load_section(0, ROWS(1, 0, 2, 3, 0, 0, 0, 4), one + 8, 1)); /* 3 NaNs of 2 */
    assert_non_null(load_section(0, ROWS(1, 0, 2, 2, 0, 1, 0, 4), one + 8, 1)); /* 2 + 1 of 2 */
    assert_non_null(load_section(0, ROWS(1, 0, 2, 0, 0, 0, 0, 3), one + 6, 1)); /* width 3 */
    assert_non_null(load_section(0, ROWS(1, 0, 2, 0, 0, 0, 0, 4), one + 7, 1)); /* short */
    assert_non_null(load_section(0, ROWS(1, 0, 2, 0, 0, 0, 0, 4), one + 9, 1)); /* long */
    assert_non_null(load_section(0, ROWS(1, 0, huge, 0, 0, 0, 0, 4), one + 256, 1)); /* 2^63 */
    assert_null(load_section(3, ROWS(1, 0, 2, 0, 0, 0, 0, 4, 2), one + 8, 1));
    assert_null(load_section(3, ROWS(1, 0, 2, 0, 0, 0, 0, 4, 9), one + 8, 1));     /* of later */
    assert_non_null(load_section(3, ROWS(1, 0, 2, 0, 0, 0, 0, 4, 0), one + 8, 1)); /* no edition */
    assert_null(load_section(1, ROWS(1, 2, 2), 32, 3));
    assert_non_null(load_section(1, ROWS(1, 2, 1), 16, 3)); /* one block */
    assert_non_null(load_section(1, ROWS(1, 2, FB_BLOCKS_MAX + 1), (FB_BLOCKS_MAX + 1) * 16, 3));
    assert_non_null(load_section(1, ROWS(2, 0, 2, 2, 2), 64, 3)); /* event 3 */
    assert_null(load_section(2, ROWS(1, 1, 4, 8, 0, 8), 8, 1));
    assert_null(load_section(2, ROWS(1, 0, 4, 8, 4, 4), 4, 0));      /* goes on */
    assert_non_null(load_section(2, ROWS(1, 1, 4, 8, 4, 4), 4, 1));  /* begins in the middle */
    assert_non_null(load_section(2, ROWS(1, 0, 4, 8, 0, 8), 8, 1));  /* goes on from 0 */
    assert_non_null(load_section(2, ROWS(1, 2, 4, 8, 0, 8), 8, 1));  /* no such event */
    assert_non_null(load_section(2, ROWS(1, 1, 0, 8, 0, 8), 8, 1));  /* width 0 */
    assert_non_null(load_section(2, ROWS(1, 1, 4, 10, 0, 8), 8, 1)); /* a half element */
    assert_non_null(load_section(2, ROWS(1, 1, 4, 4, 0, 8), 8, 1));  /* more than all */
    assert_non_null(load_section(2, ROWS(1, 1, 4, huge, 0, 8), 8, 1));
    assert_non_null(load_section(2, ROWS(1, 1, 1, 1 << 22, 0, FB_CONTENTS_PIECE + 1),
                                 FB_CONTENTS_PIECE + 1, 1));
    assert_null(load_section(2, ROWS(2, 1, 4, 16, 0, 8, 1, 4, 16, 8, 8), 16, 1));
    assert_non_null(load_section(2, ROWS(2, 1, 4, 16, 0, 8, 1, 4, 16, 4, 8), 16, 1)); /* overlap */
    assert_non_null(load_section(2, ROWS(2, 1, 4, 16, 0, 8, 1, 4, 12, 8, 4), 12, 1)); /* total */
    assert_non_null(load_section(2, ROWS(2, 2, 4, 8, 0, 8, 1, 4, 8, 0, 8), 16, 2));   /* descends */
}

static void a_sketch_fits_its_event_or_is_refused(void **state)
{
    static const uint8_t nothing[1];
    fb_extras_builder x = {0};
    fb_extras_reader r = {0};
    static level_event made;
    fb_bytes sections[FB_EXTRA_SECTIONS];
    uint64_t random = 3;
    fb_event e = {0};

    (void)state;
    make_level_event(&made, 3, 0, &random);
    fb__extras_event(&x, 0, FB_DTYPE_F32, &made.event);
    fb__extras_pack(&x);
    sections[0] = sections[1] = sections[2] = fb_bytes_of(nothing, 0);
    sections[3] = fb_bytes_of(x.sections[3].data, x.sections[3].count);
    assert_null(fb__extras_load(&r, sections, 1));
    assert_null(fb__extras_next(&r, 0, FB_DTYPE_I32, true, &e)); /* as wide as f32 */
    assert_null(fb__extras_load(&r, sections, 1));
    assert_non_null(fb__extras_next(&r, 0, FB_DTYPE_F64, true, &e));
    assert_null(fb__extras_load(&r, sections, 1));
    assert_non_null(fb__extras_next(&r, 0, FB_DTYPE_F32, false, &e)); /* no tensor */
    fb__extras_reader_free(&r);
    fb__extras_free(&x);
}

/* Pieces of one tensor in two chunks, the second with another offset than the first ended with. */
static void contents_with_a_hole_are_corrupt(void **state)
{
    static uint8_t whole[LEVEL_BYTES_MAX];
    test_folder folder;
    fb_error err;
    size_t got;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    (void)write_pieces(folder.file, FB_CONTENTS_PIECE + 4);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_values(t, 0, 0, whole, sizeof whole, &got, NULL, &err), FB_E_CORRUPT);
    assert_int_equal(got, FB_CONTENTS_PIECE);
    fb_trace_close(t);
    (void)write_pieces(folder.file, FB_CONTENTS_PIECE);
    t = open_trace(folder.file);
    assert_no_error(
        fb_trace_values(t, 0, FB_CONTENTS_PIECE, whole, FB_CONTENTS_PIECE, &got, NULL, &err), &err);
    fb_trace_close(t);
    drop_folder(&folder);
}

/* A reader that goes on over the end of what there is must say so. */
static void contents_cut_short_are_torn(void **state)
{
    static uint8_t whole[LEVEL_BYTES_MAX];
    test_folder folder;
    uint64_t number = UINT64_MAX, total = 0;
    fb_error err;
    size_t got;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    number = write_pieces(folder.file, 0);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_values(t, number, 0, whole, sizeof whole, &got, &total, &err),
                     FB_E_TORN);
    assert_int_equal(got, FB_CONTENTS_PIECE);
    assert_int_equal(total, LEVEL_BYTES_MAX);
    assert_int_equal(fb_trace_values(t, number, 0, whole, 4096, &got, &total, &err), FB_OK);
    fb_trace_close(t);
    drop_folder(&folder);
}

static void a_sketch_reads_as_one_short_line(void **state)
{
    const float x[] = {1, 2, 3, 4};
    const float y[] = {1, __builtin_nanf(""), -__builtin_inff()};
    const float z[] = {__builtin_nanf("")};
    char text[FB_SKETCH_TEXT_BYTES];
    fb_sketch s;

    (void)state;
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    assert_string_equal(fb_sketch_text(text, &s), "min 1 max 4 mean 2.5 sd 1.118");
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, y, sizeof y, NULL);
    assert_string_equal(fb_sketch_text(text, &s), "min -inf max 1 mean 1 sd 0 nan 1 inf 1");
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, z, sizeof z, NULL);
    assert_string_equal(fb_sketch_text(text, &s), "nan 1");
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, z, 0, NULL);
    assert_string_equal(fb_sketch_text(text, &s), "empty");
}

/* --- Verification of what lies beside a hash ---------------------------------------------------
 */

enum { WITH_BLOCKS = 4, LARGE = LEVEL_SITES - 1 }; /* sites: 160,000 bytes; several pieces */

typedef enum lie_kind { NO_LIE, LIE_IN_BLOCKS, LIE_IN_CONTENTS } lie_kind;

/* A whole trace of right checks, one of whose tensors has something that is not its own. */
static fb_trace_status verify_with(lie_kind lie, int which, size_t byte, char *why)
{
    static level_event made;
    static level_writer w;
    test_folder folder;
    fb_trace_info info;
    uint64_t random = 7;
    fb_error err = {.text = ""};
    fb_trace *t;

    make_folder(&folder);
    level_begin(&w, folder.file);
    for (int i = 0; i < LEVEL_SITES; i++) {
        make_level_event(&made, i, 3, &random); /* the step that keeps large contents ... */
        made.event.step = 0;                    /* ... is the first one here */
        if (i == which && lie == LIE_IN_BLOCKS)
            made.blocks[byte / FB_HASH_BLOCK_BYTES].hi ^= 1;
        if (i == which && lie == LIE_IN_CONTENTS)
            ((uint8_t *)(uintptr_t)made.event.data)[byte] ^= 1;
        level_event_put(&w, i, &made);
    }
    level_step_end(&w, 0);
    level_end(&w, true);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    (void)snprintf(why, sizeof err.text, "%s", err.text);
    fb_trace_close(t);
    drop_folder(&folder);
    return info.status;
}

static void verify_holds_blocks_and_contents_against_the_hash(void **state)
{
    char why[sizeof((fb_error *)0)->text];

    (void)state;
    assert_int_equal(verify_with(NO_LIE, 0, 0, why), FB_TRACE_COMPLETE);
    assert_int_equal(verify_with(LIE_IN_BLOCKS, WITH_BLOCKS, 70000, why), FB_TRACE_CORRUPT);
    assert_non_null(strstr(why, "block hashes do not join to the hash"));
    for (size_t i = 0; i < 3; i++) { /* in the first, a middle and the last piece */
        const size_t bytes[] = {1, FB_CONTENTS_PIECE + 4097, LEVEL_BYTES_MAX - 3};

        assert_int_equal(verify_with(LIE_IN_CONTENTS, LARGE, bytes[i], why), FB_TRACE_CORRUPT);
        assert_non_null(strstr(why, "contents of a tensor do not have its hash"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sketches_and_blocks_come_back_bit_for_bit),
        cmocka_unit_test(contents_come_back_bit_for_bit),
        cmocka_unit_test(chains_do_not_depend_on_the_level),
        cmocka_unit_test(no_byte_of_an_extra_section_misleads_the_reader),
        cmocka_unit_test(impossible_rows_are_refused),
        cmocka_unit_test(a_sketch_fits_its_event_or_is_refused),
        cmocka_unit_test(contents_with_a_hole_are_corrupt),
        cmocka_unit_test(contents_cut_short_are_torn),
        cmocka_unit_test(a_sketch_reads_as_one_short_line),
        cmocka_unit_test(verify_holds_blocks_and_contents_against_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
