/* SPDX-License-Identifier: Apache-2.0
 *
 * pairing.c - pairs what has a name, a role or a value; what is left goes by data flow and contents
 * (pairing_flow.c).
 */
#include "diff/align/pairing.h"

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

    if (is_transposed(x->site, y->site) ||
        (x->start && y->start && !fb__node_equal(x, y) && fb__node_same_numbers(x, y)))
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

/* --- What belongs to a parameter ---------------------------------------------------------------
 */

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

/* --- Names ------------------------------------------------------------------------------------ */

/* Ops that a program calls outside of any module, or several times in one, are told apart by their
 * number only, which another way of writing the same shifts. */
static bool is_named_alike(const fb__pairing *p, const fb__node *a, const fb__node *b)
{
    enum { TINY = 16 }; /* elements: fewer agree by chance */

    if (p->same_program || a->site->kind == FB_KIND_SCALAR || a->site->kind == FB_KIND_DRAW)
        return true;
    if (role_of(a) != ROLE_NONE) /* goes with its parameter */
        return false;
    if (!a->has_sketch || !b->has_sketch)
        return fb__node_equal(a, b);
    return fb__node_distance(a, b) <= (a->elements < TINY ? 1e-5 : 1e-2) * fb__node_norm(a);
}

/* leftover: what belongs to parameters that are not in the model at the start, by its name alone.
 */
static void pair_names(fb__pairing *p, bool leftover)
{
    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *a = &p->a->nodes[i];
        const uint32_t k = fb__table_find(p->b, a->key);
        const fb__node *b = k == FB__NODE_NONE ? NULL : &p->b->nodes[k];

        if (b == NULL || fb__is_paired(a) || fb__is_paired(b) || a->excluded ||
            a->elements != b->elements || a->site->kind != b->site->kind)
            continue;
        if (leftover ? role_of(a) != ROLE_NONE : is_named_alike(p, a, b))
            fb__pair(p, i, k, FB__HOW_NAME);
    }
}

/* --- Roles ------------------------------------------------------------------------------------ */

/* The nodes that belong to parameters: what the optimizer used is the last gradient of its path;
 * then the value after the update, then a state of each slot. */
enum { GRADIENT, VALUE, STATES, STATES_MAX = 6, KINDS = STATES + STATES_MAX };

typedef struct belongings {
    uint32_t *of[KINDS]; /* by start node */
    const char *slots[STATES_MAX];
} belongings;

/* The number of a state's slot, the same in both tables; KINDS where there are too many. */
static int kind_of(const fb__node *n, const char **slots)
{
    const role r = role_of(n);

    if (r == ROLE_GRADIENT)
        return GRADIENT;
    if (r == ROLE_VALUE)
        return VALUE;
    for (int i = 0; i < STATES_MAX && r == ROLE_STATE; i++) {
        if (slots[i] == NULL)
            slots[i] = slot_of(n);
        if (strcmp(slots[i], slot_of(n)) == 0)
            return STATES + i;
    }
    return KINDS;
}

