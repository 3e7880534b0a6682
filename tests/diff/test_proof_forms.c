/* SPDX-License-Identifier: Apache-2.0
 *
 * test_proof_forms.c - rounding or real, from contents: convolutions, attention and results of 16
 * bits, in several orders and with mistakes. A mistake is never rounding, another order never real.
 */
#include "proof_case.h"

#include <math.h>

#include "diff/rounding/proof.h"

enum { LIST_MAX = 128, ELEMENTS_MAX = 4096 };

/* What is to be added up for each element of a result: made once, added in any order. */
typedef struct terms {
    float at[ELEMENTS_MAX][LIST_MAX];
    size_t count[ELEMENTS_MAX];
} terms;

static terms lists;

static void put_term(size_t element, double x, double y)
{
    assert_true(element < ELEMENTS_MAX && lists.count[element] < LIST_MAX);
    lists.at[element][lists.count[element]++] = (float)x * (float)y;
}

static void add_lists(double *out, size_t n, size_t row, manner how)
{
    for (size_t i = 0; i < n; i++) {
        const float y = lists.count[i] == 0 ? 0 : add_up(lists.at[i], lists.count[i], how);

        out[i] = (double)(float)((double)y * (how == SCALED ? 1.000005 : 1));
    }
    for (size_t i = 0; i < row && how == LOST_ROW; i++)
        out[row + i] = 0;
}

static fb_diff_proof judge(fb__operation *o, const double *a, const double *b)
{
    fb_diff_proof proof = {.verdict = FB_DIFF_PROOF_NONE};

    fb__proof_judge(&proof, o, a, b);
    return proof;
}

/* --- Convolutions ----------------------------------------------------------------------------- */

/* Two dimensions that differ in everything, two groups. */
enum { BATCH = 3, FINE = 4, COARSE = 6, GROUPS = 2, FINE_OF = FINE / GROUPS, KERNEL = 3 };
static const int size[2] = {9, 8}, count[2] = {5, 6}, stride[2] = {2, 1}, dilation[2] = {1, 2};
static const int padding = 1;

typedef enum target { FORWARD, TRANSPOSED, OF_INPUT, OF_WEIGHTS, OF_BIAS } target;

static double fine[BATCH * FINE * 9 * 8], coarse[BATCH * COARSE * 5 * 6], bias[COARSE];
static double weights[COARSE * FINE_OF * KERNEL * KERNEL];

static size_t fine_at(int b, int c, int y, int x)
{
    return (((size_t)b * FINE + (size_t)c) * (size_t)size[0] + (size_t)y) * (size_t)size[1] +
           (size_t)x;
}

static size_t coarse_at(int b, int c, int y, int x)
{
    return (((size_t)b * COARSE + (size_t)c) * (size_t)count[0] + (size_t)y) * (size_t)count[1] +
           (size_t)x;
}

/* One term of each: the way that a textbook scatters. */
static void meet(target what, size_t f, size_t g, size_t w)
{
    if (what == FORWARD)
        put_term(g, fine[f], weights[w]);
    else if (what == TRANSPOSED || what == OF_INPUT)
        put_term(f, coarse[g], weights[w]);
    else if (what == OF_WEIGHTS)
        put_term(w, fine[f], coarse[g]);
}

static void meet_all(target what, int b, int c, int y, int x)
{
    const size_t g = coarse_at(b, c, y, x);

    for (int i = 0; i < FINE_OF; i++)
        for (int k = 0; k < KERNEL; k++)
            for (int l = 0; l < KERNEL; l++) {
                const int from = y * stride[0] - padding + k * dilation[0];
                const int at = x * stride[1] - padding + l * dilation[1];
                const size_t w =
                    (((size_t)c * FINE_OF + (size_t)i) * KERNEL + (size_t)k) * KERNEL + (size_t)l;

                if (from >= 0 && from < size[0] && at >= 0 && at < size[1])
                    meet(what, fine_at(b, c / (COARSE / GROUPS) * FINE_OF + i, from, at), g, w);
            }
    if (what == OF_BIAS)
        put_term((size_t)c, coarse[g], 1);
}

static void list_convolution(target what)
{
    memset(lists.count, 0, sizeof lists.count);
    for (int b = 0; b < BATCH; b++)
        for (int c = 0; c < COARSE; c++)
            for (int y = 0; y < count[0]; y++)
                for (int x = 0; x < count[1]; x++) {
                    meet_all(what, b, c, y, x);
                    if (what == FORWARD)
                        put_term(coarse_at(b, c, y, x), bias[c], 1);
                }
}

