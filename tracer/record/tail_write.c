/* SPDX-License-Identifier: Apache-2.0
 *
 * tail_write.c - the hot path of recording: one event into one row of the tail.
 */
#include "tracer/format/tail.h"

#include <stdlib.h>
#include <string.h>

#include "base/sketch.h"
#include "tracer/format/format.h"

/* --- Rows --------------------------------------------------------------------------------------
 */

/* A row being written behind those that are committed. */
typedef struct row {
    uint8_t *start, *at;
} row;

static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static bool begin(const fb_stage *s, row *r, size_t bytes)
{
    r->start = s->rows + s->used;
    r->at = r->start + FB_TAIL_ROW_HEAD_BYTES;
    return padded(FB_TAIL_ROW_HEAD_BYTES + bytes) <= s->room - s->used;
}

static void put(row *r, const void *bytes, size_t count)
{
    memcpy(r->at, bytes, count);
    r->at += count;
}

static void put32(row *r, uint32_t value)
{
    put(r, &value, sizeof value);
}

static void put64(row *r, uint64_t value)
{
    put(r, &value, sizeof value);
}

static void put_name(row *r, const char *name, size_t count)
{
    const uint16_t bytes = (uint16_t)count;

    put(r, &bytes, sizeof bytes);
    put(r, name, count);
}

/* The row counts from here on, whatever happens to the program. Its head, fb_tail_row_head, is two
 * words. */
static void commit(fb_stage *s, const row *r, fb_tail_row type, uint32_t mask, uint32_t number)
{
    const size_t written = (size_t)(r->at - r->start), bytes = padded(written);
    const uint64_t what = (uint64_t)number << 32 | mask << 16 | (uint32_t)type;
    uint64_t size_and_check = bytes;

    memset(r->at, 0, bytes - written);
    memcpy(r->start + sizeof size_and_check, &what, sizeof what);
    size_and_check |= (uint64_t)fb__tail_check(s->sequence, r->start, bytes) << 32;
    memcpy(r->start, &size_and_check, sizeof size_and_check);
    s->used += bytes;
    __atomic_store_n(&s->head->committed, s->used, __ATOMIC_RELEASE);
}

/* --- Definitions -------------------------------------------------------------------------------
 */

/* Whether `number` needs no definition in this filling. *s->failed where memory is out. */
static bool is_defined(fb_stage *s, fb_epochs *epochs, uint32_t number)
{
    if (number >= epochs->capacity) {
        const uint32_t capacity = number + number / 2 + 64;
        uint32_t *of = realloc(epochs->of, capacity * sizeof *of);

        if (of == NULL) {
            s->failed = true;
            return false;
        }
        memset(of + epochs->capacity, 0, (capacity - epochs->capacity) * sizeof *of);
        epochs->of = of;
        epochs->capacity = capacity;
    }
    return epochs->of[number] == s->epoch;
}

static bool define_module(fb_stage *s, const fb_sites *sites, uint32_t number)
{
    fb_module module;
    size_t name_bytes;
    const char *name;
    row r;

    if (is_defined(s, &s->modules, number))
        return true;
    module = fb__sites_get_module(sites, number);
    name = fb_intern_get(sites->strings, module.name, &name_bytes);
    if (s->failed || !begin(s, &r, 4 + FB_BUILD_ID_MAX + 2 + name_bytes))
        return false;
    put32(&r, module.build_id_bytes);
    put(&r, module.build_id, sizeof module.build_id);
    put_name(&r, name, name_bytes);
    commit(s, &r, FB_TAIL_MODULE, 0, number);
    s->modules.of[number] = s->epoch;
    return true;
}

/* A stack: callers first, so that a frame refers to one that is known. */
static bool define_frames(fb_stage *s, const fb_sites *sites, uint32_t innermost)
{
    uint32_t wanted[FB_STACK_DEPTH_MAX];
    int count = 0;
    row r;

    for (uint32_t f = innermost; f != FB_FRAME_NONE && count < FB_STACK_DEPTH_MAX;
         f = fb__sites_get_frame(sites, f).caller) {
        if (is_defined(s, &s->frames, f))
            break;
        wanted[count++] = f;
    }
    while (count-- > 0) {
        const fb_frame frame = fb__sites_get_frame(sites, wanted[count]);

        if (s->failed || !define_module(s, sites, frame.module) || !begin(s, &r, 16))
            return false;
        put32(&r, frame.caller);
        put32(&r, frame.module);
        put64(&r, frame.offset);
        commit(s, &r, FB_TAIL_FRAME, 0, wanted[count]);
        s->frames.of[wanted[count]] = s->epoch;
    }
    return !s->failed;
}

static void put_string(row *r, const fb_sites *sites, uint32_t string)
{
    size_t count;
    const char *text = fb_intern_get(sites->strings, string, &count);

    put_name(r, text, count);
}

