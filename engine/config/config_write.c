/* SPDX-License-Identifier: Apache-2.0
 *
 * config_write.c - the resolved JSON text, and the memory of a configuration.
 */
#include "engine/config/config_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/files/json.h"

/* --- Text ------------------------------------------------------------------------------------- */

void fb__write_raw(fb__reader *r, const char *text)
{
    if (!r->silent)
        fb_buffer_append(&r->out, text, strlen(text));
}

void fb__write_key(fb__reader *r, const char *key)
{
    const uint8_t last = r->out.count == 0 ? '{' : r->out.data[r->out.count - 1];

    if (last != '{' && last != '[')
        fb__write_raw(r, ",");
    fb__write_string(r, key);
    fb__write_raw(r, ":");
}

void fb__write_string(fb__reader *r, const char *text)
{
    if (!r->silent)
        fb__json_put_string(&r->out, text);
}

void fb__write_number(fb__reader *r, double value)
{
    char text[FB__NUMBER_TEXT];

    fb__number_text(text, value);
    fb__write_raw(r, text);
}

/* --- Memory ----------------------------------------------------------------------------------- */

typedef struct block {
    struct block *next;
    size_t used, size;
    _Alignas(max_align_t) char bytes[];
} block;

struct fb__arena {
    block *blocks; /* newest first; the first one may have room */
};

enum { BLOCK_BYTES = 65536 };

fb__arena *fb__arena_create(void)
{
    return calloc(1, sizeof(fb__arena));
}

void fb__arena_destroy(fb__arena *arena)
{
    if (arena == NULL)
        return;
    for (block *b = arena->blocks; b != NULL;) {
        block *next = b->next;
        free(b);
        b = next;
    }
    free(arena);
}

void *fb__arena_zeros(fb__arena *arena, size_t count, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    size_t bytes;
    void *at;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    if (arena->blocks == NULL || arena->blocks->size - arena->blocks->used < bytes) {
        const size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block *b = calloc(1, sizeof *b + room);

        if (b == NULL)
            return NULL;
        b->size = room;
        b->next = arena->blocks;
        arena->blocks = b;
    }
    at = arena->blocks->bytes + arena->blocks->used;
    arena->blocks->used += bytes;
    return at;
}

char *fb__arena_text(fb__arena *arena, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = fb__arena_zeros(arena, bytes, 1);

    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}
