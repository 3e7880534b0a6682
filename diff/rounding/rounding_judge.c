/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_judge.c - one step: how large each difference is beside what rounding may do, and which
 * operation made it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/rounding/rounding.h"

/* Half a unit in the last place of float32, relative. */
static const double unit = 0x1p-24;

/* Beyond this share of a tensor an envelope says nothing about it. */
static const double useless_share = 0.3;

/* A difference that one factor explains to this share is a factor; it counts from three times the
 * envelope on, and from more units in the last place than a constant is rounded by, or a shift is
 * worth that passes for a factor: Adam makes full steps of a gradient that is nothing but rounding,
 * as a bias of keys has, and the scores of a row are shifted by it. */
static const double factor_share = 0.9, factor_limit = 3, factor_least = 0x1p-17,
                    factor_early = 1e-5; /* growth makes factors too, of one number gone astray */

/* --- Pairs ------------------------------------------------------------------------------------ */

void fb__other_side(fb__node *whole, fb__node *other, const fb__pairing *p, uint32_t node)
{
    const fb__node *a = &p->a->nodes[node];

    *whole = *a;
    *other = p->b->nodes[a->partner];
    if (a->how != FB__HOW_JOINED)
        return;
    const fb__join *join = &p->joins[a->join];
    const fb__table *others = join->whole_in_b ? p->a : p->b;
    fb__node sum = others->nodes[join->parts[0]];

    for (uint32_t i = 1; i < join->part_count; i++)
        fb__node_join(&sum, &others->nodes[join->parts[i]]);
    if (join->whole_in_b) {
        *whole = sum;
        *other = p->b->nodes[join->whole];
    } else {
        *other = sum;
    }
}

/* Of a join whose parts are a's, the first part stands for all. */
static bool stands_for_pair(const fb__pairing *p, uint32_t node)
{
    const fb__node *a = &p->a->nodes[node];

    if (a->how == FB__HOW_NONE || a->how == FB__HOW_ALIAS || a->partner == FB__NODE_NONE)
        return false;
    if (a->how != FB__HOW_JOINED || !p->joins[a->join].whole_in_b)
        return true;
    return p->joins[a->join].parts[0] == node;
}

/* --- Envelopes -------------------------------------------------------------------------------- */

static void allow(double *allowed, const fb__pairing *p, uint32_t node, double distance)
{
    const fb__node *a = &p->a->nodes[node];

    /* Parts of a join add up under the first of them. */
    if (a->how == FB__HOW_JOINED && p->joins[a->join].whole_in_b &&
        p->joins[a->join].parts[0] != node)
        node = p->joins[a->join].parts[0];
    if (distance > allowed[node])
        allowed[node] = distance;
}

void fb__rounding_allow(double *allowed, const fb__pairing *p, const fb__envelope *envelope,
                        const fb__table *table)
{
    const fb__table *side = envelope->of_b ? p->b : p->a;

    for (uint32_t i = side->start_count; i < side->count; i++) {
        const fb__node *n = &side->nodes[i];
        const uint32_t found = fb__table_find(table, n->key);
        const uint32_t node = envelope->of_b ? n->partner : i;
        double distance;

        if (found == FB__NODE_NONE || node == FB__NODE_NONE || !fb__is_paired(n))
            continue;
        distance = envelope->measured ? table->nodes[found].value
                                      : fb__node_distance(n, &table->nodes[found]);
        if (isfinite(distance))
            allow(allowed, p, node, distance);
    }
}

/* How many products each element of a result sums over, as far as sizes tell: [M,K] and [K,N] make
 * [M,N]. Where both inputs have the size of the result, it is made element by element. */
