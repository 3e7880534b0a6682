/* SPDX-License-Identifier: Apache-2.0
 *
 * extras_builder.c - sketches, block hashes and contents on their way into a chunk.
 */
#include <string.h>

#include "base/sketch.h"
#include "tracer/format/extras.h"

void fb__extras_free(fb_extras_builder *x)
{
    fb_buffer *const buffers[] = {&x->sketch_rows,   &x->sketch_reals, &x->samples,
                                  &x->sketch_hashes, &x->block_rows,   &x->block_hashes,
                                  &x->content_rows,  &x->contents};

    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        fb_buffer_free(buffers[i]);
    for (int i = 0; i < FB_EXTRA_SECTIONS; i++)
        fb_buffer_free(&x->sections[i]);
}

void fb__extras_reset(fb_extras_builder *x)
{
    x->sketch_rows.count = x->sketch_reals.count = x->samples.count = 0;
    x->sketch_hashes.count = x->block_rows.count = x->block_hashes.count = 0;
    x->content_rows.count = x->contents.count = 0;
    for (int i = 0; i < FB_EXTRA_SECTIONS; i++)
        x->sections[i].count = 0;
    x->sketches = x->blocks = x->pieces = 0;
    x->next_sketch = x->next_block = 0;
}

bool fb__extras_failed(const fb_extras_builder *x)
{
    bool failed = x->sketch_rows.failed || x->sketch_reals.failed || x->samples.failed ||
                  x->sketch_hashes.failed || x->block_rows.failed || x->block_hashes.failed ||
                  x->content_rows.failed || x->contents.failed;

    for (int i = 0; i < FB_EXTRA_SECTIONS; i++)
        failed |= x->sections[i].failed;
    return failed;
}

size_t fb__extras_bytes(const fb_extras_builder *x)
{
    return x->sketch_rows.count + x->sketch_reals.count + x->samples.count +
           x->sketch_hashes.count + x->block_rows.count + x->block_hashes.count +
           x->content_rows.count + x->contents.count;
}

/* Byte p of every element for p = 0, 1, ...: the bytes of real numbers that are alike, sign and
 * exponent, come together, where a compressor finds them. */
static void put_planes(fb_buffer *to, const uint8_t *elements, size_t width, size_t count)
{
    if (!fb_buffer_reserve(to, width * count))
        return;
    for (size_t p = 0; p < width; p++)
        for (size_t i = 0; i < count; i++)
            to->data[to->count++] = elements[i * width + p];
}

static void put_sketch(fb_extras_builder *x, uint32_t index, size_t width, const fb_sketch *s)
{
    const uint64_t numbers[] = {
        index - x->next_sketch, s->elements, s->nan,    s->infinite, s->zero,
        s->subnormal,           width,       s->edition};
    const double reals[] = {s->min, s->max, s->sum, s->sum_abs, s->sum_square};
    const size_t samples =
        s->elements < FB_SKETCH_SAMPLES ? (size_t)s->elements : FB_SKETCH_SAMPLES;
    uint8_t bytes[FB_SKETCH_SAMPLES * sizeof s->samples[0]];

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        fb_buffer_varint(&x->sketch_rows, numbers[i]);
    fb_buffer_append(&x->sketch_reals, reals, sizeof reals);
    fb_buffer_append(&x->sketch_reals, s->linear, sizeof s->linear);
    for (size_t i = 0; i < samples; i++)
        memcpy(bytes + i * width, &s->samples[i], width);
    put_planes(&x->samples, bytes, width, samples);
    fb_buffer_append(&x->sketch_hashes, &s->multiset, sizeof s->multiset);
    fb_buffer_append(&x->sketch_hashes, &s->bf16, sizeof s->bf16);
    x->next_sketch = index + 1;
    x->sketches++;
}

void fb__extras_event(fb_extras_builder *x, uint32_t index, fb_dtype dtype, const fb_event *e)
{
    const size_t width = fb_sketch_element_bytes(dtype);

    if (e->sketch != NULL && width != 0)
        put_sketch(x, index, width, e->sketch);
    if (e->blocks == NULL || e->block_count < 2 || e->block_count > FB_BLOCKS_MAX)
        return;
    fb_buffer_varint(&x->block_rows, index - x->next_block);
    fb_buffer_varint(&x->block_rows, e->block_count);
    fb_buffer_append(&x->block_hashes, e->blocks, (size_t)e->block_count * sizeof *e->blocks);
    x->next_block = index + 1;
    x->blocks++;
}

void fb__extras_contents(fb_extras_builder *x, uint64_t code, uint32_t width, uint64_t total,
                         uint64_t offset, const void *data, size_t bytes)
{
    const uint64_t row[] = {code, width, total, offset, bytes};

    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        fb_buffer_varint(&x->content_rows, row[i]);
    put_planes(&x->contents, data, width, bytes / width);
    x->pieces++;
}

static fb_buffer *begin_section(fb_extras_builder *x, fb_section section, uint32_t count)
{
    fb_buffer *out = &x->sections[section - FB_SECTION_SKIPPABLE];

    out->count = 0;
    if (count > 0)
        fb_buffer_varint(out, count);
    return out;
}

static void append(fb_buffer *to, const fb_buffer *from)
{
    fb_buffer_append(to, from->data, from->count);
}

void fb__extras_pack(fb_extras_builder *x)
{
    fb_buffer *sketches = begin_section(x, FB_SECTION_SKETCHES, x->sketches);
    fb_buffer *blocks = begin_section(x, FB_SECTION_BLOCKS, x->blocks);
    fb_buffer *contents = begin_section(x, FB_SECTION_CONTENTS, x->pieces);

    append(sketches, &x->sketch_rows);
    put_planes(sketches, x->sketch_reals.data, sizeof(double),
               (size_t)x->sketches * FB_SKETCH_REALS);
    append(sketches, &x->samples);
    append(sketches, &x->sketch_hashes);
    append(blocks, &x->block_rows);
    append(blocks, &x->block_hashes);
    append(contents, &x->content_rows);
    append(contents, &x->contents);
}
