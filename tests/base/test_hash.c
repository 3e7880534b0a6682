/* SPDX-License-Identifier: Apache-2.0
 *
 * test_hash.c - tensor hashes follow docs/trace-format.md, "Hashes", whatever the thread count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/hash_block.h"

static fb_hash xxh(const void *bytes, size_t n)
{
    const XXH128_hash_t h = XXH3_128bits(bytes, n);
    return (fb_hash){h.low64, h.high64};
}

/* The text of the format, with the shared library: blocks of 64 KiB, then a hash over the hashes.
 */
static fb_hash by_the_text(fb_dtype dtype, const uint8_t *data, size_t bytes)
{
    fb_buffer message = {0};
    fb_hash hash;

    fb_buffer_u8(&message, (uint8_t)dtype);
    fb_buffer_u64(&message, bytes);
    for (size_t at = 0; at < bytes; at += 65536) {
        const fb_hash block = xxh(data + at, bytes - at < 65536 ? bytes - at : 65536);

        fb_buffer_u64(&message, block.lo);
        fb_buffer_u64(&message, block.hi);
    }
    hash = xxh(message.data, message.count);
    fb_buffer_free(&message);
    return hash;
}

static void blocks_join_as_the_format_says_on_any_thread_count(void **state)
{
    static const size_t sizes[] = {0, 4, 65532, 65536, 65540, 3 * 65536, 300 * 65536 + 8};
    const size_t most = 300 * 65536 + 8;
    uint8_t *data = malloc(most);

    (void)state;
    for (size_t i = 0; i < most; i++)
        data[i] = (uint8_t)(i * 37 % 113); /* as float32: finite */
    for (unsigned threads = 1; threads <= 7; threads += 2) {
        fb_pool *pool;

        assert_int_equal(fb_pool_create(&pool, threads, NULL), FB_OK);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            const fb_hash want = by_the_text(FB_DTYPE_F32, data, sizes[i]);
            bool nonfinite = true;

            assert_true(fb_hash_equal(
                fb_tensor_hash(pool, FB_DTYPE_F32, data, sizes[i], &nonfinite), want));
            assert_false(nonfinite);
            assert_true(
                fb_hash_equal(fb_tensor_hash(NULL, FB_DTYPE_F32, data, sizes[i], NULL), want));
        }
        fb_pool_destroy(pool);
    }
    free(data);
}

/* The one-pass loop of each instruction set beside the library, at every length it treats apart. */
static void blocks_of_every_length_hash_as_xxhash_on_every_isa(void **state)
{
    static uint8_t room[FB_HASH_BLOCK_BYTES + 64];
    fb__hash_block all[FB__HASH_BLOCKS];
    const size_t n = fb__hash_blocks(all);

    (void)state;
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = (uint8_t)(i * 37 % 113);
    for (size_t isa = 0; isa < n; isa++)
        for (size_t bytes = 0; bytes <= FB_HASH_BLOCK_BYTES; bytes += bytes < 4400 ? 4 : 1012)
            for (size_t shift = 0; shift < 64; shift += 20) {
                bool nonfinite = false;
                const fb_hash hash = all[isa](FB_DTYPE_F32, room + shift, bytes, &nonfinite);

                assert_false(nonfinite);
                if (!fb_hash_equal(hash, xxh(room + shift, bytes)))
                    fail_msg("isa %zu: %zu bytes, %zu from a boundary", isa, bytes, shift);
            }
}

static void one_nonfinite_element_is_seen_wherever_it_is(void **state)
{
    enum { N = 1000 };
    static uint32_t x[N];
    fb__hash_block all[FB__HASH_BLOCKS];
    const size_t n = fb__hash_blocks(all);

    (void)state;
    for (size_t isa = 0; isa < n; isa++)
        for (size_t place = 0; place < N; place++) {
            bool nonfinite = false;

            x[place] = 0xff800000;
            (void)all[isa](FB_DTYPE_F32, x, sizeof x, &nonfinite);
            x[place] = 0;
            assert_true(nonfinite);
        }
}

static void every_nan_hashes_as_one(void **state)
{
    static const uint32_t nans[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff, 0x7fabcdef};
    enum { N = 40000 };
    static uint32_t x[N], canonical[N];

    (void)state;
    for (size_t i = 0; i < N; i++)
        x[i] = canonical[i] = (uint32_t)i << 12;
    for (size_t i = 0; i < N; i++)
        if ((x[i] & 0x7fffffff) > 0x7f800000)
            canonical[i] = 0x7fc00000;
    for (size_t place = 0; place < N; place += 1999)
        for (size_t i = 0; i < 5; i++) {
            const uint32_t was = x[place], canonical_was = canonical[place];
            bool nonfinite = false;

            x[place] = nans[i];
            canonical[place] = 0x7fc00000;
            assert_true(fb_hash_equal(
                fb_tensor_hash(NULL, FB_DTYPE_F32, x, sizeof x, &nonfinite),
                by_the_text(FB_DTYPE_F32, (const uint8_t *)canonical, sizeof canonical)));
            assert_true(nonfinite);
            assert_int_equal(x[place], nans[i]); /* the tensor itself is left alone */
            x[place] = was;
            canonical[place] = canonical_was;
        }
}

