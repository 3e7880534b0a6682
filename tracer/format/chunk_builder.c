/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_builder.c - the hot path of recording: one event into columns.
 */
#include "tracer/format/chunk_builder.h"

#include <stdlib.h>
#include <string.h>

#include "tracer/format/chunk_seal.h"

enum { FIRST_FORM_SLOTS = 1024 };

bool fb__builder_init(fb_builder *b, fb_sites *sites)
{
    memset(b, 0, sizeof *b);
    b->sites = sites;
    b->epoch = 1;
    b->previous = FB_INTERN_NONE;
    b->micro = FB_MICRO_NONE;
    b->zstd = ZSTD_createCCtx();
    b->form_slots = calloc(FIRST_FORM_SLOTS, sizeof *b->form_slots);
    b->form_slot_mask = FIRST_FORM_SLOTS - 1;
    if (b->zstd == NULL || b->form_slots == NULL) {
        fb__builder_free(b);
        return false;
    }
    return true;
}

static void local_free(fb_local *local)
{
    free(local->slots);
    free(local->order);
}

void fb__builder_free(fb_builder *b)
{
    ZSTD_freeCCtx(b->zstd);
    for (int i = 0; i < FB_SECTION_COUNT; i++)
        fb_buffer_free(&b->columns[i]);
    fb__extras_free(&b->extras);
    fb_buffer_free(&b->steps);
    fb_buffer_free(&b->hashes);
    fb_buffer_free(&b->packed);
    fb_buffer_free(&b->image);
    local_free(&b->local_sites);
    local_free(&b->local_strings);
    local_free(&b->local_frames);
    local_free(&b->local_modules);
    free(b->forms);
    free(b->inputs);
    free(b->form_slots);
    memset(b, 0, sizeof *b);
}

/* --- Local numbers -----------------------------------------------------------------------------
 */

static bool grow(void **array, uint32_t *capacity, size_t element, uint32_t need)
{
    uint32_t n = *capacity < 64 ? 64 : *capacity;
    void *bigger;

    if (need <= *capacity)
        return true;
    while (n < need)
        n += n / 2;
    bigger = realloc(*array, n * element);
    if (bigger == NULL)
        return false;
    memset((uint8_t *)bigger + *capacity * element, 0, (n - *capacity) * element);
    *array = bigger;
    *capacity = n;
    return true;
}

uint32_t fb__local_put(fb_builder *b, fb_local *local, uint32_t number, bool *is_new)
{
    struct fb_local_slot *slot;

    *is_new = false;
    if (!grow((void **)&local->slots, &local->slot_capacity, sizeof *local->slots, number + 1) ||
        !grow((void **)&local->order, &local->order_capacity, sizeof *local->order,
              local->count + 1)) {
        b->failed = true;
        return 0;
    }
    slot = &local->slots[number];
    if (slot->epoch != b->epoch) {
        slot->epoch = b->epoch;
        slot->local = local->count;
        local->order[local->count++] = number;
        *is_new = true;
    }
    return slot->local;
}

/* Bytes that a site record takes before compression, less its names. */
enum { SITE_RECORD_BYTES = 24, FORM_RECORD_BYTES = 5, INPUT_RECORD_BYTES = 4 };

static void use_site(fb_builder *b, uint32_t number)
{
    const fb_site_entry *entry;
    bool is_new;

    fb__local_put(b, &b->local_sites, number, &is_new);
    if (!is_new)
        return;
    entry = fb__sites_get(b->sites, number);
    b->definition_bytes += SITE_RECORD_BYTES + strlen(entry->site.path);
}

/* --- Forms -------------------------------------------------------------------------------------
 */

static uint64_t step_code(uint64_t step, uint64_t input_step)
{
    const uint64_t distance = step - input_step;

    if (input_step > step || (input_step == 0 && distance > 1))
        return input_step << 1 | 1;
    return distance << 1;
}

static uint32_t micro_code(int32_t micro, int32_t input_micro)
{
    if (input_micro == FB_MICRO_NONE)
        return FB_MICRO_CODE_NONE;
    return input_micro == micro ? (uint32_t)FB_MICRO_CODE_SAME
                                : (uint32_t)input_micro + FB_MICRO_CODE_NUMBER;
}

