/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch_part.h - the sketch of one piece of a tensor: a plain definition for every dtype, and the
 * same bits faster for float32. Private to base.
 */
#ifndef FB_BASE_SKETCH_PART_H
#define FB_BASE_SKETCH_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash_block.h"
#include "firstbit/event.h"

enum {
    FB_SKETCH_PIECE = 32768,     /* elements; of one-byte dtypes twice that: whole hash blocks */
    FB_SKETCH_GROUP = 64,        /* elements with one word of signs */
    FB_SKETCH_PAGE = 256,        /* elements with one rotation of the buckets */
    FB_SKETCH_LANES = 16,        /* partial sums of a piece */
    FB_SKETCH_BF16_BYTES = 65536 /* a piece rounded to bf16 */
};

/* Of one piece. Pieces join in ascending order. */
typedef struct fb__sketch_part {
    uint64_t nan, infinite, zero, subnormal;
    double min, max, sum, sum_abs, sum_square;
    double linear[FB_SKETCH_BUCKETS];
    fb_hash multiset; /* two sums mod 2^64 */
} fb__sketch_part;

/* The definition. data: of the whole tensor; bf16 is left alone where fb__sketch_has_bf16 is
 * false. */
void fb__sketch_plain(fb__sketch_part *out, uint16_t *bf16, fb_dtype dtype, const void *data,
                      size_t n, uint64_t first);

bool fb__sketch_has_bf16(fb_dtype dtype);

/* --- A whole tensor, piece by piece ----------------------------------------------------------- */

enum { FB_SKETCH_PIECE_BLOCKS = 4 }; /* hash blocks that a piece has at most: of float64 */

typedef struct fb__sketch_piece {
    fb__sketch_part part;
    fb_hash blocks[FB_SKETCH_PIECE_BLOCKS];
    fb_hash bf16;
    bool nonfinite;
} fb__sketch_piece;

/* Hash and sketch of a piece. x: n > 0 elements, n <= FB_SKETCH_PIECE; first: number of x[0] in the
 * tensor, a multiple of FB_SKETCH_PIECE. Where the piece has NaNs, the block hashes are of its
 * bytes as they are. */
typedef void (*fb__sketch_f32)(fb__sketch_piece *out, const float *x, size_t n, uint64_t first);

void fb__sketch_f32_avx2(fb__sketch_piece *out, const float *x, size_t n, uint64_t first);
void fb__sketch_f32_avx512(fb__sketch_piece *out, const float *x, size_t n, uint64_t first);
void fb__sketch_f32_avx512bf16(fb__sketch_piece *out, const float *x, size_t n, uint64_t first);

/* What all pieces have in common. */
typedef struct fb__sketch_tensor {
    fb__hash_block hash_block;
    fb__sketch_f32 sketch_f32; /* NULL: the plain definition does */
    fb_dtype dtype;
    const uint8_t *data; /* of the whole tensor */
    size_t bytes;
    uint64_t elements;
    size_t element_bytes, piece_elements;
} fb__sketch_tensor;

/* False where bytes are no whole number of elements of the dtype: no tensor. */
bool fb__sketch_describe(fb__sketch_tensor *out, fb_dtype dtype, const void *data, size_t bytes);

/* Piece `index`; in the floating-point environment of contract 1. */
void fb__sketch_one_piece(fb__sketch_piece *p, const fb__sketch_tensor *t, uint64_t index);

/* Joins all pieces, in ascending order: what fb_tensor_sketch says. `source` gives number `index`
 * and those after it, *count of them. */
typedef const fb__sketch_piece *(*fb__sketch_source)(void *context, uint64_t index, size_t *count);
fb_hash fb__sketch_join(fb_sketch *out, fb_hash *blocks, const fb__sketch_tensor *t,
                        fb__sketch_source source, void *context, bool *nonfinite);

/* The bits of element i as a sample holds them: zero-extended, NaNs canonicalized. */
uint64_t fb__sketch_bits(fb_dtype dtype, const void *data, uint64_t i);

/* A fixed function that looks random: the finalizer of SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t fb__sketch_mix(uint64_t x)
{
    uint64_t z = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Bit j: element j of the group enters the linear sketch with a minus. */
static inline uint64_t fb__sketch_signs(uint64_t group)
{
    return fb__sketch_mix(group);
}

/* Lane j of the page goes to bucket (j + rotation) mod 64. */
static inline unsigned fb__sketch_rotation(uint64_t page)
{
    return (unsigned)(fb__sketch_mix(page ^ UINT64_C(1) << 63) >> 58);
}

/* The multiset hash of one element; both halves add up mod 2^64. Elements of at most
 * 32 bits are mixed by a bijection of 32 bits (Wellons, hash-prospector: of its kind the one with
 * the least measured bias). */
#define FB_SKETCH_KEY  UINT32_C(0x9e3779b9)
#define FB_SKETCH_MUL1 UINT32_C(0x21f0aaad)
#define FB_SKETCH_MUL2 UINT32_C(0xd35a2d97)

static inline fb_hash fb__sketch_element_hash(uint64_t bits)
{
    uint32_t w = (uint32_t)bits;
    uint64_t z;

    if (bits >> 32 != 0) {
        z = fb__sketch_mix(bits);
        return (fb_hash){.lo = z << 32, .hi = (z & UINT32_MAX) * (z >> 32)};
    }
    w = (w ^ w >> 16 ^ FB_SKETCH_KEY) * FB_SKETCH_MUL1;
    w = (w ^ w >> 15) * FB_SKETCH_MUL2;
    w ^= w >> 15;
    return (fb_hash){.lo = (uint64_t)w << 32, .hi = (uint64_t)w * w};
}

/* The sixteen partial sums as one: 16 -> 8 -> 4 -> 2 -> 1, lane j + lane j+h. */
static inline double fb__sketch_fold(const double lanes[FB_SKETCH_LANES])
{
    double s[FB_SKETCH_LANES];

    for (int j = 0; j < FB_SKETCH_LANES; j++)
        s[j] = lanes[j];
    for (int h = FB_SKETCH_LANES / 2; h > 0; h /= 2)
        for (int j = 0; j < h; j++)
            s[j] += s[j + h];
    return s[0];
}

/* Buckets of a piece, kept twice so that a rotated page is added in one sweep. */
static inline void fb__sketch_fold_buckets(double out[FB_SKETCH_BUCKETS],
                                           const double twice[2 * FB_SKETCH_BUCKETS])
{
    for (int j = 0; j < FB_SKETCH_BUCKETS; j++)
        out[j] = twice[j] + twice[j + FB_SKETCH_BUCKETS];
}

#endif
