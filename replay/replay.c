/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c - the course of a replay: rebuild the run, find where to start, step in lockstep.
 */
#include "replay/replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/run.h"
#include "replay/lockstep.h"
#include "replay/rebuild.h"
#include "replay/start.h"

typedef struct replay {
    const fb_replay_options *options;
    fb_replay_report *report;
    const char *path;    /* whose run it is */
    const char *against; /* what it is compared with */
    fb_trace *trace, *index;
    fb__rebuilt rebuilt;
    fb__lockstep lockstep;
    fb__tensor_files files;
    uint64_t from, to; /* first and last step wanted */
    bool ended;        /* the trace has the mark that ends a run */
} replay;

/* The last step that has events: a torn trace ends inside the step after its last finished one. */
static uint64_t last_step_of(const fb_trace_info *info)
{
    if (fb__may_end_early(info))
        return info->steps > 0 ? info->last_step + 1 : info->first_step;
    return info->last_step;
}

static fb_status check_steps(replay *r, fb_error *err)
{
    const fb_replay_options *o = r->options;
    const fb_trace_info *info = fb_trace_get_info(r->trace);
    const uint64_t last = last_step_of(info);

    if (!fb__may_end_early(info) && info->steps == 0)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: holds no finished step", r->against);
    r->from = o->has_from ? o->from : 0;
    r->to = o->has_to ? o->to : last;
    if (r->from > last)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "%s: --from %" PRIu64 ": the trace ends at step %" PRIu64, r->against,
                        r->from, last);
    if (r->to > last)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "%s: --to %" PRIu64 ": the trace ends at step %" PRIu64, r->against, r->to,
                        last);
    if (r->to < r->from)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "--to %" PRIu64 " is before --from %" PRIu64,
                        r->to, r->from);
    return FB_OK;
}

static fb_status open_traces(replay *r, fb_error *err)
{
    fb_status status = fb_trace_open(&r->trace, r->against, err);

    if (status == FB_OK)
        status = fb_trace_open_beside(&r->index, r->against, r->trace, err);
    if (status != FB_OK)
        return status;
    if (fb_trace_get_info(r->trace)->status == FB_TRACE_CORRUPT)
        return fb__fail(err, FB_E_CORRUPT, fb_trace_get_info(r->trace)->damage,
                        "%s: corrupt at byte %" PRIu64, r->against,
                        fb_trace_get_info(r->trace)->damage);
    return FB_OK;
}

/* The header of the run comes from another trace where the replay is compared with a foreign
 * one. */
static fb_status rebuild(replay *r, fb_error *err)
{
    fb_trace *source = NULL;
    fb_status status;

    if (r->options->against == NULL)
        return fb__rebuild(&r->rebuilt, r->path, r->trace, r->options, err);
    status = fb_trace_open(&source, r->path, err);
    if (status == FB_OK)
        status = fb__rebuild(&r->rebuilt, r->path, source, r->options, err);
    fb_trace_close(source);
    return status;
}

/* A torn trace may end between two steps: with its last event, or with the mark that ends a run. */
static fb_status trace_ends_here(bool *out, replay *r, fb_error *err)
{
    bool pending;
    fb_status status;

    *out = false;
    if (!fb__may_end_early(fb_trace_get_info(r->trace)))
        return FB_OK;
    status = fb__lockstep_pending(&pending, &r->lockstep, UINT64_MAX, err);
    if (status != FB_OK)
        return status;
    *out = !pending || r->lockstep.next->step <= fb_run_current_step(r->rebuilt.run);
    if (*out)
        r->to = fb_run_current_step(r->rebuilt.run);
    return FB_OK;
}

/* Steps until the last one that is wanted, or until the lockstep stops the run. */
static fb_status step_through(replay *r, fb_error *err)
{
    fb_run *run = r->rebuilt.run;
    fb_status status = FB_OK;

    while (status == FB_OK && fb_run_current_step(run) < r->to) {
        bool ends;

        status = trace_ends_here(&ends, r, err);
        if (status != FB_OK || ends)
            break;
        status = fb_run_step(run, err);
        if (status == FB_OK && r->options->progress != NULL)
            r->options->progress(r->options->argument, fb_run_current_step(run), r->to);
    }
    return status;
}

/* Whether the trace goes on with the mark that ends a run. */
static bool is_end_mark(const replay *r)
{
    const fb_site *site = fb_trace_site(r->trace, r->lockstep.next->site);

    return site != NULL && site->kind == FB_KIND_MARK && site->slot != NULL &&
           strcmp(site->slot, FB_FINAL_HASH_MARK) == 0;
}

/* After the last step: the mark that ends a run, and whatever else the trace still has. */
static fb_status finish(replay *r, fb_error *err)
{
    const fb_trace_info *info = fb_trace_get_info(r->trace);
    const bool whole = r->to >= info->last_step;
    bool pending;
    fb_status status = fb__lockstep_pending(&pending, &r->lockstep, r->to, err);

    if (status == FB_OK && pending && whole && is_end_mark(r)) {
        r->ended = true;
        status = fb_run_end(r->rebuilt.run, err);
        if (status == FB_OK)
            status = fb__lockstep_pending(&pending, &r->lockstep, r->to, err);
    }
    if (status != FB_OK)
        return status;
    if (pending)
        fb__lockstep_missing(&r->lockstep);
    r->report->at_end = whole && !pending;
    return FB_OK;
}

