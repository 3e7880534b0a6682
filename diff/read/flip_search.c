/* SPDX-License-Identifier: Apache-2.0
 *
 * flip_search.c - hashes of a tensor with one bit flipped, each from the hash of its neighbours.
 *
 * XXH3-128 of more than 240 bytes (xxHash, "XXH3 algorithm overview") keeps eight 64-bit lanes. A
 * 64-byte stripe adds to every lane a number that depends on the stripe and its place alone; after
 * 16 stripes the lanes are scrambled one by one; at the end they are merged in pairs. So the sums
 * that stripes add are computed once for a block, and a flipped bit changes one lane and its
 * neighbour from its place on.
 */
#include "diff/read/flip_search.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

enum {
    LANES = 8,
    STRIPE = 64,
    STRIPES = 16, /* between scrambles: (192 bytes of secret - 64) / 8 */
    CHUNK = STRIPE * STRIPES,
    CHUNKS_MAX = FB_HASH_BLOCK_BYTES / CHUNK,
    SHORT_MAX = 240, /* up to here XXH3 works otherwise, and hashing anew is cheap */
    LAST_SECRET = 192 - STRIPE - 7,
    SCRAMBLE_SECRET = 192 - STRIPE,
    MERGE_LOW_SECRET = 11,
    MERGE_HIGH_SECRET = 192 - STRIPE - 11,
    BITS = 32,
};

/* One block: its bytes, and what its hash is made of. */
typedef struct block {
    uint8_t data[FB_HASH_BLOCK_BYTES];      /* NaNs made canonical, as the hash sees them */
    const uint8_t *raw;                     /* as the run had them: a flip acts on these */
    size_t bytes, chunks;                   /* chunks: full ones, each ends in a scramble */
    uint64_t before[CHUNKS_MAX + 1][LANES]; /* lanes before chunk k */
    uint64_t sums[CHUNKS_MAX + 1][LANES];   /* that chunk k adds; [chunks]: the rest */
    uint64_t lanes[LANES];                  /* at the end */
    uint64_t pair_low[LANES / 2], pair_high[LANES / 2]; /* what each pair merges to */
} block;

typedef struct search {
    const uint8_t *data; /* NaNs made canonical */
    const uint8_t *raw;
    size_t bytes, blocks;
    fb_hash wanted;
    fb_hash *hashes; /* of all blocks, undamaged */
    struct timespec deadline;
    atomic_bool stop, found, late;
    uint64_t element; /* written by the one that sets `found` */
    uint32_t bit;
} search;

