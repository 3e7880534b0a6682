/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_reading.c - rules that look at where an op reads and writes, and at what a program
 * does by hand: to its gradients, to copies of its parameters, to the numbers that it draws.
 */
#include "recorded_claims.h"

/* Whole numbers that an op with these arguments gives. */
static fb_ref counts(tape *t, const char *op_name, const char *arguments, uint64_t rows,
                     int64_t first, const fb_ref *inputs, uint32_t count)
{
    int64_t data[N];

    for (int i = 0; i < N; i++)
        data[i] = first + i;
    return report(t,
                  (fb_site){.kind = FB_KIND_TENSOR,
                            .phase = phase_of(t),
                            .path = "",
                            .op = op_name,
                            .slot = "out",
                            .arguments = arguments,
                            .dtype = FB_DTYPE_I64,
                            .rank = 1,
                            .shape = {rows}},
                  (fb_event){.data = data,
                             .data_bytes = rows * sizeof *data,
                             .inputs = inputs,
                             .input_count = count});
}

static void update(tape *t, uint64_t contents)
{
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, contents);
}

/* What the loss and the update make of it, so that it counts. */
static void train(tape *t, fb_ref made, uint64_t contents)
{
    float data[N];

    numbers(data, contents);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)contents);
    (void)floats(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", data, &made, 1);
    update(t, contents);
}

/* --- Where it is read ------------------------------------------------------------------------- */

/* Places in the data are drawn from another range; the neighbour draws once more, of two ranges
 * that both know. */
static void drawn_from_a_range(tape *t, side s)
{
    static const char *const first[] = {"{\"high\":90}", "{\"high\":99}", "{\"high\":10}"};
    fb_ref from = drawn(t, "torch", "randint", 5, s);

    from = counts(t, "randint", first[s], N, s, &from, 1);
    (void)op(t, "Net", "mm", 10 + (uint64_t)s, &from, 1);
    from = drawn(t, "torch", "randint", 6, 7);
    from = counts(t, "randint", s == NEIGHBOUR ? first[0] : "{\"high\":10}", N, 4, &from, 1);
    (void)op(t, "Net", "mm", 20 + (uint64_t)s, &from, 1);
    next(t);
}

/* A batch of fewer rows; the neighbour reads as many others. */
static void fewer_rows(tape *t, side s)
{
    fb_ref rows = counts(t, "index", NULL, s == WRONG ? N / 2 : N, s, NULL, 0);

    (void)op(t, "Net", "mm", 10 + (uint64_t)s, &rows, 1);
    next(t);
}

/* Another slice of the same data; the neighbour slices what a module has given. */
static void read_from_elsewhere(tape *t, side s)
{
    const char *at = s == RIGHT ? "{\"in0.offset\":48}" : "{\"in0.offset\":44}";
    fb_ref data = (next(t), enters(t, "stack", 1)), hidden = op(t, "Net", "mm", 2, &data, 1);
    fb_ref made = gives(t, FB_PHASE_FORWARD, "", "stack",
                        s == NEIGHBOUR ? "{\"in0.offset\":48}" : at, s == WRONG ? 4 : 3, &data, 1);

    made = op(t, "Net", "add", 5 + (uint64_t)(s == WRONG), &made, 1);
    made = gives(t, FB_PHASE_FORWARD, "Net", "cat", s == WRONG ? "{\"in0.offset\":48}" : at,
                 7 + (uint64_t)(s == NEIGHBOUR), &hidden, 1);
    train(t, made, 9 + (uint64_t)s);
}

/* Rows of a result are written one place ahead; the neighbour computes the last op otherwise. */
static void written_elsewhere(tape *t, side s)
{
    fb_ref rows[2];

    next(t);
    for (int i = 0; i < 2; i++) {
        char at[40];

        (void)snprintf(at, sizeof at, "{\"out.offset\":%d}", N * (i + (s == WRONG ? 1 : 2)));
        rows[i] = gives(t, FB_PHASE_FORWARD, "Net", "copy_", at, 1 + (uint64_t)i, &t->weight, 1);
    }
    train(t, op(t, "", "_log_softmax", s == RIGHT ? 5 : 6, rows, 2), 7 + (uint64_t)s);
}

