/* SPDX-License-Identifier: Apache-2.0
 *
 * test_safetensors.c - safetensors and .npy files: the bytes are those of the formats' own
 * libraries; damaged and hostile files are refused; a file is whole or not there.
 */
#include "engine/files/safetensors.h"

#include <math.h>
#include <sys/resource.h>
#include <signal.h>

#include "base/hash.h"
#include "scratch.h"

/* What the Python package safetensors 0.8.0 writes for the tensors below. */
static const char GOLDEN[] =
    "X\1\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\",\"\xc3\xa9\\\"\":\"x\\ny\"},"
    "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
    "\"b\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[8,32]},"
    "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[32,48]},"
    "\"none\":{\"dtype\":\"I16\",\"shape\":[0,4],\"data_offsets\":[48,48]},"
    "\"flag\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[48,51]}}    "
    "\7\0\0\0\0\0\0\0"
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40"
    "\0\0\x80\x3f\0\0\0\x80\0\0\x80\x7f\0\0\0\x3f"
    "\1\0\1";

static const int64_t SCALAR = 7;
static const double B[3] = {0, 1, 2};
static const float A[4] = {1, -0.0f, INFINITY, 0.5f};
static const uint8_t FLAG[3] = {1, 0, 1};

static const fb_safetensor TENSORS[] = {
    {"scalar", FB_DTYPE_I64, 0, {0}, &SCALAR, sizeof SCALAR},
    {"b", FB_DTYPE_F64, 1, {3}, B, sizeof B},
    {"a.weight", FB_DTYPE_F32, 2, {2, 2}, A, sizeof A},
    {"none", FB_DTYPE_I16, 2, {0, 4}, NULL, 0},
    {"flag", FB_DTYPE_BOOL, 1, {3}, FLAG, sizeof FLAG},
};
enum { TENSOR_COUNT = sizeof TENSORS / sizeof *TENSORS };
static const char *const KEYS[] = {"format", "\xc3\xa9\""};
static const char *const VALUES[] = {"pt", "x\ny"};

static void write_all(const char *path, fb_hash *hash)
{
    fb_error err;

    if (fb_safetensors_write(path, TENSORS, TENSOR_COUNT, KEYS, VALUES, 2, hash, &err) != FB_OK)
        fail_msg("%s", err.text);
}

static size_t read_file(const char *path, uint8_t *bytes, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t count;

    assert_non_null(file);
    count = fread(bytes, 1, room, file);
    assert_int_equal(fclose(file), 0);
    return count;
}

/* --- Writing and reading ---------------------------------------------------------------------- */

static void every_nan_is_written_in_one_form(void **state)
{
    (void)state;
    enum { COUNT = 5000 }; /* more than a block */
    static const uint32_t nans[] = {0xffc00000, 0x7f800001, 0xffffffff, 0x7fc00000};
    static uint32_t data[COUNT];
    const fb_safetensor tensor = {"a", FB_DTYPE_F32, 1, {COUNT}, data, sizeof data};
    fb_safetensors *file;
    fb_hash with_file, without;
    fb_error err;
    scratch s;

    scratch_open(&s);
    const char *path = scratch_path(&s, "a.safetensors");
    for (uint32_t i = 0; i < COUNT; i++) /* both infinities, subnormals, zeros stay */
        data[i] = i % 2 == 0 ? nans[i / 2 % 4] : i % 3 == 0 ? 0xff800000 : i % 5 << 31 | i;
    assert_int_equal(fb_safetensors_write(path, &tensor, 1, NULL, NULL, 0, &with_file, &err),
                     FB_OK);
    assert_int_equal(fb_safetensors_write(NULL, &tensor, 1, NULL, NULL, 0, &without, &err), FB_OK);
    assert_true(fb_hash_equal(with_file, without));
    assert_int_equal(fb_safetensors_open(&file, path, &err), FB_OK);
    const uint32_t *read = fb_safetensors_at(file, 0)->data;
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(read[i], i % 2 == 0 ? 0x7fc00000 : data[i]);
    fb_safetensors_close(file);
    scratch_close(&s);
}

static void written_bytes_are_those_of_the_formats_own_library(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    scratch s;
    fb_hash hash, want;
    uint64_t size;
    scratch_open(&s);
    const char *path = scratch_path(&s, "a.safetensors");

    write_all(path, &hash);
    assert_int_equal(read_file(path, bytes, sizeof bytes), sizeof GOLDEN - 1);
    assert_memory_equal(bytes, GOLDEN, sizeof GOLDEN - 1);
    assert_int_equal(fb_hash_file(&want, &size, path, NULL), FB_OK);
    assert_true(fb_hash_equal(hash, want));
    assert_int_equal(scratch_count(&s), 1);
    write_all(path, NULL); /* replaces the file */
    assert_int_equal(scratch_count(&s), 1);
    scratch_close(&s);
}

