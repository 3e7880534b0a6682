/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_parts.c - the traces of a run's other processes, each against its partner; the earliest
 * difference of all speaks for the run.
 */
#include "diff/parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/cause/causes.h"
#include "diff/diff_notes.h"
#include "diff/replicas.h"
#include "tracer/read/linked.h"

/* The parts of one run. */
typedef struct side {
    const char *main;
    bool torn; /* the main trace ends early: later processes may be missing */
    fb_linked linked;
    fb_hash content[FB_LINKED_MAX]; /* of forked children: what they recorded; 0: not known */
    size_t partner[FB_LINKED_MAX];  /* index in the other side, or NONE */
} side;

enum { NONE = FB_LINKED_MAX };

static fb_status no_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

/* --- Which parts there are ---------------------------------------------------------------------
 */

static int by_role(const void *x, const void *y)
{
    const fb_linked_part *a = x, *b = y;
    const int order = strverscmp(a->role, b->role);

    return order != 0 ? order : strverscmp(a->name, b->name);
}

/* The number of a forked child says which of them reported first, which may be a matter of time.
 * Its last chains say what it did. */
static bool is_child(const fb_linked_part *part)
{
    return strncmp(part->role, "child", 5) == 0;
}

static fb_status take_content(fb_hash *out, fb_diff_report *report, const char *path, fb_error *err)
{
    fb_trace_step last;
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    if (fb_trace_get_info(t)->status == FB_TRACE_COMPLETE && fb_trace_get_info(t)->steps > 0 &&
        fb_trace_get_step(t, fb_trace_get_info(t)->last_step, &last, NULL) == FB_OK)
        *out = fb_hash_bytes(last.chain, FB_CLASS_NOTES * sizeof last.chain[0]);
    report->bytes_read += fb_trace_bytes_read(t);
    fb_trace_close(t);
    return FB_OK;
}

static fb_status take_contents(side *s, fb_diff_report *report, fb_error *err)
{
    fb_status status = FB_OK;

    for (size_t i = 0; i < s->linked.count && status == FB_OK; i++) {
        char *path;

        s->partner[i] = NONE;
        if (!is_child(&s->linked.parts[i]))
            continue;
        path = fb_linked_path(&s->linked.parts[i], s->main);
        status = path == NULL ? no_memory(err) : take_content(&s->content[i], report, path, err);
        free(path);
    }
    return status;
}

/* A folder that cannot be listed hides parts, and the report says so. */
static fb_status find_side(side *s, fb_diff_report *report, fb_error *err)
{
    fb_error failure;
    fb_trace *t;
    fb_status status = fb_trace_open(&t, s->main, err);

    if (status != FB_OK)
        return status;
    s->torn = fb_trace_get_info(t)->status != FB_TRACE_COMPLETE;
    status = fb_linked_parts(&s->linked, t, s->main, &failure);
    report->bytes_read += fb_trace_bytes_read(t);
    fb_trace_close(t);
    if (status != FB_OK)
        s->linked = (fb_linked){.count = 0};
    if (status == FB_E_MEMORY)
        return no_memory(err);
    if (status != FB_OK)
        return fb__list_add(&report->left_out, err, "other processes of %s: %s", s->main,
                            failure.text);
    qsort(s->linked.parts, s->linked.count, sizeof *s->linked.parts, by_role);
    status = take_contents(s, report, err);
    return status == FB_OK && s->linked.more
               ? fb__list_add(&report->left_out, err, "more than %zu processes of %s",
                              s->linked.count, s->main)
               : status;
}

/* --- Who is whose partner ----------------------------------------------------------------------
 */

/* One process of one run, as the rules see it. */
typedef struct member {
    const fb_linked_part *part;
    fb_hash content;
} member;

typedef bool fits(member x, member y);

static bool has_role(member x, member y)
{
    return strcmp(x.part->role, y.part->role) == 0;
}

static bool has_content(member x, member y)
{
    return !fb_hash_is_zero(x.content) && fb_hash_equal(x.content, y.content);
}

static bool has_both(member x, member y)
{
    return has_role(x, y) && (!is_child(x.part) || has_content(x, y));
}

static bool is_another_child(member x, member y)
{
    return is_child(x.part) && is_child(y.part);
}

static member member_of(const side *s, size_t i)
{
    return (member){&s->linked.parts[i], s->content[i]};
}

