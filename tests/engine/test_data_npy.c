/* SPDX-License-Identifier: Apache-2.0
 *
 * test_data_npy.c - .npy files as inputs and targets: values, types, headers that do not fit.
 */
#include "engine/data/data.h"

#include "data_cases.h"

/* Writes a version 1 file with this dictionary and data. */
static const char *npy(scratch *s, const char *name, const char *dictionary, const void *data,
                       size_t bytes)
{
    uint8_t file[1024];
    const uint16_t length = (uint16_t)(strlen(dictionary) + 1);

    memcpy(file, "\x93NUMPY\1\0", 8);
    memcpy(file + 8, &length, 2);
    memcpy(file + 10, dictionary, length - 1u);
    file[10 + length - 1] = '\n';
    memcpy(file + 10 + length, data, bytes);
    return scratch_write(s, name, file, 10u + length + bytes);
}

#define NPY(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }"

static void npy_arrays_give_rows(void **state)
{
    (void)state;
    const float inputs[4][2][3] = {
        {{0, 1, 2}, {3, 4, 5}}, {{6, 7, 8}, {9, 10, 11}}, {{12}}, {{-0.0f}}};
    const int64_t classes[4] = {2, -100, 0, 5};
    const float values[4] = {0.5f, -1, 2, 3};
    float input[6];
    int32_t class;
    float value;
    scratch s;
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_NPY, npy(&s, "x.npy", NPY("<f4", "(4, 2, 3)"), inputs, sizeof inputs),
                    npy(&s, "y.npy", NPY("<i8", "(4,)"), classes, sizeof classes));
    fb_dataset *dataset = opened(&config);
    const fb_dataset_info *info = fb_dataset_get_info(dataset);

    assert_int_equal(info->input_rank, 2);
    assert_int_equal(info->input_shape[0], 2);
    assert_int_equal(info->input_shape[1], 3);
    assert_int_equal(info->target_rank, 0);
    assert_int_equal(info->target_dtype, FB_DTYPE_I32);
    assert_int_equal(info->classes, 6);
    fb_dataset_sample(dataset, FB_ROLE_TRAIN, 1, input, &class);
    assert_memory_equal(input, inputs[1], sizeof input);
    assert_int_equal(class, -100); /* the loss ignores it */
    fb_dataset_close(dataset);

    config.labels = npy(&s, "v.npy", NPY("<f4", "(4, 1)"), values, sizeof values);
    dataset = opened(&config);
    info = fb_dataset_get_info(dataset);
    assert_int_equal(info->target_dtype, FB_DTYPE_F32);
    assert_int_equal(info->target_rank, 1);
    assert_int_equal(info->classes, 0);
    fb_dataset_sample(dataset, FB_ROLE_VAL, 1, input, &value);
    assert_true(value == 3);
    assert_memory_equal(input, inputs[3], sizeof input);
    fb_dataset_close(dataset);
    scratch_close(&s);
}

static void npy_integers_are_tokens(void **state)
{
    (void)state;
    const uint8_t inputs[2][3] = {{0, 200, 2}, {3, 4, 5}};
    const int32_t targets[2][3] = {{200, 2, 250}, {4, 5, -100}};
    uint32_t input[3];
    int32_t target[3];
    scratch s;
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_NPY, npy(&s, "x", NPY("|u1", "(2, 3)"), inputs, sizeof inputs),
                    npy(&s, "y", NPY("<i4", "(2, 3,)"), targets, sizeof targets));
    fb_dataset *dataset = opened(&config);

    assert_int_equal(fb_dataset_get_info(dataset)->input_dtype, FB_DTYPE_U32);
    assert_int_equal(fb_dataset_get_info(dataset)->classes, 251);
    fb_dataset_sample(dataset, FB_ROLE_TRAIN, 0, input, target);
    assert_memory_equal(input, ((uint32_t[]){0, 200, 2}), sizeof input);
    assert_memory_equal(target, targets[0], sizeof target);
    fb_dataset_sample(dataset, FB_ROLE_VAL, 0, input, target);
    assert_memory_equal(target, targets[1], sizeof target);
    fb_dataset_close(dataset);
    scratch_close(&s);
}