static fb_status walk(replay *r, fb_error *err)
{
    fb__places foreign = {.trace = r->against, .elsewhere = r->options->data};
    const fb__start start = {.options = r->options,
                             .report = r->report,
                             .trace = r->trace,
                             .index = r->index,
                             .rebuilt = &r->rebuilt,
                             .places = r->options->against == NULL ? &r->rebuilt.places : &foreign,
                             .lockstep = &r->lockstep,
                             .from = r->from};
    fb_status status;

    fb__lockstep_start(&r->lockstep, r->trace, r->index, &r->report->first);
    r->lockstep.renamed = r->rebuilt.renamed;
    r->lockstep.renamed_count = r->rebuilt.renamed_count;
    r->lockstep.no_stack = r->options->no_stack;
    r->lockstep.capture = r->options->capture;
    r->lockstep.tensor = r->options->captured;
    if (r->options->capture != NULL)
        r->lockstep.capture_id = fb_event_name_hash(r->options->capture);
    if (r->options->make != NULL)
        r->lockstep.files = &r->files;
    fb_run_observe(r->rebuilt.run, &r->lockstep.observer);
    status = fb__start_run(&start, err);
    if (status == FB_OK)
        status = step_through(r, err);
    if (status == FB_OK)
        status = finish(r, err);
    fb__places_free(&foreign);
    if (r->lockstep.diverged || r->lockstep.captured || r->lockstep.reached_end)
        return FB_OK; /* the status only says that the lockstep stopped the run */
    return status;
}

/* What the verdict of kernels that promise no bits means. */
static fb_status note_contract(replay *r, fb_error *err)
{
    const fb__run_header *header = &r->rebuilt.header;

    if (!header->has_contract || header->contract != 0)
        return FB_OK;
    if (r->report->diverged)
        return fb__replay_note(r->report, err,
                               "recorded with kernels of contract 0, which promise no bits: the "
                               "run is not deterministic here; neither it nor its trace is called "
                               "corrupt");
    return fb__replay_note(r->report, err,
                           "recorded with kernels of contract 0: equal this time, promised by "
                           "nobody");
}

static fb_status conclude(replay *r, fb_error *err)
{
    fb_replay_report *report = r->report;
    const fb_trace_info *info = fb_trace_get_info(r->trace);
    const bool stopped = r->lockstep.diverged || r->lockstep.captured || r->lockstep.reached_end;

    report->diverged = r->lockstep.diverged;
    report->events_checked = r->lockstep.checked;
    report->end = fb_run_current_step(r->rebuilt.run);
    report->at_end |= r->lockstep.reached_end;
    report->torn = info->status != FB_TRACE_COMPLETE ||
                   (fb__may_end_early(info) && report->at_end && !r->ended);
    report->ended_early = report->at_end && report->torn;
    report->has_final_hash = !stopped;
    if (!stopped)
        report->final_hash = fb_run_final_hash(r->rebuilt.run);
    report->made = r->files.made;
    report->unchecked = r->files.unchecked;
    return note_contract(r, err);
}

fb_status fb_replay(fb_replay_report *out, const char *path, const fb_replay_options *options,
                    fb_error *err)
{
    const fb_replay_options all = {.size = sizeof all};
    replay r = {.options = options != NULL ? options : &all, .report = out, .path = path};
    fb_status status;

    *out = (fb_replay_report){0};
    if (r.options->captured != NULL)
        *r.options->captured = (fb_replay_tensor){0};
    r.against = r.options->against != NULL ? r.options->against : path;
    status = open_traces(&r, err);
    if (status == FB_OK)
        status = check_steps(&r, err);
    if (status == FB_OK)
        status = rebuild(&r, err);
    if (status == FB_OK && r.options->make != NULL)
        status = fb__tensor_files_open(&r.files, r.options->make, r.options->make_output, r.from,
                                       r.to, err);
    if (status == FB_OK)
        status = walk(&r, err);
    if (status == FB_OK)
        status = fb__tensor_files_finish(&r.files, fb_trace_get_info(r.trace)->id, err);
    if (status == FB_OK)
        status = conclude(&r, err);
    fb__tensor_files_close(&r.files);
    fb__lockstep_end(&r.lockstep);
    fb__rebuilt_free(&r.rebuilt);
    fb_trace_close(r.trace);
    fb_trace_close(r.index);
    if (status != FB_OK) {
        fb_replay_report_free(out);
        if (r.options->captured != NULL)
            fb_replay_tensor_free(r.options->captured);
    }
    return status;
}

void fb_replay_report_free(fb_replay_report *report)
{
    for (size_t i = 0; i < report->note_count; i++)
        free(report->notes[i]);
    free(report->notes);
    free(report->first.stack);
    *report = (fb_replay_report){0};
}

void fb_replay_tensor_free(fb_replay_tensor *tensor)
{
    free(tensor->data);
    *tensor = (fb_replay_tensor){0};
}
