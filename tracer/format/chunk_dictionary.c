/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_dictionary.c - reads the definitions at the head of a chunk into the reader's tables.
 */
#include "tracer/format/chunk_dictionary.h"

#include <string.h>

#include "base/error.h"

/* The count that begins a section: at most `limit`, and each thing takes at least `least` bytes. */
static bool get_count(fb_bytes *section, uint32_t *count, uint32_t limit, size_t least)
{
    uint64_t n;

    *count = 0;
    if (section->at == section->end)
        return true; /* absent */
    n = fb_bytes_varint(section);
    if (section->failed || n > limit || n > fb_bytes_left(section) / least)
        return false;
    *count = (uint32_t)n;
    return true;
}

static fb_status read_strings(fb_chunk_reader *c, fb_error *err)
{
    fb_bytes *b = &c->columns[FB_SECTION_STRINGS];

    if (!get_count(b, &c->string_count, FB_CHUNK_STRINGS_MAX, 1))
        return fb__chunk_corrupt(c, "impossible count of strings", err);
    c->string_count++; /* number 0 is "" */
    if (!fb__chunk_reserve(&c->strings, &c->string_capacity, sizeof *c->strings, c->string_count))
        return fb__chunk_no_memory(err);
    c->strings[0] = 0;
    for (uint32_t i = 1; i < c->string_count; i++) {
        const uint64_t bytes = fb_bytes_varint(b);
        const uint8_t *text = fb_bytes_take(b, bytes > FB_NAME_MAX ? SIZE_MAX : (size_t)bytes);

        if (text == NULL || memchr(text, 0, (size_t)bytes) != NULL)
            return fb__chunk_corrupt(c, "bad string", err);
        c->strings[i] = fb__sites_string(c->sites, (const char *)text, (size_t)bytes);
        if (c->strings[i] == FB_INTERN_NONE)
            return fb__fail(err, FB_E_LIMIT, c->head.offset,
                            "chunk at byte %llu: names take more memory than a reader may use",
                            (unsigned long long)c->head.offset);
    }
    return FB_OK;
}

static fb_status read_modules(fb_chunk_reader *c, fb_error *err)
{
    fb_bytes *b = &c->columns[FB_SECTION_MODULES];

    if (!get_count(b, &c->module_count, FB_CHUNK_MODULES_MAX, 2))
        return fb__chunk_corrupt(c, "impossible count of modules", err);
    if (!fb__chunk_reserve(&c->modules, &c->module_capacity, sizeof *c->modules, c->module_count))
        return fb__chunk_no_memory(err);
    for (uint32_t i = 0; i < c->module_count; i++) {
        const uint64_t name = fb_bytes_varint(b), bytes = fb_bytes_varint(b);
        const uint8_t *id = fb_bytes_take(b, bytes > FB_BUILD_ID_MAX ? SIZE_MAX : (size_t)bytes);
        fb_module module = {0};

        if (id == NULL || name >= c->string_count)
            return fb__chunk_corrupt(c, "bad module", err);
        module.name = c->strings[name];
        module.build_id_bytes = (uint32_t)bytes;
        memcpy(module.build_id, id, (size_t)bytes);
        c->modules[i] = fb__sites_module(c->sites, &module);
        if (c->modules[i] == FB_INTERN_NONE)
            return fb__fail(err, FB_E_LIMIT, c->head.offset, "too many modules");
    }
    return FB_OK;
}

/* A caller comes before the frames that it calls: no cycle can be written. */
static fb_status read_frames(fb_chunk_reader *c, fb_error *err)
{
    fb_bytes *b = &c->columns[FB_SECTION_FRAMES];

    if (!get_count(b, &c->frame_count, FB_CHUNK_FRAMES_MAX, 3))
        return fb__chunk_corrupt(c, "impossible count of frames", err);
    if (!fb__chunk_reserve(&c->frames, &c->frame_capacity, sizeof *c->frames, c->frame_count))
        return fb__chunk_no_memory(err);
    for (uint32_t i = 0; i < c->frame_count; i++) {
        const uint64_t caller = fb_bytes_varint(b), module = fb_bytes_varint(b);
        fb_frame frame = {.offset = fb_bytes_varint(b)};

        if (b->failed || caller > i || module >= c->module_count)
            return fb__chunk_corrupt(c, "bad frame", err);
        frame.caller = caller == 0 ? FB_FRAME_NONE : c->frames[caller - 1];
        frame.module = c->modules[module];
        c->frames[i] = fb__sites_frame(c->sites, &frame);
        if (c->frames[i] == FB_INTERN_NONE)
            return fb__fail(err, FB_E_LIMIT, c->head.offset, "too many frames");
    }
    return FB_OK;
}

