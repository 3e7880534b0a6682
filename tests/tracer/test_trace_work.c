/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_work.c - a small file is little work, however hostile: events and inputs that compress
 * to nothing are limited, and looking for the end of a torn trace reads no byte for two headers.
 */
#include "tests/tracer/damage_fixture.h"

#include "base/bytes.h"

enum { ROOM = 8 << 20 };

/* A trace of one chunk: `events` marks of one form with `inputs` inputs, all of them rows of zero.
 */
static size_t make_bomb(uint8_t *out, uint32_t events, uint32_t inputs)
{
    const fb_hash id = {3, 4};
    const fb_file_header file = {.version = FB_FORMAT_VERSION,
                                 .id = id,
                                 .json_bytes = 2,
                                 .span = FB_FORMAT_ALIGN,
                                 .level = FB_LEVEL_OPS};
    fb_chunk_header head = {.type = FB_CHUNK_EVENTS,
                            .codec = FB_CODEC_ZSTD,
                            .id = id,
                            .events = events,
                            .first_step = 1,
                            .last_step = 1,
                            .finished_step = FB_NO_STEP,
                            .offset = FB_FORMAT_ALIGN,
                            .first_nonfinite = FB_NO_EVENT};
    /* 5.2: strings "p"; one site, a mark of this path; a form; the rows; controls: step 1. */
    const uint8_t strings[] = {1, 1, 'p'}, sites[] = {1, 8, FB_KIND_MARK, 0, 0, 0, 0, 1, 0, 0};
    const uint8_t controls[] = {1, 8, 1, 0, 0, 0, 0, 0, 0, 0};
    fb_buffer forms = {0}, form = {0}, rows = {0}, packed = {0};
    uint8_t *body = out + FB_FORMAT_ALIGN + FB_CHUNK_HEADER_BYTES;
    size_t stored, count;

    memset(out, 0, ROOM);
    fb_buffer_append(&form, "\0\0\0", 3); /* site, flags, columns */
    fb_buffer_varint(&form, inputs);
    for (uint32_t i = 0; i < inputs; i++)
        fb_buffer_append(&form, "\0\0\0", 3);
    fb_buffer_varint(&forms, 1);
    fb_buffer_varint(&forms, form.count);
    fb_buffer_append(&forms, form.data, form.count);
    fb_buffer_u8(&rows, 1); /* a control; the form that follows form 0 is none: named each time */
    for (uint32_t i = 0; i < events; i++)
        fb_buffer_u8(&rows, 2);
    const struct {
        uint64_t section;
        const void *bytes;
        size_t count;
    } sections[] = {{FB_SECTION_STRINGS, strings, sizeof strings},
                    {FB_SECTION_SITES, sites, sizeof sites},
                    {FB_SECTION_FORMS, forms.data, forms.count},
                    {FB_SECTION_ROWS, rows.data, rows.count},
                    {FB_SECTION_CONTROLS, controls, sizeof controls}};
    fb_buffer_varint(&packed, COUNT_OF(sections));
    for (size_t i = 0; i < COUNT_OF(sections); i++) {
        fb_buffer_varint(&packed, sections[i].section);
        fb_buffer_varint(&packed, sections[i].count);
    }
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        fb_buffer_append(&packed, sections[i].bytes, sections[i].count);
    stored = ZSTD_compress(body, ROOM / 2, packed.data, packed.count, 3);
    assert_false(ZSTD_isError(stored));
    head.packed_raw = (uint32_t)packed.count;
    head.packed_stored = (uint32_t)stored;
    head.steps_check = fb__check(NULL, 0);
    head.body_check = fb__check(body, stored);
    fb__put_file_header(out, &file, "{}");
    memcpy(out + FB_HEADER_BYTES, "{}", 2);
    fb__put_chunk_header(out + FB_FORMAT_ALIGN, &head);
    count = (size_t)fb__align_up(FB_FORMAT_ALIGN + FB_CHUNK_HEADER_BYTES + stored);
    fb_buffer_free(&forms);
    fb_buffer_free(&form);
    fb_buffer_free(&rows);
    fb_buffer_free(&packed);
    return count;
}

