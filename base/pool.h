/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.h - a persistent team of threads that runs the same function on many indices.
 *
 * The pool decides who computes, never what: a function given to fb_pool_run must write, for index
 * i, bits that depend on i alone. Every worker runs in the floating-point environment of
 * contract 1.
 */
#ifndef FB_BASE_POOL_H
#define FB_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"

typedef struct fb_pool fb_pool;

enum {
    FB_POOL_THREADS_MAX = 256,
    FB_POOL_SCRATCH_BYTES = 4 << 20, /* of each worker, 64-byte aligned, contents undefined */
};

/* Work on one index. worker counts from 0 to fb_pool_threads - 1; scratch belongs to that worker
 * until the function returns. */
typedef void (*fb_pool_task)(void *argument, size_t index, unsigned worker, void *scratch);

/* threads: how many run at once, the calling thread included, 1 to FB_POOL_THREADS_MAX.
 * FB_E_USAGE, FB_E_MEMORY, FB_E_THREAD. */
FB_NODISCARD fb_status fb_pool_create(fb_pool **out, unsigned threads, fb_error *err);

void fb_pool_destroy(fb_pool *pool); /* NULL is fine */

unsigned fb_pool_threads(const fb_pool *pool);

/* Calls task(argument, i, ...) once for every i < count, in any order and on any thread, and
 * returns when all are done. Indices are handed out one by one, so cut work into some 4 to 8 pieces
 * a thread. Not reentrant: one caller at a time, and a task does not call fb_pool_run. Cannot fail.
 */
void fb_pool_run(fb_pool *pool, size_t count, fb_pool_task task, void *argument);

/* The caller's own scratch (worker 0), for work too small to share out. */
void *fb_pool_scratch(fb_pool *pool);

/* --- Memory that is being written ------------------------------------------------------------- */

/* Somebody who wants each piece of a stretch of memory as soon as it is whole, while it is in the
 * cache of the processor that wrote it. */
typedef struct fb_pool_watch {
    const void *data;
    size_t bytes, piece_bytes; /* the last piece may be shorter */
    /* Of each piece the bytes still to be written, set by the owner; 0: whole. What is written
     * twice wraps below 0 and is not whole again. */
    uint32_t *left;
    /* Called once when piece `index` is whole, from the task that wrote the last of it. */
    void (*whole)(struct fb_pool_watch *watch, size_t index);
} fb_pool_watch;

enum { FB_POOL_WATCHES_MAX = 4 };

/* Between runs. A watch is borrowed until the next fb_pool_watch_none; beyond the most it is left
 * out, and its pieces are never whole. */
void fb_pool_watch_add(fb_pool *pool, fb_pool_watch *watch);
void fb_pool_watch_none(fb_pool *pool);

/* From a task: these bytes have their final values. A kernel tells of an output's every byte once,
 * or of none. */
void fb_pool_wrote(fb_pool *pool, const void *at, size_t bytes);
/* The same for `rows` rows of row_bytes, `stride` bytes apart. */
void fb_pool_wrote_rows(fb_pool *pool, const void *at, size_t rows, size_t row_bytes,
                        size_t stride);

/* Whether all workers still have the floating-point environment of contract 1; call between runs.
 */
int fb_pool_fpenv_ok(fb_pool *pool);

#endif
