/* SPDX-License-Identifier: Apache-2.0
 *
 * why.h - what made a tensor: the backward slice of one event of a trace, through the references to
 * its inputs. Within its step event by event; what lies before that step is cut at the references
 * that lead there, and counted. Text for users: docs/diff.md, "why".
 */
#ifndef FB_DIFF_WHY_WHY_H
#define FB_DIFF_WHY_WHY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"
#include "firstbit/trace.h"

enum {
    FB_WHY_EVENTS_MAX = 1 << 17,  /* of one step; two are held, of 15 MB each */
    FB_WHY_INPUTS_MAX = 3 << 17,  /* of one step */
    FB_WHY_PENDING_MAX = 1 << 18, /* references to earlier steps that wait: 4 MB */
    FB_WHY_MEMORY = 48 << 20,     /* bytes of the reader and the events of one of these steps */
    FB_WHY_DEPTH = 3              /* levels of inputs that the text shows by default */
};

/* An event of the target's step that the target was made from. Depth 0 is the target. */
typedef struct fb_why_event {
    const fb_site *site; /* lives as long as the fb_why */
    uint64_t number;
    uint32_t site_number;
    int32_t micro;
    uint32_t depth; /* the shortest way from the target; UINT32_MAX: not part of the slice */
    uint32_t first_input, input_count; /* in fb_why.inputs */
} fb_why_event;

/* What lies before the step. */
typedef struct fb_why_earlier {
    uint64_t events, samples, draws, seeds, updates; /* updates: parameters and optimizer states */
    uint64_t first_step, last_step;                  /* where events > 0 */
    bool incomplete; /* it is more: references were too many, or lead out of the trace */
} fb_why_earlier;

typedef struct fb_why {
    fb_trace *trace;
    uint64_t step;
    fb_why_event *events; /* of the step, up to the target, in the order of the file */
    size_t count, target;
    fb_ref *inputs;
    size_t input_count;
    size_t in_slice; /* events of the slice, the target included */
    fb_ref *cut;     /* each reference to an earlier step once, in order of name */
    size_t cut_count;
    fb_why_earlier earlier;
} fb_why;

typedef struct fb_why_options {
    size_t size;                                                    /* sizeof(fb_why_options) */
    void (*progress)(void *argument, uint64_t step, uint64_t from); /* or NULL */
    void *argument;
} fb_why_options;

/*
 * The slice of `what`, "PATH@STEP" or "PATH:SLOT@STEP". Without a slot: the parameter after its
 * update, else the loss, the output, or the first event of that path; of several micro-batches the
 * first.
 *
 *   out  set on FB_OK; free with fb_why_free
 *
 * FB_E_USAGE      `what` is not of that form
 * FB_E_NOT_FOUND  no such event: err says what there is instead
 * FB_E_LIMIT      the step has more events than are held
 * as fb_trace_open and fb_trace_next; FB_E_MEMORY.
 *
 * Reads the trace from the step back to its start; at most 64 MiB of memory.
 */
FB_NODISCARD fb_status fb_why_find(fb_why **out, const char *path, const char *what,
                                   const fb_why_options *options, fb_error *err);

void fb_why_free(fb_why *why); /* NULL is fine */

/* The index of the event of the slice that a reference names, or SIZE_MAX: it lies before. */
size_t fb_why_input(const fb_why *why, const fb_ref *ref);

/* For a terminal of 80 columns, inputs `depth` levels deep; or as a JSON object with the events of
 * at most that depth. malloc'd; NULL when memory is out. */
char *fb_why_text(const fb_why *why, uint32_t depth);
char *fb_why_json(const fb_why *why, uint32_t depth);

#endif
