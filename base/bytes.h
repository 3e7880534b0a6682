/* SPDX-License-Identifier: Apache-2.0
 *
 * bytes.h - little-endian numbers in byte strings, and the growable buffer: the only way in which
 * firstbit reads or writes a binary format.
 */
#ifndef FB_BASE_BYTES_H
#define FB_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "firstbit runs on little-endian machines only"
#endif

/* --- Reading: a cursor that cannot leave its bytes -------------------------------------------- */

/* After a read past the end, `failed` stays set and every read gives 0: check once, at the end. */
typedef struct fb_bytes {
    const uint8_t *at, *end;
    bool failed;
} fb_bytes;

static inline fb_bytes fb_bytes_of(const void *data, size_t count)
{
    const uint8_t *p = (const uint8_t *)data;
    return (fb_bytes){p, p + count, false};
}

static inline size_t fb_bytes_left(const fb_bytes *b)
{
    return (size_t)(b->end - b->at);
}

/* The next `count` bytes, or NULL (and failed) where fewer are left. */
static inline const uint8_t *fb_bytes_take(fb_bytes *b, size_t count)
{
    const uint8_t *p = b->at;

    if (b->failed || count > fb_bytes_left(b)) {
        b->failed = true;
        return NULL;
    }
    b->at += count;
    return p;
}

#define FB_BYTES_GETTER(name, type)                                                                \
    static inline type fb_bytes_##name(fb_bytes *b)                                                \
    {                                                                                              \
        type value = 0;                                                                            \
        const uint8_t *p = fb_bytes_take(b, sizeof value);                                         \
        if (p != NULL)                                                                             \
            memcpy(&value, p, sizeof value);                                                       \
        return value;                                                                              \
    }
FB_BYTES_GETTER(u8, uint8_t)
FB_BYTES_GETTER(u16, uint16_t)
FB_BYTES_GETTER(u32, uint32_t)
FB_BYTES_GETTER(u64, uint64_t)
FB_BYTES_GETTER(f64, double)
#undef FB_BYTES_GETTER

/* LEB128: 7 bits a byte, low first, at most 10 bytes; an overlong or overflowing one fails. */
uint64_t fb_bytes_varint(fb_bytes *b);

/* --- Writing: a buffer that grows --------------------------------------------------------------
 */

/* Starts as all zeros. After a failed allocation `failed` stays set, writes do nothing and the
 * contents stay as they were: check once, at the end. */
typedef struct fb_buffer {
    uint8_t *data;
    size_t count, capacity;
    bool failed;
} fb_buffer;

/* Makes room for `count` more bytes; false (and failed) when memory is out. */
bool fb_buffer_reserve(fb_buffer *b, size_t count);
void fb_buffer_append(fb_buffer *b, const void *bytes, size_t count);
void fb_buffer_varint(fb_buffer *b, uint64_t value);
void fb_buffer_free(fb_buffer *b); /* and makes it all zeros again */

#define FB_BUFFER_PUTTER(name, type)                                                               \
    static inline void fb_buffer_##name(fb_buffer *b, type value)                                  \
    {                                                                                              \
        fb_buffer_append(b, &value, sizeof value);                                                 \
    }
FB_BUFFER_PUTTER(u8, uint8_t)
FB_BUFFER_PUTTER(u16, uint16_t)
FB_BUFFER_PUTTER(u32, uint32_t)
FB_BUFFER_PUTTER(u64, uint64_t)
FB_BUFFER_PUTTER(f64, double)
#undef FB_BUFFER_PUTTER

/* Signed to unsigned so that small magnitudes stay small: 0 -1 1 -2 -> 0 1 2 3. */
static inline uint64_t fb_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline int64_t fb_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static inline uint32_t fb_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float fb_float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
