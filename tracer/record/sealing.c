/* SPDX-License-Identifier: Apache-2.0
 *
 * sealing.c - the sealing thread, the handing over of halves, and the file that chunks go to.
 */
#include "tracer/record/sealing.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/error.h"
#include "firstbit/trace.h"

/* --- The file ----------------------------------------------------------------------------------
 */

static uint64_t file_end(void *self)
{
    const fb_sealing *s = self;

    return s->file.bytes;
}

static fb_status file_skips(void *self, uint64_t sequence, uint64_t skip[FB_CHUNK_SKIPS],
                            fb_error *err)
{
    const fb_sealing *s = self;

    (void)err;
    for (int k = 0; k < FB_CHUNK_SKIPS && UINT64_C(1) << k <= sequence; k++)
        skip[k] = s->chunk_offsets[sequence - (UINT64_C(1) << k)];
    return FB_OK;
}

static bool reserve_offset(fb_sealing *s)
{
    uint64_t *offsets;

    if (s->chunk_count < s->chunk_capacity)
        return true;
    offsets = realloc(s->chunk_offsets, (s->chunk_capacity * 2 + 64) * sizeof *offsets);
    if (offsets == NULL)
        return false;
    s->chunk_offsets = offsets;
    s->chunk_capacity = s->chunk_capacity * 2 + 64;
    return true;
}

/* The footer takes a page. */
static uint64_t file_room(void *self)
{
    const fb_sealing *s = self;
    const uint64_t used = s->file.bytes + FB_FORMAT_ALIGN;

    if (s->max_bytes == 0)
        return UINT64_MAX;
    return s->max_bytes > used ? s->max_bytes - used : 0;
}

static fb_status file_append(void *self, const fb_chunk_header *head, const uint8_t *image,
                             size_t bytes, fb_error *err)
{
    fb_sealing *s = self;
    fb_status status;

    if (!reserve_offset(s))
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", s->file.path);
    if (bytes > file_room(s)) {
        s->file.limited = true;
        return fb__fail(err, FB_E_FULL, FB_NO_OFFSET, "%s: the limit of %llu bytes is reached",
                        s->file.path, (unsigned long long)s->max_bytes);
    }
    status = fb__trace_file_append(&s->file, image, bytes, err);
    if (status != FB_OK)
        return status;
    s->chunk_offsets[s->chunk_count++] = head->offset;
    __atomic_store_n(&s->bytes, s->file.bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&s->events, head->first_event + head->events, __ATOMIC_RELAXED);
    return FB_OK;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    return clock_gettime(clock, &t) == 0
               ? (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec
               : 0;
}

/* Tells of what is in the file, which may be less than what was reported. */
fb_status fb__sealing_footer(fb_sealing *s, fb_error *err)
{
    const fb_sealer *sealer = &s->sealer;
    fb_chunk_header head = sealer->sealed;
    fb_footer footer = {.status = fb__sealing_stopped(s) ? FB_TRACE_FULL : FB_TRACE_COMPLETE,
                        .chunks = sealer->chunks,
                        .events = head.first_event + head.events,
                        .steps = head.finished_steps,
                        .first_step = head.finished_steps == 0 ? 0 : sealer->first_step,
                        .finished_step = head.finished_step,
                        .elapsed_ns = clock_ns(CLOCK_MONOTONIC) - s->began_ns,
                        .own_ns = s->own_ns};

    head.sequence = sealer->chunks;
    head.offset = s->file.bytes;
    head.first_event = footer.events;
    head.staged = 0;
    memset(head.skip, 0, sizeof head.skip);
    if (sealer->chunks > 0)
        head.skip[0] = sealer->sealed.offset;
    if (footer.status == FB_TRACE_FULL)
        (void)snprintf(footer.reason, sizeof footer.reason, "%s", s->error.text);
    return fb__trace_file_footer(&s->file, &head, &footer, err);
}

/* --- Sealing -----------------------------------------------------------------------------------
 */

void fb__sealing_stop(fb_sealing *s, const fb_error *err)
{
    (void)pthread_mutex_lock(&s->lock);
    if (!s->stopped) {
        s->error = *err;
        __atomic_store_n(&s->stopped, true, __ATOMIC_RELEASE);
    }
    (void)pthread_cond_broadcast(&s->done);
    (void)pthread_mutex_unlock(&s->lock);
}

static bool seal_rows(fb_sealing *s, fb_staged staged)
{
    size_t from = 0;
    fb_error err;
    fb_status status;

    const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);

    (void)pthread_mutex_lock(&s->sealer_lock);
    if (s->unfinished == staged.sequence)
        from = s->unfinished_from;
    s->unfinished = 0;
    status = fb__sealer_take(&s->sealer, staged.sequence, staged.rows, staged.bytes, from,
                             &s->unfinished_from, &err);
    if (status == FB_OK)
        status = fb__sealer_flush(&s->sealer, fb__tail_position(staged.sequence + 1, 0), &err);
    if (status != FB_OK)
        s->unfinished = staged.sequence;
    s->own_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
    (void)pthread_mutex_unlock(&s->sealer_lock);
    if (status == FB_OK)
        return true;
    if (status != FB_E_FULL && status != FB_E_IO)
        (void)fb__fail_in(&err, status, "%s: ", s->file.path);
    fb__sealing_stop(s, &err);
    return false;
}