static bool define_site(fb_stage *s, const fb_sites *sites, uint32_t number)
{
    const fb_site_entry *entry;
    const fb_site *site;
    row r;

    if (is_defined(s, &s->sites, number))
        return true;
    entry = fb__sites_get(sites, number);
    site = &entry->site;
    if (s->failed || !define_frames(s, sites, entry->frame) ||
        !begin(s, &r, 16 + 8 * FB_RANK_MAX + 16 + FB_SITE_NAMES * (2 + FB_NAME_MAX)))
        return false;
    put(&r,
        (const uint8_t[8]){(uint8_t)site->kind, (uint8_t)site->phase, site->note,
                           (uint8_t)site->dtype, (uint8_t)site->role, (uint8_t)site->rank},
        8);
    put32(&r, site->occurrence);
    put32(&r, entry->frame);
    put(&r, site->shape, site->rank * sizeof site->shape[0]);
    put(&r, site->parameters, sizeof site->parameters);
    for (int i = 0; i < FB_SITE_SOURCE; i++)
        put_string(&r, sites, entry->names[i]);
    if ((entry->names[FB_SITE_SOURCE] | entry->names[FB_SITE_ARGUMENTS]) != 0)
        put_string(&r, sites, entry->names[FB_SITE_SOURCE]);
    if (entry->names[FB_SITE_ARGUMENTS] != 0)
        put_string(&r, sites, entry->names[FB_SITE_ARGUMENTS]);
    commit(s, &r, FB_TAIL_SITE, 0, number);
    s->sites.of[number] = s->epoch;
    return true;
}

/* --- Steps and events --------------------------------------------------------------------------
 */

bool fb__stage_step(fb_stage *s, uint64_t step, uint32_t classes)
{
    row r;

    if (!begin(s, &r, 16))
        return false;
    put64(&r, step);
    put64(&r, classes);
    commit(s, &r, FB_TAIL_STEP, 0, 0);
    return true;
}

bool fb__stage_step_end(fb_stage *s, uint64_t step)
{
    row r;

    if (!begin(s, &r, 8))
        return false;
    put64(&r, step);
    commit(s, &r, FB_TAIL_STEP_END, 0, 0);
    return true;
}

static uint32_t mask_of(const fb_stage *s, fb_kind kind, const fb_event *e)
{
    uint32_t mask = 0;

    if (!s->has_place || s->step != e->step || s->micro != e->micro)
        mask |= FB_TAIL_PLACE;
    if (fb__kind_has_hash(kind) && (e->hash.lo | e->hash.hi) != 0)
        mask |= FB_TAIL_HASH;
    if (fb__kind_has_storage(kind))
        mask |= (e->storage != 0 ? FB_TAIL_STORAGE : 0u) | (e->version != 0 ? FB_TAIL_VERSION : 0u);
    else if (fb__kind_has_value(kind))
        mask |= FB_TAIL_VALUE;
    else if (fb__kind_numbers(kind) != 0)
        mask |= FB_TAIL_NUMBERS;
    if (kind == FB_KIND_SAMPLE && e->indices != NULL)
        mask |= FB_TAIL_INDICES;
    if (fb__kind_has_text(kind) && e->text != NULL)
        mask |= FB_TAIL_TEXT;
    if (e->input_count > 0)
        mask |= FB_TAIL_INPUTS;
    if ((e->flags & fb__known_flags) != 0)
        mask |= FB_TAIL_FLAGS;
    if (fb__kind_has_shape(kind) && e->sketch != NULL)
        mask |= FB_TAIL_SKETCH;
    if (fb__kind_has_shape(kind) && e->blocks != NULL && e->block_count <= FB_BLOCKS_MAX)
        mask |= FB_TAIL_BLOCKS;
    if (fb__kind_has_storage(kind) && (e->flags & FB_EVENT_VALUES) != 0)
        mask |= FB_TAIL_CONTENTS;
    return mask;
}

/* Bytes of contents that one row takes at most: whole elements of any width. */
static size_t most_contents(const fb_stage *s)
{
    return s->room / 4 / 16 * 16;
}

/* No row of this event is longer. */
static size_t bound_of(const fb_event *e, uint32_t mask, size_t contents)
{
    enum { FIXED = 16 + 16 + 8 + 8 + 24 + 8 + 4 + 8 + 8 + 8 + 16 };
    size_t bytes = FIXED + (size_t)e->input_count * 16 + contents;

    if (mask & FB_TAIL_INDICES)
        bytes += (size_t)e->count * 8;
    if (mask & FB_TAIL_TEXT)
        bytes += strlen(e->text);
    if (mask & FB_TAIL_SKETCH)
        bytes += sizeof *e->sketch;
    if (mask & FB_TAIL_BLOCKS)
        bytes += (size_t)e->block_count * sizeof *e->blocks;
    return bytes;
}