static double reduced_of(const fb__table *t, const fb__node *n)
{
    double product = 1, most = 1, reduced = 1;
    uint32_t tensors = 0, as_large = 0;

    for (uint32_t i = 0; i < n->input_count; i++) {
        const fb__node *in = &t->nodes[t->edges[n->first_input + i]];

        if (fb__node_is_scalar(in) || !in->real || in->elements == 0)
            continue;
        most = fmax(most, (double)in->elements);
        as_large += in->elements == n->elements;
        if (tensors++ < 2)
            product *= (double)in->elements;
    }
    if (n->elements == 0 || (tensors >= 2 && as_large == tensors))
        return 1;
    if (tensors >= 2)
        reduced = sqrt(product / (double)n->elements);
    return fmax(reduced, most / (double)n->elements);
}

double fb__rounding_scale(const fb__table *t, const fb__node *n)
{
    const double reduced = reduced_of(t, n);
    double product = 1;
    uint32_t tensors = 0;

    for (uint32_t i = 0; i < n->input_count && tensors < 2; i++) {
        const fb__node *in = &t->nodes[t->edges[n->first_input + i]];

        if (fb__node_is_scalar(in) || !in->real || in->elements == 0)
            continue;
        product *= fb__node_norm(in);
        tensors++;
    }
    if (reduced < 2 || tensors == 0 || n->site->phase != FB_PHASE_BACKWARD)
        return fb__node_norm(n);
    return fmax(fb__node_norm(n), tensors == 2 ? product / sqrt(reduced) : product);
}

/* The rounding of one operation: each partial sum of `reduced` products is rounded once, and their
 * errors add like the steps of a walk. */
double fb__rounding_own(const fb__table *t, const fb__node *n)
{
    const double norm = fb__node_norm(n);

    if (fb__node_is_scalar(n))
        return 8 * unit * norm;
    /* Of a few elements each may have met its worst case; of many, hardly any has. */
    return unit * norm *
           (0.5 + 4 / sqrt((double)(n->elements > 0 ? n->elements : 1)) +
            sqrt(reduced_of(t, n)) / 3);
}

/* --- One pair --------------------------------------------------------------------------------- */

/* b = scale·a + rest: how much of b - a lies along a. */
static void fit_scale(fb__judged *j, const fb__node *a, const fb__node *b)
{
    double ad = 0, aa = 0, dd = 0;

    j->scale = (double)NAN;
    if (fb__node_is_scalar(a)) {
        j->scale = a->value != 0 ? b->value / a->value : (double)NAN;
        j->along = 1;
        return;
    }
    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = b->linear[i] - a->linear[i];

        ad += a->linear[i] * d;
        aa += a->linear[i] * a->linear[i];
        dd += d * d;
    }
    if (!(aa > 0) || !(dd > 0))
        return;
    j->scale = 1 + ad / aa;
    j->along = fabs(ad) / sqrt(aa * dd);
}

static bool is_cast(const fb__node *a, const fb__node *b)
{
    return a->bf16_values != b->bf16_values && !fb_hash_is_zero(a->bf16) &&
           fb_hash_equal(a->bf16, b->bf16) && a->elements >= 64;
}

/* A sum whose terms cancel to next to nothing is rounding and nothing else, on each side its own;
 * and an optimizer that divides by its size makes full steps of it. */
static const double cancelled_share = 1e-4, cancelled_rounding = 100;

double fb__rounding_input_size(const fb__table *t, const fb__node *n)
{
    double most = 0;

    for (uint32_t i = 0; i < n->input_count; i++) {
        const fb__node *in = &t->nodes[t->edges[n->first_input + i]];

        if (in->real && in->elements > 0)
            most = fmax(most, fb__node_norm(in) / sqrt((double)in->elements));
    }
    return most * sqrt((double)n->elements);
}

/* The size that a gradient has without cancelling, where it cancels, or comes from one that does;
 * else 0. */
static double cancelled_scale(const fb__table *t, const fb__node *n, const double *cancelled)
{
    double scale = 0;

    if (n->site->phase == FB_PHASE_BACKWARD && n->site->kind == FB_KIND_TENSOR)
        scale = fb__rounding_scale(t, n);
    if (!(fb__node_norm(n) < cancelled_share * scale))
        scale = 0;
    if (n->site->kind == FB_KIND_TENSOR && n->sum_square == 0)
        scale = fmax(scale, fb__rounding_input_size(t, n));
    for (uint32_t i = 0; i < n->input_count; i++) {
        const uint32_t in = t->edges[n->first_input + i];

        if (t->nodes[in].elements == n->elements)
            scale = fmax(scale, cancelled[in]);
    }
    return scale;
}

