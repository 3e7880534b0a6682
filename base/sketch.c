/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch.c - a tensor piece by piece: block hashes and sketch while the piece is in cache, joined
 * in ascending order, so that the thread count changes no bit. Rules: docs/levels.md.
 */
#include "base/sketch.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/fpenv.h"
#include "base/hash_block.h"
#include "base/sketch_part.h"

/* Pieces that are shared out at once. A piece has at most four hash blocks (of float64). */
enum { BATCH = 32, PIECE_BLOCKS = 4, PIECE_BF16_BLOCKS = 1 };

typedef struct piece {
    fb__sketch_part part;
    fb_hash blocks[PIECE_BLOCKS];
    fb_hash bf16;
    bool nonfinite;
} piece;

typedef struct sketch_job {
    fb__hash_block hash_block;
    fb__sketch_f32 sketch_f32; /* NULL: the plain definition does */
    fb_dtype dtype;
    const uint8_t *data; /* of the whole tensor */
    uint64_t elements;
    size_t element_bytes, piece_elements;
    uint64_t first_piece;
    piece pieces[BATCH];
} sketch_job;

static fb__sketch_f32 widest_sketch(void)
{
#if defined(FB_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return fb__sketch_f32_avx512;
#endif
#if defined(FB_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2"))
        return fb__sketch_f32_avx2;
#endif
    return NULL;
}

static void hash_piece(const sketch_job *job, piece *p, const uint8_t *data, size_t bytes)
{
    p->nonfinite = false;
    for (size_t at = 0, b = 0; at < bytes; at += FB_HASH_BLOCK_BYTES, b++)
        p->blocks[b] = job->hash_block(
            job->dtype, data + at,
            bytes - at < FB_HASH_BLOCK_BYTES ? bytes - at : FB_HASH_BLOCK_BYTES, &p->nonfinite);
}

static void sketch_piece(void *argument, size_t index, unsigned worker, void *scratch)
{
    sketch_job *job = argument;
    piece *p = &job->pieces[index];
    const uint64_t first = (job->first_piece + index) * job->piece_elements;
    const uint64_t left = job->elements - first;
    const size_t n = left < job->piece_elements ? (size_t)left : job->piece_elements;
    const uint8_t *data = job->data + first * job->element_bytes;
    uint16_t bf16[FB_SKETCH_BF16_BYTES / sizeof(uint16_t)];
    bool ignored = false;

    (void)worker;
    (void)scratch;
    hash_piece(job, p, data, n * job->element_bytes);
    if (job->dtype == FB_DTYPE_F32 && job->sketch_f32 != NULL && !p->nonfinite)
        job->sketch_f32(&p->part, bf16, (const float *)(const void *)data, n, first);
    else
        fb__sketch_plain(&p->part, bf16, job->dtype, job->data, n, first);
    if (fb__sketch_has_bf16(job->dtype)) /* NaNs are canonical already: hashed as they are */
        p->bf16 = job->hash_block(FB_DTYPE_U16, bf16, n * sizeof *bf16, &ignored);
}

/* --- Joining -----------------------------------------------------------------------------------
 */

static void join(fb_sketch *out, const fb__sketch_part *p)
{
    out->nan += p->nan;
    out->infinite += p->infinite;
    out->zero += p->zero;
    out->subnormal += p->subnormal;
    out->min = p->min < out->min ? p->min : out->min;
    out->max = p->max > out->max ? p->max : out->max;
    out->sum += p->sum;
    out->sum_abs += p->sum_abs;
    out->sum_square += p->sum_square;
    for (int j = 0; j < FB_SKETCH_BUCKETS; j++)
        out->linear[j] += p->linear[j];
    out->multiset.lo += p->multiset.lo;
    out->multiset.hi += p->multiset.hi;
}

/* Sums of float64 elements can overflow, and opposite infinities make a NaN of any sign. */
static void canonicalize(double *x, int count)
{
    for (int i = 0; i < count; i++)
        if (x[i] != x[i])
            x[i] = __builtin_nan("");
}

static void begin_tensor_hash(XXH3_state_t *state, fb_dtype dtype, uint64_t bytes)
{
    uint8_t head[9];

    head[0] = (uint8_t)dtype;
    memcpy(head + 1, &bytes, 8);
    XXH3_INITSTATE(state);
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, head, sizeof head);
}

static fb_hash end_tensor_hash(const XXH3_state_t *state)
{
    const XXH128_hash_t h = XXH3_128bits_digest(state);
    return (fb_hash){h.low64, h.high64};
}

static void sketch_batch(sketch_job *job, fb_pool *pool, size_t count)
{
    if (pool != NULL && count > 1)
        fb_pool_run(pool, count, sketch_piece, job);
    else
        for (size_t i = 0; i < count; i++)
            sketch_piece(job, i, 0, NULL);
}