static fb__operand of_shape(double *at, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return (fb__operand){.at = at, .count = a * b * c * d, .rank = 4, .shape = {a, b, c, d}};
}

static fb__operation convolution(target what, cJSON **arguments)
{
    const fb__operand f = of_shape(fine, BATCH, FINE, (uint64_t)size[0], (uint64_t)size[1]);
    const fb__operand g = of_shape(coarse, BATCH, COARSE, (uint64_t)count[0], (uint64_t)count[1]);
    const fb__operand w = of_shape(weights, COARSE, FINE_OF, KERNEL, KERNEL);
    const fb__operand of_bias = {.at = bias, .count = COARSE, .rank = 1, .shape = {COARSE}};
    const bool forward = what <= TRANSPOSED;
    fb__operation o = {.op = forward ? "convolution" : "convolution_backward", .unit = 0x1p-24};
    char text[256];

    /* What nobody asked for is no output: the gradient of the bias is the first one here. */
    (void)snprintf(text, sizeof text,
                   "{\"stride\":[2,1],\"padding\":[1],\"dilation\":[1,2],\"transposed\":%s,"
                   "\"groups\":2,\"output_mask\":[%s,%s,true]}",
                   what == TRANSPOSED ? "true" : "false", what == OF_BIAS ? "false" : "true",
                   what == OF_BIAS ? "false" : "true");
    *arguments = cJSON_Parse(text);
    o.arguments = *arguments;
    o.output = what == OF_WEIGHTS ? 1 : 0;
    o.in_count = what == TRANSPOSED ? 2 : 3;
    o.in[0] = what == FORWARD ? f : g;
    o.in[1] = forward ? w : f;
    o.in[2] = what == FORWARD ? of_bias : w;
    o.out = what == FORWARD ? g : what == OF_WEIGHTS ? w : what == OF_BIAS ? of_bias : f;
    return o;
}

static void convolutions_and_their_gradients_are_told_from_mistakes(void **state)
{
    static const manner wrong[] = {SHORT, SCALED, LOST_ROW};
    double a[ELEMENTS_MAX], b[ELEMENTS_MAX];

    (void)state;
    fill(fine, COUNT_OF(fine), 1);
    fill(coarse, COUNT_OF(coarse), 2);
    fill(weights, COUNT_OF(weights), 3);
    fill(bias, COUNT_OF(bias), 4);
    for (int what = FORWARD; what <= OF_BIAS; what++) {
        cJSON *arguments;
        fb__operation o = convolution((target)what, &arguments);
        const size_t row = what == OF_BIAS ? 1 : (size_t)o.out.shape[o.out.rank - 1];

        list_convolution((target)what);
        add_lists(a, o.out.count, row, BLOCKS);
        for (int how = FORWARDS; how <= LAST_ORDER; how++) {
            add_lists(b, o.out.count, row, (manner)how);
            if (judge(&o, a, b).verdict != FB_DIFF_PROOF_ROUNDING)
                fail_msg("convolution %d, order %d", what, how);
        }
        for (size_t i = 0; i < COUNT_OF(wrong); i++) {
            fb_diff_proof p;

            add_lists(b, o.out.count, row, wrong[i]);
            p = judge(&o, a, b);
            if ((p.verdict != FB_DIFF_PROOF_REAL && p.verdict != FB_DIFF_PROOF_SUSPECT) || !p.of_b)
                fail_msg("convolution %d, mistake %d: verdict %d", what, (int)wrong[i],
                         (int)p.verdict);
        }
        cJSON_Delete(arguments);
    }
}

/* --- Attention -------------------------------------------------------------------------------- */

enum { B = 2, H = 2, T = 7, D = 8, WHOLE = B * H * T * D, BASE = B * T * 3 * H * D };

static double base[BASE], gradient[WHOLE]; /* [batch, token, q k v, head, d]; [batch, token, ...] */

static float at_base(int which, int b, int h, int t, int d)
{
    return (float)base[(((b * T + t) * 3 + which) * H + h) * D + d];
}

static size_t row_of(int b, int h, int t)
{
    return ((size_t)b * H + (size_t)h) * T + (size_t)t;
}

/* Weights of a query, and the logarithm of their sum. OTHER_FUNCTION: sees one key too far. */
static float weigh(float w[T], int b, int h, int i, manner how)
{
    const int last = i + (how == OTHER_FUNCTION && i + 1 < T);
    float largest = -INFINITY, sum;

    for (int j = 0; j <= last; j++) {
        float t[D];

        for (int d = 0; d < D; d++)
            t[d] = at_base(0, b, h, i, d) * at_base(1, b, h, j, d);
        w[j] = add_up(t, D, how == SHORT ? FORWARDS : how) / sqrtf((float)D);
        largest = fmaxf(largest, w[j]);
    }
    for (int j = 0; j < T; j++)
        w[j] = j <= last ? expf(w[j] - largest) : 0;
    sum = add_up(w, (size_t)last + 1, how == SHORT && last == 0 ? FORWARDS : how);
    for (int j = 0; j < T; j++)
        w[j] /= sum;
    return largest + logf(sum);
}

