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

enum { BATCH = 32 }; /* pieces that are shared out at once */

static fb__sketch_f32 widest_sketch(void)
{
#if defined(FB_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return __builtin_cpu_supports("avx512bf16") ? fb__sketch_f32_avx512bf16
                                                    : fb__sketch_f32_avx512;
#endif
#if defined(FB_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2"))
        return fb__sketch_f32_avx2;
#endif
    return NULL;
}

bool fb__sketch_describe(fb__sketch_tensor *out, fb_dtype dtype, const void *data, size_t bytes)
{
    const size_t element_bytes = fb_sketch_element_bytes(dtype);

    if (element_bytes == 0 || bytes % element_bytes != 0)
        return false;
    *out = (fb__sketch_tensor){
        .hash_block = fb__widest_hash_block(),
        .sketch_f32 = widest_sketch(),
        .dtype = dtype,
        .data = data,
        .bytes = bytes,
        .elements = bytes / element_bytes,
        .element_bytes = element_bytes,
        .piece_elements = element_bytes == 1 ? 2 * FB_SKETCH_PIECE : FB_SKETCH_PIECE,
    };
    return true;
}

static void hash_piece(const fb__sketch_tensor *t, fb__sketch_piece *p, const uint8_t *data,
                       size_t bytes)
{
    p->nonfinite = false;
    for (size_t at = 0, b = 0; at < bytes; at += FB_HASH_BLOCK_BYTES, b++)
        p->blocks[b] = t->hash_block(
            t->dtype, data + at,
            bytes - at < FB_HASH_BLOCK_BYTES ? bytes - at : FB_HASH_BLOCK_BYTES, &p->nonfinite);
}

static void plain_piece(const fb__sketch_tensor *t, fb__sketch_piece *p, size_t n, uint64_t first)
{
    uint16_t bf16[FB_SKETCH_BF16_BYTES / sizeof(uint16_t)];
    bool ignored = false;

    fb__sketch_plain(&p->part, bf16, t->dtype, t->data, n, first);
    if (fb__sketch_has_bf16(t->dtype)) /* NaNs are canonical already: hashed as they are */
        p->bf16 = t->hash_block(FB_DTYPE_U16, bf16, n * sizeof *bf16, &ignored);
}

void fb__sketch_one_piece(fb__sketch_piece *p, const fb__sketch_tensor *t, uint64_t index)
{
    const uint64_t first = index * t->piece_elements;
    const uint64_t left = t->elements - first;
    const size_t n = left < t->piece_elements ? (size_t)left : t->piece_elements;
    const uint8_t *data = t->data + first * t->element_bytes;
    if (t->dtype == FB_DTYPE_F32 && t->sketch_f32 != NULL) {
        t->sketch_f32(p, (const float *)(const void *)data, n, first);
        if (p->part.nan > 0)
            hash_piece(t, p, data, n * t->element_bytes);
        return;
    }
    hash_piece(t, p, data, n * t->element_bytes);
    plain_piece(t, p, n, first);
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

fb_hash fb__sketch_join(fb_sketch *out, fb_hash *blocks, const fb__sketch_tensor *t,
                        fb__sketch_source source, void *context, bool *nonfinite)
{
    const uint64_t pieces =
        t->elements / t->piece_elements + (t->elements % t->piece_elements != 0);
    const size_t most = t->piece_elements * t->element_bytes / FB_HASH_BLOCK_BYTES;
    size_t blocks_left = t->bytes / FB_HASH_BLOCK_BYTES + (t->bytes % FB_HASH_BLOCK_BYTES != 0);
    XXH3_state_t whole, rounded;
    size_t count;

    *out = (fb_sketch){.elements = t->elements,
                       .min = __builtin_inf(),
                       .max = -__builtin_inf(),
                       .edition = FB_SKETCH_EDITION};
    if (fb_sketch_blocks(t->bytes) == 0)
        blocks = NULL;
    begin_tensor_hash(&whole, t->dtype, t->bytes);
    begin_tensor_hash(&rounded, FB_DTYPE_BF16, t->elements * sizeof(uint16_t));
    for (uint64_t done = 0; done < pieces; done += count) {
        const fb__sketch_piece *p = source(context, done, &count);

        for (size_t i = 0; i < count; i++, p++) {
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
    if (fb__sketch_has_bf16(t->dtype))
        out->bf16 = end_tensor_hash(&rounded);
    canonicalize(&out->sum, 1);
    canonicalize(&out->sum_abs, 1);
    canonicalize(&out->sum_square, 1);
    canonicalize(out->linear, FB_SKETCH_BUCKETS);
    for (unsigned j = 0; j < FB_SKETCH_SAMPLES && j < t->elements; j++)
        out->samples[j] = fb__sketch_bits(t->dtype, t->data, fb_sketch_position(t->elements, j));
    return end_tensor_hash(&whole);
}

typedef struct sketch_job {
    fb__sketch_tensor tensor;
    fb_pool *pool;
    uint64_t first_piece;
    fb__sketch_piece pieces[BATCH];
} sketch_job;

static void sketch_task(void *argument, size_t index, unsigned worker, void *scratch)
{
    sketch_job *job = argument;

    (void)worker;
    (void)scratch;
    fb__sketch_one_piece(&job->pieces[index], &job->tensor, job->first_piece + index);
}

/* The next batch of pieces, made when it is asked for. */
static const fb__sketch_piece *make_batch(void *context, uint64_t index, size_t *count)
{
    sketch_job *job = context;
    const size_t piece = job->tensor.piece_elements;
    const uint64_t left = (job->tensor.elements + piece - 1) / piece - index;

    *count = left < BATCH ? (size_t)left : BATCH;
    job->first_piece = index;
    if (job->pool != NULL && *count > 1)
        fb_pool_run(job->pool, *count, sketch_task, job);
    else
        for (size_t i = 0; i < *count; i++)
            sketch_task(job, i, 0, NULL);
    return job->pieces;
}

fb_hash fb_tensor_sketch(fb_sketch *out, fb_hash *blocks, fb_pool *pool, fb_dtype dtype,
                         const void *data, size_t bytes, bool *nonfinite)
{
    const fb_fpenv_saved environment = fb_fpenv_save();
    sketch_job job; /* not zeroed: the pieces are large */
    bool any = false;
    fb_hash hash;

    if (!fb__sketch_describe(&job.tensor, dtype, data, bytes)) { /* a hash at most */
        *out = (fb_sketch){.edition = FB_SKETCH_EDITION};
        return fb_tensor_hash(pool, dtype, data, bytes, nonfinite);
    }
    fb_fpenv_set();
    job.pool = pool;
    hash = fb__sketch_join(out, blocks, &job.tensor, make_batch, &job, &any);
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

bool fb_sketch_same_numbers(const fb_sketch *a, const fb_sketch *b)
{
    return a->edition == b->edition && a->elements == b->elements &&
           fb_hash_equal(a->multiset, b->multiset);
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
