/* SPDX-License-Identifier: Apache-2.0
 *
 * step_table.c - reading the nodes of a step, and what two of them say of each other.
 */
#include "diff/read/step_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/read/step_events.h"

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "tensors of a step: out of memory");
}

/* How many occurrences of this one's group are no nodes: those before what both steps do. */
static uint32_t skipped(const fb__table *t, const fb_site *site, int32_t micro)
{
    return t->own == NULL ? 0 : fb__groups_skipped(t->own, t->other, site, micro);
}

static fb_hash key_of(const fb__table *t, const fb_site *site, int32_t micro)
{
    const uint32_t n = skipped(t, site, micro);
    return fb__group_key(site, micro,
                         site->occurrence - (n < site->occurrence ? n : site->occurrence));
}

/* A path without the names of wrappers. */
static fb_hash path_key(const char *path)
{
    char plain[FB_NAME_MAX + 1];

    fb__unwrap_path(plain, path);
    return fb_hash_bytes(plain, strlen(plain));
}

static const char *slot_of(const fb_site *site)
{
    return site->slot == NULL ? "" : site->slot;
}

static bool is_value_of_param(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM && strcmp(slot_of(site), "param") == 0;
}

bool fb__node_is_param(const fb__node *node)
{
    return is_value_of_param(node->site);
}

bool fb__node_is_scalar(const fb__node *node)
{
    return node->site->kind == FB_KIND_SCALAR;
}

bool fb__node_is_backward(const fb__node *node)
{
    const fb_phase phase = node->site->phase;
    return phase == FB_PHASE_BACKWARD || phase == FB_PHASE_OPTIMIZER;
}

/* --- Index ------------------------------------------------------------------------------------ */

static uint32_t place_of(fb_hash key, uint32_t mask)
{
    return (uint32_t)(key.lo ^ key.hi) & mask;
}

/* Of nodes of one identity, which no sound program reports, the first counts. */
static void enter(const fb__table *t, uint32_t *index, uint32_t mask, uint32_t node)
{
    uint32_t at = place_of(t->nodes[node].key, mask);

    while (index[at] != 0 && !fb_hash_equal(t->nodes[index[at] - 1].key, t->nodes[node].key))
        at = (at + 1) & mask;
    if (index[at] == 0)
        index[at] = node + 1;
}

static bool grow_index(fb__table *t)
{
    const uint32_t mask = t->index_mask == 0 ? 1023 : t->index_mask * 2 + 1;
    uint32_t *index = calloc((size_t)mask + 1, sizeof *index);

    if (index == NULL)
        return false;
    for (uint32_t i = t->start_count; i < t->count; i++)
        enter(t, index, mask, i);
    free(t->index);
    t->index = index;
    t->index_mask = mask;
    return true;
}

uint32_t fb__table_find(const fb__table *t, fb_hash key)
{
    if (t->index == NULL)
        return FB__NODE_NONE;
    for (uint32_t at = place_of(key, t->index_mask); t->index[at] != 0;
         at = (at + 1) & t->index_mask)
        if (fb_hash_equal(t->nodes[t->index[at] - 1].key, key))
            return t->index[at] - 1;
    return FB__NODE_NONE;
}

/* --- Nodes ------------------------------------------------------------------------------------ */

static bool is_real(fb_dtype dtype)
{
    return dtype >= FB_DTYPE_F64 && dtype <= FB_DTYPE_C128;
}

static uint64_t elements_of(const fb_site *site)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < site->rank && i < FB_RANK_MAX; i++)
        if (__builtin_mul_overflow(n, site->shape[i], &n))
            return UINT64_MAX;
    return site->dtype == FB_DTYPE_C64 || site->dtype == FB_DTYPE_C128 ? 2 * n : n;
}

/* Whether all samples of a float32 tensor have the low half of their bits clear. */
static bool has_bf16_values(const fb_site *site, const fb_sketch *s)
{
    const uint64_t n = s->elements < FB_SKETCH_SAMPLES ? s->elements : FB_SKETCH_SAMPLES;

    if (site->dtype != FB_DTYPE_F32 || n < 8)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if ((s->samples[i] & 0xffff) != 0)
            return false;
    return true;
}

