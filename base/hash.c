/* SPDX-License-Identifier: Apache-2.0
 *
 * hash.c - tensor hashes by blocks, the semantic hash of an event, chains and text forms.
 */
#include "base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash_block.h"

fb_hash fb_hash_bytes(const void *bytes, size_t count)
{
    const XXH128_hash_t h = XXH3_128bits(bytes, count);
    return (fb_hash){h.low64, h.high64};
}

uint64_t fb_hash_name(const char *name)
{
    return name == NULL ? XXH3_64bits("", 0) : XXH3_64bits(name, strlen(name));
}

/* --- Tensors ---------------------------------------------------------------------------------- */

size_t fb__hash_blocks(fb__hash_block out[FB__HASH_BLOCKS])
{
    size_t n = 0;

    out[n++] = fb__hash_block_base;
#if defined(FB_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2"))
        out[n++] = fb__hash_block_avx2;
#endif
#if defined(FB_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f"))
        out[n++] = fb__hash_block_avx512;
#endif
    return n;
}

fb__hash_block fb__widest_hash_block(void)
{
    fb__hash_block all[FB__HASH_BLOCKS];

    return all[fb__hash_blocks(all) - 1];
}

/* Block hashes join in a running XXH3 state, BATCH at a time: no allocation for any size. */
enum { BATCH = 256 };

typedef struct hash_job {
    fb__hash_block hash_block;
    fb_dtype dtype;
    const uint8_t *data;
    size_t bytes;
    fb_hash hashes[BATCH];
    bool nonfinite[BATCH];
} hash_job;

static void hash_one_block(void *argument, size_t index, unsigned worker, void *scratch)
{
    hash_job *job = argument;
    const size_t from = index * FB_HASH_BLOCK_BYTES;
    const size_t left = job->bytes - from;
    const size_t bytes = left < FB_HASH_BLOCK_BYTES ? left : FB_HASH_BLOCK_BYTES;

    (void)worker;
    (void)scratch;
    job->nonfinite[index] = false;
    job->hashes[index] =
        job->hash_block(job->dtype, job->data + from, bytes, &job->nonfinite[index]);
}

static void begin_tensor_hash(XXH3_state_t *state, fb_dtype dtype, uint64_t bytes)
{
    uint8_t head[9];

    XXH3_INITSTATE(state);
    XXH3_128bits_reset(state);
    head[0] = (uint8_t)dtype;
    memcpy(head + 1, &bytes, 8);
    XXH3_128bits_update(state, head, sizeof head);
}

fb_hash fb__join_blocks(fb_dtype dtype, size_t bytes, const fb_hash *blocks, size_t count)
{
    XXH3_state_t state;
    XXH128_hash_t h;

    begin_tensor_hash(&state, dtype, bytes);
    XXH3_128bits_update(&state, blocks, count * sizeof *blocks);
    h = XXH3_128bits_digest(&state);
    return (fb_hash){h.low64, h.high64};
}

fb_hash fb_tensor_hash(fb_pool *pool, fb_dtype dtype, const void *data, size_t bytes,
                       bool *nonfinite)
{
    hash_job job = {.hash_block = fb__widest_hash_block(), .dtype = dtype};
    XXH3_state_t state;
    XXH128_hash_t h;
    bool any = false;

    begin_tensor_hash(&state, dtype, bytes);
    for (size_t done = 0; done < bytes;) {
        const size_t batch_bytes = (size_t)BATCH * FB_HASH_BLOCK_BYTES;
        const size_t part = bytes - done < batch_bytes ? bytes - done : batch_bytes;
        const size_t blocks = (part + FB_HASH_BLOCK_BYTES - 1) / FB_HASH_BLOCK_BYTES;

        job.data = (const uint8_t *)data + done;
        job.bytes = part;
        if (pool != NULL && blocks > 1)
            fb_pool_run(pool, blocks, hash_one_block, &job);
        else
            for (size_t i = 0; i < blocks; i++)
                hash_one_block(&job, i, 0, NULL);
        for (size_t i = 0; i < blocks; i++)
            any |= job.nonfinite[i];
        XXH3_128bits_update(&state, job.hashes, blocks * sizeof job.hashes[0]);
        done += part;
    }
    if (nonfinite != NULL)
        *nonfinite = any;
    h = XXH3_128bits_digest(&state);
    return (fb_hash){h.low64, h.high64};
}

fb_status fb_hash_file(fb_hash *out, uint64_t *bytes, const char *path, fb_error *err)
{
    FILE *file = fopen(path, "rb");
    uint8_t buffer[65536];
    uint64_t total = 0;
    XXH3_state_t state;
    XXH128_hash_t h;
    size_t n;

    if (file == NULL)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", path,
                        strerror(errno));
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0) {
        XXH3_128bits_update(&state, buffer, n);
        total += n;
    }
    if (ferror(file)) {
        const int error_number = errno;
        fclose(file);
        return fb__fail(err, fb__status_of_errno(error_number), total, "%s: %s", path,
                        strerror(error_number));
    }
    fclose(file);
    h = XXH3_128bits_digest(&state);
    *out = (fb_hash){h.low64, h.high64};
    if (bytes != NULL)
        *bytes = total;
    return FB_OK;
}

/* --- Text ------------------------------------------------------------------------------------- */

char *fb_hash_hex(char out[FB_HASH_HEX_BYTES], fb_hash hash)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        out[i] = digits[hash.hi >> (60 - 4 * i) & 15];
        out[16 + i] = digits[hash.lo >> (60 - 4 * i) & 15];
    }
    out[32] = '\0';
    return out;
}

