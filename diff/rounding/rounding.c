/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding.c - the course of a comparison by the rounding rules: step after step,
 * the verdict.
 */
#include "diff/rounding/rounding_judging.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diff/diff_notes.h"
#include "diff/rounding/noise.h"

/* --- Taint ------------------------------------------------------------------------------------ */

/* A draw of a forward pass that the other side has not made, as far as its events say. */
static bool is_fresh_draw(const fb__node *n)
{
    return n->site->kind == FB_KIND_DRAW && n->site->phase == FB_PHASE_FORWARD && !fb__is_paired(n);
}

static bool is_alike(const fb__node *n, const fb__table *other)
{
    return n->partner != FB__NODE_NONE && n->has_sketch &&
           fb__node_distance(n, &other->nodes[n->partner]) <= 1e-3 * fb__node_norm(n);
}

/* Where the other side has the tensor that a draw went into, it had the same numbers: those of
 * another generator, or a file's. */
static void find_shared_draws(fb__table *t, const fb__table *other)
{
    for (uint32_t i = t->start_count; i < t->count; i++) {
        const fb__node *n = &t->nodes[i];

        for (uint32_t k = 0; k < n->input_count; k++) {
            fb__node *in = &t->nodes[t->edges[n->first_input + k]];

            if (is_fresh_draw(in) && !fb__node_is_backward(n) && is_alike(n, other))
                in->how = FB__HOW_CONTENT;
        }
    }
}

/* What comes from random numbers of one side only cannot be compared. Returns whether anything is
 * left out so. */
static bool taint(fb__table *t, const fb__table *other)
{
    bool any = false;

    find_shared_draws(t, other);
    for (uint32_t i = t->start_count; i < t->count; i++) {
        fb__node *n = &t->nodes[i];

        for (uint32_t k = 0; k < n->input_count; k++) {
            const fb__node *in = &t->nodes[t->edges[n->first_input + k]];

            n->tainted |= in->tainted || is_fresh_draw(in);
        }
        any |= n->tainted;
    }
    return any;
}

/* --- Steps ------------------------------------------------------------------------------------ */

static fb_status blame(fb__judging *j, const fb__pairing *p, const fb__step_judgement *s,
                       uint64_t step, fb_error *err)
{
    fb_diff_report *r = j->report;
    const fb__node *a = &p->a->nodes[s->culprit];

    j->done = true;
    r->verdict = FB_DIFF_DIFFER;
    r->has_first = true;
    r->first = (fb_diff_first){.what = FB_DIFF_CONTENT,
                               .number_a = a->number,
                               .number_b = p->b->nodes[a->partner].number,
                               .dtype = a->site->dtype,
                               .rank = a->site->rank};
    memcpy(r->first.shape, a->site->shape, sizeof r->first.shape);
    fb__name_node(&r->first.name, p->a, s->culprit);
    fb__name_node(&r->rounding.name_b, p->b, a->partner);
    r->rounding.has_size = r->rounding.has_name_b = true;
    r->rounding.ratio = s->at[s->culprit].ratio;
    r->rounding.relative = s->at[s->culprit].distance / fb__node_norm(a);
    r->has_equal_through = step > 1;
    r->equal_through = step > 1 ? step - 1 : 0;
    return fb__rounding_cause(r, j->headers, p, s, err);
}

static fb_status judge_tables(fb__judging *j, fb__pairing *p, uint64_t step, bool first,
                              fb_error *err)
{
    fb__step_judgement s = {.at = NULL};
    double *allowed = calloc((size_t)p->a->count + 1, sizeof *allowed);
    const bool cut = fb__exclude_passes(p->a, p->b);
    fb_status status = allowed != NULL ? fb__pair_step(p, err) : fb__judging_memory(err);

    if (status == FB_OK && first && cut)
        status = fb__list_add(&j->report->left_out, err,
                              "tensors of single micro-batches (%" PRIu32 " | %" PRIu32
                              " a step): not comparable, by construction",
                              fb__passes_of_step(p->a), fb__passes_of_step(p->b));

    if (status == FB_OK && !p->same_program) { /* runs of the engine have their draws by name */
        const bool of_a = taint(p->a, p->b), of_b = taint(p->b, p->a);

        if ((of_a || of_b) && j->tainted == 0)
            j->tainted = step;
    }
    if (status == FB_OK && first)
        status = fb__tell_pairing(j, p, err);
    if (status == FB_OK)
        status = fb__allow_all(allowed, j, p, step, err);
    if (status == FB_OK)
        status = fb__rounding_judge(&s, p, allowed, j->carried, first, err);
    if (status == FB_OK) {
        fb__tell_largest(j, p, &s);
        fb__tell_size(j, p, &s);
        fb__keep_params(j, p, &s);
        j->beyond += s.beyond;
        j->report->rounding.missing += s.missing;
        if (j->useless_from == 0 && 2 * s.useless > s.compared && s.compared > 0)
            j->useless_from = step;
        if (s.culprit != FB__NODE_NONE)
            status = blame(j, p, &s, step, err);
    }
    free(s.at);
    free(allowed);
    return status;
}

