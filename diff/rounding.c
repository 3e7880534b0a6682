/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding.c - the course of a comparison by the rounding rules: what is compared with what, the
 * envelope, step after step, the verdict.
 */
#include "diff/rounding.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "diff/causes.h"
#include "diff/diff_notes.h"
#include "diff/noise.h"

enum {
    ENVELOPES_MAX = 16,
    NOISE_STEPS_MAX =
        100,            /* measured unasked: three repeats of this many steps, and the run itself */
    BUDGET = 4 << 20,   /* comparisons of contents for one pairing: a second at most */
    UNPAIRED_MAX = 256, /* named in the report */
    PAIRS_MAX = 1024,   /* the same */
};

/* The sketch of a parameter before the step. */
typedef struct value_before {
    double linear[FB_SKETCH_BUCKETS];
} value_before;

typedef struct judging {
    fb_diff_report *report;
    const fb_diff_options *options;
    const fb__headers *headers;
    fb_trace *a, *b;         /* with sketches, where they could be had */
    fb_trace *own_a, *own_b; /* those of them that were made here */
    fb__map *map;
    fb__envelope envelopes[ENVELOPES_MAX];
    size_t envelope_count;
    uint64_t measured_to; /* last step with an envelope */
    char folder[512];     /* "": none was made */
    fb__table start_a, start_b;
    fb__pairing start;    /* of the two */
    double *carried;      /* by start node of a: the ratio of its parameter after the step before */
    value_before *before; /* the same of its value */
    double
        *shares; /* and how far rounding may have carried it, relative; where nothing is measured */
    uint32_t beyond;       /* pairs beyond the limit that no operation could be blamed for */
    uint64_t tainted;      /* first step with random numbers that only one side has; 0: none */
    uint64_t useless_from; /* first step in which rounding explains anything; 0: none */
    bool by_name, done;
} judging;

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging differences: out of memory");
}

/* --- When ------------------------------------------------------------------------------------- */

static bool is_engine(const fb__run_header *header)
{
    return header->configuration != NULL;
}

/* The only difference of two configurations is how a batch is cut. */
static bool differs_in_micro_only(const fb_diff_report *report)
{
    bool micro = false;

    for (size_t i = 0; i < report->candidate_count; i++) {
        const fb_diff_candidate *k = &report->candidates[i];

        if (strcmp(k->what, "config") != 0 && strcmp(k->what, "seed") != 0 &&
            strcmp(k->what, "file") != 0)
            continue;
        if (strcmp(k->key, "batch.micro") != 0)
            return false;
        micro = true;
    }
    return micro;
}

/* Two recorded programs whose parameters have other names: most of them, or all are the same ones
 * by content and some are called, laid out or cut otherwise. */
static fb_status has_other_names(bool *out, fb_trace *a, fb_trace *b, fb_error *err)
{
    fb__table x, y = {.trace = NULL};
    fb__pairing p = {.a = &x, .b = &y, .by_name = true, .budget = BUDGET};
    uint32_t shared = 0, paired = 0, named = 0;
    fb_status status = fb__table_load(&x, a, NULL, 0, err);

    *out = false;
    if (status == FB_OK)
        status = fb__table_load(&y, b, NULL, 0, err);
    if (status == FB_OK)
        status = fb__pair_params(&p, err);
    for (uint32_t i = 0; status == FB_OK && i < x.start_count; i++) {
        shared += fb__table_find_param(&y, x.nodes[i].site->path) != FB__NODE_NONE;
        named += x.nodes[i].how == FB__HOW_NAME;
        paired += fb__is_paired(&x.nodes[i]);
    }
    for (uint32_t i = 0; status == FB_OK && i < y.start_count; i++)
        paired += fb__is_paired(&y.nodes[i]);
    if (x.start_count >= 2 && y.start_count >= 2)
        *out = (2 * shared < x.start_count && 2 * shared < y.start_count) ||
               (paired == x.start_count + y.start_count && named < x.start_count);
    fb__pairing_free(&p);
    fb__table_free(&x);
    fb__table_free(&y);
    return status;
}

