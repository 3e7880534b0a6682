/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder.h - writes a trace: the observer that an engine reports to, and a small direct interface
 * for any C or C++ training program. Library firstbit_trace; format: docs/trace-format.md.
 *
 * A recorder never harms the program: after the first failure (a full disk, a lost folder) it stops
 * recording, keeps what it has, and every call returns at once; fb_recorder_close then says what
 * happened. A recorder that could not be opened is NULL, and every call takes it and does nothing.
 * Calls on one recorder may come from several threads.
 */
#ifndef FIRSTBIT_RECORDER_H
#define FIRSTBIT_RECORDER_H

#include "firstbit/event.h"
#include "firstbit/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fb_recorder fb_recorder;

typedef struct fb_recorder_options {
    size_t size;          /* sizeof(fb_recorder_options) */
    fb_level level;       /* FB_LEVEL_NONE: FB_LEVEL_OPS */
    const char *header;   /* JSON object to store in the header: "configuration", "files", "seed",
                           * ...; the recorder adds "environment". NULL: {} */
    bool no_stacks;       /* do not capture call stacks */
    uint64_t state_every; /* below level ops: steps between records of the class state; 0: 100 */
    uint64_t checkpoint_every; /* and it is recorded in each multiple of this too; 0: none */
    const char *ops_steps; /* steps recorded at `level`, the others at level draws (or `level` where
                            * that is less): numbers N, ranges N:M, every=K, separated by commas;
                            * NULL: all */
    uint64_t max_bytes;    /* of the file: recording stops before it gets larger; 0: no limit */
    const char *values_path; /* level values: a glob over "path", "path:slot" and "path.slot"; NULL:
                              * every tensor whose contents are at hand */
    const char *values_steps; /* level values: the steps, a list as in ops_steps; NULL: all */
    uint64_t values_bytes;    /* level values: contents kept in all; later ones are left out, the
                               * events    are not; 0: 1 GiB */
    unsigned threads; /* that hash and sketch a large tensor, the calling one included, where
                       * that turns out to be faster; the call returns when all are done. 0, 1:
                       * the calling one alone */
    fb_hash id;       /* of the trace, where its parts have to name it as their parent before it is
                       * there; zero: a random one */
} fb_recorder_options;

/* What a recorder has written so far. */
typedef struct fb_recorder_stats {
    uint64_t events;
    uint64_t bytes;           /* of the file */
    uint64_t sealed;          /* events that are in it; the others are in the tail yet */
    uint64_t values_left_out; /* tensors whose contents were wanted and went beyond values_bytes */
    bool stopped;             /* recording ended early; `error` says why */
    fb_error error;
} fb_recorder_stats;

/*
 * Creates the trace file `path` (under a temporary name until its header is whole; an existing file
 * of that name is replaced).
 *
 *   options  NULL: all defaults
 *
 * FB_E_USAGE   header is no JSON object, or a level that this version does not write
 * FB_E_IO, FB_E_NOT_FOUND, FB_E_FULL, FB_E_MEMORY
 */
FB_API FB_NODISCARD fb_status fb_recorder_open(fb_recorder **out, const char *path,
                                               const fb_recorder_options *options, fb_error *err);

/* Seals the trace as complete, frees the recorder. NULL is fine. Returns the failure that stopped
 * the recording, if one did; the trace up to there is sound. */
FB_API fb_status fb_recorder_close(fb_recorder *recorder, fb_error *err);

/* The observer that writes into this recorder; lives as long as the recorder. Its calls always
 * return FB_OK: recording never stops a run. */
FB_API const fb_observer *fb_recorder_observer(fb_recorder *recorder);

FB_API void fb_recorder_get_stats(const fb_recorder *recorder, fb_recorder_stats *out);

/* --- For programs that report by themselves ----------------------------------------------------
 *
 * Sites are found or made by name: the first call with new (phase, path, op, slot) makes one, and
 * the how-manieth call of that identity within a step is its occurrence. Names and data are
 * borrowed for the call. Each returns a reference that later events can name as an input.
 */

