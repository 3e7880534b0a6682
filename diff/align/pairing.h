/* SPDX-License-Identifier: Apache-2.0
 *
 * pairing.h - which tensor of one program is which of the other, where names and ops say nothing:
 * parameters by content, the rest by what it is made from and what it is like. docs/diff.md, "Other
 * frameworks".
 *
 * What is found is written into the nodes (partner, how, join). A node that nothing fits stays
 * without a partner: none is guessed.
 */
#ifndef FB_DIFF_ALIGN_PAIRING_H
#define FB_DIFF_ALIGN_PAIRING_H

#include "diff/align/map_file.h"
#include "diff/read/step_table.h"

enum { FB__PARTS_MAX = 8 };

/* One tensor that is several on the other side, fused weights for one. */
typedef struct fb__join {
    bool whole_in_b;
    uint32_t whole, parts[FB__PARTS_MAX], part_count;
} fb__join;

typedef struct fb__pairing {
    fb__table *a, *b; /* borrowed */
    fb__join *joins;
    uint32_t join_count, join_capacity;
    const fb__map *map; /* borrowed, or NULL */
    bool by_name;       /* equal identities are the same thing, */
    bool same_program;  /* whatever they contain; else where contents do not speak against it */
    uint64_t budget;    /* comparisons of contents that may still be made */
} fb__pairing;

/* Pairs the start nodes of both tables by content. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__pair_params(fb__pairing *p, fb_error *err);

/* Pairs the nodes of the step; where parameters of equal contents could not be told apart by them,
 * by who uses them. Call fb__pair_params first, or load the tables with paired start nodes. */
FB_NODISCARD fb_status fb__pair_step(fb__pairing *p, fb_error *err);

void fb__pairing_free(fb__pairing *p); /* not the tables */

/* How often a step goes forward and backward. */
uint32_t fb__passes_of_step(const fb__table *table);

/* Where both sides cut a batch differently, what belongs to a single micro-batch has no
 * counterpart: such nodes are excluded. Returns whether that is so. */
bool fb__exclude_passes(fb__table *a, fb__table *b);

/* --- Inside of pairing*.c ----------------------------------------------------------------------
 */

void fb__pair(fb__pairing *p, uint32_t a, uint32_t b, fb__how how);

/* Makes a join of unpaired nodes. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__pair_join(fb__pairing *p, const fb__join *join, fb_error *err);

/* By data flow and contents (pairing_flow.c); the gradients that optimizers use too, or all but
 * these. */
FB_NODISCARD fb_status fb__pair_by_flow(fb__pairing *p, bool last_gradients, fb_error *err);

/* A tensor of numbers with a sketch, that is not excluded. */
bool fb__is_pairable(const fb__node *node);

/* Norm, sum of magnitudes and extremes agree in three digits: in any order. */
bool fb__same_statistics(const fb__node *a, const fb__node *b);

/* Of joined parameters, and of their joined gradients (pairing_join.c). FB_E_MEMORY. */
FB_NODISCARD fb_status fb__join_outputs(fb__pairing *p, const fb__join *of, fb_error *err);
FB_NODISCARD fb_status fb__join_gradients(fb__pairing *p, const fb__join *of, fb_error *err);

static inline bool fb__is_paired(const fb__node *n)
{
    return n->how != FB__HOW_NONE;
}

#endif
