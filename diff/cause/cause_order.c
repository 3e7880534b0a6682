/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_order.c - causes in the order in which a recorded program reads its data: that of an
 * earlier epoch, none at all, that of a directory listing.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/sketch.h"
#include "diff/cause/evidence.h"

/* --- Samples ---------------------------------------------------------------------------------- */

/* Whether the batch of a step has been read in an earlier epoch, in this order. */
static bool read_before(uint64_t *epoch, const fb__step *step, const fb__step_event *e)
{
    const fb_event *x = NULL;
    uint64_t number = 0;

    if (e->index_count < 2 || fb_trace_seek_event(step->trace, 0, NULL) != FB_OK)
        return false;
    while (fb_trace_next(step->trace, &x, &number, NULL) == FB_OK && x != NULL &&
           number < e->number) {
        const fb_site *site = fb_trace_site(step->trace, x->site);

        if (site != NULL && site->kind == FB_KIND_SAMPLE && x->counter < e->counter &&
            x->count == e->index_count && x->indices != NULL &&
            memcmp(x->indices, step->indices + e->first_index,
                   e->index_count * sizeof *x->indices) == 0) {
            *epoch = x->counter;
            return true;
        }
    }
    return false;
}

/* Samples that only changed places in a batch: no matter of shuffling an epoch. */
static bool is_same_set(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    uint64_t sum = 0, squares = 0;

    for (uint32_t i = 0; i < a->index_count && a->index_count == b->index_count; i++) {
        const uint64_t x = c->pair->a.indices[a->first_index + i];
        const uint64_t y = c->pair->b.indices[b->first_index + i];

        sum += x - y;
        squares += x * x - y * y;
    }
    return a->index_count == b->index_count && sum == 0 && squares == 0;
}

static bool is_ascending(const fb__step *step, const fb__step_event *e)
{
    for (uint32_t i = 1; i < e->index_count; i++)
        if (step->indices[e->first_index + i] != step->indices[e->first_index + i - 1] + 1)
            return false;
    return e->index_count > 1;
}

/* Signature: other samples, and one of the orders tells why: that of an earlier epoch, or none. */
bool fb__rule_epoch_order(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    uint64_t epoch = 0;
    bool in_a, in_b;

    if (a == NULL || b == NULL || a->site->kind != FB_KIND_SAMPLE)
        return false;
    in_a = read_before(&epoch, &c->pair->a, a);
    in_b = read_before(&epoch, &c->pair->b, b);
    if (in_a != in_b) {
        fb__say(out, "%s reads the batch of epoch %" PRIu64 " again, in the same order",
                in_a ? "a" : "b", epoch);
        fb__say_fix(out, "call sampler.set_epoch(epoch), or do not seed the sampler's generator "
                         "again for each epoch");
        return true;
    }
    in_a = is_ascending(&c->pair->a, a);
    in_b = is_ascending(&c->pair->b, b);
    if (in_a == in_b || is_same_set(c))
        return false;
    fb__say(out, "%s reads its samples in ascending order, without shuffling", in_a ? "a" : "b");
    fb__say_fix(out, "shuffle in both or in neither, with a generator of its own and a fixed seed");
    return true;
}

/* --- Rows that a program picks itself ----------------------------------------------------------
 */

static bool is_pick(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] == '\0' &&
           (strcmp(fb__text(site->op), "index") == 0 ||
            strcmp(fb__text(site->op), "index_select") == 0);
}

/* Whole numbers of the program that an op picks rows by; of one side alone, what makes them. */
static bool is_rows(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__is_integer(site->dtype) && site->rank == 1 &&
           site->shape[0] > 1 && fb__text(site->path)[0] == '\0';
}

/* An op that one side alone has, and that gives what it reads in another order. What it reads may
 * be a part of a tensor, of which the trace tells the whole. */
static bool say_reordered(fb_diff_cause *out, const fb__case *c)
{
    static const char *const ops[] = {"sort", "msort", "roll", "flip", "argsort"};
    const fb__step_event *e = fb__culprit_event(c);

    if (!fb__is_one_of(fb__text(e->site->op), ops, sizeof ops / sizeof ops[0]) ||
        fb__reader(c, e, is_pick, 16) == NULL)
        return false;
    fb__say(out, "only %s brings the rows that it reads into another order (%s)",
            fb__culprit_side(c), fb__text(e->site->op));
    return true;
}

