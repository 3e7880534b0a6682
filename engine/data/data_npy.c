/* SPDX-License-Identifier: Apache-2.0
 *
 * data_npy.c - arrays of inputs and targets in .npy files, the first dimension counting samples.
 */
#include "engine/data/data_file.h"

#include <string.h>

#include "base/error.h"

/* Element i of stored integers. */
static int64_t integer_at(const uint8_t *data, fb_dtype stored, uint64_t i)
{
    int32_t narrow;
    int64_t wide;

    switch (stored) {
    case FB_DTYPE_I32:
        memcpy(&narrow, data + 4 * i, sizeof narrow);
        return narrow;
    case FB_DTYPE_I64:
        memcpy(&wide, data + 8 * i, sizeof wide);
        return wide;
    default:
        return data[i];
    }
}

/* Copies elements [first, first + count): float32 as they are, integers as 32 bits. */
static void copy_elements(const uint8_t *data, fb_dtype stored, uint64_t first, uint64_t count,
                          void *out)
{
    uint32_t *words = out;

    if (stored == FB_DTYPE_F32) {
        memcpy(out, data + 4 * first, 4 * count);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        words[i] = (uint32_t)integer_at(data, stored, first + i);
}

static void copy_arrays(const fb_dataset *d, uint64_t at, void *input, void *target)
{
    copy_elements(d->inputs, d->input_stored, at * d->input_count, d->input_count, input);
    copy_elements(d->targets, d->target_stored, at * d->target_count, d->target_count, target);
}

/* Every integer is from 0 to 2^31 - 1 or the ignored one; raises *classes above the largest. */
static fb_status check_integers(uint64_t *classes, const fb__npy *npy, const int64_t *ignored,
                                const fb__file *file, const char *path, fb_error *err)
{
    for (uint64_t i = 0; i < npy->count; i++) {
        const int64_t value = integer_at(npy->data, npy->dtype, i);

        if (ignored != NULL && value == *ignored)
            continue;
        if (value < 0 || value >= INT32_MAX)
            return fb__fail(err, FB_E_DATA,
                            (uint64_t)(npy->data - file->bytes) + i * fb_dtype_bytes(npy->dtype),
                            "%s: element %llu is %lld, expected 0 to 2147483646%s", path,
                            (unsigned long long)i, (long long)value,
                            ignored != NULL ? " or the loss's ignore_index" : "");
        if ((uint64_t)value >= *classes)
            *classes = (uint64_t)value + 1;
    }
    return FB_OK;
}

static fb_status check_shapes(const fb__npy *in, const fb__npy *to, const fb_data_config *config,
                              fb_error *err)
{
    if (in->rank < 2 || to->rank < 1)
        return fb__fail(err, FB_E_DATA, 8, "%s: rank %u, expected the samples and their shape",
                        in->rank < 2 ? config->path : config->labels,
                        (unsigned)(in->rank < 2 ? in->rank : to->rank));
    if (in->dtype != FB_DTYPE_F32 && in->rank != 2)
        return fb__fail(err, FB_E_DATA, 8,
                        "%s: integers of rank %u, expected tokens of rank 2 (or float32)",
                        config->path, (unsigned)in->rank);
    if (in->shape[0] != to->shape[0])
        return fb__fail(err, FB_E_DATA, 8, "%s: %llu targets for %llu inputs", config->labels,
                        (unsigned long long)to->shape[0], (unsigned long long)in->shape[0]);
    return FB_OK;
}

static fb_status find_classes(fb_dataset *dataset, const fb__npy *in, const fb__npy *to,
                              const fb_data_config *config, fb_error *err)
{
    uint64_t *classes = &dataset->info.classes;
    fb_status status = FB_OK;

    if (in->dtype != FB_DTYPE_F32)
        status = check_integers(classes, in, NULL, &dataset->contents[0], config->path, err);
    if (status == FB_OK && to->dtype != FB_DTYPE_F32) {
        status = check_integers(classes, to, &config->ignore_index, &dataset->contents[1],
                                config->labels, err);
        if (status == FB_OK && *classes == 0)
            status = fb__fail(err, FB_E_DATA, FB_NO_OFFSET, "%s: every target is ignored (%lld)",
                              config->labels, (long long)config->ignore_index);
    }
    return status;
}

fb_status fb__data_open_npy(fb_dataset *dataset, const fb_data_config *config, fb_error *err)
{
    fb_dataset_info *info = &dataset->info;
    fb__npy in, to;
    fb_status status = fb__npy_read(&in, &dataset->contents[0], config->path, err);

    if (status == FB_OK)
        status = fb__npy_read(&to, &dataset->contents[1], config->labels, err);
    if (status == FB_OK)
        status = check_shapes(&in, &to, config, err);
    if (status == FB_OK)
        status = find_classes(dataset, &in, &to, config, err);
    if (status != FB_OK)
        return status;

    info->input_dtype = in.dtype == FB_DTYPE_F32 ? FB_DTYPE_F32 : FB_DTYPE_U32;
    info->target_dtype = to.dtype == FB_DTYPE_F32 ? FB_DTYPE_F32 : FB_DTYPE_I32;
    info->input_rank = in.rank - 1;
    info->target_rank = to.rank - 1;
    memcpy(info->input_shape, in.shape + 1, (in.rank - 1) * sizeof *in.shape);
    memcpy(info->target_shape, to.shape + 1, (to.rank - 1) * sizeof *to.shape);
    dataset->inputs = in.data;
    dataset->targets = to.data;
    dataset->input_stored = in.dtype;
    dataset->target_stored = to.dtype;
    dataset->input_count = in.count / in.shape[0];
    dataset->target_count = to.count / to.shape[0];
    dataset->copy = copy_arrays;
    return fb__data_split(dataset, config, in.shape[0], 1, 1, err);
}
