/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_sharing.c - causes in what is one tensor in one run and two in the other: ties that are
 * broken or made.
 */
#include <string.h>

#include "diff/cause/evidence.h"

enum { NONE = UINT32_MAX };

static bool is_first_parameter(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_INIT;
}

/* A parameter that one side has in step 0 and the other lacks, as an event; NULL: none, or both
 * sides have some. */
static const fb__step_event *own_parameter(const char **side, const fb__case *c)
{
    const fb__step_event *found[2] = {NULL, NULL};

    for (int s = 0; s < 2; s++) {
        const fb__step *step = s == 0 ? &c->pair->a : &c->pair->b;

        for (size_t i = 0; i < step->count && found[s] == NULL; i++)
            if (is_first_parameter(step->events[i].site) && step->events[i].partner == NONE &&
                !step->events[i].beyond)
                found[s] = &step->events[i];
    }
    if ((found[0] == NULL) == (found[1] == NULL))
        return NULL;
    if (strncmp(fb__text((found[0] != NULL ? found[0] : found[1])->site->path), "optimizer", 9) ==
        0)
        return NULL; /* known by its optimizer alone: not a matter of sharing */
    *side = found[0] != NULL ? "a" : "b";
    return found[0] != NULL ? found[0] : found[1];
}

/* What an op of the module `module` reads in step 1 of a trace: a parameter of another module. */
static const char *borrowed(fb_trace *trace, const char *module, size_t length)
{
    const fb_event *e = NULL;

    if (fb_trace_seek(trace, 1, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step == 1) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || site->phase != FB_PHASE_FORWARD ||
            strncmp(fb__text(site->path), module, length) != 0 ||
            fb__text(site->path)[length] != '\0')
            continue;
        for (uint32_t i = 0; i < e->input_count; i++) {
            const fb_site *input = fb_trace_site(trace, e->inputs[i].site);

            if (input != NULL && input->kind == FB_KIND_PARAM &&
                (strncmp(fb__text(input->path), module, length) != 0 ||
                 fb__text(input->path)[length] != '.'))
                return fb__text(input->path);
        }
    }
    return NULL;
}

static void say_own(fb_diff_cause *out, const fb__case *c, const fb__step_event *e,
                    const char *side)
{
    const bool in_a = side[0] == 'a';
    const char *path = fb__text(e->site->path), *dot = strrchr(path, '.');
    const char *shared = borrowed(in_a ? c->pair->b.trace : c->pair->a.trace, path,
                                  dot == NULL ? strlen(path) : (size_t)(dot - path));

    if (shared != NULL)
        fb__say(out,
                "%s has a parameter of its own at %s, where %s computes with %s: the tie is "
                "broken",
                side, path, in_a ? "b" : "a", shared);
    else
        fb__say(out, "only %s has parameter %s", side, path);
    fb__say_fix(out, "share %s in both or in neither, and after loading too", path);
}

/* Signature: one side has a parameter more, or an op reads another parameter than on the other. */
bool fb__rule_aliasing(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *own;
    const char *side;

    if (e->site->phase == FB_PHASE_INIT) {
        own = own_parameter(&side, c);
        if (own == NULL)
            return false;
        say_own(out, c, own, side);
        return true;
    }
    if (c->report->first.what != FB_DIFF_INPUTS || e->site->kind != FB_KIND_TENSOR)
        return false;
    fb__say(out,
            "%s computes an equal result from another parameter: what is one tensor in one "
            "run are two in the other",
            fb__text(e->site->path));
    fb__say_fix(out, "compare which modules share their weights");
    return true;
}
