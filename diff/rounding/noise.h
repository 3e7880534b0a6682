/* SPDX-License-Identifier: Apache-2.0
 *
 * noise.h - how far rounding alone may carry a run: the run of a trace is made again a few times
 * with last-bit noise in every operation, and the largest distance of each tensor from the recorded
 * one is written down. Text for users: docs/diff.md, "Rounding or real".
 *
 * An envelope is a trace of its own: one scalar for each tensor and scalar of the run, of the same
 * identity, whose value is that distance (L2, absolute). Its header says `envelope`.
 */
#ifndef FB_DIFF_ROUNDING_NOISE_H
#define FB_DIFF_ROUNDING_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"
#include "firstbit/trace.h"

enum { FB_NOISE_REPEATS = 3, FB_NOISE_REPEATS_MAX = 32 };

typedef struct fb_noise_options {
    size_t size;      /* sizeof(fb_noise_options) */
    unsigned repeats; /* 0: FB_NOISE_REPEATS */
    uint64_t to;      /* last step; 0: all of them */
    const char *data; /* a further place for the data of replays, or NULL */
    void (*progress)(void *argument, const char *doing, uint64_t step, uint64_t to); /* or NULL */
    void *argument;
} fb_noise_options;

/*
 * Writes the envelope of the run of trace `path` to `to`.
 *
 *   options  NULL: all defaults
 *
 * FB_E_UNSUPPORTED  no run of the engine, or one that went on from a checkpoint
 * FB_E_USAGE        too many repeats
 * as fb_replay, fb_recorder_open, fb_run_step; a folder for the repeats is made in TMPDIR and goes
 * away again.
 */
FB_NODISCARD fb_status fb_noise(const char *to, const char *path, const fb_noise_options *options,
                                fb_error *err);

/* Records to `to`, at level sketch, the run of trace `path` made again through step `last` (0:
 * all), with noise of this seed (0: none). Statuses as fb_noise. */
FB_NODISCARD fb_status fb__record_again(const char *to, const char *path, uint64_t noise,
                                        uint64_t last, const fb_noise_options *options,
                                        fb_error *err);

/* Whether the header of a trace says that it is an envelope. */
bool fb__is_envelope(const fb_trace *trace);

#endif
