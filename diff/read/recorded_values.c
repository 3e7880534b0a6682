/* SPDX-License-Identifier: Apache-2.0
 *
 * recorded_values.c - comparing recorded contents element by element.
 */
#include "diff/read/recorded_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/sketch.h"

enum { PIECE = 1 << 16 }; /* bytes of one side that are held; a multiple of every element's size */

/* Layout of the floating formats: bits of the exponent and of the fraction. */
typedef struct float_format {
    unsigned exponent, fraction;
} float_format;

static float_format format_of(fb_dtype dtype)
{
    switch (dtype) {
    case FB_DTYPE_F64:
    case FB_DTYPE_C128:
        return (float_format){11, 52};
    case FB_DTYPE_F32:
    case FB_DTYPE_C64:
        return (float_format){8, 23};
    case FB_DTYPE_F16:
        return (float_format){5, 10};
    case FB_DTYPE_BF16:
        return (float_format){8, 7};
    case FB_DTYPE_F8_E4M3:
        return (float_format){4, 3};
    case FB_DTYPE_F8_E5M2:
        return (float_format){5, 2};
    default:
        return (float_format){0, 0};
    }
}

/* E4M3 has no infinities: its largest exponent holds numbers, and a NaN where all bits are one. */
static double number_of_float(fb_dtype dtype, uint64_t bits)
{
    const float_format f = format_of(dtype);
    const uint64_t fraction = bits & ((UINT64_C(1) << f.fraction) - 1);
    const int top = (1 << f.exponent) - 1, bias = (1 << (f.exponent - 1)) - 1;
    const int exponent = (int)(bits >> f.fraction) & top;
    double x;

    if (dtype == FB_DTYPE_F64 || dtype == FB_DTYPE_C128) {
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    if (dtype == FB_DTYPE_F8_E4M3 ? (bits & 127) == 127 : exponent == top && fraction != 0)
        return NAN;
    if (dtype != FB_DTYPE_F8_E4M3 && exponent == top)
        x = INFINITY;
    else if (exponent == 0)
        x = ldexp((double)fraction, 1 - bias - (int)f.fraction);
    else
        x = ldexp((double)(fraction | UINT64_C(1) << f.fraction),
                  exponent - bias - (int)f.fraction);
    return (bits >> (f.exponent + f.fraction) & 1) != 0 ? -x : x;
}

fb_diff_value fb__value_of(fb_dtype dtype, const void *data)
{
    const size_t bytes = fb_sketch_element_bytes(dtype);
    fb_diff_value v = {0};

    memcpy(&v.bits, data, bytes); /* little-endian, as the trace is */
    if (format_of(dtype).exponent != 0)
        v.number = number_of_float(dtype, v.bits);
    else if (dtype == FB_DTYPE_I8)
        v.number = (int8_t)v.bits;
    else if (dtype == FB_DTYPE_I16)
        v.number = (int16_t)v.bits;
    else if (dtype == FB_DTYPE_I32)
        v.number = (int32_t)v.bits;
    else if (dtype == FB_DTYPE_I64)
        v.number = (double)(int64_t)v.bits;
    else
        v.number = (double)v.bits;
    return v;
}

/* Numbers of a dtype in their order as unsigned integers; -0 and +0 are one. */
static uint64_t ordered(fb_dtype dtype, uint64_t bits)
{
    const unsigned width = 8 * (unsigned)fb_sketch_element_bytes(dtype);
    const uint64_t sign = UINT64_C(1) << (width - 1);
    const bool is_signed = dtype == FB_DTYPE_I8 || dtype == FB_DTYPE_I16 || dtype == FB_DTYPE_I32 ||
                           dtype == FB_DTYPE_I64;

    if (is_signed)
        return bits ^ sign;
    if (format_of(dtype).exponent == 0)
        return bits;
    return (bits & sign) != 0 ? sign - (bits & (sign - 1)) : sign + bits;
}

uint64_t fb__value_distance(fb_dtype dtype, const fb_diff_value *a, const fb_diff_value *b)
{
    const uint64_t x = ordered(dtype, a->bits), y = ordered(dtype, b->bits);

    return x > y ? x - y : y - x;
}

/* --- Going through both ----------------------------------------------------------------------- */

typedef struct pieces {
    uint8_t a[PIECE], b[PIECE];
} pieces;

static bool is_equal(fb_dtype dtype, const fb_diff_value *a, const fb_diff_value *b)
{
    if (a->bits == b->bits)
        return true;
    return format_of(dtype).exponent != 0 && a->number != a->number && b->number != b->number;
}

static void compare_piece(fb_diff_first *first, const pieces *p, size_t bytes, uint64_t before)
{
    const size_t size = fb_sketch_element_bytes(first->dtype);
    const uint64_t parts = first->dtype == FB_DTYPE_C64 || first->dtype == FB_DTYPE_C128 ? 2 : 1;
    uint64_t last = UINT64_MAX;

    if (memcmp(p->a, p->b, bytes) == 0)
        return;
    for (size_t at = 0; at + size <= bytes; at += size) {
        const fb_diff_value a = fb__value_of(first->dtype, p->a + at);
        const fb_diff_value b = fb__value_of(first->dtype, p->b + at);
        const uint64_t element = (before + at) / size / parts;

        if (is_equal(first->dtype, &a, &b) || element == last)
            continue;
        last = element;
        if (first->differing++ > 0)
            continue;
        first->has_element = first->has_value = true;
        first->element = element;
        first->a = a;
        first->b = b;
        first->ulps = fb__value_distance(first->dtype, &a, &b);
    }
}

static fb_status compare(fb_diff_first *first, pieces *p, fb_trace *a, fb_trace *b, fb_error *err)
{
    uint64_t at = 0, total_a = 1, total_b = 1;

    while (at < total_a) {
        size_t got_a, got_b;
        fb_status status =
            fb_trace_values(a, first->number_a, at, p->a, PIECE, &got_a, &total_a, err);

        if (status == FB_OK)
            status = fb_trace_values(b, first->number_b, at, p->b, PIECE, &got_b, &total_b, err);
        if (status != FB_OK)
            return status;
        if (total_a != total_b || got_a != got_b || got_a == 0)
            return FB_OK; /* other shapes: no element answers to another */
        compare_piece(first, p, got_a, at);
        at += got_a;
    }
    return FB_OK;
}

fb_status fb__recorded_values_find(fb_diff_first *first, fb_trace *a, fb_trace *b, fb_error *err)
{
    const bool tensor = first->name.kind == FB_KIND_TENSOR || first->name.kind == FB_KIND_PARAM;
    pieces *p;
    fb_status status;

    if (!tensor || first->has_value || first->number_a == UINT64_MAX ||
        first->number_b == UINT64_MAX || fb_sketch_element_bytes(first->dtype) == 0)
        return FB_OK;
    p = malloc(sizeof *p);
    if (p == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing contents: out of memory");
    status = compare(first, p, a, b, err);
    free(p);
    return status == FB_E_NOT_FOUND || status == FB_E_TORN ? FB_OK : status;
}
