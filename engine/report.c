/* SPDX-License-Identifier: Apache-2.0
 *
 * report.c - sites, references and events on their way to the observer.
 */
#include "engine/report.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/sketch.h"

/* --- Building --------------------------------------------------------------------------------- */

uint32_t fb__report_site(fb__report *report, fb_site site)
{
    fb__site *entry;

    if (report->site_count == report->site_capacity) {
        const size_t capacity = report->site_capacity * 2 + 64;
        fb__site *larger = realloc(report->sites, capacity * sizeof *larger);

        if (larger == NULL) {
            report->out_of_memory = true;
            return 0;
        }
        report->sites = larger;
        report->site_capacity = capacity;
    }
    site.size = sizeof site;
    entry = &report->sites[report->site_count];
    *entry = (fb__site){.site = site, .number = UINT32_MAX};
    entry->class_bit = 1u << fb_site_class(&site);
    return (uint32_t)report->site_count++;
}

uint32_t fb__report_late_site(fb__report *report, fb_site site)
{
    const uint32_t index = fb__report_site(report, site);

    if (!report->out_of_memory)
        report->sites[index].late = true;
    return index;
}

static void add_input(fb__report *report, uint32_t site, fb__input input)
{
    fb__site *entry;
    fb__input *larger;

    if (report->out_of_memory)
        return;
    entry = &report->sites[site];
    if ((entry->input_count & (entry->input_count - 1)) == 0) { /* full at 0, 1, 2, 4, 8, ... */
        const size_t capacity = entry->input_count == 0 ? 1 : entry->input_count * 2u;

        larger = realloc(entry->inputs, capacity * sizeof *larger);
        if (larger == NULL) {
            report->out_of_memory = true;
            return;
        }
        entry->inputs = larger;
    }
    entry->inputs[entry->input_count++] = input;
}

void fb__report_input(fb__report *report, uint32_t site, fb__input_rule rule, uint32_t input)
{
    add_input(report, site, (fb__input){.rule = rule, .site = input});
}

void fb__report_param_input(fb__report *report, uint32_t site, uint32_t update, uint32_t init)
{
    add_input(report, site, (fb__input){FB__INPUT_PARAM, update, init});
}

static size_t references_of(const fb__report *report, const fb__site *entry)
{
    const uint32_t micros =
        entry->site.phase == FB_PHASE_EVAL ? report->eval_micros : report->micros;
    size_t count = 0;

    for (uint32_t i = 0; i < entry->input_count; i++)
        count += entry->inputs[i].rule == FB__INPUT_MICROS ? micros : 1;
    return count;
}

fb_status fb__report_seal(fb__report *report, fb_error *err)
{
    size_t most = 1;

    for (size_t i = 0; !report->out_of_memory && i < report->site_count; i++) {
        const size_t count = references_of(report, &report->sites[i]);
        if (count > most)
            most = count;
    }
    if (most > FB_INPUTS_MAX)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET,
                        "an event would have %zu inputs, more than %d: fewer micro-batches", most,
                        FB_INPUTS_MAX);
    report->references = calloc(most, sizeof *report->references);
    report->reference_capacity = most;
    if (report->out_of_memory || report->references == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for the event sites");
    return FB_OK;
}

void fb__report_free(fb__report *report)
{
    for (size_t i = 0; i < report->site_count; i++)
        free(report->sites[i].inputs);
    free(report->sites);
    free(report->references);
    free(report->sketches);
    for (size_t i = 0; i < FB_POOL_WATCHES_MAX; i++)
        fb_watch_destroy(report->watches[i]);
    *report = (fb__report){0};
}

/* --- Reporting -------------------------------------------------------------------------------- */

void fb__report_observe(fb__report *report, const fb_observer *observer)
{
    report->observer = observer;
    report->announced = 0;
    report->classes = 0;
    for (size_t i = 0; i < report->site_count; i++)
        report->sites[i].number = UINT32_MAX;
}

static void announce(fb__report *report, fb__site *entry)
{
    if (report->status != FB_OK || entry->number != UINT32_MAX)
        return;
    entry->number = report->announced++;
    report->status = report->observer->on_site(report->observer->self, entry->number, &entry->site,
                                               &report->error);
}

static size_t tensor_bytes(const fb_site *site)
{
    size_t count = 1;

    if (site->kind != FB_KIND_TENSOR && site->kind != FB_KIND_PARAM)
        return 0;
    for (uint32_t i = 0; i < site->rank; i++)
        count *= site->shape[i];
    return count * fb_dtype_bytes(site->dtype);
}

