/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.h - runs a recorded run of the engine again, in lockstep with its trace, and stops at the
 * first event that differs; makes any tensor of it again. Text for users: docs/replay.md.
 *
 * Everything that decides a bit comes from the trace's header (configuration, kernel table) and
 * from data that is found by recorded path and accepted by content hash. Threads and instruction
 * set are free.
 */
#ifndef FB_REPLAY_REPLAY_H
#define FB_REPLAY_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/config/config.h"
#include "engine/fault.h"
#include "engine/override/override.h"
#include "firstbit/event.h"
#include "firstbit/status.h"
#include "firstbit/trace.h"
#include "kernels/kernels.h"
#include "replay/event_name.h"

/* How an event of the trace and the replay disagree. */
typedef enum fb_replay_what {
    FB_REPLAY_CONTENT, /* the same event, other contents */
    FB_REPLAY_INPUTS,  /* the same event and contents, made from other events */
    FB_REPLAY_MISSING, /* the trace has an event that the replay does not make */
    FB_REPLAY_EXTRA    /* the replay makes an event that the trace does not have */
} fb_replay_what;

typedef struct fb_replay_difference {
    fb_replay_what what;
    fb_event_name name; /* the event: as expected, or (EXTRA) as it came */
    uint64_t number;    /* where it stands in the trace, from 0 */
    char expected[256]; /* its contents in one line, by the trace; "" for EXTRA */
    char came[256];     /* and by the replay; "" for MISSING */
    bool is_scalar;     /* then: */
    fb_dtype dtype;     /* f32 or f64 */
    double value_a;     /* in the trace */
    double value_b;     /* in the replay */
    char *stack;        /* recorded call stack, innermost first, or NULL */
} fb_replay_difference;

/* One event of a replay, usually a tensor, and what the trace says about it. */
typedef struct fb_replay_tensor {
    bool found; /* the replay came to that event */
    fb_dtype dtype;
    uint32_t rank;
    uint64_t shape[FB_RANK_MAX];
    void *data; /* owned: fb_replay_tensor_free */
    size_t bytes;
    fb_hash hash;     /* of data */
    bool in_trace;    /* the trace has that event next */
    bool matches;     /* and says the same of it: contents and inputs */
    fb_hash recorded; /* its hash there */
} fb_replay_tensor;

typedef struct fb_replay_options {
    size_t size;               /* sizeof(fb_replay_options) */
    unsigned threads;          /* 0: as many as there are processors (contract 0: as recorded) */
    const fb_kernels *kernels; /* NULL: the fastest here; openblas where that was recorded */
    bool as_recorded;          /* recorded threads and instruction set, where this machine has it */
    const char *data;          /* a further place for data: a folder or a file; NULL: none */
    size_t memory_offset;      /* as in fb_run_options; changes no bit */

    bool has_from, has_to;
    uint64_t from; /* start from the newest checkpoint at or before from - 1 */
    uint64_t to;   /* last step, inclusive */

    const char *make;        /* glob over "path", "path:slot", "path.slot"; NULL: make nothing */
    const char *make_output; /* a file that ends in .safetensors, or a folder of .npy files */

    /* The run is that of the given trace; what it is compared with may be another one, to try what
     * turns one run into the other: a planted fault, another formula, a changed key of the
     * configuration. */
    const char *against; /* NULL: the trace itself */
    const fb_fault *faults;
    size_t fault_count;
    const fb_override_use *override; /* NULL: none */
    const fb_config_set *sets;
    size_t set_count;
    uint64_t noise; /* seed of last-bit noise, as in fb_run_options; 0: none */

    /* Stops at this event, compared or not, and keeps its tensor. A difference there is not
     * reported as divergence: compare captured->hash with captured->recorded. */
    const fb_event_name *capture;
    fb_replay_tensor *captured;

    bool no_stack; /* a difference is reported without its call stack, which takes time to spell */

    void (*progress)(void *argument, uint64_t step, uint64_t to); /* after each step; NULL: none */
    void *argument;
} fb_replay_options;

typedef struct fb_replay_report {
    bool diverged;
    fb_replay_difference first; /* where it diverged */
    uint64_t events_checked;
    uint64_t start;   /* step whose state the replay started from: 0, or a checkpoint's */
    uint64_t end;     /* last step that was replayed whole */
    bool at_end;      /* the end of the trace was reached */
    bool torn;        /* the trace ends early: it is torn, or its disk was full */
    bool ended_early; /* that end is the end of a torn trace */
    bool has_final_hash;
    fb_hash final_hash; /* of all parameters after step `end` */
    uint64_t made;      /* tensors written */
    uint64_t unchecked; /* of these: the trace has no hash to check them with */
    char **notes;       /* what a reader of the result should know; one line each */
    size_t note_count;
} fb_replay_report;

/*
 * Replays the run of the trace `path`.
 *
 *   options  NULL: all of it, from the beginning
 *   out      set on FB_OK, diverged or not; free with fb_replay_report_free
 *
 * FB_E_UNSUPPORTED   no run of the engine; another contract; an instruction set or library is
 *                    missing
 * FB_E_CHANGED       data or weights differ from what was recorded
 * FB_E_NOT_FOUND     data, weights, or the trace itself
 * FB_E_USAGE         steps that the trace does not have
 * and as fb_trace_open, fb_trace_next, fb_run_create, fb_run_step, fb_npy_write
 */
FB_NODISCARD fb_status fb_replay(fb_replay_report *out, const char *path,
                                 const fb_replay_options *options, fb_error *err);

void fb_replay_report_free(fb_replay_report *report); /* all zeros are fine */
void fb_replay_tensor_free(fb_replay_tensor *tensor);

/* The report as a JSON object (keys: docs/replay.md) or as lines of text for a terminal. malloc'd;
 * NULL when memory is out. `name` is how the trace is called. */
char *fb_replay_report_json(const fb_replay_report *report);
char *fb_replay_report_text(const fb_replay_report *report, const char *name);

#endif
