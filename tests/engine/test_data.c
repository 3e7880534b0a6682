/* SPDX-License-Identifier: Apache-2.0
 *
 * test_data.c - text and token shards: what a sample holds, how roles share the file, and what is
 * said about files that are damaged or do not fit.
 */
#include "engine/data/data.h"

#include "base/hash.h"
#include "data_cases.h"

static fb_data_config text_config(const char *path, int64_t context)
{
    return (fb_data_config){.type = FB_DATA_TEXT,
                            .path = path,
                            .context = context,
                            .split = {0.75, 0.25, 0},
                            .ignore_index = -100};
}

/* --- Text ------------------------------------------------------------------------------------- */

static void text_gives_windows_that_do_not_overlap(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    /* Vocabulary "abcd" -> 0..3. */
    const char *path = scratch_write(&s, "t.txt", "abcdabcdabcddcba", 16);
    fb_data_config config = text_config(path, 4);
    fb_dataset *dataset;
    const fb_dataset_info *info;
    static const uint32_t want_input[2][4] = {{0, 1, 2, 3}, {0, 1, 2, 3}};
    static const int32_t want_target[2][4] = {{1, 2, 3, 0}, {1, 2, 3, 0}};
    uint32_t input[4];
    int32_t target[4];
    uint64_t bytes;
    fb_hash hash;

    config.split[0] = 0.6; /* 9 bytes of train, 7 of val, of which one sample is made */
    config.split[1] = 0.4;
    dataset = opened(&config);
    info = fb_dataset_get_info(dataset);
    assert_int_equal(info->input_dtype, FB_DTYPE_U32);
    assert_int_equal(info->target_dtype, FB_DTYPE_I32);
    assert_int_equal(info->input_rank, 1);
    assert_int_equal(info->target_rank, 1);
    assert_int_equal(info->input_shape[0], 4);
    assert_int_equal(info->target_shape[0], 4);
    assert_int_equal(info->classes, 4);
    assert_int_equal(info->samples[FB_ROLE_UNKNOWN], 0);
    assert_int_equal(info->samples[FB_ROLE_TRAIN], 2);
    assert_int_equal(info->samples[FB_ROLE_VAL], 1);
    assert_int_equal(info->samples[FB_ROLE_TEST], 0);
    assert_string_equal(info->name, "t.txt");
    assert_int_equal(info->file_count, 1);
    assert_string_equal(info->files[0].path, path);
    assert_int_equal(fb_hash_file(&hash, &bytes, path, NULL), FB_OK);
    assert_true(fb_hash_equal(hash, info->files[0].hash));
    assert_int_equal(info->files[0].bytes, bytes);
    for (uint64_t i = 0; i < 2; i++) {
        fb_dataset_sample(dataset, FB_ROLE_TRAIN, i, input, target);
        assert_memory_equal(input, want_input[i], sizeof input);
        assert_memory_equal(target, want_target[i], sizeof target);
    }
    fb_dataset_sample(dataset, FB_ROLE_VAL, 0, input, target); /* bytes 9..12: "bcdd", then "c" */
    assert_memory_equal(input, ((uint32_t[]){1, 2, 3, 3}), sizeof input);
    assert_memory_equal(target, ((int32_t[]){2, 3, 3, 2}), sizeof target);
    fb_dataset_close(dataset);
    scratch_close(&s);
}

/* (part - 1)/T samples: every target is inside its own part. */
static void no_window_reaches_into_another_part(void **state)
{
    (void)state;
    scratch s;
    uint8_t bytes[100];
    scratch_open(&s);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i; /* byte = token = place */
    const char *path = scratch_write(&s, "t", bytes, sizeof bytes);

    for (int64_t context = 1; context <= 9; context++)
        for (int tenths = 1; tenths <= 8; tenths++) {
            fb_data_config config = text_config(path, context);
            uint32_t input[9];
            int32_t target[9];
            fb_dataset *dataset;
            const fb_dataset_info *info;
            const uint64_t ends[4] = {0, (uint64_t)(tenths / 10.0 * 100),
                                      (uint64_t)((tenths / 10.0 + 0.1) * 100), 100};

            config.split[0] = tenths / 10.0;
            config.split[1] = 0.1;
            config.split[2] = 0.9 - tenths / 10.0;
            dataset = context < 9 || tenths < 8 ? opened(&config) : NULL;
            if (dataset == NULL)
                continue;
            info = fb_dataset_get_info(dataset);
            for (int role = FB_ROLE_TRAIN; role <= FB_ROLE_TEST; role++) {
                const uint64_t part = ends[role] - ends[role - 1];

                assert_int_equal(info->samples[role], (part - 1) / (uint64_t)context);
                for (uint64_t i = 0; i < info->samples[role]; i++) {
                    fb_dataset_sample(dataset, (fb_role)role, i, input, target);
                    assert_int_equal(input[0], ends[role - 1] + i * (uint64_t)context);
                    for (int64_t t = 0; t < context; t++)
                        assert_int_equal(target[t], (int)input[0] + t + 1);
                    assert_in_range(target[context - 1], ends[role - 1], ends[role] - 1);
                }
            }
            fb_dataset_close(dataset);
        }
    scratch_close(&s);
}