static void a_file_gives_back_what_was_written(void **state)
{
    (void)state;
    scratch s;
    fb_safetensors *file;
    fb_error err;
    scratch_open(&s);
    const char *path = scratch_write(&s, "a", GOLDEN, sizeof GOLDEN - 1);

    if (fb_safetensors_open(&file, path, &err) != FB_OK)
        fail_msg("%s", err.text);
    assert_int_equal(fb_safetensors_count(file), TENSOR_COUNT);
    for (size_t i = 0; i < TENSOR_COUNT; i++) {
        const fb_safetensor *got = fb_safetensors_at(file, i), *want = &TENSORS[i];

        assert_string_equal(got->name, want->name);
        assert_int_equal(got->dtype, want->dtype);
        assert_int_equal(got->rank, want->rank);
        assert_memory_equal(got->shape, want->shape, want->rank * sizeof *want->shape);
        assert_int_equal(got->bytes, want->bytes);
        if (want->bytes > 0)
            assert_memory_equal(got->data, want->data, want->bytes);
        assert_ptr_equal(fb_safetensors_find(file, want->name), got);
    }
    assert_null(fb_safetensors_find(file, "c"));
    assert_null(fb_safetensors_find(file, "__metadata__"));
    assert_string_equal(fb_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(fb_safetensors_metadata(file, "\xc3\xa9\""), "x\ny");
    assert_null(fb_safetensors_metadata(file, "none"));
    fb_safetensors_close(file);
    fb_safetensors_close(NULL);
    scratch_close(&s);
}

/* The header may list tensors in another order than their data. */
static void the_headers_order_is_kept_whatever_that_of_the_data(void **state)
{
    (void)state;
    static const char bytes[] = "\x6b\0\0\0\0\0\0\0"
                                "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
                                "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}  "
                                "xyz";
    fb_safetensors *file;
    fb_error err;
    scratch s;
    scratch_open(&s);

    if (fb_safetensors_open(&file, scratch_write(&s, "a", bytes, sizeof bytes - 1), &err) != FB_OK)
        fail_msg("%s", err.text);
    assert_string_equal(fb_safetensors_at(file, 0)->name, "b");
    assert_memory_equal(fb_safetensors_at(file, 0)->data, "yz", 2);
    assert_memory_equal(fb_safetensors_find(file, "a")->data, "x", 1);
    fb_safetensors_close(file);
    scratch_close(&s);
}

static void data_begin_at_a_multiple_of_eight(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    for (int length = 1; length <= 16; length++) {
        char name[32] = "";
        const float one = 1;
        const fb_safetensor tensor = {name, FB_DTYPE_F32, 0, {0}, &one, 4};
        const char *path = scratch_path(&s, "x");
        fb_safetensors *file;
        uint8_t bytes[256];
        uint64_t header;

        memset(name, 'n', (size_t)length);
        assert_int_equal(fb_safetensors_write(path, &tensor, 1, NULL, NULL, 0, NULL, NULL), FB_OK);
        (void)read_file(path, bytes, sizeof bytes);
        memcpy(&header, bytes, 8);
        assert_int_equal(header % 8, 0);
        assert_int_equal(fb_safetensors_open(&file, path, NULL), FB_OK);
        assert_null(fb_safetensors_metadata(file, "format"));
        assert_memory_equal(fb_safetensors_at(file, 0)->data, &one, 4);
        fb_safetensors_close(file);
    }
    scratch_close(&s);
}

/* --- Refusals --------------------------------------------------------------------------------- */

static void expect_refused(scratch *s, const char *path, fb_status status, const char *want)
{
    fb_safetensors *file = NULL;
    fb_error err;

    assert_int_equal(fb_safetensors_open(&file, path, &err), status);
    assert_null(file);
    scratch_expect_text(s, err.text, want);
    assert_int_equal(fb_safetensors_open(&file, path, NULL), status);
}

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* A header, how many bytes of data follow it, and what is said. */
static const struct {
    const char *header;
    size_t data;
    fb_status status;
    const char *message;
} HOSTILE[] = {
    {"{" T("a", "F32", "[2]", "[0,8]") "," T("a", "F32", "[2]", "[8,16]") "}", 16, FB_E_CORRUPT,
     "tensor \"a\" is given twice"},
    {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[4,12]") "}", 12, FB_E_CORRUPT,
     "overlap before tensor \"b\""},
    {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[0,8]") "}", 8, FB_E_CORRUPT,
     "overlap before tensor \"b\""},
    {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[12,20]") "}", 20, FB_E_CORRUPT,
     "unused bytes before tensor \"b\""},
    {"{" T("a", "F32", "[2]", "[4,12]") "}", 12, FB_E_CORRUPT, "unused bytes before tensor \"a\""},
    {"{" T("a", "F32", "[2]", "[0,8]") "}", 9, FB_E_CORRUPT, "1 unused bytes at the end"},
    {"{" T("a", "F32", "[2]", "[0,8]") "}", 7, FB_E_CORRUPT,
     "tensor \"a\" ends at byte 8 of the data, there are 7"},
    {"{" T("a", "F32", "[3]", "[0,8]") "}", 8, FB_E_CORRUPT,
     "tensor \"a\": its shape needs 12 bytes, its offsets span 8"},
    {"{" T("a", "F32", "[4611686018427387904,4]", "[0,0]") "}", 0, FB_E_CORRUPT,
     "tensor \"a\": impossible shape"},
    {"{" T("a", "F32", "[4503599627370496,4503599627370496]", "[0,0]") "}", 0, FB_E_CORRUPT,
     "tensor \"a\": impossible shape"},
    {"{" T("a", "F32", "[-1]", "[0,8]") "}", 8, FB_E_CORRUPT, "tensor \"a\": impossible shape"},
    {"{" T("a", "F32", "[1.5]", "[0,8]") "}", 8, FB_E_CORRUPT, "tensor \"a\": impossible shape"},
    {"{" T("a", "F32", "[\"2\"]", "[0,8]") "}", 8, FB_E_CORRUPT, "tensor \"a\": impossible shape"},
    {"{" T("a", "F32", "[2]", "[8,0]") "}", 8, FB_E_CORRUPT, "tensor \"a\": impossible offsets"},
    {"{" T("a", "F32", "[2]", "[-8,0]") "}", 8, FB_E_CORRUPT, "tensor \"a\": impossible offsets"},
    {"{" T("a", "F32", "[2]", "[0,1e300]") "}", 8, FB_E_CORRUPT,
     "tensor \"a\": impossible offsets"},
    {"{" T("a", "F32", "[2]", "[0,9007199254740992]") "}", 8, FB_E_CORRUPT,
     "tensor \"a\": impossible offsets"},
    {"{" T("a", "F32", "[2]", "[0,8,9]") "}", 8, FB_E_CORRUPT,
     "tensor \"a\": expected dtype, shape and two data_offsets"},
    {"{" T("a", "F32", "2", "[0,8]") "}", 8, FB_E_CORRUPT,
     "tensor \"a\": expected dtype, shape and two data_offsets"},
    {"{\"a\":7}", 0, FB_E_CORRUPT, "tensor \"a\": expected dtype, shape and two data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":1}}", 4, FB_E_CORRUPT,
     "tensor \"a\": expected dtype, shape and two data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
     FB_E_CORRUPT, "tensor \"a\": expected dtype, shape and two data_offsets"},
    {"{" T("a", "F4", "[2]", "[0,1]") "}", 1, FB_E_UNSUPPORTED, "tensor \"a\": dtype F4"},
    {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, FB_E_UNSUPPORTED,
     "tensor \"a\": rank 9, at most 8 are supported"},
    {"{\"__metadata__\":{\"k\":1}}", 0, FB_E_CORRUPT, "__metadata__ \"k\": expected a string"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, FB_E_CORRUPT,
     "__metadata__ \"k\" is given twice"},
    {"{\"__metadata__\":[]}", 0, FB_E_CORRUPT, "expected one object as __metadata__"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, FB_E_CORRUPT,
     "expected one object as __metadata__"},
    {"{" T("a", "F32", "[NaN]", "[0,4]") "}", 4, FB_E_CORRUPT,
     "header, byte 37: expected a value or ']', got 'N'"},
    {"{\"a\":1", 0, FB_E_CORRUPT,
     "header, byte 14: the text ends, expected ',' or the closing bracket"},
    {"{\"a\\u0000\":1}", 0, FB_E_CORRUPT, "header, byte 11: a string with a zero character"},
    {"{\"\xff\":1}", 0, FB_E_CORRUPT, "header, byte 10: not valid UTF-8"},
};

