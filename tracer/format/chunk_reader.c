/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_reader.c - loading a chunk: checks, decompression, and its columns item by item.
 */
#include "tracer/format/chunk_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tracer/format/chunk_dictionary.h"

bool fb__chunk_reader_init(fb_chunk_reader *c, fb_sites *sites)
{
    memset(c, 0, sizeof *c);
    c->sites = sites;
    c->zstd = ZSTD_createDCtx();
    return c->zstd != NULL;
}

/* Bytes that the reader holds, as far as they have been used. */
static size_t memory_of(const fb_chunk_reader *c)
{
    const size_t numbers = (size_t)c->string_capacity + c->module_capacity + c->frame_capacity +
                           c->site_capacity + c->site_frame_capacity;

    return c->most_bytes + numbers * sizeof *c->strings + c->form_capacity * sizeof *c->forms +
           c->input_capacity * sizeof *c->inputs + c->index_capacity * sizeof *c->indices +
           c->text_capacity + c->extras.block_capacity * sizeof *c->extras.block;
}

static void count_memory(fb_chunk_reader *c)
{
    const size_t now = memory_of(c);

    c->sites->reader_bytes += now - c->counted;
    c->counted = now;
}

void fb__chunk_reader_free(fb_chunk_reader *c)
{
    if (c->sites != NULL)
        c->sites->reader_bytes -= c->counted;
    ZSTD_freeDCtx(c->zstd);
    free(c->stored);
    free(c->raw);
    free(c->strings);
    free(c->modules);
    free(c->frames);
    free(c->local_sites);
    free(c->site_frames);
    free(c->forms);
    free(c->inputs);
    free(c->indices);
    free(c->text);
    fb__extras_reader_free(&c->extras);
    memset(c, 0, sizeof *c);
}

void fb__chunk_reader_forget(fb_chunk_reader *c)
{
    free(c->site_frames);
    c->site_frames = NULL;
    c->site_frame_capacity = 0;
    c->loaded = false;
}

uint8_t *fb__chunk_reader_body(fb_chunk_reader *c)
{
    c->loaded = false;
    if (c->stored == NULL)
        c->stored = malloc(FB_CHUNK_MAX);
    return c->stored;
}

const char fb__out_of_memory[] = "out of memory";

fb_status fb__chunk_corrupt(const fb_chunk_reader *c, const char *what, fb_error *err)
{
    if (what == fb__out_of_memory) /* which is no flaw of the chunk */
        return fb__chunk_no_memory(err);
    return fb__fail(err, FB_E_CORRUPT, c->head.offset, "chunk %llu at byte %llu: %s",
                    (unsigned long long)c->head.sequence, (unsigned long long)c->head.offset, what);
}

fb_status fb__chunk_no_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

bool fb__chunk_reserve(void *array, uint32_t *capacity, size_t element, uint32_t need)
{
    void **pointer = array;
    void *bigger;

    if (need <= *capacity)
        return true;
    bigger = realloc(*pointer, (size_t)need * element);
    if (bigger == NULL)
        return false;
    *pointer = bigger;
    *capacity = need;
    return true;
}

/* --- Loading -----------------------------------------------------------------------------------
 */

static bool decompress(fb_chunk_reader *c)
{
    const uint8_t *packed = c->stored + c->head.steps_bytes;
    size_t n;

    if (c->head.codec == FB_CODEC_NONE) {
        memcpy(c->raw, packed, c->head.packed_raw);
        return true;
    }
    n = ZSTD_decompressDCtx(c->zstd, c->raw, c->head.packed_raw, packed, c->head.packed_stored);
    return !ZSTD_isError(n) && n == c->head.packed_raw;
}

/* Table of (section, bytes), ascending, then the sections, which fill the rest exactly. */
static bool find_sections(fb_chunk_reader *c, fb_bytes extras[FB_EXTRA_SECTIONS])
{
    fb_bytes table = fb_bytes_of(c->raw, c->head.packed_raw);
    const uint64_t count = fb_bytes_varint(&table);
    uint64_t total = 0;
    fb_bytes ids, bodies;

    memset(c->columns, 0, sizeof c->columns);
    ids = table;
    for (uint64_t i = 0, last = 0; i < count && !table.failed; i++) {
        const uint64_t id = fb_bytes_varint(&table), bytes = fb_bytes_varint(&table);

        if (id <= last || (id >= FB_SECTION_COUNT && id < FB_SECTION_SKIPPABLE) ||
            bytes > FB_CHUNK_MAX)
            return false;
        last = id;
        total += bytes;
    }
    if (table.failed || total != fb_bytes_left(&table))
        return false;
    bodies = table;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t id = fb_bytes_varint(&ids);
        const size_t bytes = (size_t)fb_bytes_varint(&ids);
        const uint8_t *body = fb_bytes_take(&bodies, bytes);

        if (id < FB_SECTION_COUNT)
            c->columns[id] = fb_bytes_of(body, bytes);
        else if (id >= FB_SECTION_SKIPPABLE && id < FB_SECTION_EXTRA_END)
            extras[id - FB_SECTION_SKIPPABLE] = fb_bytes_of(body, bytes);
    }
    return true;
}

