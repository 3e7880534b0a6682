/* SPDX-License-Identifier: Apache-2.0
 *
 * record.c - steps and events as they are reported, into the tail. Roots, chains and columns are
 * made from it behind the program (sealer.c).
 */
#include "tracer/record/recorder_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/glob.h"
#include "base/sketch.h"
#include "tracer/stack/stack.h"

enum { STATE_EVERY = 100, ALL_CLASSES = (1 << FB_CLASS_COUNT) - 1 };

/* --- Halves ------------------------------------------------------------------------------------
 */

static fb_staged staged_rows(const fb_recorder *r)
{
    return (fb_staged){r->stage.rows, r->stage.used, r->stage.sequence};
}

/* A half says which step is open, so that it can be read alone. */
static bool restate_step(fb_recorder *r)
{
    return !r->step_open || fb__stage_step(&r->stage, r->step, r->classes & ALL_CLASSES);
}

/* Hands the half over and begins the other one. False when the recording has stopped. */
static bool turn(fb_recorder *r)
{
    const unsigned next = 1 - r->stage.half;

    if (!fb__sealing_hand_over(&r->sealing, r->stage.half, staged_rows(r), next))
        return false;
    fb__stage_begin(&r->stage, next);
    return restate_step(r);
}

void fb__recorder_seal(fb_recorder *r)
{
    if (turn(r))
        fb__sealing_drain(&r->sealing);
}

static void stop_memory(fb_recorder *r)
{
    fb_error err;

    (void)fb__fail(&err, FB_E_MEMORY, FB_NO_OFFSET, "%s: event %llu: out of memory",
                   r->sealing.file.path, (unsigned long long)r->events);
    fb__sealing_stop(&r->sealing, &err);
}

/* An event that no half can hold goes into memory of its own and is sealed before the call returns,
 * so it is as safe as one in the tail. */
static bool stage_large(fb_recorder *r, uint32_t site, const fb_event *event, const uint32_t *map)
{
    fb_tail_half_head head;
    bool fits = false;

    if (!turn(r))
        return false;
    fb__sealing_drain(&r->sealing);
    for (size_t room = 2 * r->stage.half_bytes; !fits && room <= FB_TAIL_ROW_MAX; room *= 2) {
        uint8_t *rows = malloc(room);

        if (rows == NULL)
            break;
        fb__stage_begin_in(&r->stage, &head, rows, room);
        fits = restate_step(r) && fb__stage_event(&r->stage, &r->sites, site, event, map);
        if (fits)
            fb__sealing_now(&r->sealing, staged_rows(r));
        free(rows);
    }
    fb__stage_begin(&r->stage, 0);
    if (!fits || !restate_step(r))
        stop_memory(r);
    return !fb__sealing_stopped(&r->sealing);
}

/* False where the recording stopped before it. */
static bool stage_event(fb_recorder *r, uint32_t site, const fb_event *event, const uint32_t *map)
{
    if (fb__stage_event(&r->stage, &r->sites, site, event, map))
        return true;
    if (r->stage.failed) {
        stop_memory(r);
        return false;
    }
    return turn(r) && (fb__stage_event(&r->stage, &r->sites, site, event, map) ||
                       stage_large(r, site, event, map));
}

/* --- Steps -------------------------------------------------------------------------------------
 */

uint64_t fb__recorder_state_every(const fb_recorder *r)
{
    return r->options.state_every == 0 ? STATE_EVERY : r->options.state_every;
}

uint32_t fb__recorder_classes(const fb_recorder *r, uint64_t step)
{
    const uint64_t every = fb__recorder_state_every(r);
    const uint64_t checkpoint = r->options.checkpoint_every;
    const bool deep = fb__step_list_has(&r->ops_steps, step);
    const fb_level level =
        deep || r->options.level < FB_LEVEL_DRAWS ? r->options.level : FB_LEVEL_DRAWS;
    uint32_t classes = fb_level_classes(level);

    if (step % every == 0 || (checkpoint != 0 && step % checkpoint == 0))
        classes |= 1u << FB_CLASS_STATE;
    if (level >= FB_LEVEL_SKETCH)
        classes |= FB_WANT_SKETCH;
    if (level >= FB_LEVEL_VALUES && fb__step_list_has(&r->values_steps, step))
        classes |= FB_WANT_VALUES;
    return classes;
}

bool fb__recorder_enter_step(fb_recorder *r, uint64_t step)
{
    if (r->step_begun && step == r->step)
        return r->step_open;
    if (r->step_begun && step < r->step)
        return false;
    if (r->step_open)
        fb__recorder_end_step(r);
    r->step_begun = true;
    r->step = step;
    r->classes = fb__recorder_classes(r, step);
    if (!fb__stage_step(&r->stage, step, r->classes & ALL_CLASSES)) {
        r->step_open = true; /* said by the half that begins */
        return turn(r);
    }
    r->step_open = true;
    return true;
}