/* By role; children by what they did, and only what is left of them by role and then in order.
 * Returns how many pairs have two roles. */
static size_t find_partners(side *a, side *b)
{
    static fits *const rules[] = {has_both, has_content, has_role, is_another_child};
    size_t renumbered = 0;

    if (a->linked.parts == NULL || b->linked.parts == NULL) /* then there are none */
        return 0;
    for (size_t rule = 0; rule < sizeof rules / sizeof rules[0]; rule++)
        for (size_t i = 0; i < a->linked.count; i++)
            for (size_t k = 0; k < b->linked.count && a->partner[i] == NONE; k++)
                if (b->partner[k] == NONE && rules[rule](member_of(a, i), member_of(b, k))) {
                    a->partner[i] = k;
                    b->partner[k] = i;
                    renumbered += !has_role(member_of(a, i), member_of(b, k));
                }
    return renumbered;
}

/* --- One pair ----------------------------------------------------------------------------------
 */

/* The comparison of a run under way: the pair that speaks for it so far, and what the others said.
 */
typedef struct joining {
    fb_diff_report best;
    size_t best_part; /* 0: the main traces, else one more than the index of a part */
    fb_diff_report
        rest; /* parts, notes and left_out of the others; candidates of the main traces */
} joining;

static const char *role_of(const joining *j, size_t part)
{
    return part == 0 ? "main" : j->rest.parts[part - 1].role;
}

static fb_status take_lines(fb_diff_list *to, const fb_diff_list *from, const char *role,
                            fb_error *err)
{
    fb_status status = FB_OK;

    for (size_t i = 0; i < from->count && status == FB_OK; i++)
        status = fb__list_add(to, err, "%s: %s", role, from->at[i]);
    return status;
}

/* A launcher's own trace says nothing where it did nothing that is recorded: its ranks speak. */
static bool says_nothing(const fb_diff_report *r)
{
    return r->verdict == FB_DIFF_UNDECIDABLE && r->events_a == 0 && r->events_b == 0;
}

/* Takes `other`, the report of a part. Where none of two comes first, the one before is told. */
static fb_status join(joining *j, fb_diff_report *other, size_t part, fb_error *err)
{
    fb_status status;

    j->rest.bytes_read += other->bytes_read;
    if (fb__part_is_earlier(other, role_of(j, part), &j->best, role_of(j, j->best_part),
                            &j->rest.bytes_read) ||
        (says_nothing(&j->best) && !says_nothing(other))) {
        const fb_diff_report loser = j->best;
        const size_t loser_part = j->best_part;

        j->best = *other;
        j->best_part = part;
        *other = loser;
        part = loser_part;
        if (part == 0) { /* configuration, files and seed are in the headers of the main traces */
            j->rest.candidates = other->candidates;
            j->rest.candidate_count = other->candidate_count;
            other->candidates = NULL;
            other->candidate_count = 0;
        }
    }
    status = take_lines(&j->rest.left_out, &other->left_out, role_of(j, part), err);
    if (status == FB_OK)
        status = take_lines(&j->rest.notes, &other->notes, role_of(j, part), err);
    j->rest.notes_more += other->notes_more;
    fb_diff_report_free(other);
    return status;
}

/* How far a process was recorded. */
typedef struct extent {
    bool torn;
    uint64_t steps, events;
} extent;

static fb_status find_extent(extent *out, fb_diff_report *report, const char *path, fb_error *err)
{
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    *out = (extent){.torn = fb_trace_get_info(t)->status == FB_TRACE_TORN,
                    .steps = fb_trace_get_info(t)->steps,
                    .events = fb_trace_get_info(t)->events};
    report->bytes_read += fb_trace_bytes_read(t);
    fb_trace_close(t);
    return FB_OK;
}

/* Whether it has no step to compare because it ended early, or did nothing. */
static bool is_empty(const extent *x)
{
    return x->steps == 0 && (x->torn || x->events == 0);
}

