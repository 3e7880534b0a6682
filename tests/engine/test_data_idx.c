/* SPDX-License-Identifier: Apache-2.0
 *
 * test_data_idx.c - IDX files, plain and gzip: values, shapes, damage, decompression bombs.
 */
#include "engine/data/data.h"

#define ZLIB_CONST
#include <zlib.h>

#include "base/hash.h"
#include "data_cases.h"

/* Four images of 2 × 3 pixels 0, 10, 20, ... and their labels. */
static const uint8_t IMAGES[16 + 24] = {
    0,  0,  8,  3,  0,  0,  0,   4,   0,   0,   0,   2,   0,   0,   0,   3,   0,   10,  20,  30,
    40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200, 210, 220, 255};
static const uint8_t LABELS[8 + 4] = {0, 0, 8, 1, 0, 0, 0, 4, 3, 0, 7, 1};

static void idx_images_are_scaled_as_configured(void **state)
{
    (void)state;
    scratch s;
    float input[6];
    int32_t target;
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_IDX, scratch_write(&s, "images", IMAGES, sizeof IMAGES),
                    scratch_write(&s, "labels", LABELS, sizeof LABELS));
    const float mean = (float)(config.mean = 0.1307), std = (float)(config.std = 0.3081);
    fb_dataset *dataset = opened(&config);
    const fb_dataset_info *info = fb_dataset_get_info(dataset);

    assert_int_equal(info->input_dtype, FB_DTYPE_F32);
    assert_int_equal(info->input_rank, 3);
    assert_int_equal(info->input_shape[0], 1);
    assert_int_equal(info->input_shape[1], 2);
    assert_int_equal(info->input_shape[2], 3);
    assert_int_equal(info->target_dtype, FB_DTYPE_I32);
    assert_int_equal(info->target_rank, 0);
    assert_int_equal(info->classes, 8);
    assert_int_equal(info->samples[FB_ROLE_TRAIN], 2);
    assert_int_equal(info->samples[FB_ROLE_VAL], 2);
    assert_int_equal(info->file_count, 2);
    for (uint64_t i = 0; i < 2; i++) {
        fb_dataset_sample(dataset, FB_ROLE_VAL, i, input, &target);
        assert_int_equal(target, LABELS[8 + 2 + i]);
        for (size_t p = 0; p < 6; p++) {
            volatile float x = (float)IMAGES[16 + (2 + i) * 6 + p] / 255.0f;
            x = x - mean;
            x = x / std;
            assert_true(input[p] == x);
        }
    }
    fb_dataset_close(dataset);
    scratch_close(&s);
}

static size_t gzip_of(uint8_t *out, size_t room, const uint8_t *bytes, size_t count)
{
    z_stream z = {0};
    size_t made;

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = bytes;
    z.avail_in = (uInt)count;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    made = z.total_out;
    assert_int_equal(deflateEnd(&z), Z_OK);
    return made;
}

static void gzip_changes_no_sample(void **state)
{
    (void)state;
    scratch s;
    uint8_t packed[256];
    float plain_input[6], input[6];
    int32_t plain_target, target;
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_IDX, scratch_write(&s, "images", IMAGES, sizeof IMAGES),
                    scratch_write(&s, "labels", LABELS, sizeof LABELS));
    fb_dataset *plain = opened(&config), *dataset;

    size_t count = gzip_of(packed, sizeof packed, IMAGES, sizeof IMAGES);
    config.path = scratch_write(&s, "images.gz", packed, count);
    count = gzip_of(packed, sizeof packed, LABELS, sizeof LABELS);
    config.labels = scratch_write(&s, "labels.gz", packed, count);
    dataset = opened(&config);
    for (uint64_t i = 0; i < 2; i++) {
        fb_dataset_sample(plain, FB_ROLE_TRAIN, i, plain_input, &plain_target);
        fb_dataset_sample(dataset, FB_ROLE_TRAIN, i, input, &target);
        assert_memory_equal(input, plain_input, sizeof input);
        assert_int_equal(target, plain_target);
    }
    /* The hash is that of the file, so it differs from the plain one's. */
    assert_false(fb_hash_equal(fb_dataset_get_info(dataset)->files[0].hash,
                               fb_dataset_get_info(plain)->files[0].hash));
    assert_int_equal(fb_dataset_get_info(dataset)->files[1].bytes, count);
    fb_dataset_close(plain);
    fb_dataset_close(dataset);
    scratch_close(&s);
}

