/* SPDX-License-Identifier: Apache-2.0
 *
 * format.c - file header, chunk header and footer, to bytes and back. Rules: docs/trace-format.md.
 */
#include "tracer/format/format.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"

/* The last byte of the magic is no letter and its middle breaks when line ends are translated. */
static const uint8_t file_magic[8] = {0x89, 'F', 'B', 'T', '\r', '\n', 0x1a, '\n'};
static const uint8_t chunk_magic[4] = {'F', 'B', 'C', 'K'};

/* Offsets within the fixed images; docs/trace-format.md has the same tables. */
enum {
    FILE_VERSION = 8,
    FILE_FIXED = 12,
    FILE_IGNORABLE = 16,
    FILE_READONLY = 24,
    FILE_INCOMPATIBLE = 32,
    FILE_ID = 40,
    FILE_JSON_BYTES = 56,
    FILE_SPAN = 64,
    FILE_LEVEL = 72,
    FILE_RESERVED = 76,
    FILE_CHECK = 120,

    CHUNK_FIXED = 4,
    CHUNK_TYPE = 6,
    CHUNK_CODEC = 7,
    CHUNK_ID = 8,
    CHUNK_SEQUENCE = 24,
    CHUNK_PACKED_STORED = 32,
    CHUNK_PACKED_RAW = 36,
    CHUNK_HASHES = 40,
    CHUNK_EVENTS = 44,
    CHUNK_FIRST_EVENT = 48,
    CHUNK_FIRST_STEP = 56,
    CHUNK_LAST_STEP = 64,
    CHUNK_FINISHED_STEP = 72,
    CHUNK_FINISHED_STEPS = 80,
    CHUNK_OFFSET = 88,
    CHUNK_NONFINITE = 96,
    CHUNK_STEPS_BYTES = 104,
    CHUNK_STEPS = 108,
    CHUNK_STEPS_CHECK = 112,
    CHUNK_STAGED = 120,
    CHUNK_CHAINS = 128,
    CHUNK_SKIPS = 256,
    CHUNK_RESERVED_B = 480, /* to BODY_CHECK */
    CHUNK_BODY_CHECK = 496,
    CHUNK_HEADER_CHECK = 504,
};

uint64_t fb__check(const void *bytes, size_t count)
{
    return XXH3_64bits(bytes, count);
}

static void put32(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, sizeof value);
}

static void put64(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof value);
}

static void put_hash(uint8_t *to, fb_hash hash)
{
    put64(to, hash.lo);
    put64(to + 8, hash.hi);
}