static void hostile_headers_are_refused(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++) {
        uint8_t bytes[512] = {0};
        char want[300];
        const uint64_t length = strlen(HOSTILE[i].header);

        memcpy(bytes, &length, 8);
        memcpy(bytes + 8, HOSTILE[i].header, length);
        (void)snprintf(want, sizeof want, "@/h: %s", HOSTILE[i].message);
        expect_refused(&s, scratch_write(&s, "h", bytes, 8 + length + HOSTILE[i].data),
                       HOSTILE[i].status, want);
    }
    scratch_close(&s);
}

static void files_that_are_something_else_are_refused(void **state)
{
    (void)state;
    uint8_t deep[8 + 400] = {144, 1};
    scratch s;
    scratch_open(&s);

    expect_refused(&s, scratch_path(&s, "none"), FB_E_NOT_FOUND,
                   "@/none: No such file or directory");
    expect_refused(&s, s.folder, FB_E_IO, "@: not a regular file");
    expect_refused(&s, scratch_write(&s, "empty", "", 0), FB_E_FORMAT,
                   "@/empty: not a safetensors file: 0 bytes");
    expect_refused(&s, scratch_write(&s, "short", "\2\0\0\0\0\0\0\0{", 9), FB_E_FORMAT,
                   "@/short: not a safetensors file: 9 bytes");
    expect_refused(&s, scratch_write(&s, "text", "Hello, World", 12), FB_E_FORMAT,
                   "@/text: not a safetensors file: byte 8 is no '{'");
    expect_refused(&s, scratch_write(&s, "long", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10),
                   FB_E_CORRUPT, "@/long: a header of 18446744073709551615 bytes in a file of 10");
    expect_refused(&s, scratch_write(&s, "over", "\3\0\0\0\0\0\0\0{}", 10), FB_E_CORRUPT,
                   "@/over: a header of 3 bytes in a file of 10");
    expect_refused(&s, scratch_write(&s, "zero", "\3\0\0\0\0\0\0\0{\0}", 11), FB_E_CORRUPT,
                   "@/zero: header, byte 9: a zero byte");
    memset(deep + 8, '[', 400);
    deep[8] = '{';
    memcpy(deep + 9, "\"a\":", 4);
    expect_refused(&s, scratch_write(&s, "deep", deep, sizeof deep), FB_E_CORRUPT,
                   "@/deep: header, byte 76: nested more than 64 deep");

    fb_safetensors *file;
    assert_int_equal(
        fb_safetensors_open(&file, scratch_write(&s, "none", "\2\0\0\0\0\0\0\0{}", 10), NULL),
        FB_OK); /* no tensors at all is fine */
    assert_int_equal(fb_safetensors_count(file), 0);
    fb_safetensors_close(file);
    scratch_close(&s);
}

