/* SPDX-License-Identifier: Apache-2.0
 *
 * test_proof.c - rounding or real, from contents: operations in float32 in several orders beside
 * their value in float64, and the same with a small mistake. A mistake is never rounding, another
 * order never real.
 */
#include "proof_case.h"

#include <math.h>

#include "diff/report/picture.h"
#include "diff/rounding/proof.h"

enum { ROWS = 96, WIDTH = 64, OUT = 40 };

typedef struct numbers {
    double x[ROWS * WIDTH], w[WIDTH * OUT], bias[WIDTH], a[ROWS * WIDTH], b[ROWS * WIDTH];
} numbers;

static void finish(double *out, size_t n, size_t row, manner how)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (double)(float)(out[i] * (how == SCALED ? 1.000005 : 1));
    for (size_t i = 0; i < row && how == LOST_ROW; i++)
        out[7 * row + i] = 0;
}

/* x [ROWS, WIDTH] by the transposed of w [OUT, WIDTH], plus a bias. */
static void product(double *out, const numbers *m, manner how)
{
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < OUT; j++) {
            float t[WIDTH];

            for (size_t k = 0; k < WIDTH; k++)
                t[k] = (float)m->x[i * WIDTH + k] * (float)m->w[j * WIDTH + k];
            out[i * OUT + j] = (double)(add_up(t, WIDTH, how) + (float)m->bias[j]);
        }
    finish(out, ROWS * OUT, OUT, how);
}

static void column_sums(double *out, const numbers *m, manner how)
{
    for (size_t j = 0; j < WIDTH; j++) {
        float t[ROWS];

        for (size_t i = 0; i < ROWS; i++)
            t[i] = (float)m->x[i * WIDTH + j];
        out[j] = (double)add_up(t, ROWS, how);
    }
    finish(out, WIDTH, 1, how);
}

static void layer_norm(double *out, const numbers *m, manner how)
{
    for (size_t i = 0; i < ROWS; i++) {
        float t[WIDTH], mean, inverse, variance;

        for (size_t k = 0; k < WIDTH; k++)
            t[k] = (float)m->x[i * WIDTH + k];
        mean = add_up(t, WIDTH, how) / WIDTH;
        for (size_t k = 0; k < WIDTH; k++)
            t[k] = ((float)m->x[i * WIDTH + k] - mean) * ((float)m->x[i * WIDTH + k] - mean);
        variance = add_up(t, WIDTH, how) / WIDTH;
        inverse = how == EPS_ASIDE ? 1 / (sqrtf(variance) + 1e-5F) : 1 / sqrtf(variance + 1e-5F);
        for (size_t k = 0; k < WIDTH; k++)
            out[i * WIDTH + k] =
                (double)(((float)m->x[i * WIDTH + k] - mean) * inverse * (float)m->bias[k]);
    }
    finish(out, ROWS * WIDTH, WIDTH, how);
}

static void softmax(double *out, const numbers *m, manner how)
{
    for (size_t i = 0; i < ROWS; i++) {
        float t[WIDTH], sum;

        for (size_t k = 0; k < WIDTH; k++)
            t[k] = expf((float)m->x[i * WIDTH + k] - 2);
        sum = add_up(t, WIDTH, how);
        for (size_t k = 0; k < WIDTH; k++)
            out[i * WIDTH + k] = (double)(t[k] / sum);
    }
    finish(out, ROWS * WIDTH, WIDTH, how);
}

static void gelu(double *out, const numbers *m, manner how)
{
    for (size_t i = 0; i < (size_t)ROWS * WIDTH; i++) {
        const float x = (float)m->x[i];

        out[i] = how == OTHER_FUNCTION
                     ? (double)(0.5F * x * (1 + tanhf(0.7978846F * (x + 0.044715F * x * x * x))))
                     : (double)(0.5F * x * (1 + erff(x * 0.70710678F)));
    }
    finish(out, (size_t)ROWS * WIDTH, WIDTH, how);
}

/* An operation of the framework as a trace has it. */
typedef struct operation {
    const char *op, *arguments;
    void (*compute)(double *out, const numbers *m, manner how);
    uint64_t rows, columns; /* of the result */
    bool weights, bias;     /* operands: bias, x, w; or x and bias */
    manner wrong[3];
} operation;

