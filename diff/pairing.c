/* SPDX-License-Identifier: Apache-2.0
 *
 * pairing.c - pairs what has a name, a role or a value; what is left goes by data flow and contents
 * (pairing_flow.c).
 */
#include "diff/pairing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

/* A weight [out, in] of one side and [in, out] of the other: the numbers stand in another order. */
static bool is_transposed(const fb_site *a, const fb_site *b)
{
    return a->rank == 2 && b->rank == 2 && a->shape[0] != a->shape[1] &&
           a->shape[0] == b->shape[1] && a->shape[1] == b->shape[0];
}

void fb__pair(fb__pairing *p, uint32_t a, uint32_t b, fb__how how)
{
    fb__node *x = &p->a->nodes[a], *y = &p->b->nodes[b];

    if (x->site->kind == FB_KIND_PARAM && is_transposed(x->site, y->site))
        how = FB__HOW_REORDERED;
    x->partner = b;
    y->partner = a;
    x->how = y->how = how;
    x->tainted = y->tainted = x->tainted || y->tainted;
}

fb_status fb__pair_join(fb__pairing *p, const fb__join *join, fb_error *err)
{
    fb__table *wholes = join->whole_in_b ? p->b : p->a, *others = join->whole_in_b ? p->a : p->b;

    if (p->join_count == p->join_capacity) {
        const uint32_t capacity = p->join_capacity == 0 ? 16 : 2 * p->join_capacity;
        fb__join *grown = realloc(p->joins, capacity * sizeof *grown);

        if (grown == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "pairing tensors: out of memory");
        p->joins = grown;
        p->join_capacity = capacity;
    }
    wholes->nodes[join->whole].how = FB__HOW_JOINED;
    wholes->nodes[join->whole].partner = join->parts[0];
    wholes->nodes[join->whole].join = p->join_count;
    for (uint32_t i = 0; i < join->part_count; i++) {
        fb__node *n = &others->nodes[join->parts[i]];

        n->how = FB__HOW_JOINED;
        n->partner = join->whole;
        n->join = p->join_count;
    }
    p->joins[p->join_count++] = *join;
    return FB_OK;
}

/* --- Names ------------------------------------------------------------------------------------ */

static void pair_names(fb__pairing *p)
{
    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *a = &p->a->nodes[i];
        const uint32_t b = fb__table_find(p->b, a->key);

        if (b != FB__NODE_NONE && !fb__is_paired(a) && !fb__is_paired(&p->b->nodes[b]) &&
            a->elements == p->b->nodes[b].elements && a->site->kind == p->b->nodes[b].site->kind)
            fb__pair(p, i, b, FB__HOW_NAME);
    }
}

/* --- What belongs to a parameter --------------------------------------------------------------- */

typedef enum role { ROLE_NONE, ROLE_VALUE, ROLE_GRADIENT, ROLE_STATE } role;

static const char *slot_of(const fb__node *n)
{
    return n->site->slot == NULL ? "" : n->site->slot;
}

static role role_of(const fb__node *n)
{
    const char *op = n->site->op == NULL ? "" : n->site->op;

    if (n->start || !n->real)
        return ROLE_NONE;
    if (n->site->kind == FB_KIND_PARAM)
        return fb__node_is_param(n) ? ROLE_VALUE : ROLE_STATE;
    if (n->site->kind == FB_KIND_TENSOR &&
        (strcmp(slot_of(n), "grad.clip") == 0 || strcmp(slot_of(n), "grad.sum") == 0 ||
         (strcmp(slot_of(n), "grad") == 0 && strcmp(op, "grad") == 0)))
        return ROLE_GRADIENT;
    return ROLE_NONE;
}

/* The nodes of a role by parameter: what the optimizer used is the last gradient of its path. */
typedef struct belongings {
    uint32_t *value, *gradient; /* by start node */
} belongings;

static fb_status find_belongings(belongings *out, const fb__table *t, fb_error *err)
{
    const size_t n = (size_t)t->start_count + 1;

    out->value = malloc(n * sizeof *out->value);
    out->gradient = malloc(n * sizeof *out->gradient);
    if (out->value == NULL || out->gradient == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "pairing tensors: out of memory");
    memset(out->value, 0xff, n * sizeof *out->value);
    memset(out->gradient, 0xff, n * sizeof *out->gradient);
    for (uint32_t i = t->start_count; i < t->count; i++) {
        const role r = role_of(&t->nodes[i]);
        uint32_t owner;

        if (r != ROLE_VALUE && r != ROLE_GRADIENT)
            continue;
        owner = fb__table_find_param(t, t->nodes[i].site->path);
        if (owner != FB__NODE_NONE)
            (r == ROLE_VALUE ? out->value : out->gradient)[owner] = i;
    }
    return FB_OK;
}

static void pair_role(fb__pairing *p, uint32_t a, uint32_t b, bool reordered)
{
    if (a == FB__NODE_NONE || b == FB__NODE_NONE || fb__is_paired(&p->a->nodes[a]) ||
        fb__is_paired(&p->b->nodes[b]) || p->a->nodes[a].elements != p->b->nodes[b].elements)
        return;
    fb__pair(p, a, b, reordered ? FB__HOW_REORDERED : FB__HOW_ROLE);
}