/* The numbers themselves, of which a sketch has up to FB_SKETCH_SAMPLES. */
static bool say_other_rows(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *site = c->culprit->a->site;
    fb_sketch x, y;
    unsigned others = 0;

    if (!is_pick(site) || strcmp(fb__text(site->slot), "in1") != 0 ||
        c->culprit->a->input_count > 0 || c->culprit->a->same_content ||
        !fb__sketch(&x, &c->pair->a, c->culprit->a) ||
        !fb__sketch(&y, &c->pair->b, c->culprit->b) || x.elements != y.elements ||
        x.elements > FB_SKETCH_SAMPLES)
        return false;
    for (uint64_t i = 0; i < x.elements; i++)
        others += x.samples[i] != y.samples[i];
    if (fb_sketch_same_numbers(&x, &y))
        fb__say(out, "the same %llu rows are read (%s) in another order",
                (unsigned long long)x.elements, fb__text(site->op));
    else
        fb__say(out, "%u of the %llu rows that are read (%s) are others", others,
                (unsigned long long)x.elements, fb__text(site->op));
    return true;
}

/* Signature: rows that a program picks by an index of its own are the same in another order, or
 * others. */
bool fb__rule_row_order(fb_diff_cause *out, const fb__case *c)
{
    if (!is_rows(fb__culprit_event(c)->site) ||
        !(fb__is_pair(c) ? say_other_rows(out, c) : say_reordered(out, c)))
        return false;
    fb__say_fix(out, "draw the order once, with a generator of its own and a fixed seed; compare "
                     "what is done to the indices");
    return true;
}

/* --- What enters from outside ----------------------------------------------------------------- */

/* Signature: what entered from outside is the same numbers in another order. */
bool fb__rule_outside_order(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb_sketch x, y;

    if (!fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        e->input_count > 0 || !fb__sketch(&x, &c->pair->a, c->culprit->a) ||
        !fb__sketch(&y, &c->pair->b, c->culprit->b) || x.elements < 4 ||
        !fb_sketch_same_numbers(&x, &y))
        return false;
    fb__say(out, "what enters at %s is the same numbers in another order", fb__text(e->site->op));
    fb__say_fix(out, "sort what a directory listing, a set or a dictionary returns");
    return true;
}

enum { ENTERED_MAX = 4096 };

/* Contents of the tensors that entered from outside for one kind of op. */
typedef struct entered {
    fb_hash hash[ENTERED_MAX];
    size_t count;
} entered;

static bool is_entry(const fb_site *site, const fb_event *e, const char *op)
{
    return site->kind == FB_KIND_TENSOR && e->input_count == 0 && fb__text(site->path)[0] == '\0' &&
           strncmp(fb__text(site->slot), "in", 2) == 0 && strcmp(fb__text(site->op), op) == 0;
}

static int by_hash(const void *x, const void *y)
{
    const fb_hash *a = x, *b = y;

    if (a->hi != b->hi)
        return a->hi < b->hi ? -1 : 1;
    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static void read_entered(entered *out, fb_trace *trace, const char *op)
{
    const fb_event *e = NULL;

    out->count = 0;
    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return;
    while (out->count < ENTERED_MAX && fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && is_entry(site, e, op))
            out->hash[out->count++] = e->hash;
    }
    qsort(out->hash, out->count, sizeof out->hash[0], by_hash);
}

/* Signature: of the tensors that enter one by one both runs have the same, in another order. */
bool fb__rule_listing(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    entered *a, *b;
    bool same = false;

    if (!fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR || e->input_count > 0 ||
        strncmp(fb__text(e->site->slot), "in", 2) != 0)
        return false;
    a = malloc(sizeof *a);
    b = malloc(sizeof *b);
    if (a != NULL && b != NULL) {
        read_entered(a, c->pair->a.trace, fb__text(e->site->op));
        read_entered(b, c->pair->b.trace, fb__text(e->site->op));
        same = a->count == b->count && a->count >= 4 &&
               memcmp(a->hash, b->hash, a->count * sizeof a->hash[0]) == 0;
    }
    if (same)
        fb__say(out, "the %zu tensors that enter at %s are the same in both runs, in another order",
                a->count, fb__text(e->site->op));
    free(a);
    free(b);
    if (!same)
        return false;
    fb__say_fix(out, "sort what a directory listing, a set or a dictionary returns");
    return true;
}
