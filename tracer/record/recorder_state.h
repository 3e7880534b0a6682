/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder_state.h - what the recorder's parts share: recorder.c (life, the observer), record.c
 * (steps and events into the tail), recorder_direct.c (the calls for programs that report by
 * themselves), recorder_fork.c (children), sealing.c (the tail into the file). Private to tracer.
 */
#ifndef FB_TRACER_RECORD_RECORDER_STATE_H
#define FB_TRACER_RECORD_RECORDER_STATE_H

#include <pthread.h>
#include <stdbool.h>

#include "firstbit/recorder.h"
#include "tracer/record/recorder_lock.h"
#include "tracer/record/team.h"
#include "tracer/record/sealing.h"
#include "tracer/format/sites.h"
#include "tracer/format/step_list.h"
#include "tracer/format/tail.h"

/* What the recorder remembers of a site. */
typedef struct fb_site_mark {
    bool seen;            /* had an event: its stack is captured */
    bool values;          /* its contents are wanted; set together with class_number */
    uint8_t class_number; /* FB_CLASS_COUNT: not looked up yet */
} fb_site_mark;

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

/* What this process may do with a recorder that it may have got by fork. */
typedef enum fb_recorder_life {
    FB_RECORDER_FORKED = 0, /* a child that has not reported yet */
    FB_RECORDER_ALIVE = 1,
    FB_RECORDER_BEGINNING = 2, /* a thread of the child is making its file */
    FB_RECORDER_LOST = 3,      /* the child could not make a file */
} fb_recorder_life;

struct fb_recorder {
    fb_recorder_lock lock; /* over everything below */
    fb_observer observer;
    fb_recorder_options options;
    uint8_t *alive;     /* fb_recorder_life, atomic, in a page that fork clears in the child */
    char *main_path;    /* of the trace that the files of children belong to */
    uint32_t *children; /* atomic, shared with all of them: how many have a file */

    fb_hash id, main_id;    /* of this process's trace, and of the one that its files belong to */
    fb_step_list ops_steps; /* steps recorded at the level's full depth */
    fb_step_list values_steps;
    char *values_path;
    uint64_t values_bytes, values_left_out; /* contents kept so far; events whose were not */
    fb_sites sites;
    fb_stage stage;
    fb_sealing sealing;
    fb_team team; /* not under the lock */

    bool step_begun, step_open;
    uint64_t step;
    uint32_t classes; /* recorded in this step */
    uint64_t events;

    uint32_t *observer_sites; /* the observer's site number -> ours */
    uint32_t observer_site_count, observer_site_capacity;
    fb_site_mark *marks; /* by our site number */
    uint32_t mark_capacity;

    bool direct; /* the program reports by itself: close ends its last step */
    uint64_t direct_step;
    int32_t direct_micro;
    fb_intern *identities; /* phase, kind, path, op, slot -> number */
    fb_occurrences *occurrences;
    uint32_t occurrence_capacity;
};

static inline fb_recorder_life fb__recorder_life(const fb_recorder *r)
{
    return (fb_recorder_life)__atomic_load_n(r->alive, __ATOMIC_ACQUIRE);
}

/* Whether this process may record: not after a failure, and in a forked child only what it reports
 * directly. */
static inline bool fb__recorder_on(const fb_recorder *r)
{
    return fb__recorder_life(r) == FB_RECORDER_ALIVE && !fb__sealing_stopped(&r->sealing);
}

/* Makes the files and starts the thread. As fb_recorder_open. */
FB_NODISCARD fb_status fb__recorder_begin(fb_recorder *r, const char *path, fb_error *err);

/* For a child's first report: a file of its own. */
void fb__recorder_in_child(fb_recorder *r);

bool fb__recorder_make_pages(fb_recorder *r); /* false when memory is out */
void fb__recorder_free_pages(fb_recorder *r);

/* Steps between records of the class state where ops are not recorded. */
uint64_t fb__recorder_state_every(const fb_recorder *r);

/* The classes that are recorded in a step. */
uint32_t fb__recorder_classes(const fb_recorder *r, uint64_t step);

/* Makes `step` the open one, ending the one before. False where it cannot be: it has ended. */
bool fb__recorder_enter_step(fb_recorder *r, uint64_t step);
void fb__recorder_end_step(fb_recorder *r);

/* Writes out the events so far as a chunk, and waits for it. */
void fb__recorder_seal(fb_recorder *r);

/* Records one event of our site number. map: see fb__builder_event. caller: for the stack. */
void fb__recorder_event(fb_recorder *r, uint32_t site, const fb_event *event, const uint32_t *map,
                        const void *caller);

void fb__recorder_free_direct(fb_recorder *r);

#endif
