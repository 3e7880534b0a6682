/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_sign.c - makes checks right again, so that a fuzzer gets behind them. Offsets are those of
 * docs/trace-format.md, 2.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "tracer/format/format.h"
#include "tracer/format/tail.h"

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, p, bytes);
    return value;
}

static void put(uint8_t *p, uint64_t value)
{
    memcpy(p, &value, sizeof value);
}

/* --- Traces ------------------------------------------------------------------------------------
 */

static void sign_file_header(uint8_t *data, size_t size)
{
    static uint8_t signing[1 << 16];
    uint64_t json = get(data + 56, 8);

    if (json > size - FB_HEADER_BYTES || json > sizeof signing - 120) {
        json = size - FB_HEADER_BYTES < 1024 ? size - FB_HEADER_BYTES : 1024;
        put(data + 56, json);
    }
    put(data + 64, fb__align_up(FB_HEADER_BYTES + json));
    memcpy(signing, data, 120);
    memcpy(signing + 120, data + FB_HEADER_BYTES, (size_t)json);
    put(data + 120, fb__check(signing, 120 + (size_t)json));
}

static void sign_chunk(uint8_t *chunk, size_t left, size_t at, const uint8_t *id)
{
    const uint64_t steps = get(chunk + 104, 4);
    const uint64_t body = steps + get(chunk + 32, 4) + get(chunk + 40, 4);
    const size_t room = left - FB_CHUNK_HEADER_BYTES;

    memcpy(chunk + 8, id, 16);
    put(chunk + 88, at);
    if (chunk[7] == FB_CODEC_NONE)
        memcpy(chunk + 36, chunk + 32, 4); /* stored as it is */
    if (steps <= room)
        put(chunk + 112, fb__check(chunk + FB_CHUNK_HEADER_BYTES, (size_t)steps));
    if (body <= room)
        put(chunk + 496, fb__check(chunk + FB_CHUNK_HEADER_BYTES, (size_t)body));
    put(chunk + 504, fb__check(chunk, 504));
}

void fuzz_sign_trace(uint8_t *data, size_t size)
{
    static const uint8_t magic[4] = {'F', 'B', 'C', 'K'};
    static const uint8_t file_magic[8] = {0x89, 'F', 'B', 'T', '\r', '\n', 0x1a, '\n'};

    if (size < FB_HEADER_BYTES)
        return;
    memcpy(data, file_magic, sizeof file_magic);
    sign_file_header(data, size);
    for (size_t at = FB_FORMAT_ALIGN; at + FB_CHUNK_HEADER_BYTES <= size; at += FB_FORMAT_ALIGN)
        if (memcmp(data + at, magic, sizeof magic) == 0)
            sign_chunk(data + at, size - at, at, data + 40);
}

/* --- Tails -------------------------------------------------------------------------------------
 */

static void sign_rows(uint8_t *half, size_t bytes)
{
    const uint64_t sequence = get(half, 8);
    uint64_t committed = get(half + 8, 8);
    size_t at = FB_TAIL_HALF_HEAD_BYTES;

    if (committed > bytes - FB_TAIL_HALF_HEAD_BYTES)
        put(half + 8, committed = bytes - FB_TAIL_HALF_HEAD_BYTES);
    while (at + FB_TAIL_ROW_HEAD_BYTES <= FB_TAIL_HALF_HEAD_BYTES + committed) {
        const uint64_t row = get(half + at, 4);
        uint32_t check;

        if (row < FB_TAIL_ROW_HEAD_BYTES || row % 8 != 0 || row > bytes - at)
            return;
        check = fb__tail_check(sequence, half + at, (size_t)row);
        memcpy(half + at + 4, &check, sizeof check);
        at += (size_t)row;
    }
}

void fuzz_sign_tail(uint8_t *data, size_t size, const uint8_t id[16])
{
    fb_hash hash;
    uint64_t half;

    if (size < FB_TAIL_HEAD_BYTES)
        return;
    memcpy(&hash, id, sizeof hash);
    half = get(data + 24, 8) & ~UINT64_C(7);
    if (half < FB_TAIL_HALF_HEAD_BYTES || half > FB_TAIL_HALF_MAX)
        half = (size - FB_TAIL_HEAD_BYTES) / 2 & ~UINT64_C(7);
    fb__put_tail_head(data, hash, half);
    for (size_t at = FB_TAIL_HEAD_BYTES, i = 0; i < 2; i++, at += (size_t)half)
        if (half >= FB_TAIL_HALF_HEAD_BYTES && at + half <= size)
            sign_rows(data + at, (size_t)half);
}
