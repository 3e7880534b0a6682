/* SPDX-License-Identifier: Apache-2.0
 *
 * hostile_traces.h - traces that take as much memory of a reader as the format allows.
 */
#ifndef FB_TESTS_HOSTILE_TRACES_H
#define FB_TESTS_HOSTILE_TRACES_H

#include "tests/faults/damage.h"
#include "tests/tracer/level_fixture.h"

static inline void must(bool holds)
{
    if (!holds)
        _exit(3);
}

static inline fb_recorder *open_recorder(const char *path)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    fb_recorder *r;

    must(fb_recorder_open(&r, path, &options, NULL) == FB_OK);
    return r;
}

/* As many sites as a trace may have, `a_step` of them in each step, with names as long as they may
 * be together; the value of the one that is `changed` is another. */
static inline fb_recorder *record_sites(const char *path, uint64_t changed, uint32_t a_step)
{
    fb_recorder *r = open_recorder(path);
    const fb_observer *o = fb_recorder_observer(r);
    char name[64];

    for (uint32_t i = 0; i < FB_TRACE_SITES_MAX; i++) {
        const fb_site site = {.size = sizeof site,
                              .kind = FB_KIND_SCALAR,
                              .phase = FB_PHASE_LOSS,
                              .path = name,
                              .slot = "out",
                              .dtype = FB_DTYPE_F64};
        fb_event e = {.size = sizeof e,
                      .site = i,
                      .step = 1 + i / a_step,
                      .value = i,
                      .micro = FB_MICRO_NONE};

        (void)snprintf(name, sizeof name, "a.rather.long.path.of.a.layer.to.fill.the.names.%06u",
                       i);
        e.value += i == changed;
        must(o->on_site(o->self, i, &site, NULL) == FB_OK &&
             o->on_event(o->self, &e, NULL) == FB_OK);
        if (i % a_step == a_step - 1)
            must(o->on_step_end(o->self, e.step, NULL) == FB_OK);
    }
    return r;
}

static inline void record_sites_of_one_step(const char *path, uint64_t changed)
{
    fb_recorder *r = record_sites(path, changed, FB_TRACE_SITES_MAX);
    (void)fb_recorder_close(r, NULL);
}

/* The program ends in the step: a part of it is in chunks, the rest in the tail file. */
static inline void record_torn_step(const char *path, uint64_t changed)
{
    (void)record_sites(path, changed, FB_TRACE_SITES_MAX + 1);
}

/* Events as large as they may be: indices, inputs, texts. */
static inline void record_large_events(const char *path, uint64_t changed)
{
    fb_recorder *r = open_recorder(path);
    uint64_t *indices = calloc(FB_INDICES_MAX, sizeof *indices), random = 1;
    fb_ref *inputs = calloc(FB_INPUTS_MAX, sizeof *inputs);
    char *text = malloc(FB_TEXT_MAX + 1);

    for (int i = 0; i < FB_TEXT_MAX; i++)
        text[i] = (char)(32 + next_random(&random) % 90);
    text[FB_TEXT_MAX] = '\0';
    for (uint64_t step = 1; step <= 6; step++) {
        fb_recorder_step(r, step);
        for (uint32_t i = 0; i < FB_INDICES_MAX; i++)
            indices[i] = next_random(&random);
        inputs[0] = fb_recorder_sample(r, "data", FB_ROLE_TRAIN, 0, indices, FB_INDICES_MAX,
                                       &changed, step == 4 ? sizeof changed : 0);
        for (uint32_t i = 1; i < FB_INPUTS_MAX; i++)
            inputs[i] = inputs[0];
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                 FB_DTYPE_F32, 0, NULL, &step, inputs, FB_INPUTS_MAX);
        fb_recorder_mark(r, text);
    }
    (void)fb_recorder_close(r, NULL);
    free(indices);
    free(inputs);
    free(text);
}

/* 300,000 events in few steps: more than a comparison can hold at once. */
static inline void record_large_steps(const char *path, uint64_t changed)
{
    fb_recorder *r = open_recorder(path);
    made_event made[64];
    uint64_t random = 1;

    report_sites(fb_recorder_observer(r));
    for (uint64_t step = 0; step <= 20000; step++) {
        const size_t n = fixture_step(made, step, &random);

        for (size_t i = 0; i < n; i++) {
            fb_event e = made[i].event;
            e.inputs = e.input_count > 0 ? made[i].inputs : NULL;
            e.step = step / 10000; /* few steps, of many events each */
            for (uint32_t k = 0; k < e.input_count; k++)
                made[i].inputs[k].step = e.step;
            e.hash.lo += step == changed && e.hash.lo != 0;
            must(fb_recorder_observer(r)->on_event(fb_recorder_observer(r)->self, &e, NULL) ==
                 FB_OK);
        }
        if (step % 10000 == 9999)
            must(fb_recorder_observer(r)->on_step_end(fb_recorder_observer(r)->self, step / 10000,
                                                      NULL) == FB_OK);
    }
    (void)fb_recorder_close(r, NULL);
}

