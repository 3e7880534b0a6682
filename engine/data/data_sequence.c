/* SPDX-License-Identifier: Apache-2.0
 *
 * data_sequence.c - text as bytes and shards of 16-bit tokens: windows that do not overlap, targets
 * shifted by one. Formats: docs/configuration.md, "data".
 */
#include "engine/data/data_file.h"

#include <string.h>

#include "base/error.h"

/* A shard starts with 256 little-endian int32: magic, version, number of tokens, 253 unused. */
enum { SHARD_MAGIC = 20240520, SHARD_VERSION = 1, SHARD_HEADER_BYTES = 1024 };

static void fill_info(fb_dataset *dataset, uint64_t classes)
{
    fb_dataset_info *info = &dataset->info;

    info->input_dtype = FB_DTYPE_U32;
    info->target_dtype = FB_DTYPE_I32;
    info->input_rank = info->target_rank = 1;
    info->input_shape[0] = info->target_shape[0] = dataset->context;
    info->classes = classes;
}

/* --- Text ------------------------------------------------------------------------------------- */

static void copy_text(const fb_dataset *dataset, uint64_t at, void *input, void *target)
{
    const uint8_t *bytes = dataset->inputs + at;
    uint32_t *in = input;
    int32_t *next = target;

    for (uint64_t t = 0; t < dataset->context; t++) {
        in[t] = dataset->token_of[bytes[t]];
        next[t] = (int32_t)dataset->token_of[bytes[t + 1]];
    }
}

fb_status fb__data_open_text(fb_dataset *dataset, const fb_data_config *config, fb_error *err)
{
    const fb__file *file = &dataset->contents[0];
    bool seen[256] = {false};
    uint32_t vocab = 0;

    for (size_t i = 0; i < file->count; i++)
        seen[file->bytes[i]] = true;
    for (int byte = 0; byte < 256; byte++)
        if (seen[byte])
            dataset->token_of[byte] = vocab++;

    dataset->inputs = file->bytes;
    dataset->context = (uint64_t)config->context;
    dataset->copy = copy_text;
    fill_info(dataset, vocab);
    return fb__data_split(dataset, config, file->count, dataset->context + 1, dataset->context,
                          err);
}

/* --- Token shards ----------------------------------------------------------------------------- */

static uint32_t token_at(const uint8_t *tokens, uint64_t i)
{
    return (uint32_t)tokens[2 * i] | (uint32_t)tokens[2 * i + 1] << 8;
}

static void copy_tokens(const fb_dataset *dataset, uint64_t at, void *input, void *target)
{
    uint32_t *in = input;
    int32_t *next = target;

    for (uint64_t t = 0; t < dataset->context; t++) {
        in[t] = token_at(dataset->inputs, at + t);
        next[t] = (int32_t)token_at(dataset->inputs, at + t + 1);
    }
}

static fb_status check_shard(uint64_t *tokens, const fb__file *file, const char *path,
                             fb_error *err)
{
    int32_t header[3];

    if (file->count < SHARD_HEADER_BYTES)
        return fb__fail(err, FB_E_DATA, file->count,
                        "%s: %zu bytes are less than the header of a token shard (%d)", path,
                        file->count, SHARD_HEADER_BYTES);
    memcpy(header, file->bytes, sizeof header);
    if (header[0] != SHARD_MAGIC)
        return fb__fail(err, FB_E_DATA, 0, "%s: not a token shard: starts with %d, not with %d",
                        path, (int)header[0], SHARD_MAGIC);
    if (header[1] != SHARD_VERSION)
        return fb__fail(err, FB_E_DATA, 4, "%s: version %d of the token shard format, expected %d",
                        path, (int)header[1], SHARD_VERSION);
    *tokens = (file->count - SHARD_HEADER_BYTES) / 2;
    if (*tokens != (uint64_t)header[2] || file->count != SHARD_HEADER_BYTES + 2 * *tokens)
        return fb__fail(err, FB_E_DATA, 8,
                        "%s: the header counts %d tokens, %zu bytes of tokens follow", path,
                        (int)header[2], file->count - SHARD_HEADER_BYTES);
    return FB_OK;
}

fb_status fb__data_open_tokens(fb_dataset *dataset, const fb_data_config *config, fb_error *err)
{
    const fb__file *file = &dataset->contents[0];
    uint64_t count = 0;
    fb_status status = check_shard(&count, file, config->path, err);

    if (status != FB_OK)
        return status;
    dataset->inputs = file->bytes + SHARD_HEADER_BYTES;
    for (uint64_t i = 0; i < count; i++)
        if (token_at(dataset->inputs, i) >= (uint64_t)config->vocab)
            return fb__fail(err, FB_E_DATA, SHARD_HEADER_BYTES + 2 * i,
                            "%s: token %llu is %u, not below vocab = %lld", config->path,
                            (unsigned long long)i, (unsigned)token_at(dataset->inputs, i),
                            (long long)config->vocab);
    dataset->context = (uint64_t)config->context;
    dataset->copy = copy_tokens;
    fill_info(dataset, (uint64_t)config->vocab);
    return fb__data_split(dataset, config, count, dataset->context + 1, dataset->context, err);
}
