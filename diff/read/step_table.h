/* SPDX-License-Identifier: Apache-2.0
 *
 * step_table.h - the tensors and scalars of one step of one trace as nodes of a graph: what they
 * contain, as far as a trace says it, and what they were made from. It is what two programs have in
 * common when neither names nor ops are the same. docs/diff.md, "Other frameworks".
 *
 * Bounded: at most FB__NODES_MAX nodes, some 850 bytes each, fewer where the sites of the traces
 * take much memory, and FB__EDGES_MAX references.
 */
#ifndef FB_DIFF_READ_STEP_TABLE_H
#define FB_DIFF_READ_STEP_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "diff/read/step_groups.h"
#include "firstbit/trace.h"

enum {
    FB__NODES_MAX = 1 << 14,
    FB__NODES_LEAST = 1 << 10, /* whatever the traces take */
    FB__EDGES_MAX = 1 << 18,
    FB__TABLES = 5, /* as many tables are held at once: of both sides before the first update, of */
    FB__TABLES_MEMORY = 44 << 20, /* a step, of a repeat; they and the readers have so many bytes */
    FB__NODE_NONE = UINT32_MAX,
};

/* How a node's partner was found, or why it has none. */
typedef enum fb__how {
    FB__HOW_NONE,
    FB__HOW_NAME,      /* the same identity */
    FB__HOW_MAP,       /* a line of the map file */
    FB__HOW_CONTENT,   /* the same contents, or as good as */
    FB__HOW_FLOW,      /* made from the same, of the same size, and like it */
    FB__HOW_ROLE,      /* the same thing (gradient, state, value) of paired parameters */
    FB__HOW_REORDERED, /* the same numbers in another order: statistics are compared */
    FB__HOW_JOINED,    /* one side's tensor is several of the other's: statistics are compared */
    FB__HOW_ALIAS,     /* another name of a tensor that is paired: nothing of its own to compare */
} fb__how;

typedef struct fb__node {
    const fb_site *site; /* lives as long as the trace */
    uint64_t number;     /* of the event */
    fb_hash key;         /* identity without the step; names of wrappers left out */
    fb_hash hash;        /* of the contents */
    double value;        /* of a scalar */
    uint64_t generator;  /* of a draw: where its generator stands; 0: not told */
    uint32_t site_number;
    int32_t micro;
    uint32_t first_input, input_count; /* nodes of this table, in fb__table.edges */
    bool start;                        /* a parameter as it was before the first update */
    bool has_sketch, real;             /* real: floating-point numbers */
    bool bf16_values;                  /* all samples are numbers of bfloat16 */
    bool tainted;                      /* comes from random numbers that the other side has not */
    bool last_gradient;                /* the gradient that the optimizer uses */
    bool excluded;                     /* of one micro-batch, where the other side cuts otherwise */
    uint64_t elements, nonfinite;
    double min, max, sum, sum_abs, sum_square;
    double linear[FB_SKETCH_BUCKETS];
    fb_hash multiset, bf16;
    uint64_t edition; /* of multiset: only those of one compare */

    uint32_t partner; /* of a's node: one of b's, and back; FB__NODE_NONE */
    fb__how how;
    uint32_t join; /* FB__HOW_JOINED: number of the join, else FB__NODE_NONE */
} fb__node;

typedef struct fb__table {
    fb_trace *trace; /* borrowed */
    uint64_t step;
    fb__node *nodes; /* start nodes first, then those of the step in order */
    uint32_t count, start_count;
    uint32_t *edges;
    uint32_t edge_count, edge_capacity, capacity;
    uint32_t *index; /* open addressing by (site, micro): node + 1 */
    uint32_t index_mask;
    uint32_t *starts; /* the same for parameters, by path */
    uint32_t starts_mask;
    bool truncated;                /* the step has more than is held */
    bool sketches;                 /* every tensor of real numbers has its sketch */
    bool any_draw;                 /* random numbers were drawn in a forward pass */
    const fb__groups *own, *other; /* while the end of a step is loaded */
} fb__table;

/* Reads the parameters of step 0, where `start` is NULL, or takes over those of `start`, and the
 * nodes of `step` (0: none). Free it in either case. Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__table_load(fb__table *out, fb_trace *trace, const fb__table *start,
                                      uint64_t step, fb_error *err);

/* The same with the end of the step alone: what has a partner in the other's groups counted from
 * the end. Occurrences count from there. `start` is not NULL. */
FB_NODISCARD fb_status fb__table_load_end(fb__table *out, fb_trace *trace, const fb__table *start,
                                          uint64_t step, const fb__groups *own,
                                          const fb__groups *other, fb_error *err);
void fb__table_free(fb__table *table);

/* The node of this identity in the step; FB__NODE_NONE. */
uint32_t fb__table_find(const fb__table *table, fb_hash key);

/* The start node of the parameter of this path; FB__NODE_NONE. */
uint32_t fb__table_find_param(const fb__table *table, const char *path);

bool fb__node_is_param(const fb__node *node);    /* the value of a parameter */
bool fb__node_is_scalar(const fb__node *node);   /* loss, rate, norm */
bool fb__node_is_backward(const fb__node *node); /* a gradient, or on the way to one */

/* Whether two nodes have the same contents, as far as the traces say. */
bool fb__node_equal(const fb__node *a, const fb__node *b);

/* L2 distance of two nodes of equal size in the same order: of scalars and by sketch. NaN where it
 * is not known. */
double fb__node_distance(const fb__node *a, const fb__node *b);

/* A lower bound of the L2 distance that any order of elements has, from the statistics. */
double fb__node_distance_any_order(const fb__node *a, const fb__node *b);

/* L2 norm. */
double fb__node_norm(const fb__node *node);

/* Cosine of the angle between two nodes, by their sketches; 0 where one is zero. */
double fb__node_cosine(const fb__node *a, const fb__node *b);

/* Whether it is known that both hold the same numbers, in whatever order. */
bool fb__node_same_numbers(const fb__node *a, const fb__node *b);

/* Adds b to a as if they were one tensor of both's elements: statistics and multiset. */
void fb__node_join(fb__node *a, const fb__node *b);

#endif
