/* SPDX-License-Identifier: Apache-2.0
 *
 * bytes.c - varints and the growable buffer.
 */
#include "base/bytes.h"

#include <stdlib.h>

uint64_t fb_bytes_varint(fb_bytes *b)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        const uint8_t byte = fb_bytes_u8(b);
        const bool overflows = shift == 63 && byte > 1;
        const bool overlong = shift > 0 && byte == 0;

        if (b->failed || overflows || overlong)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    b->failed = true;
    return 0;
}

bool fb_buffer_reserve(fb_buffer *b, size_t count)
{
    size_t capacity = b->capacity < 256 ? 256 : b->capacity;
    uint8_t *data;

    if (b->failed || count > SIZE_MAX / 2 - b->count) {
        b->failed = true;
        return false;
    }
    if (b->count + count <= b->capacity)
        return true;
    while (capacity < b->count + count)
        capacity += capacity / 2;
    data = realloc(b->data, capacity);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void fb_buffer_append(fb_buffer *b, const void *bytes, size_t count)
{
    if (count == 0 || !fb_buffer_reserve(b, count))
        return;
    memcpy(b->data + b->count, bytes, count);
    b->count += count;
}

void fb_buffer_varint(fb_buffer *b, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;

    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    fb_buffer_append(b, bytes, n);
}

void fb_buffer_free(fb_buffer *b)
{
    free(b->data);
    *b = (fb_buffer){0};
}
