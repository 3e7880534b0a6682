/* SPDX-License-Identifier: Apache-2.0
 *
 * sealer_rows.c - definitions and events read from the rows of a tail.
 *
 * Rules: docs/trace-format.md, "Tail file". A row has passed its check, but a check is no proof.
 */
#include "tracer/record/sealer_rows.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/format/format.h"

/* --- Numbers -----------------------------------------------------------------------------------
 */

static bool set_number(const fb_sealer *s, fb_numbers *numbers, uint32_t number, uint32_t to)
{
    if (number >= numbers->capacity) {
        const uint32_t capacity = number + number / 2 + 64;
        struct fb_number *of = realloc(numbers->of, capacity * sizeof *of);

        if (of == NULL)
            return false;
        memset(of + numbers->capacity, 0, (capacity - numbers->capacity) * sizeof *of);
        numbers->of = of;
        numbers->capacity = capacity;
    }
    numbers->of[number].epoch = s->epoch;
    numbers->of[number].to = to;
    return true;
}

static bool get_number(const fb_sealer *s, const fb_numbers *numbers, uint32_t number, uint32_t *to)
{
    if (number >= numbers->capacity || numbers->of[number].epoch != s->epoch)
        return false;
    *to = numbers->of[number].to;
    return true;
}

/* --- Definitions -------------------------------------------------------------------------------
 */

/* A name of the row, interned. */
static const char *read_name(fb_sealer *s, fb_bytes *b, uint32_t *string, bool *no_memory)
{
    const uint16_t bytes = fb_bytes_u16(b);
    const uint8_t *text = fb_bytes_take(b, bytes);

    if (b->failed || bytes > FB_NAME_MAX || memchr(text, 0, bytes) != NULL)
        return "bad name";
    *string = fb__sites_string(s->sites, (const char *)text, bytes);
    *no_memory = *string == FB_INTERN_NONE;
    return NULL;
}

const char *fb__sealer_read_module(fb_sealer *s, uint32_t number, fb_bytes *b, bool *no_memory)
{
    fb_module module = {.build_id_bytes = fb_bytes_u32(b)};
    const uint8_t *id = fb_bytes_take(b, FB_BUILD_ID_MAX);
    const char *flaw;
    uint32_t to;

    if (b->failed || module.build_id_bytes > FB_BUILD_ID_MAX || number >= FB_SITES_MODULES_MAX)
        return "bad module";
    memcpy(module.build_id, id, module.build_id_bytes);
    flaw = read_name(s, b, &module.name, no_memory);
    if (flaw != NULL || *no_memory)
        return flaw;
    to = fb__sites_module(s->sites, &module);
    *no_memory = to == FB_INTERN_NONE || !set_number(s, &s->module_numbers, number, to);
    return NULL;
}

const char *fb__sealer_read_frame(fb_sealer *s, uint32_t number, fb_bytes *b, bool *no_memory)
{
    const uint32_t caller = fb_bytes_u32(b), module = fb_bytes_u32(b);
    fb_frame frame = {.caller = FB_FRAME_NONE, .offset = fb_bytes_u64(b)};
    uint32_t to;

    if (b->failed || number >= FB_SITES_FRAMES_MAX ||
        (caller != FB_FRAME_NONE && !get_number(s, &s->frame_numbers, caller, &frame.caller)) ||
        !get_number(s, &s->module_numbers, module, &frame.module))
        return "bad frame";
    to = fb__sites_frame(s->sites, &frame);
    *no_memory = to == FB_INTERN_NONE || !set_number(s, &s->frame_numbers, number, to);
    return NULL;
}