static fb_status find_belongings(belongings *out, fb__table *t, fb_error *err)
{
    const size_t n = (size_t)t->start_count + 1;

    for (int k = 0; k < KINDS; k++) {
        out->of[k] = malloc(n * sizeof *out->of[k]);
        if (out->of[k] == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "pairing tensors: out of memory");
        memset(out->of[k], 0xff, n * sizeof *out->of[k]);
    }
    for (uint32_t i = t->start_count; i < t->count; i++) {
        const int kind = kind_of(&t->nodes[i], out->slots);
        uint32_t owner;

        if (kind == KINDS)
            continue;
        owner = fb__table_find_param(t, t->nodes[i].site->path);
        if (owner != FB__NODE_NONE)
            out->of[kind][owner] = i;
    }
    for (uint32_t i = 0; i < t->start_count; i++)
        if (out->of[GRADIENT][i] != FB__NODE_NONE)
            t->nodes[out->of[GRADIENT][i]].last_gradient = true;
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

static fb_status pair_all_roles(fb__pairing *p, const belongings *a, const belongings *b,
                                fb_error *err)
{
    const uint32_t joins = p->join_count; /* those of start nodes come first */
    fb_status status = FB_OK;

    for (uint32_t i = 0; i < p->a->start_count; i++) {
        const fb__node *n = &p->a->nodes[i];

        if (n->partner == FB__NODE_NONE || n->how == FB__HOW_JOINED)
            continue;
        for (int k = 0; k < KINDS; k++)
            pair_role(p, a->of[k][i], b->of[k][n->partner], n->how == FB__HOW_REORDERED);
    }
    for (uint32_t j = 0; j < joins && status == FB_OK; j++) {
        const fb__join join = p->joins[j];
        const fb__table *t = join.whole_in_b ? p->b : p->a;
        const belongings *whole = join.whole_in_b ? b : a, *part = join.whole_in_b ? a : b;

        for (int k = 0; k < KINDS && status == FB_OK && join.whole < t->start_count; k++)
            status = join_role(p, &join, whole->of[k], part->of[k], err);
    }
    return status;
}

/* What the gradients of fused weights were made from. */
static fb_status pair_behind_joins(fb__pairing *p, fb_error *err)
{
    const uint32_t joins = p->join_count;
    fb_status status = FB_OK;

    for (uint32_t j = 0; j < joins && status == FB_OK; j++) {
        const fb__join join = p->joins[j];
        const fb__table *t = join.whole_in_b ? p->b : p->a;

        if (join.whole >= t->start_count && role_of(&t->nodes[join.whole]) == ROLE_GRADIENT)
            status = fb__join_gradients(p, &join, err);
    }
    return status;
}

static fb_status pair_roles(fb__pairing *p, fb_error *err)
{
    belongings a = {.slots = {NULL}}, b = {.slots = {NULL}};
    fb_status status = find_belongings(&a, p->a, err);

    memcpy(b.slots, a.slots, sizeof b.slots);
    if (status == FB_OK)
        status = find_belongings(&b, p->b, err);
    if (status == FB_OK)
        status = pair_all_roles(p, &a, &b, err);
    for (int k = 0; k < KINDS; k++) {
        free(a.of[k]);
        free(b.of[k]);
    }
    return status;
}

/* --- Passes ----------------------------------------------------------------------------------- */

uint32_t fb__passes_of_step(const fb__table *t)
{
    int32_t most = FB_MICRO_NONE;
    uint32_t losses = 0;

    for (uint32_t i = t->start_count; i < t->count; i++) {
        const fb__node *n = &t->nodes[i];

        most = n->micro > most ? n->micro : most;
        losses += fb__node_is_scalar(n) && n->site->phase == FB_PHASE_LOSS &&
                  n->micro == FB_MICRO_NONE && strcmp(slot_of(n), "loss") == 0;
    }
    return most >= 0 ? (uint32_t)most + 1 : losses;
}

static void exclude_passes(fb__table *t)
{
    for (uint32_t i = t->start_count; i < t->count; i++) {
        fb__node *n = &t->nodes[i];
        const fb_phase phase = n->site->phase;

        n->excluded =
            n->micro != FB_MICRO_NONE ||
            (n->site->kind == FB_KIND_TENSOR && role_of(n) != ROLE_GRADIENT &&
             (phase == FB_PHASE_FORWARD || phase == FB_PHASE_LOSS || phase == FB_PHASE_BACKWARD));
    }
}

bool fb__exclude_passes(fb__table *a, fb__table *b)
{
    const uint32_t of_a = fb__passes_of_step(a), of_b = fb__passes_of_step(b);

    if (of_a == of_b || of_a == 0 || of_b == 0)
        return false;
    exclude_passes(a);
    exclude_passes(b);
    return true;
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
        pair_names(p, false);
    /* Twice: a parameter may get its partner from who uses it, and its gradient then from it. */
    status = pair_roles(p, err);
    if (status == FB_OK)
        status = fb__pair_by_flow(p, false, err);
    if (status == FB_OK)
        status = pair_roles(p, err);
    if (status == FB_OK)
        status = pair_behind_joins(p, err);
    if (status == FB_OK)
        status = fb__pair_by_flow(p, true, err);
    if (status == FB_OK && p->by_name)
        pair_names(p, true);
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
