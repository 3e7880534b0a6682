/* SPDX-License-Identifier: Apache-2.0
 *
 * draw_streams.c - the draws of a step, gathered by their streams.
 */
#include "diff/judge/draw_streams.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { DIFFERS = 1, AT_LAST = 2, SEEN_IN_B = 4 }; /* the last one differs; seen from the end of b */

static const char *name_of(const char *stream)
{
    return stream == NULL ? "" : stream;
}

static uint32_t number_of(fb__draw_streams *s, const fb__step_event *e)
{
    const char *name = name_of(e->site->stream);

    return fb_intern_put(s->names, name, strlen(name), NULL);
}

static bool name_all(fb__draw_streams *s, const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == FB_KIND_DRAW &&
            number_of(s, &step->events[i]) == FB_INTERN_NONE)
            return false;
    return true;
}

static void look_at(uint8_t *marks, fb__draw_streams *s, const fb__step_pair *pair)
{
    for (size_t i = 0; i < pair->a.count; i++) {
        const fb__step_event *e = &pair->a.events[i];
        const bool alone = e->partner == UINT32_MAX;
        uint8_t *mark;

        if (e->site->kind != FB_KIND_DRAW)
            continue;
        mark = &marks[number_of(s, e)];
        *mark = (uint8_t)(*mark & DIFFERS) | (alone || !e->same_content ? AT_LAST : 0) |
                (!alone && !e->same_content ? DIFFERS : 0);
    }
    for (size_t i = pair->b.count; i > 0; i--) {
        const fb__step_event *e = &pair->b.events[i - 1];
        uint8_t *mark;

        if (e->site->kind != FB_KIND_DRAW)
            continue;
        mark = &marks[number_of(s, e)];
        if ((*mark & SEEN_IN_B) == 0)
            *mark |= SEEN_IN_B | (e->partner == UINT32_MAX ? AT_LAST : 0);
    }
}

fb_status fb__draw_streams_find(fb__draw_streams *out, const fb__step_pair *pair, fb_error *err)
{
    uint8_t *marks = NULL;
    uint32_t count = 0;

    *out = (fb__draw_streams){.names = fb_intern_create()};
    if (out->names != NULL && name_all(out, &pair->a) && name_all(out, &pair->b)) {
        count = fb_intern_count(out->names);
        marks = calloc((size_t)count + 1, sizeof *marks);
        out->differs = calloc((size_t)count + 1, sizeof *out->differs);
    }
    if (marks == NULL || out->differs == NULL) {
        free(marks);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    }
    look_at(marks, out, pair);
    for (uint32_t i = 0; i < count; i++)
        out->differs[i] = (marks[i] & DIFFERS) != 0 && (marks[i] & AT_LAST) != 0;
    free(marks);
    return FB_OK;
}

void fb__draw_streams_free(fb__draw_streams *streams)
{
    fb_intern_destroy(streams->names);
    free(streams->differs);
    *streams = (fb__draw_streams){.names = NULL};
}

bool fb__stream_differs(const fb__draw_streams *streams, const char *stream)
{
    const char *name = name_of(stream);
    const uint32_t number = fb_intern_find(streams->names, name, strlen(name));

    return number != FB_INTERN_NONE && streams->differs[number];
}
