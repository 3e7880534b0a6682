/* SPDX-License-Identifier: Apache-2.0
 *
 * state_by_name.c - hashes of training state by path and slot.
 */
#include "diff/align/state_by_name.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/read/step_events.h"

/* Path and slot, as one string of bytes. */
typedef struct key {
    char text[2 * FB_NAME_MAX + 2];
    size_t bytes;
} key;

static void make_key(key *out, const fb_site *site)
{
    const char *slot = site->slot == NULL ? "" : site->slot;
    const size_t m = strnlen(slot, FB_NAME_MAX);
    size_t n;

    fb__unwrap_path(out->text, site->path == NULL ? "" : site->path);
    n = strlen(out->text);
    memcpy(out->text + n + 1, slot, m);
    out->bytes = n + 1 + m;
}

static fb_status put(fb__states *s, const fb__state *state, fb_error *err)
{
    key name;
    uint32_t at;

    make_key(&name, state->site);
    at = fb_intern_put(s->keys, name.text, name.bytes, NULL);
    if (at != FB_INTERN_NONE && at >= s->capacity) {
        const size_t capacity = 2 * (size_t)at + 64;
        fb__state *grown = realloc(s->at, capacity * sizeof *grown);

        if (grown != NULL) {
            s->at = grown;
            s->capacity = capacity;
        }
    }
    if (at == FB_INTERN_NONE || at >= s->capacity)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing a checkpoint: out of memory");
    s->at[at] = *state;
    return FB_OK;
}

fb_status fb__states_read(fb__states *s, fb_trace *trace, uint64_t first, uint64_t last,
                          fb__state_filter *passes, fb_error *err)
{
    fb_status status = fb_trace_seek(trace, first, err);

    if (s->keys == NULL)
        s->keys = fb_intern_create();
    if (status == FB_OK && s->keys == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing a checkpoint: out of memory");
    while (status == FB_OK) {
        const fb_event *event;
        const fb_site *site;
        uint64_t number;

        status = fb_trace_next(trace, &event, &number, err);
        if (status != FB_OK || event == NULL || event->step > last)
            break;
        site = fb_trace_site(trace, event->site);
        if (site != NULL && site->kind == FB_KIND_PARAM && passes(site) &&
            !fb_hash_is_zero(event->hash) && (event->flags & FB_EVENT_UNDEFINED) == 0)
            status =
                put(s, &(fb__state){site, event->hash, number, event->step, event->micro}, err);
    }
    return status;
}

void fb__states_free(fb__states *s)
{
    fb_intern_destroy(s->keys);
    free(s->at);
    *s = (fb__states){0};
}

uint32_t fb__states_count(const fb__states *s)
{
    return s->keys == NULL ? 0 : fb_intern_count(s->keys);
}

const fb__state *fb__states_find(const fb__states *s, const fb_site *site)
{
    key name;
    uint32_t at;

    if (s->keys == NULL)
        return NULL;
    make_key(&name, site);
    at = fb_intern_find(s->keys, name.text, name.bytes);
    return at == FB_INTERN_NONE ? NULL : &s->at[at];
}

const fb__state *fb__states_part(const fb__state **other, const fb__states *s,
                                 const fb__states *others)
{
    for (uint32_t i = 0; i < fb__states_count(s); i++) {
        *other = fb__states_find(others, s->at[i].site);
        if (*other != NULL && !fb_hash_equal(s->at[i].hash, (*other)->hash))
            return &s->at[i];
    }
    *other = NULL;
    return NULL;
}
