/* SPDX-License-Identifier: Apache-2.0
 *
 * resume.c - comparing what a checkpoint brought with what the other run had.
 */
#include "diff/align/resume.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/intern.h"
#include "diff/read/step_events.h"

uint64_t fb__resume_point(const fb__headers *headers)
{
    const fb__run_header *a = &headers->a, *b = &headers->b;
    const uint64_t after_a = a->has_resume ? a->resume_step + 1 : 0;
    const uint64_t after_b = b->has_resume ? b->resume_step + 1 : 0;

    if (after_a == after_b)
        return 0;
    return after_a > after_b ? after_a : after_b;
}

/* Path and slot of a tensor of training state, as one string of bytes. */
typedef struct state_key {
    char text[2 * FB_NAME_MAX + 2];
    size_t bytes;
} state_key;

static void make_key(state_key *out, const fb_site *site)
{
    const char *path = site->path == NULL ? "" : site->path;
    const char *slot = site->slot == NULL ? "" : site->slot;
    const size_t n = strnlen(path, FB_NAME_MAX), m = strnlen(slot, FB_NAME_MAX);

    memcpy(out->text, path, n);
    out->text[n] = '\0';
    memcpy(out->text + n + 1, slot, m);
    out->bytes = n + 1 + m;
}

/* Hashes of the state that a side has at a step, by key. */
typedef struct state_table {
    fb_intern *keys;
    fb_hash *hashes;
    uint64_t *numbers;
    size_t capacity;
} state_table;

static void free_table(state_table *t)
{
    fb_intern_destroy(t->keys);
    free(t->hashes);
    free(t->numbers);
}

static fb_status put(state_table *t, const state_key *key, fb_hash hash, uint64_t number,
                     fb_error *err)
{
    const uint32_t at = fb_intern_put(t->keys, key->text, key->bytes, NULL);

    if (at != FB_INTERN_NONE && at >= t->capacity) {
        const size_t capacity = 2 * (size_t)at + 64;
        fb_hash *hashes = realloc(t->hashes, capacity * sizeof *hashes);
        uint64_t *numbers;

        if (hashes != NULL)
            t->hashes = hashes;
        numbers = realloc(t->numbers, capacity * sizeof *numbers);
        if (numbers != NULL)
            t->numbers = numbers;
        t->capacity = hashes != NULL && numbers != NULL ? capacity : t->capacity;
    }
    if (at == FB_INTERN_NONE || at >= t->capacity)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing a checkpoint: out of memory");
    t->hashes[at] = hash;
    t->numbers[at] = number;
    return FB_OK;
}

static bool is_loaded(const fb_site *site)
{
    return site->phase == FB_PHASE_INIT;
}

static bool is_updated(const fb_site *site)
{
    return site->phase == FB_PHASE_OPTIMIZER;
}

static bool is_end(const fb_site *site)
{
    return fb__is_learned(site, FB__END);
}

/* Calls `each` for every parameter and state of a step whose site is `wanted`. */
static fb_status for_each_state(fb_trace *trace, uint64_t step, bool (*wanted)(const fb_site *),
                                fb_status (*each)(void *, const fb_site *, const fb_event *,
                                                  uint64_t, fb_error *),
                                void *argument, fb_error *err)
{
    fb_status status = fb_trace_seek(trace, step, err);

    while (status == FB_OK) {
        const fb_event *event;
        const fb_site *site;
        uint64_t number;

        status = fb_trace_next(trace, &event, &number, err);
        if (status != FB_OK || event == NULL || event->step > step)
            break;
        site = fb_trace_site(trace, event->site);
        if (site != NULL && site->kind == FB_KIND_PARAM && wanted(site) &&
            !fb_hash_is_zero(event->hash) && (event->flags & FB_EVENT_UNDEFINED) == 0)
            status = each(argument, site, event, number, err);
    }
    return status;
}

static fb_status add(void *argument, const fb_site *site, const fb_event *event, uint64_t number,
                     fb_error *err)
{
    state_key key;

    make_key(&key, site);
    return put(argument, &key, event->hash, number, err);
}

typedef struct check {
    const state_table *known;
    fb__resume_difference *out;
} check;

/* Compares with the resumed run's, which are known. */
static fb_status check_whole(void *argument, const fb_site *site, const fb_event *event,
                             uint64_t number, fb_error *err)
{
    const check *c = argument;
    fb__resume_difference *d = c->out;
    state_key key;
    uint32_t at;

    (void)err;
    make_key(&key, site);
    at = fb_intern_find(c->known->keys, key.text, key.bytes);
    if (d->found || at == FB_INTERN_NONE || fb_hash_equal(c->known->hashes[at], event->hash))
        return FB_OK;
    d->found = true;
    d->dtype = site->dtype;
    fb_event_name_of(&d->name, site, event);
    d->number_a = d->resumed_is_b ? number : c->known->numbers[at];
    d->number_b = d->resumed_is_b ? c->known->numbers[at] : number;
    return FB_OK;
}

/* What one trace, of a resumed run, has of these sites in one step, beside what the other has. */
typedef struct place {
    fb_trace *trace;
    uint64_t step;
    bool (*wanted)(const fb_site *);
} place;

static fb_status compare(fb__resume_difference *out, const place *resumed, const place *whole,
                         fb_error *err)
{
    state_table known = {.keys = fb_intern_create()};
    check c = {.known = &known, .out = out};
    fb_status status;

    if (known.keys == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing a checkpoint: out of memory");
    status = for_each_state(resumed->trace, resumed->step, resumed->wanted, add, &known, err);
    if (status == FB_OK)
        status = for_each_state(whole->trace, whole->step, whole->wanted, check_whole, &c, err);
    free_table(&known);
    return status;
}

fb_status fb__resume_compare(fb__resume_difference *out, fb_trace *a, fb_trace *b,
                             const fb__headers *headers, fb_error *err)
{
    const uint64_t point = fb__resume_point(headers);

    *out = (fb__resume_difference){.found = false};
    if (point == 0)
        return FB_OK;
    out->resumed_is_b = headers->b.has_resume && headers->b.resume_step + 1 == point;
    return compare(out, &(place){out->resumed_is_b ? b : a, point - 1, is_loaded},
                   &(place){out->resumed_is_b ? a : b, point - 1, is_updated}, err);
}

fb_status fb__ends_compare(fb__resume_difference *out, fb_trace *a, fb_trace *b, bool resumed_is_b,
                           fb_error *err)
{
    const fb_trace_info *ia = fb_trace_get_info(a), *ib = fb_trace_get_info(b);
    const place end_a = {a, ia->last_step, is_end}, end_b = {b, ib->last_step, is_end};

    *out = (fb__resume_difference){.resumed_is_b = resumed_is_b};
    if (ia->status != FB_TRACE_COMPLETE || ib->status != FB_TRACE_COMPLETE)
        return FB_OK;
    return compare(out, resumed_is_b ? &end_b : &end_a, resumed_is_b ? &end_a : &end_b, err);
}