/* A module reads another row of what it was given; the neighbour reads it of another tensor. */
static void read_from_another_row(tape *t, side s)
{
    fb_ref rows[2];

    next(t);
    rows[0] = op(t, "Net", "stack", 1, &t->weight, 1);
    rows[1] = op(t, "Net", "relu", 2, &t->weight, 1);
    train(t,
          gives(t, FB_PHASE_FORWARD, "Net", "mm",
                s == RIGHT ? "{\"in0.offset\":64}" : "{\"in0.offset\":32}", 3 + (uint64_t)s,
                &rows[s == NEIGHBOUR], 1),
          7 + (uint64_t)s);
}

/* A draw gives other numbers, and a product with zeros hides them. */
static void drawn_and_hidden(tape *t, side s)
{
    fb_ref from = (next(t), drawn(t, "numpy", "choice", 1, s == WRONG ? 2 : 1));

    from = op(t, "Net", "mul", 3, &from, 1);
    train(t, op(t, "Net", "mm", s == RIGHT ? 4 : 5, &from, 1), 6 + (uint64_t)s);
}

/* The order of the first epoch is drawn before the first call of a module, which is in the next
 * step, or not at all; the neighbour draws it, for nothing, and computes another op. */
static void drawn_in_front(tape *t, side s)
{
    fb_ref data = enters(t, "cat", 1), from;

    if (s != RIGHT) {
        from = drawn(t, "torch", "randperm", 5, 2);
        from = counts(t, "randperm", NULL, N, 2, &from, 1);
        if (s == WRONG)
            data = op(t, "", "index", 3, (fb_ref[]){data, from}, 2);
    }
    stands(t, "torch", s == RIGHT ? 5 : 6, 0);
    next(t);
    train(t, op(t, "Net", s == NEIGHBOUR ? "bmm" : "mm", 4 + (uint64_t)s, &data, 1),
          7 + (uint64_t)s);
    stands(t, "torch", s == RIGHT ? 5 : 6, 0);
}

/* Tokens are replaced; the neighbour counts its positions from elsewhere. */
static void other_tokens(tape *t, side s)
{
    fb_ref read[2] = {t->weight}, places[2] = {t->weight};

    next(t);
    read[1] = counts(t, "where", NULL, N, s == WRONG ? 1 : 0, NULL, 0);
    (void)op(t, "Net.tokens", "embedding", s == WRONG ? 4 : 3, read, 2);
    places[1] = counts(t, "arange", s == NEIGHBOUR ? "{\"start\":1}" : "{\"start\":0}", N,
                       s == NEIGHBOUR ? 6 : 5, NULL, 0);
    (void)op(t, "Net.places", "embedding", s == NEIGHBOUR ? 8 : 7, places, 2);
}

/* Targets are cut at another place of the labels; the neighbour hides what it compares. */
static void targets_cut(tape *t, side s)
{
    fb_ref labels = counts(t, "stack", NULL, N, 0, NULL, 0), read[2];

    read[0] = counts(t, "ne", s == WRONG ? "{\"other\":0}" : "{\"other\":0,\"in0.offset\":1}", N,
                     s == WRONG ? 1 : 2, &labels, 1);
    (void)counts(t, "sum", NULL, 1, s == WRONG ? 3 : 4, read, 1);
    read[1] = counts(t, "eq", s == NEIGHBOUR ? "{\"in0.offset\":1}" : NULL, N,
                     s == NEIGHBOUR ? 5 : 6, &labels, 1);
    (void)op(t, "Net", "masked_fill", s == NEIGHBOUR ? 7 : 8, read, 2);
    next(t);
}

/* --- By hand ---------------------------------------------------------------------------------- */

/* One step of two passes, of which the side does some of it by hand. */
static void handmade(tape *t, side s, const char *name, const char *arguments, bool both)
{
    fb_ref made[2];

    next(t);
    made[0] = gradient(t, &t->weight, 1);
    made[1] = gradient(t, &t->weight, 2);
    if (s != WRONG)
        made[0] = gives(t, FB_PHASE_FORWARD, "", name, arguments, s == NEIGHBOUR ? 4 : 3, made,
                        both ? 2 : 1);
    made[0] = gives(t, FB_PHASE_FORWARD, "", "sub", NULL, 5 + (uint64_t)s, made, 1);
    update(t, 8 + (uint64_t)s);
}

