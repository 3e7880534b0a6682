/* SPDX-License-Identifier: Apache-2.0
 *
 * pairing_flow.c - pairs activations and gradients of two programs whose ops differ.
 *
 * Nodes of a are taken in order. Where one node of b, and no other, has the same contents but for
 * rounding, that is it: two tensors of some size agree in four digits for no other reason. Else a
 * bug may have changed the contents, and the origins decide: the nearest paired nodes and
 * parameters that a tensor is made from. A candidate must have mostly the same origins, and of
 * several the most similar one counts.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/align/pairing.h"

enum {
    ORIGINS_MAX = 64, /* of one node; what is made from more is not paired by them */
    VISITS_MAX = 4096,
    TINY = 16, /* elements: fewer agree by chance */
};

/* By their sketches. An estimate within some 20 %, so the gap between the best and the next is
 * wide. */
static const double same_relative = 1e-3, tiny_relative = 1e-5, gap = 30;
/* What is so near differs by rounding, and what is further off by anything does not. */
static const double rounding_relative = 1e-5, rounding_gap = 4;
static const double origins_shared = 0.5, alike = 0.3, tiny_alike = 0.99, tie = 1e-3;

typedef struct origins {
    uint32_t at[ORIGINS_MAX]; /* nodes of a, ascending */
    uint32_t count;
    bool whole; /* none was left out */
} origins;

typedef struct flow {
    fb__pairing *p;
    uint32_t *stack, *seen; /* of max(nodes) */
    uint32_t stamp;
} flow;

/* --- Origins ---------------------------------------------------------------------------------- */

static void add_origin(origins *o, uint32_t node)
{
    uint32_t at = o->count;

    for (uint32_t i = 0; i < o->count; i++)
        if (o->at[i] == node)
            return;
    if (o->count == ORIGINS_MAX) {
        o->whole = false;
        return;
    }
    for (; at > 0 && o->at[at - 1] > node; at--)
        o->at[at] = o->at[at - 1];
    o->at[at] = node;
    o->count++;
}

/* The nearest paired nodes behind a node, as nodes of a. Parameters without a partner end the way
 * and are left out: they say nothing to the other side. */
static void find_origins(origins *o, flow *f, const fb__table *t, bool is_b, uint32_t node)
{
    const bool backward = fb__node_is_backward(&t->nodes[node]);
    uint32_t depth = 0, visits = 0;

    *o = (origins){.whole = true};
    f->stamp++;
    f->stack[depth++] = node;
    f->seen[node] = f->stamp;
    while (depth > 0) {
        const fb__node *n = &t->nodes[f->stack[--depth]];

        if (++visits > VISITS_MAX) {
            o->whole = false;
            return;
        }
        for (uint32_t i = 0; i < n->input_count; i++) {
            const uint32_t in = t->edges[n->first_input + i];
            const fb__node *origin = &t->nodes[in];

            if (f->seen[in] == f->stamp)
                continue;
            f->seen[in] = f->stamp;
            if (fb__node_is_backward(origin) && !backward) {
                o->whole =
                    false; /* a forward pass does not come from a gradient: a copy for logs */
                return;
            }
            /* There and back, so that a copy counts as what it is a copy of, and all parts of a
             * fused tensor as one. */
            if (fb__is_paired(origin) && origin->partner != FB__NODE_NONE)
                add_origin(o, is_b ? origin->partner : f->p->b->nodes[origin->partner].partner);
            else if (!origin->start)
                f->stack[depth++] = in;
        }
    }
}

/* Shared origins, as a share of all; two nodes made from nothing known share everything. */
static double shared(const origins *a, const origins *b)
{
    uint32_t both = 0;

    for (uint32_t i = 0, k = 0; i < a->count && k < b->count;) {
        both += a->at[i] == b->at[k];
        if (a->at[i] < b->at[k])
            i++;
        else
            k++;
    }
    if (a->count + b->count == 0)
        return 1;
    return (double)both / (double)(a->count + b->count - both);
}