static const operation operations[] = {
    {"addmm",
     "{\"beta\":1,\"alpha\":1}",
     product,
     ROWS,
     OUT,
     true,
     true,
     {SHORT, SCALED, LOST_ROW}},
    {"sum",
     "{\"dim\":[0],\"keepdim\":true}",
     column_sums,
     1,
     WIDTH,
     false,
     false,
     {SHORT, SCALED, SCALED}},
    {"native_layer_norm",
     "{\"normalized_shape\":[64],\"eps\":1e-05}",
     layer_norm,
     ROWS,
     WIDTH,
     false,
     true,
     {EPS_ASIDE, SCALED, LOST_ROW}},
    {"_softmax", "{\"dim\":-1}", softmax, ROWS, WIDTH, false, false, {SHORT, SCALED, LOST_ROW}},
    {"gelu",
     "{\"approximate\":\"none\"}",
     gelu,
     ROWS,
     WIDTH,
     false,
     false,
     {OTHER_FUNCTION, SCALED, LOST_ROW}},
};

static fb__operand matrix(double *at, uint64_t rows, uint64_t columns)
{
    return (fb__operand){.at = at, .count = rows * columns, .rank = 2, .shape = {rows, columns}};
}

static fb_diff_proof judge(numbers *m, const operation *what, manner a, manner b)
{
    cJSON *arguments = cJSON_Parse(what->arguments);
    fb__operation o = {.op = what->op,
                       .arguments = arguments,
                       .unit = 0x1p-24,
                       .out = matrix(NULL, what->rows, what->columns)};
    fb_diff_proof proof = {.verdict = FB_DIFF_PROOF_NONE};

    if (what->weights)
        o.in[o.in_count++] = (fb__operand){.at = m->bias, .count = OUT, .rank = 1, .shape = {OUT}};
    o.in[o.in_count++] = matrix(m->x, ROWS, WIDTH);
    if (what->weights)
        o.in[o.in_count++] = matrix(m->w, OUT, WIDTH);
    else if (what->bias)
        o.in[o.in_count++] =
            (fb__operand){.at = m->bias, .count = WIDTH, .rank = 1, .shape = {WIDTH}};
    assert_non_null(arguments);
    what->compute(m->a, m, a);
    what->compute(m->b, m, b);
    fb__proof_judge(&proof, &o, m->a, m->b);
    cJSON_Delete(arguments);
    return proof;
}

static void make_numbers(numbers *m, uint64_t seed)
{
    fill(m->x, (size_t)ROWS * WIDTH, seed);
    fill(m->w, (size_t)WIDTH * OUT, seed + 1);
    fill(m->bias, WIDTH, seed + 2);
}

static void another_order_is_rounding(void **state)
{
    numbers *m = malloc(sizeof *m);

    (void)state;
    assert_non_null(m);
    for (uint64_t seed = 1; seed <= 10; seed++)
        for (size_t i = 0; i < COUNT_OF(operations); i++)
            for (int a = FORWARDS; a <= LAST_ORDER; a++)
                for (int b = FORWARDS; b <= LAST_ORDER; b++) {
                    fb_diff_proof p;

                    make_numbers(m, 1000 * seed);
                    p = judge(m, &operations[i], (manner)a, (manner)b);
                    if (p.verdict != FB_DIFF_PROOF_ROUNDING)
                        fail_msg("%s, orders %d and %d: verdict %d, %g | %g bounds",
                                 operations[i].op, a, b, (int)p.verdict, p.worst_a, p.worst_b);
                    assert_int_equal(p.evaluated, p.elements);
                }
    free(m);
}

