/* SPDX-License-Identifier: Apache-2.0
 *
 * record.c - one event: its semantic hash into the root of its class, its columns into the chunk.
 */
#include "tracer/recorder_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/stack.h"

fb_site_memory *fb__recorder_memory(fb_recorder *r, uint32_t site)
{
    /* Room for all sites at once, so that pointers to others stay good during one event. */
    if (r->sites.count > r->memory_capacity) {
        const uint32_t capacity = r->sites.count * 2 + 64;
        fb_site_memory *memory = realloc(r->memory, capacity * sizeof *memory);

        if (memory == NULL)
            return NULL;
        for (uint32_t i = r->memory_capacity; i < capacity; i++)
            memory[i] = (fb_site_memory){.class_number = FB_CLASS_COUNT};
        r->memory = memory;
        r->memory_capacity = capacity;
    }
    if (r->memory[site].class_number == FB_CLASS_COUNT)
        r->memory[site].class_number =
            (uint8_t)fb_site_class(&fb__sites_get(&r->sites, site)->site);
    return &r->memory[site];
}

static fb_hash identity_of(fb_recorder *r, uint32_t site, fb_site_memory *memory, uint64_t step,
                           int32_t micro)
{
    if (!memory->has_identity || memory->step != step || memory->micro != micro) {
        memory->identity = fb_identity_hash(fb__sites_get(&r->sites, site)->hash, step, micro);
        memory->step = step;
        memory->micro = micro;
        memory->has_identity = true;
    }
    return memory->identity;
}

static bool reserve_ids(fb_recorder *r, uint32_t count)
{
    fb_hash *ids;

    if (count <= r->input_id_capacity)
        return true;
    ids = realloc(r->input_ids, ((size_t)count + 64) * sizeof *ids);
    if (ids == NULL)
        return false;
    r->input_ids = ids;
    r->input_id_capacity = count + 64;
    return true;
}

/* What an event adds to the root of its class. False when memory is out. */
static bool add_to_root(fb_recorder *r, uint32_t site, fb_site_memory *memory, const fb_event *e,
                        const uint32_t *map)
{
    const fb_hash identity = identity_of(r, site, memory, e->step, e->micro);
    const fb_class c = (fb_class)memory->class_number;

    if (!reserve_ids(r, e->input_count))
        return false;
    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb_ref *ref = &e->inputs[i];
        const uint32_t from = map == NULL ? ref->site : map[ref->site];
        fb_site_memory *input = fb__recorder_memory(r, from);

        if (input == NULL)
            return false;
        r->input_ids[i] = identity_of(r, from, input, ref->step, ref->micro);
    }
    r->root[c] =
        fb_hash_add(r->root[c], fb_event_hash(identity, &fb__sites_get(&r->sites, site)->site, e,
                                              r->input_ids));
    return true;
}

static const char *flaw_of(const fb_event *e)
{
    if (e->step > FB_STEP_MAX)
        return "step out of range";
    if (e->micro < FB_MICRO_NONE)
        return "micro-batch out of range";
    if (e->input_count > FB_INPUTS_MAX)
        return "too many inputs";
    if (e->indices != NULL && e->count > FB_INDICES_MAX)
        return "too many indices";
    if (e->text != NULL && strnlen(e->text, FB_TEXT_MAX + 1) > FB_TEXT_MAX)
        return "text too long";
    if ((e->flags & ~fb__known_flags) != 0)
        return "unknown flags";
    for (uint32_t i = 0; i < e->input_count; i++)
        if (e->inputs[i].step > FB_STEP_MAX || e->inputs[i].micro < FB_MICRO_NONE)
            return "input out of range";
    return NULL;
}

static void stop_at(fb_recorder *r, uint32_t site, fb_status status, const char *flaw)
{
    fb_error err;

    (void)fb__fail(&err, status, FB_NO_OFFSET, "%s: event %llu, %.200s: %s", r->file.path,
                   (unsigned long long)r->events, fb__sites_get(&r->sites, site)->site.path, flaw);
    fb__recorder_stop(r, &err);
}

void fb__recorder_event(fb_recorder *r, uint32_t site, const fb_event *event, const uint32_t *map,
                        const void *caller)
{
    fb_site_memory *memory = fb__recorder_memory(r, site);
    const char *flaw = flaw_of(event);
    bool within;

    if (memory == NULL || flaw != NULL) {
        stop_at(r, site, flaw == NULL ? FB_E_MEMORY : FB_E_USAGE,
                flaw == NULL ? "out of memory" : flaw);
        return;
    }
    within = fb__recorder_enter_step(r, event->step);
    if (!within && (event->step != r->step || memory->class_number != FB_CLASS_NOTES)) {
        stop_at(r, site, FB_E_USAGE, "belongs to a step that has ended");
        return;
    }
    if ((r->classes & 1u << memory->class_number) == 0)
        return;
    if (!memory->seen) {
        memory->seen = true;
        if (!r->options.no_stacks)
            fb__sites_get(&r->sites, site)->frame = fb__stack_capture(&r->sites, caller);
    }
    if (within && !add_to_root(r, site, memory, event, map)) {
        stop_at(r, site, FB_E_MEMORY, "out of memory");
        return;
    }
    if ((event->flags & FB_EVENT_NONFINITE) != 0 && r->first_nonfinite == FB_NO_EVENT)
        r->first_nonfinite = r->events;
    fb__builder_event(&r->builder, site, event, map);
    r->events++;
    if (fb__builder_full(&r->builder))
        fb__recorder_seal(r);
}
