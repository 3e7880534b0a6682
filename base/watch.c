/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c - blocks of a tensor, hashed as they become whole.
 */
#include "base/watch.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/hash_block.h"

typedef struct hashed {
    fb_hash hash;
    bool nonfinite;
} hashed;

struct fb_watch {
    fb_pool_watch watch; /* first: whole() gets it back */
    size_t most;         /* bytes there is room for */
    fb_dtype dtype;
    fb__hash_block hash_block;
    uint32_t *left;  /* [blocks] */
    hashed *hashed;  /* [blocks] */
    fb_hash *joined; /* [blocks] */
};

static size_t blocks_of(size_t bytes)
{
    return bytes / FB_HASH_BLOCK_BYTES + (bytes % FB_HASH_BLOCK_BYTES != 0);
}

fb_status fb_watch_create(fb_watch **out, size_t bytes, fb_error *err)
{
    const size_t blocks = blocks_of(bytes) + 1;
    fb_watch *w = calloc(1, sizeof *w);

    if (w != NULL) {
        w->most = bytes;
        w->hash_block = fb__widest_hash_block();
        w->left = calloc(blocks, sizeof *w->left);
        w->hashed = calloc(blocks, sizeof *w->hashed);
        w->joined = calloc(blocks, sizeof *w->joined);
    }
    if (w == NULL || w->left == NULL || w->hashed == NULL || w->joined == NULL) {
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
    free(w);
}

/* Block `index` is what it will be. */
static void take_block(fb_watch *w, size_t index)
{
    const size_t from = index * FB_HASH_BLOCK_BYTES, left = w->watch.bytes - from;
    const uint8_t *data = w->watch.data;
    hashed *block = &w->hashed[index];

    block->nonfinite = false;
    block->hash =
        w->hash_block(w->dtype, data + from,
                      left < FB_HASH_BLOCK_BYTES ? left : FB_HASH_BLOCK_BYTES, &block->nonfinite);
}

static void block_is_whole(fb_pool_watch *watch, size_t index)
{
    take_block((fb_watch *)(void *)watch, index);
}

void fb_watch_forget(fb_watch *w)
{
    w->watch.bytes = 0;
    w->watch.data = NULL;
}

void fb_watch_begin(fb_watch *w, fb_pool *pool, fb_dtype dtype, const void *data, size_t bytes)
{
    const size_t whole = FB_HASH_BLOCK_BYTES;

    fb_watch_forget(w);
    if (bytes > w->most || bytes <= whole || dtype != FB_DTYPE_F32)
        return;
    w->dtype = dtype;
    w->watch = (fb_pool_watch){.data = data,
                               .bytes = bytes,
                               .piece_bytes = whole,
                               .left = w->left,
                               .whole = block_is_whole};
    for (size_t i = 0, from = 0; from < bytes; i++, from += whole)
        w->left[i] = (uint32_t)(bytes - from < whole ? bytes - from : whole);
    fb_pool_watch_add(pool, &w->watch);
}

bool fb_watch_is_on(const fb_watch *w, const void *data, size_t bytes)
{
    return w->watch.bytes > 0 && w->watch.data == data && w->watch.bytes == bytes;
}

/* --- The end ---------------------------------------------------------------------------------- */

static void take_missing_block(void *argument, size_t index, unsigned worker, void *scratch)
{
    fb_watch *w = argument;

    (void)worker;
    (void)scratch;
    if (w->left[index] != 0) /* not told of, or more than once */
        take_block(w, index);
}

fb_hash fb_watch_hash(fb_watch *w, fb_pool *pool, bool *nonfinite)
{
    const size_t count = blocks_of(w->watch.bytes);
    size_t missing = 0;

    fb_pool_watch_none(pool);
    for (size_t i = 0; i < count; i++)
        missing += w->left[i] != 0;
    if (missing > 0)
        fb_pool_run(pool, count, take_missing_block, w);
    *nonfinite = false;
    for (size_t i = 0; i < count; i++) {
        *nonfinite |= w->hashed[i].nonfinite;
        w->joined[i] = w->hashed[i].hash;
    }
    return fb__join_blocks(w->dtype, w->watch.bytes, w->joined, count);
}