static uint64_t read64(const void *at)
{
    uint64_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* --- XXH3, lane by lane ----------------------------------------------------------------------- */

/* What eight bytes of a stripe add to their own lane; their value itself goes to the neighbour. */
static uint64_t product(uint64_t value, const uint8_t *secret)
{
    const uint64_t keyed = value ^ read64(secret);
    return (keyed & 0xffffffffu) * (keyed >> 32);
}

static uint64_t scramble(uint64_t lane, uint64_t secret)
{
    lane ^= lane >> 47;
    lane ^= secret;
    return lane * XXH_PRIME32_1;
}

static void add_stripe(uint64_t sums[LANES], const uint8_t *stripe, const uint8_t *secret)
{
    for (int i = 0; i < LANES; i++) {
        const uint64_t value = read64(stripe + 8 * i);

        sums[i ^ 1] += value;
        sums[i] += product(value, secret + 8 * i);
    }
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    const unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t merge_pair(uint64_t even, uint64_t odd, const uint8_t *secret, int pair)
{
    return fold(even ^ read64(secret + 16 * pair), odd ^ read64(secret + 16 * pair + 8));
}

static uint64_t avalanche(uint64_t h)
{
    h ^= h >> 37;
    h *= 0x165667919E3779F9u;
    return h ^ h >> 32;
}

static void prepare(block *b, const uint8_t *data, const uint8_t *raw, size_t bytes)
{
    static const uint64_t start[LANES] = {XXH_PRIME32_3, XXH_PRIME64_1, XXH_PRIME64_2,
                                          XXH_PRIME64_3, XXH_PRIME64_4, XXH_PRIME32_2,
                                          XXH_PRIME64_5, XXH_PRIME32_1};
    size_t at = 0;

    memcpy(b->data, data, bytes);
    b->raw = raw;
    b->bytes = bytes;
    if (bytes <= SHORT_MAX)
        return;
    b->chunks = (bytes - 1) / CHUNK;
    memset(b->sums, 0, sizeof b->sums);
    for (size_t chunk = 0; chunk <= b->chunks; chunk++) {
        const size_t stripes =
            chunk < b->chunks ? STRIPES : (bytes - 1 - b->chunks * CHUNK) / STRIPE;

        for (size_t s = 0; s < stripes; s++, at += STRIPE)
            add_stripe(b->sums[chunk], b->data + at, XXH3_kSecret + 8 * s);
    }
    add_stripe(b->sums[b->chunks], b->data + bytes - STRIPE, XXH3_kSecret + LAST_SECRET);
    memcpy(b->before[0], start, sizeof start);
    for (size_t chunk = 0; chunk < b->chunks; chunk++)
        for (int i = 0; i < LANES; i++)
            b->before[chunk + 1][i] = scramble(b->before[chunk][i] + b->sums[chunk][i],
                                               read64(XXH3_kSecret + SCRAMBLE_SECRET + 8 * i));
    for (int i = 0; i < LANES; i++)
        b->lanes[i] = b->before[b->chunks][i] + b->sums[b->chunks][i];
    for (int p = 0; p < LANES / 2; p++) {
        b->pair_low[p] =
            merge_pair(b->lanes[2 * p], b->lanes[2 * p + 1], XXH3_kSecret + MERGE_LOW_SECRET, p);
        b->pair_high[p] =
            merge_pair(b->lanes[2 * p], b->lanes[2 * p + 1], XXH3_kSecret + MERGE_HIGH_SECRET, p);
    }
}

/* The hash with the lanes of one pair replaced. */
static fb_hash merge(const block *b, int pair, uint64_t even, uint64_t odd)
{
    uint64_t low = b->bytes * XXH_PRIME64_1, high = ~(b->bytes * XXH_PRIME64_2);

    for (int p = 0; p < LANES / 2; p++)
        if (p != pair) {
            low += b->pair_low[p];
            high += b->pair_high[p];
        }
    low += merge_pair(even, odd, XXH3_kSecret + MERGE_LOW_SECRET, pair);
    high += merge_pair(even, odd, XXH3_kSecret + MERGE_HIGH_SECRET, pair);
    return (fb_hash){.lo = avalanche(low), .hi = avalanche(high)};
}

/* --- Flipped elements ------------------------------------------------------------------------- */

static uint32_t canonical(uint32_t bits)
{
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
}

static uint32_t flipped_bits(const block *b, size_t byte, uint32_t bit)
{
    uint32_t bits;

    memcpy(&bits, b->raw + byte, sizeof bits);
    return canonical(bits ^ (uint32_t)1 << bit);
}

/* What a flip changes: a lane of a chunk by `own`, its neighbour by `other`. */
typedef struct change {
    size_t chunk;
    int lane;
    uint64_t own[BITS], other[BITS];
} change;

/* The change in the stripe at byte `stripe`, whose secret begins at `secret`. */
static void change_of(change *c, const block *b, size_t byte, size_t stripe, const uint8_t *secret)
{
    const size_t in_stripe = byte - stripe;
    const int lane = (int)(in_stripe / 8);
    const uint8_t *at = b->data + stripe + 8 * (size_t)lane;
    const uint64_t value = read64(at);
    const unsigned shift = (unsigned)(in_stripe % 8) * 8;
    const uint32_t bits = (uint32_t)(value >> shift);
    const uint64_t was = product(value, secret + 8 * lane);

    c->lane = lane;
    for (unsigned bit = 0; bit < BITS; bit++) {
        const uint32_t flipped = flipped_bits(b, byte, bit);
        const uint64_t changed = value ^ (uint64_t)(bits ^ flipped) << shift;

        c->own[bit] = product(changed, secret + 8 * lane) - was;
        c->other[bit] = changed - value;
    }
}

/* Carries the two lanes of a pair from a chunk to the end, for all 32 flips side by side. */
static void carry(uint64_t even[BITS], uint64_t odd[BITS], const block *b, const change *c)
{
    const int pair = c->lane / 2;
    const bool own_is_odd = (c->lane & 1) != 0;
    const uint64_t *const own = own_is_odd ? c->other : c->own;
    const uint64_t *const other = own_is_odd ? c->own : c->other;
    const uint64_t key_even = read64(XXH3_kSecret + SCRAMBLE_SECRET + 16 * pair);
    const uint64_t key_odd = read64(XXH3_kSecret + SCRAMBLE_SECRET + 16 * pair + 8);

    for (int i = 0; i < BITS; i++) {
        even[i] = b->before[c->chunk][2 * pair] + own[i];
        odd[i] = b->before[c->chunk][2 * pair + 1] + other[i];
    }
    for (size_t chunk = c->chunk; chunk <= b->chunks; chunk++) {
        const uint64_t add_even = b->sums[chunk][2 * pair], add_odd = b->sums[chunk][2 * pair + 1];

        if (chunk == b->chunks) {
            for (int i = 0; i < BITS; i++) {
                even[i] += add_even;
                odd[i] += add_odd;
            }
            break;
        }
        for (int i = 0; i < BITS; i++) {
            even[i] = scramble(even[i] + add_even, key_even);
            odd[i] = scramble(odd[i] + add_odd, key_odd);
        }
    }
}

/* The last 64 bytes are read once more, at their own place, so a flip there changes other lanes as
 * well: such a block is hashed anew. */
static bool is_in_last_stripe(const block *b, size_t byte)
{
    return byte >= b->bytes - STRIPE;
}

/* Block hashes of all flips of the element at `byte`. */
static void hash_flips(fb_hash out[BITS], block *b, size_t byte)
{
    const size_t stripe = byte / STRIPE * STRIPE;
    change c = {.chunk = stripe / CHUNK};
    uint64_t even[BITS], odd[BITS];

    if (b->bytes <= SHORT_MAX || is_in_last_stripe(b, byte)) {
        uint32_t bits, flipped;

        memcpy(&bits, b->data + byte, sizeof bits);
        for (unsigned bit = 0; bit < BITS; bit++) {
            flipped = flipped_bits(b, byte, bit);
            memcpy(b->data + byte, &flipped, sizeof flipped);
            out[bit] = fb_hash_bytes(b->data, b->bytes);
        }
        memcpy(b->data + byte, &bits, sizeof bits);
        return;
    }
    change_of(&c, b, byte, stripe, XXH3_kSecret + 8 * (stripe % CHUNK / STRIPE));
    carry(even, odd, b, &c);
    for (int i = 0; i < BITS; i++)
        out[i] = merge(b, c.lane / 2, even[i], odd[i]);
}

/* --- The search ------------------------------------------------------------------------------- */

/* XXH3-128 of dtype, byte count and the block hashes; see base/hash.h. */
static fb_hash tensor_hash(uint8_t *message, size_t blocks)
{
    return fb_hash_bytes(message, 9 + blocks * sizeof(fb_hash));
}

static bool is_late(const search *s)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > s->deadline.tv_sec ||
           (now.tv_sec == s->deadline.tv_sec && now.tv_nsec >= s->deadline.tv_nsec);
}

static void report(search *s, uint64_t element, uint32_t bit)
{
    bool expected = false;

    if (!atomic_compare_exchange_strong(&s->found, &expected, true))
        return;
    s->element = element;
    s->bit = bit;
    atomic_store(&s->stop, true);
}

/* Tries all elements of one block. message: the tensor hash's, with room in it for the block. */
static void search_block(search *s, size_t index, block *b, uint8_t *message)
{
    enum { CHECK = 1024 }; /* elements between looks at the clock: some milliseconds */
    const size_t from = index * FB_HASH_BLOCK_BYTES;
    const size_t left = s->bytes - from;
    const size_t bytes = left < FB_HASH_BLOCK_BYTES ? left : FB_HASH_BLOCK_BYTES;
    uint8_t *const place = message + 9 + index * sizeof(fb_hash);

    prepare(b, s->data + from, s->raw + from, bytes);
    for (size_t byte = 0; byte + 4 <= bytes && !atomic_load(&s->stop); byte += 4) {
        fb_hash hashes[BITS];

        if (byte / 4 % CHECK == CHECK - 1 && is_late(s)) {
            atomic_store(&s->late, true);
            atomic_store(&s->stop, true);
        }
        hash_flips(hashes, b, byte);
        for (uint32_t bit = 0; bit < BITS; bit++) {
            memcpy(place, &hashes[bit], sizeof hashes[bit]);
            if (fb_hash_equal(tensor_hash(message, s->blocks), s->wanted)) {
                report(s, (from + byte) / 4, bit);
                break;
            }
        }
    }
    memcpy(place, &s->hashes[index], sizeof s->hashes[index]);
}

static void make_message(uint8_t *message, const search *s)
{
    const uint64_t bytes = s->bytes;

    message[0] = (uint8_t)FB_DTYPE_F32;
    memcpy(message + 1, &bytes, sizeof bytes);
    memcpy(message + 9, s->hashes, s->blocks * sizeof *s->hashes);
}

static void search_task(void *argument, size_t index, unsigned worker, void *scratch)
{
    search *s = argument;
    block *b = malloc(sizeof *b);
    uint8_t *message = malloc(9 + s->blocks * sizeof *s->hashes);

    (void)worker;
    (void)scratch;
    if (b != NULL && message != NULL && !atomic_load(&s->stop)) {
        make_message(message, s);
        search_block(s, index, b, message);
    } else if (b == NULL || message == NULL) {
        atomic_store(&s->late, true);
    }
    free(message);
    free(b);
}

static uint8_t *canonical_copy(const void *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes);

    for (size_t i = 0; copy != NULL && i + 4 <= bytes; i += 4) {
        uint32_t bits;

        memcpy(&bits, (const uint8_t *)data + i, sizeof bits);
        bits = canonical(bits);
        memcpy(copy + i, &bits, sizeof bits);
    }
    return copy;
}