/* Repeats are few: of a few numbers all may have been lucky, and where growth has carried rounding
 * far, it carries one run further than another. */
static double widened(const fb__node *a, double allowed)
{
    const double norm = fb__node_norm(a), grown = norm > 0 ? allowed / (norm * 1e-6) : 1;

    return allowed * (1 + 10 / (double)(a->elements > 0 ? a->elements : 1)) *
           (grown > 1 ? 1 + log10(grown) : 1);
}

double fb__rounding_limit_of(const fb__table *t, uint32_t node, double allowed, double cancelled)
{
    const fb__node *n = &t->nodes[node];

    return widened(n, allowed) + fb__rounding_own(t, n) + cancelled_rounding * unit * cancelled;
}

fb_status fb__rounding_cancelled(double **out, const fb__table *t, fb_error *err)
{
    *out = calloc((size_t)t->count + 1, sizeof **out);
    if (*out == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging differences: out of memory");
    for (uint32_t i = t->start_count; i < t->count; i++)
        (*out)[i] = cancelled_scale(t, &t->nodes[i], *out);
    return FB_OK;
}

static void judge_pair(fb__judged *j, const fb__pairing *p, uint32_t node, double allowed,
                       double cancelled)
{
    const fb__how how = p->a->nodes[node].how;
    const bool ordered = how != FB__HOW_REORDERED && how != FB__HOW_JOINED;
    fb__node a, b;

    *j = (fb__judged){.scale = (double)NAN};
    fb__other_side(&a, &b, p, node);
    if (a.tainted || b.tainted || !a.real)
        return;
    j->exact = a.start;
    j->distance = ordered ? fb__node_distance(&a, &b) : fb__node_distance_any_order(&a, &b);
    if (isnan(j->distance))
        return;
    j->known = true;
    j->equal = ordered ? fb__node_equal(&a, &b) : fb__node_same_numbers(&a, &b);
    j->envelope = fb__rounding_limit_of(p->a, node, allowed, cancelled);
    if (j->exact)
        j->envelope = unit * fb__node_norm(&a);
    j->useless = !j->exact && !fb__node_is_scalar(&a) &&
                 allowed > useless_share * fb__node_norm(&a) && isfinite(j->distance);
    if (j->distance == 0 || j->useless)
        return;
    j->ratio = j->envelope > 0 ? j->distance / j->envelope : (double)INFINITY;
    if (ordered && isfinite(j->distance)) {
        fit_scale(j, &a, &b);
        j->cast = is_cast(&a, &b);
    }
}

/* Beyond what rounding may do, by size or by shape. */
static bool is_beyond(const fb__judged *j, const fb__node *a)
{
    if (!j->known || j->useless || j->ratio == 0)
        return false;
    if (j->ratio > FB__ROUNDING_LIMIT || j->cast || (j->exact && j->ratio > 0))
        return true;
    return !fb__node_is_scalar(a) && a->elements >= FB_SKETCH_BUCKETS && j->along > factor_share &&
           j->ratio > factor_limit && fabs(j->scale - 1) > factor_least &&
           j->envelope < factor_early * fb__node_norm(a);
}

/* --- The step --------------------------------------------------------------------------------- */

typedef struct walk {
    const fb__pairing *p;
    const double *carried;
    fb__judged *at;
    uint32_t *stack, *seen, stamp;
    bool *has_user, *user_beyond; /* by node of a */
    bool *kept;                   /* a user still has it, or some of it */
    double *cancelled;            /* size of the terms of a sum that cancels */
} walk;

/* A difference that shrinks so much from one operation to the next is gone, not watered down. */
static const double vanishing = 300;

/* Of what comes behind a node, nothing has its difference: a factor that one side takes earlier
 * than the other. Not so of gradients that an update uses: clipping and Adam take every factor out,
 * and the gradients are wrong. */
static bool is_update(const fb__node *n)
{
    return n->site->phase == FB_PHASE_OPTIMIZER || n->site->kind == FB_KIND_PARAM ||
           fb__node_is_scalar(n);
}

static bool has_vanished(const walk *w, uint32_t node)
{
    return w->has_user[node] && !w->kept[node];
}

/* The largest ratio of the nearest judged nodes behind a node; of each of them it is noted that it
 * is used. */
static double largest_before(walk *w, uint32_t node)
{
    const fb__table *t = w->p->a;
    const double ratio = w->at[node].ratio;
    const bool gone = has_vanished(w, node), beyond = !gone && ratio > FB__ROUNDING_LIMIT / 3;
    uint32_t depth = 0;
    double most = 0;

    w->stamp++;
    w->stack[depth++] = node;
    w->seen[node] = w->stamp;
    while (depth > 0) {
        const fb__node *n = &t->nodes[w->stack[--depth]];

        for (uint32_t i = 0; i < n->input_count; i++) {
            const uint32_t in = t->edges[n->first_input + i];

            if (w->seen[in] == w->stamp)
                continue;
            w->seen[in] = w->stamp;
            if (t->nodes[in].start) {
                most = fmax(most, w->carried[in]);
            } else if (w->at[in].known) {
                most = fmax(most, w->at[in].ratio);
                w->has_user[in] = true;
                w->user_beyond[in] |= beyond;
                w->kept[in] |= (!gone && (ratio > FB__ROUNDING_LIMIT ||
                                          ratio >= w->at[in].ratio / vanishing)) ||
                               is_update(&t->nodes[node]);
            } else {
                w->stack[depth++] = in;
            }
        }
    }
    return most;
}

/* Whether it is known of all that a node is made from how far it is apart: an input without a
 * partner may be what differs. */
static bool has_known_inputs(const walk *w, uint32_t node)
{
    const fb__table *t = w->p->a;
    const fb__node *n = &t->nodes[node];

    for (uint32_t i = 0; i < n->input_count; i++) {
        const uint32_t at = t->edges[n->first_input + i];
        const fb__node *in = &t->nodes[at];

        if (in->site->kind == FB_KIND_TENSOR && in->real && !in->start && !in->excluded &&
            !fb__is_paired(in))
            return false;
    }
    return true;
}

/* The operation to blame: beyond, by more than twice what any input is, and seen by who uses it. */
static fb_status find_culprit(fb__step_judgement *out, walk *w, fb_error *err)
{
    const fb__table *t = w->p->a;
    double *before = calloc((size_t)t->count + 1, sizeof *before);

    if (before == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging differences: out of memory");
    /* From the last on, so that of each it is known what became of its difference. */
    for (uint32_t i = t->count; i-- > 0;)
        if (w->at[i].known)
            before[i] = largest_before(w, i);
    for (uint32_t i = 0; i < t->count; i++) {
        const fb__judged *j = &w->at[i];

        w->at[i].vanished = j->ratio > FB__ROUNDING_LIMIT && has_vanished(w, i);
        if (!is_beyond(j, &t->nodes[i]) || has_vanished(w, i))
            continue;
        out->beyond++;
        if (out->culprit == FB__NODE_NONE && (j->exact || j->cast || j->ratio > 2 * before[i]) &&
            (!w->has_user[i] || w->user_beyond[i]) && has_known_inputs(w, i))
            out->culprit = i;
    }
    free(before);
    return FB_OK;
}

/* What its parameters have become is what the next step begins with; of one that was not judged,
 * nobody knows. */
static void carry(double *carried, const fb__pairing *p, const walk *w)
{
    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];
        uint32_t owner;

        if (!fb__node_is_param(n))
            continue;
        owner = fb__table_find_param(p->a, n->site->path);
        if (owner != FB__NODE_NONE && (w->at[i].known || w->cancelled[i] > 0))
            carried[owner] = w->at[i].known ? w->at[i].ratio : (double)INFINITY;
    }
}