void fb__recorder_end_step(fb_recorder *r)
{
    if (fb__stage_step_end(&r->stage, r->step) ||
        (turn(r) && fb__stage_step_end(&r->stage, r->step)))
        r->step_open = false;
}

/* --- Events ------------------------------------------------------------------------------------
 */

static fb_site_mark *mark_of(fb_recorder *r, uint32_t site)
{
    if (site >= r->mark_capacity) {
        const uint32_t capacity = r->sites.count * 2 + 64;
        fb_site_mark *marks = realloc(r->marks, capacity * sizeof *marks);

        if (marks == NULL)
            return NULL;
        for (uint32_t i = r->mark_capacity; i < capacity; i++)
            marks[i] = (fb_site_mark){.class_number = FB_CLASS_COUNT};
        r->marks = marks;
        r->mark_capacity = capacity;
    }
    if (r->marks[site].class_number == FB_CLASS_COUNT) {
        const fb_site *s = &fb__sites_get(&r->sites, site)->site;

        r->marks[site].class_number = (uint8_t)fb_site_class(s);
        r->marks[site].values = fb__kind_has_storage(s->kind) &&
                                fb_sketch_element_bytes(s->dtype) != 0 &&
                                fb__glob_matches(r->values_path, s->path, s->slot);
    }
    return &r->marks[site];
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

/* --- Contents ----------------------------------------------------------------------------------
 */

/* Whether this event's contents are to be kept. */
static bool keeps_values(fb_recorder *r, const fb_site_mark *mark, const fb_event *event)
{
    if ((r->classes & FB_WANT_VALUES) == 0 || !mark->values || event->data == NULL ||
        event->data_bytes == 0 || (event->flags & FB_EVENT_UNDEFINED) != 0)
        return false;
    if (event->data_bytes > r->options.values_bytes - r->values_bytes) {
        r->values_left_out++;
        return false;
    }
    r->values_bytes += event->data_bytes;
    return true;
}

/* What the event's own row did not take. */
static void stage_contents(fb_recorder *r, uint32_t site, const fb_event *event)
{
    const fb_dtype dtype = fb__sites_get(&r->sites, site)->site.dtype;
    const uint32_t width = (uint32_t)fb_sketch_element_bytes(dtype);

    while (r->stage.contents_taken < event->data_bytes)
        if (!fb__stage_piece(&r->stage, width, event->data, event->data_bytes) && !turn(r))
            return;
}

static bool stage_values(fb_recorder *r, uint32_t site, const fb_event *event, const uint32_t *map)
{
    fb_event with_values = *event;

    with_values.flags |= FB_EVENT_VALUES;
    if (!stage_event(r, site, &with_values, map))
        return false;
    stage_contents(r, site, event);
    return true;
}

/* --- Refusing ----------------------------------------------------------------------------------
 */

static void stop_usage(fb_recorder *r, uint32_t site, const char *flaw)
{
    fb_error err;

    (void)fb__fail(&err, FB_E_USAGE, FB_NO_OFFSET, "%s: event %llu, %.200s: %s",
                   r->sealing.file.path, (unsigned long long)r->events,
                   fb__sites_get(&r->sites, site)->site.path, flaw);
    fb__sealing_stop(&r->sealing, &err);
}

void fb__recorder_event(fb_recorder *r, uint32_t site, const fb_event *event, const uint32_t *map,
                        const void *caller)
{
    fb_site_mark *mark = mark_of(r, site);
    const char *flaw = flaw_of(event);

    if (mark == NULL) {
        stop_memory(r);
        return;
    }
    if (flaw == NULL && !fb__recorder_enter_step(r, event->step) &&
        (event->step != r->step || mark->class_number != FB_CLASS_NOTES))
        flaw = "belongs to a step that has ended";
    if (flaw != NULL) {
        stop_usage(r, site, flaw);
        return;
    }
    if ((r->classes & 1u << mark->class_number) == 0)
        return;
    if (!mark->seen) {
        mark->seen = true;
        if (!r->options.no_stacks && fb__sites_get(&r->sites, site)->names[FB_SITE_SOURCE] == 0)
            fb__sites_get(&r->sites, site)->frame = fb__stack_capture(&r->sites, caller);
    }
    r->events += keeps_values(r, mark, event) ? stage_values(r, site, event, map)
                                              : stage_event(r, site, event, map);
}
