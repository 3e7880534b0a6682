/* SPDX-License-Identifier: Apache-2.0
 *
 * pairing_join.c - what fused weights make and get, on one side, is what their parts make and get,
 * on the other: outputs side by side, gradients part by part.
 */
#include <math.h>
#include <string.h>

#include "diff/align/pairing.h"

bool fb__is_pairable(const fb__node *n)
{
    return n->site->kind == FB_KIND_TENSOR && n->real && n->has_sketch && n->elements > 0 &&
           !n->excluded;
}

bool fb__same_statistics(const fb__node *a, const fb__node *b)
{
    const double norm = fb__node_norm(a), mean = a->sum_abs / (double)a->elements;
    const double close = 1e-3;

    return a->elements == b->elements && norm > 0 &&
           fabs(norm - fb__node_norm(b)) <= close * norm &&
           fabs(a->sum_abs - b->sum_abs) <= close * a->sum_abs &&
           fabs(a->min - b->min) <= close * (fabs(a->min) + mean) &&
           fabs(a->max - b->max) <= close * (fabs(a->max) + mean);
}

/* --- Outputs ---------------------------------------------------------------------------------- */

/* Of the nodes that use a parameter directly in the forward pass, the first without a partner. */
static uint32_t first_user(const fb__table *t, uint32_t param)
{
    for (uint32_t i = t->start_count; i < t->count; i++) {
        const fb__node *n = &t->nodes[i];

        if (fb__is_paired(n) || !fb__is_pairable(n) || fb__node_is_backward(n))
            continue;
        for (uint32_t k = 0; k < n->input_count; k++)
            if (t->edges[n->first_input + k] == param)
                return i;
    }
    return FB__NODE_NONE;
}

fb_status fb__join_outputs(fb__pairing *p, const fb__join *of, fb_error *err)
{
    fb__table *wholes = of->whole_in_b ? p->b : p->a, *others = of->whole_in_b ? p->a : p->b;
    fb__join join = {.whole_in_b = of->whole_in_b};
    uint64_t elements = 0;

    if (of->whole >= wholes->start_count || wholes->nodes[of->whole].site->rank != 2)
        return FB_OK;
    join.whole = first_user(wholes, of->whole);
    if (join.whole == FB__NODE_NONE)
        return FB_OK;
    for (uint32_t i = 0; i < of->part_count; i++) {
        const uint32_t part = first_user(others, of->parts[i]);

        if (part == FB__NODE_NONE)
            return FB_OK;
        join.parts[join.part_count++] = part;
        elements += others->nodes[part].elements;
    }
    return elements == wholes->nodes[join.whole].elements ? fb__pair_join(p, &join, err) : FB_OK;
}

/* --- Gradients -------------------------------------------------------------------------------- */

enum { CHAIN_MAX = 24 };

/* Unpaired nodes behind a gradient, breadth first: those of its own size first met (same), or the
 * direct inputs of other sizes (not same). */
typedef struct chain {
    uint32_t at[CHAIN_MAX], count;
} chain;

static void add_link(chain *c, uint32_t node)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->at[i] == node)
            return;
    if (c->count < CHAIN_MAX)
        c->at[c->count++] = node;
}

static void follow_size(chain *c, const fb__table *t, uint32_t from)
{
    const uint64_t elements = t->nodes[from].elements;

    *c = (chain){.at = {from}, .count = 1};
    for (uint32_t i = 0; i < c->count; i++) {
        const fb__node *n = &t->nodes[c->at[i]];

        for (uint32_t k = 0; k < n->input_count; k++) {
            const uint32_t in = t->edges[n->first_input + k];

            if (!t->nodes[in].start && fb__node_is_backward(&t->nodes[in]) &&
                t->nodes[in].elements == elements && fb__is_pairable(&t->nodes[in]))
                add_link(c, in);
        }
    }
}