/* Nothing to compare: said, and no reason to doubt what the other processes say. */
static fb_status leave_empty(joining *j, size_t part, const extent *a, const extent *b,
                             fb_error *err)
{
    fb_diff_part *p = &j->rest.parts[part - 1];
    const char *who = is_empty(a) && is_empty(b) ? "both" : is_empty(a) ? "a" : "b";
    char why[64];

    p->events_a = a->events;
    p->events_b = b->events;
    p->verdict = FB_DIFF_SAME;
    if (a->events == 0 && b->events == 0)
        return fb__list_add(&j->rest.notes, err, "process %s recorded nothing", p->role);
    p->verdict = FB_DIFF_UNDECIDABLE;
    p->empty = true;
    (void)snprintf(why, sizeof why, "no finished step in %s", who);
    p->why = strdup(why);
    return p->why == NULL ? no_memory(err)
                          : fb__list_add(&j->rest.left_out, err, "process %s (%s)", p->role, why);
}

/* A process that helps is often ended from outside, or by _exit, when its work is done. */
static bool is_helper(const char *role)
{
    return strncmp(role, "child", 5) == 0 || strncmp(role, "worker", 6) == 0;
}

static fb_status compare_pair(joining *j, size_t part, const fb_diff_options *options,
                              fb_error *err)
{
    fb_diff_part *p = &j->rest.parts[part - 1];
    fb_diff_options how = *options;
    fb_diff_report report;
    extent a, b;
    fb_status status;

    if (is_helper(p->role) && !options->strict) {
        status = find_extent(&a, &j->rest, p->a, err);
        if (status == FB_OK)
            status = find_extent(&b, &j->rest, p->b, err);
        if (status != FB_OK)
            return status;
        if (is_empty(&a) || is_empty(&b))
            return leave_empty(j, part, &a, &b, err);
        how.prefix |= a.torn || b.torn;
    }
    how.no_verify = false; /* who has verified the traces given has not read these */
    status = fb__diff_files(&report, p->a, p->b, &how, err);
    if (status != FB_OK)
        return status;
    p->verdict = report.verdict;
    p->has_first = report.has_first;
    p->first_step = report.has_first ? report.first.name.step : 0;
    p->events_a = report.events_a;
    p->events_b = report.events_b;
    if (report.why != NULL && (p->why = strdup(report.why)) == NULL) {
        fb_diff_report_free(&report);
        return no_memory(err);
    }
    return join(j, &report, part, err);
}

/* --- A part without a partner ------------------------------------------------------------------
 */

static void fill_first(fb_diff_first *out, const fb_trace *t, const fb_event *e, uint64_t number,
                       bool in_a)
{
    const fb_site *site = fb_trace_site(t, e->site);

    *out = (fb_diff_first){.what = in_a ? FB_DIFF_ONLY_A : FB_DIFF_ONLY_B,
                           .number_a = in_a ? number : UINT64_MAX,
                           .number_b = in_a ? UINT64_MAX : number,
                           .dtype = site->dtype,
                           .rank = site->rank};
    memcpy(out->shape, site->shape, sizeof out->shape);
    fb_event_name_of(&out->name, site, e);
    (void)fb_event_content_text(in_a ? out->content_a : out->content_b, sizeof out->content_a, site,
                                e);
}

/* The first event that a verdict concerns; *found is false where there is none. `any`: notes, too.
 */
static fb_status find_first(fb_diff_report *out, bool *found, const char *path, bool in_a, bool any,
                            fb_error *err)
{
    const fb_event *e = NULL;
    uint64_t number = 0;
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    *found = false;
    if (status != FB_OK)
        return status;
    *(in_a ? &out->events_a : &out->events_b) = fb_trace_get_info(t)->events;
    while (!*found && (status = fb_trace_next(t, &e, &number, err)) == FB_OK && e != NULL)
        *found = any || fb_site_class(fb_trace_site(t, e->site)) != FB_CLASS_NOTES;
    if (*found)
        fill_first(&out->first, t, e, number, in_a);
    out->bytes_read += fb_trace_bytes_read(t);
    fb_trace_close(t);
    return status;
}