static void clamped(tape *t, side s)
{
    handmade(t, s, "clamp_", "{\"min\":-0.01}", false);
}

static void added(tape *t, side s)
{
    handmade(t, s, "add", NULL, true);
}

static void divided(tape *t, side s)
{
    handmade(t, s, "div", "{\"other\":2}", false);
}

/* An update by hand reads clipped gradients, or those before; the neighbour has another rate. */
static void clipped_too_late(tape *t, side s)
{
    fb_ref plain, clipped;
    float data[N];

    next(t);
    numbers(data, 1);
    plain = floats(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", data, &t->weight, 1);
    clipped = gives(t, FB_PHASE_OPTIMIZER, "clip", "mul_", NULL, 2, &plain, 1);
    (void)gives(t, FB_PHASE_OPTIMIZER, "", "add_",
                s == NEIGHBOUR ? "{\"alpha\":-2}" : "{\"alpha\":-1}", 3 + (uint64_t)s,
                s == WRONG ? &plain : &clipped, 1);
    update(t, 8 + (uint64_t)s);
}

/* A further pass in front of the update, which begins with a draw; the neighbour draws more. */
static void another_pass(tape *t, side s)
{
    fb_ref made;

    next(t);
    made = op(t, "Net", "mm", 1, &t->weight, 1);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", 1);
    if (s != RIGHT) {
        made = drawn(t, "torch", "randint", 7, 2);
        made = op(t, "", "randint", 3, &made, 1);
    }
    if (s == WRONG)
        scalar(t, FB_PHASE_LOSS, "loss", "loss", 2);
    (void)gives(t, FB_PHASE_BACKWARD, "fc.weight", "grad", NULL, 4 + (uint64_t)s, &made, 1);
    update(t, 8 + (uint64_t)s);
}

/* What hides scores from a softmax is filled otherwise; the neighbour scales them. */
static void filled(tape *t, side s)
{
    fb_ref read[2] = {t->weight};

    next(t);
    read[1] = op(t, "attn", s == WRONG ? "zeros_like" : "full_like", s == WRONG ? 2 : 1, read, 1);
    read[0] = op(t, "attn", "where", s == WRONG ? 4 : 3, read, 2);
    if (s == NEIGHBOUR)
        read[0] = op(t, "attn", "mul", 5, read, 1);
    train(t, op(t, "attn", "_softmax", 6 + (uint64_t)s, read, 1), 10 + (uint64_t)s);
}

/* --- Copies ----------------------------------------------------------------------------------- */

/* The average of a parameter is the parameter, which no link tells; the neighbour's is another. */
static void average_shared(tape *t, side s)
{
    fb_ref read[2];

    next(t);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, 2);
    next(t);
    read[0] = enters(t, "mul", s == RIGHT ? 3 : s == WRONG ? 2 : 4);
    read[0] = op(t, "", "mul", 5 + (uint64_t)s, read, 1);
    read[1] = op(t, "", "mul", 8, &t->weight, 1);
    train(t, op(t, "", "add", 9 + (uint64_t)s, read, 2), 12 + (uint64_t)s);
}

/* Slow weights that are no copy; the neighbour computes otherwise. */
static void copy_missing(tape *t, side s)
{
    fb_ref own = op(t, "", "clone", 1, &t->weight, 1), updated;

    next(t);
    updated = parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, 2);
    next(t);
    own = op(t, "", "sub", s == RIGHT ? 3 : 4, s == WRONG ? &updated : &own, 1);
    train(t, op(t, "Net", "mm", 5 + (uint64_t)s, &own, 1), 8 + (uint64_t)s);
}

/* Parameters are changed once more behind the update, and the model goes on with that; the
 * neighbour does so with something else that it has. */
static void changed_behind(tape *t, side s)
{
    fb_ref updated, made;

    next(t);
    made = updated = parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, 2);
    next(t);
    if (s != RIGHT) {
        made = s == NEIGHBOUR ? enters(t, "add_", 9) : updated;
        made = op(t, "", "add_", 3, &made, 1);
        made = op(t, "", "copy_", 3, &made, 1);
    }
    train(t, op(t, "Net", "mm", 5 + (uint64_t)s, &made, 1), 8 + (uint64_t)s);
}

