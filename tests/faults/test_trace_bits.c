/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_bits.c - a trace of a megabyte, cut after every byte and with every bit flipped: what
 * is read is always a prefix of what was recorded, and no flip outside of padding goes unseen. The
 * same for a smaller one with sketches, block hashes and contents of tensors.
 *
 * FIRSTBIT_FAULT_STRIDE=N  every N-th bit and prefix (default: a sample that takes seconds);
 *                          1 is all of them, which takes minutes
 * FIRSTBIT_FAULT_DEEP=N    every N-th of those is read from end to end, verified and compared by
 *                          diff; the others by opening and reading the damaged chunk alone
 * FIRSTBIT_FAULT_LEVEL=L   the traces of one level only: ops or values
 */
#include "tests/faults/damage.h"

#include "diff/diff.h"
#include "tests/tracer/level_fixture.h"
#include "tracer/record/recorder_state.h"
#include "tests/sanitized.h"

enum { TRACE_BYTES = 1 << 20 };

/* Level values holds all that level sketch does. */
static const fb_level levels[] = {FB_LEVEL_OPS, FB_LEVEL_VALUES};

typedef struct sample {
    test_folder folder;
    char original[160]; /* the undamaged file */
    file_copy file;
    layout layout;
    truth truth;
    int descriptor; /* of the file that is damaged */
    uint64_t stride, deep;
} sample;

/* Small chunks, so that the check of one takes microseconds, and at last some of the usual size. */
static void record_ops(sample *s)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    uint64_t random = 1, step = 0;
    fb_recorder_stats stats = {.bytes = 0};
    fb_recorder *r;

    assert_int_equal(fb_recorder_open(&r, s->folder.file, &options, NULL), FB_OK);
    report_sites(fb_recorder_observer(r));
    do {
        report_steps(fb_recorder_observer(r), step, step + 4, &random);
        step += 5;
        if (step % 25 == 0 && stats.bytes < TRACE_BYTES / 2)
            fb__recorder_seal(r);
        fb__sealing_drain(&r->sealing); /* the same chunks every time */
        fb_recorder_get_stats(r, &stats);
    } while (stats.bytes < TRACE_BYTES - 150000);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
}

/* Three steps of twelve tensors: the contents of most in the first, sketches in all; a chunk each.
 */
static void record_values(sample *s)
{
    static level_event made;
    static level_writer w;
    uint64_t random = 7;

    level_begin(&w, s->folder.file);
    for (uint64_t step = 0; step < 3; step++) {
        for (int which = 0; which < LEVEL_SITES - 1; which++) { /* all but the largest */
            make_level_event(&made, which, step, &random);
            level_event_put(&w, which, &made);
            if (which % 4 == 3)
                level_seal(&w);
        }
        level_end_of_step(&w, step, LEVEL_SITES - 1);
    }
    level_end(&w, true);
}

static void make_sample(sample *s, fb_level level)
{
    make_folder(&s->folder);
    (void)snprintf(s->original, sizeof s->original, "%s/original.fbt", s->folder.path);
    (level == FB_LEVEL_OPS ? record_ops : record_values)(s);
    s->file = load_file(s->folder.file);
    store_file(s->original, s->file.bytes, s->file.count);
    find_chunks(&s->layout, &s->file);
    s->truth = read_truth(s->folder.file);
    s->descriptor = open(s->folder.file, O_RDWR);
    s->stride = thoroughness("FIRSTBIT_FAULT_STRIDE", 1999 * EVERY);
    s->deep = thoroughness("FIRSTBIT_FAULT_DEEP", 199);
    assert_true(s->descriptor >= 0 && s->layout.count >= 8);
}

static void free_sample(sample *s)
{
    assert_int_equal(close(s->descriptor), 0);
    free(s->truth.digest);
    free(s->file.bytes);
    drop_folder(&s->folder);
}

/* --- Prefixes ----------------------------------------------------------------------------------
 */