fb_status fb__rounding_applies(bool *applies, const fb_diff_report *report,
                               const fb_diff_options *options, const fb__headers *headers,
                               fb_trace *a, fb_trace *b, fb_error *err)
{
    *applies = options->rounding || options->map != NULL || options->noise_count > 0;
    if (options->bitwise)
        *applies = false;
    if (*applies || options->bitwise)
        return FB_OK;
    if (is_engine(&headers->a) != is_engine(&headers->b))
        *applies = true;
    else if (is_engine(&headers->a))
        *applies =
            fb__run_header_is_openblas(&headers->a) != fb__run_header_is_openblas(&headers->b) ||
            differs_in_micro_only(report);
    else
        return has_other_names(applies, a, b, err);
    return FB_OK;
}

/* --- Traces with sketches --------------------------------------------------------------------- */

static fb_status make_folder(judging *j, fb_error *err)
{
    const char *place = getenv("TMPDIR");

    if (j->folder[0] != '\0')
        return FB_OK;
    (void)snprintf(j->folder, sizeof j->folder, "%.400s/firstbit-XXXXXX",
                   place != NULL && place[0] == '/' ? place : "/tmp");
    if (mkdtemp(j->folder) != NULL)
        return FB_OK;
    j->folder[0] = '\0';
    return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "no folder for repeats of a run can be made");
}

static void name_file(char out[560], const judging *j, const char *name)
{
    (void)snprintf(out, 560, "%s/%s", j->folder, name);
}

static fb_noise_options noise_options(const judging *j, uint64_t to)
{
    return (fb_noise_options){.size = sizeof(fb_noise_options),
                              .to = to,
                              .data = j->options->data,
                              .progress = j->options->progress,
                              .argument = j->options->argument};
}

/* Whether a run made again is the recorded one: its chains of all state are equal at a step. */
static bool is_same_run(fb_trace *made, fb_trace *recorded, uint64_t step)
{
    fb_trace_step x, y;

    if (fb_trace_get_step(made, step, &x, NULL) != FB_OK ||
        fb_trace_get_step(recorded, step, &y, NULL) != FB_OK)
        return false;
    for (int k = 0; k < FB_CLASS_NOTES; k++)
        if (!fb_hash_is_zero(x.chain[k]) && !fb_hash_is_zero(y.chain[k]) &&
            (x.chain[k].lo != y.chain[k].lo || x.chain[k].hi != y.chain[k].hi))
            return false;
    return true;
}

/* A run of the engine that was recorded without sketches is made again with them. */
static fb_status add_sketches(judging *j, bool of_b, uint64_t last, fb_error *err)
{
    fb_trace **trace = of_b ? &j->b : &j->a, **own = of_b ? &j->own_b : &j->own_a;
    const fb__run_header *header = of_b ? &j->headers->b : &j->headers->a;
    const char *path = of_b ? j->report->name_b : j->report->name_a;
    const fb_noise_options how = noise_options(j, last);
    fb_error why;
    char file[560];
    fb_status status;

    if (fb_trace_get_info(*trace)->level >= FB_LEVEL_SKETCH || !is_engine(header) ||
        j->options->no_replay)
        return FB_OK;
    status = make_folder(j, err);
    if (status != FB_OK)
        return status;
    name_file(file, j, of_b ? "b.fbt" : "a.fbt");
    status = fb__record_again(file, path, 0, last, &how, &why);
    if (status == FB_OK)
        status = fb_trace_open(own, file, &why);
    if (status == FB_OK && !is_same_run(*own, *trace, last)) {
        fb_trace_close(*own);
        *own = NULL;
        return fb__list_add(&j->report->left_out, err,
                            "%s: its replay gives other bits, so it has no sketches", path);
    }
    if (status != FB_OK)
        return fb__list_add(&j->report->left_out, err, "%s: no sketches: %s", path, why.text);
    *trace = *own;
    return FB_OK;
}

/* --- Envelopes -------------------------------------------------------------------------------- */

static fb_status add_envelope(judging *j, fb_trace *trace, bool of_b, fb_error *err)
{
    if (j->envelope_count == ENVELOPES_MAX)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "--noise: more than %d traces",
                        ENVELOPES_MAX);
    j->envelopes[j->envelope_count++] =
        (fb__envelope){.trace = trace, .measured = fb__is_envelope(trace), .of_b = of_b};
    return FB_OK;
}

