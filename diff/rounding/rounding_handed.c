/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_handed.c - what rounding may do where no repeats were measured: each operation hands on
 * the difference that its inputs have been seen to have, and adds its own rounding.
 *
 * The difference of the inputs is the one between the two runs, whatever made it: an operation is
 * asked only for what is new behind it. So growth does not make the question void, as it does for
 * bounds that are handed on from the first step, until the runs have nothing in common.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diff/rounding/rounding_judging.h"

/* Elements of a gradient that are smaller than its difference may have either sign, and an
 * optimizer that divides by their size makes full steps of them. Of numbers spread like a bell, a
 * share s lies within s of zero; gradients have ten times as many there. */
static const double crowded = 10;

/* A backward pass takes differences (the mean of a layernorm, the sum of a softmax), and the error
 * is relative to what it takes them of. */
static const double taken_away = 0.1;

typedef struct handing {
    fb__judging *j; /* borrowed */
    const fb__pairing *p;
    double *distance; /* by node of a: what it hands on; L2 */
    bool *suspect;    /* comes from what is beyond rounding */
    double *cancelled;
    bool *of_param; /* gradients of parameters, and what of their size they are made from */
} handing;

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

/* --- Updates ---------------------------------------------------------------------------------- */

/* How far the update moved a parameter, by the sketches of its values before and after. */
static double update_of(const fb__judging *j, const fb__node *n, uint32_t owner)
{
    double square = 0;

    if (!n->has_sketch)
        return fb__node_norm(n);
    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = n->linear[i] - j->before[owner].linear[i];
        square += d * d;
    }
    return sqrt(square);
}

/* Of a parameter: what it began the step with, and of its update the elements whose gradient may
 * have either sign. */
static double handed_to_param(const handing *h, const fb__node *n, uint32_t owner)
{
    const fb__param_before *before = &h->j->before[owner];

    return before->apart +
           update_of(h->j, n, owner) * fmin(2, 2 * sqrt(crowded * before->gradient));
}

/* Of a state of the optimizer: it remembers the gradients of all steps. */
static double handed_to_state(const handing *h, const fb__node *n, uint32_t owner)
{
    const fb__param_before *before = &h->j->before[owner];

    return fmax(3 * before->gradient * fb__node_norm(n), before->largest);
}

/* --- Operations ------------------------------------------------------------------------------- */

static bool is_op(const fb__node *n, const char *name)
{
    const char *op = n->site->op == NULL ? "" : n->site->op;
    const size_t length = strlen(name);

    return strncmp(op, name, length) == 0 && (op[length] == '\0' || op[length] == '_');
}

static double seen(const handing *h, uint32_t node)
{
    const fb__node *n = &h->p->a->nodes[node];

    return n->start ? h->j->before[node].apart : h->distance[node];
}

static double norm_of(const handing *h, uint32_t node)
{
    const fb__node *n = &h->p->a->nodes[node];

    return n->start ? h->j->before[node].norm : fb__node_norm(n);
}

/* Sums and differences hand on what they are given, however small the result; zero for others. */
static double handed_through(const handing *h, const fb__node *n)
{
    const bool sums = is_op(n, "sum"), means = is_op(n, "mean");
    double all = 0;

    if (!sums && !means && !is_op(n, "add") && !is_op(n, "sub") && !is_op(n, "rsub"))
        return 0;
    for (uint32_t k = 0; k < n->input_count; k++) {
        const uint32_t in = h->p->a->edges[n->first_input + k];
        const double ratio = n->elements == 0 || h->p->a->nodes[in].elements == 0
                                 ? 1
                                 : (double)n->elements / (double)h->p->a->nodes[in].elements;

        /* A mean of k numbers has a kth of their error, a sum that of k of them (Cauchy, Schwarz);
         * what is repeated is so with its error. */
        all += seen(h, in) * (sums ? 1 / sqrt(ratio) : sqrt(ratio));
    }
    return all;
}

