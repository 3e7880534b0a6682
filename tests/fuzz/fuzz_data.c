/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_data.c - any files as training data: text, tokens, IDX (gzip too) and npy. The first byte
 * says which, the next two where the second file begins.
 */
#include <stdlib.h>

#include "engine/data/data.h"
#include "tests/fuzz/fuzz.h"

static size_t bytes_of(fb_dtype dtype, uint32_t rank, const uint64_t *shape)
{
    size_t bytes = fb_dtype_bytes(dtype);

    for (uint32_t i = 0; i < rank; i++)
        bytes *= (size_t)shape[i];
    return bytes;
}

/* First and last sample of each role. */
static void take_samples(const fb_dataset *dataset)
{
    const fb_dataset_info *info = fb_dataset_get_info(dataset);
    const size_t input = bytes_of(info->input_dtype, info->input_rank, info->input_shape);
    const size_t target = bytes_of(info->target_dtype, info->target_rank, info->target_shape);
    void *to_input = malloc(input + 1), *to_target = malloc(target + 1);

    for (int role = FB_ROLE_TRAIN; role <= FB_ROLE_TEST && to_input && to_target; role++)
        if (info->samples[role] > 0) {
            fb_dataset_sample(dataset, (fb_role)role, 0, to_input, to_target);
            fb_dataset_sample(dataset, (fb_role)role, info->samples[role] - 1, to_input, to_target);
        }
    free(to_input);
    free(to_target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fb_data_config config = {.context = 4, .vocab = 512, .split = {0.5, 0.25, 0.25}, .std = 1};
    fb_dataset *dataset;
    size_t second;

    if (size < 3)
        return 0;
    config.type = (fb_data_type)(data[0] % 4);
    second = (size_t)data[1] | (size_t)data[2] << 8;
    data += 3;
    size -= 3;
    second = second < size ? second : size;
    config.path = fuzz_file(0, data, second);
    config.labels = fuzz_file(1, data + second, size - second);
    if (fb_dataset_open(&dataset, &config, NULL, NULL) != FB_OK)
        return 0;
    take_samples(dataset);
    fb_dataset_close(dataset);
    return 0;
}
