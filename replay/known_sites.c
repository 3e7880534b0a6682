/* SPDX-License-Identifier: Apache-2.0
 *
 * known_sites.c - sites by number, their hashes, and hashes of events.
 */
#include "replay/known_sites.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static bool make_room(fb__known_sites *sites, size_t number)
{
    size_t capacity = sites->capacity > 0 ? sites->capacity : 64;
    fb__known_site *grown;

    if (number < sites->capacity)
        return true;
    while (capacity <= number)
        capacity *= 2;
    grown = realloc(sites->at, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + sites->capacity, 0, (capacity - sites->capacity) * sizeof *grown);
    sites->at = grown;
    sites->capacity = capacity;
    return true;
}

static size_t text_bytes(const char *text)
{
    return text == NULL ? 1 : strlen(text) + 1;
}

/* Moves one string into the copy's memory and advances *to. */
static void move_text(const char **text, char **to)
{
    const size_t bytes = text_bytes(*text);

    memcpy(*to, *text == NULL ? "" : *text, bytes);
    *text = *to;
    *to += bytes;
}

/* A site and its strings in one block. */
static fb_site *copy_site(const fb_site *from)
{
    fb_site local = *from;
    const char **texts[] = {&local.path,      &local.op,           &local.slot,     &local.stream,
                            &local.algorithm, &local.distribution, &local.consumer, &local.dataset};
    size_t bytes = sizeof local;
    fb_site *copy;
    char *to;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        bytes += text_bytes(*texts[i]);
    copy = malloc(bytes);
    if (copy == NULL)
        return NULL;
    to = (char *)(copy + 1);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        move_text(texts[i], &to);
    *copy = local;
    return copy;
}

static void set_site(fb__known_site *known, const fb_site *site, void *memory)
{
    free(known->memory);
    *known = (fb__known_site){
        .site = site, .hash = fb_site_hash(site), .class_ = fb_site_class(site), .memory = memory};
}

fb_status fb__known_sites_tell(fb__known_sites *sites, uint32_t number, const fb_site *site,
                               fb_error *err)
{
    fb_site *copy = copy_site(site);

    if (copy == NULL || !make_room(sites, number)) {
        free(copy);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "sites: out of memory");
    }
    set_site(&sites->at[number], copy, copy);
    if (number >= sites->count)
        sites->count = (size_t)number + 1;
    return FB_OK;
}

static bool is_known(const fb__known_sites *sites, uint32_t number)
{
    return number < sites->count && sites->at[number].site != NULL;
}

fb_status fb__known_site_get(const fb__known_site **out, fb__known_sites *sites, uint32_t number,
                             fb_error *err)
{
    const fb_site *site = NULL;

    if (!is_known(sites, number) && sites->trace != NULL)
        site = fb_trace_site(sites->trace, number);
    if (site != NULL) {
        if (!make_room(sites, number))
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "sites: out of memory");
        set_site(&sites->at[number], site, NULL);
        if (number >= sites->count)
            sites->count = (size_t)number + 1;
    }
    if (!is_known(sites, number))
        return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                        "an event names site %lu, which was never introduced",
                        (unsigned long)number);
    *out = &sites->at[number];
    return FB_OK;
}

void fb__known_sites_free(fb__known_sites *sites)
{
    for (size_t i = 0; i < sites->count; i++)
        free(sites->at[i].memory);
    free(sites->at);
    free(sites->input_ids);
    *sites = (fb__known_sites){0};
}

/* Identity hashes of the event's inputs, in order, in sites->input_ids. */
static fb_status hash_inputs(fb__known_sites *sites, const fb_event *event, fb_error *err)
{
    if (event->input_count > sites->input_capacity) {
        fb_hash *grown = realloc(sites->input_ids, event->input_count * sizeof *grown);

        if (grown == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "inputs of an event: out of memory");
        sites->input_ids = grown;
        sites->input_capacity = event->input_count;
    }
    for (uint32_t i = 0; i < event->input_count; i++) {
        const fb_ref *ref = &event->inputs[i];
        const fb__known_site *known = NULL;
        const fb_status status = fb__known_site_get(&known, sites, ref->site, err);

        if (status != FB_OK)
            return status;
        sites->input_ids[i] = fb_identity_hash(known->hash, ref->step, ref->micro);
    }
    return FB_OK;
}

fb_status fb__known_sites_hash(fb_hash *identity, fb_hash *hash, fb__known_sites *sites,
                               const fb_event *event, fb_error *err)
{
    const fb__known_site *known = NULL;
    fb_status status = hash_inputs(sites, event, err);

    if (status == FB_OK)
        status = fb__known_site_get(&known, sites, event->site, err);
    if (status != FB_OK)
        return status;
    *identity = fb_identity_hash(known->hash, event->step, event->micro);
    *hash = fb_event_hash(*identity, known->site, event, sites->input_ids);
    return FB_OK;
}
