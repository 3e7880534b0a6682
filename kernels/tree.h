/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.h - the tree by which parts join: pairs (2i, 2i+1) at every level, an odd last one promoted.
 *
 * Computed while the parts arrive: the stack holds complete subtrees, the largest at the bottom, as
 * the set bits of the count of parts.
 */
#ifndef FB_TREE_H
#define FB_TREE_H

#include <stddef.h>

typedef struct fb__tree {
    size_t count; /* of parts so far */
    unsigned depth;
    double stack[64];
} fb__tree;

static inline void fb__tree_push(fb__tree *tree, double part)
{
    for (size_t n = tree->count; n & 1; n >>= 1)
        part = tree->stack[--tree->depth] + part;
    tree->stack[tree->depth++] = part;
    tree->count++;
}

/* +0 of no parts. */
static inline double fb__tree_sum(fb__tree *tree)
{
    double sum;

    if (tree->count == 0)
        return 0.0;
    sum = tree->stack[--tree->depth];
    while (tree->depth > 0)
        sum = tree->stack[--tree->depth] + sum;
    return sum;
}

#endif