/* Each tensor's site keeps its latest sketch: the next event may have the same contents. Room is
 * made once, when an observer first asks. */
static void make_room_for_sketches(fb__report *report)
{
    size_t tensors = 0, blocks = 0;
    fb_sketch *sketch;
    fb_hash *hash;

    for (size_t i = 0; i < report->site_count; i++) {
        tensors += tensor_bytes(&report->sites[i].site) > 0;
        blocks += fb_sketch_blocks(tensor_bytes(&report->sites[i].site));
    }
    report->sketches = calloc(1, tensors * sizeof *sketch + blocks * sizeof *hash + 1);
    if (report->sketches == NULL) {
        report->status = fb__fail(&report->error, FB_E_MEMORY, FB_NO_OFFSET,
                                  "out of memory for the sketches of %zu tensors", tensors);
        return;
    }
    sketch = report->sketches;
    hash = (fb_hash *)(void *)(sketch + tensors);
    for (size_t i = 0; i < report->site_count; i++) {
        fb__site *entry = &report->sites[i];

        if (tensor_bytes(&entry->site) == 0)
            continue;
        entry->sketch = sketch++;
        entry->blocks = hash;
        hash += fb_sketch_blocks(tensor_bytes(&entry->site));
    }
}

/* Room for the largest tensor of a site, made again when sketches are wanted later than hashes. */
static void make_watches(fb__report *report)
{
    size_t most = 0;

    for (size_t i = 0; i < report->site_count; i++) {
        const size_t bytes = tensor_bytes(&report->sites[i].site);
        most = bytes > most ? bytes : most;
    }
    for (size_t i = 0; i < FB_POOL_WATCHES_MAX && report->status == FB_OK; i++) {
        fb_watch_destroy(report->watches[i]);
        report->watches[i] = NULL;
        report->status = fb_watch_create(&report->watches[i], most, &report->error);
    }
}

void fb__report_begin_step(fb__report *report, uint64_t step)
{
    const fb_observer *observer = report->observer;

    report->step = step;
    if (observer == NULL)
        return;
    if (report->announced == 0)
        for (size_t i = 0; i < report->site_count; i++)
            if (!report->sites[i].late)
                announce(report, &report->sites[i]);
    report->classes = observer->wants == NULL ? (1u << FB_CLASS_COUNT) - 1
                                              : observer->wants(observer->self, step);
    if (report->watches[0] == NULL)
        make_watches(report);
    if ((report->classes & FB_WANT_SKETCH) != 0 && report->sketches == NULL) {
        make_room_for_sketches(report);
    }
}

void fb__report_end_step(fb__report *report)
{
    const fb_observer *observer = report->observer;

    if (observer != NULL && observer->on_step_end != NULL && report->status == FB_OK)
        report->status = observer->on_step_end(observer->self, report->step, &report->error);
}

/* Writes the references of one input from *to on; returns the end. */
static fb_ref *resolve(const fb__report *report, const fb__input *input, int32_t micro,
                       uint32_t micros, fb_ref *to)
{
    const uint32_t number = report->sites[input->site].number;

    switch (input->rule) {
    case FB__INPUT_MICRO:
        *to++ = (fb_ref){number, micro, report->step};
        break;
    case FB__INPUT_STEP:
        *to++ = (fb_ref){number, FB_MICRO_NONE, report->step};
        break;
    case FB__INPUT_MICROS:
        for (uint32_t i = 0; i < micros; i++)
            *to++ = (fb_ref){number, (int32_t)i, report->step};
        break;
    case FB__INPUT_PARAM:
        *to++ = (fb_ref){report->updated == 0 ? report->sites[input->first].number : number,
                         FB_MICRO_NONE, report->updated};
        break;
    case FB__INPUT_PREVIOUS:
        if (report->updated > 0)
            *to++ = (fb_ref){number, FB_MICRO_NONE, report->updated};
        break;
    case FB__INPUT_EPOCH:
        *to++ = (fb_ref){number, FB_MICRO_NONE, report->epoch_step};
        break;
    }
    return to;
}

