/* SPDX-License-Identifier: Apache-2.0
 *
 * extras_reader.c - sketches, block hashes and contents of a chunk, back from its bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/sketch.h"
#include "tracer/format/chunk_dictionary.h"
#include "tracer/format/extras.h"

void fb__extras_reader_free(fb_extras_reader *x)
{
    free(x->block);
    memset(x, 0, sizeof *x);
}

/* The count that begins a section that is not empty; each row takes at least `least` bytes. */
static bool get_count(fb_bytes *section, uint32_t *count, size_t least)
{
    uint64_t n;

    *count = 0;
    if (fb_bytes_left(section) == 0)
        return true;
    n = fb_bytes_varint(section);
    if (section->failed || n == 0 || n > fb_bytes_left(section) / least)
        return false;
    *count = (uint32_t)n;
    return true;
}

/* Steps over a gap: *next is the number of the event behind it. */
static bool get_gap(fb_bytes *rows, uint32_t *next, uint32_t events)
{
    const uint64_t gap = fb_bytes_varint(rows);

    if (rows->failed || *next > events || gap >= events - *next)
        return false;
    *next += (uint32_t)gap;
    return true;
}

static bool is_width(uint64_t width)
{
    return width == 1 || width == 2 || width == 4 || width == 8;
}

static uint32_t samples_of(uint64_t elements)
{
    return elements < FB_SKETCH_SAMPLES ? (uint32_t)elements : FB_SKETCH_SAMPLES;
}

bool fb__sketch_is_sound(const fb_sketch *s)
{
    const uint64_t counts[] = {s->nan, s->infinite, s->zero, s->subnormal};
    uint64_t left = s->elements;

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i] > left)
            return false;
        left -= counts[i];
    }
    return s->edition != 0 && s->elements <= FB_STEP_MAX;
}

/* The numbers of a sketch row behind its gap. */
static bool get_sketch_numbers(fb_bytes *rows, fb_sketch *s, uint32_t *width, bool editions)
{
    uint64_t bytes;

    s->elements = fb_bytes_varint(rows);
    s->nan = fb_bytes_varint(rows);
    s->infinite = fb_bytes_varint(rows);
    s->zero = fb_bytes_varint(rows);
    s->subnormal = fb_bytes_varint(rows);
    bytes = fb_bytes_varint(rows);
    s->edition = editions ? fb_bytes_varint(rows) : 1;
    if (rows->failed || !is_width(bytes) || !fb__sketch_is_sound(s))
        return false;
    *width = (uint32_t)bytes;
    return true;
}

static bool load_sketches(fb_extras_reader *x, fb_bytes section)
{
    uint64_t samples = 0;
    uint32_t next = 0;
    fb_bytes rows;

    if (!get_count(&section, &x->sketches, 7))
        return false;
    rows = section;
    for (uint32_t i = 0; i < x->sketches; i++, next++) {
        uint32_t width;

        if (!get_gap(&section, &next, x->events) ||
            !get_sketch_numbers(&section, &x->sketch, &width, x->editions))
            return false;
        samples += (uint64_t)samples_of(x->sketch.elements) * width;
    }
    x->sketch_rows = (fb_bytes){rows.at, section.at, false};
    x->reals = fb_bytes_take(&section, (size_t)x->sketches * FB_SKETCH_REALS * sizeof(double));
    x->samples = fb_bytes_take(&section, (size_t)samples);
    x->sketch_hashes =
        fb_bytes_take(&section, (size_t)x->sketches * FB_SKETCH_HASHES * sizeof(fb_hash));
    x->sketch_number = x->next_sketch = 0;
    return !section.failed && fb_bytes_left(&section) == 0 &&
           (x->sketches == 0 || get_gap(&x->sketch_rows, &x->next_sketch, x->events));
}

static bool load_blocks(fb_extras_reader *x, fb_bytes section)
{
    uint64_t hashes = 0;
    uint32_t next = 0;
    fb_bytes rows;

    if (!get_count(&section, &x->blocks_left, 2))
        return false;
    rows = section;
    for (uint32_t i = 0; i < x->blocks_left; i++, next++) {
        uint64_t count;

        if (!get_gap(&section, &next, x->events))
            return false;
        count = fb_bytes_varint(&section);
        if (section.failed || count < 2 || count > FB_BLOCKS_MAX)
            return false;
        hashes += count;
    }
    x->block_rows = (fb_bytes){rows.at, section.at, false};
    x->block_hashes = fb_bytes_take(&section, (size_t)hashes * sizeof(fb_hash));
    x->next_block = 0;
    return !section.failed && fb_bytes_left(&section) == 0 &&
           (x->blocks_left == 0 || get_gap(&x->block_rows, &x->next_block, x->events));
}