static void take_sketch(fb__node *n, const fb_sketch *s)
{
    n->has_sketch = true;
    n->elements = s->elements;
    n->nonfinite = s->nan + s->infinite;
    n->min = s->min;
    n->max = s->max;
    n->sum = s->sum;
    n->sum_abs = s->sum_abs;
    n->sum_square = s->sum_square;
    memcpy(n->linear, s->linear, sizeof n->linear);
    n->multiset = s->multiset;
    n->edition = s->edition;
    n->bf16 = s->bf16;
    n->bf16_values = has_bf16_values(n->site, s);
}

static void describe(fb__node *n, const fb__table *t, const fb_site *site, const fb_event *e,
                     uint64_t number)
{
    *n = (fb__node){.site = site,
                    .number = number,
                    .key = key_of(t, site, e->micro),
                    .hash = e->hash,
                    .value = e->value,
                    .generator = site->kind == FB_KIND_DRAW ? e->key : 0,
                    .site_number = e->site,
                    .micro = e->micro,
                    .partner = FB__NODE_NONE,
                    .join = FB__NODE_NONE,
                    .elements = elements_of(site),
                    .real = site->kind == FB_KIND_SCALAR || is_real(site->dtype)};
    if (e->sketch != NULL)
        take_sketch(n, e->sketch);
}