/* Shares may miss 1 by a rounding; no token is lost to that. */
static void the_last_part_reaches_the_end(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    fb_data_config config = text_config(scratch_write(&s, "t", "abcdabcdabcdabcde", 17), 8);
    fb_dataset *dataset;

    config.split[0] = 0.5; /* 8 tokens, 9 tokens: one sample needs all of them */
    config.split[1] = 0.4999999999;
    config.context = 7;
    dataset = opened(&config);
    assert_int_equal(fb_dataset_get_info(dataset)->samples[FB_ROLE_TRAIN], 1);
    fb_dataset_close(dataset);
    config.split[0] = 0;
    config.split[1] = 0.9999999999;
    config.context = 16;
    dataset = opened(&config);
    assert_int_equal(fb_dataset_get_info(dataset)->samples[FB_ROLE_TRAIN], 0);
    assert_int_equal(fb_dataset_get_info(dataset)->samples[FB_ROLE_VAL], 1);
    fb_dataset_close(dataset);
    scratch_close(&s);
}

static void text_that_cannot_be_used_is_refused(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    fb_data_config config = text_config(scratch_path(&s, "none"), 4);

    expect_refused(&s, &config, FB_E_NOT_FOUND, "@/none: No such file or directory");
    config.path = s.folder;
    expect_refused(&s, &config, FB_E_IO, "@: not a regular file");
    config.path = scratch_write(&s, "empty", "", 0);
    expect_refused(&s, &config, FB_E_DATA, "@/empty: empty");
    config.path = scratch_write(&s, "short", "abcdabcd", 8);
    expect_refused(&s, &config, FB_E_DATA,
                   "@/short: too small: the val part has 2 of 8 tokens, one sample needs 5");
    config.split[0] = 1;
    config.split[1] = 0;
    fb_dataset_close(opened(&config)); /* a part without a share may be empty */
    config.context = 8;
    expect_refused(&s, &config, FB_E_DATA,
                   "@/short: too small: the train part has 8 of 8 tokens, one sample needs 9");
    assert_int_equal(mkfifo(scratch_path(&s, "fifo"), 0600), 0);
    config.path = scratch_path(&s, "fifo");
    expect_refused(&s, &config, FB_E_IO, "@/fifo: not a regular file");
    scratch_close(&s);
}

static void a_relative_path_is_also_looked_for_beside_the_configuration(void **state)
{
    (void)state;
    scratch s;
    fb_error err;
    fb_dataset *dataset;
    scratch_open(&s);
    (void)scratch_write(&s, "firstbit-beside.txt", "abcdabcdabcd", 12);
    fb_data_config config = text_config("firstbit-beside.txt", 1);

    assert_int_equal(fb_dataset_open(&dataset, &config, s.folder, &err), FB_OK);
    assert_string_equal(fb_dataset_get_info(dataset)->files[0].path, "firstbit-beside.txt");
    fb_dataset_close(dataset);
    assert_int_equal(fb_dataset_open(&dataset, &config, NULL, &err), FB_E_NOT_FOUND);
    assert_string_equal(err.text, "firstbit-beside.txt: No such file or directory");
    config.path = "/firstbit-beside.txt";
    assert_int_equal(fb_dataset_open(&dataset, &config, s.folder, &err), FB_E_NOT_FOUND);
    scratch_close(&s);
}

/* --- Token shards ----------------------------------------------------------------------------- */

typedef struct shard {
    int32_t header[256];
    uint16_t tokens[10];
} shard;

static shard good_shard(void)
{
    shard file = {.header = {20240520, 1, 10}};

    for (uint16_t i = 0; i < 10; i++)
        file.tokens[i] = (uint16_t)(50000 + i);
    return file;
}

