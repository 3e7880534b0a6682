/* SPDX-License-Identifier: Apache-2.0
 *
 * start.h - where a replay begins: at the beginning of the run, behind the checkpoint that it went
 * on from, or behind the newest checkpoint that is whole and early enough.
 */
#ifndef FB_REPLAY_START_H
#define FB_REPLAY_START_H

#include "firstbit/trace.h"
#include "replay/lockstep.h"
#include "replay/rebuild.h"
#include "replay/replay.h"

/* All borrowed. */
typedef struct fb__start {
    const fb_replay_options *options;
    fb_replay_report *report; /* gets the step it started from, and notes */
    fb_trace *trace;          /* read by the lockstep: left before the first event to compare */
    fb_trace *index;          /* the same file again, positioned anywhere */
    fb__rebuilt *rebuilt;
    fb__places *places; /* of the checkpoints that `trace` mentions */
    fb__lockstep *lockstep;
    uint64_t from; /* first step that is wanted; 0: from the beginning */
} fb__start;

/*
 * Puts the run and the reader at the place to start from. A checkpoint that is missing or changed
 * means an earlier one, and one note says so.
 *
 * FB_E_NOT_FOUND, FB_E_CHANGED   the run went on from a checkpoint that is gone, and its state
 *                                cannot be made again and proven
 * and as fb_run_begin, fb_run_resume, fb_run_step and the reader
 */
FB_NODISCARD fb_status fb__start_run(const fb__start *s, fb_error *err);

#endif