/* Whose repeat a trace is: it has the identities of that side's first step. */
static fb_status speaks_of_b(bool *out, const judging *j, fb_trace *trace, uint64_t step,
                             fb_error *err)
{
    fb__table repeat, side;
    uint32_t known[2] = {0, 0};
    fb_status status = fb__table_load(&repeat, trace, NULL, step, err);

    for (int k = 0; k < 2 && status == FB_OK; k++) {
        status = fb__table_load(&side, k == 0 ? j->a : j->b, NULL, step, err);
        for (uint32_t i = side.start_count; i < side.count; i++)
            known[k] += fb__table_find(&repeat, side.nodes[i].key) != FB__NODE_NONE;
        fb__table_free(&side);
    }
    fb__table_free(&repeat);
    *out = known[1] > known[0];
    return status;
}

static fb_status open_noise(judging *j, uint64_t first, uint64_t last, fb_error *err)
{
    fb_status status = FB_OK;

    for (size_t i = 0; i < j->options->noise_count && status == FB_OK; i++) {
        fb_trace *trace = NULL;
        bool of_b = false;

        status = fb_trace_open(&trace, j->options->noise[i], err);
        if (status == FB_OK)
            status = speaks_of_b(&of_b, j, trace, first, err);
        if (status == FB_OK)
            status = add_envelope(j, trace, of_b, err);
        if (status != FB_OK)
            fb_trace_close(trace);
        else if (fb_trace_get_info(trace)->last_step < j->measured_to || j->measured_to == 0)
            j->measured_to = fb_trace_get_info(trace)->last_step;
    }
    if (j->measured_to > last)
        j->measured_to = last;
    (void)snprintf(j->report->rounding.envelope, sizeof j->report->rounding.envelope,
                   "%zu given with --noise", j->envelope_count);
    return status;
}

/* Measures how far rounding carries a run of the engine; false where that cannot be done. */
static fb_status measure_side(bool *done, judging *j, bool of_b, uint64_t last, fb_error *err)
{
    const fb__run_header *header = of_b ? &j->headers->b : &j->headers->a;
    const char *path = of_b ? j->report->name_b : j->report->name_a;
    const uint64_t to = last < NOISE_STEPS_MAX ? last : NOISE_STEPS_MAX;
    fb_noise_options how = noise_options(j, to);
    fb_trace *trace = NULL;
    fb_error why;
    char file[560];
    fb_status status;

    *done = false;
    if (!is_engine(header) || j->options->no_replay)
        return FB_OK;
    status = make_folder(j, err);
    if (status != FB_OK)
        return status;
    name_file(file, j, "envelope.fbt");
    status = fb_noise(file, path, &how, &why);
    if (status == FB_OK)
        status = fb_trace_open(&trace, file, &why);
    if (status != FB_OK)
        return fb__list_add(&j->report->left_out, err, "envelope of %s: %s", path, why.text);
    *done = true;
    j->measured_to = to;
    (void)snprintf(j->report->rounding.envelope, sizeof j->report->rounding.envelope,
                   "%d repeats of %s under last-bit noise", FB_NOISE_REPEATS, of_b ? "b" : "a");
    return add_envelope(j, trace, of_b, err);
}

static fb_status find_envelopes(judging *j, uint64_t first, uint64_t last, fb_error *err)
{
    fb_status status;
    bool done = false;

    if (j->options->noise_count > 0)
        return open_noise(j, first, last, err);
    status = measure_side(&done, j, false, last, err);
    if (status == FB_OK && !done)
        status = measure_side(&done, j, true, last, err);
    if (status == FB_OK && !done) {
        j->measured_to = last;
        (void)snprintf(j->report->rounding.envelope, sizeof j->report->rounding.envelope,
                       "the rounding of each operation, handed on (no repeats: --noise)");
    }
    return status;
}

/* --- Without repeats -------------------------------------------------------------------------- */

/* How far the update moved a parameter, by the sketches of its values before and after. */
static double update_of(const judging *j, const fb__table *t, const fb__node *n)
{
    const uint32_t owner = fb__table_find_param(t, n->site->path);
    double square = 0;

    if (owner == FB__NODE_NONE || !n->has_sketch)
        return fb__node_norm(n);
    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = n->linear[i] - j->before[owner].linear[i];
        square += d * d;
    }
    return sqrt(square);
}