/* The fixed part of a site. */
static const char *read_fields(fb_sealer *s, fb_site *site, uint32_t *frame, fb_bytes *b)
{
    const uint8_t *small = fb_bytes_take(b, 8);
    uint32_t caller;

    if (small == NULL)
        return "bad site";
    *site = (fb_site){.size = sizeof *site,
                      .kind = (fb_kind)small[0],
                      .phase = (fb_phase)small[1],
                      .note = small[2] != 0,
                      .dtype = (fb_dtype)small[3],
                      .role = (fb_role)small[4],
                      .rank = small[5]};
    site->occurrence = fb_bytes_u32(b);
    caller = fb_bytes_u32(b);
    *frame = FB_FRAME_NONE;
    if (caller != FB_FRAME_NONE && !get_number(s, &s->frame_numbers, caller, frame))
        return "unknown frame";
    if (site->rank > FB_RANK_MAX)
        return "rank out of range";
    for (uint32_t i = 0; i < site->rank; i++)
        site->shape[i] = fb_bytes_u64(b);
    for (int i = 0; i < 2; i++)
        site->parameters[i] = fb_bytes_f64(b);
    return b->failed || fb__sites_check(site, "", NULL) != FB_OK ? "bad site" : NULL;
}

/* A call stack told by the program and an op's arguments are behind the names, where there are any;
 * else padding. */
static const char *read_optional(fb_sealer *s, fb_bytes *b, uint32_t *string, bool *no_memory)
{
    *string = 0;
    return fb_bytes_left(b) < 2 ? NULL : read_name(s, b, string, no_memory);
}

const char *fb__sealer_read_site(fb_sealer *s, uint32_t number, fb_bytes *b, bool *no_memory)
{
    uint32_t names[FB_SITE_NAMES], frame, to;
    fb_site site;
    fb_error err;
    const char *flaw = read_fields(s, &site, &frame, b);

    for (int i = 0; i < FB_SITE_SOURCE && flaw == NULL && !*no_memory; i++)
        flaw = read_name(s, b, &names[i], no_memory);
    if (flaw == NULL && !*no_memory)
        flaw = read_optional(s, b, &names[FB_SITE_SOURCE], no_memory);
    if (flaw == NULL && !*no_memory)
        flaw = read_optional(s, b, &names[FB_SITE_ARGUMENTS], no_memory);
    if (flaw != NULL || *no_memory)
        return flaw;
    if (number >= FB_TRACE_SITES_MAX)
        return "bad site";
    switch (fb__sites_put_named(s->sites, &site, names, &to, &err)) {
    case FB_OK:
        break;
    case FB_E_MEMORY:
        *no_memory = true;
        return NULL;
    default:
        return "too many sites";
    }
    if (fb__sites_get(s->sites, to)->frame == FB_FRAME_NONE)
        fb__sites_get(s->sites, to)->frame = frame;
    *no_memory = !set_number(s, &s->site_numbers, number, to);
    return NULL;
}

/* --- Events ------------------------------------------------------------------------------------
 */

bool fb__sealer_reserve_inputs(fb_sealer *s, uint32_t count)
{
    const uint32_t capacity = count + 64;
    fb_ref *inputs;
    fb_hash *ids;

    if (count <= s->input_capacity)
        return true;
    inputs = realloc(s->inputs, capacity * sizeof *inputs);
    s->inputs = inputs == NULL ? s->inputs : inputs;
    ids = realloc(s->input_ids, capacity * sizeof *ids);
    s->input_ids = ids == NULL ? s->input_ids : ids;
    if (inputs == NULL || ids == NULL)
        return false;
    s->input_capacity = capacity;
    return true;
}

void fb__sealer_read_place(fb_sealer *s, const fb_tail_row_head *head, fb_bytes *b)
{
    if ((head->mask & FB_TAIL_PLACE) == 0)
        return;
    s->row_step = fb_bytes_u64(b);
    s->row_micro = (int32_t)fb_bytes_u32(b);
    (void)fb_bytes_u32(b);
}

static const char *read_inputs(fb_sealer *s, fb_event *e, fb_bytes *b, bool *no_memory)
{
    e->input_count = fb_bytes_u32(b);
    if (b->failed || e->input_count > FB_INPUTS_MAX)
        return "too many inputs";
    *no_memory = !fb__sealer_reserve_inputs(s, e->input_count);
    for (uint32_t i = 0; i < e->input_count && !*no_memory; i++) {
        const uint32_t code = fb_bytes_u32(b);
        fb_ref *ref = &s->inputs[i];

        *ref = (fb_ref){.step = e->step, .micro = e->micro};
        if (code & FB_TAIL_ELSEWHERE) {
            ref->step = fb_bytes_u64(b);
            ref->micro = (int32_t)fb_bytes_u32(b);
        }
        if (b->failed || ref->step > FB_STEP_MAX || ref->micro < FB_MICRO_NONE ||
            !get_number(s, &s->site_numbers, code & ~FB_TAIL_ELSEWHERE, &ref->site))
            return "bad input";
    }
    e->inputs = s->inputs;
    return NULL;
}