static uint16_t get16(const uint8_t *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static uint32_t get32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static uint64_t get64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static fb_hash get_hash(const uint8_t *from)
{
    return (fb_hash){get64(from), get64(from + 8)};
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* --- File header -------------------------------------------------------------------------------
 */

static uint64_t file_check(const uint8_t fixed[FB_HEADER_BYTES], const char *json,
                           size_t json_bytes)
{
    XXH3_state_t state;

    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, fixed, FILE_CHECK);
    XXH3_64bits_update(&state, json, json_bytes);
    return XXH3_64bits_digest(&state);
}

void fb__put_file_header(uint8_t out[FB_HEADER_BYTES], const fb_file_header *h, const char *json)
{
    memset(out, 0, FB_HEADER_BYTES);
    memcpy(out, file_magic, sizeof file_magic);
    put32(out + FILE_VERSION, h->version);
    put32(out + FILE_FIXED, FB_HEADER_BYTES);
    put64(out + FILE_IGNORABLE, h->ignorable);
    put64(out + FILE_READONLY, h->readonly);
    put64(out + FILE_INCOMPATIBLE, h->incompatible);
    put_hash(out + FILE_ID, h->id);
    put64(out + FILE_JSON_BYTES, h->json_bytes);
    put64(out + FILE_SPAN, h->span);
    put32(out + FILE_LEVEL, (uint32_t)h->level);
    put64(out + FILE_CHECK, file_check(out, json, h->json_bytes));
}

bool fb__file_header_sound(const uint8_t fixed[FB_HEADER_BYTES], const char *json,
                           size_t json_bytes)
{
    return get64(fixed + FILE_CHECK) == file_check(fixed, json, json_bytes);
}

fb_status fb__get_file_header(fb_file_header *out, const uint8_t *bytes, size_t count,
                              fb_error *err)
{
    fb_file_header h;

    if (count == 0)
        return fb__fail(err, FB_E_FORMAT, 0, "the file is empty");
    if (memcmp(bytes, file_magic, count < sizeof file_magic ? count : sizeof file_magic) != 0)
        return fb__fail(err, FB_E_FORMAT, 0, "not a firstbit trace");
    if (count < FB_HEADER_BYTES)
        return fb__fail(err, FB_E_FORMAT, count, "ends within the header, at byte %zu", count);
    h = (fb_file_header){.version = get32(bytes + FILE_VERSION),
                         .ignorable = get64(bytes + FILE_IGNORABLE),
                         .readonly = get64(bytes + FILE_READONLY),
                         .incompatible = get64(bytes + FILE_INCOMPATIBLE),
                         .id = get_hash(bytes + FILE_ID),
                         .json_bytes = get64(bytes + FILE_JSON_BYTES),
                         .span = get64(bytes + FILE_SPAN),
                         .level = (fb_level)get32(bytes + FILE_LEVEL)};
    if (h.version != FB_FORMAT_VERSION)
        return fb__fail(err, FB_E_VERSION, FILE_VERSION,
                        "format version %u; this reader knows version %d", h.version,
                        FB_FORMAT_VERSION);
    if (h.json_bytes > FB_HEADER_JSON_MAX || get32(bytes + FILE_FIXED) != FB_HEADER_BYTES ||
        h.span != fb__align_up(FB_HEADER_BYTES + h.json_bytes))
        return fb__fail(err, FB_E_CORRUPT, FILE_JSON_BYTES, "header at byte 0: impossible sizes");
    if (!all_zero(bytes + FILE_RESERVED, FILE_CHECK - FILE_RESERVED))
        return fb__fail(err, FB_E_CORRUPT, FILE_RESERVED, "header at byte 0: reserved bytes set");
    *out = h;
    return FB_OK;
}

/* --- Chunk header ------------------------------------------------------------------------------
 */

void fb__put_chunk_header(uint8_t out[FB_CHUNK_HEADER_BYTES], const fb_chunk_header *h)
{
    memset(out, 0, FB_CHUNK_HEADER_BYTES);
    memcpy(out, chunk_magic, sizeof chunk_magic);
    out[CHUNK_FIXED] = FB_CHUNK_HEADER_BYTES & 0xff;
    out[CHUNK_FIXED + 1] = FB_CHUNK_HEADER_BYTES >> 8;
    out[CHUNK_TYPE] = (uint8_t)h->type;
    out[CHUNK_CODEC] = (uint8_t)h->codec;
    put_hash(out + CHUNK_ID, h->id);
    put64(out + CHUNK_SEQUENCE, h->sequence);
    put32(out + CHUNK_PACKED_STORED, h->packed_stored);
    put32(out + CHUNK_PACKED_RAW, h->packed_raw);
    put32(out + CHUNK_HASHES, h->hash_bytes);
    put32(out + CHUNK_EVENTS, h->events);
    put64(out + CHUNK_FIRST_EVENT, h->first_event);
    put64(out + CHUNK_FIRST_STEP, h->first_step);
    put64(out + CHUNK_LAST_STEP, h->last_step);
    put64(out + CHUNK_FINISHED_STEP, h->finished_step);
    put64(out + CHUNK_FINISHED_STEPS, h->finished_steps);
    put64(out + CHUNK_OFFSET, h->offset);
    put64(out + CHUNK_NONFINITE, h->first_nonfinite);
    put32(out + CHUNK_STEPS_BYTES, h->steps_bytes);
    put32(out + CHUNK_STEPS, h->steps);
    put64(out + CHUNK_STEPS_CHECK, h->steps_check);
    put64(out + CHUNK_STAGED, h->staged);
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        put_hash(out + CHUNK_CHAINS + 16 * c, h->chain[c]);
    for (int k = 0; k < FB_CHUNK_SKIPS; k++)
        put64(out + CHUNK_SKIPS + 8 * k, h->skip[k]);
    put64(out + CHUNK_BODY_CHECK, h->body_check);
    put64(out + CHUNK_HEADER_CHECK, fb__check(out, CHUNK_HEADER_CHECK));
}

/* What a check cannot tell: sizes that a reader must not follow. NULL when all is well. */
static const char *chunk_flaw(const fb_chunk_header *h, const uint8_t *bytes)
{
    if (get16(bytes + CHUNK_FIXED) != FB_CHUNK_HEADER_BYTES || h->type == 0)
        return "impossible chunk header";
    if (h->codec != FB_CODEC_NONE && h->codec != FB_CODEC_ZSTD)
        return "unknown codec";
    if (h->packed_raw > FB_CHUNK_MAX || h->packed_stored > FB_CHUNK_MAX ||
        h->hash_bytes > FB_CHUNK_MAX || h->steps_bytes > FB_CHUNK_MAX ||
        h->steps_bytes + h->packed_raw + h->hash_bytes > FB_CHUNK_MAX ||
        h->steps_bytes + h->packed_stored + h->hash_bytes > FB_CHUNK_MAX)
        return "chunk larger than the limit";
    if (h->codec == FB_CODEC_NONE && h->packed_raw != h->packed_stored)
        return "sizes of an uncompressed chunk differ";
    if (h->events > h->packed_raw || h->events > FB_CHUNK_EVENTS_MAX ||
        h->hash_bytes % sizeof(fb_hash) != 0 || h->hash_bytes / sizeof(fb_hash) > h->events)
        return "impossible count of events";
    if ((uint64_t)h->steps * FB_STEP_ENTRY_BYTES > h->steps_bytes)
        return "impossible count of steps";
    if (h->first_step > h->last_step || h->last_step > FB_STEP_MAX)
        return "impossible steps";
    if (h->first_event > FB_STEP_MAX || h->sequence > FB_STEP_MAX)
        return "impossible numbers";
    if (!all_zero(bytes + CHUNK_RESERVED_B, CHUNK_BODY_CHECK - CHUNK_RESERVED_B) ||
        !all_zero(bytes + CHUNK_CHAINS + 16 * FB_CLASS_COUNT,
                  16 * (FB_CHUNK_CHAINS - FB_CLASS_COUNT)))
        return "reserved bytes set";
    for (int k = 0; k < FB_CHUNK_SKIPS; k++)
        if (h->skip[k] % FB_FORMAT_ALIGN != 0 || (h->skip[k] != 0 && h->skip[k] >= h->offset))
            return "impossible skip pointer";
    return NULL;
}

bool fb__get_chunk_header(fb_chunk_header *out, const uint8_t bytes[FB_CHUNK_HEADER_BYTES],
                          fb_hash id, uint64_t offset, const char **why)
{
    fb_chunk_header *h = out;

    *why = "no chunk here";
    if (memcmp(bytes, chunk_magic, sizeof chunk_magic) != 0)
        return false;
    *why = "checksum of the chunk header does not match";
    if (get64(bytes + CHUNK_HEADER_CHECK) != fb__check(bytes, CHUNK_HEADER_CHECK))
        return false;
    *h = (fb_chunk_header){.type = (fb_chunk_type)bytes[CHUNK_TYPE],
                           .codec = (fb_codec)bytes[CHUNK_CODEC],
                           .id = get_hash(bytes + CHUNK_ID),
                           .sequence = get64(bytes + CHUNK_SEQUENCE),
                           .packed_stored = get32(bytes + CHUNK_PACKED_STORED),
                           .packed_raw = get32(bytes + CHUNK_PACKED_RAW),
                           .hash_bytes = get32(bytes + CHUNK_HASHES),
                           .events = get32(bytes + CHUNK_EVENTS),
                           .first_event = get64(bytes + CHUNK_FIRST_EVENT),
                           .first_step = get64(bytes + CHUNK_FIRST_STEP),
                           .last_step = get64(bytes + CHUNK_LAST_STEP),
                           .finished_step = get64(bytes + CHUNK_FINISHED_STEP),
                           .finished_steps = get64(bytes + CHUNK_FINISHED_STEPS),
                           .offset = get64(bytes + CHUNK_OFFSET),
                           .first_nonfinite = get64(bytes + CHUNK_NONFINITE),
                           .steps_bytes = get32(bytes + CHUNK_STEPS_BYTES),
                           .steps = get32(bytes + CHUNK_STEPS),
                           .steps_check = get64(bytes + CHUNK_STEPS_CHECK),
                           .staged = get64(bytes + CHUNK_STAGED),
                           .body_check = get64(bytes + CHUNK_BODY_CHECK)};
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        h->chain[c] = get_hash(bytes + CHUNK_CHAINS + 16 * c);
    for (int k = 0; k < FB_CHUNK_SKIPS; k++)
        h->skip[k] = get64(bytes + CHUNK_SKIPS + 8 * k);
    *why = "chunk of another trace";
    if (h->id.lo != id.lo || h->id.hi != id.hi)
        return false;
    *why = "chunk of another place";
    if (h->offset != offset)
        return false;
    *why = chunk_flaw(h, bytes);
    return *why == NULL;
}

/* --- Footer ------------------------------------------------------------------------------------
 */

void fb__put_footer(fb_buffer *out, const fb_footer *footer)
{
    const size_t reason = strnlen(footer->reason, sizeof footer->reason - 1);

    fb_buffer_u8(out, footer->status);
    fb_buffer_u8(out, footer->recovered);
    fb_buffer_u16(out, (uint16_t)reason);
    fb_buffer_u64(out, footer->chunks);
    fb_buffer_u64(out, footer->events);
    fb_buffer_u64(out, footer->steps);
    fb_buffer_u64(out, footer->first_step);
    fb_buffer_u64(out, footer->finished_step);
    fb_buffer_append(out, footer->reason, reason);
    fb_buffer_u64(out, footer->elapsed_ns);
    fb_buffer_u64(out, footer->own_ns);
}

bool fb__get_footer(fb_footer *out, const void *body, size_t count)
{
    fb_bytes b = fb_bytes_of(body, count);
    const uint8_t *reason;
    uint16_t reason_bytes;

    memset(out, 0, sizeof *out);
    out->status = fb_bytes_u8(&b);
    out->recovered = fb_bytes_u8(&b) != 0;
    reason_bytes = fb_bytes_u16(&b);
    out->chunks = fb_bytes_u64(&b);
    out->events = fb_bytes_u64(&b);
    out->steps = fb_bytes_u64(&b);
    out->first_step = fb_bytes_u64(&b);
    out->finished_step = fb_bytes_u64(&b);
    reason = fb_bytes_take(&b, reason_bytes);
    if (b.failed || reason_bytes >= sizeof out->reason)
        return false;
    memcpy(out->reason, reason, reason_bytes);
    if (fb_bytes_left(&b) >= 2 * sizeof(uint64_t)) { /* absent from the first traces of format 1 */
        out->elapsed_ns = fb_bytes_u64(&b);
        out->own_ns = fb_bytes_u64(&b);
    }
    return out->status == 0 || out->status == 2; /* complete, full */
}