static void npy_headers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dictionary, *message;
    } bad[] = {
        {NPY("<f8", "(2, 2)"), "dtype <f8, expected <f4, <i4, <i8 or |u1"},
        {NPY(">f4", "(2, 2)"), "dtype >f4, expected <f4, <i4, <i8 or |u1"},
        {NPY("<f4", "(2, 3)"), "the shape needs 24 bytes, 16 follow"},
        {NPY("<f4", "(2, 1)"), "the shape needs 8 bytes, 16 follow"},
        {NPY("<f4", "(0, 2)"), "dimension 0 is 0"},
        {NPY("<f4", "(4,)"), "rank 1, expected the samples and their shape"},
        {NPY("<f4", "()"), "the shape needs 4 bytes, 16 follow"},
        {NPY("<i4", "(2, 2, 1)"), "integers of rank 3, expected tokens of rank 2 (or float32)"},
        {NPY("<i4", "(2, 2)"), "element 1 is -7, expected 0 to 2147483646"},
        {NPY("<f4", "(4611686018427387904, 4)"), "shape overflows"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }",
         "Fortran order, expected C order"},
        {NPY("<f4", "(99999999999999999999, 1)"),
         "the header is no dictionary of descr, fortran_order and shape"},
        {NPY("<f4", "(4)"), "the header is no dictionary of descr, fortran_order and shape"},
        {NPY("<f4", "(1,1,1,1,1,1,1,1,4)"),
         "the header is no dictionary of descr, fortran_order and shape"},
        {NPY("<f4", "(-2, -2)"), "the header is no dictionary of descr, fortran_order and shape"},
        {"{'descr': '<f4', 'shape': (2, 2)}",
         "the header is no dictionary of descr, fortran_order and shape"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}",
         "the header is no dictionary of descr, fortran_order and shape"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2)}",
         "the header is no dictionary of descr, fortran_order and shape"},
        {"{'descr': '<f4", "the header is no dictionary of descr, fortran_order and shape"},
        {"", "the header is no dictionary of descr, fortran_order and shape"},
    };
    const int32_t data[4] = {1, -7, 2, 3};
    scratch s;
    scratch_open(&s);
    fb_data_config config =
        pair_config(FB_DATA_NPY, NULL, npy(&s, "y", NPY("<i4", "(2,)"), ((int[]){0, 1}), 8));

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char want[256];

        config.path = npy(&s, "x", bad[i].dictionary, data, sizeof data);
        (void)snprintf(want, sizeof want, "@/x: %s", bad[i].message);
        expect_refused(&s, &config, FB_E_DATA, want);
    }
    scratch_close(&s);
}

static void npy_files_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    const float x[4] = {1, 2, 3, 4};
    const int32_t y[4] = {-1, -1, 3, 4};
    scratch s;
    scratch_open(&s);
    fb_data_config config = pair_config(FB_DATA_NPY, npy(&s, "x", NPY("<f4", "(2, 2)"), x, 16),
                                        npy(&s, "y", NPY("<i4", "(4,)"), y, 16));

    expect_refused(&s, &config, FB_E_DATA, "@/y: 4 targets for 2 inputs");
    config.labels = npy(&s, "n", NPY("<i4", "(2,)"), y, 8);
    expect_refused(&s, &config, FB_E_DATA,
                   "@/n: element 0 is -1, expected 0 to 2147483646 or the loss's ignore_index");
    config.ignore_index = -1;
    expect_refused(&s, &config, FB_E_DATA, "@/n: every target is ignored (-1)");
    config.labels = npy(&s, "z", NPY("<i4", "()"), y, 4);
    expect_refused(&s, &config, FB_E_DATA, "@/z: rank 0, expected the samples and their shape");
    config.path = scratch_write(&s, "m", "\x93NUMPX\1\0..........", 18);
    expect_refused(&s, &config, FB_E_DATA, "@/m: not a .npy file");
    config.path = scratch_write(&s, "v", "\x93NUMPY\3\0\0\0\0\0", 12);
    expect_refused(&s, &config, FB_E_DATA, "@/v: .npy version 3.0, expected 1.0 or 2.0");
    config.path = scratch_write(&s, "l", "\x93NUMPY\2\0\xff\xff\xff\x7f", 12);
    expect_refused(&s, &config, FB_E_DATA,
                   "@/l: the header's length 2147483647 does not fit the file");
    config.path = scratch_write(&s, "t", "\x93NUM", 4);
    expect_refused(&s, &config, FB_E_DATA, "@/t: not a .npy file");
    scratch_close(&s);
}

/* --- Damage ----------------------------------------------------------------------------------- */

static void damaged_npy_files_are_refused_or_read_whole(void **state)
{
    (void)state;
    const float x[12] = {1, 2, 3, 4};
    uint8_t original[1024], bytes[1024];
    uint64_t random = 5;
    scratch s;
    scratch_open(&s);
    const fb_data_config config = pair_config(FB_DATA_NPY, scratch_path(&s, "damaged"),
                                              npy(&s, "y", NPY("<i4", "(4,)"), ((int[4]){0}), 16));
    FILE *file = fopen(npy(&s, "x", NPY("<f4", "(4, 3)"), x, sizeof x), "rb");
    assert_non_null(file);
    const size_t count = fread(original, 1, sizeof original, file);
    assert_int_equal(fclose(file), 0);

    for (int n = 0; n < 4000; n++) {
        memcpy(bytes, original, count);
        (void)scratch_write(&s, "damaged", bytes, scratch_mutate(bytes, count, &random));
        open_and_copy_all(&config);
    }
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(npy_arrays_give_rows),
        cmocka_unit_test(npy_integers_are_tokens),
        cmocka_unit_test(npy_headers_that_do_not_fit_are_refused),
        cmocka_unit_test(npy_files_that_do_not_fit_are_refused),
        cmocka_unit_test(damaged_npy_files_are_refused_or_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