bool fb_hash_of_hex(fb_hash *out, const char *hex)
{
    uint64_t half[2] = {0, 0};

    for (int i = 0; i < 32; i++) {
        const char c = hex[i];
        uint64_t digit;

        if (c >= '0' && c <= '9')
            digit = (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint64_t)(c - 'a') + 10;
        else
            return false;
        half[i / 16] = half[i / 16] << 4 | digit;
    }
    if (hex[32] != '\0')
        return false;
    *out = (fb_hash){.lo = half[1], .hi = half[0]};
    return true;
}

/* --- Events ----------------------------------------------------------------------------------- */

static const char *text_or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

fb_hash fb_site_hash(const fb_site *site)
{
    const char *names[3] = {text_or_empty(site->path), text_or_empty(site->op),
                            text_or_empty(site->slot)};
    const uint8_t phase = (uint8_t)site->phase;
    XXH3_state_t state;
    XXH128_hash_t h;

    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &phase, 1);
    XXH3_128bits_update(&state, &site->occurrence, 4);
    for (int i = 0; i < 3; i++)
        XXH3_128bits_update(&state, names[i], strlen(names[i]) + 1);
    h = XXH3_128bits_digest(&state);
    return (fb_hash){h.low64, h.high64};
}

fb_hash fb_identity_hash(fb_hash site_hash, uint64_t step, int32_t micro)
{
    uint8_t bytes[28];

    memcpy(bytes, &site_hash.lo, 8);
    memcpy(bytes + 8, &site_hash.hi, 8);
    memcpy(bytes + 16, &step, 8);
    memcpy(bytes + 24, &micro, 4);
    return fb_hash_bytes(bytes, sizeof bytes);
}

/* A small message on the stack: the longest content (a tensor of rank 8) has 130 bytes. */
typedef struct message {
    size_t count;
    uint8_t bytes[192];
} message;

static void put(message *m, const void *bytes, size_t count)
{
    memcpy(m->bytes + m->count, bytes, count);
    m->count += count;
}

static void put_u8(message *m, unsigned value)
{
    m->bytes[m->count++] = (uint8_t)value;
}

static void put_u64(message *m, uint64_t value)
{
    put(m, &value, 8);
}

static void put_f64(message *m, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, 8);
    put_u64(m, value != value ? 0x7ff8000000000000u : bits);
}

static void put_name(message *m, const char *name)
{
    put_u64(m, fb_hash_name(name));
}

static void put_hash(message *m, fb_hash hash)
{
    put_u64(m, hash.lo);
    put_u64(m, hash.hi);
}

static void put_content(message *m, const fb_site *site, const fb_event *event)
{
    switch (site->kind) {
    case FB_KIND_TENSOR:
    case FB_KIND_PARAM:
    case FB_KIND_COLLECTIVE:
        put_u8(m, site->dtype);
        put_u8(m, site->rank);
        for (uint32_t i = 0; i < site->rank && i < FB_RANK_MAX; i++)
            put_u64(m, site->shape[i]);
        put_hash(m, event->hash);
        break;
    case FB_KIND_DRAW:
        put_name(m, site->stream);
        put_name(m, site->algorithm);
        put_name(m, site->distribution);
        put_name(m, site->consumer);
        put_f64(m, site->parameters[0]);
        put_f64(m, site->parameters[1]);
        put_u64(m, event->key);
        put_u64(m, event->counter);
        put_u64(m, event->count);
        put_hash(m, event->hash);
        break;
    case FB_KIND_SAMPLE:
        put_name(m, site->dataset);
        put_u8(m, site->role);
        put_u64(m, event->counter);
        put_u64(m, event->count);
        put_hash(m, event->hash);
        put_hash(m, event->indices == NULL
                        ? (fb_hash){0, 0}
                        : fb_hash_bytes(event->indices, event->count * sizeof *event->indices));
        break;
    case FB_KIND_SCALAR:
        put_u8(m, site->dtype);
        put_f64(m, event->value);
        break;
    case FB_KIND_SEED:
        put_name(m, site->stream);
        put_name(m, site->algorithm);
        put_u64(m, event->key);
        break;
    case FB_KIND_MODE:
        put_f64(m, event->value);
        break;
    case FB_KIND_CHECKPOINT:
        put_hash(m, event->hash);
        break;
    case FB_KIND_MARK:
        put_name(m, event->text);
        break;
    case FB_KIND_NONE:
        break;
    }
}

fb_hash fb_event_hash(fb_hash identity, const fb_site *site, const fb_event *event,
                      const fb_hash *input_ids)
{
    message m = {.count = 0};

    put_hash(&m, identity);
    put_hash(&m, fb_hash_bytes(input_ids, event->input_count * sizeof *input_ids));
    put_u8(&m, site->kind);
    put_u8(&m, event->flags & FB_EVENT_UNDEFINED);
    put_content(&m, site, event);
    return fb_hash_bytes(m.bytes, m.count);
}

fb_hash fb_chain_next(fb_hash chain, uint64_t step, fb_hash root)
{
    uint8_t bytes[40];

    memcpy(bytes, &chain.lo, 8);
    memcpy(bytes + 8, &chain.hi, 8);
    memcpy(bytes + 16, &step, 8);
    memcpy(bytes + 24, &root.lo, 8);
    memcpy(bytes + 32, &root.hi, 8);
    return fb_hash_bytes(bytes, sizeof bytes);
}