static fb_status judge_single(joining *j, size_t part, bool other_is_torn,
                              const fb_diff_options *options, fb_error *err)
{
    fb_diff_part *p = &j->rest.parts[part - 1];
    const bool in_a = p->a != NULL;
    const char *own = in_a ? "a" : "b", *other = in_a ? "b" : "a";
    fb_diff_report report = {.verdict = FB_DIFF_SAME};
    bool found;
    fb_status status = find_first(&report, &found, in_a ? p->a : p->b, in_a, options->strict, err);

    p->events_a = report.events_a;
    p->events_b = report.events_b;
    if (status == FB_OK && found && !other_is_torn) {
        report.verdict = p->verdict = FB_DIFF_DIFFER;
        report.has_first = p->has_first = true;
        p->first_step = report.first.name.step;
        report.has_cause = true;
        report.cause.name = "unknown";
        fb__say(&report.cause, "%s has a process that %s lacks: %s", own, other, p->role);
        fb__say_fix(&report.cause, "start the same processes in both: workers, ranks, forks");
        report.name_a = strdup(in_a ? p->a : j->best.name_a);
        report.name_b = strdup(in_a ? j->best.name_b : p->b);
        if (report.cause.text == NULL || report.cause.fix == NULL || report.name_a == NULL ||
            report.name_b == NULL)
            status = no_memory(err);
    } else if (status == FB_OK && found) {
        status = fb__list_add(&j->rest.left_out, err, "process %s (only %s has it; %s ends early)",
                              p->role, own, other);
    } else if (status == FB_OK) {
        status = fb__list_add(&j->rest.notes, err, "process %s, in %s only, recorded no training",
                              p->role, own);
    }
    if (status == FB_OK)
        return join(j, &report, part, err);
    fb_diff_report_free(&report);
    return status;
}

/* --- All of them -------------------------------------------------------------------------------
 */

static fb_diff_part *add_part(joining *j, const side *a, size_t i, const side *b, size_t k)
{
    const fb_linked_part *x = i == NONE ? NULL : &a->linked.parts[i];
    const fb_linked_part *y = k == NONE ? NULL : &b->linked.parts[k];
    fb_diff_part *parts = realloc(j->rest.parts, (j->rest.part_count + 1) * sizeof *j->rest.parts),
                 *part;

    if (parts == NULL)
        return NULL;
    j->rest.parts = parts;
    part = &parts[j->rest.part_count++];
    *part = (fb_diff_part){.a = x != NULL ? fb_linked_path(x, a->main) : NULL,
                           .b = y != NULL ? fb_linked_path(y, b->main) : NULL};
    (void)snprintf(part->role, sizeof part->role, "%s", (x != NULL ? x : y)->role);
    return (x != NULL && part->a == NULL) || (y != NULL && part->b == NULL) ? NULL : part;
}

static fb_status compare_parts(joining *j, side *a, side *b, const fb_diff_options *options,
                               fb_error *err)
{
    const size_t renumbered = find_partners(a, b);
    fb_status status = FB_OK;

    for (size_t i = 0; i < a->linked.count && status == FB_OK; i++) {
        const size_t k = a->partner[i];

        if (add_part(j, a, i, b, k) == NULL)
            return no_memory(err);
        status = k != NONE ? compare_pair(j, j->rest.part_count, options, err)
                           : judge_single(j, j->rest.part_count, b->torn, options, err);
    }
    for (size_t k = 0; k < b->linked.count && status == FB_OK; k++) {
        if (b->partner[k] != NONE)
            continue;
        if (add_part(j, a, NONE, b, k) == NULL)
            return no_memory(err);
        status = judge_single(j, j->rest.part_count, a->torn, options, err);
    }
    if (status == FB_OK && renumbered > 0)
        status = fb__list_add(&j->rest.notes, err,
                              "%zu forked children have another number in b: they count in the "
                              "order in which they first report",
                              renumbered);
    return status;
}

/* Equal as far as it goes, or not comparable, in one process: so is the run. */
static fb_status judge_undecided(joining *j, fb_error *err)
{
    for (size_t i = 0; i < j->rest.part_count && j->best.verdict != FB_DIFF_DIFFER; i++) {
        const fb_diff_part *part = &j->rest.parts[i];
        const size_t size = sizeof part->role + 8 + (part->why != NULL ? strlen(part->why) : 0);

        if (part->verdict != FB_DIFF_UNDECIDABLE || part->empty ||
            j->best.verdict == FB_DIFF_UNDECIDABLE)
            continue;
        j->best.why = malloc(size);
        if (j->best.why == NULL)
            return no_memory(err);
        (void)snprintf(j->best.why, size, "%s: %s", part->role,
                       part->why != NULL ? part->why : "not comparable");
        j->best.verdict = FB_DIFF_UNDECIDABLE;
    }
    return FB_OK;
}