/* Marks the gradients of parameters, and what of their size they are made from. */
static void mark_param_gradients(bool *marked, const fb__table *t)
{
    for (uint32_t i = t->count; i-- > t->start_count;) {
        const fb__node *n = &t->nodes[i];
        const char *slot = n->site->slot == NULL ? "" : n->site->slot;

        marked[i] |= n->site->kind == FB_KIND_TENSOR && strncmp(slot, "grad", 4) == 0 &&
                     fb__table_find_param(t, n->site->path) != FB__NODE_NONE;
        for (uint32_t k = 0; k < n->input_count && marked[i]; k++) {
            const uint32_t in = t->edges[n->first_input + k];

            if (t->nodes[in].elements == n->elements)
                marked[in] = true;
        }
    }
}

/* What rounding may do where nothing was measured: an operation hands on the relative difference of
 * its inputs, and adds its own rounding, which the judge adds too. An optimizer that divides by the
 * size of a gradient makes steps of full size of gradients that are nothing but rounding: a tenth
 * of an update may be that, and the limit is ten times. */
static void derive(double *allowed, const judging *j, const fb__pairing *p, const bool *of_param)
{
    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];
        const uint32_t owner =
            fb__node_is_param(n) ? fb__table_find_param(p->a, n->site->path) : FB__NODE_NONE;
        double share = 0;

        if (owner != FB__NODE_NONE) {
            allowed[i] = j->shares[owner] * fb__node_norm(n) + update_of(j, p->a, n) / 10;
            continue;
        }
        for (uint32_t k = 0; k < n->input_count; k++) {
            const uint32_t in = p->a->edges[n->first_input + k];
            const double norm = fb__node_norm(&p->a->nodes[in]);
            double s = 0x1p-23;

            if (p->a->nodes[in].start)
                s += j->shares[in];
            else if (norm > 0)
                s += allowed[in] / norm;
            share = fmax(share, s);
        }
        allowed[i] = share * (of_param[i] ? fb__rounding_scale(p->a, n) : fb__node_norm(n));
    }
}

/* A loss is the difference of two numbers of the size of logits, its gradient that of a probability
 * and 1, over the number of targets: however small they get, they are rounded as those are. */
static double rounding_of_loss(const fb__table *t, const fb__node *n)
{
    const double unit = 0x1p-24;

    if (n->site->kind != FB_KIND_TENSOR)
        return 0;
    if (n->site->phase == FB_PHASE_LOSS)
        return 4 * unit * fb__rounding_input_size(t, n);
    for (uint32_t i = 0; i < n->input_count && n->site->rank > 0; i++) {
        const fb__node *in = &t->nodes[t->edges[n->first_input + i]];
        const uint64_t row = n->site->shape[n->site->rank - 1];

        if (fb__node_is_scalar(in) && in->site->slot != NULL && row > 0 && in->value > 0 &&
            strcmp(in->site->slot, "count") == 0)
            return 2 * unit * sqrt((double)n->elements / (double)row) / in->value;
    }
    return 0;
}

/* A few repeats may all have been lucky in one tensor: an operation rarely takes away two thirds of
 * the relative error that its inputs have, and a backward pass, which is linear, hardly any. */
static void smooth(double *allowed, const fb__table *t)
{
    for (uint32_t i = t->start_count; i < t->count; i++) {
        const fb__node *n = &t->nodes[i];
        const bool forward = n->site->phase == FB_PHASE_FORWARD;
        const double kept = forward ? 1.0 / 3 : 1;
        double share = 0;

        allowed[i] += rounding_of_loss(t, n);
        for (uint32_t k = 0; k < n->input_count && !fb__node_is_param(n); k++) {
            const uint32_t in = t->edges[n->first_input + k];
            const double norm = fb__node_norm(&t->nodes[in]);

            if (!t->nodes[in].start && norm > 0)
                share = fmax(share, allowed[in] / norm);
        }
        allowed[i] = fmax(allowed[i], share * kept * fb__node_norm(n));
    }
}

