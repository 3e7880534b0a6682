/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c - blocks and pieces of a tensor, hashed as they become whole.
 */
#include "base/watch.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/hash_block.h"
#include "base/sketch.h"
#include "base/sketch_part.h"

/* A block of the hash-only kind. */
typedef struct hashed {
    fb_hash hash;
    bool nonfinite;
} hashed;

struct fb_watch {
    fb_pool_watch watch; /* first: whole() gets it back */
    size_t most;         /* bytes there is room for */
    bool sketches;       /* pieces are for sketches */
    fb__sketch_tensor tensor;
    uint32_t *left;           /* [blocks] */
    hashed *hashed;           /* [blocks] */
    fb_hash *joined;          /* [blocks] */
    fb__sketch_piece *pieces; /* [pieces of float32]; NULL: no sketches */
};

static size_t parts_of(size_t bytes, size_t part)
{
    return bytes / part + (bytes % part != 0);
}

enum { PIECE_BYTES = FB_SKETCH_PIECE * 4 }; /* of float32, the only dtype that is sketched here */

fb_status fb_watch_create(fb_watch **out, size_t bytes, bool sketch, fb_error *err)
{
    const size_t blocks = parts_of(bytes, FB_HASH_BLOCK_BYTES) + 1;
    fb_watch *w = calloc(1, sizeof *w);

    if (w != NULL) {
        w->most = bytes;
        w->left = calloc(blocks, sizeof *w->left);
        w->hashed = calloc(blocks, sizeof *w->hashed);
        w->joined = calloc(blocks, sizeof *w->joined);
        if (sketch)
            w->pieces = calloc(parts_of(bytes, PIECE_BYTES) + 1, sizeof *w->pieces);
    }
    if (w == NULL || w->left == NULL || w->hashed == NULL || w->joined == NULL ||
        (sketch && w->pieces == NULL)) {
        fb_watch_destroy(w);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for %zu block hashes",
                        blocks);
    }
    *out = w;
    return FB_OK;
}

void fb_watch_destroy(fb_watch *w)
{
    if (w == NULL)
        return;
    free(w->left);
    free(w->hashed);
    free(w->joined);
    free(w->pieces);
    free(w);
}

/* Piece `index` is what it will be. */
static void take_piece(fb_watch *w, size_t index)
{
    const size_t from = index * w->watch.piece_bytes, left = w->watch.bytes - from;
    hashed *block = &w->hashed[index];

    if (w->sketches) {
        fb__sketch_one_piece(&w->pieces[index], &w->tensor, index);
        return;
    }
    block->nonfinite = false;
    block->hash = w->tensor.hash_block(w->tensor.dtype, w->tensor.data + from,
                                       left < w->watch.piece_bytes ? left : w->watch.piece_bytes,
                                       &block->nonfinite);
}

static void piece_is_whole(fb_pool_watch *watch, size_t index)
{
    take_piece((fb_watch *)(void *)watch, index);
}

void fb_watch_forget(fb_watch *w)
{
    w->watch.bytes = 0;
    w->watch.data = NULL;
}

void fb_watch_begin(fb_watch *w, fb_pool *pool, fb_dtype dtype, const void *data, size_t bytes,
                    bool sketch)
{
    const size_t piece_bytes = sketch ? PIECE_BYTES : FB_HASH_BLOCK_BYTES;

    fb_watch_forget(w);
    if (bytes > w->most || bytes <= FB_HASH_BLOCK_BYTES || (sketch && w->pieces == NULL) ||
        dtype != FB_DTYPE_F32 || !fb__sketch_describe(&w->tensor, dtype, data, bytes))
        return;
    w->sketches = sketch;
    w->watch = (fb_pool_watch){.data = data,
                               .bytes = bytes,
                               .piece_bytes = piece_bytes,
                               .left = w->left,
                               .whole = piece_is_whole};
    for (size_t i = 0, from = 0; from < bytes; i++, from += piece_bytes)
        w->left[i] = (uint32_t)(bytes - from < piece_bytes ? bytes - from : piece_bytes);
    fb_pool_watch_add(pool, &w->watch);
}

bool fb_watch_is_on(const fb_watch *w, const void *data, size_t bytes, bool sketch)
{
    return w->watch.bytes > 0 && w->watch.data == data && w->watch.bytes == bytes &&
           w->sketches == sketch;
}

/* --- The end ---------------------------------------------------------------------------------- */

static void take_missing_piece(void *argument, size_t index, unsigned worker, void *scratch)
{
    fb_watch *w = argument;

    (void)worker;
    (void)scratch;
    if (w->left[index] != 0)
        take_piece(w, index);
}

/* Pieces that were not told of, or more than once. Returns how many pieces there are. */
static size_t complete(fb_watch *w, fb_pool *pool)
{
    const size_t count = parts_of(w->watch.bytes, w->watch.piece_bytes);
    size_t missing = 0;

    fb_pool_watch_none(pool);
    for (size_t i = 0; i < count; i++)
        missing += w->left[i] != 0;
    if (missing > 0)
        fb_pool_run(pool, count, take_missing_piece, w);
    return count;
}

fb_hash fb_watch_hash(fb_watch *w, fb_pool *pool, bool *nonfinite)
{
    const size_t count = complete(w, pool);

    *nonfinite = false;
    for (size_t i = 0; i < count; i++) {
        *nonfinite |= w->hashed[i].nonfinite;
        w->joined[i] = w->hashed[i].hash;
    }
    return fb__join_blocks(w->tensor.dtype, w->watch.bytes, w->joined, count);
}

static const fb__sketch_piece *all_pieces(void *context, uint64_t index, size_t *count)
{
    const fb_watch *w = context;

    *count = parts_of(w->watch.bytes, w->watch.piece_bytes) - index;
    return w->pieces + index;
}

fb_hash fb_watch_sketch(fb_sketch *out, fb_hash *blocks, fb_watch *w, fb_pool *pool,
                        bool *nonfinite)
{
    complete(w, pool);
    *nonfinite = false;
    return fb__sketch_join(out, blocks, &w->tensor, all_pieces, w, nonfinite);
}