/* --- Candidates ------------------------------------------------------------------------------- */

static bool is_candidate(const fb__node *a, const fb__node *b)
{
    return !fb__is_paired(b) && a->elements == b->elements && fb__is_pairable(b) &&
           fb__node_is_backward(a) == fb__node_is_backward(b);
}

/* Unpaired parameters that a node is made from, behind unpaired nodes too. */
static uint32_t loose_params(uint32_t out[ORIGINS_MAX], flow *f, const fb__table *t, uint32_t node)
{
    uint32_t depth = 0, visits = 0, count = 0;

    f->stamp++;
    f->stack[depth++] = node;
    f->seen[node] = f->stamp;
    while (depth > 0 && ++visits < VISITS_MAX) {
        const fb__node *n = &t->nodes[f->stack[--depth]];

        for (uint32_t i = 0; i < n->input_count; i++) {
            const uint32_t in = t->edges[n->first_input + i];

            if (f->seen[in] == f->stamp || fb__is_paired(&t->nodes[in]))
                continue;
            f->seen[in] = f->stamp;
            if (!t->nodes[in].start)
                f->stack[depth++] = in;
            else if (count < ORIGINS_MAX)
                out[count++] = in;
        }
    }
    return count;
}

/* Of nodes of b with equal contents, the one that is made from as many parameters that nobody has
 * paired yet as a is: a product, and its sum with a bias that is still zero. Else the first. */
static uint32_t choose_equal(flow *f, uint32_t of_a, uint32_t first)
{
    const fb__table *b = f->p->b;
    uint32_t loose[ORIGINS_MAX];
    const uint32_t wanted = loose_params(loose, f, f->p->a, of_a);

    for (uint32_t k = first; wanted > 0 && k < b->count && f->p->budget > 0; k++) {
        if (!is_candidate(&f->p->a->nodes[of_a], &b->nodes[k]) ||
            !fb__node_equal(&b->nodes[k], &b->nodes[first]))
            continue;
        f->p->budget--;
        if (loose_params(loose, f, b, k) == wanted)
            return k;
    }
    return first;
}

/* The node of b with the same contents but for rounding; FB__NODE_NONE where none or several are.
 */
static uint32_t find_same(flow *f, uint32_t of_a)
{
    fb__pairing *p = f->p;
    const fb__node *a = &p->a->nodes[of_a];
    const double norm = fb__node_norm(a);
    uint32_t best = FB__NODE_NONE;
    double least = INFINITY, next = INFINITY;

    if (!(norm > 0) || !isfinite(norm))
        return FB__NODE_NONE;
    for (uint32_t k = p->b->start_count; k < p->b->count && p->budget > 0; k++) {
        const fb__node *b = &p->b->nodes[k];
        double d;

        if (!is_candidate(a, b))
            continue;
        p->budget--;
        d = fb__node_distance(a, b) / norm;
        if (!(d < next) || (best != FB__NODE_NONE && fb__node_equal(b, &p->b->nodes[best])))
            continue; /* equal ones are told apart below */
        if (d < least) {
            next = least;
            least = d;
            best = k;
        } else {
            next = d;
        }
    }
    if (least > (a->elements < TINY ? tiny_relative : same_relative) ||
        next < (least < rounding_relative ? rounding_gap : gap) * least)
        return FB__NODE_NONE;
    return choose_equal(f, of_a, best);
}

static bool has_op_of(const fb__node *a, const fb__node *b)
{
    return a->site->op != NULL && b->site->op != NULL && strcmp(a->site->op, b->site->op) == 0;
}

