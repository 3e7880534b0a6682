/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.c - the team of threads: a generation counter starts a run, a second counter ends it.
 *
 * Workers spin for some microseconds before they sleep: the runs of a training step follow each
 * other within that time, and a futex round trip costs more than a small layer.
 */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fpenv.h"

enum { SPINS_BEFORE_SLEEP = 2000 };

typedef struct worker {
    fb_pool *pool;
    pthread_t thread;
    unsigned number;
    void *scratch;
} worker;

struct fb_pool {
    unsigned threads;
    unsigned started; /* helper threads that run */

    /* The run in progress, written before `generation` moves. */
    fb_pool_task task;
    void *argument;
    size_t count;

    _Atomic size_t next;         /* index to hand out */
    _Atomic unsigned busy;       /* helpers that have not finished this run */
    _Atomic uint32_t generation; /* moves when a run starts or the pool ends */
    _Atomic bool stop;
    _Atomic bool fpenv_ok;

    pthread_mutex_t mutex; /* for sleeping only */
    pthread_cond_t start, done;
    worker workers[];
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void work(worker *w)
{
    fb_pool *pool = w->pool;
    size_t i;

    while ((i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->count)
        pool->task(pool->argument, i, w->number, w->scratch);
}

/* Waits until the generation is no longer `seen`. */
static void wait_for_start(fb_pool *pool, uint32_t seen)
{
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load_explicit(&pool->generation, memory_order_acquire) == seen)
        pthread_cond_wait(&pool->start, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

static void *helper(void *argument)
{
    worker *w = argument;
    fb_pool *pool = w->pool;
    uint32_t seen = 0;

    fb_fpenv_set();
    for (;;) {
        wait_for_start(pool, seen);
        seen++;
        if (atomic_load_explicit(&pool->stop, memory_order_acquire))
            return NULL;
        work(w);
        if (!fb_fpenv_ok())
            atomic_store(&pool->fpenv_ok, false);
        if (atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

/* Starts a run, or ends the helpers: whoever sleeps wakes. */
static void move_generation(fb_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->mutex);
}

fb_status fb_pool_create(fb_pool **out, unsigned threads, fb_error *err)
{
    fb_pool *pool;

    if (threads < 1 || threads > FB_POOL_THREADS_MAX)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "threads: %u is not between 1 and %d",
                        threads, FB_POOL_THREADS_MAX);
    pool = calloc(1, sizeof *pool + threads * sizeof pool->workers[0]);
    if (pool == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for %u threads", threads);
    pool->threads = threads;
    atomic_store(&pool->fpenv_ok, true);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    fb_fpenv_set();
    for (unsigned i = 0; i < threads; i++) {
        worker *w = &pool->workers[i];

        *w = (worker){.pool = pool, .number = i};
        w->scratch = aligned_alloc(64, FB_POOL_SCRATCH_BYTES);
        if (w->scratch == NULL) {
            fb_pool_destroy(pool);
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for %u threads",
                            threads);
        }
        if (i == 0)
            continue;
        if (pthread_create(&w->thread, NULL, helper, w) != 0) {
            fb_pool_destroy(pool);
            return fb__fail(err, FB_E_THREAD, FB_NO_OFFSET, "cannot start thread %u of %u", i + 1,
                            threads);
        }
        pool->started++;
    }
    *out = pool;
    return FB_OK;
}

void fb_pool_destroy(fb_pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    move_generation(pool);
    for (unsigned i = 1; i <= pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    for (unsigned i = 0; i < pool->threads; i++)
        free(pool->workers[i].scratch);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->start);
    pthread_cond_destroy(&pool->done);
    free(pool);
}

unsigned fb_pool_threads(const fb_pool *pool)
{
    return pool->threads;
}

static void wait_for_helpers(fb_pool *pool)
{
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
        if (atomic_load_explicit(&pool->busy, memory_order_acquire) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load_explicit(&pool->busy, memory_order_acquire) != 0)
        pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void fb_pool_run(fb_pool *pool, size_t count, fb_pool_task task, void *argument)
{
    if (count == 0)
        return;
    if (pool->started == 0 || count == 1) {
        for (size_t i = 0; i < count; i++)
            task(argument, i, 0, pool->workers[0].scratch);
        return;
    }
    pool->task = task;
    pool->argument = argument;
    pool->count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->busy, pool->started, memory_order_relaxed);
    move_generation(pool);
    work(&pool->workers[0]);
    wait_for_helpers(pool);
}

void *fb_pool_scratch(fb_pool *pool)
{
    return pool->workers[0].scratch;
}

int fb_pool_fpenv_ok(fb_pool *pool)
{
    return fb_fpenv_ok() && atomic_load(&pool->fpenv_ok);
}
