/* SPDX-License-Identifier: Apache-2.0
 *
 * groups.c - every run against one representative of each group.
 */
#include "diff/groups/groups.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { CHECKED_MAX = 32 << 20 }; /* bytes of a trace that is read in full, as fb_diff does */

typedef struct grouping {
    fb_groups *out;
    fb_diff_options how;
    const fb_diff_options *asked;
} grouping;

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "grouping runs: out of memory");
}

/* --- The runs --------------------------------------------------------------------------------- */

/* Each trace is verified once, however often it is compared. */
static fb_status look_at_run(grouping *g, fb_groups_run *run, fb_error *err)
{
    fb_trace *trace = NULL;
    fb_trace_info info;
    fb_status status = fb_trace_open(&trace, run->path, err);

    if (status != FB_OK)
        return status;
    info = *fb_trace_get_info(trace);
    if (info.bytes > CHECKED_MAX)
        g->out->unverified++;
    else
        status = fb_trace_verify(&info, trace, NULL, NULL, err);
    if (status == FB_OK && info.status == FB_TRACE_CORRUPT)
        status = fb__fail(err, FB_E_CORRUPT, info.damage, "%s: corrupt at byte %" PRIu64, run->path,
                          info.damage);
    run->has_last_step = info.steps > 0;
    run->last_step = info.steps > 0 ? info.last_step : 0;
    g->out->bytes_read += fb_trace_bytes_read(trace);
    fb_trace_close(trace);
    return status;
}

