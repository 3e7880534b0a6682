/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_seal.c - writes the dictionary of a chunk, packs the columns, compresses, checks.
 */
#include "tracer/format/chunk_seal.h"

#include <string.h>

#include "base/error.h"

/* Columns are so regular that a higher level gains nothing: measured in bench/bench_trace.c. */
enum { ZSTD_LEVEL = 1 };

/* String 0 of a chunk is "" without being stored. */
static uint32_t local_string(fb_builder *b, uint32_t string)
{
    bool is_new;
    return fb__local_put(b, &b->local_strings, string, &is_new);
}

/* The frames of a stack from the innermost out, numbered from the outermost in: callers first. */
static uint32_t local_stack(fb_builder *b, uint32_t frame)
{
    uint32_t chain[FB_STACK_DEPTH_MAX];
    uint32_t local = 0;
    int depth = 0;
    bool is_new;

    for (; frame != FB_FRAME_NONE && depth < FB_STACK_DEPTH_MAX; depth++) {
        chain[depth] = frame;
        frame = fb__sites_get_frame(b->sites, frame).caller;
    }
    while (depth > 0)
        local = fb__local_put(b, &b->local_frames, chain[--depth], &is_new);
    return local;
}

static void put_site(fb_builder *b, fb_buffer *record, const fb_site_entry *entry)
{
    const fb_site *s = &entry->site;
    const int names = s->kind == FB_KIND_DRAW   ? FB_SITE_CONSUMER + 1
                      : s->kind == FB_KIND_SEED ? FB_SITE_ALGORITHM + 1
                                                : FB_SITE_SLOT + 1;

    fb_buffer_varint(record, (uint64_t)s->kind);
    fb_buffer_varint(record, (uint64_t)s->phase);
    fb_buffer_varint(record, s->occurrence);
    fb_buffer_varint(record, s->note);
    fb_buffer_varint(
        record, entry->frame == FB_FRAME_NONE ? 0 : (uint64_t)local_stack(b, entry->frame) + 1);
    for (int i = 0; i < names; i++)
        fb_buffer_varint(record, local_string(b, entry->names[i]));
    if (s->kind == FB_KIND_SAMPLE) {
        fb_buffer_varint(record, local_string(b, entry->names[FB_SITE_DATASET]));
        fb_buffer_varint(record, (uint64_t)s->role);
    }
    if (s->kind == FB_KIND_DRAW) {
        fb_buffer_f64(record, s->parameters[0]);
        fb_buffer_f64(record, s->parameters[1]);
    }
    if (fb__kind_has_shape(s->kind) || s->kind == FB_KIND_SCALAR)
        fb_buffer_varint(record, (uint64_t)s->dtype);
    if (fb__kind_has_shape(s->kind)) {
        fb_buffer_varint(record, s->rank);
        for (uint32_t i = 0; i < s->rank; i++)
            fb_buffer_varint(record, s->shape[i]);
    }
    if ((entry->names[FB_SITE_SOURCE] | entry->names[FB_SITE_ARGUMENTS]) != 0)
        fb_buffer_varint(record, local_string(b, entry->names[FB_SITE_SOURCE]));
    if (entry->names[FB_SITE_ARGUMENTS] != 0)
        fb_buffer_varint(record, local_string(b, entry->names[FB_SITE_ARGUMENTS]));
}

/* Sites and forms are records: length, body. A later version may append fields to the body. */
static void put_record(fb_buffer *section, fb_buffer *record)
{
    fb_buffer_varint(section, record->count);
    fb_buffer_append(section, record->data, record->count);
    section->failed |= record->failed;
    record->count = 0;
}

static void put_sites(fb_builder *b, fb_buffer *record)
{
    fb_buffer *section = &b->columns[FB_SECTION_SITES];

    fb_buffer_varint(section, b->local_sites.count);
    for (uint32_t i = 0; i < b->local_sites.count; i++) {
        put_site(b, record, fb__sites_get(b->sites, b->local_sites.order[i]));
        put_record(section, record);
    }
}

static void put_forms(fb_builder *b, fb_buffer *record)
{
    fb_buffer *section = &b->columns[FB_SECTION_FORMS];
    bool is_new;

    fb_buffer_varint(section, b->form_count);
    for (uint32_t f = 0; f < b->form_count; f++) {
        const fb_form *form = &b->forms[f];

        fb_buffer_varint(record, fb__local_put(b, &b->local_sites, form->site, &is_new));
        fb_buffer_varint(record, form->flags);
        fb_buffer_varint(record, form->bits);
        fb_buffer_varint(record, form->input_count);
        for (uint32_t i = 0; i < form->input_count; i++) {
            const fb_form_input *input = &b->inputs[form->inputs + i];

            fb_buffer_varint(record, fb__local_put(b, &b->local_sites, input->site, &is_new));
            fb_buffer_varint(record, input->step_code);
            fb_buffer_varint(record, input->micro_code);
        }
        put_record(section, record);
    }
}

static void put_frames(fb_builder *b)
{
    fb_buffer *section = &b->columns[FB_SECTION_FRAMES];
    bool is_new;

    fb_buffer_varint(section, b->local_frames.count);
    for (uint32_t i = 0; i < b->local_frames.count; i++) {
        const fb_frame frame = fb__sites_get_frame(b->sites, b->local_frames.order[i]);

        fb_buffer_varint(
            section, frame.caller == FB_FRAME_NONE
                         ? 0
                         : (uint64_t)fb__local_put(b, &b->local_frames, frame.caller, &is_new) + 1);
        fb_buffer_varint(section, fb__local_put(b, &b->local_modules, frame.module, &is_new));
        fb_buffer_varint(section, frame.offset);
    }
}

