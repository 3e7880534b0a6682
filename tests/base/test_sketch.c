/* SPDX-License-Identifier: Apache-2.0
 *
 * test_sketch.c - a sketch follows docs/levels.md in every bit, on every instruction set and thread
 * count, and estimates what it says that it estimates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fpenv.h"
#include "base/sketch.h"
#include "base/sketch_part.h"

enum { MOST = 3 * FB_SKETCH_PIECE + 777, BLOCK = FB_HASH_BLOCK_BYTES / 4 };

static uint64_t next_random(uint64_t *state)
{
    return fb__sketch_mix((*state)++);
}

/* Finite float32 of all sizes, with zeros of both signs and subnormals. */
static void fill_awkward(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t r = next_random(&seed);
        uint32_t bits = (uint32_t)r;

        if (r >> 60 == 0)
            bits &= 0x80000000; /* zero */
        else if (r >> 60 == 1)
            bits &= 0x807fffff; /* subnormal */
        else if (r >> 60 < 10)
            bits = (bits & 0x807fffff) | 0x3f000000;
        if ((bits & 0x7f800000) == 0x7f800000)
            bits ^= 0x40000000;
        x[i] = fb_float_of_bits(bits);
    }
}

/* Of `every` elements one becomes a NaN of some payload and sign, or an infinity: all where it
 * is 1. */
static void spoil(float *x, size_t n, uint64_t every, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t r = next_random(&seed);
        const uint32_t sign = (uint32_t)(r >> 63) << 31, payload = (uint32_t)(r >> 30) & 0x7fffff;

        if (r % every == 0)
            x[i] =
                fb_float_of_bits(sign | 0x7f800000 | (every % 3 == 0 ? 0 : payload & -(r >> 62)));
    }
}

/* Normal-like values from sums of uniform ones. */
static void fill_smooth(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;

        for (int k = 0; k < 4; k++)
            sum += (double)(next_random(&seed) >> 40) * 0x1p-24 - 0.5;
        x[i] = (float)sum;
    }
}

static void assert_same_part(const fb__sketch_part *a, const fb__sketch_part *b, const char *name,
                             size_t n)
{
    if (memcmp(a, b, sizeof *a) != 0)
        fail_msg("%s: another sketch than the plain one at n = %zu", name, n);
}

/* every: 0: finite elements; else see spoil. */
static void compare_with_plain(fb__sketch_f32 wide, const char *name, uint64_t every)
{
    static uint16_t bf16[FB_SKETCH_PIECE];
    static float x[2 * FB_SKETCH_PIECE];
    static const size_t sizes[] = {1,   2,   15,  16,  17,  63,   64,   65,    127,
                                   255, 256, 257, 319, 320, 1000, 4096, 32767, FB_SKETCH_PIECE};

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (uint64_t first = 0; first <= FB_SKETCH_PIECE; first += FB_SKETCH_PIECE) {
            const size_t n = sizes[s];
            bool ignored = false, nonfinite = false;
            fb__sketch_part want;
            fb__sketch_piece have;

            fill_awkward(x, 2 * FB_SKETCH_PIECE, s + first);
            if (every != 0)
                spoil(x, 2 * FB_SKETCH_PIECE, every, s + first + 1);
            fb__sketch_plain(&want, bf16, FB_DTYPE_F32, x, n, first);
            wide(&have, x + first, n, first);
            assert_same_part(&have.part, &want, name, n);
            assert_true(fb_hash_equal(
                have.bf16, fb__hash_block_base(FB_DTYPE_U16, bf16, n * sizeof *bf16, &ignored)));
            for (size_t b = 0; want.nan == 0 && b * BLOCK < n; b++)
                assert_true(fb_hash_equal(
                    have.blocks[b],
                    fb__hash_block_base(FB_DTYPE_F32, x + first + b * BLOCK,
                                        (n - b * BLOCK < BLOCK ? n - b * BLOCK : BLOCK) * sizeof *x,
                                        &nonfinite)));
            assert_int_equal(have.nonfinite, want.nan + want.infinite > 0);
        }
}