/* Pieces of one event follow each other; only the first may go on with what an earlier chunk
 * began. */
static bool get_piece(fb_bytes *rows, fb_piece *out, const fb_piece *before, uint32_t events)
{
    const uint64_t code = fb_bytes_varint(rows), width = fb_bytes_varint(rows);
    const uint64_t total = fb_bytes_varint(rows), offset = fb_bytes_varint(rows);
    const uint64_t bytes = fb_bytes_varint(rows);
    const bool goes_on = before != NULL && before->code == code;

    if (rows->failed || code > events || width == 0 || width > 16 || bytes > FB_CONTENTS_PIECE ||
        total > FB_STEP_MAX || offset > total || bytes > total - offset || bytes % width != 0 ||
        total % width != 0)
        return false;
    if (before != NULL && code < before->code)
        return false;
    if (goes_on ? offset != before->offset + before->bytes || total != before->total ||
                      width != before->width
                : (code != 0) != (offset == 0))
        return false;
    *out = (fb_piece){.code = code,
                      .total = total,
                      .offset = offset,
                      .width = (uint32_t)width,
                      .bytes = (uint32_t)bytes};
    return true;
}

static bool load_contents(fb_extras_reader *x, fb_bytes section)
{
    fb_piece piece, before = {0};
    uint64_t bytes = 0;
    fb_bytes rows;

    if (!get_count(&section, &x->pieces, 5))
        return false;
    rows = section;
    for (uint32_t i = 0; i < x->pieces; i++) {
        if (!get_piece(&section, &piece, i == 0 ? NULL : &before, x->events))
            return false;
        before = piece;
        bytes += piece.bytes;
    }
    x->piece_rows = (fb_bytes){rows.at, section.at, false};
    piece.planes = fb_bytes_take(&section, (size_t)bytes);
    x->planes_at = piece.planes;
    if (section.failed || fb_bytes_left(&section) != 0)
        return false;
    fb__pieces_rewind(x);
    return true;
}

const char *fb__extras_load(fb_extras_reader *x, const fb_bytes sections[FB_EXTRA_SECTIONS],
                            uint32_t events)
{
    const fb_bytes sketches = sections[FB_SECTION_SKETCHES - FB_SECTION_SKIPPABLE];

    x->events = events;
    x->editions = fb_bytes_left(&sketches) > 0;
    if ((x->editions && fb_bytes_left(&sections[0]) > 0) ||
        !load_sketches(x, x->editions ? sketches : sections[0]))
        return "bad sketches";
    if (!load_blocks(x, sections[FB_SECTION_BLOCKS - FB_SECTION_SKIPPABLE]))
        return "bad block hashes";
    return load_contents(x, sections[FB_SECTION_CONTENTS - FB_SECTION_SKIPPABLE])
               ? NULL
               : "bad contents of tensors";
}

/* --- Events ------------------------------------------------------------------------------------
 */

static double real_at(const fb_extras_reader *x, size_t number)
{
    const size_t count = (size_t)x->sketches * FB_SKETCH_REALS;
    uint8_t bytes[sizeof(double)];
    double real;

    for (size_t p = 0; p < sizeof bytes; p++)
        bytes[p] = x->reals[p * count + number];
    memcpy(&real, bytes, sizeof real);
    return real;
}

