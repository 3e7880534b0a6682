/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_lies.c - headers, bodies and contents that lie under right checks: refused, with the
 * place, and never a crash.
 *
 * usage: test_trace_lies [--all]   --all makes 20,000 hostile bodies instead of a sample
 */
#include "tests/tracer/damage_fixture.h"

static bool make_all;

/* --- Headers that lie with a right check -------------------------------------------------------
 */

static void set_u64(uint8_t *p, uint64_t value)
{
    memcpy(p, &value, sizeof value);
}

static void sign_chunk(uint8_t *chunk)
{
    set_u64(chunk + 504, fb__check(chunk, 504));
}

static void hostile_sizes_are_refused(void **state)
{
    /* Offsets of docs/trace-format.md, 2.2. */
    const struct {
        size_t at;
        unsigned bytes;
        uint64_t value;
    } lies[] = {
        {32, 4, UINT32_MAX},
        {36, 4, UINT32_MAX},
        {40, 4, UINT32_MAX},
        {44, 4, UINT32_MAX},
        {104, 4, UINT32_MAX},
        {108, 4, UINT32_MAX},
        {36, 4, FB_CHUNK_MAX},
        {36, 4, 1},
        {40, 4, 16},
        {44, 4, 0},
        {48, 8, UINT64_MAX},
        {56, 8, UINT64_MAX},
        {64, 8, UINT64_MAX},
        {72, 8, 1000},
        {80, 8, 0},
        {88, 8, 0},
        {96, 8, 3},
        {128, 8, 1},
        {256, 8, 4096},
        {256, 8, UINT64_MAX},
        {24, 8, 5},
        {6, 1, 0},
        {7, 1, 9},
        {7, 1, 0},
        {208, 8, 1},
        {4, 1, 1},
        {8, 8, 1},
        {496, 8, 1},
    };
    sample s;

    (void)state;
    make_sample(&s);
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        uint8_t *chunk = s.bytes + FB_FORMAT_ALIGN;
        uint8_t saved[FB_CHUNK_HEADER_BYTES];
        outcome o;

        memcpy(saved, chunk, sizeof saved);
        memcpy(chunk + lies[i].at, &lies[i].value, lies[i].bytes);
        sign_chunk(chunk);
        write_file(s.folder.file, s.bytes, s.count);
        memcpy(chunk, saved, sizeof saved);
        o = read_damaged(&s);
        if (o.opened == FB_OK && o.verified == FB_TRACE_COMPLETE)
            fail_msg("lie %zu at byte %zu of the chunk header is believed", i, lies[i].at);
    }
    free_sample(&s);
}

static void hostile_file_headers_are_refused(void **state)
{
    const struct {
        size_t at;
        unsigned bytes;
        uint64_t value;
        fb_status status;
    } lies[] = {
        {56, 8, UINT64_MAX, FB_E_CORRUPT}, {64, 8, 0, FB_E_CORRUPT},
        {64, 8, UINT64_MAX, FB_E_CORRUPT}, {8, 4, 2, FB_E_VERSION},
        {32, 8, 1, FB_E_VERSION},          {72, 4, 9, FB_E_CORRUPT},
        {80, 1, 1, FB_E_CORRUPT},          {0, 1, 0, FB_E_FORMAT},
    };
    sample s;

    (void)state;
    make_sample(&s);
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        uint8_t saved[FB_HEADER_BYTES];
        uint64_t json;
        uint8_t signing[FB_FORMAT_ALIGN * 4];

        memcpy(saved, s.bytes, sizeof saved);
        memcpy(&json, s.bytes + 56, 8);
        memcpy(s.bytes + lies[i].at, &lies[i].value, lies[i].bytes);
        assert_true(120 + json <= sizeof signing);
        memcpy(signing, s.bytes, 120);
        memcpy(signing + 120, s.bytes + FB_HEADER_BYTES, json);
        set_u64(s.bytes + 120, fb__check(signing, 120 + json));
        write_file(s.folder.file, s.bytes, s.count);
        memcpy(s.bytes, saved, sizeof saved);
        assert_int_equal(read_damaged(&s).opened, lies[i].status);
    }
    free_sample(&s);
}