static void every_instruction_set_gives_the_bits_of_the_definition(void **state)
{
    static const uint64_t every[] = {0, 1, 2, 3, 7, 9, 10000};

    (void)state;
#if defined(__x86_64__)
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        if (__builtin_cpu_supports("avx2"))
            compare_with_plain(fb__sketch_f32_avx2, "avx2", every[i]);
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
            compare_with_plain(fb__sketch_f32_avx512, "avx512", every[i]);
        if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bf16"))
            compare_with_plain(fb__sketch_f32_avx512bf16, "avx512bf16", every[i]);
    }
#endif
}

static void the_thread_count_changes_no_bit(void **state)
{
    float *x = malloc((size_t)40 * FB_SKETCH_PIECE * sizeof *x);
    const size_t bytes = ((size_t)40 * FB_SKETCH_PIECE - 11) * sizeof *x;
    static fb_hash want_blocks[80], blocks[80];
    fb_sketch want, have;

    (void)state;
    assert_int_equal(fb_sketch_blocks(bytes), 80);
    fill_awkward(x, bytes / sizeof *x, 3);
    const fb_hash hash = fb_tensor_sketch(&want, want_blocks, NULL, FB_DTYPE_F32, x, bytes, NULL);
    assert_true(fb_hash_equal(hash, fb_tensor_hash(NULL, FB_DTYPE_F32, x, bytes, NULL)));
    for (unsigned threads = 1; threads <= 5; threads += 2) {
        fb_pool *pool;

        assert_int_equal(fb_pool_create(&pool, threads, NULL), FB_OK);
        memset(blocks, 0, sizeof blocks);
        assert_true(fb_hash_equal(
            hash, fb_tensor_sketch(&have, blocks, pool, FB_DTYPE_F32, x, bytes, NULL)));
        assert_memory_equal(&have, &want, sizeof want);
        assert_memory_equal(blocks, want_blocks, sizeof blocks);
        fb_pool_destroy(pool);
    }
    free(x);
}

static void hash_and_blocks_are_those_of_the_tensor_hash(void **state)
{
    static const size_t sizes[] = {0, 8, 65536, 65544, 131072, 4 * 65536 + 16, 9 * 65536};
    static uint8_t data[9 * 65536];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 % 251);
    for (int dtype = FB_DTYPE_F64; dtype <= FB_DTYPE_BOOL; dtype++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            fb_hash blocks[16];
            fb_sketch sketch;
            bool want_nonfinite = false, nonfinite = true;
            const fb_hash want =
                fb_tensor_hash(NULL, (fb_dtype)dtype, data, sizes[s], &want_nonfinite);

            assert_true(fb_hash_equal(want, fb_tensor_sketch(&sketch, blocks, NULL, (fb_dtype)dtype,
                                                             data, sizes[s], &nonfinite)));
            assert_int_equal(nonfinite, want_nonfinite);
            if (nonfinite && sizes[s] != 0 && dtype != FB_DTYPE_F8_E4M3)
                assert_true(sketch.nan + sketch.infinite > 0);
            if (fb_sketch_blocks(sizes[s]) == 0)
                continue;
            for (size_t b = 0; b < fb_sketch_blocks(sizes[s]); b++) {
                const size_t left = sizes[s] - b * 65536;
                fb_sketch of_block;
                fb_hash message[2] = {{0, 0}};

                /* The tensor hash of one block is made of that block's hash. */
                uint8_t head[25] = {(uint8_t)dtype};
                const uint64_t count = left < 65536 ? left : 65536;
                memcpy(head + 1, &count, 8);
                memcpy(head + 9, &blocks[b], 16);
                message[0] = fb_hash_bytes(head, sizeof head);
                message[1] = fb_tensor_sketch(&of_block, NULL, NULL, (fb_dtype)dtype,
                                              data + b * 65536, (size_t)count, NULL);
                assert_true(fb_hash_equal(message[0], message[1]));
            }
        }
}

