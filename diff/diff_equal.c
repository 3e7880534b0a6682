/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_equal.c - the verdict without a difference: how far the runs are equal, and whether the
 * files hold what their chains say.
 */
#include "diff/comparison.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"

static uint64_t last_equal_step(const fb__comparison *c)
{
    return c->ended.found ? c->ended.step - 1 : c->chains.last;
}

static fb_status count_equal(fb__comparison *c, fb_error *err)
{
    const fb__chains_slot *slot;
    uint64_t a = 0, b = 0;
    fb_status status = fb__chains_step(&slot, &c->chains, last_equal_step(c), err);

    if (status == FB_OK && slot != NULL) {
        a = slot->a.first_event + slot->a.events;
        b = slot->b.first_event + slot->b.events;
        status = fb__chains_step(&slot, &c->chains, c->chains.first, err);
        if (status == FB_OK && slot != NULL) {
            a -= slot->a.first_event;
            b -= slot->b.first_event;
        }
    }
    c->report->aligned = a < b ? a : b;
    c->report->unaligned = a < b ? b - a : a - b;
    return status;
}

/* Why a recording was stopped, as " (...)"; "" where it was not. */
static void say_stop(char *out, size_t size, const fb_trace_info *ia, const fb_trace_info *ib)
{
    const fb_trace_info *stopped = ia->status == FB_TRACE_FULL ? ia : ib;

    out[0] = '\0';
    if (stopped->status == FB_TRACE_FULL && stopped->reason[0] != '\0')
        (void)snprintf(out, size, " (%.120s)", stopped->reason);
}

/* Which trace ends early or first, in words; "" where both end alike and whole. */
static void say_end(char *out, size_t size, const fb__comparison *c)
{
    const fb_trace_info *ia = fb_trace_get_info(c->a), *ib = fb_trace_get_info(c->b);
    const bool torn_a = ia->status != FB_TRACE_COMPLETE, torn_b = ib->status != FB_TRACE_COMPLETE;
    const uint64_t through = last_equal_step(c);
    char why[160];

    say_stop(why, sizeof why, ia, ib);
    if (c->ended.found)
        (void)snprintf(out, size, "%s ends first; equal through step %" PRIu64,
                       c->ended.is_b ? "b" : "a", through);
    else if (torn_a && torn_b)
        (void)snprintf(out, size, "both traces end early%s; equal through step %" PRIu64, why,
                       through);
    else if (torn_a || torn_b)
        (void)snprintf(out, size, "%s is %s%s; equal through step %" PRIu64, torn_a ? "a" : "b",
                       fb_trace_status_name(torn_a ? ia->status : ib->status), why, through);
    else if (ia->last_step != ib->last_step)
        (void)snprintf(out, size, "%s ends first; equal through step %" PRIu64,
                       ia->last_step < ib->last_step ? "a" : "b", through);
    else
        out[0] = '\0';
}

/* With a reader of its own, which gives back what it had to remember: of both traces at once that
 * would be too much. Where most of it is remembered already, that is shared. */
static fb_status verify_alone(fb_trace_info *out, fb_diff_report *report, fb_trace *compared,
                              const char *path, fb_error *err)
{
    enum { MUCH = 12 << 20 };
    fb_trace *t;
    fb_status status =
        fb_trace_open_beside(&t, path, fb_trace_memory(compared) > MUCH ? compared : NULL, err);

    if (status != FB_OK)
        return status;
    status = fb_trace_verify(out, t, NULL, NULL, err);
    report->bytes_read += fb_trace_bytes_read(t);
    fb_trace_close(t);
    return status;
}

fb_status fb__check_integrity(fb__comparison *c, fb_error *err)
{
    enum { CHECKED_MAX = 32 << 20 }; /* bytes: 1.6 million events, some 0.4 s a trace */
    fb_trace *const traces[2] = {c->a, c->b};
    fb_status status = FB_OK;

    for (int side = 0; side < 2 && status == FB_OK && !c->options->no_verify; side++) {
        const char *name = side == 0 ? c->report->name_a : c->report->name_b;
        fb_trace_info info;

        if (fb_trace_get_info(traces[side])->bytes > CHECKED_MAX) {
            status = fb__list_add(&c->report->left_out, err,
                                  "integrity of %s (firstbit verify reads all of it)", name);
            continue;
        }
        status = verify_alone(&info, c->report, traces[side], name, err);
        if (status == FB_OK && info.status == FB_TRACE_CORRUPT)
            status = fb__fail(err, FB_E_CORRUPT, info.damage, "%s: corrupt at byte %" PRIu64, name,
                              info.damage);
    }
    return status;
}

/* With --strict the first note is the difference. */
static void judge_notes(fb__comparison *c)
{
    fb_diff_report *r = c->report;

    r->verdict = FB_DIFF_DIFFER;
    r->has_first = true;
    r->first = (fb_diff_first){.what = c->noted.first_what,
                               .number_a = UINT64_MAX,
                               .number_b = UINT64_MAX,
                               .name = c->noted.first};
}

static fb_status judge_stepless(fb__comparison *c, fb_error *err)
{
    char stop[160], why[256];

    say_stop(stop, sizeof stop, fb_trace_get_info(c->a), fb_trace_get_info(c->b));
    (void)snprintf(why, sizeof why, "there is no step that both traces have finished%s", stop);
    return fb__undecidable(c, err, why);
}

fb_status fb__judge_equal(fb__comparison *c, fb_error *err)
{
    fb_diff_report *r = c->report;
    char end[320];
    fb_status status;

    if (!c->chains.any)
        return judge_stepless(c, err);
    if (c->ended.found && c->ended.step <= c->chains.first)
        return fb__undecidable(c, err, "one of the runs ends before its first update");
    if (r->events_a == 0 && r->events_b == 0)
        return fb__undecidable(c, err, "neither trace has an event");
    if ((r->classes & FB__STATE_CLASSES) == 0)
        return fb__undecidable(c, err, "the traces have no class of events in common");
    status = fb__check_integrity(c, err);
    if (status == FB_OK)
        status = count_equal(c, err);
    if (status == FB_OK)
        status = fb__note_class(&c->noted, r, &c->chains, last_equal_step(c), err);
    if (status != FB_OK)
        return status;
    r->has_equal_through = true;
    r->equal_through = last_equal_step(c);
    r->verdict = FB_DIFF_SAME;
    say_end(end, sizeof end, c);
    if (c->options->strict && c->noted.has_first)
        judge_notes(c);
    else if (end[0] != '\0' && !c->options->prefix)
        status = fb__undecidable(c, err, end);
    else if (end[0] != '\0')
        status = fb__list_add(&r->left_out, err, "%s", end);
    return status;
}