/* Random bytes in the packed part, under right checks: what only a hostile writer makes. */
static void hostile_bodies_do_not_crash_the_reader(void **state)
{
    const unsigned rounds = make_all ? 20000 : 400;
    fb_chunk_header head;
    const char *why;
    uint64_t random = 99;
    uint8_t *plain;
    sample s;

    (void)state;
    make_sample(&s);
    assert_true(
        fb__get_chunk_header(&head, s.bytes + FB_FORMAT_ALIGN,
                             (fb_hash){*(uint64_t *)(s.bytes + 40), *(uint64_t *)(s.bytes + 48)},
                             FB_FORMAT_ALIGN, &why));
    /* The first chunk again, not compressed, so that flips reach what is behind the codec. */
    plain = calloc(1, FB_FORMAT_ALIGN + 2u * FB_CHUNK_MAX);
    memcpy(plain, s.bytes, FB_FORMAT_ALIGN + FB_CHUNK_HEADER_BYTES + head.steps_bytes);
    const uint8_t *body = s.bytes + FB_FORMAT_ALIGN + FB_CHUNK_HEADER_BYTES;
    uint8_t *to = plain + FB_FORMAT_ALIGN + FB_CHUNK_HEADER_BYTES;
    const size_t raw = ZSTD_decompress(to + head.steps_bytes, FB_CHUNK_MAX, body + head.steps_bytes,
                                       head.packed_stored);
    assert_int_equal(raw, head.packed_raw);
    memcpy(to + head.steps_bytes + raw, body + head.steps_bytes + head.packed_stored,
           head.hash_bytes);
    head.codec = FB_CODEC_NONE;
    head.packed_stored = head.packed_raw;
    const size_t size = head.steps_bytes + raw + head.hash_bytes;
    const size_t file = FB_FORMAT_ALIGN + (size_t)fb__align_up(fb__chunk_bytes(&head));
    for (unsigned round = 0; round < rounds; round++) {
        /* Mostly in the dictionary and its first bytes, where all sizes and counts are. */
        const size_t window = round % 3 == 0 ? size : round % 3 == 1 ? 64 : 3000;
        const size_t at = head.steps_bytes + (size_t)(next_random(&random) % (window - 40));
        const uint8_t saved = to[at];

        to[at] ^= (uint8_t)(1u << next_random(&random) % 8);
        head.body_check = fb__check(to, size);
        head.steps_check = fb__check(to, head.steps_bytes);
        fb__put_chunk_header(plain + FB_FORMAT_ALIGN, &head);
        write_file(s.folder.file, plain, file);
        (void)read_damaged(&s);
        to[at] = saved;
    }
    free(plain);
    free_sample(&s);
}

/* --- Contents that lie with right checks -------------------------------------------------------
 */

/* The header of chunk `number` and where it lies. */
static size_t find_chunk(const sample *s, unsigned number, fb_chunk_header *head)
{
    size_t at = FB_FORMAT_ALIGN;
    fb_hash id;

    memcpy(&id, s->bytes + 40, sizeof id);
    for (unsigned i = 0;; i++) {
        const char *why;

        assert_true(fb__get_chunk_header(head, s->bytes + at, id, at, &why));
        if (i == number)
            return at;
        at += (size_t)fb__align_up(fb__chunk_bytes(head));
    }
}

/* Makes all checks of a chunk right again. */
static void sign_body(sample *s, size_t at, fb_chunk_header *head)
{
    const uint8_t *body = s->bytes + at + FB_CHUNK_HEADER_BYTES;

    head->steps_check = fb__check(body, head->steps_bytes);
    head->body_check = fb__check(body, (size_t)fb__chunk_bytes(head) - FB_CHUNK_HEADER_BYTES);
    fb__put_chunk_header(s->bytes + at, head);
}

