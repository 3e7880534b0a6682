/* SPDX-License-Identifier: Apache-2.0
 *
 * start.c - checkpoints by content, and what to do without them.
 */
#include "replay/start.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "replay/locate.h"

/* --- The newest checkpoint that is there ------------------------------------------------------ */

/* What was found, and what had to be passed over on the way. */
typedef struct checkpoint {
    char *path; /* NULL: none */
    uint64_t step;
    size_t passed;
    uint64_t newest, oldest; /* steps of those passed over */
    bool newest_changed;     /* there, but with other contents */
} checkpoint;

/* The checkpoint that the trace says was written at the end of `step`. */
static fb_status checkpoint_of_step(char **name, fb_hash *hash, fb_trace *trace, uint64_t step,
                                    fb_error *err)
{
    fb_status status = fb_trace_seek(trace, step, err);

    *name = NULL;
    while (status == FB_OK && *name == NULL) {
        const fb_event *event;
        const fb_site *site;

        status = fb_trace_next(trace, &event, NULL, err);
        if (status != FB_OK || event == NULL || event->step > step)
            break;
        site = fb_trace_site(trace, event->site);
        if (site == NULL || site->kind != FB_KIND_CHECKPOINT || event->text == NULL ||
            site->op == NULL || strcmp(site->op, "checkpoint") != 0)
            continue;
        *name = strdup(event->text);
        if (*name == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "checkpoint: out of memory");
        *hash = event->hash;
    }
    return status;
}

static fb_status try_step(checkpoint *c, const fb__start *s, uint64_t step, fb_error *err)
{
    char *name;
    fb_hash hash;
    fb_error why;
    fb_status status = checkpoint_of_step(&name, &hash, s->index, step, err);

    if (status != FB_OK || name == NULL)
        return status;
    status = fb__locate_checkpoint(&c->path, name, step, hash, s->places, &why);
    free(name);
    if (status == FB_OK) {
        c->step = step;
        return FB_OK;
    }
    if (status == FB_E_MEMORY)
        return fb__fail(err, status, FB_NO_OFFSET, "%s", why.text);
    if (c->passed++ == 0) {
        c->newest = step;
        c->newest_changed = status == FB_E_CHANGED;
    }
    c->oldest = step;
    return FB_OK;
}

/* The newest checkpoint at or before step `last` whose file is there with the recorded contents. */
static fb_status find_checkpoint(checkpoint *c, const fb__start *s, uint64_t last, fb_error *err)
{
    const uint64_t every = (uint64_t)s->rebuilt->config.checkpoint_every;
    const uint64_t first = fb_trace_get_info(s->index)->first_step;
    fb_status status = FB_OK;

    *c = (checkpoint){0};
    for (uint64_t step = every > 0 ? last / every * every : 0;
         step > 0 && step >= first && status == FB_OK && c->path == NULL; step -= every)
        status = try_step(c, s, step, err);
    return status;
}

static fb_status note_passed(const fb__start *s, const checkpoint *c, fb_error *err)
{
    char from[64] = "the beginning";

    if (c->passed == 0)
        return FB_OK;
    if (s->report->start > 0)
        (void)snprintf(from, sizeof from, "that of step %" PRIu64, s->report->start);
    if (c->passed == 1)
        return fb__replay_note(s->report, err,
                               "the checkpoint of step %" PRIu64 " is %s: started from %s",
                               c->newest, c->newest_changed ? "changed" : "not there", from);
    return fb__replay_note(s->report, err,
                           "%zu checkpoints of steps %" PRIu64 " to %" PRIu64
                           " are not there or changed: started from %s",
                           c->passed, c->oldest, c->newest, from);
}

/* --- A resumed run whose checkpoint is gone --------------------------------------------------- */

/* Whether a parameter has now the contents that an event says were loaded. */
static bool is_loaded(fb_run *run, const fb_site *site, const fb_event *event)
{
    for (size_t i = 0; i < fb_run_parameter_count(run); i++) {
        const fb_run_tensor t = fb_run_parameter(run, i);

        if (strcmp(t.path, site->path) == 0)
            return fb_hash_equal(event->hash, fb_tensor_hash(NULL, FB_DTYPE_F32, t.data,
                                                             t.count * sizeof *t.data, NULL));
    }
    return false;
}

/* How many parameters the trace says were loaded at `step`, and how many of these the run has now
 * with equal contents. */
