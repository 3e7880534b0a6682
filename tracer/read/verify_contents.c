/* SPDX-License-Identifier: Apache-2.0
 *
 * verify_contents.c - block hashes join to the tensor's hash, and contents have it.
 */
#include "tracer/read/verify_contents.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/hash_block.h"
#include "base/sketch.h"

/* --- Block hashes ------------------------------------------------------------------------------
 */

static const char *check_blocks(fb_dtype dtype, const fb_event *e)
{
    const uint64_t bytes = (e->flags & FB_EVENT_VALUES) != 0
                               ? e->data_bytes
                               : e->sketch->elements * fb_sketch_element_bytes(dtype);

    if (e->block_count != fb_sketch_blocks((size_t)bytes))
        return "block hashes do not fit the size of their tensor";
    return fb_hash_equal(fb__join_blocks(dtype, (size_t)bytes, e->blocks, (size_t)e->block_count),
                         e->hash)
               ? NULL
               : "block hashes do not join to the hash of their tensor";
}

const char *fb__contents_event(fb_contents_check *c, uint32_t index, fb_dtype dtype,
                               const fb_event *e, bool *no_memory)
{
    const bool has_values = (e->flags & FB_EVENT_VALUES) != 0;

    if (fb_hash_is_zero(e->hash))
        return NULL;
    if (has_values && c->count == c->capacity) {
        const uint32_t capacity = c->capacity * 2 + 64;
        fb_contents_of *of = realloc(c->of, capacity * sizeof *of);

        if (of == NULL) {
            *no_memory = true;
            return NULL;
        }
        c->of = of;
        c->capacity = capacity;
    }
    if (has_values)
        c->of[c->count++] = (fb_contents_of){index, dtype, e->hash};
    return e->block_count > 0 && (has_values || e->sketch != NULL) ? check_blocks(dtype, e) : NULL;
}

/* --- Contents ----------------------------------------------------------------------------------
 */

static bool end_block(fb_contents_check *c)
{
    bool nonfinite = false;

    if (c->block_count == c->block_capacity) {
        const size_t capacity = c->block_capacity * 2 + 64;
        fb_hash *blocks = realloc(c->blocks, capacity * sizeof *blocks);

        if (blocks == NULL)
            return false;
        c->blocks = blocks;
        c->block_capacity = capacity;
    }
    c->blocks[c->block_count++] =
        fb__widest_hash_block()(c->tensor.dtype, c->block, c->filled, &nonfinite);
    c->filled = 0;
    return true;
}

static bool add_piece(fb_contents_check *c, const fb_piece *piece)
{
    for (uint32_t from = 0; from < piece->bytes;) {
        const size_t room = FB_HASH_BLOCK_BYTES - c->filled;
        const uint32_t count = piece->bytes - from < room ? piece->bytes - from : (uint32_t)room;

        fb__piece_copy(c->block + c->filled, piece, from, count);
        c->filled += count;
        from += count;
        if (c->filled == FB_HASH_BLOCK_BYTES && !end_block(c))
            return false;
    }
    c->at += piece->bytes;
    return c->at < c->total || c->filled == 0 || end_block(c);
}

/* The tensor that a first piece begins; false where its event has no hash to check it with. */
static bool begin_tensor(fb_contents_check *c, const fb_piece *piece, uint32_t *next)
{
    c->open = false;
    while (*next < c->count && c->of[*next].index + UINT64_C(1) < piece->code)
        ++*next;
    if (*next == c->count || c->of[*next].index + UINT64_C(1) != piece->code)
        return false;
    c->open = true;
    c->tensor = c->of[*next];
    c->at = 0;
    c->total = piece->total;
    c->filled = c->block_count = 0;
    return true;
}

const char *fb__contents_chunk(fb_contents_check *c, fb_extras_reader *x, bool *no_memory)
{
    uint32_t next = 0;
    fb_piece piece;

    if (x->pieces > 0 && c->block == NULL && (c->block = malloc(FB_HASH_BLOCK_BYTES)) == NULL)
        *no_memory = true;
    fb__pieces_rewind(x);
    while (!*no_memory && fb__pieces_next(x, &piece)) {
        if (piece.offset == 0 && piece.code != 0 && !begin_tensor(c, &piece, &next))
            continue;
        if (!c->open)
            continue;
        if (piece.offset != c->at || piece.total != c->total)
            return "contents of a tensor do not go on";
        if (!add_piece(c, &piece)) {
            *no_memory = true;
        } else if (c->at == c->total) {
            c->open = false;
            if (!fb_hash_equal(
                    fb__join_blocks(c->tensor.dtype, (size_t)c->total, c->blocks, c->block_count),
                    c->tensor.hash))
                return "contents of a tensor do not have its hash";
        }
    }
    c->count = 0;
    return NULL;
}

void fb__contents_free(fb_contents_check *c)
{
    free(c->of);
    free(c->block);
    free(c->blocks);
}