/* The node of b that is made from the same, and most like a. */
static uint32_t find_alike(flow *f, uint32_t of_a)
{
    fb__pairing *p = f->p;
    const fb__node *a = &p->a->nodes[of_a];
    uint32_t best = FB__NODE_NONE, count = 0;
    double most = 0, cosine_of_best = 0, share_of_best = 0;
    origins of, other;

    find_origins(&of, f, p->a, false, of_a);
    if (!of.whole || of.count == 0)
        return FB__NODE_NONE;
    for (uint32_t k = p->b->start_count; k < p->b->count && p->budget > 0; k++) {
        const fb__node *b = &p->b->nodes[k];
        double share, cosine;

        if (!is_candidate(a, b) || (a->nonfinite != b->nonfinite && !has_op_of(a, b)))
            continue;
        p->budget--;
        find_origins(&other, f, p->b, true, k);
        share = other.whole ? shared(&of, &other) : 0;
        if (share < origins_shared)
            continue;
        count++;
        cosine = fb__node_cosine(a, b);
        /* Of two that are as good, the first: the second may be made from it. */
        if (2 * share + cosine > most + tie) {
            most = 2 * share + cosine;
            best = k;
            cosine_of_best = cosine;
            share_of_best = share;
        }
    }
    if (a->elements < TINY)
        return cosine_of_best > tiny_alike && share_of_best >= 1 ? best : FB__NODE_NONE;
    return cosine_of_best > alike || (count == 1 && share_of_best >= 1) ? best : FB__NODE_NONE;
}

/* Of nodes with the same origins, the one with the same statistics, which hold for any order. */
static uint32_t find_reordered(flow *f, uint32_t of_a)
{
    fb__pairing *p = f->p;
    const fb__node *a = &p->a->nodes[of_a];
    uint32_t best = FB__NODE_NONE;
    double most = 0;
    origins of, other;

    if (a->elements < TINY)
        return FB__NODE_NONE;
    find_origins(&of, f, p->a, false, of_a);
    if (!of.whole || of.count == 0)
        return FB__NODE_NONE;
    for (uint32_t k = p->b->start_count; k < p->b->count && p->budget > 0; k++) {
        const fb__node *b = &p->b->nodes[k];
        double share;

        if (!is_candidate(a, b) || !fb__same_statistics(a, b))
            continue;
        p->budget--;
        find_origins(&other, f, p->b, true, k);
        share = other.whole ? shared(&of, &other) : 0;
        if (share >= origins_shared && share > most) {
            most = share;
            best = k;
        }
    }
    /* In the same order after all: what is compared then is more than statistics. */
    return best != FB__NODE_NONE && fb__node_cosine(a, &p->b->nodes[best]) > tiny_alike
               ? FB__NODE_NONE
               : best;
}

/* --- Parameters that contents could not tell apart ---------------------------------------------
 */

static bool could_be(const fb__node *a, const fb__node *b, bool same_content)
{
    return a->elements == b->elements && a->site->rank == b->site->rank &&
           fb__node_equal(a, b) == same_content;
}

/* Of two paired nodes: the only parameter of a that could be the only one of b. */
static void pair_loose(flow *f, uint32_t of_a, uint32_t of_b)
{
    uint32_t a[ORIGINS_MAX], b[ORIGINS_MAX];
    const uint32_t na = loose_params(a, f, f->p->a, of_a);
    const uint32_t nb = na > 0 ? loose_params(b, f, f->p->b, of_b) : 0;

    for (int same = 1; same >= 0; same--)
        for (uint32_t i = 0; i < na; i++) {
            uint32_t found = FB__NODE_NONE, fits_a = 0, fits_b = 0;

            if (fb__is_paired(&f->p->a->nodes[a[i]]))
                continue;
            for (uint32_t k = 0; k < nb; k++)
                if (!fb__is_paired(&f->p->b->nodes[b[k]]) &&
                    could_be(&f->p->a->nodes[a[i]], &f->p->b->nodes[b[k]], same != 0)) {
                    found = b[k];
                    fits_b++;
                }
            for (uint32_t k = 0; k < na && fits_b == 1; k++)
                fits_a += !fb__is_paired(&f->p->a->nodes[a[k]]) &&
                          could_be(&f->p->a->nodes[a[k]], &f->p->b->nodes[found], same != 0);
            if (fits_b == 1 && fits_a == 1)
                fb__pair(f->p, a[i], found, same ? FB__HOW_CONTENT : FB__HOW_FLOW);
        }
}

