/* SPDX-License-Identifier: Apache-2.0
 *
 * growth.c - measures the difference of every tensor of one step.
 */
#include "diff/judge/growth.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/temporary.h"
#include "diff/align/align.h"
#include "diff/read/step_events.h"
#include "engine/files/safetensors.h"
#include "replay/replay.h"

enum {
    VALUES_BYTES_MAX = 256 << 20, /* tensors of one step, in one run: more are not made again */
    ULPS_BINS = 33,               /* by powers of two */
};

static const uint32_t tensor_classes = 1u << FB_CLASS_STATE | 1u << FB_CLASS_OPS;

static void say_why(fb_growth *out, const char *why)
{
    (void)snprintf(out->why, sizeof out->why, "%s", why);
}

static bool add_point(fb_growth *out, const fb_growth_point *point)
{
    if (out->points == NULL)
        out->points = calloc(FB_GROWTH_MAX, sizeof *out->points);
    if (out->points == NULL)
        return false;
    if (out->count < FB_GROWTH_MAX)
        out->points[out->count++] = *point;
    else
        out->left_out++;
    return true;
}

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "measuring differences: out of memory");
}

/* --- From sketches ---------------------------------------------------------------------------- */

/* The sketch of an event; *has is false where it was recorded without one. */
static fb_status sketch_of(bool *has, fb_sketch *out, fb_trace *trace, uint64_t number,
                           fb_error *err)
{
    const fb_event *event = NULL;
    fb_status status = fb_trace_seek_event(trace, number, err);

    *has = false;
    if (status == FB_OK)
        status = fb_trace_next(trace, &event, NULL, err);
    if (status == FB_OK && event != NULL && event->sketch != NULL) {
        *has = true;
        *out = *event->sketch;
    }
    return status;
}

/* The linear sketch of a difference is the difference of the sketches. */
static double relative_of_sketches(const fb_sketch *a, const fb_sketch *b)
{
    double square = 0;

    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = a->linear[i] - b->linear[i];
        square += d * d;
    }
    return a->sum_square > 0 ? sqrt(square / a->sum_square) : square > 0 ? INFINITY : 0;
}

static fb_status from_sketches(fb_growth *out, const fb__step_pair *pair, fb_error *err)
{
    fb_status status = FB_OK;

    for (size_t i = 0; i < pair->a.count && status == FB_OK; i++) {
        const fb__step_event *e = &pair->a.events[i];
        fb_growth_point point = {.phase = e->site->phase};
        fb_sketch a, b;
        bool has_a, has_b = false;

        if (e->partner == UINT32_MAX || e->same_content ||
            (e->site->kind != FB_KIND_TENSOR && e->site->kind != FB_KIND_PARAM))
            continue;
        status = sketch_of(&has_a, &a, pair->a.trace, e->number, err);
        if (status == FB_OK && has_a)
            status = sketch_of(&has_b, &b, pair->b.trace, pair->b.events[e->partner].number, err);
        if (status != FB_OK || !has_b)
            continue;
        (void)snprintf(point.path, sizeof point.path, "%s", e->site->path);
        (void)snprintf(point.slot, sizeof point.slot, "%s", e->site->slot);
        point.relative = relative_of_sketches(&a, &b);
        out->source = FB_GROWTH_SKETCHES;
        if (!add_point(out, &point))
            status = out_of_memory(err);
    }
    return status;
}

/* --- From values ------------------------------------------------------------------------------ */

/* Bytes of all tensors of the step, by its sites. */
static fb_status bytes_of_step(double *out, fb_trace *trace, uint64_t step, fb_error *err)
{
    const fb_event *e;
    fb_status status = fb_trace_seek(trace, step, err);

    *out = 0;
    while (status == FB_OK) {
        const fb_site *site;
        double bytes;

        status = fb_trace_next(trace, &e, NULL, err);
        if (status != FB_OK || e == NULL || e->step != step)
            break;
        site = fb_trace_site(trace, e->site);
        if (site == NULL || (site->kind != FB_KIND_TENSOR && site->kind != FB_KIND_PARAM))
            continue;
        bytes = (double)fb_dtype_bytes(site->dtype);
        for (uint32_t i = 0; i < site->rank && i < FB_RANK_MAX; i++)
            bytes *= (double)site->shape[i];
        *out += bytes;
    }
    return status;
}