static fb_status allow_all(double *allowed, judging *j, const fb__pairing *p, uint64_t step,
                           fb_error *err)
{
    fb_status status = FB_OK;

    if (j->envelope_count == 0) {
        bool *of_param = calloc((size_t)p->a->count + 1, sizeof *of_param);

        if (of_param == NULL)
            return out_of_memory(err);
        mark_param_gradients(of_param, p->a);
        derive(allowed, j, p, of_param);
        free(of_param);
    }
    for (size_t i = 0; i < j->envelope_count && status == FB_OK; i++) {
        fb__table table;

        status = fb__table_load(&table, j->envelopes[i].trace, NULL, step, err);
        if (status == FB_OK)
            fb__rounding_allow(allowed, p, &j->envelopes[i], &table);
        fb__table_free(&table);
    }
    if (j->envelope_count > 0 && status == FB_OK)
        smooth(allowed, p->a);
    return status;
}

/* --- What is told ----------------------------------------------------------------------------- */

static bool is_boundary(const fb__node *n)
{
    return n->real && !n->start && !n->excluded && n->site->kind != FB_KIND_DRAW && n->elements > 0;
}

static void name_node(fb_event_name *out, const fb__table *t, uint32_t node)
{
    const fb_event bare = {.step = t->nodes[node].start ? 0 : t->step,
                           .micro = t->nodes[node].micro};
    fb_event_name_of(out, t->nodes[node].site, &bare);
}

static fb_status tell_unpaired(fb_diff_list *list, const fb__table *t, fb_error *err)
{
    fb_status status = FB_OK;
    uint64_t more = 0;

    for (uint32_t i = 0; i < t->count && status == FB_OK; i++) {
        const fb__node *n = &t->nodes[i];
        fb_event_name name;
        char text[3 * FB_NAME_MAX + 128];

        if (fb__is_paired(n) || n->site->kind == FB_KIND_DRAW || !n->real || n->excluded)
            continue;
        if (list->count >= UNPAIRED_MAX) {
            more++;
            continue;
        }
        name_node(&name, t, i);
        status = fb__list_add(list, err, "%s", fb_event_name_text(text, sizeof text, &name));
    }
    if (more > 0 && status == FB_OK)
        status = fb__list_add(list, err, "and %" PRIu64 " more", more);
    return status;
}

static const char *const how_names[] = {"none", "name",      "map",    "content", "flow",
                                        "role", "reordered", "joined", "alias"};

/* What was taken for what, so that it can be checked. */
static fb_status tell_pairs(fb_diff_list *list, const fb__pairing *p, fb_error *err)
{
    fb_status status = FB_OK;

    for (uint32_t i = 0; i < p->a->count && status == FB_OK; i++) {
        const fb__node *n = &p->a->nodes[i];
        fb_event_name name;
        char text[3 * FB_NAME_MAX + 128];

        if (!fb__is_paired(n) || n->partner == FB__NODE_NONE || list->count >= 3 * PAIRS_MAX)
            continue;
        name_node(&name, p->a, i);
        status = fb__list_add(list, err, "%s", fb_event_name_text(text, sizeof text, &name));
        name_node(&name, p->b, n->partner);
        if (status == FB_OK)
            status = fb__list_add(list, err, "%s", fb_event_name_text(text, sizeof text, &name));
        if (status == FB_OK)
            status = fb__list_add(list, err, "%s", how_names[n->how]);
    }
    return status;
}

/* Of the first step, which stands for all: what has a partner. */
static fb_status tell_pairing(judging *j, const fb__pairing *p, fb_error *err)
{
    fb_diff_rounding *r = &j->report->rounding;
    fb_status status;

    for (uint32_t i = 0; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];

        r->params += n->start;
        r->params_paired += n->start && fb__is_paired(n);
        r->boundaries += is_boundary(n);
        r->boundaries_paired += is_boundary(n) && fb__is_paired(n);
    }
    status = tell_unpaired(&r->unpaired_a, p->a, err);
    if (status == FB_OK)
        status = tell_unpaired(&r->unpaired_b, p->b, err);
    return status == FB_OK ? tell_pairs(&r->pairs, p, err) : status;
}

static void tell_largest(judging *j, const fb__pairing *p, const fb__step_judgement *s)
{
    fb_diff_rounding *r = &j->report->rounding;

    r->compared += s->compared;
    r->equal += s->equal;
    for (uint32_t i = 0; i < p->a->count; i++)
        if (s->at[i].known && !s->at[i].useless && s->at[i].ratio > r->largest) {
            r->largest = s->at[i].ratio;
            r->has_largest = true;
            name_node(&r->largest_at, p->a, i);
        }
}