/* After opening a cut trace it is known what it holds: exactly what is in whole chunks. */
static void check_cut_quickly(const sample *s, size_t cut, uint64_t whole)
{
    const fb_event *e;
    fb_trace *t;
    const fb_status status = fb_trace_open(&t, s->folder.file, NULL);

    if (cut < s->layout.header_end) {
        assert_true(status == FB_E_FORMAT);
        return;
    }
    assert_int_equal(status, FB_OK);
    assert_int_equal(fb_trace_get_info(t)->status, FB_TRACE_TORN);
    if (fb_trace_get_info(t)->events != whole)
        fail_msg("cut at %zu: %llu events where %llu are in whole chunks", cut,
                 (unsigned long long)fb_trace_get_info(t)->events, (unsigned long long)whole);
    if (whole > 0) {
        assert_int_equal(fb_trace_seek_event(t, whole - 1, NULL), FB_OK);
        assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
        assert_true(e != NULL && digest_event(t, e) == s->truth.digest[whole - 1]);
        assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
        assert_null(e);
    }
    fb_trace_close(t);
}

static void check_cut_deeply(const sample *s, size_t cut, uint64_t whole)
{
    const outcome o = read_all(s->folder.file, &s->truth);

    if (cut < s->layout.header_end) {
        assert_int_equal(o.opened, FB_E_FORMAT);
        return;
    }
    assert_int_equal(o.opened, FB_OK);
    assert_int_equal(o.status, FB_TRACE_TORN);
    assert_int_equal(o.events, whole);
}

static void cut_everywhere(fb_level level)
{
    sample *s = calloc(1, sizeof *s);
    size_t cuts = 0;

    make_sample(s, level);
    for (size_t cut = s->file.count; cut-- > 0;) {
        const size_t in_page = cut % FB_FORMAT_ALIGN;
        const bool edge = in_page <= 1 || in_page == FB_FORMAT_ALIGN - 1;
        const uint64_t whole = whole_events(&s->layout, cut);

        if (cut % s->stride != 0 && !(edge && cut / FB_FORMAT_ALIGN % 8 == 0))
            continue;
        assert_int_equal(ftruncate(s->descriptor, (off_t)cut), 0);
        if (cuts++ % s->deep == 0)
            check_cut_deeply(s, cut, whole);
        else
            check_cut_quickly(s, cut, whole);
    }
    print_message("%zu prefixes of %zu bytes, level %s\n", cuts, s->file.count,
                  fb_level_name(level));
    free_sample(s);
    free(s);
}

/* Each level, or the one that is asked for. */
static void at_each_level(void (*check)(fb_level level))
{
    const char *only = getenv("FIRSTBIT_FAULT_LEVEL");

    for (size_t i = 0; i < COUNT_OF(levels); i++)
        if (only == NULL || strcmp(only, fb_level_name(levels[i])) == 0)
            check(levels[i]);
}

static void every_prefix_holds_all_events_of_its_whole_chunks(void **state)
{
    (void)state;
    at_each_level(cut_everywhere);
}

/* --- Flips -------------------------------------------------------------------------------------
 */

/* A chunk is checked before any of it is believed: who goes to its first event is told. */
static void check_chunk_flip(const sample *s, int chunk, size_t bit)
{
    const bool in_body = bit / 8 >= s->layout.chunk[chunk].at + FB_CHUNK_HEADER_BYTES;
    const fb_event *e;
    fb_status status;
    fb_trace *t;
    fb_error err;

    assert_int_equal(fb_trace_open(&t, s->folder.file, NULL), FB_OK);
    if (fb_trace_get_info(t)->status != FB_TRACE_COMPLETE) { /* the footer, or the last chunk */
        fb_trace_close(t);
        return;
    }
    status = fb_trace_seek_event(t, s->layout.chunk[chunk].first_event, &err);
    if (status == FB_OK)
        status = fb_trace_next(t, &e, NULL, &err);
    if (status != FB_E_CORRUPT || (in_body && err.offset != s->layout.chunk[chunk].at))
        fail_msg("bit %zu of byte %zu is not detected", bit % 8, bit / 8);
    fb_trace_close(t);
}

/* Nobody minds: whole, and the events around it are there. */
static void check_padding_flip(const sample *s, int chunk)
{
    const fb_event *e;
    uint64_t number;
    fb_trace *t;

    assert_int_equal(fb_trace_open(&t, s->folder.file, NULL), FB_OK);
    assert_int_equal(fb_trace_get_info(t)->status, FB_TRACE_COMPLETE);
    if (chunk >= 0 && s->layout.chunk[chunk].events > 0) {
        assert_int_equal(fb_trace_seek_event(t, s->layout.chunk[chunk].first_event, NULL), FB_OK);
        assert_int_equal(fb_trace_next(t, &e, &number, NULL), FB_OK);
        assert_true(e != NULL && digest_event(t, e) == s->truth.digest[number]);
    }
    fb_trace_close(t);
}

