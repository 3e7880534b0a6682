/* SPDX-License-Identifier: Apache-2.0
 *
 * resumed_data.c - the batches of two steps, paired from the end.
 */
#include "diff/align/resumed_data.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum { BATCHES_MAX = 1 << 12 }; /* of a step, its last ones */

typedef struct batch {
    const fb_site *site;
    int32_t micro;
    uint64_t number;
    fb_hash contents, indices; /* zero: not known */
} batch;

/* The last batches of a step: the i-th of them, of all that were read, is at[i % BATCHES_MAX]. */
typedef struct batches {
    batch *at;
    size_t count;
} batches;

static fb_status read_batches(batches *out, const fb__reading *from, fb_error *err)
{
    fb_status status = fb_trace_seek(from->trace, from->step, err);

    out->at = malloc(BATCHES_MAX * sizeof *out->at);
    if (out->at == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "batches of a step: out of memory");
    while (status == FB_OK) {
        const fb_event *e;
        const fb_site *site;
        uint64_t number;

        status = fb_trace_next(from->trace, &e, &number, err);
        if (status != FB_OK || e == NULL || e->step > from->step)
            break;
        site = fb_trace_site(from->trace, e->site);
        if (site == NULL || site->kind != FB_KIND_SAMPLE ||
            (from->behind > 0 && number <= from->behind))
            continue;
        out->at[out->count++ % BATCHES_MAX] = (batch){
            .site = site,
            .micro = e->micro,
            .number = number,
            .contents = e->hash,
            .indices = e->indices == NULL ? (fb_hash){0, 0}
                                          : fb_hash_bytes(e->indices, e->count * sizeof(uint64_t)),
        };
    }
    return status;
}

static bool is_of_same_data(const batch *x, const batch *y)
{
    const char *a = x->site->dataset, *b = y->site->dataset;
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static bool differ(fb_hash x, fb_hash y)
{
    return !fb_hash_is_zero(x) && !fb_hash_is_zero(y) && !fb_hash_equal(x, y);
}

/* Walks both from their ends. Of several that differ the last that is found is the first read. */
static void pair_up(fb__other_batch *out, const batches *whole, const batches *part)
{
    const size_t lost_w = whole->count > BATCHES_MAX ? whole->count - BATCHES_MAX : 0;
    const size_t lost_p = part->count > BATCHES_MAX ? part->count - BATCHES_MAX : 0;
    size_t p = part->count;

    for (size_t w = whole->count; w > lost_w; w--) {
        const batch *x = &whole->at[(w - 1) % BATCHES_MAX], *y;
        size_t q = p;

        while (q > lost_p && !is_of_same_data(x, &part->at[(q - 1) % BATCHES_MAX]))
            q--;
        if (q == lost_p)
            continue;
        y = &part->at[(q - 1) % BATCHES_MAX];
        p = q - 1;
        out->compared++;
        if (!differ(x->contents, y->contents) && !differ(x->indices, y->indices))
            continue;
        out->found = true;
        out->site = x->site;
        out->micro = x->micro;
        out->number_whole = x->number;
        out->number_part = y->number;
    }
    if (out->compared > 0 && p > lost_p)
        out->passed_over = part->at[(p - 1) % BATCHES_MAX].number;
}

fb_status fb__other_batch_find(fb__other_batch *out, const fb__reading *whole,
                               const fb__reading *part, fb_error *err)
{
    batches of_whole = {.at = NULL}, of_part = {.at = NULL};
    fb_status status = read_batches(&of_whole, whole, err);

    *out = (fb__other_batch){.found = false};
    if (status == FB_OK && of_whole.count > 0)
        status = read_batches(&of_part, part, err);
    if (status == FB_OK && of_part.count > 0)
        pair_up(out, &of_whole, &of_part);
    free(of_whole.at);
    free(of_part.at);
    return status;
}