/* The first weights are cast to fewer bits and back; the neighbour draws others. */
static void cast_at_the_start(tape *t, side s)
{
    float data[N];
    fb_ref copy;

    if (s == WRONG)
        (void)report(
            t,
            (fb_site){.kind = FB_KIND_TENSOR,
                      .phase = FB_PHASE_INIT,
                      .path = "",
                      .op = "_to_copy",
                      .slot = "out",
                      .dtype = FB_DTYPE_BF16,
                      .rank = 1,
                      .shape = {N}},
            (fb_event){.data = data, .data_bytes = N * 2, .inputs = &t->weight, .input_count = 1});
    copy = enters(t, "clone", s == RIGHT ? 1 : 2);
    (void)op(t, "", "clone", s == RIGHT ? 3 : 4, &copy, 1);
    (void)parameter(t, FB_PHASE_INIT, "Net.weight", N, s == RIGHT ? 1 : 2);
    next(t);
}

/* --- Draws ------------------------------------------------------------------------------------ */

/* Numbers are drawn once more for a reader, and again as the other run does behind it; the
 * neighbour computes otherwise. */
static void drawn_once_more(tape *t, side s)
{
    fb_ref first, second, made;

    next(t);
    first = draw(t, "torch", "multinomial", 5, N);
    first = op(t, "", "multinomial", 1, &first, 1);
    second = draw(t, "torch", "multinomial", 6, N);
    second = op(t, "", "multinomial", 2, &second, 1);
    (void)op(t, "Net", "log", 3, &second, 1);
    made = op(t, "", "gather", 4 + (uint64_t)s, s == WRONG ? &second : &first, 1);
    train(t, made, 8 + (uint64_t)s);
}

/* A picture of more numbers, and training draws behind it; the neighbour trains on more. */
static void more_for_a_picture(tape *t, side s)
{
    fb_ref from, made;

    next(t);
    train(t, op(t, "Net", "mm", 1, &t->weight, 1), 1);
    next(t);
    from = draw(t, "torch", "randn", 5, s == RIGHT ? 8 : 16);
    made = op(t, "", "randn", s == RIGHT ? 2 : 3, &from, 1);
    made = op(t, "Net", "mm", s == RIGHT ? 4 : 5, s == NEIGHBOUR ? &made : &from, 1);
    from = draw(t, "torch", "bernoulli_", s == RIGHT ? 6 : 7, N);
    from = op(t, "Net", "bernoulli_", 8 + (uint64_t)s, &from, 1);
    train(t, s == NEIGHBOUR ? made : from, 11 + (uint64_t)s);
}

/* The weights of the classes come in another order; the neighbour has other targets. */
static void classes_weighed_otherwise(tape *t, side s)
{
    float data[N];
    fb_ref read[3] = {t->weight};

    next(t);
    read[1] = counts(t, "stack", NULL, N, s == NEIGHBOUR ? 1 : 0, NULL, 0);
    numbers(data, s == WRONG ? 2 : 1);
    read[2] = floats(t, FB_PHASE_FORWARD, "", "nll_loss_forward", "in2", data, NULL, 0);
    train(t, op(t, "", "nll_loss_forward", 3 + (uint64_t)s, read, 3), 8 + (uint64_t)s);
}

/* Logits are cut otherwise on their way to the loss; the neighbour's keys are, with which a product
 * compares. */
static void moved(tape *t, side s)
{
    fb_ref made;

    next(t);
    made = op(t, "Net", "mm", 1, &t->weight, 1);
    made = gives(t, FB_PHASE_FORWARD, "", "clone", NULL, s == WRONG ? 3 : 2, &made, 1);
    made = gives(t, FB_PHASE_FORWARD, "", "_log_softmax", NULL, s == WRONG ? 5 : 4, &made, 1);
    made = gives(t, FB_PHASE_FORWARD, "", "clone", NULL, s == NEIGHBOUR ? 7 : 6, &made, 1);
    made = gives(t, FB_PHASE_FORWARD, "", "bmm", NULL, s == NEIGHBOUR ? 9 : 8, &made, 1);
    train(t, gives(t, FB_PHASE_FORWARD, "", "nll_loss_forward", NULL, 10 + (uint64_t)s, &made, 1),
          14 + (uint64_t)s);
}