static void attend(double out[WHOLE], double sums[B * H * T], manner how)
{
    for (int b = 0; b < B; b++)
        for (int h = 0; h < H; h++)
            for (int i = 0; i < T; i++) {
                float w[T], t[T];

                sums[row_of(b, h, i)] = (double)weigh(w, b, h, i, how);
                for (int d = 0; d < D; d++) {
                    for (int j = 0; j < T; j++)
                        t[j] = w[j] * at_base(2, b, h, j, d);
                    out[row_of(b, h, i) * D + (size_t)d] =
                        (double)(add_up(t, T, how) * (how == SCALED ? 1.00001F : 1));
                }
            }
    for (size_t i = 0; i < D && how == LOST_ROW; i++)
        out[5 * D + i] = 0;
}

/* The gradient of the queries (of the keys, of the values): as terms of a sum each. */
static void list_gradient(int of, const double *out, const double *sums)
{
    memset(lists.count, 0, sizeof lists.count);
    for (int n = 0; n < B * H * T * T; n++) {
        const int j = n % T, i = n / T % T, h = n / T / T % H, b = n / T / T / H;
        const size_t row = row_of(b, h, i);
        float score = 0, of_weight = 0, of_row = 0, w;

        for (int d = 0; d < D; d++) {
            const float g = (float)gradient[((b * T + i) * H + h) * D + d];

            score += at_base(0, b, h, i, d) * at_base(1, b, h, j, d);
            of_weight += g * at_base(2, b, h, j, d);
            of_row += g * (float)out[row * D + (size_t)d];
        }
        w = j > i ? 0 : expf(score / sqrtf((float)D) - (float)sums[row]);
        for (int d = 0; d < D && j <= i; d++) {
            const float ds = w * (of_weight - of_row) / sqrtf((float)D);

            if (of == 0)
                put_term(row * D + (size_t)d, (double)ds, (double)at_base(1, b, h, j, d));
            else if (of == 1)
                put_term(row_of(b, h, j) * D + (size_t)d, (double)ds,
                         (double)at_base(0, b, h, i, d));
            else
                put_term(row_of(b, h, j) * D + (size_t)d, (double)w,
                         gradient[((b * T + i) * H + h) * D + d]);
        }
    }
}

static const fb__operand of_base = {
    .at = base, .count = BASE, .rank = 3, .shape = {B, T, (uint64_t)3 * H *D}};

static void expect(const fb_diff_proof *p, bool wrong, const char *what, int how)
{
    const bool found = p->verdict == FB_DIFF_PROOF_REAL || p->verdict == FB_DIFF_PROOF_SUSPECT;

    if (wrong ? !found || !p->of_b : p->verdict != FB_DIFF_PROOF_ROUNDING)
        fail_msg("%s %d: verdict %d, %g | %g bounds", what, how, (int)p->verdict, p->worst_a,
                 p->worst_b);
}

static void attention_read_from_one_tensor_is_told_from_mistakes(void **state)
{
    static double a[WHOLE], b[WHOLE], sums_a[B * H * T], sums_b[B * H * T];
    cJSON *arguments = cJSON_Parse("{\"is_causal\":true,\"in1.offset\":16,\"in2.offset\":32}");
    fb__operation o = {.op = "_scaled_dot_product_flash_attention_for_cpu",
                       .arguments = arguments,
                       .unit = 0x1p-24,
                       .in = {of_base, of_base, of_base},
                       .in_count = 3};

    (void)state;
    fill(base, BASE, 5);
    attend(a, sums_a, BLOCKS);
    for (int how = FORWARDS; how <= OTHER_FUNCTION; how++) {
        fb_diff_proof p;

        if (how == EPS_ASIDE)
            continue;
        attend(b, sums_b, (manner)how);
        o.output = 0;
        o.out = of_shape(NULL, B, H, T, D);
        p = judge(&o, a, b);
        expect(&p, how > LAST_ORDER, "attention", how);
        if (how == SCALED || how == LOST_ROW)
            continue; /* which spare the sums */
        o.output = 1;
        o.out = (fb__operand){.count = (uint64_t)B * H * T, .rank = 3, .shape = {B, H, T}};
        p = judge(&o, sums_a, sums_b);
        expect(&p, how > LAST_ORDER, "sums of attention", how);
    }
    cJSON_Delete(arguments);
}