static void check_header_flip(const sample *s, size_t bit)
{
    fb_trace *t;

    if (fb_trace_open(&t, s->folder.file, NULL) == FB_OK)
        fail_msg("bit %zu of the file header is not detected", bit);
}

/* In full: what can be read is true, verify tells, and diff never finds it equal. */
static void check_flip(const sample *s, size_t bit)
{
    const fb_diff_options options = {.size = sizeof options, .no_replay = true, .no_stacks = true};
    const bool padding = is_padding(&s->layout, bit / 8);
    const outcome o = read_all(s->folder.file, &s->truth);
    const bool detected = o.opened != FB_OK || o.status != FB_TRACE_COMPLETE;
    fb_diff_report report;
    fb_error err;

    if (detected == padding)
        fail_msg("bit %zu of byte %zu: %s", bit % 8, bit / 8,
                 padding ? "in padding, and refused" : "not detected");
    if (padding)
        assert_int_equal(o.events, s->truth.events);
    if (fb_diff(&report, s->original, s->folder.file, &options, &err) == FB_OK) {
        if ((report.verdict == FB_DIFF_SAME) != padding)
            fail_msg("bit %zu of byte %zu: diff says %s", bit % 8, bit / 8,
                     fb_diff_verdict_name(report.verdict));
        fb_diff_report_free(&report);
    } else {
        assert_false(padding);
    }
}

static void flip(const sample *s, size_t bit)
{
    uint8_t byte;

    assert_int_equal(pread(s->descriptor, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(pwrite(s->descriptor, &byte, 1, (off_t)(bit / 8)), 1);
}

static void flip_everywhere(fb_level level)
{
    sample *s = calloc(1, sizeof *s);
    size_t flips = 0, deep = 0, padding = 0;

    make_sample(s, level);
    for (size_t bit = 0; bit < s->file.count * 8; bit += s->stride, flips++) {
        const int chunk = chunk_of(&s->layout, bit / 8);

        flip(s, bit);
        if (is_padding(&s->layout, bit / 8)) {
            check_padding_flip(s, chunk);
            padding++;
        } else if (chunk < 0) {
            check_header_flip(s, bit);
        } else {
            check_chunk_flip(s, chunk, bit);
        }
        if (flips % s->deep == 0) {
            check_flip(s, bit);
            deep++;
        }
        flip(s, bit);
    }
    print_message("%zu flips of %zu bits, level %s, %zu in padding; %zu read to the end and "
                  "compared\n",
                  flips, s->file.count * 8, fb_level_name(level), padding, deep);
    assert_true(padding > 0);
    free_sample(s);
    free(s);
}

static void every_flipped_bit_is_detected_or_in_padding(void **state)
{
    (void)state;
    at_each_level(flip_everywhere);
}

/* The headers mean most: each of their bits, with all that a reader does. */
static void every_flipped_bit_of_a_chunk_header_is_found_by_verify(void **state)
{
    sample *s = calloc(1, sizeof *s);
    const size_t every = thoroughness("FIRSTBIT_FAULT_STRIDE", 1999 * EVERY) == 1 ? 1 : 97;
    size_t flips = 0;

    (void)state;
    make_sample(s, FB_LEVEL_OPS);
    const size_t chunks[] = {0, 1, s->layout.count / 2, s->layout.count - 2, s->layout.count - 1};
    for (size_t i = 0; i < COUNT_OF(chunks); i++)
        for (size_t bit = i; bit < FB_CHUNK_HEADER_BYTES * 8; bit += every, flips++) {
            const size_t at = s->layout.chunk[chunks[i]].at;
            outcome o;

            flip(s, at * 8 + bit);
            o = read_all(s->folder.file, &s->truth);
            if (o.opened != FB_OK || o.status == FB_TRACE_COMPLETE)
                fail_msg("bit %zu of the header of chunk %zu is not detected", bit, chunks[i]);
            /* Nothing before it is lost. */
            assert_true(o.events >= s->layout.chunk[chunks[i]].first_event);
            flip(s, at * 8 + bit);
        }
    print_message("%zu bits of chunk headers\n", flips);
    free_sample(s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix_holds_all_events_of_its_whole_chunks),
        cmocka_unit_test(every_flipped_bit_is_detected_or_in_padding),
        cmocka_unit_test(every_flipped_bit_of_a_chunk_header_is_found_by_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
