/* SPDX-License-Identifier: Apache-2.0
 *
 * cases.h - calls of every kernel on generated inputs, with all outputs in one place for
 * comparison.
 *
 * A case is a kernel, a list of sizes and a kind of numbers; running it on two tables must give the
 * same bits. Outputs lie between guards that a kernel must not touch.
 */
#ifndef FB_TEST_CASES_H
#define FB_TEST_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

typedef enum numbers {
    NUMBERS_PLAIN,     /* around 1, both signs */
    NUMBERS_WIDE,      /* exponents from 2^-60 to 2^60, zeros of both signs, subnormals */
    NUMBERS_SWAMP,     /* plain, with pairs of huge numbers that cancel: what was added between them
                        * is lost, so a result tells the order of a float64 sum too */
    NUMBERS_NONFINITE, /* plain with some infinities and NaNs */
    NUMBERS_COUNT
} numbers;

/* n floats of that kind, decided by the seed alone. */
void fill_numbers(float *x, size_t n, numbers kind, uint64_t seed);

#define CASE_LIST(X)                                                                               \
    X(matmul)                                                                                      \
    X(row_sums)                                                                                    \
    X(column_sums)                                                                                 \
    X(sum_squares)                                                                                 \
    X(elementwise)                                                                                 \
    X(activation)                                                                                  \
    X(layernorm)                                                                                   \
    X(attention)                                                                                   \
    X(embedding) X(cross_entropy) X(squared_error) X(conv2d) X(pool2d) X(random) X(optimizer)

typedef enum case_kind {
#define CASE_ENUM(name) CASE_##name,
    CASE_LIST(CASE_ENUM)
#undef CASE_ENUM
        CASE_COUNT
} case_kind;

/* What the sizes mean is told in cases.c, beside each runner. */
typedef struct kernel_case {
    case_kind kind;
    size_t size[8];
    unsigned flags;
    numbers numbers;
    uint64_t seed;
} kernel_case;

typedef struct outputs {
    float *values;
    size_t count, capacity;
    const char *damaged; /* NULL, or what was written outside an output */
} outputs;

void run_case(outputs *out, const kernel_case *c, const fb_kernels *kernels, fb_pool *pool);
void free_outputs(outputs *out);

/* One line that identifies the case. */
const char *case_text(char text[256], const kernel_case *c);

/* The first element that differs, NaNs all equal, or SIZE_MAX. */
size_t first_difference(const outputs *a, const outputs *b);

/* Pseudo-random sizes for a case, at most `limit` in each direction. */
kernel_case random_case(case_kind kind, uint64_t seed, size_t limit);

#endif