/* Sets the step of the events that follow: 0 before the first update, and that is where a recorder
 * starts; call it with t at the start of step t (t > the step before). Ends the step before. */
FB_API void fb_recorder_step(fb_recorder *recorder, uint64_t step);

/* Sets the micro-batch of the events that follow; FB_MICRO_NONE (the start) for none. */
FB_API void fb_recorder_micro(fb_recorder *recorder, int32_t micro);

/* A tensor: an op's output, a gradient. data: row-major, dense. kind is FB_KIND_PARAM instead of
 * FB_KIND_TENSOR for a parameter or optimizer state after its update. */
FB_API fb_ref fb_recorder_tensor(fb_recorder *recorder, fb_kind kind, fb_phase phase,
                                 const char *path, const char *op, const char *slot, fb_dtype dtype,
                                 uint32_t rank, const uint64_t *shape, const void *data,
                                 const fb_ref *inputs, uint32_t input_count);

/* The same for what most programs have: float32 [rows,columns], or [rows] where columns is 0,
 * without inputs. A parameter in the phases init and optimizer (slot "param"), a gradient in
 * backward (slot "grad"), else an output (slot "out"). */
FB_API fb_ref fb_recorder_f32(fb_recorder *recorder, fb_phase phase, const char *path,
                              const char *op, const float *data, size_t rows, size_t columns);

/* `count` random numbers were taken from `stream` at position `counter` by `consumer`. values: what
 * was drawn, of dtype, hashed (NULL where the counter determines it). */
FB_API fb_ref fb_recorder_draw(fb_recorder *recorder, fb_phase phase, const char *stream,
                               const char *algorithm, uint64_t key, uint64_t counter,
                               uint64_t count, const char *distribution, const char *consumer,
                               fb_dtype dtype, const void *values);

/* `count` samples of `dataset` made this batch. contents: of the batch, hashed (may be NULL). */
FB_API fb_ref fb_recorder_sample(fb_recorder *recorder, const char *dataset, fb_role role,
                                 uint64_t epoch, const uint64_t *indices, uint64_t count,
                                 const void *contents, size_t content_bytes);

/* A loss, learning rate, norm. dtype: FB_DTYPE_F32 or FB_DTYPE_F64. */
FB_API fb_ref fb_recorder_scalar(fb_recorder *recorder, fb_phase phase, const char *path,
                                 const char *slot, fb_dtype dtype, double value);

/* For recorders that know their sites, three calls that leave out what the others do by name:
 *
 * fb_recorder_site    the number of an equal site, a new one where there is none; site->occurrence
 *                     counts from the caller. UINT32_MAX where recording has stopped
 * fb_recorder_event   an event of such a site. Step and micro-batch are set here; where `hash` is
 *                     zero and `data` is not NULL, so are hash, sketch and the flag for NaN and
 *                     infinity, of a tensor's or parameter's contents as of a draw's `count` values
 *                     (data_bytes of them). Inputs name sites by these numbers
 * fb_recorder_wants   what the present step records: as fb_observer.wants */
FB_API uint32_t fb_recorder_site(fb_recorder *recorder, const fb_site *site);
FB_API void fb_recorder_event(fb_recorder *recorder, const fb_event *event);
FB_API uint32_t fb_recorder_wants(fb_recorder *recorder);

/* For a program, or a recorder above this one, that cannot report what comes next: ends the
 * recording here, as a failure of its own would. The trace is "full" and says why: `reason`, one
 * line of at most 511 bytes. fb_recorder_close returns FB_E_STOPPED. */
FB_API void fb_recorder_stop(fb_recorder *recorder, const char *reason);

/* A note of the program; never part of training state. */
FB_API void fb_recorder_mark(fb_recorder *recorder, const char *text);

#ifdef __cplusplus
}
#endif
#endif