/* What use has told of parameters in the first step holds for all steps. */
static void keep_starts(fb__table *start, const fb__table *t)
{
    for (uint32_t i = 0; i < start->start_count; i++) {
        start->nodes[i].partner = t->nodes[i].partner;
        start->nodes[i].how = t->nodes[i].how;
        start->nodes[i].join = t->nodes[i].join;
    }
}

static fb_status copy_joins(fb__pairing *out, const fb__pairing *from, fb_error *err)
{
    if (from->join_count == 0)
        return FB_OK;
    out->joins = malloc(from->join_count * sizeof *out->joins);
    if (out->joins == NULL)
        return fb__judging_memory(err);
    memcpy(out->joins, from->joins, from->join_count * sizeof *out->joins);
    out->join_count = out->join_capacity = from->join_count;
    return FB_OK;
}

static fb_status judge_step(fb__judging *j, uint64_t step, bool first, fb_error *err)
{
    fb__table a = {.trace = NULL}, b = {.trace = NULL};
    fb__pairing p = {.a = &a,
                     .b = &b,
                     .map = j->map,
                     .by_name = j->by_name,
                     .budget = FB__PAIRING_BUDGET,
                     .same_program =
                         fb__is_engine_run(&j->headers->a) && fb__is_engine_run(&j->headers->b)};
    fb_status status = fb__table_load(&a, j->a, &j->start_a, step, err);

    if (status == FB_OK)
        status = fb__table_load(&b, j->b, &j->start_b, step, err);
    if (status == FB_OK)
        status = copy_joins(&p, &j->start, err);
    if (status == FB_OK)
        status = judge_tables(j, &p, step, first, err);
    if (status == FB_OK && first) {
        keep_starts(&j->start_a, &a);
        keep_starts(&j->start_b, &b);
    }
    if (status == FB_OK && first && (a.truncated || b.truncated))
        status =
            fb__list_add(&j->report->left_out, err, "tensors of a step beyond the first %" PRIu32,
                         a.truncated ? a.count : b.count);
    fb__pairing_free(&p);
    fb__table_free(&a);
    fb__table_free(&b);
    return status;
}

/* Both sides name things alike: at least half of the identities of the first step. */
static fb_status compare_names(fb__judging *j, uint64_t step, fb_error *err)
{
    fb__table a, b = {.trace = NULL};
    uint32_t shared = 0;
    fb_status status = fb__table_load(&a, j->a, NULL, step, err);

    if (status == FB_OK)
        status = fb__table_load(&b, j->b, NULL, step, err);
    for (uint32_t i = a.start_count; status == FB_OK && i < a.count; i++)
        shared += fb__table_find(&b, a.nodes[i].key) != FB__NODE_NONE;
    j->by_name = 2 * shared > a.count - a.start_count && 2 * shared > b.count - b.start_count;
    if (fb__is_engine_run(&j->headers->a) && fb__is_engine_run(&j->headers->b))
        j->by_name = true;
    fb__table_free(&a);
    fb__table_free(&b);
    return status;
}

static fb_status pair_starts(fb__judging *j, uint64_t first, fb_error *err)
{
    fb_status status = compare_names(j, first, err);

    if (status == FB_OK)
        status = fb__table_load(&j->start_a, j->a, NULL, 0, err);
    if (status == FB_OK)
        status = fb__table_load(&j->start_b, j->b, NULL, 0, err);
    if (status != FB_OK)
        return status;
    j->start = (fb__pairing){.a = &j->start_a,
                             .b = &j->start_b,
                             .map = j->map,
                             .by_name = j->by_name,
                             .budget = FB__PAIRING_BUDGET};
    j->carried = calloc((size_t)j->start_a.start_count + 1, sizeof *j->carried);
    j->before = calloc((size_t)j->start_a.start_count + 1, sizeof *j->before);
    if (j->carried == NULL || j->before == NULL)
        return fb__judging_memory(err);
    for (uint32_t i = 0; i < j->start_a.start_count; i++) {
        memcpy(j->before[i].linear, j->start_a.nodes[i].linear, sizeof j->before[i].linear);
        j->before[i].norm = fb__node_norm(&j->start_a.nodes[i]);
    }
    return fb__pair_params(&j->start, err);
}

/* --- The verdict ------------------------------------------------------------------------------ */

static fb_status undecidable(fb__judging *j, fb_error *err, const char *why)
{
    j->report->verdict = FB_DIFF_UNDECIDABLE;
    free(j->report->why);
    j->report->why = strdup(why);
    return j->report->why != NULL ? FB_OK : fb__judging_memory(err);
}