static void a_mistake_is_never_rounding_and_its_side_is_named(void **state)
{
    numbers *m = malloc(sizeof *m);

    (void)state;
    assert_non_null(m);
    for (uint64_t seed = 1; seed <= 10; seed++)
        for (size_t i = 0; i < COUNT_OF(operations); i++)
            for (size_t k = 0; k < 3; k++)
                for (int side = 0; side < 2; side++) {
                    const manner wrong = operations[i].wrong[k];
                    fb_diff_proof p;

                    make_numbers(m, 1000 * seed);
                    p = judge(m, &operations[i], side ? BLOCKS : wrong, side ? wrong : BLOCKS);
                    if ((p.verdict != FB_DIFF_PROOF_REAL && p.verdict != FB_DIFF_PROOF_SUSPECT) ||
                        p.of_b != (side == 1))
                        fail_msg("%s, mistake %d: verdict %d of %c, %g | %g bounds",
                                 operations[i].op, (int)wrong, (int)p.verdict, p.of_b ? 'b' : 'a',
                                 p.worst_a, p.worst_b);
                    if (wrong == SHORT || wrong == LOST_ROW || wrong == OTHER_FUNCTION)
                        assert_int_equal(p.verdict, FB_DIFF_PROOF_REAL);
                }
    free(m);
}

/* Both wrong, or other operands than the trace says: nothing is claimed of either. */
static void nothing_is_said_where_neither_side_is_the_operation(void **state)
{
    numbers *m = malloc(sizeof *m);

    (void)state;
    assert_non_null(m);
    for (size_t i = 0; i < COUNT_OF(operations); i++) {
        make_numbers(m, 5);
        assert_int_equal(
            judge(m, &operations[i], operations[i].wrong[0], operations[i].wrong[0]).verdict,
            FB_DIFF_PROOF_NONE);
    }
    free(m);
}

/* --- Traces ----------------------------------------------------------------------------------- */

static void put(float *out, const double *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)in[i];
}

static fb_ref tensor(tape *t, fb_kind kind, const char *path, const char *op, const char *slot,
                     const char *arguments, const double *x, uint64_t rows, uint64_t columns,
                     const fb_ref *inputs, uint32_t count)
{
    static float data[ROWS * WIDTH];
    const bool param = kind == FB_KIND_PARAM;

    put(data, x, (size_t)(rows * columns));
    return report(t,
                  (fb_site){.kind = kind,
                            .phase = param ? FB_PHASE_INIT : FB_PHASE_FORWARD,
                            .path = path,
                            .op = op,
                            .slot = slot,
                            .arguments = arguments,
                            .dtype = FB_DTYPE_F32,
                            .rank = 2,
                            .shape = {rows, columns}},
                  (fb_event){.data = data,
                             .data_bytes = rows * columns * sizeof *data,
                             .inputs = inputs,
                             .input_count = count});
}

/* One linear layer in step 1, of weights from before it. window: which contents are kept. */
static const char *play_of(const test_folder *folder, const char *name, numbers *m, manner how,
                           const char *window, const char *header)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {
        .size = sizeof options, .level = FB_LEVEL_VALUES, .values_path = window, .header = header};
    tape t = {.step = 0};
    fb_ref in[3];
    fb_error err;

    assert_ok(fb_recorder_open(&t.recorder, path, &options, &err));
    in[0] = tensor(&t, FB_KIND_PARAM, "fc.bias", "init", "param", NULL, m->bias, 1, OUT, NULL, 0);
    in[2] =
        tensor(&t, FB_KIND_PARAM, "fc.weight", "init", "param", NULL, m->w, OUT, WIDTH, NULL, 0);
    t = (tape){.recorder = t.recorder, .step = 1};
    fb_recorder_step(t.recorder, 1);
    in[1] = tensor(&t, FB_KIND_TENSOR, "act", "relu", "out", NULL, m->x, ROWS, WIDTH, NULL, 0);
    product(m->a, m, how);
    in[0] = tensor(&t, FB_KIND_TENSOR, "fc", "addmm", "out", operations[0].arguments, m->a, ROWS,
                   OUT, in, 3);
    scalar(&t, FB_PHASE_LOSS, "loss", "loss", m->a[0]);
    assert_ok(fb_recorder_close(t.recorder, &err));
    return path;
}

