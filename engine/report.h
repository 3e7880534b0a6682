/* SPDX-License-Identifier: Apache-2.0
 *
 * report.h - tells the observer: sites made while the run is built, events sent while it runs.
 *
 * A site's inputs are rules, written once ("the output of op 7 of this micro-batch, the parameter
 * as it is now"); an event resolves them to references. Nothing here allocates once the run is
 * built. A failure of the observer is kept: later events do nothing and the run stops at its next
 * check, so the code that computes is not full of status checks. Event list: docs/events.md.
 */
#ifndef FB_ENGINE_REPORT_H
#define FB_ENGINE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/watch.h"
#include "engine/run.h"
#include "firstbit/event.h"

/* How an input's site becomes a reference, seen from the event that names it. */
typedef enum fb__input_rule {
    FB__INPUT_MICRO,    /* same step, same micro-batch */
    FB__INPUT_STEP,     /* same step, no micro-batch */
    FB__INPUT_MICROS,   /* same step, every micro-batch of it */
    FB__INPUT_PARAM,    /* the latest update; before the first one, `first` of step 0 */
    FB__INPUT_PREVIOUS, /* optimizer state: the latest update; none before the first one */
    FB__INPUT_EPOCH,    /* the step in which this epoch began */
} fb__input_rule;

typedef struct fb__input {
    fb__input_rule rule;
    uint32_t site;
    uint32_t first; /* FB__INPUT_PARAM */
} fb__input;

typedef struct fb__site {
    fb_site site;
    uint32_t class_bit;
    fb__input *inputs;
    uint32_t input_count;
    bool late;         /* introduced with its first event, not with all others */
    uint32_t number;   /* as the observer knows it, UINT32_MAX before */
    fb_sketch *sketch; /* of the latest event, where one was ever asked for; NULL before */
    fb_hash *blocks;
} fb__site;

typedef struct fb__report {
    const fb_observer *observer;
    fb_pool *pool; /* shares out the hashing */

    fb__site *sites;
    size_t site_count, site_capacity;
    uint32_t announced;
    bool out_of_memory; /* while building */

    fb_ref *references; /* room for the inputs of one event */
    size_t reference_capacity;
    void *sketches; /* the memory behind the sites' sketches and block hashes */

    fb_watch *watches[FB_POOL_WATCHES_MAX]; /* made when an observer first wants a tensor */
    size_t watched;                         /* of them in use */
    bool touched; /* something changes tensors between their kernel and their report: no watches */

    uint64_t step;
    uint32_t classes;    /* that the observer wants in this step */
    uint64_t updated;    /* step of the latest parameter update */
    uint64_t epoch_step; /* step in which this epoch began */
    uint32_t micros;     /* micro-batches of a step */
    uint32_t eval_micros;

    fb_status status; /* of the observer */
    fb_error error;
    fb_nonfinite nonfinite;
} fb__report;

/* --- Building --------------------------------------------------------------------------------- */

/* Adds a site (strings borrowed, they outlive the report); size is filled in. Returns its index. */
uint32_t fb__report_site(fb__report *report, fb_site site);
/* The same for a site that the observer learns of only when it is used. */
uint32_t fb__report_late_site(fb__report *report, fb_site site);
void fb__report_input(fb__report *report, uint32_t site, fb__input_rule rule, uint32_t input);
void fb__report_param_input(fb__report *report, uint32_t site, uint32_t update, uint32_t init);
/* After the last site. FB_E_MEMORY when any of the above ran out; FB_E_LIMIT: too many inputs. */
FB_NODISCARD fb_status fb__report_seal(fb__report *report, fb_error *err);
void fb__report_free(fb__report *report);

/* --- Reporting -------------------------------------------------------------------------------- */

void fb__report_observe(fb__report *report, const fb_observer *observer);
/* Asks what is wanted in this step, introduces the sites when that is still to be done. */
void fb__report_begin_step(fb__report *report, uint64_t step);
void fb__report_end_step(fb__report *report);

static inline bool fb__report_wants(const fb__report *report, uint32_t site)
{
    return report->observer != NULL && report->status == FB_OK &&
           (report->classes & report->sites[site].class_bit) != 0;
}

/* Sends an event whose kind's fields are set; step, size, site and inputs are filled in here. Check
 * fb__report_wants first where filling the fields costs something. */
void fb__report_event(fb__report *report, uint32_t site, int32_t micro, fb_event event);

/* What an event said of a tensor's contents; a zero hash: it was not wanted. */
typedef struct fb__contents {
    fb_hash hash;
    bool nonfinite;
    const fb_sketch *sketch; /* where asked for: the site's, until its next event */
    const fb_hash *blocks;
    uint64_t block_count;
} fb__contents;

/* The kernels that run next write the whole tensor of this site, and its report follows before
 * anything else does: its hash is made while they write (base/watch.h), its sketch is not. Only a
 * matter of speed. */
void fb__report_expect(fb__report *report, uint32_t site, const void *data);
/* No longer so, for any tensor. */
void fb__report_expect_none(fb__report *report);

/* A tensor or parameter as it is now, hashed and sketched if wanted. known: what a former event
 * said of the same contents, so that they are not hashed again; NULL: nothing. */
fb__contents fb__report_tensor(fb__report *report, uint32_t site, int32_t micro, const void *data,
                               uint64_t storage, uint32_t version, const fb__contents *known);

/* Also notices a first NaN or infinity when nobody observes. */
void fb__report_scalar(fb__report *report, uint32_t site, int32_t micro, double value);

#endif