/* How far the parameters are apart after this step, all of them as one vector. */
static void tell_size(judging *j, const fb__pairing *p, const fb__step_judgement *s)
{
    fb_diff_rounding *r = &j->report->rounding;
    fb_diff_step_size size = {.step = p->a->step,
                              .parameters = (double)NAN,
                              .loss = (double)NAN,
                              .envelope = (double)NAN};
    double distance = 0, envelope = 0, norm = 0;

    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];
        const fb__judged *at = &s->at[i];

        if (!at->known)
            continue;
        if (fb__node_is_param(n)) {
            distance += at->distance * at->distance;
            envelope += at->envelope * at->envelope;
            norm += n->sum_square;
        } else if (fb__node_is_scalar(n) && n->site->slot != NULL &&
                   strcmp(n->site->slot, "loss") == 0 && n->value != 0) {
            size.loss = at->distance / fabs(n->value);
        }
    }
    if (norm > 0) {
        size.parameters = sqrt(distance / norm);
        size.envelope = sqrt(envelope / norm);
    }
    if (isnan(size.parameters) && isnan(size.loss))
        return;
    /* The first half of the room is for the first steps, the last entry for the last step. */
    if (r->size_count == FB_DIFF_GROWTH_MAX)
        r->size_count--;
    r->sizes[r->size_count++] = size;
}

/* What each parameter is when the next step begins, and how far rounding may have carried it. */
static void keep_shares(judging *j, const fb__pairing *p, const fb__step_judgement *s)
{
    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];
        const double norm = fb__node_norm(n);
        uint32_t owner;

        if (!fb__node_is_param(n))
            continue;
        owner = fb__table_find_param(p->a, n->site->path);
        if (owner == FB__NODE_NONE)
            continue;
        memcpy(j->before[owner].linear, n->linear, sizeof n->linear);
        if (s->at[i].known && norm > 0)
            j->shares[owner] = s->at[i].envelope / norm;
    }
}

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

static fb_status blame(judging *j, const fb__pairing *p, const fb__step_judgement *s, uint64_t step,
                       fb_error *err)
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
    name_node(&r->first.name, p->a, s->culprit);
    name_node(&r->rounding.name_b, p->b, a->partner);
    r->rounding.has_size = true;
    r->rounding.ratio = s->at[s->culprit].ratio;
    r->rounding.relative = s->at[s->culprit].distance / fb__node_norm(a);
    r->has_equal_through = step > 1;
    r->equal_through = step > 1 ? step - 1 : 0;
    return fb__rounding_cause(r, j->headers, p, s, err);
}