static bool make_room(fb__table *t)
{
    fb__node *grown;
    uint32_t capacity;

    if (t->count < t->capacity)
        return true;
    capacity = t->capacity == 0 ? 256 : 2 * t->capacity;
    grown = realloc(t->nodes, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    t->nodes = grown;
    t->capacity = capacity;
    return true;
}

static bool make_room_for_edges(fb__table *t, uint32_t more)
{
    uint32_t capacity = t->edge_capacity == 0 ? 1024 : t->edge_capacity;
    uint32_t *grown;

    if (t->edge_count + more <= t->edge_capacity)
        return true;
    while (capacity < t->edge_count + more)
        capacity *= 2;
    grown = realloc(t->edges, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    t->edges = grown;
    t->edge_capacity = capacity;
    return true;
}

static fb_status index_starts(fb__table *t, fb_error *err)
{
    t->starts_mask = 63;
    while (t->starts_mask < 2 * t->start_count)
        t->starts_mask = 2 * t->starts_mask + 1;
    t->starts = calloc((size_t)t->starts_mask + 1, sizeof *t->starts);
    if (t->starts == NULL)
        return out_of_memory(err);
    for (uint32_t i = 0; i < t->start_count; i++) {
        uint32_t at = place_of(path_key(t->nodes[i].site->path), t->starts_mask);

        while (t->starts[at] != 0)
            at = (at + 1) & t->starts_mask;
        t->starts[at] = i + 1;
    }
    return FB_OK;
}

/* A parameter by its path: whatever step made its present value, it is the same parameter. */
uint32_t fb__table_find_param(const fb__table *t, const char *path)
{
    const fb_hash key = path_key(path);

    if (t->starts == NULL)
        return FB__NODE_NONE;
    for (uint32_t at = place_of(key, t->starts_mask); t->starts[at] != 0;
         at = (at + 1) & t->starts_mask)
        if (fb_hash_equal(path_key(t->nodes[t->starts[at] - 1].site->path), key))
            return t->starts[at] - 1;
    return FB__NODE_NONE;
}

/* The node that a reference names. A state of an earlier step is no node: its own parameter is what
 * both sides know. */
static uint32_t resolve(const fb__table *t, const fb_ref *ref)
{
    const fb_site *site = fb_trace_site(t->trace, ref->site);

    if (site == NULL)
        return FB__NODE_NONE;
    if (ref->step == t->step && t->step != 0)
        return fb__table_find(t, key_of(t, site, ref->micro));
    return is_value_of_param(site) && site->path != NULL ? fb__table_find_param(t, site->path)
                                                         : FB__NODE_NONE;
}

static fb_status add_edges(fb__table *t, fb__node *n, const fb_event *e, fb_error *err)
{
    if (e->input_count > FB__EDGES_MAX - t->edge_count) {
        t->truncated = true;
        return FB_OK;
    }
    if (!make_room_for_edges(t, e->input_count))
        return out_of_memory(err);
    n->first_input = t->edge_count;
    for (uint32_t i = 0; i < e->input_count; i++) {
        const uint32_t node = resolve(t, &e->inputs[i]);

        if (node != FB__NODE_NONE)
            t->edges[t->edge_count++] = node;
    }
    n->input_count = t->edge_count - n->first_input;
    return FB_OK;
}

static bool is_wanted(const fb__table *t, const fb_site *site, const fb_event *e, bool start)
{
    if (start)
        return is_value_of_param(site) && site->path != NULL;
    return fb__is_step_node(site, e) && site->occurrence >= skipped(t, site, e->micro);
}

static bool is_full(const fb__table *t)
{
    const size_t readers = fb_trace_memory(t->trace);
    const size_t room = readers < FB__TABLES_MEMORY ? FB__TABLES_MEMORY - readers : 0;

    return t->count >= FB__NODES_MAX ||
           (t->count >= FB__NODES_LEAST && t->count * sizeof *t->nodes > room / FB__TABLES);
}

static fb_status add_node(fb__table *t, const fb_site *site, const fb_event *e, uint64_t number,
                          fb_error *err)
{
    fb__node *n;
    fb_status status;

    if (is_full(t)) {
        t->truncated = true;
        return FB_OK;
    }
    if (!make_room(t) || (2 * t->count >= t->index_mask && !grow_index(t)))
        return out_of_memory(err);
    n = &t->nodes[t->count];
    describe(n, t, site, e, number);
    if (site->kind == FB_KIND_DRAW && site->phase == FB_PHASE_FORWARD)
        t->any_draw = true;
    if (n->real && site->kind != FB_KIND_SCALAR && site->kind != FB_KIND_DRAW && !n->has_sketch)
        t->sketches = false;
    status = add_edges(t, n, e, err);
    if (status == FB_OK)
        enter(t, t->index, t->index_mask, t->count++);
    return status;
}

/* Reads one step into the table. */
static fb_status read_step(fb__table *t, uint64_t step, bool start, fb_error *err)
{
    fb_status status = fb_trace_seek(t->trace, step, err);

    while (status == FB_OK) {
        const fb_event *e;
        const fb_site *site;
        uint64_t number = 0;

        status = fb_trace_next(t->trace, &e, &number, err);
        if (status != FB_OK || e == NULL || e->step > step)
            break;
        site = fb_trace_site(t->trace, e->site);
        if (site == NULL)
            return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                            "an event names site %lu, which was never introduced",
                            (unsigned long)e->site);
        if (e->step == step && is_wanted(t, site, e, start))
            status = add_node(t, site, e, number, err);
    }
    return status;
}

static fb_status take_start(fb__table *t, const fb__table *start, fb_error *err)
{
    if (start->start_count == 0)
        return FB_OK;
    t->nodes = malloc(start->start_count * sizeof *t->nodes);
    if (t->nodes == NULL)
        return out_of_memory(err);
    memcpy(t->nodes, start->nodes, start->start_count * sizeof *t->nodes);
    t->count = t->capacity = t->start_count = start->start_count;
    t->sketches = start->sketches;
    return FB_OK;
}

fb_status fb__table_load(fb__table *out, fb_trace *trace, const fb__table *start, uint64_t step,
                         fb_error *err)
{
    fb_status status;

    *out = (fb__table){.trace = trace, .step = step, .sketches = true};
    if (start != NULL) {
        status = take_start(out, start, err);
    } else {
        status = read_step(out, 0, true, err);
        out->start_count = out->count;
        for (uint32_t i = 0; i < out->count; i++) {
            out->nodes[i].start = true;
            out->nodes[i].input_count = 0;
        }
        free(out->index);
        out->index = NULL;
        out->index_mask = out->edge_count = 0;
    }
    if (status == FB_OK)
        status = index_starts(out, err);
    if (status == FB_OK && step != 0)
        status = read_step(out, step, false, err);
    return status;
}

fb_status fb__table_load_end(fb__table *out, fb_trace *trace, const fb__table *start, uint64_t step,
                             const fb__groups *own, const fb__groups *other, fb_error *err)
{
    fb_status status = fb__table_load(out, trace, start, 0, err);

    out->step = step;
    out->own = own;
    out->other = other;
    if (status == FB_OK)
        status = read_step(out, step, false, err);
    out->own = out->other = NULL;
    return status;
}

void fb__table_free(fb__table *t)
{
    free(t->nodes);
    free(t->edges);
    free(t->index);
    free(t->starts);
    *t = (fb__table){.trace = NULL};
}

/* --- Two nodes -------------------------------------------------------------------------------- */

bool fb__node_equal(const fb__node *a, const fb__node *b)
{
    if (fb__node_is_scalar(a))
        return memcmp(&a->value, &b->value, sizeof a->value) == 0;
    return !fb_hash_is_zero(a->hash) && fb_hash_equal(a->hash, b->hash);
}

double fb__node_norm(const fb__node *n)
{
    return fb__node_is_scalar(n) ? fabs(n->value) : sqrt(n->sum_square);
}

double fb__node_distance(const fb__node *a, const fb__node *b)
{
    double square = 0;

    if (fb__node_equal(a, b))
        return 0;
    if (fb__node_is_scalar(a) && fb__node_is_scalar(b))
        return fabs(a->value - b->value);
    if (!a->has_sketch || !b->has_sketch || a->elements != b->elements)
        return (double)NAN;
    if (a->nonfinite != b->nonfinite)
        return (double)INFINITY;
    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = a->linear[i] - b->linear[i];
        square += d * d;
    }
    return sqrt(square);
}