static fb_form_input input_of(const fb_event *e, uint32_t i)
{
    const fb_ref *ref = &e->inputs[i];

    return (fb_form_input){.site = ref->site,
                           .micro_code = micro_code(e->micro, ref->micro),
                           .step_code = step_code(e->step, ref->step)};
}

static bool form_matches(const fb_builder *b, const fb_form *form, uint32_t site, uint32_t bits,
                         const fb_event *e)
{
    if (form->site != site || form->flags != (e->flags & fb__known_flags) || form->bits != bits ||
        form->input_count != e->input_count)
        return false;
    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb_form_input want = input_of(e, i);
        const fb_form_input *have = &b->inputs[form->inputs + i];

        if (have->site != want.site || have->micro_code != want.micro_code ||
            have->step_code != want.step_code)
            return false;
    }
    return true;
}

static uint64_t mix(uint64_t key, uint64_t value)
{
    key = (key ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return key ^ key >> 29;
}

static uint64_t form_key(uint32_t site, uint32_t bits, const fb_event *e)
{
    uint64_t key = mix(site, (uint64_t)(e->flags & fb__known_flags) << 32 | bits);

    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb_form_input input = input_of(e, i);
        key = mix(key, (uint64_t)input.site << 32 | input.micro_code);
        key = mix(key, input.step_code);
    }
    return key;
}

static bool grow_form_slots(fb_builder *b)
{
    const uint32_t mask = b->form_slot_mask * 2 + 1;
    uint32_t *slots = calloc((size_t)mask + 1, sizeof *slots);

    if (slots == NULL)
        return false;
    for (uint32_t f = 0; f < b->form_count; f++) {
        uint32_t i = (uint32_t)b->forms[f].key & mask;
        while (slots[i] != 0)
            i = (i + 1) & mask;
        slots[i] = f + 1;
    }
    free(b->form_slots);
    b->form_slots = slots;
    b->form_slot_mask = mask;
    return true;
}

static bool reserve_form(fb_builder *b, uint32_t inputs)
{
    if (b->form_count >= b->form_slot_mask / 2 && !grow_form_slots(b))
        return false;
    if (!grow((void **)&b->forms, &b->form_capacity, sizeof *b->forms, b->form_count + 1))
        return false;
    if (b->input_count + inputs > b->input_capacity) {
        const size_t capacity = (b->input_count + inputs) * 3 / 2 + 256;
        fb_form_input *bigger = realloc(b->inputs, capacity * sizeof *bigger);

        if (bigger == NULL)
            return false;
        b->inputs = bigger;
        b->input_capacity = capacity;
    }
    return true;
}

static uint32_t new_form(fb_builder *b, uint64_t key, uint32_t site, uint32_t bits,
                         const fb_event *e)
{
    const uint32_t number = b->form_count;
    uint32_t i = (uint32_t)key & b->form_slot_mask;

    while (b->form_slots[i] != 0)
        i = (i + 1) & b->form_slot_mask;
    b->form_slots[i] = number + 1;
    b->forms[number] = (fb_form){.key = key,
                                 .site = site,
                                 .flags = e->flags & fb__known_flags,
                                 .bits = bits,
                                 .input_count = e->input_count,
                                 .inputs = b->input_count,
                                 .follower = number + 1};
    b->form_count++;
    use_site(b, site);
    for (uint32_t n = 0; n < e->input_count; n++) {
        const fb_form_input input = input_of(e, n);
        b->inputs[b->input_count++] = input;
        use_site(b, input.site);
    }
    b->definition_bytes += FORM_RECORD_BYTES + (size_t)INPUT_RECORD_BYTES * e->input_count;
    return number;
}

static uint32_t find_form(fb_builder *b, uint32_t predicted, uint32_t site, uint32_t bits,
                          const fb_event *e)
{
    uint64_t key;

    if (predicted < b->form_count && form_matches(b, &b->forms[predicted], site, bits, e))
        return predicted;
    key = form_key(site, bits, e);
    for (uint32_t i = (uint32_t)key & b->form_slot_mask; b->form_slots[i] != 0;
         i = (i + 1) & b->form_slot_mask) {
        const uint32_t f = b->form_slots[i] - 1;
        if (b->forms[f].key == key && form_matches(b, &b->forms[f], site, bits, e))
            return f;
    }
    if (!reserve_form(b, e->input_count)) {
        b->failed = true;
        return 0;
    }
    return new_form(b, key, site, bits, e);
}