/* What the parts of a join have in one role, against what the whole has. */
static fb_status join_role(fb__pairing *p, const fb__join *of, const uint32_t *wholes,
                           const uint32_t *parts, fb_error *err)
{
    fb__table *whole_table = of->whole_in_b ? p->b : p->a;
    fb__table *part_table = of->whole_in_b ? p->a : p->b;
    fb__join join = {.whole_in_b = of->whole_in_b, .whole = wholes[of->whole]};

    if (join.whole == FB__NODE_NONE || fb__is_paired(&whole_table->nodes[join.whole]))
        return FB_OK;
    for (uint32_t i = 0; i < of->part_count; i++) {
        const uint32_t part = parts[of->parts[i]];

        if (part == FB__NODE_NONE || fb__is_paired(&part_table->nodes[part]))
            return FB_OK;
        join.parts[join.part_count++] = part;
    }
    return fb__pair_join(p, &join, err);
}

/* A state of the optimizer: same slot, paired parameters. */
static void pair_states(fb__pairing *p)
{
    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *a = &p->a->nodes[i];
        uint32_t owner;

        if (fb__is_paired(a) || role_of(a) != ROLE_STATE)
            continue;
        owner = fb__table_find_param(p->a, a->site->path);
        if (owner == FB__NODE_NONE || p->a->nodes[owner].partner == FB__NODE_NONE ||
            p->a->nodes[owner].how == FB__HOW_JOINED)
            continue;
        const fb__node *other = &p->b->nodes[p->a->nodes[owner].partner];
        for (uint32_t k = p->b->start_count; k < p->b->count && p->budget > 0; k++) {
            const fb__node *b = &p->b->nodes[k];

            p->budget--;
            if (role_of(b) == ROLE_STATE && strcmp(slot_of(a), slot_of(b)) == 0 &&
                strcmp(b->site->path, other->site->path) == 0) {
                pair_role(p, i, k, p->a->nodes[owner].how == FB__HOW_REORDERED);
                break;
            }
        }
    }
}

static fb_status pair_all_roles(fb__pairing *p, const belongings *a, const belongings *b,
                                fb_error *err)
{
    const uint32_t joins = p->join_count; /* those of start nodes come first */
    fb_status status = FB_OK;

    for (uint32_t i = 0; i < p->a->start_count; i++) {
        const fb__node *n = &p->a->nodes[i];

        if (n->partner == FB__NODE_NONE || n->how == FB__HOW_JOINED)
            continue;
        pair_role(p, a->value[i], b->value[n->partner], n->how == FB__HOW_REORDERED);
        pair_role(p, a->gradient[i], b->gradient[n->partner], n->how == FB__HOW_REORDERED);
    }
    pair_states(p);
    for (uint32_t j = 0; j < joins && status == FB_OK; j++) {
        const fb__join join = p->joins[j];
        const fb__table *t = join.whole_in_b ? p->b : p->a;
        const belongings *whole = join.whole_in_b ? b : a, *part = join.whole_in_b ? a : b;

        if (join.whole >= t->start_count)
            continue;
        status = join_role(p, &join, whole->value, part->value, err);
        if (status == FB_OK)
            status = join_role(p, &join, whole->gradient, part->gradient, err);
    }
    return status;
}

static fb_status pair_roles(fb__pairing *p, fb_error *err)
{
    belongings a = {NULL, NULL}, b = {NULL, NULL};
    fb_status status = find_belongings(&a, p->a, err);

    if (status == FB_OK)
        status = find_belongings(&b, p->b, err);
    if (status == FB_OK)
        status = pair_all_roles(p, &a, &b, err);
    free(a.value);
    free(a.gradient);
    free(b.value);
    free(b.gradient);
    return status;
}

/* --- Scalars ---------------------------------------------------------------------------------- */

static bool is_scalar_called(const fb__node *n, const char *slot)
{
    return fb__node_is_scalar(n) && n->micro == FB_MICRO_NONE && strcmp(slot_of(n), slot) == 0;
}

/* What the nodes called so say together: several backward passes of one step have losses that add
 * up to that of the batch, or average to it. The last node stands for all. */
static void pair_scalar(fb__pairing *p, const char *slot)
{
    uint32_t of_a = FB__NODE_NONE, of_b = FB__NODE_NONE;
    uint64_t count = 0;
    double sum = 0;

    for (uint32_t i = p->a->start_count; i < p->a->count && of_a == FB__NODE_NONE; i++)
        if (is_scalar_called(&p->a->nodes[i], slot) && !fb__is_paired(&p->a->nodes[i]))
            of_a = i;
    for (uint32_t k = p->b->start_count; k < p->b->count; k++) {
        if (!is_scalar_called(&p->b->nodes[k], slot) || fb__is_paired(&p->b->nodes[k]))
            continue;
        of_b = k;
        sum += p->b->nodes[k].value;
        count++;
    }
    if (of_a == FB__NODE_NONE || of_b == FB__NODE_NONE)
        return;
    if (count > 1) {
        const double a = p->a->nodes[of_a].value, mean = sum / (double)count;

        p->b->nodes[of_b].value = fabs(a - mean) < fabs(a - sum) ? mean : sum;
    }
    fb__pair(p, of_a, of_b, FB__HOW_ROLE);
}

/* --- Together --------------------------------------------------------------------------------- */

fb_status fb__pair_step(fb__pairing *p, fb_error *err)
{
    static const char *const scalars[] = {"loss", "lr", "grad_norm"};
    fb_status status;

    if (p->by_name)
        pair_names(p);
    status = fb__pair_by_flow(p, err);
    if (status == FB_OK)
        status = pair_roles(p, err);
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0] && status == FB_OK; i++)
        pair_scalar(p, scalars[i]);
    return status;
}

void fb__pairing_free(fb__pairing *p)
{
    free(p->joins);
    p->joins = NULL;
    p->join_count = p->join_capacity = 0;
}