void fb__sealing_now(fb_sealing *s, fb_staged staged)
{
    if (!fb__sealing_stopped(s))
        (void)seal_rows(s, staged);
}

size_t fb__sealing_left(fb_sealing *s, fb_staged *out[FB_TAIL_HALVES])
{
    size_t count = 0;

    for (int i = 0; i < FB_TAIL_HALVES; i++)
        if (s->half[i].sequence != 0)
            out[count++] = &s->half[i];
    if (count == 2 && out[0]->sequence > out[1]->sequence) {
        fb_staged *first = out[1];
        out[1] = out[0];
        out[0] = first;
    }
    return count;
}

bool fb__sealing_rest(fb_sealing *s, fb_staged current)
{
    fb_staged *left[FB_TAIL_HALVES];
    const size_t count = fb__sealing_left(s, left);
    bool seal_current = current.bytes > 0;
    fb_error err;

    if (fb__sealer_retry(&s->sealer, &err) != FB_OK) {
        fb__sealing_stop(s, &err);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        /* The recording stopped while it was handed over: no other half was begun. */
        seal_current &= left[i]->sequence != current.sequence;
        if (!seal_rows(s, *left[i]))
            return false;
        left[i]->sequence = 0;
    }
    return !seal_current || seal_rows(s, current);
}

/* --- The thread --------------------------------------------------------------------------------
 */

/* Whether the processor has clflushopt: leaf 7, EBX bit 23. */
static bool can_evict(void)
{
#if defined(__x86_64__)
    unsigned a, b = 0, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1u << 23) != 0;
#else
    return false;
#endif
}

/* Puts rows out of all caches. The program's thread writes there next: it would have to fetch each
 * line back from this processor's cache, one by one (docs/benchmarks.md, "The trace"); what lies in
 * memory, its processor fetches ahead. */
static void evict(const fb_sealing *s, const uint8_t *rows, size_t bytes)
{
#if defined(__x86_64__)
    enum { LINE = 64 };

    for (size_t i = 0; s->evicts && i < bytes; i += LINE)
        __asm__ volatile("clflushopt %0" : : "m"(rows[i]) : "memory");
#else
    (void)s, (void)rows, (void)bytes;
#endif
}

/* The half that was handed over first, or -1. */
static int next_half(const fb_sealing *s)
{
    int next = -1;

    for (int i = 0; i < FB_TAIL_HALVES; i++)
        if (s->half[i].sequence != 0 && (next < 0 || s->half[i].sequence < s->half[next].sequence))
            next = i;
    return next;
}

