/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.c - the team of threads: one word says which run is open and how many helpers are in it.
 *
 * A helper enters an open run by itself; the caller works too, closes the run when no index is left
 * and waits only for helpers that are inside. One that the system has not scheduled in time holds
 * up nobody, which on a busy machine is the difference between helping and hindering.
 *
 * Workers spin for some microseconds before they sleep: the runs of a training step follow each
 * other within that time, and a futex round trip costs more than a small layer. A helper that the
 * system has put on the caller's own processor, the others being busy, sleeps at once: what it
 * spins there is time that it takes from the caller.
 */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fpenv.h"

enum { SPINS_BEFORE_SLEEP = 2000 };

/* The word: generation of the run in the high half; in the low half, helpers inside and whether
 * others may enter. */
#define OPEN          UINT64_C(1)
#define ONE_INSIDE    UINT64_C(2)
#define ANY_INSIDE    (UINT64_C(0xffffffff) & ~OPEN)
#define GENERATION(s) ((uint32_t)((s) >> 32))

typedef struct worker {
    fb_pool *pool;
    pthread_t thread;
    unsigned number;
    void *scratch;
} worker;

struct fb_pool {
    unsigned threads;
    unsigned started; /* helper threads that run */

    /* The run in progress, written while it is closed and nobody is inside. */
    fb_pool_task task;
    void *argument;
    size_t count;
    int processor; /* that the caller was on when it opened the run */

    fb_pool_watch *watches[FB_POOL_WATCHES_MAX]; /* change between runs, as the run itself */
    unsigned watch_count;

    _Atomic size_t next;    /* index to hand out */
    _Atomic uint64_t state; /* the word; its generation also moves when the pool ends */
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

static uint32_t generation_of(fb_pool *pool)
{
    return GENERATION(atomic_load_explicit(&pool->state, memory_order_acquire));
}

/* Waits until the generation is no longer `seen`; returns the new one. */
static uint32_t wait_for_start(fb_pool *pool, uint32_t seen, int spins)
{
    uint32_t generation = seen;

    for (int spin = 0; spin < spins; spin++) {
        generation = generation_of(pool);
        if (generation != seen)
            return generation;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while ((generation = generation_of(pool)) == seen)
        pthread_cond_wait(&pool->start, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    return generation;
}

/* False where the run is over already. */
static bool enter(fb_pool *pool)
{
    uint64_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);

    while ((state & OPEN) != 0)
        if (atomic_compare_exchange_weak_explicit(&pool->state, &state, state + ONE_INSIDE,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static void leave(fb_pool *pool)
{
    const uint64_t before =
        atomic_fetch_sub_explicit(&pool->state, ONE_INSIDE, memory_order_acq_rel);

    if ((before & ANY_INSIDE) != ONE_INSIDE || (before & OPEN) != 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

static void *helper(void *argument)
{
    worker *w = argument;
    fb_pool *pool = w->pool;
    uint32_t seen = 0;
    int spins = SPINS_BEFORE_SLEEP;

    fb_fpenv_set();
    for (;;) {
        seen = wait_for_start(pool, seen, spins);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire))
            return NULL;
        if (!enter(pool))
            continue;
        work(w);
        if (!fb_fpenv_ok())
            atomic_store(&pool->fpenv_ok, false);
        spins = sched_getcpu() == pool->processor ? 0 : SPINS_BEFORE_SLEEP;
        leave(pool);
    }
}

/* Moves the generation, and opens a run or leaves it closed: whoever sleeps wakes. Nobody is
 * inside. */
static void move_generation(fb_pool *pool, uint64_t open)
{
    const uint64_t next = (uint64_t)(generation_of(pool) + 1) << 32;

    pthread_mutex_lock(&pool->mutex);
    atomic_store_explicit(&pool->state, next | open, memory_order_release);
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
    move_generation(pool, 0);
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

static bool is_empty(fb_pool *pool)
{
    return (atomic_load_explicit(&pool->state, memory_order_acquire) & ANY_INSIDE) == 0;
}

/* No helper enters any more; those inside finish what they have begun. */
static void close_run(fb_pool *pool)
{
    (void)atomic_fetch_and_explicit(&pool->state, ~OPEN, memory_order_acq_rel);
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
        if (is_empty(pool))
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while (!is_empty(pool))
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
    pool->processor = sched_getcpu();
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    move_generation(pool, OPEN);
    work(&pool->workers[0]);
    close_run(pool);
}

/* --- Watches ---------------------------------------------------------------------------------- */

void fb_pool_watch_add(fb_pool *pool, fb_pool_watch *watch)
{
    if (pool->watch_count < FB_POOL_WATCHES_MAX)
        pool->watches[pool->watch_count++] = watch;
}

void fb_pool_watch_none(fb_pool *pool)
{
    pool->watch_count = 0;
}

/* The writes of other threads to a piece happen before its last byte is counted. */
static void count_down(fb_pool_watch *watch, size_t piece, size_t bytes)
{
    if (bytes > 0 &&
        __atomic_sub_fetch(&watch->left[piece], (uint32_t)bytes, __ATOMIC_ACQ_REL) == 0)
        watch->whole(watch, piece);
}

/* Rows of a watch, from byte `from` on: bytes are counted by piece before they are taken off. */
static void tell(fb_pool_watch *watch, size_t from, size_t rows, size_t row_bytes, size_t stride)
{
    size_t piece = from / watch->piece_bytes, counted = 0;

    for (size_t r = 0; r < rows; r++, from += stride)
        for (size_t at = from, end = from + row_bytes; at < end;) {
            const size_t here = at / watch->piece_bytes, limit = (here + 1) * watch->piece_bytes;
            const size_t bytes = (limit < end ? limit : end) - at;

            if (here != piece) {
                count_down(watch, piece, counted);
                piece = here;
                counted = 0;
            }
            counted += bytes;
            at += bytes;
        }
    count_down(watch, piece, counted);
}

void fb_pool_wrote_rows(fb_pool *pool, const void *at, size_t rows, size_t row_bytes, size_t stride)
{
    for (unsigned i = 0; i < pool->watch_count; i++) {
        fb_pool_watch *watch = pool->watches[i];
        const uintptr_t from = (uintptr_t)at - (uintptr_t)watch->data;

        if ((uintptr_t)at >= (uintptr_t)watch->data && from < watch->bytes && rows > 0)
            tell(watch, from, rows, row_bytes, stride);
    }
}

void fb_pool_wrote(fb_pool *pool, const void *at, size_t bytes)
{
    fb_pool_wrote_rows(pool, at, 1, bytes, bytes);
}

void *fb_pool_scratch(fb_pool *pool)
{
    return pool->workers[0].scratch;
}

int fb_pool_fpenv_ok(fb_pool *pool)
{
    return fb_fpenv_ok() && atomic_load(&pool->fpenv_ok);
}
