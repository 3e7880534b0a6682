/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch_plain.c - the definition of a sketch, element by element. Rules: docs/levels.md.
 */
#include <string.h>

#include "base/sketch.h"
#include "base/sketch_part.h"

/* One real number of a tensor. */
typedef struct element {
    double value;      /* of a finite or infinite element */
    uint64_t bits;     /* as a sample has them */
    uint64_t identity; /* what the multiset hash takes: small floats widened to float32 */
    bool nan, infinite, zero, subnormal;
} element;

bool fb__sketch_has_bf16(fb_dtype dtype)
{
    return dtype == FB_DTYPE_F64 || dtype == FB_DTYPE_F32 || dtype == FB_DTYPE_F16 ||
           dtype == FB_DTYPE_BF16;
}

size_t fb_sketch_element_bytes(fb_dtype dtype)
{
    const bool is_complex = dtype == FB_DTYPE_C64 || dtype == FB_DTYPE_C128;

    return fb_dtype_bytes(dtype) / (is_complex ? 2 : 1);
}

static double power_of_two(int exponent)
{
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t float_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* How the small floats lay out their bits. The format f8e4m3 has no infinity and one NaN. */
typedef struct small_format {
    int exponent_bits, mantissa_bits;
    uint32_t canonical_nan;
    bool has_infinity;
} small_format;

static small_format format_of(fb_dtype dtype)
{
    switch (dtype) {
    case FB_DTYPE_F16:
        return (small_format){5, 10, 0x7e00, true};
    case FB_DTYPE_BF16:
        return (small_format){8, 7, 0x7fc0, true};
    case FB_DTYPE_F8_E5M2:
        return (small_format){5, 2, 0x7e, true};
    default:
        return (small_format){4, 3, 0x7f, false};
    }
}

static element small_float(fb_dtype dtype, uint32_t bits)
{
    const small_format f = format_of(dtype);
    const uint32_t mantissa = bits & ((1u << f.mantissa_bits) - 1);
    const uint32_t top = (1u << f.exponent_bits) - 1;
    const uint32_t exponent = bits >> f.mantissa_bits & top;
    const bool negative = bits >> (f.mantissa_bits + f.exponent_bits) != 0;
    const int bias = (1 << (f.exponent_bits - 1)) - 1;
    element e = {.bits = bits};
    double magnitude;

    if (exponent == top && (f.has_infinity ? mantissa != 0 : mantissa == top >> 1)) {
        e.nan = true;
        e.bits = f.canonical_nan;
        e.identity = 0x7fc00000;
        return e;
    }
    if (exponent == top && f.has_infinity) {
        e.infinite = true;
        e.value = negative ? -__builtin_inf() : __builtin_inf();
        e.identity = float_bits((float)e.value);
        return e;
    }
    magnitude = exponent == 0 ? mantissa * power_of_two(1 - bias - f.mantissa_bits)
                              : (mantissa | 1u << f.mantissa_bits) *
                                    power_of_two((int)exponent - bias - f.mantissa_bits);
    e.value = negative ? -magnitude : magnitude;
    e.identity = float_bits((float)e.value);
    e.zero = magnitude == 0;
    e.subnormal = exponent == 0 && mantissa != 0;
    return e;
}

static element float32(uint32_t bits)
{
    const uint32_t magnitude = bits & 0x7fffffff;
    element e = {.bits = bits};
    float x;

    e.nan = magnitude > 0x7f800000;
    e.infinite = magnitude == 0x7f800000;
    e.zero = magnitude == 0;
    e.subnormal = magnitude != 0 && magnitude < 0x00800000;
    if (e.nan)
        e.bits = 0x7fc00000;
    memcpy(&x, &bits, sizeof x);
    e.value = e.nan ? 0 : x;
    e.identity = e.bits;
    return e;
}

static element float64(uint64_t bits)
{
    const uint64_t infinity = UINT64_C(0x7ff0000000000000);
    const uint64_t magnitude = bits & INT64_MAX;
    element e = {.bits = bits};

    e.nan = magnitude > infinity;
    e.infinite = magnitude == infinity;
    e.zero = magnitude == 0;
    e.subnormal = magnitude != 0 && magnitude < UINT64_C(1) << 52;
    if (e.nan)
        e.bits = UINT64_C(0x7ff8000000000000);
    else
        memcpy(&e.value, &bits, sizeof e.value);
    e.identity = e.bits;
    return e;
}

static element integer(fb_dtype dtype, uint64_t bits)
{
    element e = {.bits = bits, .identity = bits, .zero = bits == 0};

    switch (dtype) {
    case FB_DTYPE_I8:
        e.value = (int8_t)bits;
        break;
    case FB_DTYPE_I16:
        e.value = (int16_t)bits;
        break;
    case FB_DTYPE_I32:
        e.value = (int32_t)bits;
        break;
    case FB_DTYPE_I64:
        e.value = (double)(int64_t)bits;
        break;
    default:
        e.value = (double)bits;
        break;
    }
    return e;
}

static element element_at(fb_dtype dtype, const void *data, uint64_t i)
{
    const size_t bytes = fb_sketch_element_bytes(dtype);
    uint64_t bits = 0;

    memcpy(&bits, (const uint8_t *)data + i * bytes, bytes);
    switch (dtype) {
    case FB_DTYPE_F32:
    case FB_DTYPE_C64:
        return float32((uint32_t)bits);
    case FB_DTYPE_F64:
    case FB_DTYPE_C128:
        return float64(bits);
    case FB_DTYPE_F16:
    case FB_DTYPE_BF16:
    case FB_DTYPE_F8_E4M3:
    case FB_DTYPE_F8_E5M2:
        return small_float(dtype, (uint32_t)bits);
    default:
        return integer(dtype, bits);
    }
}

uint64_t fb__sketch_bits(fb_dtype dtype, const void *data, uint64_t i)
{
    return element_at(dtype, data, i).bits;
}

/* To nearest, ties to even, in one rounding: a float64 is first narrowed to odd, which keeps what
 * the second rounding must know. */
static uint16_t to_bf16(const element *e)
{
    float narrow;
    uint32_t bits;

    if (e->nan)
        return 0x7fc0;
    narrow = (float)e->value;
    bits = float_bits(narrow);
    if ((double)narrow != e->value) {
        if ((narrow < 0 ? -narrow : narrow) > (e->value < 0 ? -e->value : e->value))
            bits--;
        bits |= 1;
    }
    if (!e->infinite)
        bits += 0x7fff + (bits >> 16 & 1);
    return (uint16_t)(bits >> 16);
}

void fb__sketch_plain(fb__sketch_part *out, uint16_t *bf16, fb_dtype dtype, const void *data,
                      size_t n, uint64_t first)
{
    const bool rounded = fb__sketch_has_bf16(dtype);
    double sum[FB_SKETCH_LANES] = {0}, sum_abs[FB_SKETCH_LANES] = {0};
    double sum_square[FB_SKETCH_LANES] = {0};
    double twice[2 * FB_SKETCH_BUCKETS] = {0};

    *out = (fb__sketch_part){.min = __builtin_inf(), .max = -__builtin_inf()};
    for (size_t page = 0; page < n; page += FB_SKETCH_PAGE) {
        const size_t end = n - page < FB_SKETCH_PAGE ? n : page + FB_SKETCH_PAGE;
        const unsigned rotation = fb__sketch_rotation((first + page) / FB_SKETCH_PAGE);
        double lane[FB_SKETCH_GROUP] = {0};
        uint64_t signs = 0;

        for (size_t i = page; i < end; i++) {
            const element e = element_at(dtype, data, first + i);
            const fb_hash h = fb__sketch_element_hash(e.identity);
            const double x = e.nan || e.infinite ? 0 : e.value;

            if (i % FB_SKETCH_GROUP == 0)
                signs = fb__sketch_signs((first + i) / FB_SKETCH_GROUP);
            out->nan += e.nan;
            out->infinite += e.infinite;
            out->zero += e.zero;
            out->subnormal += e.subnormal;
            if (!e.nan && e.value < out->min)
                out->min = e.value;
            if (!e.nan && e.value > out->max)
                out->max = e.value;
            sum[i % FB_SKETCH_LANES] += x;
            sum_abs[i % FB_SKETCH_LANES] += x < 0 ? -x : x;
            sum_square[i % FB_SKETCH_LANES] += x * x;
            lane[i % FB_SKETCH_GROUP] += signs >> i % FB_SKETCH_GROUP & 1 ? -x : x;
            out->multiset.lo += h.lo;
            out->multiset.hi += h.hi;
            if (rounded)
                bf16[i] = to_bf16(&e);
        }
        for (unsigned j = 0; j < FB_SKETCH_GROUP; j++)
            twice[j + rotation] += lane[j];
    }
    out->min += 0.0; /* a zero is +0 */
    out->max += 0.0;
    out->sum = fb__sketch_fold(sum);
    out->sum_abs = fb__sketch_fold(sum_abs);
    out->sum_square = fb__sketch_fold(sum_square);
    fb__sketch_fold_buckets(out->linear, twice);
}
