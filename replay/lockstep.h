/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep.h - the observer that walks a trace while a run happens, event by event, and stops the
 * run at the first difference, at a captured event, or at the end of the trace.
 */
#ifndef FB_REPLAY_LOCKSTEP_H
#define FB_REPLAY_LOCKSTEP_H

#include <stdbool.h>

#include "firstbit/event.h"
#include "firstbit/trace.h"
#include "replay/known_sites.h"
#include "replay/replay.h"
#include "replay/tensor_files.h"

/* A dataset that the run calls by another name than the trace, because its file was found under
 * that name. */
typedef struct fb__renamed {
    const char *now, *recorded;
} fb__renamed;

typedef struct fb__lockstep {
    fb_observer observer; /* give this to the run */

    fb_trace *trace;          /* read in order; borrowed */
    fb_trace *index;          /* the same file again, for fb_trace_get_step; borrowed */
    fb__known_sites expected; /* sites of the trace */
    fb__known_sites came;     /* sites of the run */
    const fb__renamed *renamed;
    size_t renamed_count;

    const fb_event *next; /* next event of the trace, NULL at its end */
    uint64_t next_number;
    bool primed;  /* next was read */
    bool may_end; /* its end may not be the run's */
    bool no_stack;
    bool silent;   /* the run restores a state: its events are not compared */
    uint32_t mask; /* classes that the trace recorded in this step */
    uint64_t step; /* that mask belongs to */
    bool mask_known;

    uint64_t checked;
    bool reached_end; /* of a torn trace */
    bool diverged;
    bool captured;
    fb_replay_difference *first;

    const fb_event_name *capture;
    fb_hash capture_id;
    fb_replay_tensor *tensor;
    fb__tensor_files *files; /* NULL: make nothing */
} fb__lockstep;

/* Sets up the observer; `first` is filled when the run diverges. */
void fb__lockstep_start(fb__lockstep *l, fb_trace *trace, fb_trace *index,
                        fb_replay_difference *first);
void fb__lockstep_end(fb__lockstep *l);

/* Whether the trace has a further event up to and including `step`; then the run has left it out
 * (or has yet to end). FB_E_CORRUPT. */
FB_NODISCARD fb_status fb__lockstep_pending(bool *out, fb__lockstep *l, uint64_t step,
                                            fb_error *err);

/* Reports the pending event as one that the run did not make. */
void fb__lockstep_missing(fb__lockstep *l);

#endif
