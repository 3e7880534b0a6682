/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_judging.h - what the parts of a comparison by the rounding rules share.
 */
#ifndef FB_DIFF_ROUNDING_ROUNDING_JUDGING_H
#define FB_DIFF_ROUNDING_ROUNDING_JUDGING_H

#include "base/error.h"
#include "base/temporary.h"
#include "diff/rounding/rounding.h"

enum {
    FB__ENVELOPES_MAX = 16,
    FB__PAIRING_BUDGET = 4 << 20, /* comparisons of contents for one pairing: a second at most */
};

/* What the steps so far have left of a parameter, by start node of a. */
typedef struct fb__param_before {
    double linear[FB_SKETCH_BUCKETS]; /* sketch of its value */
    double norm, apart;               /* of its value, and between the sides; L2 */
    double gradient, largest; /* of all its gradients: largest difference, relative and L2 */
} fb__param_before;

typedef struct fb__judging {
    fb_diff_report *report;
    const fb_diff_options *options;
    const fb__headers *headers;
    fb_trace *a, *b;         /* with sketches, where they could be had */
    fb_trace *own_a, *own_b; /* those of them that were made here */
    fb__map *map;
    fb__envelope envelopes[FB__ENVELOPES_MAX];
    size_t envelope_count;
    uint64_t measured_to;                   /* last step with an envelope */
    char folder[FB_TEMPORARY_FOLDER_BYTES]; /* "": none was made */
    fb__table start_a, start_b;
    fb__pairing start; /* of the two */
    double *carried;   /* by start node of a: the ratio of its parameter after the step before */
    fb__param_before *before;
    uint32_t beyond;       /* pairs beyond the limit that no operation could be blamed for */
    uint64_t tainted;      /* first step with random numbers that only one side has; 0: none */
    uint64_t useless_from; /* first step in which rounding explains anything; 0: none */
    bool by_name, done;
} fb__judging;

static inline fb_status fb__judging_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging differences: out of memory");
}

/* rounding_when.c */
bool fb__is_engine_run(const fb__run_header *header);
/* rounding_envelope.c */
void fb__judging_file(char out[560], const fb__judging *j, const char *name);
/* Whether a run made again is the recorded one: its chains of all state are equal at a step. */
bool fb__is_same_run(fb_trace *made, fb_trace *recorded, uint64_t step);
/* A run of the engine that was recorded without sketches is made again with them. */
FB_NODISCARD fb_status fb__add_sketches(fb__judging *j, bool of_b, uint64_t last, fb_error *err);
FB_NODISCARD fb_status fb__find_envelopes(fb__judging *j, uint64_t first, uint64_t last,
                                          fb_error *err);
FB_NODISCARD fb_status fb__allow_all(double *allowed, fb__judging *j, const fb__pairing *p,
                                     uint64_t step, fb_error *err);
/* rounding_tell.c */
void fb__name_node(fb_event_name *out, const fb__table *t, uint32_t node);
/* Of the first step, which stands for all: what has a partner. */
FB_NODISCARD fb_status fb__tell_pairing(fb__judging *j, const fb__pairing *p, fb_error *err);
void fb__tell_largest(fb__judging *j, const fb__pairing *p, const fb__step_judgement *s);
/* How far the parameters are apart after this step, all of them as one vector. */
void fb__tell_size(fb__judging *j, const fb__pairing *p, const fb__step_judgement *s);
/* What each parameter is when the next step begins, and how far it is apart. */
void fb__keep_params(fb__judging *j, const fb__pairing *p, const fb__step_judgement *s);
/* rounding_handed.c: what rounding may do where nothing was measured, by node of a: what operations
 * hand on of the differences that their inputs have. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__hand_on(double *allowed, fb__judging *j, const fb__pairing *p,
                                   fb_error *err);

#endif