/* NULL, or what is wrong. */
static const char *next_sketch(fb_extras_reader *x, fb_dtype dtype)
{
    const size_t from = (size_t)x->sketch_number * FB_SKETCH_REALS;
    double *const reals[] = {&x->sketch.min, &x->sketch.max, &x->sketch.sum, &x->sketch.sum_abs,
                             &x->sketch.sum_square};
    uint32_t width, count;

    memset(&x->sketch, 0, sizeof x->sketch);
    if (!get_sketch_numbers(&x->sketch_rows, &x->sketch, &width, x->editions) ||
        width != fb_sketch_element_bytes(dtype))
        return "a sketch that does not fit its event";
    for (size_t i = 0; i < 5; i++)
        *reals[i] = real_at(x, from + i);
    for (size_t j = 0; j < FB_SKETCH_BUCKETS; j++)
        x->sketch.linear[j] = real_at(x, from + 5 + j);
    count = samples_of(x->sketch.elements);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t p = 0; p < width; p++)
            x->sketch.samples[i] |= (uint64_t)x->samples[p * count + i] << 8 * p;
    x->samples += (size_t)count * width;
    memcpy(&x->sketch.multiset, x->sketch_hashes, sizeof(fb_hash));
    memcpy(&x->sketch.bf16, x->sketch_hashes + sizeof(fb_hash), sizeof(fb_hash));
    x->sketch_hashes += FB_SKETCH_HASHES * sizeof(fb_hash);
    x->sketch_number++;
    x->next_sketch++;
    if (x->sketch_number < x->sketches && !get_gap(&x->sketch_rows, &x->next_sketch, x->events))
        return "bad sketches";
    return NULL;
}

/* NULL, or what is wrong. */
static const char *next_blocks(fb_extras_reader *x, fb_event *e)
{
    const uint32_t count = (uint32_t)fb_bytes_varint(&x->block_rows);

    if (count > x->block_capacity) {
        fb_hash *bigger = realloc(x->block, count * sizeof *bigger);

        if (bigger == NULL)
            return fb__out_of_memory;
        x->block = bigger;
        x->block_capacity = count;
    }
    memcpy(x->block, x->block_hashes, count * sizeof *x->block);
    x->block_hashes += count * sizeof *x->block;
    e->blocks = x->block;
    e->block_count = count;
    x->next_block++;
    if (--x->blocks_left > 0 && !get_gap(&x->block_rows, &x->next_block, x->events))
        return "bad block hashes";
    return NULL;
}

const char *fb__extras_next(fb_extras_reader *x, uint32_t index, fb_dtype dtype, bool has_shape,
                            fb_event *e)
{
    const bool sketched = x->sketch_number < x->sketches && x->next_sketch == index;
    const bool blocks = x->blocks_left > 0 && x->next_block == index;
    const char *flaw = NULL;

    while (x->pieces_left > 0 && x->piece.code < (uint64_t)index + 1)
        (void)fb__pieces_next(x, NULL);
    if (x->pieces_left > 0 && x->piece.code == (uint64_t)index + 1) {
        e->flags |= FB_EVENT_VALUES;
        e->data_bytes = (size_t)x->piece.total;
    }
    if ((sketched || blocks || (e->flags & FB_EVENT_VALUES) != 0) && !has_shape)
        return "a sketch or contents of an event that is no tensor";
    if (sketched) {
        flaw = next_sketch(x, dtype);
        e->sketch = &x->sketch;
    }
    if (flaw == NULL && blocks)
        flaw = next_blocks(x, e);
    return flaw;
}

/* --- Pieces ------------------------------------------------------------------------------------
 */

/* The row of the next piece, checked when the chunk was loaded. */
static void peek_piece(fb_extras_reader *x)
{
    const fb_piece before = x->piece;

    if (x->pieces_left > 0)
        (void)get_piece(&x->pieces_at, &x->piece, x->pieces_left == x->pieces ? NULL : &before,
                        x->events);
    x->piece.planes = before.planes + before.bytes;
}

void fb__pieces_rewind(fb_extras_reader *x)
{
    x->pieces_at = x->piece_rows;
    x->pieces_left = x->pieces;
    x->piece = (fb_piece){.planes = x->planes_at};
    if (x->pieces > 0)
        peek_piece(x);
}

bool fb__pieces_next(fb_extras_reader *x, fb_piece *out)
{
    if (x->pieces_left == 0)
        return false;
    if (out != NULL)
        *out = x->piece;
    x->pieces_left--;
    if (x->pieces_left > 0)
        peek_piece(x);
    return true;
}

void fb__piece_copy(void *to, const fb_piece *piece, uint32_t from, uint32_t count)
{
    const uint32_t elements = piece->bytes / piece->width;
    uint8_t *bytes = to;

    for (uint32_t i = 0; i < count; i++) {
        const uint32_t at = from + i;
        bytes[i] = piece->planes[(at % piece->width) * elements + at / piece->width];
    }
}
