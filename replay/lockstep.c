/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep.c - comparing a run with a trace while it happens.
 */
#include "replay/lockstep.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "replay/trace_header.h"

/* How far ahead in the trace a run's event is looked for, to tell an extra event from missing
 * ones: beyond the events of any step that people look at. */
enum { LOOK_AHEAD = 1 << 20 };

#define ALL_CLASSES ((UINT32_C(1) << FB_CLASS_COUNT) - 1)

static fb_status advance(fb__lockstep *l, fb_error *err)
{
    l->primed = true;
    return fb_trace_next(l->trace, &l->next, &l->next_number, err);
}

static fb_status prime(fb__lockstep *l, fb_error *err)
{
    return l->primed ? FB_OK : advance(l, err);
}

/* Classes that the trace recorded in a step. An unfinished step has no roots yet: its level
 * tells. */
static uint32_t classes_of_step(fb__lockstep *l, uint64_t step)
{
    fb_trace_step found;

    if (fb_trace_get_step(l->index, step, &found, NULL) == FB_OK)
        return found.classes;
    return fb_level_classes(fb_trace_get_info(l->index)->level);
}

static void know_mask(fb__lockstep *l, uint64_t step)
{
    if (l->mask_known && l->step == step)
        return;
    l->mask = classes_of_step(l, step);
    l->step = step;
    l->mask_known = true;
}

static bool is_captured_step(const fb__lockstep *l, uint64_t step)
{
    return l->capture != NULL && l->capture->step == step;
}

static bool is_made_step(const fb__lockstep *l, uint64_t step)
{
    return l->files != NULL && step >= l->files->from && step <= l->files->to;
}

static uint32_t wants(void *self, uint64_t step)
{
    fb__lockstep *l = self;

    know_mask(l, step);
    /* Classes alone: hashes say all that a sketch could, and contents are at hand in any case. */
    return is_captured_step(l, step) || is_made_step(l, step) ? ALL_CLASSES : l->mask;
}

static fb_status on_site(void *self, uint32_t number, const fb_site *site, fb_error *err)
{
    fb__lockstep *l = self;
    fb_site local = *site;

    for (size_t i = 0; i < l->renamed_count && local.dataset != NULL; i++)
        if (strcmp(local.dataset, l->renamed[i].now) == 0)
            local.dataset = l->renamed[i].recorded;
    return fb__known_sites_tell(&l->came, number, &local, err);
}

/* --- Differences ------------------------------------------------------------------------------ */

static fb_status stop(fb_error *err)
{
    return fb__fail(err, FB_E_STOPPED, FB_NO_OFFSET, "replay: stopped");
}

static void keep_stack(fb__lockstep *l, uint32_t site)
{
    const char *stack = l->no_stack ? NULL : fb_trace_stack(l->trace, site);

    if (stack != NULL && stack[0] != '\0')
        l->first->stack = strdup(stack);
}

void fb__lockstep_missing(fb__lockstep *l)
{
    fb_replay_difference *d = l->first;
    const fb_site *site = fb_trace_site(l->trace, l->next->site);

    l->diverged = true;
    d->what = FB_REPLAY_MISSING;
    d->number = l->next_number;
    fb_event_name_of(&d->name, site, l->next);
    fb_event_content_text(d->expected, sizeof d->expected, site, l->next);
    keep_stack(l, l->next->site);
}

static void report_extra(fb__lockstep *l, const fb_site *site, const fb_event *event)
{
    fb_replay_difference *d = l->first;

    l->diverged = true;
    d->what = FB_REPLAY_EXTRA;
    d->number = l->next_number;
    fb_event_name_of(&d->name, site, event);
    fb_event_content_text(d->came, sizeof d->came, site, event);
}

/* Another identity came than the trace has next: is the run's event further on in this step of the
 * trace? The search uses up the reader, which nobody needs any more. */
static fb_status report_identity(fb__lockstep *l, const fb_site *site, const fb_event *event,
                                 fb_hash id, fb_error *err)
{
    fb_hash next_id, hash;
    fb_status status = FB_OK;
    bool ahead = false;

    /* What the trace has next is lost by reading on: take it down as missing first. */
    fb__lockstep_missing(l);
    for (size_t i = 0; i < LOOK_AHEAD && !ahead; i++) {
        status = advance(l, err);
        if (status != FB_OK || l->next == NULL || l->next->step > event->step)
            break;
        status = fb__known_sites_hash(&next_id, &hash, &l->expected, l->next, err);
        if (status != FB_OK)
            break;
        ahead = fb_hash_equal(next_id, id);
    }
    if (status != FB_OK)
        return status;
    if (!ahead) {
        const uint64_t number = l->first->number;

        free(l->first->stack);
        *l->first = (fb_replay_difference){0};
        report_extra(l, site, event);
        l->first->number = number;
    }
    return stop(err);
}

static void report_content(fb__lockstep *l, const fb_site *came, const fb_event *event)
{
    fb_replay_difference *d = l->first;
    const fb_site *expected = fb_trace_site(l->trace, l->next->site);

    l->diverged = true;
    d->number = l->next_number;
    fb_event_name_of(&d->name, expected, l->next);
    fb_event_content_text(d->expected, sizeof d->expected, expected, l->next);
    fb_event_content_text(d->came, sizeof d->came, came, event);
    keep_stack(l, l->next->site);
    if (expected->kind == FB_KIND_SCALAR && came->kind == FB_KIND_SCALAR) {
        d->is_scalar = true;
        d->dtype = expected->dtype;
        d->value_a = l->next->value;
        d->value_b = event->value;
    }
}