/* 32-bit words, written two at a time: the check reads 64 bits at once, and a processor must wait
 * where those were written as two halves just before. */
typedef struct words {
    uint64_t pair;
    bool odd;
} words;

static void put_word(row *r, words *w, uint32_t value)
{
    if (w->odd)
        put64(r, w->pair | (uint64_t)value << 32);
    w->pair = value;
    w->odd = !w->odd;
}

static void put_inputs(row *r, const fb_event *e, const uint32_t *map)
{
    words w = {.odd = false};

    put_word(r, &w, e->input_count);
    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb_ref *ref = &e->inputs[i];
        const uint32_t site = map == NULL ? ref->site : map[ref->site];

        if (ref->step == e->step && ref->micro == e->micro) {
            put_word(r, &w, site);
            continue;
        }
        put_word(r, &w, site | FB_TAIL_ELSEWHERE);
        put_word(r, &w, (uint32_t)ref->step);
        put_word(r, &w, (uint32_t)(ref->step >> 32));
        put_word(r, &w, (uint32_t)ref->micro);
    }
    if (w.odd)
        put32(r, (uint32_t)w.pair);
}

static void put_event(row *r, const fb_event *e, uint32_t mask, const uint32_t *map)
{
    if (mask & FB_TAIL_PLACE) {
        put64(r, e->step);
        put64(r, (uint32_t)e->micro);
    }
    if (mask & FB_TAIL_HASH)
        put(r, &e->hash, sizeof e->hash);
    if (mask & FB_TAIL_STORAGE)
        put64(r, e->storage);
    if (mask & FB_TAIL_VALUE)
        put(r, &e->value, sizeof e->value);
    if (mask & FB_TAIL_NUMBERS) {
        put64(r, e->key);
        put64(r, e->counter);
        put64(r, e->count);
    }
    if (mask & FB_TAIL_INDICES)
        put(r, e->indices, (size_t)e->count * sizeof *e->indices);
    if (mask & FB_TAIL_TEXT) {
        const size_t count = strlen(e->text);
        put64(r, count);
        put(r, e->text, count);
    }
    if (mask & FB_TAIL_INPUTS)
        put_inputs(r, e, map);
    if (mask & FB_TAIL_VERSION) {
        put64(r, e->version);
    }
    if (mask & FB_TAIL_FLAGS) {
        put64(r, e->flags & fb__known_flags);
    }
    if (mask & FB_TAIL_SKETCH)
        put(r, e->sketch, sizeof *e->sketch);
    if (mask & FB_TAIL_BLOCKS) {
        put64(r, e->block_count);
        put(r, e->blocks, (size_t)e->block_count * sizeof *e->blocks);
    }
}

static void put_contents(row *r, uint32_t width, uint64_t total, const void *data, size_t bytes)
{
    put32(r, width);
    put32(r, (uint32_t)bytes);
    put64(r, total);
    put(r, data, bytes);
}

bool fb__stage_event(fb_stage *s, const fb_sites *sites, uint32_t site, const fb_event *event,
                     const uint32_t *map)
{
    const fb_event *e = event;
    const fb_site *of = &fb__sites_get(sites, site)->site;
    const uint32_t mask = mask_of(s, of->kind, e);
    const size_t most = mask & FB_TAIL_CONTENTS ? most_contents(s) : 0;
    const size_t contents = e->data_bytes < most ? e->data_bytes : most;
    row r;

    if (!define_site(s, sites, site))
        return false;
    for (uint32_t i = 0; i < e->input_count; i++)
        if (!define_site(s, sites, map == NULL ? e->inputs[i].site : map[e->inputs[i].site]))
            return false;
    if (!begin(s, &r, bound_of(e, mask, contents)))
        return false;
    put_event(&r, e, mask, map);
    if (mask & FB_TAIL_CONTENTS)
        put_contents(&r, (uint32_t)fb_sketch_element_bytes(of->dtype), e->data_bytes, e->data,
                     contents);
    s->contents_taken = contents;
    commit(s, &r, FB_TAIL_EVENT, mask, site);
    s->events++;
    s->has_place = true;
    s->step = e->step;
    s->micro = e->micro;
    return true;
}

bool fb__stage_piece(fb_stage *s, uint32_t width, const void *data, size_t total)
{
    const size_t left = total - s->contents_taken;
    const size_t bytes = left < most_contents(s) ? left : most_contents(s);
    row r;

    if (!begin(s, &r, 24 + bytes))
        return false;
    put64(&r, s->contents_taken);
    put_contents(&r, width, total, (const uint8_t *)data + s->contents_taken, bytes);
    commit(s, &r, FB_TAIL_PIECE, 0, 0);
    s->contents_taken += bytes;
    return true;
}
