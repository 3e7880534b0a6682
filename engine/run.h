/* SPDX-License-Identifier: Apache-2.0
 *
 * run.h - a training run: create it from a configuration, then step. It reports everything that it
 * does to an observer and knows no trace. Events of each layer: docs/events.md.
 */
#ifndef FB_ENGINE_RUN_H
#define FB_ENGINE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/config/config.h"
#include "engine/data/data.h"
#include "engine/fault.h"
#include "engine/override/override.h"
#include "firstbit/event.h"
#include "firstbit/status.h"
#include "kernels/kernels.h"

typedef struct fb_run fb_run;

typedef struct fb_run_options {
    size_t size;               /* sizeof(fb_run_options) */
    unsigned threads;          /* 0: as many as there are processors */
    const fb_kernels *kernels; /* NULL: fb_kernels_best() */
    const char *folder;        /* second place to look for data and weights, or NULL */
    const fb_fault *faults;
    size_t fault_count;
    const char *checkpoint_folder; /* where checkpoints go (made when needed); NULL: none are
                                    * written, the events are reported all the same */
    uint64_t noise; /* seed of last-bit noise: each output, gradient and updated parameter is
                     * moved by up to one unit in the last place, as another legal order of
                     * its sums might; 0: none, every bit as contract 1 says */
    const fb_override_use *override; /* NULL: every formula is the engine's own */
    size_t memory_offset; /* bytes, rounded up to 16, by which all numbers lie further on in memory;
                           * changes no bit, which is what it is there to show */
} fb_run_options;

/* Where the first NaN or infinity appeared. */
typedef struct fb_nonfinite {
    bool found;
    uint64_t step;
    int32_t micro;
    fb_phase phase;
    fb_kind kind;
    const char *path, *op, *slot; /* live as long as the run */
} fb_nonfinite;

/*
 * Reads the data, builds the graph, allocates everything: a step allocates nothing.
 *
 *   config   borrowed, outlives the run
 *
 * FB_E_CONFIG, FB_E_SHAPE   names the layer's place in the configuration
 * FB_E_DATA, FB_E_NOT_FOUND, FB_E_IO, FB_E_MEMORY, FB_E_THREAD, FB_E_USAGE (a fault or an
 * override that names nothing)
 */
FB_NODISCARD fb_status fb_run_create(fb_run **out, const fb_config *config,
                                     const fb_run_options *options, fb_error *err);
void fb_run_destroy(fb_run *run); /* NULL is fine */

/* JSON object for a trace header: configuration (resolved), files (path, bytes, hash), seed,
 * contract, fingerprint, environment {threads, isa, kernels, fpenv}, version. Lives as long as the
 * run. */
const char *fb_run_header(const fb_run *run);

const fb_dataset_info *fb_run_data(const fb_run *run);

/* Sets who is told of everything that follows; borrowed; NULL: nobody (nothing is hashed). */
void fb_run_observe(fb_run *run, const fb_observer *observer);

/* Initializes the parameters: step 0. Call it, or fb_run_resume, once before the first step. */
FB_NODISCARD fb_status fb_run_begin(fb_run *run, fb_error *err);

/*
 * Continues from a checkpoint: the next step is the one after the checkpoint's.
 *
 * FB_E_CHANGED   the checkpoint belongs to another configuration; the line names a difference
 * and as fb_safetensors_open
 */
FB_NODISCARD fb_status fb_run_resume(fb_run *run, const char *checkpoint, fb_error *err);

/* Whether fb_run_resume would go on from this file; changes and reports nothing. *step: of the
 * checkpoint; *hash: content hash of the file. Statuses as there. */
FB_NODISCARD fb_status fb_run_check_checkpoint(fb_run *run, const char *checkpoint, uint64_t *step,
                                               fb_hash *hash, fb_error *err);

/*
 * One training step: data, forward, loss, backward, optimizer, schedule; then evaluation and
 * checkpoint when they are due. A NaN is not an error: see fb_run_first_nonfinite.
 *
 * FB_E_STOPPED or what the observer returned: the run cannot go on
 * FB_E_UNSUPPORTED   the floating-point environment was changed behind the run's back
 * FB_E_IO, FB_E_FULL, FB_E_NOT_FOUND, FB_E_MEMORY
 *                    a checkpoint could not be written: fb_run_current_step has moved, the step is
 *                    whole, and the run may go on
 */
FB_NODISCARD fb_status fb_run_step(fb_run *run, fb_error *err);

/* Reports the hash of all parameters, as the mark event that ends a run. Call once, after the last
 * step. */
FB_NODISCARD fb_status fb_run_end(fb_run *run, fb_error *err);

uint64_t fb_run_current_step(const fb_run *run);   /* last finished step, 0 after fb_run_begin */
float fb_run_loss(const fb_run *run);              /* of the last finished step */
float fb_run_eval_loss(const fb_run *run);         /* latest evaluation; NaN before the first */
double fb_run_eval_accuracy(const fb_run *run);    /* share of right argmax; NaN where none */
uint64_t fb_run_items_per_step(const fb_run *run); /* tokens, or samples */

/* Over all parameters in order of their creation: XXH3-128 of the concatenation of their tensor
 * hashes (16 bytes each, lo then hi). */
fb_hash fb_run_final_hash(const fb_run *run);

fb_nonfinite fb_run_first_nonfinite(const fb_run *run);

/* The mark event of fb_run_end: path "run", op "end", slot "final_hash", phase checkpoint, text the
 * 32 hex digits. */
#define FB_FINAL_HASH_MARK "final_hash"

/* A parameter or optimizer state as it is now; for tests and tools. */
typedef struct fb_run_tensor {
    const char *path; /* "h.0.attn.qkv.weight" */
    uint32_t rank;
    uint64_t shape[FB_RANK_MAX];
    float *data;       /* the run's own memory */
    const float *grad; /* clipped gradient of the last step */
    size_t count;
} fb_run_tensor;

size_t fb_run_parameter_count(const fb_run *run);
fb_run_tensor fb_run_parameter(fb_run *run, size_t index);

#endif