/* --- Rows --------------------------------------------------------------------------------------
 */

static void put_control(fb_builder *b, fb_control kind, const void *body, size_t count)
{
    fb_buffer *controls = &b->columns[FB_SECTION_CONTROLS];

    fb_buffer_u8(&b->columns[FB_SECTION_ROWS], FB_ROW_CONTROL);
    fb_buffer_varint(controls, (uint64_t)kind);
    fb_buffer_varint(controls, count);
    fb_buffer_append(controls, body, count);
}

static void set_step(fb_builder *b, uint64_t step)
{
    if (b->has_step && b->step == step)
        return;
    if (!b->has_step)
        b->first_step = step;
    b->has_step = true;
    b->step = step;
    put_control(b, FB_CONTROL_STEP, &step, sizeof step);
}

static void set_micro(fb_builder *b, int32_t micro)
{
    if (b->micro == micro)
        return;
    b->micro = micro;
    put_control(b, FB_CONTROL_MICRO, &micro, sizeof micro);
}

/* Appends value as its distance from what the last two of this form predict. */
static void put_predicted(fb_buffer *column, uint64_t value, uint64_t *last, uint64_t *delta)
{
    fb_buffer_varint(column, fb_zigzag((int64_t)(value - (*last + *delta))));
    *delta = value - *last;
    *last = value;
}

static void put_numbers(fb_builder *b, fb_form *form, fb_kind kind, const fb_event *e)
{
    const uint64_t values[3] = {e->key, e->counter, e->count};
    const unsigned present = fb__kind_numbers(kind);

    for (int i = 0; i < 3; i++)
        if (present & 1u << i)
            put_predicted(&b->columns[FB_SECTION_NUMBERS], values[i], &form->number[i],
                          &form->number_delta[i]);
}

static void put_indices(fb_builder *b, const fb_event *e)
{
    uint64_t last = 0;

    for (uint64_t i = 0; i < e->count; i++) {
        fb_buffer_varint(&b->columns[FB_SECTION_INDICES],
                         fb_zigzag((int64_t)(e->indices[i] - last)));
        last = e->indices[i];
    }
}

static void put_text(fb_builder *b, const char *text)
{
    const size_t count = strlen(text);

    fb_buffer_varint(&b->columns[FB_SECTION_TEXTS], count);
    fb_buffer_append(&b->columns[FB_SECTION_TEXTS], text, count);
}

static void put_columns(fb_builder *b, fb_form *form, fb_kind kind, const fb_event *e)
{
    if (form->bits & FB_FORM_HASH) {
        fb_buffer_u64(&b->hashes, e->hash.lo);
        fb_buffer_u64(&b->hashes, e->hash.hi);
    }
    if (fb__kind_has_storage(kind)) {
        const uint32_t version = form->version + form->version_delta;

        fb_buffer_varint(&b->columns[FB_SECTION_STORAGE],
                         fb_zigzag((int64_t)(e->storage - form->storage)));
        fb_buffer_varint(&b->columns[FB_SECTION_VERSIONS],
                         fb_zigzag((int32_t)(e->version - version)));
        form->storage = e->storage;
        form->version_delta = e->version - form->version;
        form->version = e->version;
    } else if (fb__kind_has_value(kind)) {
        fb_buffer_f64(&b->columns[FB_SECTION_VALUES], e->value);
    } else {
        put_numbers(b, form, kind, e);
    }
    if (form->bits & FB_FORM_INDICES)
        put_indices(b, e);
    if (form->bits & FB_FORM_TEXT)
        put_text(b, e->text);
}