static fb_diff_report compare_of(const test_folder *folder, manner a, manner b, const char *window,
                                 const char *header_a, const char *header_b)
{
    numbers *m = malloc(sizeof *m);
    const char *x, *y;
    fb_diff_report r;
    fb_error err;

    assert_non_null(m);
    make_numbers(m, 3);
    x = play_of(folder, "a.fbt", m, a, window, header_a);
    y = play_of(folder, "b.fbt", m, b, window, header_b);
    assert_ok(fb_diff(&r, x, y, NULL, &err));
    free(m);
    return r;
}

static fb_diff_report compare(const test_folder *folder, manner a, manner b, const char *window)
{
    return compare_of(folder, a, b, window, NULL, NULL);
}

static void a_report_says_what_the_contents_prove(void **state)
{
    static const struct {
        manner b;
        const char *said;
        fb_diff_proof_verdict verdict;
    } cases[] = {
        {BLOCKS, "rounding, proved by the bound", FB_DIFF_PROOF_ROUNDING},
        {SHORT, "real, proved: b is off by", FB_DIFF_PROOF_REAL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_diff_report r = compare(*state, FORWARDS, cases[i].b, NULL);
        char *const texts[] = {fb_diff_report_text(&r), fb_diff_report_json(&r),
                               fb_diff_report_markdown(&r, NULL)};

        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_int_equal(r.proof.verdict, cases[i].verdict);
        for (size_t k = 0; k < COUNT_OF(texts); k++) {
            assert_non_null(texts[k]);
            assert_non_null(strstr(texts[k], cases[i].said));
            free(texts[k]);
        }
        assert_null(r.window_path);
        fb_diff_report_free(&r);
    }
}

static void a_proof_is_not_called_another_order(void **state)
{
    fb_diff_report r = compare(*state, FORWARDS, SCALED, NULL);

    assert_int_equal(r.proof.verdict, FB_DIFF_PROOF_SUSPECT);
    assert_true(r.proof.of_b);
    assert_true(fabs(r.proof.scale - 1.000005) < 1e-7);
    assert_string_not_equal(r.cause.name, "rounding");
    assert_string_not_equal(r.cause.name, "environment");
    fb_diff_report_free(&r);
}

/* A sum in another order, a term that is left out, and the same in one program of equal settings.
 */
static void the_cause_of_another_order_is_rounding_between_programs_alone(void **state)
{
#define OF "{\"sources\":{\"train.py\":"
    static const struct {
        manner b;
        const char *header, *cause;
    } cases[] = {
        {BLOCKS, OF "\"02\"}}", "rounding"},
        {SHORT, OF "\"02\"}}", "forward-op"},
        {BLOCKS, OF "\"01\"}}", "nondeterminism"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_diff_report r =
            compare_of(*state, FORWARDS, cases[i].b, NULL, OF "\"01\"}}", cases[i].header);

        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_string_equal(r.first.name.path, "fc");
        assert_string_equal(r.cause.name, cases[i].cause);
        assert_true(r.cause.fix[0] != '\0');
        fb_diff_report_free(&r);
    }
#undef OF
}

/* Where contents are missing, the report names the steps and tensors that make the proof. */
static void what_lacks_for_a_proof_is_named_and_recording_it_gives_one(void **state)
{
    fb_diff_report r = compare(*state, FORWARDS, SHORT, "fc");
    char window[256];

    assert_int_equal(r.proof.verdict, FB_DIFF_PROOF_NONE);
    assert_string_equal(r.window_steps, "0,1");
    assert_string_equal(r.window_path, "fc,fc.bias:param,act:out,fc.weight:param");
    (void)snprintf(window, sizeof window, "%s", r.window_path);
    fb_diff_report_free(&r);
    r = compare(*state, FORWARDS, SHORT, window);
    assert_int_equal(r.proof.verdict, FB_DIFF_PROOF_REAL);
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_order_is_rounding),
        cmocka_unit_test(a_mistake_is_never_rounding_and_its_side_is_named),
        cmocka_unit_test(nothing_is_said_where_neither_side_is_the_operation),
        cmocka_unit_test(a_report_says_what_the_contents_prove),
        cmocka_unit_test(a_proof_is_not_called_another_order),
        cmocka_unit_test(the_cause_of_another_order_is_rounding_between_programs_alone),
        cmocka_unit_test(what_lacks_for_a_proof_is_named_and_recording_it_gives_one),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