/* The flipped bit of a report as a fault that can be planted. */
static bool fault_of(fb_fault *out, const fb_diff_report *r)
{
    const fb_event_name *name = &r->first.name;
    const uint64_t bits = r->first.a.bits ^ r->first.b.bits;

    if (!r->has_cause || strcmp(r->cause.name, "bit-flip") != 0 || !r->first.has_element ||
        r->first.differing != 1 || bits == 0 || (bits & (bits - 1)) != 0 || bits > UINT32_MAX ||
        strlen(name->path) >= sizeof out->path || strlen(name->slot) >= sizeof out->slot)
        return false;
    *out = (fb_fault){.kind = FB_FAULT_FLIP,
                      .step = name->step,
                      .micro = name->micro == FB_MICRO_NONE ? 0 : name->micro,
                      .element = r->first.element};
    while ((bits >> out->bit & 1) == 0)
        out->bit++;
    memcpy(out->path, name->path, strlen(name->path) + 1);
    memcpy(out->slot, name->slot, strlen(name->slot) + 1);
    return true;
}

/* The tensors of one step of a run as a file, where its replay follows its trace. */
static bool make_tensors(const char *path, const char *against, const fb_fault *fault,
                         uint64_t step, const char *file, const fb_diff_options *options)
{
    const fb_replay_options o = {.size = sizeof o,
                                 .as_recorded = true,
                                 .no_stack = true,
                                 .data = options->data,
                                 .against = against,
                                 .faults = fault,
                                 .fault_count = fault != NULL,
                                 .has_from = step > 0,
                                 .from = step,
                                 .has_to = true,
                                 .to = step,
                                 .make = "*",
                                 .make_output = file};
    fb_replay_report report;
    bool followed;

    if (fb_replay(&report, path, &o, NULL) != FB_OK)
        return false;
    followed = !report.diverged;
    fb_replay_report_free(&report);
    return followed;
}

/* A run that a flipped bit made is the other run with that bit flipped. */
static bool make_side(const fb_diff_report *r, bool of_b, const char *file,
                      const fb_diff_options *options)
{
    const char *own = of_b ? r->name_b : r->name_a, *other = of_b ? r->name_a : r->name_b;
    const uint64_t step = r->first.name.step;
    fb_fault fault;

    if (make_tensors(own, NULL, NULL, step, file, options))
        return true;
    return fault_of(&fault, r) && make_tensors(other, own, &fault, step, file, options);
}

static uint32_t bits_at(const fb_safetensor *t, uint64_t i)
{
    uint32_t bits;

    memcpy(&bits, (const char *)t->data + 4 * i, sizeof bits);
    return bits;
}

/* The power of two at or below the median; 0 where nothing differs. */
static double median_of(const uint64_t bins[ULPS_BINS], uint64_t all)
{
    uint64_t seen = 0;

    for (int i = 0; i < ULPS_BINS; i++) {
        seen += bins[i];
        if (2 * seen >= all && all > 0)
            return ldexp(1, i);
    }
    return 0;
}

/* Returns whether the two tensors differ. */
static bool compare_tensors(fb_growth_point *out, const fb_safetensor *a, const fb_safetensor *b)
{
    const uint64_t n = a->bytes / 4;
    uint64_t bins[ULPS_BINS] = {0};
    double square = 0, whole = 0;

    out->elements = n;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t x = bits_at(a, i), y = bits_at(b, i);
        float p, q;
        uint64_t ulps;
        int bin = 0;

        memcpy(&p, &x, sizeof p);
        memcpy(&q, &y, sizeof q);
        whole += (double)p * (double)p;
        if (x == y || (p != p && q != q))
            continue;
        square += ((double)p - (double)q) * ((double)p - (double)q);
        out->differing++;
        for (ulps = fb_ulps_f32(x, y); ulps > 1 && bin < ULPS_BINS - 1; ulps >>= 1)
            bin++;
        bins[bin]++;
    }
    out->relative = whole > 0 ? sqrt(square / whole) : square > 0 ? INFINITY : 0;
    out->ulps = median_of(bins, out->differing);
    return out->differing > 0;
}

/* "step-000042.micro-0.forward.h.1.mlp.fc.out": its phase and what follows it. */
static void name_point(fb_growth_point *point, const char *name)
{
    for (int part = 0; part < 4 && *name != '\0'; part++) {
        const size_t length = strcspn(name, ".");
        char word[32];

        (void)snprintf(word, sizeof word, "%.*s", length < 31 ? (int)length : 31, name);
        name += length + (name[length] == '.');
        point->phase = fb_phase_of(word);
        if (point->phase != FB_PHASE_NONE)
            break;
    }
    (void)snprintf(point->path, sizeof point->path, "%s", name);
}