static void put_modules(fb_builder *b)
{
    fb_buffer *section = &b->columns[FB_SECTION_MODULES];

    fb_buffer_varint(section, b->local_modules.count);
    for (uint32_t i = 0; i < b->local_modules.count; i++) {
        const fb_module module = fb__sites_get_module(b->sites, b->local_modules.order[i]);

        fb_buffer_varint(section, local_string(b, module.name));
        fb_buffer_varint(section, module.build_id_bytes);
        fb_buffer_append(section, module.build_id, module.build_id_bytes);
    }
}

static void put_strings(fb_builder *b)
{
    fb_buffer *section = &b->columns[FB_SECTION_STRINGS];

    fb_buffer_varint(section, b->local_strings.count - 1);
    for (uint32_t i = 1; i < b->local_strings.count; i++) {
        size_t count;
        const void *text = fb_intern_get(b->sites->strings, b->local_strings.order[i], &count);

        fb_buffer_varint(section, count);
        fb_buffer_append(section, text, count);
    }
}

/* Later sections refer to earlier ones, so numbers are given out from the last to the first. */
static void put_dictionary(fb_builder *b)
{
    fb_buffer record = {0};
    bool is_new;

    fb__local_put(b, &b->local_strings, 0, &is_new);
    put_forms(b, &record);
    put_sites(b, &record);
    put_frames(b);
    put_modules(b);
    put_strings(b);
    fb_buffer_free(&record);
}

/* Section table, then the sections, ascending. */
static void pack(fb_builder *b)
{
    const fb_buffer *sections[FB_SECTION_EXTRA_END] = {NULL};
    unsigned count = 0;

    for (int i = 0; i < FB_SECTION_COUNT; i++)
        sections[i] = &b->columns[i];
    fb__extras_pack(&b->extras);
    for (int i = 0; i < FB_EXTRA_SECTIONS; i++)
        sections[FB_SECTION_SKIPPABLE + i] = &b->extras.sections[i];
    for (int i = 0; i < FB_SECTION_EXTRA_END; i++) {
        if (sections[i] != NULL && sections[i]->count == 0)
            sections[i] = NULL;
        count += sections[i] != NULL;
    }
    b->packed.count = 0;
    fb_buffer_varint(&b->packed, count);
    for (int i = 0; i < FB_SECTION_EXTRA_END; i++) {
        if (sections[i] == NULL)
            continue;
        fb_buffer_varint(&b->packed, (uint64_t)i);
        fb_buffer_varint(&b->packed, sections[i]->count);
    }
    for (int i = 0; i < FB_SECTION_EXTRA_END; i++)
        if (sections[i] != NULL)
            fb_buffer_append(&b->packed, sections[i]->data, sections[i]->count);
}

/* Puts the steps part and the packed part into b->image, behind room for the chunk header. */
static void compress(fb_builder *b, fb_chunk_header *head)
{
    const size_t bound = ZSTD_compressBound(b->packed.count);
    size_t stored;

    b->image.count = 0;
    if (!fb_buffer_reserve(&b->image, FB_CHUNK_HEADER_BYTES + b->steps.count + bound))
        return;
    b->image.count = FB_CHUNK_HEADER_BYTES;
    fb_buffer_append(&b->image, b->steps.data, b->steps.count);
    stored = ZSTD_compressCCtx(b->zstd, b->image.data + b->image.count, bound, b->packed.data,
                               b->packed.count, ZSTD_LEVEL);
    head->packed_raw = (uint32_t)b->packed.count;
    if (ZSTD_isError(stored) || stored >= b->packed.count) {
        head->codec = FB_CODEC_NONE;
        head->packed_stored = head->packed_raw;
        fb_buffer_append(&b->image, b->packed.data, b->packed.count);
        return;
    }
    head->codec = FB_CODEC_ZSTD;
    head->packed_stored = (uint32_t)stored;
    b->image.count += stored;
}

static void pad(fb_buffer *image)
{
    const size_t padding = fb__align_up(image->count) - image->count;

    if (fb_buffer_reserve(image, padding)) {
        memset(image->data + image->count, 0, padding);
        image->count += padding;
    }
}

fb_status fb__builder_seal(fb_builder *b, fb_chunk_header *head, const uint8_t **image,
                           size_t *image_bytes, fb_error *err)
{
    put_dictionary(b);
    pack(b);
    if (b->steps.count + b->packed.count + b->hashes.count > FB_CHUNK_MAX)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "a chunk of more than %d bytes",
                        FB_CHUNK_MAX);
    compress(b, head);
    fb_buffer_append(&b->image, b->hashes.data, b->hashes.count);
    head->type = FB_CHUNK_EVENTS;
    head->hash_bytes = (uint32_t)b->hashes.count;
    head->steps_bytes = (uint32_t)b->steps.count;
    head->steps_check = fb__check(b->steps.data, b->steps.count);
    head->events = b->events;
    head->steps = b->step_ends;
    head->first_step = b->first_step;
    head->last_step = b->step;
    if (fb__builder_failed(b) || b->packed.failed || b->image.failed)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    head->body_check =
        fb__check(b->image.data + FB_CHUNK_HEADER_BYTES, b->image.count - FB_CHUNK_HEADER_BYTES);
    fb__put_chunk_header(b->image.data, head);
    pad(&b->image);
    if (b->image.failed)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    *image = b->image.data;
    *image_bytes = b->image.count;
    fb__builder_reset(b);
    return FB_OK;
}