static fb_status judge_tables(judging *j, fb__pairing *p, uint64_t step, bool first, fb_error *err)
{
    fb__step_judgement s = {.at = NULL};
    double *allowed = calloc((size_t)p->a->count + 1, sizeof *allowed);
    const bool cut = fb__exclude_passes(p->a, p->b);
    fb_status status = allowed != NULL ? fb__pair_step(p, err) : out_of_memory(err);

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
        status = tell_pairing(j, p, err);
    if (status == FB_OK)
        status = allow_all(allowed, j, p, step, err);
    if (status == FB_OK)
        status = fb__rounding_judge(&s, p, allowed, j->carried, first, err);
    if (status == FB_OK) {
        tell_largest(j, p, &s);
        tell_size(j, p, &s);
        keep_shares(j, p, &s);
        j->beyond += s.beyond;
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
        return out_of_memory(err);
    memcpy(out->joins, from->joins, from->join_count * sizeof *out->joins);
    out->join_count = out->join_capacity = from->join_count;
    return FB_OK;
}

static fb_status judge_step(judging *j, uint64_t step, bool first, fb_error *err)
{
    fb__table a = {.trace = NULL}, b = {.trace = NULL};
    fb__pairing p = {.a = &a,
                     .b = &b,
                     .map = j->map,
                     .by_name = j->by_name,
                     .budget = BUDGET,
                     .same_program = is_engine(&j->headers->a) && is_engine(&j->headers->b)};
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
        status = fb__list_add(&j->report->left_out, err, "tensors of a step beyond the first %d",
                              FB__NODES_MAX);
    fb__pairing_free(&p);
    fb__table_free(&a);
    fb__table_free(&b);
    return status;
}

/* Both sides name things alike: at least half of the identities of the first step. */
static fb_status compare_names(judging *j, uint64_t step, fb_error *err)
{
    fb__table a, b = {.trace = NULL};
    uint32_t shared = 0;
    fb_status status = fb__table_load(&a, j->a, NULL, step, err);

    if (status == FB_OK)
        status = fb__table_load(&b, j->b, NULL, step, err);
    for (uint32_t i = a.start_count; status == FB_OK && i < a.count; i++)
        shared += fb__table_find(&b, a.nodes[i].key) != FB__NODE_NONE;
    j->by_name = 2 * shared > a.count - a.start_count && 2 * shared > b.count - b.start_count;
    if (is_engine(&j->headers->a) && is_engine(&j->headers->b))
        j->by_name = true;
    fb__table_free(&a);
    fb__table_free(&b);
    return status;
}

static fb_status pair_starts(judging *j, uint64_t first, fb_error *err)
{
    fb_status status = compare_names(j, first, err);

    if (status == FB_OK)
        status = fb__table_load(&j->start_a, j->a, NULL, 0, err);
    if (status == FB_OK)
        status = fb__table_load(&j->start_b, j->b, NULL, 0, err);
    if (status != FB_OK)
        return status;
    j->start = (fb__pairing){
        .a = &j->start_a, .b = &j->start_b, .map = j->map, .by_name = j->by_name, .budget = BUDGET};
    j->carried = calloc((size_t)j->start_a.start_count + 1, sizeof *j->carried);
    j->shares = calloc((size_t)j->start_a.start_count + 1, sizeof *j->shares);
    j->before = calloc((size_t)j->start_a.start_count + 1, sizeof *j->before);
    if (j->carried == NULL || j->shares == NULL || j->before == NULL)
        return out_of_memory(err);
    for (uint32_t i = 0; i < j->start_a.start_count; i++)
        memcpy(j->before[i].linear, j->start_a.nodes[i].linear, sizeof j->before[i].linear);
    return fb__pair_params(&j->start, err);
}

/* --- The verdict ------------------------------------------------------------------------------ */

static fb_status undecidable(judging *j, fb_error *err, const char *why)
{
    j->report->verdict = FB_DIFF_UNDECIDABLE;
    free(j->report->why);
    j->report->why = strdup(why);
    return j->report->why != NULL ? FB_OK : out_of_memory(err);
}

static fb_status conclude(judging *j, uint64_t judged, uint64_t last, fb_error *err)
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
    r->verdict = x->equal == x->compared && is_same_run(j->a, j->b, judged) ? FB_DIFF_SAME
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

static fb_status judge_steps(judging *j, uint64_t first, uint64_t last, fb_error *err)
{
    uint64_t judged = 0;
    fb_status status = pair_starts(j, first, err);

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

static void free_judging(judging *j)
{
    static const char *const files[] = {"a.fbt", "b.fbt", "envelope.fbt"};
    char file[560];

    fb__pairing_free(&j->start);
    fb__table_free(&j->start_a);
    fb__table_free(&j->start_b);
    fb__map_free(j->map);
    free(j->carried);
    free(j->shares);
    free(j->before);
    for (size_t i = 0; i < j->envelope_count; i++)
        fb_trace_close(j->envelopes[i].trace);
    fb_trace_close(j->own_a);
    fb_trace_close(j->own_b);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && j->folder[0] != '\0'; i++) {
        name_file(file, j, files[i]);
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
    judging *j = calloc(1, sizeof *j);
    fb_status status = FB_OK;

    if (j == NULL)
        return out_of_memory(err);
    *j = (judging){.report = report, .options = options, .headers = headers, .a = a, .b = b};
    report->rounding.used = true;
    first = first == 0 ? 1 : first;
    if (options->map != NULL)
        status = fb__map_read(&j->map, options->map, err);
    if (status == FB_OK)
        status = add_sketches(j, false, last, err);
    if (status == FB_OK)
        status = add_sketches(j, true, last, err);
    if (status == FB_OK)
        status = find_envelopes(j, first, last, err);
    if (status == FB_OK)
        status = judge_steps(j, first, last, err);
    free_judging(j);
    return status;
}
