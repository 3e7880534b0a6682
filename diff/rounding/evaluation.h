/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation.h - what an operation gives in float64 from the recorded contents of its inputs, and
 * how far any order of its sums in the result's own precision may be from that.
 *
 * Bounds are componentwise (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section
 * 3.1): a sum of n products computed in any order, with or without fused steps, is within
 * gamma(n) = n u / (1 - n u) of the sum of the products' magnitudes; u is half a unit in the last
 * place of 1. A function of the C library's kind may be 4 u off.
 */
#ifndef FB_DIFF_ROUNDING_EVALUATION_H
#define FB_DIFF_ROUNDING_EVALUATION_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "firstbit/event.h"

enum { FB__OPERANDS_MAX = 8 };

/* Contents of a tensor: row-major, as the event that made it has it. An op may have read it through
 * a view, of which no trace tells. */
typedef struct fb__operand {
    double *at; /* count of them */
    uint64_t count;
    uint32_t rank;
    uint64_t shape[FB_RANK_MAX];
} fb__operand;

/* One element of a result. */
typedef struct fb__exact {
    double value;
    double bound;  /* no order of the operation is farther from value */
    double likely; /* nearly all orders are within this: 6 sqrt(n) u of the magnitudes, or bound */
    double legal;  /* likely of any legal kernel: narrow sums too. Completed by
                    * fb__exact_at; 0 in a form: likely */
} fb__exact;

/* A convolution relates a fine tensor [batch, fine, size], a coarse one [batch, coarse, count] and
 * weights [coarse, fine / groups, kernel]: coarse element o meets, by weight k, fine element
 * o stride - padding + k dilation. What is computed is one of the three from the other two. Places
 * have three dimensions; those that are not there have size 1. */
typedef struct fb__windows {
    uint64_t batch, fine, coarse, groups;
    uint64_t size[3], count[3], kernel[3];
    int64_t stride[3], padding[3], dilation[3];
    const double *of_fine, *of_coarse, *weights, *bias; /* NULL: what is computed; no bias */
    bool wide;      /* windows that kernels by transforms take too */
    double largest; /* magnitude of what such a kernel mixes */
} fb__windows;

/* An operand [batch, heads, tokens, d], read through a view: where it begins, and its strides; the
 * last dimension is dense. */
typedef struct fb__view {
    const double *at;
    uint64_t batch, head, token;
} fb__view;

/* Attention of queries [batch, heads, t, d] to keys and values [batch, heads, s, d]. */
typedef struct fb__heads {
    uint64_t batch, heads, t, s, d;
    fb__view q, k, v, grad;       /* grad, and the next two: of the gradients alone */
    const double *out, *log_sums; /* [batch, heads, t, d], [batch, heads, t] */
    const double *mask;           /* added to the scores; may be NULL */
    uint64_t mask_stride[4];      /* of batch, head, query, key */
    bool causal;
    double scale;
} fb__heads;

typedef struct fb__operation fb__operation;

/* What is known of an op. begin: whether these operands and arguments can be evaluated so; fills
 * the members below. at: one element. layouts: ways to read the operands, numbered from 0. */
typedef struct fb__exact_form {
    const char *op;
    uint32_t least, most; /* operands */
    unsigned layouts;
    bool (*begin)(fb__operation *o);
    fb__exact (*at)(const fb__operation *o, uint64_t element);
} fb__exact_form;

struct fb__operation {
    const char *op;
    unsigned output;        /* 0 of slot out, 1 of out1, ... */
    const cJSON *arguments; /* as recorded; NULL: none */
    fb__operand in[FB__OPERANDS_MAX];
    uint32_t in_count;
    fb__operand out; /* count and shape of the result; `at` is not used */
    double unit;     /* u of float32 or float64, in which sums are made */
    double narrow;   /* u of half or bfloat16, which the result is rounded to; 0: of neither */

    unsigned layout;            /* to try; set by the caller before begin */
    const fb__exact_form *form; /* by fb__exact_form_of */
    uint64_t terms;             /* of the longest sum */
    uint64_t groups;            /* sums that are made apart: rows */
    uint64_t work;              /* operations an element */
    uint64_t m, n, k;           /* of a product: a batch of [m,k] by [k,n] */
    uint64_t length, inner;     /* of rows: element i of row r is at r / inner, i, r mod inner */
    double number, factor;      /* eps, alpha, exponent, ... */
    unsigned function;
    fb__windows windows;
    fb__heads heads;
};

/* The form of o->op, or NULL: not known. */
const fb__exact_form *fb__exact_form_of(const fb__operation *o);

/* One element, begun before. Of a narrow result: bound and legal where every step is rounded to its
 * type too, as kernels may; likely where sums are kept in float32, as nearly all kernels do. */
fb__exact fb__exact_at(fb__operation *o, uint64_t element);

/* n u / (1 - n u); infinite where n u is not below 1. */
double fb__exact_gamma(double n, double unit);

/* A sum of n terms of these magnitudes. The evaluation in float64 has its own error, which is added
 * to the bound. */
fb__exact fb__exact_sum(const fb__operation *o, double value, double magnitude, uint64_t n);

/* A number among the arguments, else `otherwise`. */
double fb__exact_argument(const fb__operation *o, const char *name, double otherwise);

/* The forms: each table ends with op NULL. */
extern const fb__exact_form fb__exact_products[];
extern const fb__exact_form fb__exact_sums[];
extern const fb__exact_form fb__exact_rows[];
extern const fb__exact_form fb__exact_elements[];
extern const fb__exact_form fb__exact_windows[];
extern const fb__exact_form fb__exact_heads[];

#endif