/* The longest first, so that a group's representative goes as far as any of its runs. */
static void order_runs(size_t *order, const fb_groups *groups)
{
    for (size_t i = 0; i < groups->run_count; i++) {
        const uint64_t last = groups->runs[i].last_step;
        size_t at = i;

        for (; at > 0 && groups->runs[order[at - 1]].last_step < last; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* --- Grouping --------------------------------------------------------------------------------- */

static fb_status compare(fb_diff_report *report, grouping *g, size_t a, size_t b, fb_error *err)
{
    const fb_status status =
        fb_diff(report, g->out->runs[a].path, g->out->runs[b].path, &g->how, err);

    g->out->comparisons++;
    if (status == FB_OK)
        g->out->bytes_read += report->bytes_read;
    return status;
}

static bool is_equal_as_far_as_it_goes(const fb_diff_report *r)
{
    return r->verdict == FB_DIFF_UNDECIDABLE && r->has_equal_through;
}

/* Puts a run into the group that it equals, or makes one for it. */
static fb_status place(grouping *g, size_t index, fb_error *err)
{
    fb_groups *out = g->out;
    fb_groups_run *run = &out->runs[index];
    bool placed = false;
    fb_status status = FB_OK;

    for (size_t k = 0; k < out->group_count && status == FB_OK; k++) {
        fb_diff_report report;
        bool whole, part;

        status = compare(&report, g, out->groups[k].representative, index, err);
        if (status != FB_OK)
            break;
        part = is_equal_as_far_as_it_goes(&report);
        whole = report.verdict == FB_DIFF_SAME;
        fb_diff_report_free(&report);
        if (placed && (whole || part))
            run->ambiguous = true;
        if (placed || (!whole && !part))
            continue;
        placed = true;
        run->group = k;
        run->shorter = part;
        out->groups[k].size++;
        if (whole) /* equality of whole runs: no other group can be meant */
            break;
    }
    if (status == FB_OK && !placed) {
        run->group = out->group_count;
        out->groups[out->group_count++] = (fb_group){.representative = index, .size = 1};
    }
    return status;
}

/* --- Where they part -------------------------------------------------------------------------- */

static char *copy(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

static fb_status describe(grouping *g, fb_group *group, fb_error *err)
{
    fb_diff_report r;
    const fb_status status =
        compare(&r, g, g->out->groups[0].representative, group->representative, err);

    if (status != FB_OK)
        return status;
    free(group->cause_text);
    free(group->why);
    group->verdict = r.verdict;
    group->first = r.first.name;
    group->what = r.first.what;
    (void)snprintf(group->part, sizeof group->part, "%s",
                   r.part > 0 ? r.parts[r.part - 1].role : "");
    group->has_equal_through = r.has_equal_through;
    group->equal_through = r.equal_through;
    group->cause = r.has_cause ? r.cause.name : NULL;
    group->replayed = !g->how.no_replay;
    group->confirmed = r.has_cause && r.cause.confirmed;
    group->cause_text = r.has_cause ? copy(r.cause.text) : NULL;
    group->why = copy(r.why);
    fb_diff_report_free(&r);
    return FB_OK;
}

/* Swaps the largest group to the front; of equals the one whose first run was given first. */
static void lead_with_the_largest(fb_groups *out)
{
    size_t best = 0, given[FB_GROUPS_RUNS_MAX] = {0};

    for (size_t i = out->run_count; i-- > 0;)
        given[out->runs[i].group] = i;
    for (size_t k = 1; k < out->group_count; k++)
        if (out->groups[k].size > out->groups[best].size ||
            (out->groups[k].size == out->groups[best].size && given[k] < given[best]))
            best = k;
    const fb_group first = out->groups[0];
    out->groups[0] = out->groups[best];
    out->groups[best] = first;
    for (size_t i = 0; i < out->run_count; i++)
        out->runs[i].group = out->runs[i].group == best ? 0
                             : out->runs[i].group == 0  ? best
                                                        : out->runs[i].group;
}

static bool parts_later(const fb_group *a, const fb_group *b)
{
    if ((a->verdict == FB_DIFF_DIFFER) != (b->verdict == FB_DIFF_DIFFER))
        return a->verdict != FB_DIFF_DIFFER;
    return a->first.step > b->first.step;
}

/* By the step in which they part from the first group. */
static void order_groups(fb_groups *out)
{
    size_t to[FB_GROUPS_RUNS_MAX] = {0}, from[FB_GROUPS_RUNS_MAX] = {0};

    for (size_t k = 0; k < out->group_count; k++)
        from[k] = k;
    for (size_t k = 2; k < out->group_count; k++)
        for (size_t at = k; at > 1 && parts_later(&out->groups[at - 1], &out->groups[at]); at--) {
            const fb_group group = out->groups[at];
            const size_t index = from[at];

            out->groups[at] = out->groups[at - 1];
            out->groups[at - 1] = group;
            from[at] = from[at - 1];
            from[at - 1] = index;
        }
    for (size_t k = 0; k < out->group_count; k++)
        to[from[k]] = k;
    for (size_t i = 0; i < out->run_count; i++)
        out->runs[i].group = to[out->runs[i].group];
}

static void judge(fb_groups *out, bool prefix)
{
    bool shorter = false, undecidable = false;

    out->verdict = FB_DIFF_SAME;
    out->majority = 2 * out->groups[0].size > out->run_count;
    for (size_t i = 0; i < out->run_count; i++)
        shorter |= out->runs[i].shorter;
    for (size_t k = 1; k < out->group_count; k++) {
        const fb_group *g = &out->groups[k];

        if (g->verdict != FB_DIFF_DIFFER) {
            undecidable = true;
            continue;
        }
        out->verdict = FB_DIFF_DIFFER;
        if (!out->has_first_step)
            out->first_step = g->first.step;
        out->has_first_step = true;
    }
    if (out->verdict == FB_DIFF_SAME && (undecidable || (shorter && !prefix)))
        out->verdict = FB_DIFF_UNDECIDABLE;
}

/* --- All -------------------------------------------------------------------------------------- */

static void tell_progress(const grouping *g, const char *doing, size_t done)
{
    if (g->asked != NULL && g->asked->progress != NULL)
        g->asked->progress(g->asked->argument, doing, done, g->out->run_count);
}

static fb_status group(grouping *g, const char *const *paths, fb_error *err)
{
    fb_groups *out = g->out;
    size_t order[FB_GROUPS_RUNS_MAX];
    fb_status status = FB_OK;

    for (size_t i = 0; i < out->run_count && status == FB_OK; i++) {
        out->runs[i].path = paths[i];
        status = look_at_run(g, &out->runs[i], err);
        tell_progress(g, "checking", i + 1);
    }
    order_runs(order, out);
    for (size_t i = 0; i < out->run_count && status == FB_OK; i++) {
        status = place(g, order[i], err);
        tell_progress(g, "comparing", i + 1);
    }
    if (status == FB_OK)
        lead_with_the_largest(out);
    for (size_t k = 1; k < out->group_count && status == FB_OK; k++)
        status = describe(g, &out->groups[k], err);
    if (status != FB_OK)
        return status;
    order_groups(out);
    if (out->group_count > 1 && out->groups[1].verdict == FB_DIFF_DIFFER) {
        g->how.no_replay = g->asked != NULL && g->asked->no_replay;
        g->how.data = g->asked != NULL ? g->asked->data : NULL;
        status = describe(g, &out->groups[1], err);
        if (status != FB_OK)
            return status;
    }
    judge(out, g->asked != NULL && g->asked->prefix);
    return FB_OK;
}

fb_status fb_groups_find(fb_groups *out, const char *const *paths, size_t count,
                         const fb_diff_options *options, fb_error *err)
{
    grouping g = {.out = out, .how = {.size = sizeof g.how}, .asked = options};
    fb_status status;

    *out = (fb_groups){0};
    if (count < 2 || count > FB_GROUPS_RUNS_MAX)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "expected 2 to %d traces, got %zu",
                        FB_GROUPS_RUNS_MAX, count);
    if (options != NULL)
        g.how.strict = options->strict;
    g.how.no_replay = g.how.no_stacks = g.how.no_verify = true;
    out->runs = calloc(count, sizeof *out->runs);
    out->groups = calloc(count, sizeof *out->groups);
    if (out->runs == NULL || out->groups == NULL) {
        fb_groups_free(out);
        return out_of_memory(err);
    }
    out->run_count = count;
    status = group(&g, paths, err);
    if (status != FB_OK)
        fb_groups_free(out);
    return status;
}

void fb_groups_free(fb_groups *groups)
{
    for (size_t k = 0; groups->groups != NULL && k < groups->group_count; k++) {
        free(groups->groups[k].cause_text);
        free(groups->groups[k].why);
    }
    free(groups->groups);
    free(groups->runs);
    *groups = (fb_groups){0};
}
