/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.h - the hash, or the sketch, of a tensor that is about to be written: each block is hashed
 * by the thread that wrote it, while it is in that processor's cache.
 *
 * Kernels tell the pool what they have written (fb_pool_wrote). What they did not tell of, or wrote
 * twice, is hashed at the end, so the result is that of fb_tensor_hash and fb_tensor_sketch in any
 * case, as long as nothing else writes the tensor in between.
 */
#ifndef FB_BASE_WATCH_H
#define FB_BASE_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/pool.h"
#include "firstbit/event.h"

typedef struct fb_watch fb_watch;

/* Room for tensors of up to `bytes`; sketch: for their sketches too. FB_E_MEMORY. */
FB_NODISCARD fb_status fb_watch_create(fb_watch **out, size_t bytes, bool sketch, fb_error *err);
void fb_watch_destroy(fb_watch *watch); /* NULL is fine */

/* From now on. Watches nothing where the tensor has more bytes than there is room for, or has one
 * block, or where sketches are wanted and there is no room for them. Between runs of the pool. */
void fb_watch_begin(fb_watch *watch, fb_pool *pool, fb_dtype dtype, const void *data, size_t bytes,
                    bool sketch);

/* Whether it watches this tensor, and for a sketch if one is wanted. */
bool fb_watch_is_on(const fb_watch *watch, const void *data, size_t bytes, bool sketch);

/* Forgets what it has. Call fb_pool_watch_none before the memory of a watch is used again. */
void fb_watch_forget(fb_watch *watch);

/* As fb_tensor_hash and fb_tensor_sketch (base/hash.h, base/sketch.h) of the watched tensor. */
fb_hash fb_watch_hash(fb_watch *watch, fb_pool *pool, bool *nonfinite);
fb_hash fb_watch_sketch(fb_sketch *out, fb_hash *blocks, fb_watch *watch, fb_pool *pool,
                        bool *nonfinite);

#endif
