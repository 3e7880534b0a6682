/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder_state.h - what the recorder's parts share: recorder.c (life, steps, chunks), record.c
 * (one event), recorder_direct.c (the calls for programs that report by themselves). Private to
 * tracer.
 */
#ifndef FB_TRACER_RECORDER_STATE_H
#define FB_TRACER_RECORDER_STATE_H

#include <pthread.h>
#include <stdbool.h>

#include "firstbit/recorder.h"
#include "tracer/chunk_builder.h"
#include "tracer/sites.h"
#include "tracer/trace_file.h"

/* What the recorder remembers of a site between its events. */
typedef struct fb_site_memory {
    bool seen; /* had an event: its stack is captured */
    bool has_identity;
    uint8_t class_number;
    int32_t micro;
    uint64_t step;
    fb_hash identity; /* of the latest event, most likely the next one's input */
} fb_site_memory;

/* How often each identity came in this step (recorder_direct.c). */
typedef struct fb_occurrence {
    int32_t micro;
    uint32_t count;
} fb_occurrence;

typedef struct fb_occurrences {
    uint64_t step;
    fb_occurrence *of_micro; /* ascending micro */
    uint32_t count, capacity;
} fb_occurrences;

struct fb_recorder {
    pthread_mutex_t lock; /* over everything below */
    fb_observer observer;
    fb_recorder_options options;
    uint8_t *alive; /* a page that fork clears in the child, which must not write */

    fb_trace_file file;
    fb_hash id;
    fb_sites sites;
    fb_builder builder;
    uint64_t *chunk_offsets;
    size_t chunk_count, chunk_capacity;
    fb_chunk_header sealed; /* of the last chunk in the file */
    bool seal_failed;       /* what is in memory cannot be written */
    int64_t sealed_at;      /* seconds, coarse clock */

    bool step_begun, step_open;
    uint64_t step, step_first_event;
    uint32_t classes; /* recorded in this step */
    fb_hash root[FB_CLASS_COUNT], chain[FB_CLASS_COUNT];
    uint64_t first_step, finished_step, finished_steps;
    uint64_t events, first_nonfinite;

    uint32_t *observer_sites; /* the observer's site number -> ours */
    uint32_t observer_site_count, observer_site_capacity;
    fb_site_memory *memory; /* by our site number */
    uint32_t memory_capacity;
    fb_hash *input_ids; /* scratch */
    uint32_t input_id_capacity;

    bool direct; /* the program reports by itself: close ends its last step */
    uint64_t direct_step;
    int32_t direct_micro;
    fb_intern *identities; /* phase, kind, path, op, slot -> number */
    fb_occurrences *occurrences;
    uint32_t occurrence_capacity;

    bool stopped;
    fb_error error;
};

/* Whether this process may record: not after a failure, and not in a forked child. */
static inline bool fb__recorder_on(const fb_recorder *r)
{
    return !r->stopped && *(volatile uint8_t *)r->alive != 0;
}

/* Ends the recording: keeps the first failure. */
void fb__recorder_stop(fb_recorder *r, const fb_error *err);

/* The classes that are recorded in a step. */
uint32_t fb__recorder_classes(const fb_recorder *r, uint64_t step);

/* Makes `step` the open one, ending the one before. False where it cannot be: it has ended. */
bool fb__recorder_enter_step(fb_recorder *r, uint64_t step);
void fb__recorder_end_step(fb_recorder *r);

/* Writes out the events that are still in memory, if any. */
void fb__recorder_seal(fb_recorder *r);

/* Records one event of our site number. map: see fb__builder_event. caller: for the stack. */
void fb__recorder_event(fb_recorder *r, uint32_t site, const fb_event *event, const uint32_t *map,
                        const void *caller);

/* Memory of a site; NULL when memory is out. */
fb_site_memory *fb__recorder_memory(fb_recorder *r, uint32_t site);

void fb__recorder_free_direct(fb_recorder *r);

#endif