fb_status fb__chunk_reader_unpack(fb_chunk_reader *c, const fb_chunk_header *head, fb_error *err)
{
    const size_t body = head->steps_bytes + head->packed_stored + head->hash_bytes;
    fb_bytes extras[FB_EXTRA_SECTIONS];
    const char *flaw;

    c->head = *head;
    if (body + head->packed_raw > c->most_bytes)
        c->most_bytes = body + head->packed_raw;
    if (c->raw == NULL && (c->raw = malloc(FB_CHUNK_MAX)) == NULL)
        return fb__chunk_no_memory(err);
    if (fb__check(c->stored, body) != head->body_check ||
        fb__check(c->stored, head->steps_bytes) != head->steps_check)
        return fb__chunk_corrupt(c, "checksum mismatch", err);
    if (!decompress(c))
        return fb__chunk_corrupt(c, "does not decompress to its size", err);
    for (int i = 0; i < FB_EXTRA_SECTIONS; i++)
        extras[i] = fb_bytes_of(c->raw, 0);
    if (!find_sections(c, extras))
        return fb__chunk_corrupt(c, "bad table of sections", err);
    flaw = fb__extras_load(&c->extras, extras, head->events);
    return flaw == NULL ? FB_OK : fb__chunk_corrupt(c, flaw, err);
}

fb_status fb__chunk_reader_load(fb_chunk_reader *c, const fb_chunk_header *head, fb_error *err)
{
    fb_status status = fb__chunk_reader_unpack(c, head, err);

    if (status != FB_OK)
        return status;
    count_memory(c);
    c->steps = fb_bytes_of(c->stored, head->steps_bytes);
    c->hashes = fb_bytes_of(c->stored + head->steps_bytes + head->packed_stored, head->hash_bytes);
    c->previous = FB_INTERN_NONE;
    c->events_left = head->events;
    c->steps_left = head->steps;
    c->inputs_left = FB_CHUNK_INPUTS_MAX;
    c->has_step = false;
    c->micro = FB_MICRO_NONE;
    status = fb__chunk_dictionary(c, err);
    count_memory(c);
    return status;
}

/* --- Steps part --------------------------------------------------------------------------------
 */

bool fb__get_step_entry(fb_bytes *steps, fb_trace_step *out)
{
    uint64_t classes;

    memset(out, 0, sizeof *out);
    out->step = fb_bytes_u64(steps);
    out->first_event = fb_bytes_u64(steps);
    out->events = fb_bytes_u64(steps);
    classes = fb_bytes_u64(steps);
    if (steps->failed || classes >= 1u << FB_CLASS_COUNT || out->step > FB_STEP_MAX)
        return false;
    out->classes = (uint32_t)classes;
    for (int c = 0; c < FB_CLASS_COUNT; c++) {
        if ((classes & 1u << c) == 0)
            continue;
        out->root[c].lo = fb_bytes_u64(steps);
        out->root[c].hi = fb_bytes_u64(steps);
        out->chain[c].lo = fb_bytes_u64(steps);
        out->chain[c].hi = fb_bytes_u64(steps);
    }
    return !steps->failed;
}

/* --- Items -------------------------------------------------------------------------------------
 */