/* The loss has another option; the neighbour has other targets. */
static void loss_changed(tape *t, side s)
{
    fb_ref read[2] = {t->weight};

    next(t);
    read[1] = counts(t, "stack", NULL, N, s == NEIGHBOUR ? 1 : 0, NULL, 0);
    train(t,
          gives(t, FB_PHASE_FORWARD, "", "smooth_l1_loss",
                s == WRONG ? "{\"beta\":0.5}" : "{\"beta\":1}", 3 + (uint64_t)s, read, 2),
          8 + (uint64_t)s);
}

static const claim claims[] = {
    {drawn_from_a_range, "data-content", "high 90 | 99", false},
    {fewer_rows, "sample-duplicated-or-missing", "32 | 16 rows", false},
    {read_from_elsewhere, "data-content", "another part of the same data: from element 48 | 44",
     false},
    {written_elsewhere, "forward-op",
     "writes to another part of its memory: from element 64 | 32 on", false},
    {written_elsewhere, "forward-op", "writes to another part of its memory", true},
    {read_from_another_row, "forward-op", "reads another part of the same tensor", false},
    {drawn_and_hidden, "rng-offset", "a draw from stream numpy differs", false},
    {drawn_in_front, "data-order", "only b draws", false},
    {other_tokens, "data-content", "Net.tokens looks up other tokens", false},
    {targets_cut, "loss-target", "from element 1 | 0", false},
    {clamped, "clipping", "only a clamps its gradients", false},
    {added, "grad-accumulation", "only a adds up", false},
    {divided, "loss-normalization", "only a divides its gradients by 2", false},
    {clipped_too_late, "clipping", "a updates (add_) with clipped gradients", false},
    {another_pass, "grad-accumulation", "made of 1 | 2 backward passes", false},
    {filled, "mask-or-position", "zeros_like", false},
    {average_shared, "aliasing-or-tying", "in b fc.weight is what this average", false},
    {copy_missing, "aliasing-or-tying", "works on fc.weight itself", false},
    {changed_behind, "optimizer-formula", "only b changes the parameters once more", false},
    {cast_at_the_start, "precision-cast", "before training begins", false},
    {drawn_once_more, "rng-offset", "the numbers of another draw", false},
    {more_for_a_picture, "rng-offset", "8 | 16 numbers are drawn from torch", false},
    {moved, "loss-target", "the loss is over other targets, or in another order", false},
    {loss_changed, "forward-op", "smooth_l1_loss with beta 1 | 0.5", false},
    {classes_weighed_otherwise, "loss-normalization", "the classes have other weights", false},
};

TESTS_OF_CLAIMS(claims)

/* Equal hashes say nothing where the numbers lie elsewhere; hashes that differ are told. */
static void where_equal_numbers_lie_is_told_in_place_of_their_hashes(void **state)
{
    const claim k = {written_elsewhere, "", "", false},
                read = {read_from_another_row, "", "", false};
    fb_diff_report r = compare(*state, &k, WRONG);
    char *text = fb_diff_report_text(&r), *json = fb_diff_report_json(&r);

    assert_string_equal(r.first.content_a, "from element 64 of its memory on");
    assert_string_equal(r.first.content_b, "from element 32 of its memory on");
    assert_non_null(strstr(text, "        a from element 64 of its memory on\n"
                                 "        b from element 32 of its memory on\n"));
    assert_non_null(strstr(json, "\"content_b\":\"from element 32 of its memory on\""));
    free(text);
    free(json);
    fb_diff_report_free(&r);
    r = compare(*state, &read, WRONG);
    assert_non_null(strstr(r.first.content_a, "hash "));
    assert_non_null(strstr(r.first.content_b, "hash "));
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRIES_OF_CLAIMS,
        cmocka_unit_test(where_equal_numbers_lie_is_told_in_place_of_their_hashes),
    };

    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