static fb_status count_loaded(size_t *loaded, size_t *equal, const fb__start *s, uint64_t step,
                              fb_error *err)
{
    fb_status status = fb_trace_seek(s->index, step, err);

    *loaded = 0;
    *equal = 0;
    while (status == FB_OK) {
        const fb_event *event;
        const fb_site *site;

        status = fb_trace_next(s->index, &event, NULL, err);
        if (status != FB_OK || event == NULL || event->step > step)
            break;
        site = fb_trace_site(s->index, event->site);
        if (site == NULL || site->kind != FB_KIND_PARAM || site->phase != FB_PHASE_INIT ||
            site->path == NULL || site->slot == NULL || strcmp(site->slot, "param") != 0)
            continue;
        *loaded += 1;
        *equal += is_loaded(s->rebuilt->run, site, event);
    }
    return status;
}

/* Runs from the beginning to the end of `step`, unobserved: the trace has none of these steps. */
static fb_status run_before(const fb__start *s, uint64_t step, fb_error *err)
{
    fb_run *run = s->rebuilt->run;
    fb_status status;

    fb_run_observe(run, NULL);
    status = fb_run_begin(run, err);
    while (status == FB_OK && fb_run_current_step(run) < step) {
        status = fb_run_step(run, err);
        if (status == FB_OK && s->options->progress != NULL)
            s->options->progress(s->options->argument, fb_run_current_step(run), step);
    }
    fb_run_observe(run, &s->lockstep->observer);
    return status;
}

/* Makes the state that a checkpoint held again, and proves it by the hashes of what was loaded; the
 * optimizer's follows from the same past. missing: why the checkpoint cannot be used. */
static fb_status begin_before(const fb__start *s, const fb_error *missing, fb_error *err)
{
    const uint64_t step = s->rebuilt->header.resume_step;
    const size_t all = fb_run_parameter_count(s->rebuilt->run);
    size_t loaded, equal = 0;
    fb_status status = count_loaded(&loaded, &equal, s, step, err);

    if (status == FB_OK && loaded == all) /* else nothing could be proven: do not run for nothing */
        status = run_before(s, step, err);
    if (status == FB_OK && loaded == all)
        status = count_loaded(&loaded, &equal, s, step, err);
    if (status != FB_OK)
        return status;
    if (loaded != all || equal != all)
        return fb__fail(err, missing->status, missing->offset, "%s", missing->text);
    s->report->start = step;
    status = fb__replay_note(s->report, err,
                             "the checkpoint of step %" PRIu64 " that the run goes on from is %s: "
                             "made its state again from the beginning, with equal hashes",
                             step, missing->status == FB_E_CHANGED ? "changed" : "not there");
    return status == FB_OK ? fb_trace_seek(s->trace, step + 1, err) : status;
}

/* --- Starting --------------------------------------------------------------------------------- */

/* The first state of the trace: drawn, or that of the checkpoint from which the run went on. */
static fb_status begin(const fb__start *s, fb_error *err)
{
    const fb__run_header *header = &s->rebuilt->header;
    fb_error missing;
    char *path;
    fb_status status;

    if (!header->has_resume)
        return fb_run_begin(s->rebuilt->run, err);
    status = fb__locate_checkpoint(&path, header->resume_file, header->resume_step,
                                   header->resume_hash, &s->rebuilt->places, &missing);
    if (status == FB_E_NOT_FOUND || status == FB_E_CHANGED)
        return begin_before(s, &missing, err);
    if (status != FB_OK)
        return fb__fail(err, status, missing.offset, "%s", missing.text);
    status = fb_run_resume(s->rebuilt->run, path, err);
    free(path);
    s->report->start = header->resume_step;
    return status;
}

fb_status fb__start_run(const fb__start *s, fb_error *err)
{
    checkpoint c = {.path = NULL};
    fb_status status = FB_OK;

    if (s->from > 0)
        status = find_checkpoint(&c, s, s->from - 1, err);
    if (status != FB_OK)
        return status;
    if (c.path == NULL) {
        status = begin(s, err);
    } else {
        s->lockstep->silent = true; /* the trace does not have this loading */
        status = fb_run_resume(s->rebuilt->run, c.path, err);
        s->lockstep->silent = false;
        free(c.path);
        s->report->start = c.step;
        if (status == FB_OK)
            status = fb_trace_seek(s->trace, c.step + 1, err);
    }
    return status == FB_OK ? note_passed(s, &c, err) : status;
}