static fb_status conclude(fb__judging *j, uint64_t judged, uint64_t last, fb_error *err)
{
    fb_diff_report *r = j->report;
    const fb_diff_rounding *x = &r->rounding;
    char why[256];

    if (j->done)
        return FB_OK;
    r->has_equal_through = judged > 0;
    r->equal_through = judged;
    if (x->compared == 0)
        return undecidable(j, err,
                           "nothing of the two could be compared: record both with --level sketch");
    if (j->tainted != 0) {
        (void)snprintf(why, sizeof why,
                       "from step %" PRIu64
                       " on random numbers of one side only (dropout) make the "
                       "two not comparable, by construction; what comes before agrees",
                       j->tainted);
        return undecidable(j, err, why);
    }
    if (j->beyond > 0) {
        (void)snprintf(why, sizeof why,
                       "%" PRIu32 " differences are beyond rounding, and no one operation made "
                       "them: give repeats with --noise",
                       j->beyond);
        return undecidable(j, err, why);
    }
    if (j->useless_from != 0) {
        (void)snprintf(why, sizeof why,
                       "from step %" PRIu64 " on rounding alone may have made any difference; "
                       "start both from one state there",
                       j->useless_from);
        r->equal_through = j->useless_from > 0 ? j->useless_from - 1 : 0;
        return undecidable(j, err, why);
    }
    /* The same is what has equal chains: samples, draws and modes are not looked at here. */
    r->verdict = x->equal == x->compared && fb__is_same_run(j->a, j->b, judged) ? FB_DIFF_SAME
                                                                                : FB_DIFF_ROUNDING;
    if (judged < last && !j->options->prefix) {
        (void)snprintf(why, sizeof why,
                       "judged through step %" PRIu64 " of %" PRIu64 ", where the envelope ends: "
                       "firstbit noise makes a longer one",
                       judged, last);
        return undecidable(j, err, why);
    }
    return FB_OK;
}

/* Whether both have parameters, and no one of either begins as any of the other: by names, contents
 * or a map. What they compute has nothing to do with each other then. Zeros and ones tell nothing:
 * biases of any model begin so. */
static bool is_unrelated(const fb__judging *j)
{
    size_t told = 0, paired = 0;

    for (uint32_t i = 0; i < j->start_a.start_count; i++) {
        const fb__node *n = &j->start_a.nodes[i];
        const bool tells = n->min != n->max;

        told += tells;
        paired += fb__is_paired(n) && (tells || n->how == FB__HOW_MAP);
    }
    return told > 0 && j->start_b.start_count > 0 && paired == 0 && j->start.join_count == 0 &&
           !j->by_name;
}

static fb_status judge_steps(fb__judging *j, uint64_t first, uint64_t last, fb_error *err)
{
    uint64_t judged = 0;
    fb_status status = pair_starts(j, first, err);

    if (status == FB_OK && is_unrelated(j)) {
        j->report->rounding.params = j->start_a.start_count;
        return undecidable(j, err,
                           "no parameter of one begins as any of the other: different models, or "
                           "other first values, and nothing else tells what is to be compared "
                           "(--map FILE says which is which)");
    }
    for (uint64_t step = first; status == FB_OK && !j->done && step <= last; step++) {
        if (step > j->measured_to || j->useless_from != 0 || j->tainted != 0)
            break;
        status = judge_step(j, step, step == first, err);
        if (status == FB_OK)
            judged = step;
        if (j->options->progress != NULL)
            j->options->progress(j->options->argument, "comparing", step, last);
    }
    return status == FB_OK ? conclude(j, judged, last, err) : status;
}

static void free_judging(fb__judging *j)
{
    static const char *const files[] = {"a.fbt", "b.fbt", "envelope.fbt"};
    char file[560];

    fb__pairing_free(&j->start);
    fb__table_free(&j->start_a);
    fb__table_free(&j->start_b);
    fb__map_free(j->map);
    free(j->carried);
    free(j->before);
    for (size_t i = 0; i < j->envelope_count; i++)
        fb_trace_close(j->envelopes[i].trace);
    fb_trace_close(j->own_a);
    fb_trace_close(j->own_b);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && j->folder[0] != '\0'; i++) {
        fb__judging_file(file, j, files[i]);
        (void)unlink(file);
    }
    if (j->folder[0] != '\0')
        (void)rmdir(j->folder);
    free(j);
}

fb_status fb__rounding_compare(fb_diff_report *report, const fb_diff_options *options,
                               const fb__headers *headers, fb_trace *a, fb_trace *b, uint64_t first,
                               uint64_t last, fb_error *err)
{
    fb__judging *j = calloc(1, sizeof *j);
    fb_status status = FB_OK;

    if (j == NULL)
        return fb__judging_memory(err);
    *j = (fb__judging){.report = report, .options = options, .headers = headers, .a = a, .b = b};
    report->rounding.used = true;
    first = first == 0 ? 1 : first;
    if (options->map != NULL)
        status = fb__map_read(&j->map, options->map, err);
    if (status == FB_OK)
        status = fb__add_sketches(j, false, last, err);
    if (status == FB_OK)
        status = fb__add_sketches(j, true, last, err);
    if (status == FB_OK)
        status = fb__find_envelopes(j, first, last, err);
    if (status == FB_OK)
        status = judge_steps(j, first, last, err);
    free_judging(j);
    return status;
}