static void gradients_of_attention_are_told_from_mistakes(void **state)
{
    static double out[WHOLE], sums[B * H * T], a[WHOLE], b[WHOLE];
    cJSON *arguments = cJSON_Parse("{\"is_causal\":true,\"in2.offset\":16,\"in3.offset\":32}");
    fb__operation o = {.op = "_scaled_dot_product_flash_attention_for_cpu_backward",
                       .arguments = arguments,
                       .unit = 0x1p-24,
                       .in = {of_shape(gradient, B, T, H, D), of_base, of_base, of_base,
                              of_shape(out, B, H, T, D)},
                       .in_count = 6,
                       .out = of_shape(NULL, B, H, T, D)};

    (void)state;
    fill(base, BASE, 6);
    fill(gradient, WHOLE, 7);
    attend(out, sums, FORWARDS);
    o.in[5] =
        (fb__operand){.at = sums, .count = (uint64_t)B * H * T, .rank = 3, .shape = {B, H, T}};
    for (unsigned of = 0; of < 3; of++) {
        o.output = of;
        list_gradient((int)of, out, sums);
        add_lists(a, WHOLE, D, BLOCKS);
        for (int how = FORWARDS; how <= LOST_ROW; how++) {
            fb_diff_proof p;

            add_lists(b, WHOLE, D, (manner)how);
            p = judge(&o, a, b);
            expect(&p, how > LAST_ORDER, "gradient of attention", how);
        }
    }
    cJSON_Delete(arguments);
}

/* --- Results of 16 bits ----------------------------------------------------------------------- */

static double as_bfloat16(double x)
{
    float y = (float)x;
    uint32_t bits;

    memcpy(&bits, &y, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&y, &bits, sizeof bits);
    return (double)y;
}

/* NARROW: every partial sum is rounded to bfloat16, as some kernels do. */
enum { NARROW = OTHER_FUNCTION + 1, M = 24, K = 96 };

static void product(double *out, const double *x, const double *w, int how)
{
    for (int n = 0; n < M * M; n++) {
        float t[K];
        double narrow = 0;

        for (int k = 0; k < K; k++) {
            t[k] = (float)x[n / M * K + k] * (float)w[n % M * K + k];
            narrow = as_bfloat16(narrow + (double)t[k]);
        }
        out[n] = how == NARROW ? narrow : (double)add_up(t, K, (manner)how);
        out[n] = as_bfloat16(out[n] * (how == SCALED ? 1.25 : 1));
        if (how == LOST_ROW && n / M == 3)
            out[n] = 0;
    }
}

/* A kernel may sum in 16 bits; whoever sums in 32 cannot be as far off. Neither is called real. */
static void a_result_of_16_bits_is_rounding_by_its_own_unit(void **state)
{
    static double x[M * K], w[M * K], a[M * M], b[M * M];
    fb__operation o = {.op = "mm",
                       .unit = 0x1p-24,
                       .narrow = 0x1p-8,
                       .in = {{.at = x, .count = (uint64_t)M * K, .rank = 2, .shape = {M, K}},
                              {.at = w, .count = (uint64_t)M * K, .rank = 2, .shape = {M, K}}},
                       .in_count = 2,
                       .out = {.count = (uint64_t)M * M, .rank = 2, .shape = {M, M}}};

    (void)state;
    fill(x, M * K, 8);
    fill(w, M * K, 9);
    for (int i = 0; i < M * K; i++) {
        x[i] = as_bfloat16(x[i]);
        w[i] = as_bfloat16(w[i]);
    }
    product(a, x, w, BLOCKS);
    for (int how = FORWARDS; how <= NARROW; how++) {
        fb_diff_proof p;

        if (how == EPS_ASIDE || how == OTHER_FUNCTION || how == SHORT)
            continue;
        product(b, x, w, how);
        p = judge(&o, a, b);
        if (how == NARROW) {
            char text[640];

            assert_int_equal(p.verdict, FB_DIFF_PROOF_OPEN);
            fb__proof_text(text, sizeof text, &p);
            assert_non_null(strstr(text, "in 16 bits"));
        } else
            expect(&p, how > LAST_ORDER, "product of 16 bits", how);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_and_their_gradients_are_told_from_mistakes),
        cmocka_unit_test(attention_read_from_one_tensor_is_told_from_mistakes),
        cmocka_unit_test(gradients_of_attention_are_told_from_mistakes),
        cmocka_unit_test(a_result_of_16_bits_is_rounding_by_its_own_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
