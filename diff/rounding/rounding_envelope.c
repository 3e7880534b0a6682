/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_envelope.c - what rounding may do to a run: traces with sketches, envelopes
 * measured by repeats.
 */
#include "diff/rounding/rounding_judging.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/temporary.h"
#include "diff/diff_notes.h"
#include "diff/rounding/noise.h"

enum {
    NOISE_STEPS_MAX =
        100, /* measured unasked: three repeats of this many steps, and the run itself */
};

/* --- Traces with sketches --------------------------------------------------------------------- */

static fb_status make_folder(fb__judging *j, fb_error *err)
{
    if (j->folder[0] != '\0')
        return FB_OK;
    if (fb__temporary_folder(j->folder))
        return FB_OK;
    j->folder[0] = '\0';
    return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "no folder for repeats of a run can be made");
}

void fb__judging_file(char out[560], const fb__judging *j, const char *name)
{
    (void)snprintf(out, 560, "%s/%s", j->folder, name);
}

static fb_noise_options noise_options(const fb__judging *j, uint64_t to)
{
    return (fb_noise_options){.size = sizeof(fb_noise_options),
                              .to = to,
                              .data = j->options->data,
                              .progress = j->options->progress,
                              .argument = j->options->argument};
}

/* Whether a run made again is the recorded one: its chains of all state are equal at a step. */
bool fb__is_same_run(fb_trace *made, fb_trace *recorded, uint64_t step)
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
fb_status fb__add_sketches(fb__judging *j, bool of_b, uint64_t last, fb_error *err)
{
    fb_trace **trace = of_b ? &j->b : &j->a, **own = of_b ? &j->own_b : &j->own_a;
    const fb__run_header *header = of_b ? &j->headers->b : &j->headers->a;
    const char *path = of_b ? j->report->name_b : j->report->name_a;
    const fb_noise_options how = noise_options(j, last);
    fb_error why;
    char file[560];
    fb_status status;

    if (fb_trace_get_info(*trace)->level >= FB_LEVEL_SKETCH || !fb__is_engine_run(header) ||
        j->options->no_replay)
        return FB_OK;
    status = make_folder(j, err);
    if (status != FB_OK)
        return status;
    fb__judging_file(file, j, of_b ? "b.fbt" : "a.fbt");
    status = fb__record_again(file, path, 0, last, &how, &why);
    if (status == FB_OK)
        status = fb_trace_open_beside(own, file, *trace, &why);
    if (status == FB_OK && !fb__is_same_run(*own, *trace, last)) {
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

static fb_status add_envelope(fb__judging *j, fb_trace *trace, bool of_b, fb_error *err)
{
    if (j->envelope_count == FB__ENVELOPES_MAX)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "--noise: more than %d traces",
                        FB__ENVELOPES_MAX);
    j->envelopes[j->envelope_count++] =
        (fb__envelope){.trace = trace, .measured = fb__is_envelope(trace), .of_b = of_b};
    return FB_OK;
}

/* Whose repeat a trace is: it has the identities of that side's first step. */
static fb_status speaks_of_b(bool *out, const fb__judging *j, fb_trace *trace, uint64_t step,
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

static fb_status open_noise(fb__judging *j, uint64_t first, uint64_t last, fb_error *err)
{
    fb_status status = FB_OK;

    for (size_t i = 0; i < j->options->noise_count && status == FB_OK; i++) {
        fb_trace *trace = NULL;
        bool of_b = false;

        status = fb_trace_open_beside(&trace, j->options->noise[i], j->a, err);
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
static fb_status measure_side(bool *done, fb__judging *j, bool of_b, uint64_t last, fb_error *err)
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
    if (!fb__is_engine_run(header) || j->options->no_replay)
        return FB_OK;
    status = make_folder(j, err);
    if (status != FB_OK)
        return status;
    fb__judging_file(file, j, "envelope.fbt");
    status = fb_noise(file, path, &how, &why);
    if (status == FB_OK)
        status = fb_trace_open_beside(&trace, file, j->a, &why);
    if (status != FB_OK)
        return fb__list_add(&j->report->left_out, err, "envelope of %s: %s", path, why.text);
    *done = true;
    j->measured_to = to;
    (void)snprintf(j->report->rounding.envelope, sizeof j->report->rounding.envelope,
                   "%d repeats of %s under last-bit noise", FB_NOISE_REPEATS, of_b ? "b" : "a");
    return add_envelope(j, trace, of_b, err);
}

fb_status fb__find_envelopes(fb__judging *j, uint64_t first, uint64_t last, fb_error *err)
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

/* --- What repeats do not show ------------------------------------------------------------------
 */

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

fb_status fb__allow_all(double *allowed, fb__judging *j, const fb__pairing *p, uint64_t step,
                        fb_error *err)
{
    fb_status status = FB_OK;

    if (j->envelope_count == 0)
        return fb__hand_on(allowed, j, p, err);
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