/* A varint below `limit`; the cursor fails otherwise. */
static uint32_t get_below(fb_bytes *b, uint64_t limit)
{
    const uint64_t value = fb_bytes_varint(b);

    if (value >= limit)
        b->failed = true;
    return b->failed ? 0 : (uint32_t)value;
}

static void get_name(fb_chunk_reader *c, fb_bytes *b, uint32_t names[], fb_site_name which)
{
    names[which] = c->strings[get_below(b, c->string_count)];
}

static void get_kind_fields(fb_chunk_reader *c, fb_bytes *b, fb_site *site, uint32_t names[])
{
    if (site->kind == FB_KIND_DRAW || site->kind == FB_KIND_SEED) {
        get_name(c, b, names, FB_SITE_STREAM);
        get_name(c, b, names, FB_SITE_ALGORITHM);
    }
    if (site->kind == FB_KIND_DRAW) {
        get_name(c, b, names, FB_SITE_DISTRIBUTION);
        get_name(c, b, names, FB_SITE_CONSUMER);
        site->parameters[0] = fb_bytes_f64(b);
        site->parameters[1] = fb_bytes_f64(b);
    }
    if (site->kind == FB_KIND_SAMPLE) {
        get_name(c, b, names, FB_SITE_DATASET);
        site->role = (fb_role)get_below(b, 256);
    }
    if (fb__kind_has_shape(site->kind) || site->kind == FB_KIND_SCALAR)
        site->dtype = (fb_dtype)get_below(b, 256);
    if (fb__kind_has_shape(site->kind)) {
        site->rank = get_below(b, FB_RANK_MAX + 1);
        for (uint32_t i = 0; i < site->rank; i++)
            site->shape[i] = fb_bytes_varint(b);
    }
}

static fb_status set_frame(fb_chunk_reader *c, uint32_t site, uint32_t frame, fb_error *err)
{
    if (site >= c->site_frame_capacity) {
        const uint32_t before = c->site_frame_capacity;

        if (!fb__chunk_reserve(&c->site_frames, &c->site_frame_capacity, sizeof *c->site_frames,
                               site + site / 2 + 64))
            return fb__chunk_no_memory(err);
        memset(c->site_frames + before, 0,
               (c->site_frame_capacity - before) * sizeof *c->site_frames);
    }
    c->site_frames[site] = frame + 1;
    return FB_OK;
}

/* Fields that a later version appended are left alone. */
static fb_status read_site(fb_chunk_reader *c, fb_bytes b, uint32_t *number, fb_error *err)
{
    uint32_t names[FB_SITE_NAMES] = {0};
    fb_site site = {.size = sizeof site};
    uint32_t frame;
    fb_status status;

    site.kind = (fb_kind)get_below(&b, 256);
    site.phase = (fb_phase)get_below(&b, 256);
    site.occurrence = get_below(&b, UINT64_C(1) << 32);
    site.note = get_below(&b, 2) != 0;
    frame = get_below(&b, (uint64_t)c->frame_count + 1);
    get_name(c, &b, names, FB_SITE_PATH);
    get_name(c, &b, names, FB_SITE_OP);
    get_name(c, &b, names, FB_SITE_SLOT);
    get_kind_fields(c, &b, &site, names);
    if (!b.failed && fb_bytes_left(&b) > 0)
        get_name(c, &b, names, FB_SITE_SOURCE);
    if (!b.failed && fb_bytes_left(&b) > 0)
        get_name(c, &b, names, FB_SITE_ARGUMENTS);
    if (b.failed || fb__sites_check(&site, "", NULL) != FB_OK)
        return fb__chunk_corrupt(c, "bad site", err);
    status = fb__sites_put_named(c->sites, &site, names, number, err);
    if (status == FB_OK && frame != 0 && c->sites->rename == NULL)
        status = set_frame(c, *number, c->frames[frame - 1], err);
    return status;
}