static fb_hash sketch_pieces(fb_sketch *out, fb_hash *blocks, fb_pool *pool, sketch_job *job,
                             size_t bytes, bool *nonfinite)
{
    const uint64_t pieces =
        job->elements / job->piece_elements + (job->elements % job->piece_elements != 0);
    size_t blocks_left = bytes / FB_HASH_BLOCK_BYTES + (bytes % FB_HASH_BLOCK_BYTES != 0);
    XXH3_state_t whole, rounded;

    if (fb_sketch_blocks(bytes) == 0)
        blocks = NULL;
    begin_tensor_hash(&whole, job->dtype, bytes);
    begin_tensor_hash(&rounded, FB_DTYPE_BF16, job->elements * sizeof(uint16_t));
    for (; job->first_piece < pieces; job->first_piece += BATCH) {
        const uint64_t left = pieces - job->first_piece;
        const size_t count = left < BATCH ? (size_t)left : BATCH;

        sketch_batch(job, pool, count);
        for (size_t i = 0; i < count; i++) {
            const piece *p = &job->pieces[i];
            const size_t most = job->piece_elements * job->element_bytes / FB_HASH_BLOCK_BYTES;
            const size_t here = blocks_left < most ? blocks_left : most;

            join(out, &p->part);
            *nonfinite |= p->nonfinite;
            XXH3_128bits_update(&whole, p->blocks, here * sizeof p->blocks[0]);
            XXH3_128bits_update(&rounded, &p->bf16, sizeof p->bf16);
            if (blocks != NULL) {
                memcpy(blocks, p->blocks, here * sizeof *blocks);
                blocks += here;
            }
            blocks_left -= here;
        }
    }
    if (fb__sketch_has_bf16(job->dtype))
        out->bf16 = end_tensor_hash(&rounded);
    return end_tensor_hash(&whole);
}

fb_hash fb_tensor_sketch(fb_sketch *out, fb_hash *blocks, fb_pool *pool, fb_dtype dtype,
                         const void *data, size_t bytes, bool *nonfinite)
{
    const fb_fpenv_saved environment = fb_fpenv_save();
    sketch_job job; /* not zeroed: the pieces are large */
    bool any = false;
    fb_hash hash;

    job.hash_block = fb__widest_hash_block();
    job.sketch_f32 = widest_sketch();
    job.dtype = dtype;
    job.data = data;
    job.first_piece = 0;
    job.element_bytes = fb_sketch_element_bytes(dtype);
    if (job.element_bytes == 0 || bytes % job.element_bytes != 0) { /* no tensor: a hash at most */
        memset(out, 0, sizeof *out);
        return fb_tensor_hash(pool, dtype, data, bytes, nonfinite);
    }
    fb_fpenv_set();
    job.elements = bytes / job.element_bytes;
    job.piece_elements = job.element_bytes == 1 ? 2 * FB_SKETCH_PIECE : FB_SKETCH_PIECE;
    memset(out, 0, sizeof *out);
    out->elements = job.elements;
    out->min = __builtin_inf();
    out->max = -__builtin_inf();
    hash = sketch_pieces(out, blocks, pool, &job, bytes, &any);
    canonicalize(&out->sum, 1);
    canonicalize(&out->sum_abs, 1);
    canonicalize(&out->sum_square, 1);
    canonicalize(out->linear, FB_SKETCH_BUCKETS);
    for (unsigned j = 0; j < FB_SKETCH_SAMPLES && j < job.elements; j++)
        out->samples[j] = fb__sketch_bits(dtype, data, fb_sketch_position(job.elements, j));
    fb_fpenv_restore(environment);
    if (nonfinite != NULL)
        *nonfinite = any;
    return hash;
}

/* --- Using a sketch ----------------------------------------------------------------------------
 */

/* One element of each of 64 equal stretches, at a place in it that looks random, because a regular
 * grid would meet the same column of a matrix again and again. */
uint64_t fb_sketch_position(uint64_t elements, unsigned j)
{
    const uint64_t from = (uint64_t)((unsigned __int128)elements * j / FB_SKETCH_SAMPLES);
    const uint64_t to = (uint64_t)((unsigned __int128)elements * (j + 1) / FB_SKETCH_SAMPLES);

    if (elements <= FB_SKETCH_SAMPLES)
        return j;
    return from + (uint64_t)((unsigned __int128)fb__sketch_mix(j) * (to - from) >> 64);
}

double fb_sketch_distance2(const fb_sketch *a, const fb_sketch *b)
{
    double sum = 0;

    for (int j = 0; j < FB_SKETCH_BUCKETS; j++) {
        const double d = a->linear[j] - b->linear[j];
        sum += d * d;
    }
    return sum;
}