void fb__report_event(fb__report *report, uint32_t site, int32_t micro, fb_event event)
{
    fb__site *entry = &report->sites[site];
    const uint32_t micros =
        entry->site.phase == FB_PHASE_EVAL ? report->eval_micros : report->micros;
    fb_ref *end = report->references;

    if (!fb__report_wants(report, site))
        return;
    announce(report, entry);
    if (report->status != FB_OK)
        return;
    for (uint32_t i = 0; i < entry->input_count; i++)
        end = resolve(report, &entry->inputs[i], micro, micros, end);
    event.size = sizeof event;
    event.site = entry->number;
    event.step = report->step;
    event.micro = micro;
    event.inputs = report->references;
    event.input_count = (uint32_t)(end - report->references);
    report->status = report->observer->on_event(report->observer->self, &event, &report->error);
}

static void note_nonfinite(fb__report *report, const fb__site *entry, int32_t micro)
{
    if (report->nonfinite.found)
        return;
    report->nonfinite = (fb_nonfinite){
        .found = true,
        .step = report->step,
        .micro = micro,
        .phase = entry->site.phase,
        .kind = entry->site.kind,
        .path = entry->site.path,
        .op = entry->site.op,
        .slot = entry->site.slot,
    };
}

/* --- Tensors ---------------------------------------------------------------------------------- */

static bool sketch_wanted(const fb__report *report, const fb__site *entry)
{
    return (report->classes & FB_WANT_SKETCH) != 0 && entry->sketch != NULL;
}

void fb__report_expect(fb__report *report, uint32_t site, const void *data)
{
    const fb__site *entry = &report->sites[site];

    if (!fb__report_wants(report, site) || sketch_wanted(report, entry) || report->touched ||
        report->pool == NULL || report->watched == FB_POOL_WATCHES_MAX)
        return;
    fb_watch_begin(report->watches[report->watched++], report->pool, entry->site.dtype, data,
                   tensor_bytes(&entry->site));
}

void fb__report_expect_none(fb__report *report)
{
    if (report->watched == 0)
        return;
    fb_pool_watch_none(report->pool);
    report->watched = 0;
}

/* The watch that saw this tensor being written, or NULL. */
static fb_watch *watch_of(const fb__report *report, const void *data, size_t bytes)
{
    for (size_t i = 0; i < report->watched; i++)
        if (fb_watch_is_on(report->watches[i], data, bytes))
            return report->watches[i];
    return NULL;
}

/* Hash, and sketch where it is wanted. */
static fb__contents contents_of(fb__report *report, const fb__site *entry, const void *data,
                                size_t bytes)
{
    fb_watch *watch = watch_of(report, data, bytes);
    fb__contents c = {.nonfinite = false};
    fb_hash *blocks;

    if (!sketch_wanted(report, entry)) {
        c.hash = watch != NULL
                     ? fb_watch_hash(watch, report->pool, &c.nonfinite)
                     : fb_tensor_hash(report->pool, entry->site.dtype, data, bytes, &c.nonfinite);
        return c;
    }
    c.block_count = fb_sketch_blocks(bytes);
    c.blocks = blocks = c.block_count == 0 ? NULL : entry->blocks;
    c.sketch = entry->sketch;
    c.hash = fb_tensor_sketch(entry->sketch, blocks, report->pool, entry->site.dtype, data, bytes,
                              &c.nonfinite);
    return c;
}

fb__contents fb__report_tensor(fb__report *report, uint32_t site, int32_t micro, const void *data,
                               uint64_t storage, uint32_t version, const fb__contents *known)
{
    const fb__site *entry = &report->sites[site];
    fb_event event = {.data = data, .storage = storage, .version = version};
    fb__contents contents = {.nonfinite = false};

    if (!fb__report_wants(report, site))
        return contents;
    event.data_bytes = tensor_bytes(&entry->site);
    contents = known != NULL && !fb_hash_is_zero(known->hash)
                   ? *known
                   : contents_of(report, entry, data, event.data_bytes);
    event.hash = contents.hash;
    event.sketch = contents.sketch;
    event.blocks = contents.blocks;
    event.block_count = contents.block_count;
    if (contents.nonfinite) {
        event.flags |= FB_EVENT_NONFINITE;
        note_nonfinite(report, entry, micro);
    }
    fb__report_event(report, site, micro, event);
    return contents;
}

void fb__report_scalar(fb__report *report, uint32_t site, int32_t micro, double value)
{
    const bool nonfinite = !isfinite(value);

    if (nonfinite)
        note_nonfinite(report, &report->sites[site], micro);
    fb__report_event(report, site, micro,
                     (fb_event){.value = value, .flags = nonfinite ? FB_EVENT_NONFINITE : 0});
}
