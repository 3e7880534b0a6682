/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.h - the hash of a tensor that is about to be written: each block is hashed by the thread
 * that wrote it, while it is in that processor's cache.
 *
 * Kernels tell the pool what they have written (fb_pool_wrote). What they did not tell of, or wrote
 * twice, is hashed at the end, so the result is that of fb_tensor_hash in any case, as long as
 * nothing else writes the tensor in between.
 *
 * Sketches are not made this way: a sketch takes five times as long as a hash, and of two threads
 * that write halves of the same rows the slower one finishes every block, so it would make them all
 * while the other waits.
 */
#ifndef FB_BASE_WATCH_H
#define FB_BASE_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/pool.h"
#include "firstbit/event.h"

typedef struct fb_watch fb_watch;

/* Room for tensors of up to `bytes`. FB_E_MEMORY. */
FB_NODISCARD fb_status fb_watch_create(fb_watch **out, size_t bytes, fb_error *err);
void fb_watch_destroy(fb_watch *watch); /* NULL is fine */

/* From now on. Watches nothing where the tensor has more bytes than there is room for, or has one
 * block. Between runs of the pool. */
void fb_watch_begin(fb_watch *watch, fb_pool *pool, fb_dtype dtype, const void *data, size_t bytes);

/* Whether it watches this tensor. */
bool fb_watch_is_on(const fb_watch *watch, const void *data, size_t bytes);

/* Forgets what it has. Call fb_pool_watch_none before the memory of a watch is used again. */
void fb_watch_forget(fb_watch *watch);

/* As fb_tensor_hash (base/hash.h) of the watched tensor. */
fb_hash fb_watch_hash(fb_watch *watch, fb_pool *pool, bool *nonfinite);

#endif
