/* SPDX-License-Identifier: Apache-2.0
 *
 * hash.h - tensor hashes and the hashes that build on them. Rules: docs/trace-format.md, "Hashes".
 *
 * A tensor hash is XXH3-128 over a tree of fixed 64 KiB blocks, so that threads share the work and
 * the thread count cannot change it. NaNs are canonicalized; shape is not part of it. Bytes are
 * little-endian, the only byte order firstbit runs on.
 */
#ifndef FB_BASE_HASH_H
#define FB_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "firstbit/event.h"

enum {
    FB_HASH_BLOCK_BYTES = 65536,
    FB_HASH_HEX_BYTES = 33, /* 32 hex digits and the final zero */
};

/* XXH3-128 of bytes, seed 0. */
fb_hash fb_hash_bytes(const void *bytes, size_t count);

/* XXH3-64 of a name's bytes; its low 32 bits number a random stream. */
uint64_t fb_hash_name(const char *name);

/*
 * The hash of a tensor's row-major little-endian elements.
 *
 *   nonfinite  set to whether an element is NaN or infinite (floating dtypes); may be NULL
 *   pool       shares the blocks out; NULL computes on the calling thread
 *
 * block i:  b[i] = XXH3-128(bytes [i·65536, (i+1)·65536), NaNs canonicalized)
 * tensor:   XXH3-128(dtype number u8, byte count u64, b[0], b[1], ...), all little-endian, a hash
 * as lo then hi
 */
fb_hash fb_tensor_hash(fb_pool *pool, fb_dtype dtype, const void *data, size_t bytes,
                       bool *nonfinite);

/* Adds b to a mod 2^128: how the hashes of a step's events join in its root, in any order. */
static inline fb_hash fb_hash_add(fb_hash a, fb_hash b)
{
    const uint64_t lo = a.lo + b.lo;
    return (fb_hash){lo, a.hi + b.hi + (lo < a.lo)};
}

static inline bool fb_hash_equal(fb_hash a, fb_hash b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static inline bool fb_hash_is_zero(fb_hash a)
{
    return (a.lo | a.hi) == 0;
}

/* 32 lower-case hex digits, hi first; returns out. */
char *fb_hash_hex(char out[FB_HASH_HEX_BYTES], fb_hash hash);

/* Reads what fb_hash_hex wrote; false for anything else. */
bool fb_hash_of_hex(fb_hash *out, const char *hex);

/*
 * The content hash of a file: XXH3-128 of its bytes as they are on disk. bytes may be NULL.
 * FB_E_NOT_FOUND, FB_E_IO.
 */
FB_NODISCARD fb_status fb_hash_file(fb_hash *out, uint64_t *bytes, const char *path, fb_error *err);

/* --- The semantic hash of an event ------------------------------------------------------------ */

/* The part of an identity that repeats: XXH3-128(phase u8, occurrence u32, path 0 op 0 slot 0). */
fb_hash fb_site_hash(const fb_site *site);

/* The identity of one event: XXH3-128(site hash, step u64, micro i32). */
fb_hash fb_identity_hash(fb_hash site_hash, uint64_t step, int32_t micro);

/*
 * What an event adds to the root of its class: XXH3-128(identity, content, identity of each input).
 * Content is laid out by kind in docs/trace-format.md, "Event hash"; numbers of sites, storage and
 * version, addresses and file names are not in it.
 *
 *   input_ids  identity hashes of event->inputs, input_count of them
 */
fb_hash fb_event_hash(fb_hash identity, const fb_site *site, const fb_event *event,
                      const fb_hash *input_ids);

/* chain[t] = XXH3-128(chain[t-1], step u64, root[t]); the first chain[t-1] is zero. Steps in which
 * the class was not recorded are left out. */
fb_hash fb_chain_next(fb_hash chain, uint64_t step, fb_hash root);

#endif