/* What training goes on with, and what it is steered by: it must have been compared. */
static bool counts(const fb__node *n)
{
    return !n->start && !n->excluded && n->real && n->elements > 0 &&
           (n->last_gradient || n->site->kind == FB_KIND_PARAM ||
            (fb__node_is_scalar(n) && n->site->slot != NULL && strcmp(n->site->slot, "loss") == 0));
}

/* Numbers without a partner of which none with a partner are made: nobody knows what they do. That
 * an index or a comparison is equal says nothing of them. */
static uint32_t count_loose(const fb__table *t, bool *leads)
{
    uint32_t loose = 0;

    memset(leads, 0, t->count * sizeof *leads);
    for (uint32_t i = t->count; i-- > t->start_count;) {
        const fb__node *n = &t->nodes[i];

        leads[i] |= fb__is_paired(n) && n->real;
        loose += !leads[i] && fb__is_pairable(n) && n->elements > 0;
        for (uint32_t k = 0; k < n->input_count && leads[i]; k++)
            leads[t->edges[n->first_input + k]] = true;
    }
    return loose;
}

static uint32_t count_missing(const fb__pairing *p, const walk *w)
{
    const size_t most = (size_t)(p->a->count > p->b->count ? p->a->count : p->b->count) + 1;
    bool *leads = calloc(most, sizeof *leads);
    uint32_t missing = 1;

    if (leads == NULL)
        return missing; /* what is not known counts as missing */
    missing = count_loose(p->a, leads) + count_loose(p->b, leads);
    free(leads);

    for (uint32_t i = p->a->start_count; i < p->a->count; i++)
        missing += counts(&p->a->nodes[i]) && p->a->nodes[i].how != FB__HOW_ALIAS &&
                   p->a->nodes[i].how != FB__HOW_JOINED && !w->at[i].known && w->cancelled[i] == 0;
    for (uint32_t i = p->b->start_count; i < p->b->count; i++)
        missing += counts(&p->b->nodes[i]) && !fb__is_paired(&p->b->nodes[i]);
    return missing;
}