static void inputs_of(chain *c, const fb__table *t, uint32_t node)
{
    const fb__node *n = &t->nodes[node];

    *c = (chain){.count = 0};
    for (uint32_t k = 0; k < n->input_count; k++) {
        const uint32_t in = t->edges[n->first_input + k];

        if (!t->nodes[in].start && fb__node_is_backward(&t->nodes[in]) &&
            fb__is_pairable(&t->nodes[in]) && !fb__is_paired(&t->nodes[in]))
            add_link(c, in);
    }
}

/* Joins a whole with the k-th of each chain, for the first k with the same statistics. */
static fb_status join_chains(uint32_t *found, fb__pairing *p, bool whole_in_b, uint32_t whole,
                             const chain *chains, uint32_t parts, fb_error *err)
{
    fb__table *wholes = whole_in_b ? p->b : p->a, *others = whole_in_b ? p->a : p->b;

    *found = FB__NODE_NONE;
    for (uint32_t k = 0; k < chains[0].count; k++) {
        fb__join join = {.whole_in_b = whole_in_b, .whole = whole};
        fb__node sum = others->nodes[chains[0].at[k]];

        for (uint32_t i = 0; i < parts && k < chains[i].count; i++) {
            const fb__node *part = &others->nodes[chains[i].at[k]];

            if (fb__is_paired(part))
                break;
            if (i > 0)
                fb__node_join(&sum, part);
            join.parts[join.part_count++] = chains[i].at[k];
        }
        if (join.part_count < parts || !fb__same_statistics(&wholes->nodes[whole], &sum))
            continue;
        *found = p->join_count;
        return fb__pair_join(p, &join, err);
    }
    return FB_OK;
}

/* The gradient of the output, behind that of the weight. */
static fb_status join_inputs(fb__pairing *p, fb__join join, fb_error *err)
{
    const fb__table *wholes = join.whole_in_b ? p->b : p->a;
    const fb__table *others = join.whole_in_b ? p->a : p->b;
    chain whole, parts[FB__PARTS_MAX] = {{.count = 0}};
    fb_status status = FB_OK;

    inputs_of(&whole, wholes, join.whole);
    for (uint32_t i = 0; i < join.part_count; i++)
        inputs_of(&parts[i], others, join.parts[i]);
    for (uint32_t i = 0; i < whole.count && status == FB_OK; i++) {
        uint32_t found;

        status = join_chains(&found, p, join.whole_in_b, whole.at[i], parts, join.part_count, err);
    }
    return status;
}

/* A gradient that is one with the joined one behind it (the only micro-batch of a step) has its
 * parts. Only a's nodes have other names. */
static bool is_copy(fb__pairing *p, const chain *whole, uint32_t i, uint32_t *join)
{
    fb__node *n = &p->a->nodes[whole->at[i]];

    for (uint32_t k = 0; k < i; k++) {
        const fb__node *known = &p->a->nodes[whole->at[k]];

        if (known->how == FB__HOW_JOINED && fb__node_equal(known, n)) {
            n->how = FB__HOW_ALIAS;
            n->partner = known->partner;
            *join = known->join;
            return true;
        }
    }
    return false;
}

fb_status fb__join_gradients(fb__pairing *p, const fb__join *of, fb_error *err)
{
    fb__table *wholes = of->whole_in_b ? p->b : p->a;
    const fb__table *others = of->whole_in_b ? p->a : p->b;
    chain whole, parts[FB__PARTS_MAX] = {{.count = 0}};
    fb_status status = FB_OK;

    follow_size(&whole, wholes, of->whole);
    for (uint32_t i = 0; i < of->part_count; i++)
        follow_size(&parts[i], others, of->parts[i]);
    for (uint32_t i = 0; i < whole.count && status == FB_OK; i++) {
        uint32_t found = FB__NODE_NONE;

        if (fb__is_paired(&wholes->nodes[whole.at[i]]))
            continue;
        if (of->whole_in_b || !is_copy(p, &whole, i, &found))
            status =
                join_chains(&found, p, of->whole_in_b, whole.at[i], parts, of->part_count, err);
        if (status == FB_OK && found != FB__NODE_NONE) {
            fb__join join = p->joins[found];

            join.whole = whole.at[i];
            status = join_inputs(p, join, err);
        }
    }
    return status;
}