bool fb__node_same_numbers(const fb__node *a, const fb__node *b)
{
    return a->has_sketch && b->has_sketch && a->edition == b->edition &&
           a->elements == b->elements && fb_hash_equal(a->multiset, b->multiset) &&
           !fb_hash_is_zero(a->multiset);
}

/* Each of these is at most the distance: of norms by the triangle, of sums and sums of magnitudes
 * by Cauchy and Schwarz, of extremes since one element differs by as much. */
double fb__node_distance_any_order(const fb__node *a, const fb__node *b)
{
    const double root = sqrt((double)(a->elements > 0 ? a->elements : 1));
    double low = fabs(fb__node_norm(a) - fb__node_norm(b));

    if (!a->has_sketch || !b->has_sketch || a->elements != b->elements)
        return (double)NAN;
    if (a->nonfinite != b->nonfinite)
        return (double)INFINITY;
    if (a->edition != b->edition)
        return (double)NAN;
    if (fb__node_same_numbers(a, b))
        return 0;
    low = fmax(low, fabs(a->sum - b->sum) / root);
    low = fmax(low, fabs(a->sum_abs - b->sum_abs) / root);
    if (isfinite(a->min) && isfinite(b->min))
        low = fmax(low, fabs(a->min - b->min));
    if (isfinite(a->max) && isfinite(b->max))
        low = fmax(low, fabs(a->max - b->max));
    return low;
}

double fb__node_cosine(const fb__node *a, const fb__node *b)
{
    double ab = 0, aa = 0, bb = 0;

    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        ab += a->linear[i] * b->linear[i];
        aa += a->linear[i] * a->linear[i];
        bb += b->linear[i] * b->linear[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

void fb__node_join(fb__node *a, const fb__node *b)
{
    a->has_sketch &= b->has_sketch && a->edition == b->edition;
    a->elements += b->elements;
    a->nonfinite += b->nonfinite;
    a->min = fmin(a->min, b->min);
    a->max = fmax(a->max, b->max);
    a->sum += b->sum;
    a->sum_abs += b->sum_abs;
    a->sum_square += b->sum_square;
    a->multiset.lo += b->multiset.lo;
    a->multiset.hi += b->multiset.hi;
    a->hash = (fb_hash){0, 0};
    a->bf16 = (fb_hash){0, 0};
    a->tainted |= b->tainted;
}