fb_status fb__rounding_judge(fb__step_judgement *out, const fb__pairing *p, const double *allowed,
                             double *carried, bool with_start, fb_error *err)
{
    const size_t n = (size_t)p->a->count + 1;
    walk w = {.p = p, .carried = carried};
    fb_status status = FB_OK;

    *out = (fb__step_judgement){.culprit = FB__NODE_NONE};
    out->at = w.at = calloc(n, sizeof *w.at);
    w.stack = calloc(n, sizeof *w.stack);
    w.seen = calloc(n, sizeof *w.seen);
    w.has_user = calloc(n, sizeof *w.has_user);
    w.user_beyond = calloc(n, sizeof *w.user_beyond);
    w.kept = calloc(n, sizeof *w.kept);
    if (w.at == NULL || w.stack == NULL || w.seen == NULL || w.has_user == NULL ||
        w.user_beyond == NULL || w.kept == NULL)
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging differences: out of memory");
    else
        status = fb__rounding_cancelled(&w.cancelled, p->a, err);
    if (status == FB_OK) {
        for (uint32_t i = 0; i < p->a->count; i++) {
            if (!stands_for_pair(p, i) || (p->a->nodes[i].start && !with_start))
                continue;
            if (w.cancelled[i] > 0 && p->a->nodes[i].site->kind == FB_KIND_PARAM)
                continue;
            judge_pair(&w.at[i], p, i, allowed[i], w.cancelled[i]);
            out->compared += w.at[i].known;
            out->equal += w.at[i].equal;
            out->useless += w.at[i].useless;
        }
        out->missing = count_missing(p, &w);
        status = find_culprit(out, &w, err);
        carry(carried, p, &w);
    }
    free(w.stack);
    free(w.seen);
    free(w.has_user);
    free(w.user_beyond);
    free(w.kept);
    free(w.cancelled);
    return status;
}