/* One value at the end of a block decides. */
static void nonfinite_elements_are_seen_in_every_dtype(void **state)
{
    static const struct {
        fb_dtype dtype;
        size_t bytes;
        uint64_t finite, infinite, nan;
    } kinds[] = {
        {FB_DTYPE_F64, 8, 0x7fefffffffffffff, 0xfff0000000000000, 0x7ff0000000000001},
        {FB_DTYPE_F32, 4, 0xff7fffff, 0x7f800000, 0xff800001},
        {FB_DTYPE_F16, 2, 0xfbff, 0x7c00, 0xfc01},
        {FB_DTYPE_BF16, 2, 0x7f7f, 0xff80, 0x7f81},
        {FB_DTYPE_F8_E5M2, 1, 0x7b, 0xfc, 0x7d},
        {FB_DTYPE_F8_E4M3, 1, 0xfe, 0xff, 0x7f},
        {FB_DTYPE_C64, 4, 0xff7fffff, 0x7f800000, 0xff800001},
        {FB_DTYPE_C128, 8, 0x7fefffffffffffff, 0xfff0000000000000, 0x7ff0000000000001},
    };
    static uint8_t data[2 * 65536];

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const uint64_t values[] = {kinds[i].finite, kinds[i].infinite, kinds[i].nan};

        for (size_t v = 0; v < 3; v++) {
            bool nonfinite = false;

            memset(data, 0, sizeof data);
            memcpy(data + sizeof data - kinds[i].bytes, &values[v], kinds[i].bytes);
            fb_tensor_hash(NULL, kinds[i].dtype, data, sizeof data, &nonfinite);
            assert_int_equal(nonfinite, v != 0);
        }
    }
    /* Integers have no such values: their bytes are hashed as they are. */
    bool nonfinite = false;
    memset(data, 0xff, sizeof data);
    assert_true(fb_hash_equal(fb_tensor_hash(NULL, FB_DTYPE_I32, data, sizeof data, &nonfinite),
                              by_the_text(FB_DTYPE_I32, data, sizeof data)));
    assert_false(nonfinite);
}

static void dtype_and_length_are_part_of_the_hash(void **state)
{
    const float x[2] = {1.0f, 0.0f};

    (void)state;
    assert_false(fb_hash_equal(fb_tensor_hash(NULL, FB_DTYPE_F32, x, 8, NULL),
                               fb_tensor_hash(NULL, FB_DTYPE_I32, x, 8, NULL)));
    assert_false(fb_hash_equal(fb_tensor_hash(NULL, FB_DTYPE_F32, x, 8, NULL),
                               fb_tensor_hash(NULL, FB_DTYPE_F32, x, 4, NULL)));
    assert_false(fb_hash_equal(fb_tensor_hash(NULL, FB_DTYPE_F32, x, 0, NULL),
                               fb_tensor_hash(NULL, FB_DTYPE_F64, x, 0, NULL)));
}

static void sums_carry_and_do_not_depend_on_order(void **state)
{
    const fb_hash a = {UINT64_MAX, 5}, b = {1, UINT64_MAX}, c = {123, 456};
    const fb_hash sum = fb_hash_add(a, b);

    (void)state;
    assert_true(sum.lo == 0 && sum.hi == 5);
    assert_true(
        fb_hash_equal(fb_hash_add(fb_hash_add(a, b), c), fb_hash_add(fb_hash_add(c, b), a)));
    assert_true(fb_hash_is_zero((fb_hash){0, 0}));
    assert_false(fb_hash_is_zero((fb_hash){0, 1}));
}

static void hex_comes_back_and_nothing_else_is_read(void **state)
{
    const fb_hash hash = {0x0123456789abcdef, 0xfedcba9876543210};
    char text[FB_HASH_HEX_BYTES];
    fb_hash back = {0, 0};

    (void)state;
    assert_string_equal(fb_hash_hex(text, hash), "fedcba98765432100123456789abcdef");
    assert_true(fb_hash_of_hex(&back, text));
    assert_true(fb_hash_equal(back, hash));
    assert_false(fb_hash_of_hex(&back, "fedcba98765432100123456789abcde"));
    assert_false(fb_hash_of_hex(&back, "fedcba98765432100123456789abcdef0"));
    assert_false(fb_hash_of_hex(&back, "FEDCBA98765432100123456789ABCDEF"));
    assert_false(fb_hash_of_hex(&back, ""));
}