static void hash_blocks(search *s)
{
    for (size_t i = 0; i < s->blocks; i++) {
        const size_t left = s->bytes - i * FB_HASH_BLOCK_BYTES;

        s->hashes[i] = fb_hash_bytes(s->data + i * FB_HASH_BLOCK_BYTES,
                                     left < FB_HASH_BLOCK_BYTES ? left : FB_HASH_BLOCK_BYTES);
    }
}

static struct timespec after(double seconds)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)seconds;
    return t;
}

fb_status fb_search_flip(fb_flip_search *out, fb_pool *pool, fb_dtype dtype, const void *data,
                         size_t bytes, fb_hash wanted, double seconds, fb_error *err)
{
    search s = {.bytes = bytes,
                .blocks = (bytes + FB_HASH_BLOCK_BYTES - 1) / FB_HASH_BLOCK_BYTES,
                .wanted = wanted,
                .deadline = after(seconds)};
    uint8_t *copy;

    *out = (fb_flip_search){0};
    if (dtype != FB_DTYPE_F32 || bytes == 0 || bytes % 4 != 0)
        return FB_OK;
    copy = canonical_copy(data, bytes);
    s.hashes = malloc(s.blocks * sizeof *s.hashes);
    if (copy == NULL || s.hashes == NULL) {
        free(copy);
        free(s.hashes);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "looking for a flipped bit: out of memory");
    }
    s.data = copy;
    s.raw = data;
    hash_blocks(&s);
    if (pool != NULL)
        fb_pool_run(pool, s.blocks, search_task, &s);
    else
        for (size_t i = 0; i < s.blocks; i++)
            search_task(&s, i, 0, NULL);
    *out = (fb_flip_search){.found = atomic_load(&s.found),
                            .element = s.element,
                            .bit = s.bit,
                            .complete = atomic_load(&s.found) || !atomic_load(&s.late)};
    free(s.hashes);
    free(copy);
    return FB_OK;
}