/* --- All at once -------------------------------------------------------------------------------
 */

/* Stacks of two frames: all frames that a trace may have, of all modules. */
static inline uint32_t make_stack(fb_sites *sites, uint32_t i)
{
    const uint32_t outer = FB_SITES_FRAMES_MAX - FB_TRACE_SITES_MAX;
    fb_module module = {.build_id_bytes = 4};
    fb_frame frame = {.caller = FB_FRAME_NONE};

    for (uint32_t k = 0; k < 2; k++) {
        const uint32_t which = i % FB_SITES_MODULES_MAX;

        memcpy(module.build_id, &which, sizeof which);
        frame.module = fb__sites_module(sites, &module);
        frame.offset = k == 0 ? i % outer : outer + i;
        frame.caller = fb__sites_frame(sites, &frame);
    }
    return frame.caller;
}

/* A tensor with names of its own: 262,140 names in all, of nearly 8 MiB. */
static inline uint32_t make_site(fb_sites *sites, uint32_t i)
{
    char path[40], op[40], slot[40];
    const fb_site site = {.size = sizeof site,
                          .kind = FB_KIND_TENSOR,
                          .phase = FB_PHASE_FORWARD,
                          .path = path,
                          .op = op,
                          .slot = i < 65532 ? slot : "out",
                          .dtype = FB_DTYPE_F32,
                          .rank = 1,
                          .shape = {4}};
    uint32_t number;

    (void)snprintf(path, sizeof path, "a.path.as.long.as.fits.%07u", i);
    (void)snprintf(op, sizeof op, "an.operation.like.that.%07u", i);
    (void)snprintf(slot, sizeof slot, "a.slot.of.the.operation%07u", i);
    must(fb__sites_put(sites, &site, &number, NULL) == FB_OK);
    fb__sites_get(sites, number)->frame = make_stack(sites, i);
    return number;
}

static inline void put_event(level_writer *w, uint32_t site, uint64_t step, uint64_t content,
                             fb_ref *inputs, uint32_t input_count)
{
    const fb_event e = {.size = sizeof e,
                        .site = site,
                        .step = step,
                        .micro = FB_MICRO_NONE,
                        .hash = {content, 1},
                        .inputs = inputs,
                        .input_count = input_count};
    const fb_site_entry *entry = fb__sites_get(&w->sites, site);
    static fb_hash ids[FB_INPUTS_MAX];

    for (uint32_t i = 0; i < input_count; i++)
        ids[i] = fb_identity_hash(fb__sites_get(&w->sites, inputs[i].site)->hash, inputs[i].step,
                                  inputs[i].micro);
    fb__builder_event(&w->builder, site, &e);
    w->root[FB_CLASS_OPS] = fb_hash_add(
        w->root[FB_CLASS_OPS],
        fb_event_hash(fb_identity_hash(entry->hash, step, FB_MICRO_NONE), &entry->site, &e, ids));
    w->events++;
}

/* Sites, names, frames and modules as many as a trace may have, in chunks as large as they may be,
 * an event of 65,535 inputs, and a step of which all events behind `changed` differ. */
static inline void record_all_maxima(const char *path, uint64_t changed)
{
    enum { EVENTS = FB_TRACE_SITES_MAX - LEVEL_SITES, A_CHUNK = 22000 };
    static fb_ref inputs[FB_INPUTS_MAX];
    static level_writer w;

    level_begin(&w, path);
    for (uint32_t i = 0; i < EVENTS; i++)
        (void)make_site(&w.sites, i);
    for (uint64_t step = 0; step < 2; step++) {
        for (uint32_t i = 0; i < EVENTS; i++) {
            const bool large = i == EVENTS - 1;
            const uint32_t count = large ? FB_INPUTS_MAX : i > 0;

            for (uint32_t k = 0; k < count; k++)
                inputs[k] = (fb_ref){
                    .site = LEVEL_SITES + i - 1 - k % 16384, .step = step, .micro = FB_MICRO_NONE};
            put_event(&w, LEVEL_SITES + i, step, i + (step == 1 && i >= changed ? 1000000 : 1),
                      inputs, count);
            if (i % A_CHUNK == A_CHUNK - 1)
                level_seal(&w);
        }
        level_end_of_step(&w, step, EVENTS);
    }
    level_end(&w, true);
}

#endif
