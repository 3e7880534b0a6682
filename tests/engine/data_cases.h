/* SPDX-License-Identifier: Apache-2.0
 *
 * data_cases.h - what the tests of data formats share.
 */
#ifndef FB_TESTS_ENGINE_DATA_CASES_H
#define FB_TESTS_ENGINE_DATA_CASES_H

#include "engine/data/data.h"

#include "scratch.h"

/* IDX or .npy, half of it train, half val. */
static inline fb_data_config pair_config(fb_data_type type, const char *inputs, const char *targets)
{
    return (fb_data_config){.type = type,
                            .path = inputs,
                            .labels = targets,
                            .split = {0.5, 0.5, 0},
                            .std = 1,
                            .ignore_index = -100};
}

static inline fb_dataset *opened(const fb_data_config *config)
{
    fb_dataset *dataset;
    fb_error err;

    if (fb_dataset_open(&dataset, config, NULL, &err) != FB_OK)
        fail_msg("%s", err.text);
    return dataset;
}

/* Expects a refusal; '@' in `want` stands for the scratch folder. */
static inline void expect_refused(scratch *s, const fb_data_config *config, fb_status status,
                                  const char *want)
{
    fb_dataset *dataset = NULL;
    fb_error err;

    assert_int_equal(fb_dataset_open(&dataset, config, NULL, &err), status);
    assert_null(dataset);
    scratch_expect_text(s, err.text, want);
    assert_int_equal(fb_dataset_open(&dataset, config, NULL, NULL), status);
}

/* Opens a damaged file; where that succeeds, every sample can be copied. */
static inline void open_and_copy_all(const fb_data_config *config)
{
    fb_dataset *dataset;
    fb_error err = {.text = ""};
    const fb_dataset_info *info;
    uint64_t inputs = 1, targets = 1;
    void *input, *target;

    if (fb_dataset_open(&dataset, config, NULL, &err) != FB_OK) {
        assert_true(err.text[0] == '/');
        return;
    }
    info = fb_dataset_get_info(dataset);
    for (uint32_t i = 0; i < info->input_rank; i++)
        inputs *= info->input_shape[i];
    for (uint32_t i = 0; i < info->target_rank; i++)
        targets *= info->target_shape[i];
    input = malloc(4 * inputs); /* exactly, so that a sanitizer sees one element too many */
    target = malloc(4 * targets);
    assert_true(input != NULL && target != NULL);
    for (int role = FB_ROLE_TRAIN; role <= FB_ROLE_TEST; role++)
        for (uint64_t i = 0; i < info->samples[role]; i++)
            fb_dataset_sample(dataset, (fb_role)role, i, input, target);
    free(input);
    free(target);
    fb_dataset_close(dataset);
}

#endif