static void statistics_count_what_is_there(void **state)
{
    const float x[] = {1.5f, -2.0f, 0.0f, -0.0f, 0x1p-140f, __builtin_nanf(""), -__builtin_inff(),
                       3.0f};
    const double y[] = {-0.0, 0x1p-1060, 1e300};
    const int8_t z[] = {-3, 0, 7};
    fb_sketch s;

    (void)state;
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    assert_int_equal(s.elements, 8);
    assert_int_equal(s.nan, 1);
    assert_int_equal(s.infinite, 1);
    assert_int_equal(s.zero, 2);
    assert_int_equal(s.subnormal, 1);
    assert_true(s.min == -__builtin_inf() && s.max == 3.0);
    assert_true(s.sum == 2.5 + 0x1p-140 && s.sum_abs == 6.5 + 0x1p-140 && s.sum_square == 15.25);
    assert_true(s.samples[5] == 0x7fc00000 && s.samples[6] == 0xff800000);
    assert_true(s.samples[8] == 0);
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F64, y, sizeof y, NULL);
    assert_true(s.zero == 1 && s.subnormal == 1 && s.max == 1e300);
    assert_true(s.sum_square == __builtin_inf());
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_I8, z, sizeof z, NULL);
    assert_true(s.min == -3 && s.max == 7 && s.sum == 4 && s.sum_square == 58 && s.zero == 1);
    assert_true(fb_hash_is_zero(s.bf16) && s.samples[0] == 0xfd);
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, x, 0, NULL);
    assert_true(s.elements == 0 && s.min == __builtin_inf() && s.max == -__builtin_inf());
}