static fb_status move_lines(fb_diff_list *to, const fb_diff_list *from, fb_error *err)
{
    fb_status status = FB_OK;

    for (size_t i = 0; i < from->count && status == FB_OK; i++)
        status = fb__list_add(to, err, "%s", from->at[i]);
    return status;
}

static fb_status assemble(fb_diff_report *out, joining *j, fb_error *err)
{
    fb_status status = judge_undecided(j, err);

    if (j->best_part != 0) {
        fb__candidates_free(&j->best);
        j->best.candidates = j->rest.candidates;
        j->best.candidate_count = j->rest.candidate_count;
        j->rest.candidates = NULL;
        j->rest.candidate_count = 0;
    }
    if (status == FB_OK)
        status = move_lines(&j->best.left_out, &j->rest.left_out, err);
    if (status == FB_OK)
        status = move_lines(&j->best.notes, &j->rest.notes, err);
    j->best.notes_more += j->rest.notes_more;
    *out = j->best;
    out->bytes_read = j->rest.bytes_read;
    out->part = j->best_part;
    out->parts = j->rest.parts;
    out->part_count = j->rest.part_count;
    j->rest.parts = NULL;
    j->rest.part_count = 0;
    fb_diff_report_free(&j->rest);
    return status;
}

fb_status fb__diff_parts(fb_diff_report *report, const fb_diff_options *options, fb_error *err)
{
    char *main_a = strdup(report->name_a), *main_b = strdup(report->name_b);
    side *sides = calloc(2, sizeof *sides);
    joining j = {.best = *report};
    fb_status status = FB_OK, assembled;

    if (main_a == NULL || main_b == NULL || sides == NULL)
        status = no_memory(err);
    for (int i = 0; i < 2 && status == FB_OK; i++) {
        sides[i].main = i == 0 ? main_a : main_b;
        status = find_side(&sides[i], &j.best, err);
    }
    j.rest.bytes_read = j.best.bytes_read;
    if (status == FB_OK)
        status = compare_parts(&j, &sides[0], &sides[1], options, err);
    for (int i = 0; i < 2 && status == FB_OK; i++)
        status = fb__note_replicas(&j.rest.notes, sides[i].main, i == 0 ? "a" : "b", err);
    assembled = assemble(report, &j, status == FB_OK ? err : NULL);
    for (int i = 0; i < 2 && sides != NULL; i++)
        fb_linked_free(&sides[i].linked);
    free(sides);
    free(main_a);
    free(main_b);
    return status == FB_OK ? assembled : status;
}

/* --- In words ----------------------------------------------------------------------------------
 */

static void put(char *out, size_t size, size_t *used, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void put(char *out, size_t size, size_t *used, const char *format, ...)
{
    va_list args;
    int n;

    if (*used + 1 >= size)
        return;
    va_start(args, format);
    n = vsnprintf(out + *used, size - *used, format, args);
    va_end(args);
    *used = n < 0 || (size_t)n >= size - *used ? size - 1 : *used + (size_t)n;
}

/* Those that are the same first, in one breath; `told` of each kind are named. */
char *fb__parts_text(char *out, size_t size, const fb_diff_report *report)
{
    enum { TOLD = 6 };
    size_t used = 0, same = 0, others = 0;

    out[0] = '\0';
    for (size_t i = 0; i < report->part_count; i++)
        if (report->parts[i].verdict == FB_DIFF_SAME && same++ < TOLD)
            put(out, size, &used, "%s%s", same > 1 ? ", " : "", report->parts[i].role);
    if (same > TOLD)
        put(out, size, &used, " and %zu more", same - TOLD);
    if (same > 0)
        put(out, size, &used, ": same");
    for (size_t i = 0; i < report->part_count; i++) {
        const fb_diff_part *part = &report->parts[i];

        if (part->verdict == FB_DIFF_SAME || others++ >= TOLD)
            continue;
        put(out, size, &used, "%s%s: %s", used > 0 ? "; " : "", part->role,
            part->a == NULL                        ? "only in b"
            : part->b == NULL                      ? "only in a"
            : part->verdict == FB_DIFF_UNDECIDABLE ? "undecidable"
                                                   : "differs");
        if (part->has_first)
            put(out, size, &used, ", first at step %" PRIu64, part->first_step);
    }
    if (others > TOLD)
        put(out, size, &used, "; and %zu more", others - TOLD);
    return fb__make_printable(out);
}