static void assert_corrupt_at(const sample *s, size_t at, const char *part)
{
    fb_trace_info info;
    fb_error err;
    fb_trace *t;

    write_file(s->folder.file, s->bytes, s->count);
    t = open_trace(s->folder.file);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    assert_int_equal(info.status, FB_TRACE_CORRUPT);
    assert_int_equal(info.damage, at);
    if (strstr(err.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
    fb_trace_close(t);
}

static void a_changed_event_does_not_fit_its_root(void **state)
{
    fb_chunk_header head;
    sample s;

    (void)state;
    make_sample(&s);
    const size_t at = find_chunk(&s, 2, &head);
    const size_t hashes = at + (size_t)fb__chunk_bytes(&head) - head.hash_bytes;
    s.bytes[hashes + 100] ^= 16;
    sign_body(&s, at, &head);
    assert_corrupt_at(&s, at, "roots or chains");
    free_sample(&s);
}

static void a_changed_chain_does_not_fit_its_roots(void **state)
{
    fb_chunk_header head;
    sample s;

    (void)state;
    make_sample(&s);
    const size_t at = find_chunk(&s, 2, &head);
    s.bytes[at + FB_CHUNK_HEADER_BYTES + 32 + 16] ^= 1; /* first chain of the first entry */
    sign_body(&s, at, &head);
    assert_corrupt_at(&s, at, "roots or chains");
    free_sample(&s);
}

static void bytes_that_no_event_uses_are_refused(void **state)
{
    fb_chunk_header head;
    sample s;

    (void)state;
    make_sample(&s);
    const size_t at = find_chunk(&s, 1, &head);
    assert_true(head.hash_bytes / 16 < head.events);
    /* One hash more than events have, in what was padding. */
    assert_true(fb__align_up(fb__chunk_bytes(&head)) - fb__chunk_bytes(&head) >= 16);
    head.hash_bytes += 16;
    sign_body(&s, at, &head);
    assert_corrupt_at(&s, at, "do not fit the chunk header");
    free_sample(&s);
}

static void a_skip_pointer_that_leads_astray_is_found(void **state)
{
    fb_chunk_header head;
    sample s;

    (void)state;
    make_sample(&s);
    const size_t at = find_chunk(&s, 4, &head);
    head.skip[1] = head.skip[0]; /* two chunks back, it says */
    fb__put_chunk_header(s.bytes + at, &head);
    assert_corrupt_at(&s, at, "skip pointer");
    free_sample(&s);
}

static void a_footer_that_does_not_fit_is_found(void **state)
{
    const size_t fields[] = {12, 20, 28, 36}; /* events, steps, first and last step */

    (void)state;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        fb_chunk_header head;
        sample s;

        make_sample(&s);
        const size_t at = find_chunk(&s, 7, &head);
        assert_int_equal(head.type, FB_CHUNK_FOOTER);
        s.bytes[at + FB_CHUNK_HEADER_BYTES + fields[i]] ^= 1;
        sign_body(&s, at, &head);
        assert_corrupt_at(&s, at, "footer");
        free_sample(&s);
    }
}

static void a_chunk_in_another_place_is_none(void **state)
{
    fb_chunk_header head;
    outcome o;
    sample s;

    (void)state;
    make_sample(&s);
    /* Where the footer was, the last chunk lies a second time, as a disk may bring it back. */
    const size_t last = find_chunk(&s, 6, &head);
    const size_t bytes = (size_t)fb__align_up(fb__chunk_bytes(&head));
    s.bytes = realloc(s.bytes, last + 2 * bytes);
    memcpy(s.bytes + last + bytes, s.bytes + last, bytes);
    write_file(s.folder.file, s.bytes, last + 2 * bytes);
    o = read_damaged(&s);
    assert_int_equal(o.verified, FB_TRACE_TORN);
    assert_int_equal(o.events, s.line_count);
    free_sample(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_sizes_are_refused),
        cmocka_unit_test(hostile_file_headers_are_refused),
        cmocka_unit_test(hostile_bodies_do_not_crash_the_reader),
        cmocka_unit_test(a_changed_event_does_not_fit_its_root),
        cmocka_unit_test(a_changed_chain_does_not_fit_its_roots),
        cmocka_unit_test(bytes_that_no_event_uses_are_refused),
        cmocka_unit_test(a_skip_pointer_that_leads_astray_is_found),
        cmocka_unit_test(a_footer_that_does_not_fit_is_found),
        cmocka_unit_test(a_chunk_in_another_place_is_none),
    };

    make_all = argc > 1 && strcmp(argv[1], "--all") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
