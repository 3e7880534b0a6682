/* SPDX-License-Identifier: Apache-2.0
 *
 * replicas.h - the ranks of one run beside each other: a parameter that all have alike must stay
 * so. docs/diff.md, "Replicas".
 */
#ifndef FB_DIFF_REPLICAS_H
#define FB_DIFF_REPLICAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "diff/diff.h"
#include "firstbit/event.h"
#include "firstbit/status.h"

typedef struct fb_replicas {
    size_t ranks;           /* beside the first: those whose traces are linked; 0: nothing to say */
    uint64_t replicated;    /* parameters that were alike in some step; of the rank compared last */
    uint64_t own;           /* and that never were: of a part of the model, or never synchronized */
    uint64_t equal_through; /* the last step in which they were compared and alike */
    bool parted;            /* the earliest of all ranks: */
    char role[64];          /* "rank1" */
    uint64_t step;
    char path[FB_NAME_MAX + 1]; /* the first parameter of that step, in the order of the trace */
} fb_replicas;

/* Compares the parameters of the run at `path` in every step that has them. Where the roots of all
 * state are equal nothing is read. Errors as fb_trace_open and fb_trace_next; a rank that ends
 * early is compared as far as it goes. */
FB_NODISCARD fb_status fb_replicas_find(fb_replicas *out, const char *path, fb_error *err);

/* Adds a line to the notes of a comparison where the ranks of one run, a or b, part. Not of runs
 * with a trace of more than 32 MiB, which a comparison does not read in full. As above. */
FB_NODISCARD fb_status fb__note_replicas(fb_diff_list *notes, const char *path, const char *which,
                                         fb_error *err);

/* "rank1 parts from rank0 in step 2: fc.weight"; "1 rank beside rank0, 4 parameters alike through
 * step 7"; "" where there are no ranks. Returns out. */
char *fb_replicas_text(char *out, size_t size, const fb_replicas *replicas);

#endif