static void a_file_hashes_as_its_bytes(void **state)
{
    char path[] = "/tmp/fb_test_hash_XXXXXX";
    const int fd = mkstemp(path);
    static uint8_t data[200001];
    uint64_t bytes = 0;
    fb_hash hash;
    fb_error err;

    (void)state;
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    assert_true(write(fd, data, sizeof data) == (ssize_t)sizeof data);
    close(fd);
    assert_int_equal(fb_hash_file(&hash, &bytes, path, &err), FB_OK);
    assert_int_equal(bytes, sizeof data);
    assert_true(fb_hash_equal(hash, xxh(data, sizeof data)));
    unlink(path);
    assert_int_equal(fb_hash_file(&hash, &bytes, path, &err), FB_E_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
}

static fb_site site_of(const char *path)
{
    return (fb_site){.size = sizeof(fb_site),
                     .kind = FB_KIND_TENSOR,
                     .phase = FB_PHASE_FORWARD,
                     .path = path,
                     .op = "linear",
                     .slot = "out",
                     .dtype = FB_DTYPE_F32,
                     .rank = 2,
                     .shape = {3, 4}};
}

/* Names are terminated: a letter that moves from path to op is another site. */
static void identities_tell_sites_steps_and_micro_batches_apart(void **state)
{
    fb_site a = site_of("h.0"), b = site_of("h.0l"), c = site_of("h.0");
    const fb_hash site = fb_site_hash(&a);

    (void)state;
    b.op = "inear";
    c.occurrence = 1;
    assert_false(fb_hash_equal(site, fb_site_hash(&b)));
    assert_false(fb_hash_equal(site, fb_site_hash(&c)));
    assert_true(fb_hash_equal(fb_identity_hash(site, 3, 1), fb_identity_hash(site, 3, 1)));
    assert_false(fb_hash_equal(fb_identity_hash(site, 3, 1), fb_identity_hash(site, 3, 2)));
    assert_false(fb_hash_equal(fb_identity_hash(site, 3, 1), fb_identity_hash(site, 4, 1)));
}

/* What enters the hash of an event, and what does not. */
static void an_event_hash_holds_content_and_inputs_but_no_addresses(void **state)
{
    const fb_site site = site_of("h.1.mlp");
    const fb_hash id = {1, 2}, inputs[2] = {{3, 4}, {5, 6}}, others[2] = {{3, 4}, {5, 7}};
    const fb_ref refs[2] = {{0, 0, 0}, {1, 0, 0}};
    const fb_event base = {.size = sizeof base, .hash = {7, 8}, .inputs = refs, .input_count = 2};
    fb_event changed = base;
    fb_site reshaped = site;
    const fb_hash want = fb_event_hash(id, &site, &base, inputs);

    (void)state;
    changed.storage = 99;
    changed.version = 4;
    changed.site = 12;
    assert_true(fb_hash_equal(want, fb_event_hash(id, &site, &changed, inputs)));
    changed.hash.lo ^= 1;
    assert_false(fb_hash_equal(want, fb_event_hash(id, &site, &changed, inputs)));
    assert_false(fb_hash_equal(want, fb_event_hash(id, &site, &base, others)));
    reshaped.shape[0] = 4;
    reshaped.shape[1] = 3;
    assert_false(fb_hash_equal(want, fb_event_hash(id, &reshaped, &base, inputs)));
}

static void a_chain_depends_on_every_step_before(void **state)
{
    const fb_hash zero = {0, 0}, root = {11, 12};
    const fb_hash one = fb_chain_next(zero, 0, root);

    (void)state;
    assert_false(fb_hash_equal(one, fb_chain_next(zero, 1, root)));
    assert_false(fb_hash_equal(fb_chain_next(one, 1, root), fb_chain_next(zero, 1, root)));
    assert_true(fb_hash_equal(one, fb_chain_next(zero, 0, root)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_join_as_the_format_says_on_any_thread_count),
        cmocka_unit_test(blocks_of_every_length_hash_as_xxhash_on_every_isa),
        cmocka_unit_test(one_nonfinite_element_is_seen_wherever_it_is),
        cmocka_unit_test(every_nan_hashes_as_one),
        cmocka_unit_test(nonfinite_elements_are_seen_in_every_dtype),
        cmocka_unit_test(dtype_and_length_are_part_of_the_hash),
        cmocka_unit_test(sums_carry_and_do_not_depend_on_order),
        cmocka_unit_test(hex_comes_back_and_nothing_else_is_read),
        cmocka_unit_test(a_file_hashes_as_its_bytes),
        cmocka_unit_test(identities_tell_sites_steps_and_micro_batches_apart),
        cmocka_unit_test(an_event_hash_holds_content_and_inputs_but_no_addresses),
        cmocka_unit_test(a_chain_depends_on_every_step_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
