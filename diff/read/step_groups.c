/* SPDX-License-Identifier: Apache-2.0
 *
 * step_groups.c - counting what a step does.
 */
#include "diff/read/step_groups.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/read/step_events.h"

fb_hash fb__group_key(const fb_site *site, int32_t micro, uint32_t occurrence)
{
    char path[FB_NAME_MAX + 1];
    fb_site plain = *site;

    fb__unwrap_path(path, site->path == NULL ? "" : site->path);
    plain.path = path;
    plain.occurrence = occurrence;
    return fb_identity_hash(fb_site_hash(&plain), 0, micro);
}

bool fb__is_step_node(const fb_site *site, const fb_event *e)
{
    if (site->note || site->phase == FB_PHASE_EVAL || site->phase == FB_PHASE_CHECKPOINT ||
        (e->flags & FB_EVENT_UNDEFINED) != 0)
        return false;
    return site->kind == FB_KIND_TENSOR || site->kind == FB_KIND_PARAM ||
           site->kind == FB_KIND_SCALAR || site->kind == FB_KIND_DRAW;
}

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "events of a step: out of memory");
}

static fb_status count(fb__groups *g, const fb_site *site, int32_t micro, bool before,
                       fb_error *err)
{
    const fb_hash key = fb__group_key(site, micro, 0);
    bool is_new = false;
    const uint32_t at = fb_intern_put(g->keys, &key, sizeof key, &is_new);

    if (at == FB_INTERN_NONE)
        return out_of_memory(err);
    if (at >= g->capacity) {
        const uint32_t capacity = 2 * at + 64;
        fb__group *grown = realloc(g->at, capacity * sizeof *grown);

        if (grown == NULL)
            return out_of_memory(err);
        g->at = grown;
        g->capacity = capacity;
    }
    if (is_new)
        g->at[at] = (fb__group){0};
    g->at[at].before += before;
    g->at[at].count += !before;
    return FB_OK;
}

fb_status fb__groups_read(fb__groups *g, fb_trace *trace, uint64_t step, uint64_t behind,
                          fb_error *err)
{
    fb_status status = fb_trace_seek(trace, step, err);

    g->keys = fb_intern_create();
    if (status == FB_OK && g->keys == NULL)
        return out_of_memory(err);
    while (status == FB_OK) {
        const fb_event *e;
        const fb_site *site;
        uint64_t number;

        status = fb_trace_next(trace, &e, &number, err);
        if (status != FB_OK || e == NULL || e->step > step)
            break;
        site = fb_trace_site(trace, e->site);
        if (site != NULL && fb__is_step_node(site, e))
            status = count(g, site, e->micro, behind > 0 && number <= behind, err);
    }
    return status;
}

void fb__groups_free(fb__groups *g)
{
    fb_intern_destroy(g->keys);
    free(g->at);
    *g = (fb__groups){0};
}

static fb__group find(const fb__groups *g, fb_hash key)
{
    const fb__group none = {0};
    const uint32_t at = fb_intern_find(g->keys, &key, sizeof key);

    return at == FB_INTERN_NONE ? none : g->at[at];
}

uint32_t fb__groups_skipped(const fb__groups *own, const fb__groups *other, const fb_site *site,
                            int32_t micro)
{
    const fb_hash key = fb__group_key(site, micro, 0);
    const fb__group x = find(own, key), y = find(other, key);

    if (y.count == 0 || x.count == y.count)
        return x.before;
    if (site->phase == FB_PHASE_BACKWARD)
        return x.before + x.count;
    return x.before + (x.count > y.count ? x.count - y.count : 0);
}
