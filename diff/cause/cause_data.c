/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_data.c - causes in what the runs were fed: samples in another order, other contents, other
 * first weights.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/causes.h"
#include "diff/cause/counterfactual.h"

static const char *weights_path(const fb__run_header *header)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header->configuration, "weights"));
}

static bool is_weights(const fb__case *c, const fb_diff_candidate *file)
{
    const char *path = weights_path(&c->headers->a);
    return path != NULL && strcmp(path, file->key) == 0;
}

/* A file whose contents differ: of weights, or of data. */
static const fb_diff_candidate *changed_file(const fb__case *c, bool weights)
{
    const fb_diff_candidate *file;
    size_t at = 0;

    while ((file = fb__candidate_next(c->report, &at, "file", "")) != NULL)
        if (is_weights(c, file) == weights)
            return file;
    return NULL;
}

/* Signature: both runs load a state, from checkpoints of other contents. */
bool fb__rule_resume(fb_diff_cause *out, const fb__case *c)
{
    const fb__run_header *a = &c->headers->a, *b = &c->headers->b;
    const fb_event_name *name = &c->report->first.name;

    if (!a->has_resume || !b->has_resume || fb_hash_equal(a->resume_hash, b->resume_hash) ||
        name->phase != FB_PHASE_INIT || name->kind != FB_KIND_PARAM)
        return false;
    fb__say(out, "the runs go on from different checkpoints: %s of other contents", a->resume_file);
    fb__say_fix(out, "resume both from the same checkpoint");
    return true;
}

/* Signature: a parameter of step 0 differs, all draws before it are equal. */
bool fb__rule_init(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;
    const fb_diff_candidate *file = changed_file(c, true);

    if (name->phase != FB_PHASE_INIT || name->kind != FB_KIND_PARAM)
        return false;
    if (file == NULL && changed_file(c, false) != NULL)
        return false; /* a vocabulary of another size: data-content says it better */
    if (file != NULL) {
        fb__say(out, "the initial weights differ: contents of %s", file->key);
        fb__say_fix(out, "start both runs from the same file of weights");
        return true;
    }
    fb__say(out, "%s starts from another value, with equal draws before it", name->path);
    fb__say_fix(out, "compare how the two programs initialize %s", name->path);
    return true;
}

static bool is_sample_pair(const fb__case *c)
{
    return c->culprit->a != NULL && c->culprit->b != NULL &&
           c->culprit->a->site->kind == FB_KIND_SAMPLE;
}

static bool same_indices(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    return a->count == b->count && a->index_count == b->index_count &&
           (a->index_count == 0 ||
            memcmp(c->pair->a.indices + a->first_index, c->pair->b.indices + b->first_index,
                   a->index_count * sizeof(uint64_t)) == 0);
}

/* Signature: the same indices of the same dataset, other contents; or a data file of other contents
 * and a first difference in the data or in what its size decides. */
bool fb__rule_data_content(fb_diff_cause *out, const fb__case *c)
{
    const fb_diff_candidate *file = changed_file(c, false);
    const fb_phase phase = c->report->first.name.phase;
    const bool contents = is_sample_pair(c) && same_indices(c) &&
                          !fb_hash_equal(c->culprit->a->hash, c->culprit->b->hash);

    if (!contents && (file == NULL || (phase != FB_PHASE_DATA && phase != FB_PHASE_INIT)))
        return false;
    if (file != NULL) {
        fb__say(out, "the data differs: contents of %s", file->key);
        fb__say_fix(out, "give both runs the same %s", file->key);
        return true;
    }
    fb__say(out, "the same samples have other contents");
    fb__say_fix(out, "look for a cache, an augmentation without a seed, or a changed file behind "
                     "the dataset");
    return true;
}

/* --- Order ------------------------------------------------------------------------------------ */

typedef struct place {
    uint64_t at, a, b; /* position in the batch, index on either side */
} place;

/* Differing positions of the batch, over its micro-batches. Returns false where the sides cannot be
 * laid beside each other. */
static bool differing_places(place **out, size_t *count, const fb__case *c)
{
    const fb__step *a = &c->pair->a, *b = &c->pair->b;
    place *p = malloc((a->index_count + 1) * sizeof *p);
    size_t n = 0;

    for (size_t i = 0; p != NULL && i < a->count; i++) {
        const fb__step_event *x = &a->events[i], *y;

        if (x->site->kind != FB_KIND_SAMPLE || x->equal || x->partner == UINT32_MAX)
            continue;
        y = &b->events[x->partner];
        if (x->index_count != y->index_count || x->index_count == 0) {
            free(p);
            return false;
        }
        for (uint32_t k = 0; k < x->index_count; k++) {
            const uint64_t ia = a->indices[x->first_index + k];
            const uint64_t ib = b->indices[y->first_index + k];

            if (ia != ib)
                p[n++] =
                    (place){(x->micro > 0 ? (uint64_t)x->micro : 0) * x->index_count + k, ia, ib};
        }
    }
    *out = p;
    *count = n;
    return p != NULL;
}

static int by_number(const void *x, const void *y)
{
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static bool same_set(const place *p, size_t n)
{
    uint64_t *numbers = malloc((2 * n + 1) * sizeof *numbers);
    bool same;

    if (numbers == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        numbers[i] = p[i].a;
        numbers[n + i] = p[i].b;
    }
    qsort(numbers, n, sizeof *numbers, by_number);
    qsort(numbers + n, n, sizeof *numbers, by_number);
    same = memcmp(numbers, numbers + n, n * sizeof *numbers) == 0;
    free(numbers);
    return same;
}

/* Two samples changed places: whether planting that in either run gives the other. */
static bool confirm_swap(const fb__case *c, const place *p)
{
    const fb_fault swap = {
        .kind = FB_FAULT_SWAP, .step = c->report->first.name.step, .i = p[0].at, .j = p[1].at};

    return fb__try_fault(c, false, &swap) == FB__TRIAL_CONFIRMED ||
           fb__try_fault(c, true, &swap) == FB__TRIAL_CONFIRMED;
}

/* Signature: other indices of one dataset; the generators before them are equal. */
bool fb__rule_data_order(fb_diff_cause *out, const fb__case *c)
{
    place *p = NULL;
    size_t n = 0;

    if (c->report->first.name.kind != FB_KIND_SAMPLE)
        return false;
    if (!is_sample_pair(c)) {
        fb__say(out, "only %s reads these samples", fb__culprit_side(c));
        fb__say_fix(out, "compare how the two programs iterate over the dataset");
        return true;
    }
    if (!differing_places(&p, &n, c) || n == 0) {
        fb__say(out, "the batch is made of other samples of the dataset");
    } else if (n == 2 && same_set(p, n)) {
        out->confirmed = confirm_swap(c, p);
        fb__say(out,
                "samples %" PRIu64 " and %" PRIu64 " of the batch are exchanged (dataset indices "
                "%" PRIu64 " and %" PRIu64 ")",
                p[0].at, p[1].at, p[0].a, p[1].a);
    } else if (same_set(p, n)) {
        fb__say(out, "the same samples in another order: %zu places of the batch differ", n);
    } else {
        fb__say(out, "%zu places of the batch hold other samples of the dataset", n);
    }
    free(p);
    fb__say_fix(out, "give the sampler a generator of its own with a fixed seed, and sort what a "
                     "directory listing returns");
    return true;
}