void fb__builder_event(fb_builder *b, uint32_t site, const fb_event *e)
{
    const fb_kind kind = fb__sites_get(b->sites, site)->site.kind;
    const bool has_hash = fb__kind_has_hash(kind) && (e->hash.lo | e->hash.hi) != 0;
    const bool has_indices = kind == FB_KIND_SAMPLE && e->indices != NULL;
    const bool has_text = fb__kind_has_text(kind) && e->text != NULL;
    const uint32_t bits = (has_hash ? FB_FORM_HASH : 0u) | (has_indices ? FB_FORM_INDICES : 0u) |
                          (has_text ? FB_FORM_TEXT : 0u);
    const uint32_t predicted = b->previous == FB_INTERN_NONE ? 0 : b->forms[b->previous].follower;
    uint32_t form;

    set_step(b, e->step);
    set_micro(b, e->micro);
    form = find_form(b, predicted, site, bits, e);
    if (b->failed)
        return;
    if (form == predicted)
        fb_buffer_u8(&b->columns[FB_SECTION_ROWS], FB_ROW_PREDICTED);
    else
        fb_buffer_varint(&b->columns[FB_SECTION_ROWS], (uint64_t)form + FB_ROW_FORM);
    if (b->previous != FB_INTERN_NONE)
        b->forms[b->previous].follower = form;
    b->previous = form;
    put_columns(b, &b->forms[form], kind, e);
    if (fb__kind_has_shape(kind))
        fb__extras_event(&b->extras, b->events, fb__sites_get(b->sites, site)->site.dtype, e);
    b->events++;
    b->inputs_of_events += e->input_count;
}

void fb__builder_contents(fb_builder *b, uint32_t width, uint64_t total, uint64_t offset,
                          const void *data, size_t bytes)
{
    set_step(b, b->step);
    fb__extras_contents(&b->extras, b->events, width, total, offset, data, bytes);
}

void fb__builder_step_end(fb_builder *b, uint64_t step, uint64_t first_event, uint64_t events,
                          uint32_t classes, const fb_hash root[FB_CLASS_COUNT],
                          const fb_hash chain[FB_CLASS_COUNT])
{
    fb_buffer *steps = &b->steps;

    set_step(b, step);
    put_control(b, FB_CONTROL_STEP_END, NULL, 0);
    fb_buffer_u64(steps, step);
    fb_buffer_u64(steps, first_event);
    fb_buffer_u64(steps, events);
    fb_buffer_u64(steps, classes);
    for (int c = 0; c < FB_CLASS_COUNT; c++) {
        if ((classes & 1u << c) == 0)
            continue;
        fb_buffer_u64(steps, root[c].lo);
        fb_buffer_u64(steps, root[c].hi);
        fb_buffer_u64(steps, chain[c].lo);
        fb_buffer_u64(steps, chain[c].hi);
    }
    b->step_ends++;
}

/* --- State -------------------------------------------------------------------------------------
 */

bool fb__builder_failed(const fb_builder *b)
{
    bool failed = b->failed || b->steps.failed || b->hashes.failed || fb__extras_failed(&b->extras);

    for (int i = 0; i < FB_SECTION_COUNT; i++)
        failed |= b->columns[i].failed;
    return failed;
}

bool fb__builder_empty(const fb_builder *b)
{
    return b->columns[FB_SECTION_ROWS].count == 0;
}

bool fb__builder_full(const fb_builder *b, uint64_t most)
{
    size_t bytes =
        b->steps.count + b->hashes.count + b->definition_bytes + fb__extras_bytes(&b->extras);

    for (int i = FB_SECTION_ROWS; i < FB_SECTION_COUNT; i++)
        bytes += b->columns[i].count;
    return bytes >= FB_CHUNK_RAW || bytes >= most || b->form_count >= FB_CHUNK_FORMS_MAX / 2 ||
           b->local_sites.count >= FB_CHUNK_SITES_MAX / 2 ||
           b->inputs_of_events >= FB_CHUNK_INPUTS_MAX / 2;
}

void fb__builder_reset(fb_builder *b)
{
    for (int i = 0; i < FB_SECTION_COUNT; i++)
        b->columns[i].count = 0;
    fb__extras_reset(&b->extras);
    b->steps.count = 0;
    b->hashes.count = 0;
    b->local_sites.count = 0;
    b->local_strings.count = 0;
    b->local_frames.count = 0;
    b->local_modules.count = 0;
    memset(b->form_slots, 0, ((size_t)b->form_slot_mask + 1) * sizeof *b->form_slots);
    b->form_count = 0;
    b->input_count = 0;
    b->definition_bytes = 0;
    b->epoch++;
    b->events = b->inputs_of_events = 0;
    b->step_ends = 0;
    b->previous = FB_INTERN_NONE;
    b->has_step = false;
    b->micro = FB_MICRO_NONE;
}