static void the_multiset_hash_ignores_order_and_nothing_else(void **state)
{
    enum { N = 70000 };
    static float x[N];
    fb_sketch a, b;

    (void)state;
    fill_awkward(x, N, 9);
    (void)fb_tensor_sketch(&a, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    for (size_t i = N - 1, seed = 5; i > 0; i--) {
        const size_t j = (size_t)(next_random(&seed) % (i + 1));
        const float keep = x[i];
        x[i] = x[j];
        x[j] = keep;
    }
    (void)fb_tensor_sketch(&b, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    assert_true(fb_hash_equal(a.multiset, b.multiset));
    x[N / 2] = fb_float_of_bits(fb_float_bits(x[N / 2]) ^ 1);
    (void)fb_tensor_sketch(&b, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    assert_true(a.multiset.lo != b.multiset.lo && a.multiset.hi != b.multiset.hi);
}

/* What differs says nothing, and what is equal neither. */
static void multiset_hashes_of_two_editions_are_not_compared(void **state)
{
    const float x[] = {1, 2, 3}, y[] = {3, 1, 2};
    fb_sketch a, b;

    (void)state;
    (void)fb_tensor_sketch(&a, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    (void)fb_tensor_sketch(&b, NULL, NULL, FB_DTYPE_F32, y, sizeof y, NULL);
    assert_int_equal(a.edition, FB_SKETCH_EDITION);
    assert_true(fb_sketch_same_numbers(&a, &b));
    b.edition = 1;
    assert_false(fb_sketch_same_numbers(&a, &b));
}

/* Multisets of small integers, which a weak element hash would let collide. */
static void small_multisets_do_not_collide(void **state)
{
    enum { VALUES = 24, TRIPLES = VALUES * (VALUES + 1) * (VALUES + 2) / 6 };
    static fb_hash seen[TRIPLES];
    size_t n = 0;

    (void)state;
    for (uint64_t i = 0; i < VALUES; i++)
        for (uint64_t j = i; j < VALUES; j++)
            for (uint64_t k = j; k < VALUES; k++) {
                const fb_hash p = fb__sketch_element_hash(i), q = fb__sketch_element_hash(j),
                              r = fb__sketch_element_hash(k);
                seen[n++] = (fb_hash){p.lo + q.lo + r.lo, p.hi + q.hi + r.hi};
            }
    assert_int_equal(n, TRIPLES);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            if (seen[i].lo == seen[j].lo || seen[i].hi == seen[j].hi)
                fail_msg("triples %zu and %zu collide", i, j);
}

/* The two halves of a cube of three differences, at any place in the word and from any element:
 * what a sum of products of two affine functions of bits cannot tell apart. */
static void halves_of_a_cube_do_not_collide(void **state)
{
    uint64_t random = 1;

    (void)state;
    for (int trial = 0; trial < 200000; trial++) {
        const uint64_t r = next_random(&random);
        const uint32_t from = trial % 2 == 0 ? (uint32_t)(r >> 32) : 0x3f800000;
        const uint32_t bit[3] = {1u << (r & 31), 1u << (r >> 5 & 31), 1u << (r >> 10 & 31)};
        fb_hash sum[2] = {{0, 0}, {0, 0}};

        if (bit[0] == bit[1] || bit[1] == bit[2] || bit[0] == bit[2])
            continue;
        for (unsigned k = 0; k < 8; k++) {
            const unsigned half = (unsigned)__builtin_popcount(k) % 2;
            const uint32_t u = from + (k & 1) * bit[0] + (k >> 1 & 1) * bit[1] + (k >> 2) * bit[2];
            const fb_hash h = fb__sketch_element_hash(u);

            sum[half].lo += h.lo;
            sum[half].hi += h.hi;
        }
        if (sum[0].lo == sum[1].lo || sum[0].hi == sum[1].hi)
            fail_msg("from %08x, differences %x %x %x: a collision", from, bit[0], bit[1], bit[2]);
    }
}

static void the_bf16_hash_is_that_of_the_rounded_tensor(void **state)
{
    enum { N = 33000 };
    static float x[N], rounded[N];
    static double wide[N];
    static uint16_t bf16[N];
    fb_sketch a, b, c;

    (void)state;
    fill_awkward(x, N, 4);
    x[100] = __builtin_nanf("");
    x[101] = __builtin_inff();
    x[102] = 0x1.fffffep+127f;             /* rounds to infinity */
    x[103] = fb_float_of_bits(0x3f808000); /* a tie: to even, down */
    x[104] = fb_float_of_bits(0x3f818000); /* a tie: to even, up */
    for (size_t i = 0; i < N; i++) {
        const uint32_t bits = fb_float_bits(x[i]), low = bits & 0xffff;
        const bool up = low > 0x8000 || (low == 0x8000 && (bits >> 16 & 1) != 0);

        bf16[i] = (uint16_t)((bits >> 16) + up);
        if ((bits & 0x7fffffff) > 0x7f800000)
            bf16[i] = 0x7fc0;
        rounded[i] = fb_float_of_bits((uint32_t)bf16[i] << 16);
        wide[i] = (double)x[i];
    }
    assert_int_equal(bf16[103], 0x3f80);
    assert_int_equal(bf16[104], 0x3f82);
    (void)fb_tensor_sketch(&a, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    (void)fb_tensor_sketch(&b, NULL, NULL, FB_DTYPE_F32, rounded, sizeof rounded, NULL);
    (void)fb_tensor_sketch(&c, NULL, NULL, FB_DTYPE_F64, wide, sizeof wide, NULL);
    const fb_hash want = fb_tensor_hash(NULL, FB_DTYPE_BF16, bf16, sizeof bf16, NULL);
    assert_true(fb_hash_equal(a.bf16, want) && fb_hash_equal(b.bf16, want) &&
                fb_hash_equal(c.bf16, want));
    (void)fb_tensor_sketch(&b, NULL, NULL, FB_DTYPE_BF16, bf16, sizeof bf16, NULL);
    assert_true(fb_hash_equal(b.bf16, want));
    x[103] = fb_float_of_bits(0x3f808001); /* beyond the tie */
    (void)fb_tensor_sketch(&b, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    assert_false(fb_hash_equal(b.bf16, want));
}

/* Just above a tie of bf16, but a tie once narrowed to float32: two roundings would err. */
static void a_float64_is_rounded_to_bf16_once(void **state)
{
    const double x = 0x1.01p+0 + 0x1p-40;
    const uint16_t want = 0x3f81;
    fb_sketch s;

    (void)state;
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F64, &x, sizeof x, NULL);
    assert_true(
        fb_hash_equal(s.bf16, fb_tensor_hash(NULL, FB_DTYPE_BF16, &want, sizeof want, NULL)));
}

static void the_linear_sketch_is_linear_and_exact_when_small(void **state)
{
    float x[64], y[64];
    fb_sketch a, b;
    double want = 0;

    (void)state;
    for (int i = 0; i < 64; i++) {
        x[i] = (float)(i - 20);
        y[i] = (float)(i * i % 17);
        want += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    }
    (void)fb_tensor_sketch(&a, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    (void)fb_tensor_sketch(&b, NULL, NULL, FB_DTYPE_F32, y, sizeof y, NULL);
    assert_true(fb_sketch_distance2(&a, &b) == want);
}

/* Estimates of the squared distance over many random differences: unbiased, and as wide as
 * sqrt(2/64) says. Mean of R estimates: standard deviation 0.177/sqrt(R), so 5 of them decide. */
static void the_linear_sketch_estimates_distance_as_well_as_it_says(void **state)
{
    enum { N = 20000, ROUNDS = 200 };
    static float x[N];
    const fb_sketch zero = {0};
    double mean = 0, square = 0;

    (void)state;
    for (uint64_t r = 0; r < ROUNDS; r++) {
        fb_sketch s;
        double estimate;

        fill_smooth(x, N, r << 32);
        (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
        estimate = fb_sketch_distance2(&s, &zero) / s.sum_square;
        mean += estimate / ROUNDS;
        square += estimate * estimate / ROUNDS;
    }
    assert_true(mean > 1 - 5 * 0.177 / 14.1 && mean < 1 + 5 * 0.177 / 14.1);
    assert_true(square - mean * mean < 0.177 * 0.177 * 1.6);
    assert_true(square - mean * mean > 0.177 * 0.177 * 0.5);
}

/* A difference in one column of a matrix whose width is a multiple of 64 must not fall into one
 * bucket, where a single sum of random signs would have to tell its size. */
static void one_column_of_a_matrix_spreads_over_the_buckets(void **state)
{
    enum { ROWS = 768, WIDTH = 384 };
    static float x[ROWS * WIDTH];
    fb_sketch s;
    int used = 0;

    (void)state;
    for (int row = 0; row < ROWS; row++)
        x[row * WIDTH + 17] = 1;
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    for (int j = 0; j < FB_SKETCH_BUCKETS; j++)
        used += s.linear[j] != 0;
    assert_true(used > 48);
}

static void samples_are_elements_at_ascending_places(void **state)
{
    static const uint64_t sizes[] = {65, 100, 4096, 768 * 384, UINT64_C(1) << 40};
    static float x[4096];
    fb_sketch s;

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        uint64_t before = 0, columns = 0;

        for (unsigned j = 0; j < FB_SKETCH_SAMPLES; j++) {
            const uint64_t at = fb_sketch_position(sizes[k], j);

            assert_true(at < sizes[k] && (j == 0 || at > before));
            before = at;
            columns |= UINT64_C(1) << at % 64;
        }
        assert_true(sizes[k] < 4096 || __builtin_popcountll(columns) > 24);
    }
    fill_awkward(x, 4096, 8);
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    for (unsigned j = 0; j < FB_SKETCH_SAMPLES; j++)
        assert_int_equal(s.samples[j], fb_float_bits(x[fb_sketch_position(4096, j)]));
}

static void small_floats_widen_as_their_formats_say(void **state)
{
    static const struct {
        fb_dtype dtype;
        uint32_t bits;
        double value;
    } cases[] = {
        {FB_DTYPE_F16, 0x3c00, 1},         {FB_DTYPE_F16, 0xc000, -2},
        {FB_DTYPE_F16, 0x0001, 0x1p-24},   {FB_DTYPE_F16, 0x7bff, 65504},
        {FB_DTYPE_BF16, 0x3f80, 1},        {FB_DTYPE_BF16, 0x0001, 0x1p-133},
        {FB_DTYPE_F8_E5M2, 0x3c, 1},       {FB_DTYPE_F8_E5M2, 0x7b, 57344},
        {FB_DTYPE_F8_E5M2, 0x01, 0x1p-16}, {FB_DTYPE_F8_E4M3, 0x38, 1},
        {FB_DTYPE_F8_E4M3, 0x7e, 448},     {FB_DTYPE_F8_E4M3, 0x81, -0x1p-9},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fb_sketch s, as_float;
        const float x = (float)cases[i].value;

        (void)fb_tensor_sketch(&s, NULL, NULL, cases[i].dtype, &cases[i].bits,
                               fb_dtype_bytes(cases[i].dtype), NULL);
        (void)fb_tensor_sketch(&as_float, NULL, NULL, FB_DTYPE_F32, &x, sizeof x, NULL);
        assert_true(s.sum == cases[i].value && s.min == cases[i].value);
        assert_true(fb_hash_equal(s.multiset, as_float.multiset));
    }
}

/* A recorded program may have asked for flush-to-zero; it gets its register back as it was. */
static void the_callers_floating_point_environment_changes_nothing(void **state)
{
#if defined(__x86_64__)
    const unsigned flush = 0x9fc0; /* FTZ, DAZ, round toward zero is 0x6000: not here */
    static float x[5000];
    fb_sketch want, have;

    fill_awkward(x, 5000, 12);
    (void)fb_tensor_sketch(&want, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    _mm_setcsr(flush | 0x6000);
    (void)fb_tensor_sketch(&have, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    const unsigned after = _mm_getcsr();
    fb_fpenv_set();
    assert_int_equal(after, flush | 0x6000);
    assert_memory_equal(&have, &want, sizeof want);
#endif
    (void)state;
}

/* The golden bits: what two builds, machines or versions must agree on. */
static void the_bits_are_pinned(void **state)
{
    static float x[MOST];
    fb_sketch s;
    char hex[FB_HASH_HEX_BYTES];

    (void)state;
    fill_awkward(x, MOST, 2024);
    (void)fb_tensor_sketch(&s, NULL, NULL, FB_DTYPE_F32, x, sizeof x, NULL);
    assert_string_equal(fb_hash_hex(hex, fb_hash_bytes(&s, sizeof s)),
                        "618b31306b8ea36f532508f4e2c52091");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_gives_the_bits_of_the_definition),
        cmocka_unit_test(the_thread_count_changes_no_bit),
        cmocka_unit_test(hash_and_blocks_are_those_of_the_tensor_hash),
        cmocka_unit_test(statistics_count_what_is_there),
        cmocka_unit_test(the_multiset_hash_ignores_order_and_nothing_else),
        cmocka_unit_test(multiset_hashes_of_two_editions_are_not_compared),
        cmocka_unit_test(small_multisets_do_not_collide),
        cmocka_unit_test(halves_of_a_cube_do_not_collide),
        cmocka_unit_test(the_bf16_hash_is_that_of_the_rounded_tensor),
        cmocka_unit_test(a_float64_is_rounded_to_bf16_once),
        cmocka_unit_test(the_linear_sketch_is_linear_and_exact_when_small),
        cmocka_unit_test(the_linear_sketch_estimates_distance_as_well_as_it_says),
        cmocka_unit_test(one_column_of_a_matrix_spreads_over_the_buckets),
        cmocka_unit_test(samples_are_elements_at_ascending_places),
        cmocka_unit_test(small_floats_widen_as_their_formats_say),
        cmocka_unit_test(the_callers_floating_point_environment_changes_nothing),
        cmocka_unit_test(the_bits_are_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