/* Copied, because a row's bytes need not be aligned for numbers. */
static const char *read_indices(fb_sealer *s, fb_event *e, fb_bytes *b, bool *no_memory)
{
    const uint8_t *from =
        e->count > FB_INDICES_MAX ? NULL : fb_bytes_take(b, (size_t)e->count * sizeof(uint64_t));

    if (from == NULL)
        return "bad indices";
    if (e->count > s->index_capacity || s->indices == NULL) {
        uint64_t *indices = realloc(s->indices, ((size_t)e->count + 1) * sizeof *indices);

        if (indices == NULL) {
            *no_memory = true;
            return NULL;
        }
        s->indices = indices;
        s->index_capacity = (size_t)e->count;
    }
    memcpy(s->indices, from, (size_t)e->count * sizeof *s->indices);
    e->indices = s->indices;
    return NULL;
}

static const char *read_text(fb_sealer *s, fb_event *e, fb_bytes *b, bool *no_memory)
{
    const uint64_t bytes = fb_bytes_u64(b);
    const uint8_t *text = bytes > FB_TEXT_MAX ? NULL : fb_bytes_take(b, (size_t)bytes);

    if (text == NULL || memchr(text, 0, (size_t)bytes) != NULL)
        return "bad text";
    s->text.count = 0;
    fb_buffer_append(&s->text, text, (size_t)bytes);
    fb_buffer_u8(&s->text, 0);
    *no_memory = s->text.failed;
    e->text = (const char *)s->text.data;
    return NULL;
}

static const char *read_sketch(fb_sealer *s, fb_event *e, fb_bytes *b, bool has_edition)
{
    const size_t bytes = has_edition ? sizeof s->sketch : offsetof(fb_sketch, edition);
    const uint8_t *from = fb_bytes_take(b, bytes);

    if (from == NULL)
        return "bad sketch";
    s->sketch.edition = 1;
    memcpy(&s->sketch, from, bytes);
    if (!fb__sketch_is_sound(&s->sketch))
        return "bad sketch";
    e->sketch = &s->sketch;
    return NULL;
}

/* Copied, as indices are. */
static const char *read_blocks(fb_sealer *s, fb_event *e, fb_bytes *b, bool *no_memory)
{
    const uint64_t count = fb_bytes_u64(b);
    const uint8_t *from =
        count > FB_BLOCKS_MAX ? NULL : fb_bytes_take(b, (size_t)count * sizeof *s->blocks);

    if (from == NULL)
        return "bad blocks";
    if (count > s->block_capacity) {
        fb_hash *blocks = realloc(s->blocks, (size_t)count * sizeof *blocks);

        if (blocks == NULL) {
            *no_memory = true;
            return NULL;
        }
        s->blocks = blocks;
        s->block_capacity = (size_t)count;
    }
    if (count > 0)
        memcpy(s->blocks, from, (size_t)count * sizeof *s->blocks);
    e->blocks = s->blocks;
    e->block_count = count;
    return NULL;
}