/* NULL, or what is wrong. *ended: a step ended. */
static const char *read_control(fb_chunk_reader *c, bool *ended)
{
    fb_bytes *controls = &c->columns[FB_SECTION_CONTROLS];
    const uint64_t kind = fb_bytes_varint(controls), bytes = fb_bytes_varint(controls);
    const uint8_t *body = fb_bytes_take(controls, bytes > FB_CHUNK_MAX ? SIZE_MAX : (size_t)bytes);
    fb_bytes b = {body, body == NULL ? body : body + bytes, body == NULL};

    if (controls->failed || kind == 0)
        return "bad control record";
    if (kind == FB_CONTROL_STEP) {
        const uint64_t step = fb_bytes_u64(&b);

        if (b.failed || step > c->head.last_step ||
            (c->has_step ? step <= c->step : step != c->head.first_step))
            return "steps out of order";
        c->step = step;
        c->has_step = true;
    } else if (kind == FB_CONTROL_MICRO) {
        c->micro = (int32_t)fb_bytes_u32(&b);
        if (b.failed || c->micro < FB_MICRO_NONE)
            return "bad micro-batch";
    } else if (kind == FB_CONTROL_STEP_END) {
        if (c->steps_left == 0 || !fb__get_step_entry(&c->steps, &c->step_end) || !c->has_step ||
            c->step_end.step != c->step)
            return "bad end of step";
        c->steps_left--;
        *ended = true;
    }
    return NULL; /* unknown kinds are skipped */
}

static bool read_inputs(fb_chunk_reader *c, const fb_read_form *form)
{
    fb_bytes b = {c->raw + form->inputs_at, c->raw + c->head.packed_raw, false};

    for (uint32_t i = 0; i < form->input_count; i++) {
        fb_ref *ref = &c->inputs[i];
        const uint64_t site = fb_bytes_varint(&b), step = fb_bytes_varint(&b),
                       micro = fb_bytes_varint(&b);

        /* Ranges were checked with the form; a distance is known to fit only here. */
        ref->site = c->local_sites[site];
        if ((step & 1) == 0 && step >> 1 > c->step)
            return false;
        ref->step = step & 1 ? step >> 1 : c->step - (step >> 1);
        ref->micro = micro == FB_MICRO_CODE_NONE   ? FB_MICRO_NONE
                     : micro == FB_MICRO_CODE_SAME ? c->micro
                                                   : (int32_t)(micro - FB_MICRO_CODE_NUMBER);
    }
    return true;
}

static uint64_t read_predicted(fb_bytes *column, uint64_t *last, uint64_t *delta)
{
    const uint64_t value = *last + *delta + (uint64_t)fb_unzigzag(fb_bytes_varint(column));

    *delta = value - *last;
    *last = value;
    return value;
}

static void read_numbers(fb_chunk_reader *c, fb_read_form *form, fb_kind kind)
{
    uint64_t *const values[3] = {&c->event.key, &c->event.counter, &c->event.count};
    const unsigned present = fb__kind_numbers(kind);

    for (int i = 0; i < 3; i++)
        if (present & 1u << i)
            *values[i] = read_predicted(&c->columns[FB_SECTION_NUMBERS], &form->number[i],
                                        &form->number_delta[i]);
}

/* NULL, or what is wrong. */
static const char *read_indices(fb_chunk_reader *c)
{
    fb_bytes *column = &c->columns[FB_SECTION_INDICES];
    uint64_t last = 0;

    if (c->event.count > FB_INDICES_MAX || c->event.count > fb_bytes_left(column))
        return "impossible count of indices";
    if (!fb__chunk_reserve(&c->indices, &c->index_capacity, sizeof *c->indices,
                           (uint32_t)c->event.count + 1))
        return fb__out_of_memory;
    for (uint64_t i = 0; i < c->event.count; i++)
        last = c->indices[i] = last + (uint64_t)fb_unzigzag(fb_bytes_varint(column));
    c->event.indices = c->indices;
    return NULL;
}

static const char *read_text(fb_chunk_reader *c)
{
    fb_bytes *column = &c->columns[FB_SECTION_TEXTS];
    const uint64_t count = fb_bytes_varint(column);
    const uint8_t *text;

    if (count > FB_TEXT_MAX)
        return "text longer than the limit";
    text = fb_bytes_take(column, (size_t)count);
    if (text == NULL || memchr(text, 0, (size_t)count) != NULL)
        return "bad text";
    if (!fb__chunk_reserve(&c->text, &c->text_capacity, 1, (uint32_t)count + 1))
        return fb__out_of_memory;
    memcpy(c->text, text, (size_t)count);
    c->text[count] = '\0';
    c->event.text = c->text;
    return NULL;
}