static fb_status compare_files(fb_growth *out, const char *file_a, const char *file_b,
                               fb_error *err)
{
    fb_safetensors *a = NULL, *b = NULL;
    fb_status status = fb_safetensors_open(&a, file_a, err);

    if (status == FB_OK)
        status = fb_safetensors_open(&b, file_b, err);
    for (size_t i = 0; status == FB_OK && i < fb_safetensors_count(a); i++) {
        const fb_safetensor *x = fb_safetensors_at(a, i);
        const fb_safetensor *y = fb_safetensors_find(b, x->name);
        fb_growth_point point = {.phase = FB_PHASE_NONE};

        if (y == NULL || x->dtype != FB_DTYPE_F32 || y->dtype != FB_DTYPE_F32 ||
            x->bytes != y->bytes || !compare_tensors(&point, x, y))
            continue;
        name_point(&point, x->name);
        if (point.phase == FB_PHASE_EVAL) /* a note: no part of training */
            continue;
        out->source = FB_GROWTH_VALUES;
        if (!add_point(out, &point))
            status = out_of_memory(err);
    }
    fb_safetensors_close(a);
    fb_safetensors_close(b);
    return status;
}

static void from_values(fb_growth *out, const fb_diff_report *r, const fb_diff_options *options)
{
    char folder[FB_TEMPORARY_FOLDER_BYTES], a[540], b[540];

    if (!fb__temporary_folder(folder)) {
        say_why(out, "no folder for the tensors of a replay can be made");
        return;
    }
    (void)snprintf(a, sizeof a, "%s/a.safetensors", folder);
    (void)snprintf(b, sizeof b, "%s/b.safetensors", folder);
    if (!make_side(r, false, a, options) || !make_side(r, true, b, options) ||
        compare_files(out, a, b, NULL) != FB_OK)
        say_why(out, "the runs could not be replayed through the whole step");
    (void)unlink(a);
    (void)unlink(b);
    (void)rmdir(folder);
}

/* --- Either ----------------------------------------------------------------------------------- */

static fb_status measure(fb_growth *out, const fb_diff_report *r, const fb_diff_options *options,
                         fb_trace *a, fb_trace *b, fb_error *err)
{
    fb__step_pair pair;
    fb__alignment alignment;
    double bytes = 0;
    fb_status status = fb__step_pair_load(&pair, a, b, r->first.name.step, tensor_classes, err);

    if (status == FB_OK)
        status = fb__align(&alignment, &pair, err);
    if (status == FB_OK)
        status = from_sketches(out, &pair, err);
    fb__step_pair_free(&pair);
    if (status != FB_OK || out->source != FB_GROWTH_NONE)
        return status;
    if (!r->engine || options->no_replay) {
        say_why(out, "needs traces of level sketch or above, or runs that can be replayed");
        return FB_OK;
    }
    status = bytes_of_step(&bytes, a, r->first.name.step, err);
    if (status != FB_OK)
        return status;
    if (bytes > VALUES_BYTES_MAX)
        say_why(out, "the tensors of this step are too large to be made again for a page");
    else
        from_values(out, r, options);
    return FB_OK;
}

fb_status fb_growth_measure(fb_growth *out, const fb_diff_report *report,
                            const fb_diff_options *options, fb_error *err)
{
    const fb_diff_options defaults = {.size = sizeof defaults};
    fb_trace *a = NULL, *b = NULL;
    fb_status status = FB_OK;

    *out = (fb_growth){.source = FB_GROWTH_NONE};
    if (report->verdict != FB_DIFF_DIFFER || !report->has_first || !report->has_cause)
        return FB_OK;
    status = fb_trace_open(&a, report->name_a, err);
    if (status == FB_OK)
        status = fb_trace_open_beside(&b, report->name_b, a, err);
    if (status == FB_OK)
        status = measure(out, report, options != NULL ? options : &defaults, a, b, err);
    fb_trace_close(a);
    fb_trace_close(b);
    if (status != FB_OK)
        fb_growth_free(out);
    return status;
}

void fb_growth_free(fb_growth *growth)
{
    free(growth->points);
    *growth = (fb_growth){.source = FB_GROWTH_NONE};
}