/* Whether what differs is the list of inputs alone. */
static bool same_content(const fb__lockstep *l, const fb_site *came, const fb_event *event)
{
    const fb_hash none = {0, 0};
    fb_event a = *l->next, b = *event;

    a.input_count = 0;
    b.input_count = 0;
    return fb_hash_equal(fb_event_hash(none, fb_trace_site(l->trace, l->next->site), &a, &none),
                         fb_event_hash(none, came, &b, &none));
}

/* --- Events ----------------------------------------------------------------------------------- */

/* Compares with the next event of the trace and consumes it when it is equal. */
static fb_status compare(fb__lockstep *l, const fb_site *site, const fb_event *event, bool *checked,
                         fb_error *err)
{
    fb_hash id, hash, next_id, next_hash;
    fb_status status = prime(l, err);

    *checked = false;
    if (status != FB_OK)
        return status;
    if (l->next == NULL) {
        if (!l->may_end) {
            report_extra(l, site, event);
            return stop(err);
        }
        l->reached_end = true;
        return stop(err);
    }
    status = fb__known_sites_hash(&id, &hash, &l->came, event, err);
    if (status == FB_OK)
        status = fb__known_sites_hash(&next_id, &next_hash, &l->expected, l->next, err);
    if (status != FB_OK)
        return status;
    if (fb_hash_equal(hash, next_hash)) {
        l->checked++;
        *checked = true;
        return advance(l, err);
    }
    if (!fb_hash_equal(id, next_id))
        return report_identity(l, site, event, id, err);
    l->first->what = same_content(l, site, event) ? FB_REPLAY_INPUTS : FB_REPLAY_CONTENT;
    report_content(l, site, event);
    return stop(err);
}

/* The captured event: keeps its tensor and what the trace says about it, and ends the replay. */
static fb_status take(fb__lockstep *l, const fb_site *site, const fb_event *event, bool recorded,
                      fb_error *err)
{
    fb_replay_tensor *t = l->tensor;

    if (recorded) {
        fb_hash id, hash, next_id, next_hash;
        fb_status status = prime(l, err);

        if (status == FB_OK)
            status = fb__known_sites_hash(&id, &hash, &l->came, event, err);
        if (status == FB_OK && l->next != NULL)
            status = fb__known_sites_hash(&next_id, &next_hash, &l->expected, l->next, err);
        if (status != FB_OK)
            return status;
        t->in_trace = l->next != NULL && fb_hash_equal(next_id, id);
        t->matches = t->in_trace && fb_hash_equal(next_hash, hash);
        if (t->in_trace)
            t->recorded = l->next->hash;
    }
    t->found = true;
    t->dtype = site->dtype;
    t->rank = site->rank;
    memcpy(t->shape, site->shape, sizeof t->shape);
    t->hash = event->hash;
    if (event->data != NULL && event->data_bytes > 0) {
        t->data = malloc(event->data_bytes);
        if (t->data == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", site->path);
        memcpy(t->data, event->data, event->data_bytes);
        t->bytes = event->data_bytes;
    }
    l->captured = true;
    return stop(err);
}

static fb_status on_event(void *self, const fb_event *event, fb_error *err)
{
    fb__lockstep *l = self;
    const fb__known_site *known;
    bool recorded, checked = false;
    fb_status status;

    if (l->silent)
        return FB_OK;
    status = fb__known_site_get(&known, &l->came, event->site, err);
    if (status != FB_OK)
        return status;
    know_mask(l, event->step);
    recorded = (l->mask & 1u << known->class_) != 0;
    if (is_captured_step(l, event->step) &&
        fb_hash_equal(fb_identity_hash(known->hash, event->step, event->micro), l->capture_id))
        return take(l, known->site, event, recorded, err);
    if (recorded)
        status = compare(l, known->site, event, &checked, err);
    if (status == FB_OK && l->files != NULL && fb__tensor_files_want(l->files, known->site, event))
        status = fb__tensor_files_write(l->files, known->site, event, checked, err);
    return status;
}

/* --- Start and end ---------------------------------------------------------------------------- */

void fb__lockstep_start(fb__lockstep *l, fb_trace *trace, fb_trace *index,
                        fb_replay_difference *first)
{
    *l = (fb__lockstep){.trace = trace, .index = index, .first = first};
    l->observer = (fb_observer){.size = sizeof l->observer,
                                .self = l,
                                .wants = wants,
                                .on_site = on_site,
                                .on_event = on_event};
    l->expected.trace = trace;
    l->may_end = fb__may_end_early(fb_trace_get_info(trace));
}

void fb__lockstep_end(fb__lockstep *l)
{
    fb__known_sites_free(&l->expected);
    fb__known_sites_free(&l->came);
}

fb_status fb__lockstep_pending(bool *out, fb__lockstep *l, uint64_t step, fb_error *err)
{
    const fb_status status = prime(l, err);

    *out = status == FB_OK && l->next != NULL && l->next->step <= step;
    return status;
}
