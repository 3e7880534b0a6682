/* SPDX-License-Identifier: Apache-2.0
 *
 * pairing_params.c - pairs parameters, as they were before the first update, by content.
 *
 * Equal hashes are the same tensor, equal multiset hashes the same numbers in another order (a
 * transposed weight), and since a multiset hash of a whole is the sum of those of its parts, fused
 * weights are found by adding. Where several parameters have one content (biases of a fresh model),
 * contents say nothing, and who uses them decides later.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/align/pairing.h"

/* --- One by one ------------------------------------------------------------------------------- */

static fb_hash exact_of(const fb__node *n)
{
    return n->hash;
}

static fb_hash multiset_of(const fb__node *n)
{
    return n->has_sketch ? n->multiset : (fb_hash){0, 0};
}

typedef fb_hash content_of(const fb__node *n);

typedef struct entry {
    fb_hash hash;
    uint32_t node;
} entry;

static int compare_entries(const void *x, const void *y)
{
    const entry *a = x, *b = y;

    if (a->hash.hi != b->hash.hi)
        return a->hash.hi < b->hash.hi ? -1 : 1;
    if (a->hash.lo != b->hash.lo)
        return a->hash.lo < b->hash.lo ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* The unpaired start nodes of a table by content, in order of it. */
static uint32_t list_contents(entry *out, const fb__table *t, content_of *content)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < t->start_count; i++) {
        const fb_hash hash = content(&t->nodes[i]);

        if (!fb__is_paired(&t->nodes[i]) && !fb_hash_is_zero(hash))
            out[count++] = (entry){hash, i};
    }
    qsort(out, count, sizeof *out, compare_entries);
    return count;
}

static uint32_t run_length(const entry *list, uint32_t at, uint32_t count)
{
    uint32_t n = 1;

    while (at + n < count && fb_hash_equal(list[at].hash, list[at + n].hash))
        n++;
    return n;
}

/* A content that one parameter of each side has pairs them. Copies on one side, as of a tied weight
 * that a program holds twice, are other names of it. */
static void pair_runs(fb__pairing *p, const entry *a, uint32_t na, const entry *b, uint32_t nb,
                      bool exact)
{
    for (uint32_t i = 0, j = 0; i < na && j < nb;) {
        const uint32_t ra = run_length(a, i, na), rb = run_length(b, j, nb);
        const int order = compare_entries(&(entry){a[i].hash, 0}, &(entry){b[j].hash, 0});

        if (order == 0 && ra == 1 && rb == 1 &&
            p->a->nodes[a[i].node].elements == p->b->nodes[b[j].node].elements)
            fb__pair(p, a[i].node, b[j].node, exact ? FB__HOW_CONTENT : FB__HOW_REORDERED);
        i += order <= 0 ? ra : 0;
        j += order >= 0 ? rb : 0;
    }
}

static fb_status pair_by(fb__pairing *p, content_of *content, bool exact, fb_error *err)
{
    entry *a = calloc((size_t)p->a->start_count + 1, sizeof *a);
    entry *b = calloc((size_t)p->b->start_count + 1, sizeof *b);
    fb_status status = FB_OK;

    if (a == NULL || b == NULL) {
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "pairing parameters: out of memory");
    } else {
        const uint32_t na = list_contents(a, p->a, content);
        const uint32_t nb = list_contents(b, p->b, content);

        pair_runs(p, a, na, b, nb, exact);
    }
    free(a);
    free(b);
    return status;
}

/* --- Fused weights ---------------------------------------------------------------------------- */

static fb_hash add_multisets(fb_hash a, fb_hash b)
{
    return (fb_hash){a.lo + b.lo, a.hi + b.hi};
}

/* Tells a tensor of one number from others: all zeros say nothing about who is who. */
static bool is_constant(const fb__node *n)
{
    return n->min == n->max;
}

/* Consecutive unpaired parameters of `of`, from `first` on, whose contents together are those of
 * `whole`: their number, or 0. */
static uint32_t parts_from(uint32_t parts[FB__PARTS_MAX], const fb__node *whole,
                           const fb__table *of, uint32_t first)
{
    uint64_t elements = 0, edition = whole->edition;
    uint32_t count = 0;
    fb_hash sum = {0, 0};

    for (uint32_t i = first; i < of->start_count && count < FB__PARTS_MAX; i++) {
        const fb__node *n = &of->nodes[i];

        /* A bias stands between the weights of a model: same rank, same kind of thing. */
        if (n->site->rank != whole->site->rank)
            continue;
        if (fb__is_paired(n) || !n->has_sketch || is_constant(n))
            return 0;
        edition = n->edition == whole->edition ? edition : 0;
        parts[count++] = i;
        elements += n->elements;
        sum = add_multisets(sum, n->multiset);
        if (elements > whole->elements)
            return 0;
        if (elements == whole->elements)
            return count > 1 && whole->edition == edition && fb_hash_equal(sum, whole->multiset)
                       ? count
                       : 0;
    }
    return 0;
}

/* The wholes of one side and the parts of the other. */
static fb_status pair_fused(fb__pairing *p, bool whole_in_b, fb_error *err)
{
    const fb__table *wholes = whole_in_b ? p->b : p->a, *others = whole_in_b ? p->a : p->b;

    for (uint32_t w = 0; w < wholes->start_count; w++) {
        const fb__node *whole = &wholes->nodes[w];
        fb__join join = {.whole_in_b = whole_in_b, .whole = w};

        if (fb__is_paired(whole) || !whole->has_sketch || is_constant(whole))
            continue;
        for (uint32_t first = 0; first < others->start_count && p->budget > 0; first++) {
            if (fb__is_paired(&others->nodes[first]) ||
                others->nodes[first].site->rank != whole->site->rank)
                continue;
            p->budget--;
            join.part_count = parts_from(join.parts, whole, others, first);
            if (join.part_count == 0)
                continue;
            const fb_status status = fb__pair_join(p, &join, err);
            if (status != FB_OK)
                return status;
            break;
        }
    }
    return FB_OK;
}

/* The parameters whose path the user, or the program itself, gives. */
static void pair_paths(fb__pairing *p)
{
    for (uint32_t i = 0; i < p->a->start_count; i++) {
        const fb__node *a = &p->a->nodes[i];
        char path[FB_NAME_MAX + 1];
        const bool mapped = p->map != NULL && fb__map_apply(path, p->map, a->site->path);
        uint32_t b = FB__NODE_NONE;

        if (mapped)
            b = fb__table_find_param(p->b, path);
        else if (p->by_name)
            b = fb__table_find_param(p->b, a->site->path);
        if (b != FB__NODE_NONE && !fb__is_paired(&p->b->nodes[b]) &&
            p->b->nodes[b].elements == a->elements)
            fb__pair(p, i, b, mapped ? FB__HOW_MAP : FB__HOW_NAME);
    }
}

fb_status fb__pair_params(fb__pairing *p, fb_error *err)
{
    fb_status status;

    pair_paths(p);
    status = pair_by(p, exact_of, true, err);
    if (status == FB_OK)
        status = pair_by(p, multiset_of, false, err);
    if (status == FB_OK)
        status = pair_fused(p, false, err);
    if (status == FB_OK)
        status = pair_fused(p, true, err);
    return status;
}
