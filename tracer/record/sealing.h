/* SPDX-License-Identifier: Apache-2.0
 *
 * sealing.h - the thread that turns staged rows into chunks of the file, behind the program.
 * Private to tracer.
 *
 * The program fills one half of the tail while the thread seals the other one. A half is filled
 * again only when all of its rows are in the file, so whatever kills the program, every row is in
 * one of the two.
 */
#ifndef FB_TRACER_RECORD_SEALING_H
#define FB_TRACER_RECORD_SEALING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"
#include "tracer/record/sealer.h"
#include "tracer/format/tail.h"
#include "tracer/format/trace_file.h"

/* Rows to seal. */
typedef struct fb_staged {
    const uint8_t *rows;
    size_t bytes;
    uint64_t sequence; /* 0: none */
} fb_staged;

typedef struct fb_sealing {
    pthread_t thread;
    bool evicts;     /* rows that are in the file leave the caches */
    bool has_thread; /* else halves are sealed by who fills them */
    pthread_mutex_t lock;
    pthread_cond_t ready, done;
    fb_staged half[FB_TAIL_HALVES]; /* handed over and not in the file yet */
    bool ending;
    bool stopped; /* atomic; recording has ended early */
    fb_error error;

    pthread_mutex_t sealer_lock; /* over what follows */
    fb_sites sites;              /* of the sealer: the program's thread has its own */
    fb_sealer sealer;
    fb_trace_file file;
    uint64_t *chunk_offsets;
    size_t chunk_count, chunk_capacity;
    uint64_t bytes;            /* atomic: of the file */
    uint64_t began_ns, own_ns; /* when; processor time spent sealing */
    uint64_t events;           /* atomic: in the file */
    uint64_t max_bytes;        /* of the file; 0: no limit */
    uint64_t unfinished;       /* sequence of the half at which sealing failed, or 0 */
    size_t unfinished_from;
    const fb_stage *stage;
} fb_sealing;

/* Prepares for a file that is open and published. threaded: not where threads are unsafe to start,
 * in the forked child of a program with threads. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__sealing_begin(fb_sealing *s, fb_hash id, const fb_stage *stage,
                                         bool threaded, fb_error *err);

/* Ends the recording: keeps the first failure. */
void fb__sealing_stop(fb_sealing *s, const fb_error *err);

/* The halves that were handed over and are not in the file, first the one that was first. Returns
 * how many. The thread must have ended. */
size_t fb__sealing_left(fb_sealing *s, fb_staged *out[FB_TAIL_HALVES]);

static inline bool fb__sealing_stopped(const fb_sealing *s)
{
    return __atomic_load_n(&s->stopped, __ATOMIC_ACQUIRE);
}

/* Hands rows over: those of a half of the tail. Waits until the half `next` is free. False when the
 * recording has stopped. */
bool fb__sealing_hand_over(fb_sealing *s, unsigned half, fb_staged staged, unsigned next);

/* Waits until nothing is handed over any more. */
void fb__sealing_drain(fb_sealing *s);

/* Seals rows at once, on the calling thread; nothing may be handed over. Stops at a failure. */
void fb__sealing_now(fb_sealing *s, fb_staged staged);

/* Ends the thread after it has sealed what was handed over. */
void fb__sealing_end(fb_sealing *s);

/* Once the thread has ended: seals what was handed over and is not in the file yet, then `current`.
 * Goes on where an earlier call failed, the rows may have moved since. False where that fails. */
bool fb__sealing_rest(fb_sealing *s, fb_staged current);

/* Ends the file with a footer. FB_E_FULL, FB_E_IO. */
FB_NODISCARD fb_status fb__sealing_footer(fb_sealing *s, fb_error *err);

void fb__sealing_free(fb_sealing *s);

#endif