/* Writes a changed copy of IMAGES and expects it to be refused. */
static void expect_image_refused(scratch *s, fb_data_config *config, size_t at, uint8_t value,
                                 size_t count, const char *want)
{
    uint8_t bytes[sizeof IMAGES + 1] = {0};

    memcpy(bytes, IMAGES, sizeof IMAGES);
    if (at < sizeof IMAGES)
        bytes[at] = value;
    config->path = scratch_write(s, "i", bytes, count);
    expect_refused(s, config, FB_E_DATA, want);
}

static void damaged_idx_files_are_refused(void **state)
{
    (void)state;
    enum { NONE = 1000, ALL = sizeof IMAGES };
    scratch s;
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_IDX, NULL, scratch_write(&s, "labels", LABELS, sizeof LABELS));

    expect_image_refused(&s, &config, NONE, 0, 3, "@/i: not an IDX file");
    expect_image_refused(&s, &config, 0, 1, ALL, "@/i: not an IDX file");
    expect_image_refused(&s, &config, 2, 13, ALL,
                         "@/i: elements of IDX type 0x0d, expected 0x08 (unsigned bytes)");
    expect_image_refused(&s, &config, 3, 0, ALL, "@/i: rank 0, expected 1 to 4");
    expect_image_refused(&s, &config, 3, 5, ALL, "@/i: rank 5, expected 1 to 4");
    expect_image_refused(&s, &config, NONE, 0, 15, "@/i: ends in its header");
    expect_image_refused(&s, &config, 11, 0, ALL, "@/i: dimension 1 is 0");
    expect_image_refused(&s, &config, NONE, 0, ALL - 1,
                         "@/i: the header counts 24 elements, 23 bytes follow");
    expect_image_refused(&s, &config, NONE, 0, ALL + 1,
                         "@/i: the header counts 24 elements, 25 bytes follow");
    expect_image_refused(&s, &config, 4, 255, ALL,
                         "@/i: the header counts 25669140504 elements, 24 bytes follow");
    expect_image_refused(&s, &config, 7, 3, ALL - 6, "@/labels: 4 labels for 3 images");
    expect_image_refused(&s, &config, 3, 1, 12, "@/i: rank 1, expected images of rank 2 to 4");
    config.path = scratch_write(&s, "images", IMAGES, sizeof IMAGES);
    config.labels = config.path;
    expect_refused(&s, &config, FB_E_DATA, "@/images: rank 3, expected labels of rank 1");
    config.labels = scratch_write(&s, "same", "\0\0\10\1\0\0\0\4\5\5\5\5", 12);
    config.ignore_index = 5;
    expect_refused(&s, &config, FB_E_DATA, "@/same: every label is ignored (5)");
    scratch_close(&s);
}

static void dimensions_that_overflow_are_refused(void **state)
{
    (void)state;
    uint8_t huge[20] = {0, 0, 8, 4};
    scratch s;
    scratch_open(&s);
    memset(huge + 4, 255, 16);
    fb_data_config config =
        pair_config(FB_DATA_IDX, scratch_write(&s, "huge", huge, sizeof huge), "none");

    config.labels = scratch_write(&s, "labels", LABELS, sizeof LABELS);
    expect_refused(&s, &config, FB_E_DATA, "@/huge: dimensions overflow");
    scratch_close(&s);
}