static const char *read_parts(fb_sealer *s, fb_event *e, uint32_t mask, fb_bytes *b,
                              bool *no_memory)
{
    const char *flaw = NULL;

    if (mask & FB_TAIL_HASH) {
        e->hash.lo = fb_bytes_u64(b);
        e->hash.hi = fb_bytes_u64(b);
    }
    if (mask & FB_TAIL_STORAGE)
        e->storage = fb_bytes_u64(b);
    if (mask & FB_TAIL_VALUE)
        e->value = fb_bytes_f64(b);
    if (mask & FB_TAIL_NUMBERS) {
        e->key = fb_bytes_u64(b);
        e->counter = fb_bytes_u64(b);
        e->count = fb_bytes_u64(b);
    }
    if (mask & FB_TAIL_INDICES)
        flaw = read_indices(s, e, b, no_memory);
    if (flaw == NULL && !*no_memory && (mask & FB_TAIL_TEXT) != 0)
        flaw = read_text(s, e, b, no_memory);
    if (flaw == NULL && !*no_memory && (mask & FB_TAIL_INPUTS) != 0)
        flaw = read_inputs(s, e, b, no_memory);
    if (flaw != NULL || *no_memory)
        return flaw;
    if (mask & FB_TAIL_VERSION) {
        e->version = fb_bytes_u32(b);
        (void)fb_bytes_u32(b);
    }
    if (mask & FB_TAIL_FLAGS) {
        e->flags = fb_bytes_u32(b);
        (void)fb_bytes_u32(b);
    }
    if (mask & (FB_TAIL_SKETCH_1 | FB_TAIL_SKETCH))
        flaw = read_sketch(s, e, b, (mask & FB_TAIL_SKETCH) != 0);
    if (flaw == NULL && (mask & FB_TAIL_BLOCKS) != 0)
        flaw = read_blocks(s, e, b, no_memory);
    return flaw;
}

const char *fb__sealer_read_contents(fb_tail_contents *out, uint64_t offset, fb_bytes *b)
{
    *out = (fb_tail_contents){.width = fb_bytes_u32(b), .bytes = fb_bytes_u32(b), .offset = offset};
    out->total = fb_bytes_u64(b);
    if (b->failed || out->bytes > FB_CONTENTS_PIECE || out->width == 0 || out->width > 8 ||
        out->bytes % out->width != 0 || offset > out->total || out->bytes > out->total - offset)
        return "bad contents";
    out->data = fb_bytes_take(b, out->bytes);
    return out->data == NULL ? "bad contents" : NULL;
}

/* Whether an event of this kind can have these parts: what a chunk has no room for. */
static bool parts_fit(fb_kind kind, uint32_t mask)
{
    uint32_t allowed = FB_TAIL_PLACE | FB_TAIL_INPUTS | FB_TAIL_FLAGS;

    if (fb__kind_has_hash(kind))
        allowed |= FB_TAIL_HASH;
    if (fb__kind_has_storage(kind))
        allowed |= FB_TAIL_STORAGE | FB_TAIL_VERSION;
    else if (fb__kind_has_value(kind))
        allowed |= FB_TAIL_VALUE;
    else if (fb__kind_numbers(kind) != 0)
        allowed |= FB_TAIL_NUMBERS;
    if (kind == FB_KIND_SAMPLE)
        allowed |= FB_TAIL_INDICES;
    if (fb__kind_has_text(kind))
        allowed |= FB_TAIL_TEXT;
    if (fb__kind_has_shape(kind))
        allowed |= FB_TAIL_SKETCH_1 | FB_TAIL_SKETCH | FB_TAIL_BLOCKS;
    if (fb__kind_has_storage(kind))
        allowed |= FB_TAIL_CONTENTS;
    return (mask & ~allowed) == 0;
}

const char *fb__sealer_read_event(fb_sealer *s, fb_event *out, uint32_t *site,
                                  fb_tail_contents *contents, const fb_tail_row_head *head,
                                  fb_bytes *b, bool *no_memory)
{
    const char *flaw;

    if (!get_number(s, &s->site_numbers, head->number, site))
        return "unknown site";
    if (!parts_fit(fb__sites_get(s->sites, *site)->site.kind, head->mask))
        return "parts that the kind has not";
    fb__sealer_read_place(s, head, b);
    *out = (fb_event){.size = sizeof *out, .step = s->row_step, .micro = s->row_micro};
    flaw = read_parts(s, out, head->mask, b, no_memory);
    if (flaw != NULL || *no_memory)
        return flaw;
    out->site = *site;
    if (b->failed || out->step > FB_STEP_MAX || out->micro < FB_MICRO_NONE ||
        (out->flags & ~fb__known_flags) != 0)
        return "bad event";
    *contents = (fb_tail_contents){.data = NULL};
    return head->mask & FB_TAIL_CONTENTS ? fb__sealer_read_contents(contents, 0, b) : NULL;
}
