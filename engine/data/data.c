/* SPDX-License-Identifier: Apache-2.0
 *
 * data.c - opens a dataset, whatever its format, and hands out samples by role and index.
 */
#include "engine/data/data.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/data/data_file.h"

/* --- Parts ------------------------------------------------------------------------------------ */

static uint64_t share_end(double share, uint64_t items)
{
    const double end = floor(share * (double)items);
    return end >= (double)items ? items : (uint64_t)end;
}

fb_status fb__data_split(fb_dataset *dataset, const fb_data_config *config, uint64_t items,
                         uint64_t needs, uint64_t stride, fb_error *err)
{
    const double *share = config->split;
    const uint64_t train_end = share_end(share[0], items);
    /* The last role that has a share gets what rounding leaves over. */
    const uint64_t val_end = share[2] > 0 ? share_end(share[0] + share[1], items) : items;
    const uint64_t end[3] = {share[1] + share[2] > 0 ? train_end : items,
                             share[1] + share[2] > 0 ? val_end : items, items};
    uint64_t begin = 0;

    dataset->stride = stride;
    for (int role = FB_ROLE_TRAIN; role <= FB_ROLE_TEST; role++) {
        const uint64_t part = end[role - 1] - begin;

        dataset->first[role] = begin;
        dataset->info.samples[role] = part < needs ? 0 : (part - needs) / stride + 1;
        if (share[role - 1] > 0 && dataset->info.samples[role] == 0)
            return fb__fail(err, FB_E_DATA, FB_NO_OFFSET,
                            "%s: too small: the %s part has %llu of %llu %s, one sample needs %llu",
                            config->path, fb_role_name((fb_role)role), (unsigned long long)part,
                            (unsigned long long)items, needs > 1 ? "tokens" : "samples",
                            (unsigned long long)needs);
        begin = end[role - 1];
    }
    return FB_OK;
}

/* --- Opening ---------------------------------------------------------------------------------- */

/* Copies of the paths, one after the other, so that the dataset outlives its configuration. */
static bool copy_paths(fb_dataset *dataset, const fb_data_config *config)
{
    const size_t first = strlen(config->path) + 1;
    const size_t second = config->labels == NULL ? 0 : strlen(config->labels) + 1;
    const char *slash;

    dataset->text = malloc(first + second);
    if (dataset->text == NULL)
        return false;
    memcpy(dataset->text, config->path, first);
    dataset->files[0].path = dataset->text;
    dataset->info.file_count = 1;
    if (second > 0) {
        memcpy(dataset->text + first, config->labels, second);
        dataset->files[1].path = dataset->text + first;
        dataset->info.file_count = 2;
    }
    slash = strrchr(dataset->text, '/');
    dataset->info.name = slash == NULL ? dataset->text : slash + 1;
    dataset->info.files = dataset->files;
    return true;
}

static fb_status open_format(fb_dataset *dataset, const fb_data_config *config, fb_error *err)
{
    switch (config->type) {
    case FB_DATA_TEXT:
        return fb__data_open_text(dataset, config, err);
    case FB_DATA_TOKENS:
        return fb__data_open_tokens(dataset, config, err);
    case FB_DATA_IDX:
        return fb__data_open_idx(dataset, config, err);
    case FB_DATA_NPY:
        return fb__data_open_npy(dataset, config, err);
    }
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: unknown kind of data", config->path);
}

fb_status fb_dataset_open(fb_dataset **out, const fb_data_config *config, const char *folder,
                          fb_error *err)
{
    fb_dataset *dataset = calloc(1, sizeof *dataset);
    fb_status status = FB_OK;

    if (dataset == NULL || !copy_paths(dataset, config))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", config->path);
    for (size_t i = 0; status == FB_OK && i < dataset->info.file_count; i++) {
        fb_data_file *file = &dataset->files[i];

        status = fb__file_read(&dataset->contents[i], file->path, folder, err);
        file->hash = dataset->contents[i].hash;
        file->bytes = dataset->contents[i].count;
        if (status == FB_OK && file->bytes == 0)
            status = fb__fail(err, FB_E_DATA, 0, "%s: empty", file->path);
    }
    if (status == FB_OK)
        status = open_format(dataset, config, err);
    if (status != FB_OK) {
        fb_dataset_close(dataset);
        return status;
    }
    *out = dataset;
    return FB_OK;
}

void fb_dataset_close(fb_dataset *dataset)
{
    if (dataset == NULL)
        return;
    for (size_t i = 0; i < 2; i++)
        fb__file_free(&dataset->contents[i]);
    free(dataset->text);
    free(dataset);
}

/* --- Samples ---------------------------------------------------------------------------------- */

const fb_dataset_info *fb_dataset_get_info(const fb_dataset *dataset)
{
    return &dataset->info;
}

void fb_dataset_sample(const fb_dataset *dataset, fb_role role, uint64_t index, void *input,
                       void *target)
{
    assert(role >= FB_ROLE_TRAIN && role <= FB_ROLE_TEST && index < dataset->info.samples[role]);
    dataset->copy(dataset, dataset->first[role] + index * dataset->stride, input, target);
}
