/* SPDX-License-Identifier: Apache-2.0
 *
 * damage_fixture.h - what tests of damaged traces share: a small trace in memory, and what readers
 * say of a changed copy of it.
 */
#ifndef FB_TESTS_TRACER_DAMAGE_FIXTURE_H
#define FB_TESTS_TRACER_DAMAGE_FIXTURE_H

#include "tests/sanitized.h"
#include "tests/tracer/trace_fixture.h"

#include <zstd.h>

#include "tracer/format/format.h"
#include "tracer/record/recorder_state.h"

/* A small trace in memory with the JSON of its events. */
typedef struct sample {
    test_folder folder;
    uint8_t *bytes;
    size_t count;
    char **lines;
    uint64_t line_count;
} sample;

static inline void read_file(const char *path, uint8_t **bytes, size_t *count)
{
    FILE *file = fopen(path, "rb");
    long size;

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    *bytes = malloc((size_t)size + 1);
    *count = (size_t)size;
    assert_int_equal(fread(*bytes, 1, (size_t)size, file), size);
    fclose(file);
}

static inline void write_file(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static inline void make_sample(sample *s)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    const fb_observer *o;
    const fb_event *e;
    fb_recorder *r;
    fb_trace *t;
    uint64_t random = 1, number;

    make_folder(&s->folder);
    assert_int_equal(fb_recorder_open(&r, s->folder.file, &options, NULL), FB_OK);
    o = fb_recorder_observer(r);
    report_sites(o);
    for (uint64_t step = 0; step <= 30; step += 5) {
        report_steps(o, step, step + 4, &random);
        fb__recorder_seal(r); /* small chunks, many of them */
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    read_file(s->folder.file, &s->bytes, &s->count);
    t = open_trace(s->folder.file);
    assert_true(fb_trace_get_info(t)->chunks >= 6);
    s->lines = calloc(fb_trace_get_info(t)->events, sizeof *s->lines);
    for (s->line_count = 0; fb_trace_next(t, &e, &number, NULL) == FB_OK && e != NULL;)
        s->lines[s->line_count++] = fb_trace_event_json(t, e, number);
    fb_trace_close(t);
}

static inline void free_sample(sample *s)
{
    for (uint64_t i = 0; i < s->line_count; i++)
        free(s->lines[i]);
    free(s->lines);
    free(s->bytes);
    drop_folder(&s->folder);
}

/* What reading gave. */
typedef struct outcome {
    fb_status opened;
    fb_trace_status verified; /* where it opened */
    uint64_t events;
    bool prefix; /* the events are the first ones of the sample, unchanged */
} outcome;

static inline outcome read_damaged(const sample *s)
{
    outcome o = {.prefix = true};
    const fb_event *e;
    fb_trace_info info;
    uint64_t number;
    fb_trace *t;
    fb_error err;

    o.opened = fb_trace_open(&t, s->folder.file, &err);
    if (o.opened != FB_OK) {
        assert_non_null(strstr(err.text, "t.fbt"));
        return o;
    }
    while (fb_trace_next(t, &e, &number, &err) == FB_OK && e != NULL) {
        char *line = fb_trace_event_json(t, e, number);

        o.prefix &= o.events < s->line_count && strcmp(line, s->lines[o.events]) == 0;
        o.events++;
        free(line);
    }
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    o.verified = info.status;
    fb_trace_close(t);
    return o;
}

#endif
