/* SPDX-License-Identifier: Apache-2.0
 *
 * resume.c - comparing what a checkpoint brought with what the other run had.
 */
#include "diff/align/resume.h"

#include "diff/align/state_by_name.h"
#include "diff/read/step_events.h"

uint64_t fb__resume_point(const fb__headers *headers)
{
    const fb__run_header *a = &headers->a, *b = &headers->b;
    const uint64_t after_a = a->has_resume ? a->resume_step + 1 : 0;
    const uint64_t after_b = b->has_resume ? b->resume_step + 1 : 0;

    if (after_a == after_b)
        return 0;
    return after_a > after_b ? after_a : after_b;
}

static bool is_loaded(const fb_site *site)
{
    return site->phase == FB_PHASE_INIT;
}

static bool is_updated(const fb_site *site)
{
    return site->phase == FB_PHASE_OPTIMIZER;
}

static bool is_end(const fb_site *site)
{
    return fb__is_learned(site, FB__END);
}

/* What one trace, of a resumed run, has of these sites in one step, beside what the other has. */
typedef struct place {
    fb_trace *trace;
    uint64_t step;
    fb__state_filter *wanted;
} place;

static fb_status compare(fb__resume_difference *out, const place *resumed, const place *whole,
                         fb_error *err)
{
    fb__states mine = {0}, known = {0};
    const fb__state *of_mine, *of_known;
    fb_status status =
        fb__states_read(&mine, resumed->trace, resumed->step, resumed->step, resumed->wanted, err);

    if (status == FB_OK)
        status =
            fb__states_read(&known, whole->trace, whole->step, whole->step, whole->wanted, err);
    of_known = status == FB_OK ? fb__states_part(&of_mine, &known, &mine) : NULL;
    if (of_known != NULL) {
        const fb_event bare = {.step = of_known->step, .micro = of_known->micro};

        out->found = true;
        out->dtype = of_known->site->dtype;
        fb_event_name_of(&out->name, of_known->site, &bare);
        out->number_a = out->resumed_is_b ? of_known->number : of_mine->number;
        out->number_b = out->resumed_is_b ? of_mine->number : of_known->number;
    }
    fb__states_free(&mine);
    fb__states_free(&known);
    return status;
}

fb_status fb__resume_compare(fb__resume_difference *out, fb_trace *a, fb_trace *b,
                             const fb__headers *headers, fb_error *err)
{
    const uint64_t point = fb__resume_point(headers);

    *out = (fb__resume_difference){.found = false};
    if (point == 0)
        return FB_OK;
    out->resumed_is_b = headers->b.has_resume && headers->b.resume_step + 1 == point;
    return compare(out, &(place){out->resumed_is_b ? b : a, point - 1, is_loaded},
                   &(place){out->resumed_is_b ? a : b, point - 1, is_updated}, err);
}

fb_status fb__ends_compare(fb__resume_difference *out, fb_trace *a, fb_trace *b, bool resumed_is_b,
                           fb_error *err)
{
    const fb_trace_info *ia = fb_trace_get_info(a), *ib = fb_trace_get_info(b);
    const place end_a = {a, ia->last_step, is_end}, end_b = {b, ib->last_step, is_end};

    *out = (fb__resume_difference){.resumed_is_b = resumed_is_b};
    if (ia->status != FB_TRACE_COMPLETE || ib->status != FB_TRACE_COMPLETE)
        return FB_OK;
    return compare(out, resumed_is_b ? &end_b : &end_a, resumed_is_b ? &end_a : &end_b, err);
}