static fb_data_config shard_config(const char *path)
{
    return (fb_data_config){.type = FB_DATA_TOKENS,
                            .path = path,
                            .context = 3,
                            .vocab = 50257,
                            .split = {0.5, 0.5, 0},
                            .ignore_index = -100};
}

static void token_shards_give_their_tokens(void **state)
{
    (void)state;
    scratch s;
    uint32_t input[3];
    int32_t target[3];
    const shard file = good_shard();
    scratch_open(&s);
    fb_data_config config = shard_config(scratch_write(&s, "a.bin", &file, sizeof file));
    fb_dataset *dataset = opened(&config);
    const fb_dataset_info *info = fb_dataset_get_info(dataset);

    assert_int_equal(info->classes, 50257);
    assert_int_equal(info->samples[FB_ROLE_TRAIN], 1);
    assert_int_equal(info->samples[FB_ROLE_VAL], 1);
    fb_dataset_sample(dataset, FB_ROLE_VAL, 0, input, target);
    assert_memory_equal(input, ((uint32_t[]){50005, 50006, 50007}), sizeof input);
    assert_memory_equal(target, ((int32_t[]){50006, 50007, 50008}), sizeof target);
    fb_dataset_close(dataset);
    scratch_close(&s);
}

static void damaged_token_shards_are_refused(void **state)
{
    (void)state;
    scratch s;
    shard file = good_shard();
    struct {
        shard file;
        uint8_t more;
    } longer = {file, 0};
    scratch_open(&s);
    fb_data_config config = shard_config(scratch_write(&s, "a", &file, 1023));

    expect_refused(&s, &config, FB_E_DATA,
                   "@/a: 1023 bytes are less than the header of a token shard (1024)");
    config.path = scratch_write(&s, "b", &file, sizeof file - 1);
    expect_refused(&s, &config, FB_E_DATA,
                   "@/b: the header counts 10 tokens, 19 bytes of tokens follow");
    config.path = scratch_write(&s, "g", &longer, sizeof file + 1);
    expect_refused(&s, &config, FB_E_DATA,
                   "@/g: the header counts 10 tokens, 21 bytes of tokens follow");
    file.header[2] = -1;
    config.path = scratch_write(&s, "c", &file, sizeof file);
    expect_refused(&s, &config, FB_E_DATA,
                   "@/c: the header counts -1 tokens, 20 bytes of tokens follow");
    file.header[2] = 10;
    file.header[1] = 7;
    config.path = scratch_write(&s, "d", &file, sizeof file);
    expect_refused(&s, &config, FB_E_DATA, "@/d: version 7 of the token shard format, expected 1");
    file.header[0] = 20240801;
    config.path = scratch_write(&s, "e", &file, sizeof file);
    expect_refused(&s, &config, FB_E_DATA,
                   "@/e: not a token shard: starts with 20240801, not with 20240520");
    file = good_shard();
    file.tokens[7] = 50257;
    config.path = scratch_write(&s, "f", &file, sizeof file);
    expect_refused(&s, &config, FB_E_DATA, "@/f: token 7 is 50257, not below vocab = 50257");
    scratch_close(&s);
}

/* --- Damage ----------------------------------------------------------------------------------- */

static void damaged_shards_are_refused_or_read_whole(void **state)
{
    (void)state;
    const shard tokens = good_shard();
    uint8_t bytes[sizeof tokens];
    uint64_t random = 7;
    scratch s;
    scratch_open(&s);
    const fb_data_config config = shard_config(scratch_path(&s, "damaged"));

    for (int n = 0; n < 2000; n++) {
        memcpy(bytes, &tokens, sizeof tokens);
        (void)scratch_write(&s, "damaged", bytes, scratch_mutate(bytes, sizeof bytes, &random));
        open_and_copy_all(&config);
    }
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_gives_windows_that_do_not_overlap),
        cmocka_unit_test(no_window_reaches_into_another_part),
        cmocka_unit_test(the_last_part_reaches_the_end),
        cmocka_unit_test(text_that_cannot_be_used_is_refused),
        cmocka_unit_test(a_relative_path_is_also_looked_for_beside_the_configuration),
        cmocka_unit_test(token_shards_give_their_tokens),
        cmocka_unit_test(damaged_token_shards_are_refused),
        cmocka_unit_test(damaged_shards_are_refused_or_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