static double handed_to_result(const handing *h, uint32_t node)
{
    const fb__table *t = h->p->a;
    const fb__node *n = &t->nodes[node];
    double share = 0, size = fb__node_norm(n), least = 0;

    for (uint32_t k = 0; k < n->input_count; k++) {
        const uint32_t in = t->edges[n->first_input + k];
        const double norm = norm_of(h, in);

        if (norm > 0)
            share = fmax(share, seen(h, in) / norm);
        if (t->nodes[in].elements == n->elements)
            least = fmax(least, norm);
    }
    if (h->of_param[node])
        size = fb__rounding_scale(t, n);
    else if (n->site->phase == FB_PHASE_BACKWARD && n->site->kind == FB_KIND_TENSOR)
        size = fmax(size, taken_away * least);
    return fmax((share + 0x1p-23) * size, handed_through(h, n));
}

static bool comes_from_suspect(const handing *h, const fb__node *n)
{
    for (uint32_t k = 0; k < n->input_count; k++)
        if (h->suspect[h->p->a->edges[n->first_input + k]])
            return true;
    return false;
}

/* What is seen of a pair; of a node without a partner, what it was handed. What is beyond rounding
 * is not handed on, so that all that comes from it is beyond rounding too, until it has vanished.
 */
static double look_at(handing *h, uint32_t node, double handed)
{
    const fb__node *n = &h->p->a->nodes[node];
    const double limit = fb__rounding_limit_of(h->p->a, node, handed, h->cancelled[node]);
    fb__node a, b;
    double distance;

    h->suspect[node] = comes_from_suspect(h, n);
    if (!fb__is_paired(n) || n->partner == FB__NODE_NONE || n->tainted)
        return handed;
    fb__other_side(&a, &b, h->p, node);
    distance = n->how == FB__HOW_REORDERED || n->how == FB__HOW_JOINED
                   ? fmax(handed, fb__node_distance_any_order(&a, &b))
                   : fb__node_distance(&a, &b);
    h->suspect[node] = !(distance <= (h->suspect[node] ? 1 : FB__ROUNDING_LIMIT) * limit);
    return h->suspect[node] ? handed : distance;
}

static void hand_on_step(handing *h, double *allowed)
{
    const fb__table *t = h->p->a;

    mark_param_gradients(h->of_param, t);
    for (uint32_t i = t->start_count; i < t->count; i++) {
        const fb__node *n = &t->nodes[i];
        const bool belongs = n->site->kind == FB_KIND_PARAM || n->last_gradient;
        const uint32_t owner = belongs && n->site->path != NULL
                                   ? fb__table_find_param(t, n->site->path)
                                   : FB__NODE_NONE;
        const double norm = fb__node_norm(n);
        fb__param_before *before;

        if (owner != FB__NODE_NONE && fb__node_is_param(n))
            allowed[i] = handed_to_param(h, n, owner);
        else
            allowed[i] = handed_to_result(h, i);
        if (owner != FB__NODE_NONE && n->site->kind == FB_KIND_PARAM && !fb__node_is_param(n))
            allowed[i] = fmax(allowed[i], handed_to_state(h, n, owner));
        h->distance[i] = look_at(h, i, allowed[i]);
        if (owner == FB__NODE_NONE || !n->last_gradient)
            continue;
        before = &h->j->before[owner];
        before->largest = fmax(before->largest, h->distance[i]);
        if (norm > 0)
            before->gradient = fmax(before->gradient, h->distance[i] / norm);
    }
}

fb_status fb__hand_on(double *allowed, fb__judging *j, const fb__pairing *p, fb_error *err)
{
    const fb__table *t = p->a;
    handing h = {.j = j, .p = p};
    fb_status status = fb__rounding_cancelled(&h.cancelled, t, err);

    h.distance = calloc((size_t)t->count + 1, sizeof *h.distance);
    h.of_param = calloc((size_t)t->count + 1, sizeof *h.of_param);
    h.suspect = calloc((size_t)t->count + 1, sizeof *h.suspect);
    if (status == FB_OK && (h.distance == NULL || h.suspect == NULL || h.of_param == NULL))
        status = fb__judging_memory(err);
    if (status == FB_OK)
        hand_on_step(&h, allowed);
    free(h.cancelled);
    free(h.distance);
    free(h.of_param);
    free(h.suspect);
    return status;
}