/* Against a loss of power, about once a second: what is sealed, and what is staged. */
static void sync_all(fb_sealing *s, uint64_t *synced)
{
    const uint64_t bytes = __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);

    fb__stage_sync(s->stage);
    if (bytes != *synced)
        (void)fdatasync(s->file.descriptor);
    *synced = bytes;
}

/* Waits for a half, or a second. With s->lock held. */
static void wait_for_work(fb_sealing *s, struct timespec *next_sync, bool *sync)
{
    while (next_half(s) < 0 && !s->ending && !*sync)
        *sync = pthread_cond_timedwait(&s->ready, &s->lock, next_sync) != 0;
}

static void *seal_halves(void *argument)
{
    fb_sealing *s = argument;
    struct timespec next_sync;
    uint64_t synced = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &next_sync);
    next_sync.tv_sec++;
    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        bool sync = false;
        int half;

        wait_for_work(s, &next_sync, &sync);
        half = next_half(s);
        if (s->stopped || (half < 0 && s->ending))
            break;
        if (half >= 0) {
            const fb_staged staged = s->half[half];

            (void)pthread_mutex_unlock(&s->lock);
            fb__sealing_now(s, staged);
            evict(s, staged.rows, staged.bytes);
            (void)pthread_mutex_lock(&s->lock);
            if (s->stopped)
                break; /* what is left stays in the tail */
            s->half[half].sequence = 0;
            (void)pthread_cond_broadcast(&s->done);
        }
        if (sync) {
            (void)pthread_mutex_unlock(&s->lock);
            sync_all(s, &synced);
            (void)pthread_mutex_lock(&s->lock);
            (void)clock_gettime(CLOCK_MONOTONIC, &next_sync);
            next_sync.tv_sec++;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* The program's signals are the program's: none is handled on this thread. */
static void start_thread(fb_sealing *s)
{
    sigset_t all, before;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    s->has_thread = pthread_create(&s->thread, NULL, seal_halves, s) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

fb_status fb__sealing_begin(fb_sealing *s, fb_hash id, const fb_stage *stage, bool threaded,
                            fb_error *err)
{
    const fb_sink sink = {s, file_end, file_skips, file_append, file_room};
    pthread_condattr_t monotonic;

    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_mutex_init(&s->sealer_lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->ready, &monotonic);
    (void)pthread_cond_init(&s->done, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    s->stage = stage;
    s->evicts = can_evict();
    s->bytes = s->file.bytes;
    s->began_ns = clock_ns(CLOCK_MONOTONIC);
    if (!fb__sites_init(&s->sites) || !fb__sealer_init(&s->sealer, id, sink, &s->sites))
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", s->file.path);
    if (threaded)
        start_thread(s);
    return FB_OK;
}

void fb__sealing_end(fb_sealing *s)
{
    if (!s->has_thread)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->ending = true;
    (void)pthread_cond_signal(&s->ready);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->thread, NULL);
    s->has_thread = false;
}

void fb__sealing_free(fb_sealing *s)
{
    (void)fb__trace_file_close(&s->file, NULL);
    fb__sealer_free(&s->sealer);
    fb__sites_free(&s->sites);
    free(s->chunk_offsets);
}

/* --- Handing over ------------------------------------------------------------------------------
 */

bool fb__sealing_hand_over(fb_sealing *s, unsigned half, fb_staged staged, unsigned next)
{
    if (!s->has_thread) {
        fb__sealing_now(s, staged);
        return !fb__sealing_stopped(s);
    }
    (void)pthread_mutex_lock(&s->lock);
    s->half[half] = staged;
    (void)pthread_cond_signal(&s->ready);
    while (s->half[next].sequence != 0 && !s->stopped)
        (void)pthread_cond_wait(&s->done, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
    return !fb__sealing_stopped(s);
}

void fb__sealing_drain(fb_sealing *s)
{
    (void)pthread_mutex_lock(&s->lock);
    while (s->has_thread && next_half(s) >= 0 && !s->stopped)
        (void)pthread_cond_wait(&s->done, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
}