static void every_shorter_file_is_refused(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    for (size_t count = 0; count < sizeof GOLDEN - 1; count++) {
        fb_safetensors *file;

        assert_int_not_equal(
            fb_safetensors_open(&file, scratch_write(&s, "cut", GOLDEN, count), NULL), FB_OK);
    }
    scratch_close(&s);
}

/* Reads every byte that an opened file hands out, so that a sanitizer or the processor sees one
 * that is not there. */
static void damaged_files_are_refused_or_read_whole(void **state)
{
    (void)state;
    uint64_t random = 3;
    volatile uint8_t sum = 0;
    scratch s;
    scratch_open(&s);
    for (int n = 0; n < 6000; n++) {
        uint8_t bytes[sizeof GOLDEN];
        fb_safetensors *file;
        fb_error err = {.text = ""};
        size_t count;

        memcpy(bytes, GOLDEN, sizeof GOLDEN - 1);
        count = scratch_mutate(bytes, sizeof GOLDEN - 1, &random);
        if (fb_safetensors_open(&file, scratch_write(&s, "d", bytes, count), &err) != FB_OK) {
            assert_true(err.text[0] == '/');
            continue;
        }
        for (size_t i = 0; i < fb_safetensors_count(file); i++) {
            const fb_safetensor *tensor = fb_safetensors_at(file, i);

            for (size_t b = 0; b < tensor->bytes; b++)
                sum = (uint8_t)(sum + ((const uint8_t *)tensor->data)[b]);
        }
        fb_safetensors_close(file);
    }
    scratch_close(&s);
}

/* --- Writing that fails ----------------------------------------------------------------------- */