/* Events that can be read of such a trace; *why: how it ended. */
static uint64_t read_bomb(uint32_t events, uint32_t inputs, fb_error *why)
{
    uint8_t *bytes = malloc(ROOM);
    const size_t count = make_bomb(bytes, events, inputs);
    test_folder folder;
    const fb_event *e;
    uint64_t n = 0;
    fb_trace *t;

    make_folder(&folder);
    assert_true(count <= 5 * FB_FORMAT_ALIGN || inputs > 1000);
    write_file(folder.file, bytes, count);
    assert_int_equal(fb_trace_open(&t, folder.file, NULL), FB_OK);
    *why = (fb_error){.status = FB_OK};
    while (fb_trace_next(t, &e, NULL, why) == FB_OK && e != NULL)
        n++;
    fb_trace_close(t);
    drop_folder(&folder);
    free(bytes);
    return n;
}

static void a_chunk_has_no_more_inputs_than_can_be_followed(void **state)
{
    fb_error why;

    (void)state;
    assert_int_equal(read_bomb(1000, 8, &why), 1000);
    assert_int_equal(why.status, FB_OK);
    assert_int_equal(read_bomb(64, FB_INPUTS_MAX, &why), 64);
    assert_int_equal(why.status, FB_OK);
    assert_int_equal(read_bomb(400000, FB_INPUTS_MAX, &why), FB_CHUNK_INPUTS_MAX / FB_INPUTS_MAX);
    assert_int_equal(why.status, FB_E_CORRUPT);
    assert_non_null(strstr(why.text, "more inputs than a chunk may have"));
}

static void a_chunk_has_no_more_events_than_a_writer_makes(void **state)
{
    fb_error why;

    (void)state;
    assert_int_equal(read_bomb(FB_CHUNK_EVENTS_MAX, 0, &why), FB_CHUNK_EVENTS_MAX);
    assert_int_equal(why.status, FB_OK);
    assert_int_equal(read_bomb(FB_CHUNK_EVENTS_MAX + 1, 0, &why), 0); /* torn before it */
}

/* Every page is a sound header of a chunk of 4 MiB that lies within the file, and whose body check
 * is wrong. */
static void a_torn_trace_is_searched_in_one_pass(void **state)
{
    enum { PAGES = 3000 };
    const size_t size = (size_t)PAGES * FB_FORMAT_ALIGN;
    uint8_t *bytes = calloc(1, size), *small = malloc(ROOM);
    fb_chunk_header head;
    const char *why;
    test_folder folder;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    (void)make_bomb(small, 10, 0);
    memcpy(bytes, small, 2 * FB_FORMAT_ALIGN);
    assert_true(fb__get_chunk_header(&head, small + FB_FORMAT_ALIGN, (fb_hash){3, 4},
                                     FB_FORMAT_ALIGN, &why));
    head.packed_stored = head.packed_raw = FB_CHUNK_MAX - 4096;
    head.codec = FB_CODEC_NONE;
    for (size_t page = 2; page < PAGES; page++) {
        head.offset = page * FB_FORMAT_ALIGN;
        fb__put_chunk_header(bytes + head.offset, &head);
    }
    write_file(folder.file, bytes, size);
    assert_int_equal(fb_trace_open(&t, folder.file, NULL), FB_OK);
    assert_int_equal(fb_trace_get_info(t)->status, FB_TRACE_TORN);
    assert_int_equal(fb_trace_get_info(t)->events, 10); /* the one sound chunk */
    assert_true(fb_trace_bytes_read(t) < 2 * size);
    fb_trace_close(t);
    drop_folder(&folder);
    free(bytes);
    free(small);
}

/* What a writer makes stays below: events of many inputs end a chunk early. */
static void many_inputs_end_a_chunk(void **state)
{
    enum { EVENTS = 200 };
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    fb_ref *inputs = calloc(FB_INPUTS_MAX, sizeof *inputs);
    test_folder folder;
    fb_trace_info info;
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_OK);
    fb_recorder_step(r, 1);
    inputs[0] = fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "out", FB_DTYPE_F32, 1);
    for (uint32_t i = 1; i < FB_INPUTS_MAX; i++)
        inputs[i] = inputs[0];
    for (uint32_t i = 0; i < EVENTS; i++)
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                 FB_DTYPE_F32, 0, NULL, &i, inputs, FB_INPUTS_MAX);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, NULL), FB_OK);
    assert_int_equal(info.status, FB_TRACE_COMPLETE);
    assert_int_equal(info.events, EVENTS + 1);
    fb_trace_close(t);
    drop_folder(&folder);
    free(inputs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_has_no_more_inputs_than_can_be_followed),
        cmocka_unit_test(a_chunk_has_no_more_events_than_a_writer_makes),
        cmocka_unit_test(a_torn_trace_is_searched_in_one_pass),
        cmocka_unit_test(many_inputs_end_a_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
