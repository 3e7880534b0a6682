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

/* Whether all workers still have the floating-point environment of contract 1; call between runs.
 */
int fb_pool_fpenv_ok(fb_pool *pool);

#endif