static void damaged_gzip_files_are_refused(void **state)
{
    (void)state;
    scratch s;
    uint8_t packed[300], bytes[sizeof IMAGES + 8] = {0};
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_IDX, NULL, scratch_write(&s, "labels", LABELS, sizeof LABELS));
    const size_t count = gzip_of(packed, sizeof packed, IMAGES, sizeof IMAGES);

    config.path = scratch_write(&s, "cut", packed, count - 1);
    expect_refused(&s, &config, FB_E_DATA, "@/cut: gzip stream ends early");
    packed[count - 5] ^= 1; /* in the CRC */
    config.path = scratch_write(&s, "crc", packed, count);
    expect_refused(&s, &config, FB_E_DATA, "@/crc: gzip stream is damaged");
    packed[count - 5] ^= 1;
    packed[count] = 0;
    config.path = scratch_write(&s, "more", packed, count + 1);
    expect_refused(&s, &config, FB_E_DATA, "@/more: gzip stream is followed by further bytes");
    config.path = scratch_write(&s, "head", packed, 5);
    expect_refused(&s, &config, FB_E_DATA, "@/head: gzip stream ends early");

    memcpy(bytes, IMAGES, sizeof IMAGES);
    config.path =
        scratch_write(&s, "long", packed, gzip_of(packed, sizeof packed, bytes, sizeof IMAGES + 1));
    expect_refused(&s, &config, FB_E_DATA,
                   "@/long: gzip stream holds more data than the IDX header says");
    config.path =
        scratch_write(&s, "less", packed, gzip_of(packed, sizeof packed, bytes, sizeof IMAGES - 1));
    expect_refused(&s, &config, FB_E_DATA,
                   "@/less: gzip stream holds less data than the IDX header says");
    scratch_close(&s);
}

/* A header that claims terabytes is refused before memory is asked for, and a stream of a gigabyte
 * of zeros is not unpacked beyond what its header says. */
static void decompression_bombs_are_refused(void **state)
{
    (void)state;
    enum { ZEROS = 4 << 20 };
    scratch s;
    uint8_t *zeros = calloc(1, ZEROS), *packed = malloc(65536);
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_IDX, NULL, scratch_write(&s, "labels", LABELS, sizeof LABELS));

    assert_non_null(zeros);
    assert_non_null(packed);
    memcpy(zeros, ((uint8_t[]){0, 0, 8, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}), 16);
    config.path = scratch_write(&s, "claims", packed, gzip_of(packed, 65536, zeros, ZEROS));
    expect_refused(&s, &config, FB_E_DATA,
                   "@/claims: the header claims more than the file can hold");
    memcpy(zeros, IMAGES, 16);
    config.path = scratch_write(&s, "bomb", packed, gzip_of(packed, 65536, zeros, ZEROS));
    expect_refused(&s, &config, FB_E_DATA,
                   "@/bomb: gzip stream holds more data than the IDX header says");
    free(zeros);
    free(packed);
    scratch_close(&s);
}

/* --- Damage ----------------------------------------------------------------------------------- */

static void damaged_idx_files_are_refused_or_read_whole(void **state)
{
    (void)state;
    uint8_t packed[300], bytes[300];
    uint64_t random = 99;
    scratch s;
    scratch_open(&s);
    const fb_data_config config = pair_config(FB_DATA_IDX, scratch_path(&s, "damaged"),
                                              scratch_write(&s, "labels", LABELS, sizeof LABELS));
    const size_t count = gzip_of(packed, sizeof packed, IMAGES, sizeof IMAGES);

    for (int n = 0; n < 4000; n++) {
        const bool plain = n % 2 == 0;
        const size_t size = plain ? sizeof IMAGES : count;

        memcpy(bytes, plain ? IMAGES : packed, size);
        (void)scratch_write(&s, "damaged", bytes, scratch_mutate(bytes, size, &random));
        open_and_copy_all(&config);
    }
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idx_images_are_scaled_as_configured),
        cmocka_unit_test(gzip_changes_no_sample),
        cmocka_unit_test(damaged_idx_files_are_refused),
        cmocka_unit_test(dimensions_that_overflow_are_refused),
        cmocka_unit_test(damaged_gzip_files_are_refused),
        cmocka_unit_test(decompression_bombs_are_refused),
        cmocka_unit_test(damaged_idx_files_are_refused_or_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