static void a_write_that_fails_leaves_nothing_and_keeps_the_old_file(void **state)
{
    (void)state;
    static float large[1 << 16];
    const fb_safetensor tensor = {"x", FB_DTYPE_F32, 1, {1 << 16}, large, sizeof large};
    const struct rlimit tight = {100000, RLIM_INFINITY};
    struct rlimit before;
    fb_safetensors *file;
    fb_error err;
    scratch s;
    scratch_open(&s);
    const char *path = scratch_path(&s, "a");

    write_all(path, NULL);
    assert_int_equal(
        fb_safetensors_write(scratch_path(&s, "no/where"), TENSORS, 1, NULL, NULL, 0, NULL, &err),
        FB_E_NOT_FOUND);
    scratch_expect_text(&s, err.text, "@/no/where: cannot write: No such file or directory");
    assert_int_equal(fb_safetensors_write(s.folder, TENSORS, 1, NULL, NULL, 0, NULL, &err),
                     FB_E_IO); /* the name of a folder */

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_int_equal(fb_safetensors_write(path, &tensor, 1, NULL, NULL, 0, NULL, &err), FB_E_IO);
    scratch_expect_text(&s, err.text, "@/a: cannot write: File too large");
    assert_int_equal(fb_npy_write(path, FB_DTYPE_F32, 1, tensor.shape, large, &err), FB_E_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);

    assert_int_equal(scratch_count(&s), 1);
    assert_int_equal(fb_safetensors_open(&file, path, NULL), FB_OK); /* as it was */
    assert_int_equal(fb_safetensors_count(file), TENSOR_COUNT);
    fb_safetensors_close(file);
    scratch_close(&s);
}

/* --- .npy ------------------------------------------------------------------------------------- */

static void expect_npy(scratch *s, fb_dtype dtype, uint32_t rank, const uint64_t *shape,
                       const void *data, size_t count, const char *dictionary)
{
    uint8_t bytes[512], want[512];
    const char *path = scratch_path(s, "a.npy");

    assert_int_equal(fb_npy_write(path, dtype, rank, shape, data, NULL), FB_OK);
    memcpy(want, "\x93NUMPY\1\0v\0", 10);
    memset(want + 10, ' ', 117);
    memcpy(want + 10, dictionary, strlen(dictionary));
    want[127] = '\n';
    if (count > 0)
        memcpy(want + 128, data, count);
    assert_int_equal(read_file(path, bytes, sizeof bytes), 128 + count);
    assert_memory_equal(bytes, want, 128 + count);
}

/* Headers as numpy 2.4 writes them. */
static void npy_bytes_are_those_of_numpy(void **state)
{
    (void)state;
    const float m[6] = {1, 2, 3, 4, 5, 6};
    const uint32_t v[5] = {0, 1, 2, 3, 4};
    const double d = 2.5;
    fb_error err;
    scratch s;
    scratch_open(&s);

    expect_npy(&s, FB_DTYPE_F32, 2, (uint64_t[]){2, 3}, m, sizeof m,
               "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    expect_npy(&s, FB_DTYPE_U32, 1, (uint64_t[]){5}, v, sizeof v,
               "{'descr': '<u4', 'fortran_order': False, 'shape': (5,), }");
    expect_npy(&s, FB_DTYPE_F64, 0, NULL, &d, sizeof d,
               "{'descr': '<f8', 'fortran_order': False, 'shape': (), }");
    expect_npy(&s, FB_DTYPE_BOOL, 2, (uint64_t[]){0, 9}, NULL, 0,
               "{'descr': '|b1', 'fortran_order': False, 'shape': (0, 9), }");
    assert_int_equal(
        fb_npy_write(scratch_path(&s, "b.npy"), FB_DTYPE_BF16, 1, (uint64_t[]){3}, m, &err),
        FB_E_UNSUPPORTED);
    scratch_expect_text(&s, err.text, "@/b.npy: .npy has no bf16 of rank 1");
    assert_int_equal(scratch_count(&s), 1);
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_nan_is_written_in_one_form),
        cmocka_unit_test(written_bytes_are_those_of_the_formats_own_library),
        cmocka_unit_test(a_file_gives_back_what_was_written),
        cmocka_unit_test(the_headers_order_is_kept_whatever_that_of_the_data),
        cmocka_unit_test(data_begin_at_a_multiple_of_eight),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(files_that_are_something_else_are_refused),
        cmocka_unit_test(every_shorter_file_is_refused),
        cmocka_unit_test(damaged_files_are_refused_or_read_whole),
        cmocka_unit_test(a_write_that_fails_leaves_nothing_and_keeps_the_old_file),
        cmocka_unit_test(npy_bytes_are_those_of_numpy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
