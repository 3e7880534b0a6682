/* SPDX-License-Identifier: Apache-2.0
 *
 * step_events.h - the events of one step of one trace, in memory, in a form that can be compared
 * with another trace's.
 *
 * Bounded: at most FB__STEP_EVENTS_MAX events a side are held, fewer where the sites of the traces
 * take much memory. What both sides have in common at the start of the step is passed over first,
 * so the window begins where they part.
 */
#ifndef FB_DIFF_READ_STEP_EVENTS_H
#define FB_DIFF_READ_STEP_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "diff/read/optimizers.h"
#include "firstbit/trace.h"
#include "replay/event_name.h"

enum {
    FB__STEP_EVENTS_MAX = 1 << 16, /* with the two below: some 35 MB for both sides */
    FB__STEP_INPUTS_MAX = 1 << 18,
    FB__STEP_INDICES_MAX = 1 << 18,
    FB__STEP_PHASES = 16,       /* more than there are */
    FB__STEP_MEMORY = 52 << 20, /* of both sides and the readers together; to align and to judge
                                 * takes some more */
    FB__STEP_EVENTS_LEAST = 1 << 10, /* whatever the traces take */
};

/* The mode in which modules are called where an event stands. */
typedef enum fb__called {
    FB__CALLED_UNKNOWN,
    FB__CALLED_TO_TRAIN,
    FB__CALLED_TO_EVALUATE
} fb__called;

typedef struct fb__step_event {
    fb_hash key;     /* identity; module prefixes of wrappers left out */
    fb_hash group;   /* the same with occurrence 0: who shares it may have shifted */
    fb_hash content; /* what it says, without identity and inputs */
    fb_hash hash;
    uint64_t number; /* in the file */
    uint64_t stream_key, counter, count;
    double value;
    const fb_site *site; /* lives as long as the trace */
    uint32_t site_number;
    int32_t micro;
    uint32_t flags;
    fb__called called;
    uint32_t first_input, input_count; /* keys of inputs, in fb__step.inputs */
    uint32_t first_index, index_count; /* sample indices, in fb__step.indices */

    /* By align.c: */
    uint32_t partner; /* index on the other side, or UINT32_MAX */
    bool beyond;      /* behind the last event that a cut other side could have: it tells nothing */
    bool equal;       /* has a partner with equal content and inputs */
    bool same_inputs; /* has a partner, and names the same inputs in the same order */
    bool same_content;
    bool exchanged; /* its partner is another call of the same op: done in another order */
} fb__step_event;

/* A site as a comparison sees it. */
typedef struct fb__site_key {
    const fb_site *site; /* NULL: not met yet */
    fb_hash key, group;
    fb_class class_;
    bool from_model; /* in the common start: what stands for the model went into it */
} fb__site_key;

typedef struct fb__step {
    fb_trace *trace;               /* borrowed */
    const struct fb__step *beside; /* the other side */
    fb__numbering numbering;       /* of optimizers, as side a has it */
    fb__site_key *sites;           /* by number */
    size_t site_capacity;
    uint64_t step;
    fb__step_event *events;
    size_t count, capacity;
    fb_hash *inputs;
    uint32_t
        *input_sites; /* beside inputs: which site each is an event of, in this step or before */
    size_t input_count, input_capacity, input_site_capacity;
    uint64_t *indices;
    size_t index_count, index_capacity;
    fb__called called; /* by the last mode event that was read */
    bool truncated;    /* the step has more events than are held */
    bool ended;        /* the trace ended in this step */
    bool cut; /* truncated, or a torn trace ended in this step: what lacks here proves nothing */
    bool renamed; /* a path was told without the names of its wrappers, or with another number of
                   * its optimizer, or equal samples come from
                   * datasets of different names: roots differ where events do not */

    bool has_gradient, has_update; /* of the whole step: a backward pass or its loss; an update */

    bool has_last_equal; /* the last event of the common start */
    fb_event_name last_equal;
} fb__step;

typedef struct fb__step_pair {
    fb__step a, b;
    uint64_t common; /* events at the start of the step that are equal on both sides */
    uint64_t common_of_phase[FB__STEP_PHASES];
    uint32_t classes; /* that were read: bits 1u << FB_CLASS_... */
    bool other_depth; /* one side recorded operations here, the other did not: single draws, which
                       * are seen where operations are, may lack there */
} fb__step_pair;

/*
 * Reads the events of `step` on both sides whose class is in `classes`.
 *
 * Statuses of the readers, FB_E_MEMORY. Free it in either case.
 */
FB_NODISCARD fb_status fb__step_pair_load(fb__step_pair *out, fb_trace *a, fb_trace *b,
                                          uint64_t step, uint32_t classes, fb_error *err);
void fb__step_pair_free(fb__step_pair *pair);

/* What a step of training consists of: a loss or a gradient; an update. That gradients are zeroed,
 * a schedule goes on, a scale is brought up to date behind the last update is none. */
bool fb__is_of_backward(const fb_site *site);
bool fb__is_of_update(const fb_site *site);

/* Where a generator stands at the end of a step, or of the program. */
bool fb__is_generator_state(const fb_site *site);

/* Notes of what a parameter was, at every level: as operations begin to be recorded in the midst of
 * a run, and as the recording ended. op: one of the two; NULL: either. */
#define FB__BEGIN "begin"
#define FB__END   "end"
bool fb__is_learned(const fb_site *site, const char *op);

/* A note of what a model gave that was called without learning, in a step without operations. */
bool fb__is_result(const fb_site *site);

/* A path without the names of the wrappers around modules. */
void fb__unwrap_path(char out[FB_NAME_MAX + 1], const char *path);

/* What stands for the model by itself: an event of a module, a draw, a gradient, a parameter. */
bool fb__is_of_model(const fb_site *site);

/* Takes down that two equal events have different names where names do not count. */
void fb__step_note_names(fb__step *step, const fb_site *a, const fb_site *b);

/* The name of an event of a loaded step. */
void fb__step_event_name(fb_event_name *out, const fb__step *step, const fb__step_event *event);

/* Its contents in one line. */
char *fb__step_event_text(char *out, size_t size, const fb__step *step,
                          const fb__step_event *event);

#endif