/* --- Together --------------------------------------------------------------------------------- */

/* What is equal to an earlier node of its own side, and made from it, is that node once more: a
 * gradient that is handed on, a copy. */
static bool is_alias(const fb__table *t, uint32_t node)
{
    const fb__node *n = &t->nodes[node];

    for (uint32_t i = 0; i < n->input_count; i++) {
        const fb__node *in = &t->nodes[t->edges[n->first_input + i]];

        if (!in->start && fb__is_paired(in) && fb__node_equal(in, n) && in->elements == n->elements)
            return true;
    }
    return false;
}

static void pair_one(flow *f, uint32_t i)
{
    fb__node *a = &f->p->a->nodes[i];
    uint32_t b;

    if (is_alias(f->p->a, i)) {
        a->how = FB__HOW_ALIAS;
        a->partner = FB__NODE_NONE;
        for (uint32_t k = 0; k < a->input_count && a->partner == FB__NODE_NONE; k++) {
            const fb__node *in = &f->p->a->nodes[f->p->a->edges[a->first_input + k]];

            if (fb__node_equal(in, a))
                a->partner = in->partner;
        }
        return;
    }
    b = find_same(f, i);
    if (b != FB__NODE_NONE) {
        fb__pair(f->p, i, b, FB__HOW_CONTENT);
        return;
    }
    b = find_reordered(f, i);
    if (b != FB__NODE_NONE) {
        fb__pair(f->p, i, b, FB__HOW_REORDERED);
        return;
    }
    b = find_alike(f, i);
    if (b != FB__NODE_NONE)
        fb__pair(f->p, i, b, FB__HOW_FLOW);
}

/* The join of start nodes whose whole or part a node of a uses; its outputs are joined when the
 * first of them comes, so that what follows has its origins. */
static fb_status join_when_due(fb__pairing *p, uint32_t node, fb_error *err)
{
    const fb__node *n = &p->a->nodes[node];

    for (uint32_t i = 0; i < n->input_count && !fb__is_paired(n); i++) {
        const fb__node *in = &p->a->nodes[p->a->edges[n->first_input + i]];

        if (in->start && in->how == FB__HOW_JOINED) {
            const fb__join join = p->joins[in->join];
            const fb_status status = fb__join_outputs(p, &join, err);

            if (status != FB_OK)
                return status;
        }
    }
    return FB_OK;
}

static fb_status pair_all(flow *f, bool last_gradients, fb_error *err)
{
    fb__pairing *p = f->p;
    fb_status status = FB_OK;

    for (uint32_t i = p->a->start_count; i < p->a->count && status == FB_OK; i++) {
        const fb__node *a = &p->a->nodes[i];

        if (!fb__is_paired(a) && fb__is_pairable(a) && !fb__node_is_backward(a))
            status = join_when_due(p, i, err);
        if (!fb__is_paired(a) && fb__is_pairable(a) && (last_gradients || !a->last_gradient))
            pair_one(f, i);
        if (fb__is_paired(a) && a->partner != FB__NODE_NONE && !fb__node_is_backward(a))
            pair_loose(f, i, a->partner);
    }
    return status;
}

fb_status fb__pair_by_flow(fb__pairing *p, bool last_gradients, fb_error *err)
{
    const size_t most = (size_t)(p->a->count > p->b->count ? p->a->count : p->b->count) + 1;
    flow f = {.p = p, .stack = calloc(most, sizeof *f.stack), .seen = calloc(most, sizeof *f.seen)};
    fb_status status = FB_OK;

    if (f.stack == NULL || f.seen == NULL)
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "pairing tensors: out of memory");
    else
        status = pair_all(&f, last_gradients, err);
    free(f.stack);
    free(f.seen);
    return status;
}
