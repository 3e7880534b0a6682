/* SPDX-License-Identifier: Apache-2.0
 *
 * data.h - datasets: text as bytes, GPT-2 token shards, IDX, .npy; samples by index and by role.
 *
 * Sequence data gives windows that do not overlap: sample i of a role is tokens [i·T, i·T + T] of
 * its part, the last T of them shifted by one are the targets. Reference: docs/configuration.md,
 * "data".
 */
#ifndef FB_ENGINE_DATA_DATA_H
#define FB_ENGINE_DATA_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "engine/config/config.h"
#include "firstbit/event.h"
#include "firstbit/status.h"

typedef struct fb_dataset fb_dataset;

/* A file that the data was read from. */
typedef struct fb_data_file {
    const char *path; /* as configured */
    fb_hash hash;     /* of its bytes on disk */
    uint64_t bytes;
} fb_data_file;

/* Shapes of one sample. Inputs are tokens (u32, input_rank 1) or float32; targets are classes (i32)
 * or float32. */
typedef struct fb_dataset_info {
    fb_dtype input_dtype; /* FB_DTYPE_U32 or FB_DTYPE_F32 */
    uint32_t input_rank;
    uint64_t input_shape[FB_RANK_MAX]; /* tokens: {T}; images: {C,H,W} */
    fb_dtype target_dtype;             /* FB_DTYPE_I32 or FB_DTYPE_F32 */
    uint32_t target_rank;              /* 0: one class a sample */
    uint64_t target_shape[FB_RANK_MAX];
    uint64_t classes;    /* vocabulary, or number of classes (largest label + 1); 0: float inputs
                          * and targets */
    uint64_t samples[4]; /* by fb_role; [FB_ROLE_UNKNOWN] is 0 */
    const char *name;    /* for sample events: the configured path's last component */
    const fb_data_file *files;
    size_t file_count;
} fb_dataset_info;

/*
 * Opens the data of a configuration and checks all of it: a token or label out of range is found
 * now.
 *
 *   folder  where a relative path that does not exist from the working directory is also looked for
 *           (the folder of the configuration or trace); NULL: nowhere else
 *
 * FB_E_NOT_FOUND, FB_E_IO, FB_E_MEMORY
 * FB_E_DATA   empty, truncated, wrong magic or dtype, counts that do not match, label out of range,
 *             too small for one sample of a role with a share; the line names file and offset
 */
FB_NODISCARD fb_status fb_dataset_open(fb_dataset **out, const fb_data_config *config,
                                       const char *folder, fb_error *err);
void fb_dataset_close(fb_dataset *dataset); /* NULL is fine */

const fb_dataset_info *fb_dataset_get_info(const fb_dataset *dataset);

/* Copies sample `index` (below samples[role]) to input and target, laid out as info says. */
void fb_dataset_sample(const fb_dataset *dataset, fb_role role, uint64_t index, void *input,
                       void *target);

#endif