static const char *read_columns(fb_chunk_reader *c, fb_read_form *form, fb_kind kind)
{
    const char *flaw = NULL;

    if (form->bits & FB_FORM_HASH) {
        c->event.hash.lo = fb_bytes_u64(&c->hashes);
        c->event.hash.hi = fb_bytes_u64(&c->hashes);
    }
    if (fb__kind_has_storage(kind)) {
        const int64_t version = fb_unzigzag(fb_bytes_varint(&c->columns[FB_SECTION_VERSIONS]));

        form->storage += (uint64_t)fb_unzigzag(fb_bytes_varint(&c->columns[FB_SECTION_STORAGE]));
        c->event.storage = form->storage;
        c->event.version = form->version + form->version_delta + (uint32_t)version;
        form->version_delta = c->event.version - form->version;
        form->version = c->event.version;
    } else if (fb__kind_has_value(kind)) {
        c->event.value = fb_bytes_f64(&c->columns[FB_SECTION_VALUES]);
    } else {
        read_numbers(c, form, kind);
    }
    if (form->bits & FB_FORM_INDICES)
        flaw = read_indices(c);
    if (flaw == NULL && form->bits & FB_FORM_TEXT)
        flaw = read_text(c);
    return flaw;
}

/* NULL, or what is wrong. */
static const char *read_event(fb_chunk_reader *c, uint64_t row)
{
    const uint32_t predicted = c->previous == FB_INTERN_NONE ? 0 : c->forms[c->previous].follower;
    const uint64_t number = row == FB_ROW_PREDICTED ? predicted : row - FB_ROW_FORM;
    const fb_site *site;
    const char *flaw;
    fb_read_form *form;

    if (number >= c->form_count || c->events_left == 0 || !c->has_step)
        return "bad row";
    form = &c->forms[number];
    if (form->input_count > c->inputs_left)
        return "more inputs than a chunk may have";
    c->inputs_left -= form->input_count;
    if (c->previous != FB_INTERN_NONE)
        c->forms[c->previous].follower = (uint32_t)number;
    c->previous = (uint32_t)number;
    c->events_left--;
    memset(&c->event, 0, sizeof c->event);
    c->event.size = sizeof c->event;
    c->event.site = form->site;
    c->event.flags = form->flags;
    c->event.step = c->step;
    c->event.micro = c->micro;
    c->event.input_count = form->input_count;
    c->event.inputs = form->input_count == 0 ? NULL : c->inputs;
    if (!read_inputs(c, form))
        return "input of a step before the first";
    site = &fb__sites_get(c->sites, form->site)->site;
    flaw = read_columns(c, form, site->kind);
    if (flaw != NULL)
        return flaw;
    return fb__extras_next(&c->extras, c->head.events - c->events_left - 1, site->dtype,
                           fb__kind_has_shape(site->kind), &c->event);
}

/* Every byte has its use: one left over means that reader and writer disagree. */
static bool all_used(const fb_chunk_reader *c)
{
    size_t left = fb_bytes_left(&c->steps) + fb_bytes_left(&c->hashes);

    for (int i = FB_SECTION_ROWS; i < FB_SECTION_COUNT; i++)
        left += fb_bytes_left(&c->columns[i]);
    return left == 0 && c->events_left == 0 && c->steps_left == 0 &&
           (!c->has_step || c->step == c->head.last_step);
}

static bool any_failed(const fb_chunk_reader *c)
{
    bool failed = c->hashes.failed;

    for (int i = FB_SECTION_ROWS; i < FB_SECTION_COUNT; i++)
        failed |= c->columns[i].failed;
    return failed;
}

fb_status fb__chunk_reader_next(fb_chunk_reader *c, fb_item *item, fb_error *err)
{
    fb_bytes *rows = &c->columns[FB_SECTION_ROWS];

    while (fb_bytes_left(rows) > 0) {
        const uint64_t row = fb_bytes_varint(rows);
        const bool is_event = row != FB_ROW_CONTROL;
        bool ended = false;
        const char *flaw = rows->failed ? "bad row"
                           : is_event   ? read_event(c, row)
                                        : read_control(c, &ended);

        if (flaw == NULL && any_failed(c))
            flaw = "a column ends early";
        if (flaw != NULL)
            return fb__chunk_corrupt(c, flaw, err);
        if (is_event || ended) {
            *item = is_event ? FB_ITEM_EVENT : FB_ITEM_STEP_END;
            return FB_OK;
        }
    }
    if (!all_used(c))
        return fb__chunk_corrupt(c, "contents do not fit the chunk header", err);
    *item = FB_ITEM_END;
    return FB_OK;
}