/* The next record of a section: its length is told and kept. */
static fb_bytes get_record(fb_bytes *section)
{
    const uint64_t bytes = fb_bytes_varint(section);
    const uint8_t *body = fb_bytes_take(section, bytes > FB_CHUNK_MAX ? SIZE_MAX : (size_t)bytes);

    return fb_bytes_of(body == NULL ? section->end : body, body == NULL ? 0 : (size_t)bytes);
}

static fb_status read_sites(fb_chunk_reader *c, fb_error *err)
{
    fb_bytes *b = &c->columns[FB_SECTION_SITES];

    if (!get_count(b, &c->site_count, FB_CHUNK_SITES_MAX, 9))
        return fb__chunk_corrupt(c, "impossible count of sites", err);
    if (!fb__chunk_reserve(&c->local_sites, &c->site_capacity, sizeof *c->local_sites,
                           c->site_count))
        return fb__chunk_no_memory(err);
    for (uint32_t i = 0; i < c->site_count; i++) {
        const fb_bytes record = get_record(b);
        const fb_status status = read_site(c, record, &c->local_sites[i], err);

        if (status != FB_OK)
            return status;
    }
    return FB_OK;
}

/* Flags and columns that this reader does not know would change what a row means. */
static bool read_form(fb_chunk_reader *c, fb_bytes b, fb_read_form *form, uint32_t number)
{
    const uint32_t site = get_below(&b, c->site_count);
    const fb_site *s;

    memset(form, 0, sizeof *form);
    form->flags = get_below(&b, (uint64_t)fb__known_flags + 1);
    form->bits = get_below(&b, FB_FORM_KNOWN + 1);
    form->input_count = get_below(&b, FB_INPUTS_MAX + 1);
    if (b.failed)
        return false;
    form->site = c->local_sites[site];
    form->follower = number + 1;
    form->inputs_at = (uint32_t)(b.at - c->raw);
    for (uint32_t i = 0; i < form->input_count && !b.failed; i++) {
        const uint32_t input = get_below(&b, c->site_count);
        const uint64_t step = fb_bytes_varint(&b);
        const uint32_t micro = get_below(&b, (uint64_t)INT32_MAX + FB_MICRO_CODE_NUMBER + 1);

        (void)input;
        (void)micro;
        if (step >> 1 > FB_STEP_MAX)
            return false;
    }
    s = &fb__sites_get(c->sites, form->site)->site;
    return !b.failed && ((form->bits & FB_FORM_HASH) == 0 || fb__kind_has_hash(s->kind)) &&
           ((form->bits & FB_FORM_INDICES) == 0 || s->kind == FB_KIND_SAMPLE) &&
           ((form->bits & FB_FORM_TEXT) == 0 || fb__kind_has_text(s->kind));
}

static fb_status read_forms(fb_chunk_reader *c, fb_error *err)
{
    fb_bytes *b = &c->columns[FB_SECTION_FORMS];
    uint32_t inputs = 0;

    if (!get_count(b, &c->form_count, FB_CHUNK_FORMS_MAX, 5))
        return fb__chunk_corrupt(c, "impossible count of forms", err);
    if (!fb__chunk_reserve(&c->forms, &c->form_capacity, sizeof *c->forms, c->form_count))
        return fb__chunk_no_memory(err);
    for (uint32_t i = 0; i < c->form_count; i++) {
        const fb_bytes record = get_record(b);

        if (b->failed || !read_form(c, record, &c->forms[i], i))
            return fb__chunk_corrupt(c, "bad form", err);
        if (c->forms[i].input_count > inputs)
            inputs = c->forms[i].input_count;
    }
    if (!fb__chunk_reserve(&c->inputs, &c->input_capacity, sizeof *c->inputs, inputs))
        return fb__chunk_no_memory(err);
    return FB_OK;
}

fb_status fb__chunk_dictionary(fb_chunk_reader *c, fb_error *err)
{
    fb_status status = read_strings(c, err);

    if (status == FB_OK)
        status = read_modules(c, err);
    if (status == FB_OK)
        status = read_frames(c, err);
    if (status == FB_OK)
        status = read_sites(c, err);
    if (status == FB_OK)
        status = read_forms(c, err);
    if (status != FB_OK)
        return status;
    for (int i = FB_SECTION_STRINGS; i < FB_SECTION_ROWS; i++)
        if (c->columns[i].failed || fb_bytes_left(&c->columns[i]) != 0)
            return fb__chunk_corrupt(c, "definitions do not fit their section", err);
    c->loaded = true;
    return FB_OK;
}
