/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_copies.c - rules for models that are one or two, for what is copied before training
 * begins, for rows and targets that a program picks itself, for optimizers that call the model.
 */
#include "recorded_claims.h"

/* A step with a loss of what `made` is. */
static void ends(tape *t, fb_ref made, uint64_t contents)
{
    scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)contents);
    (void)gradient(t, &made, contents);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, contents);
}

/* --- Models ----------------------------------------------------------------------------------- */

/* The target net is the net itself; the neighbour's target does not compute at all. */
static void one_model_for_two(tape *t, side s)
{
    fb_ref made[2];

    next(t);
    made[0] = op(t, "DQN.fc", "addmm", 1, &t->weight, 1);
    made[1] = made[0];
    if (s != NEIGHBOUR)
        made[1] = op(t, s == WRONG ? "DQN.fc" : "DQN#2.fc", "addmm", s == WRONG ? 1 : 2, made, 1);
    ends(t, op(t, "", "sub", 3 + (uint64_t)s, made, 2), 6 + (uint64_t)s);
}

/* What an average begins with, the trained parameter, is another tensor; the neighbour's parameter
 * itself begins otherwise. */
static void copied_from_elsewhere(tape *t, side s)
{
    const uint64_t first = s == NEIGHBOUR ? 3 : 2;
    fb_ref other = enters(t, "mul", 4), made, kept;

    made = op(t, "", "mul", first, &other, 1);
    kept = op(t, "", "clone", s == WRONG ? 5 : first, s == WRONG ? &other : &made, 1);
    (void)parameter(t, FB_PHASE_INIT, "Net.weight", N, first);
    next(t);
    kept = op(t, "", "lerp_", 6 + (uint64_t)s, &kept, 1);
    ends(t, op(t, "Net", "mm", 9 + (uint64_t)s, &kept, 1), 12 + (uint64_t)s);
}

/* The average keeps what it was filled with; the neighbour's is the parameter itself, and what is
 * written to it is written there. */
static void not_copied(tape *t, side s)
{
    float data[N];
    fb_ref made, kept;

    (void)op(t, "", "normal_", 1, &t->weight, 1);
    kept = op(t, "", "normal_", 2, &t->weight, 1);
    if (s == RIGHT)
        kept = op(t, "", "copy_", 1, &t->weight, 1);
    next(t);
    made = op(t, "Net", "mm", 3, &t->weight, 1);
    ends(t, made, 4);
    numbers(data, 4);
    t->weight = report(t,
                       (fb_site){.kind = FB_KIND_PARAM,
                                 .phase = FB_PHASE_OPTIMIZER,
                                 .path = "fc.weight",
                                 .op = "sgd",
                                 .slot = "state",
                                 .dtype = FB_DTYPE_F32,
                                 .rank = 1,
                                 .shape = {N}},
                       (fb_event){.data = data, .data_bytes = sizeof data});
    kept = op(t, "", "lerp_", 5 + (uint64_t)s, s == NEIGHBOUR ? &t->weight : &kept, 1);
    next(t);
    ends(t, op(t, "Net", "mm", 8 + (uint64_t)s, &kept, 1), 12 + (uint64_t)s);
}

/* The average is the parameter, for want of a copy; the neighbour's is filled otherwise. */
static void copy_left_out(tape *t, side s)
{
    fb_ref kept = t->weight;
    float data[N];

    if (s != WRONG)
        kept = op(t, "", "clone", 1, &t->weight, 1);
    if (s == NEIGHBOUR)
        kept = op(t, "", "mul", 2, &kept, 1);
    next(t);
    ends(t, op(t, "Net", "mm", 3, &t->weight, 1), 4);
    next(t);
    numbers(data, 4);
    t->weight = report(t,
                       (fb_site){.kind = FB_KIND_PARAM,
                                 .phase = FB_PHASE_OPTIMIZER,
                                 .path = "fc.weight",
                                 .op = "sgd",
                                 .slot = "written",
                                 .dtype = FB_DTYPE_F32,
                                 .rank = 1,
                                 .shape = {N}},
                       (fb_event){.data = data, .data_bytes = sizeof data});
    kept = op(t, "", "mul_", 5 + (uint64_t)s, s == WRONG ? &t->weight : &kept, 1);
    ends(t, op(t, "Net", "mm", 8 + (uint64_t)s, &kept, 1), 12 + (uint64_t)s);
}

/* --- Rows and targets ------------------------------------------------------------------------- */

static fb_ref rows(tape *t, const char *name, const char *slot, int64_t first, int64_t step,
                   const fb_ref *inputs, uint32_t count)
{
    int64_t data[8];

    for (int i = 0; i < 8; i++)
        data[i] = first + step * i;
    return report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = phase_of(t),
                  .path = "",
                  .op = name,
                  .slot = slot,
                  .dtype = FB_DTYPE_I64,
                  .rank = 1,
                  .shape = {8}},
        (fb_event){
            .data = data, .data_bytes = sizeof data, .inputs = inputs, .input_count = count});
}

/* The same rows the other way round; the neighbour adds them up. */
static void rows_turned(tape *t, side s)
{
    fb_ref read[2] = {(next(t), enters(t, "index", 1))};

    read[1] = rows(t, "randperm", "out", 0, 1, NULL, 0);
    if (s != RIGHT)
        read[1] = rows(t, s == WRONG ? "flip" : "cumsum", "out", 7, -1, &read[1], 1);
    read[0] = op(t, "", "index", 2 + (uint64_t)s, read, 2);
    ends(t, op(t, "Net", "mm", 5 + (uint64_t)s, read, 1), 8 + (uint64_t)s);
}

/* Other rows of a table, by a list of the program; the neighbour's table is another one. */
static void other_rows(tape *t, side s)
{
    fb_ref read[2] = {(next(t), enters(t, "index", s == NEIGHBOUR ? 20 : 1))};

    read[1] = rows(t, "index", "in1", s == WRONG ? 4 : 0, 1, NULL, 0);
    read[0] = op(t, "", "index", 2 + (uint64_t)s, read, 2);
    ends(t, op(t, "Net", "mm", 5 + (uint64_t)s, read, 1), 8 + (uint64_t)s);
}

static void evaluates(tape *t, bool does)
{
    (void)report(t,
                 (fb_site){.kind = FB_KIND_MODE,
                           .phase = FB_PHASE_FORWARD,
                           .path = "Net",
                           .op = "mode",
                           .slot = "training"},
                 (fb_event){.value = !does});
}

/* Rows of the table that is trained on are evaluated with; the neighbour's are further on. */
static void rows_leak(tape *t, side s)
{
    static const int64_t first[] = {8, 2, 16};
    fb_ref read[2];

    next(t);
    batch(t, 0, 0, 1);
    evaluates(t, false);
    ends(t, op(t, "Net", "mm", 2, &t->weight, 1), 3);
    next(t);
    read[0] = enters(t, "mul", 4);
    read[1] = rows(t, "index", "in1", first[s], 1, NULL, 0);
    read[0] = op(t, "", "index", 5 + (uint64_t)s, read, 2);
    evaluates(t, true);
    read[0] = op(t, "Net", "mm", 8 + (uint64_t)s, read, 1);
    ends(t, read[0], 11 + (uint64_t)s);
}

/* What the model gives is picked by parts of one order: the part that is evaluated is trained on
 * too. The neighbour trains on another part that is not. */
static void parts_leak(tape *t, side s)
{
    static const char *const trained[] = {"{}", "{\"in1.offset\":12}", "{\"in1.offset\":60}"};
    fb_ref order = rows(t, "randperm", "out", 0, 1, NULL, 0), read[2];

    for (uint64_t i = 0; i < 2; i++) {
        next(t);
        evaluates(t, false);
        read[0] = op(t, "Net", "mm", 1 + i, &t->weight, 1);
        read[1] = order;
        read[0] =
            gives(t, FB_PHASE_FORWARD, "", "index", trained[s], 4 + (uint64_t)s + 8 * i, read, 2);
        ends(t, read[0], 7 + (uint64_t)s + 8 * i);
        evaluates(t, true);
        read[0] = op(t, "Net", "mm", 30 + i, &t->weight, 1);
        (void)gives(t, FB_PHASE_FORWARD, "", "index", "{\"in1.offset\":40}", 32, read, 2);
    }
}

/* The samples bring other labels: the model gives the same, the loss does not. The neighbour's
 * bring other inputs too. */
static void labels_altered(tape *t, side s)
{
    fb_ref made;

    next(t);
    batch(t, 0, 0, (uint64_t)s);
    made = op(t, "Net", "mm", s == NEIGHBOUR ? 3 : 2, &t->weight, 1);
    made = single(t, "nll_loss_forward", 4 + (float)s, &made, 1);
    ends(t, made, 7 + (uint64_t)s);
}

/* --- Optimizers that call the model ----------------------------------------------------------- */

/* A setting differs of an optimizer that tries several points in a step; the neighbour's is set
 * alike, and its model computes otherwise. */
static void history_of_the_closure(tape *t, side s)
{
    float data[N];
    fb_ref made;

    next(t);
    made = op(t, "Net", "mm", 1, &t->weight, 1);
    (void)gradient(t, &made, 2);
    made = op(t, "Net", "mm", 3 + (uint64_t)s, &t->weight, 1);
    (void)gradient(t, &made, 6 + (uint64_t)s);
    scalar(t, FB_PHASE_OPTIMIZER, "optimizer0.group0", "history_size", s == WRONG ? 20 : 100);
    numbers(data, 9 + (uint64_t)s);
    (void)report(t,
                 (fb_site){.kind = FB_KIND_PARAM,
                           .phase = FB_PHASE_OPTIMIZER,
                           .path = "fc.weight",
                           .op = "lbfgs",
                           .slot = "param",
                           .dtype = FB_DTYPE_F32,
                           .rank = 1,
                           .shape = {N}},
                 (fb_event){.data = data, .data_bytes = sizeof data});
}

static const claim claims[] = {
    {one_model_for_two, "aliasing-or-tying", "a has a second model: DQN and DQN#2 compute there",
     false},
    {copied_from_elsewhere, "init", "begins as Net.weight in a, as something else in b", false},
    {not_copied, "init", "only a copies (copy_) fc.weight into another model", false},
    {copy_left_out, "aliasing-or-tying", "only a copies (clone) fc.weight before training begins",
     false},
    {rows_turned, "data-order", "only b brings the rows that it reads into another order (flip)",
     false},
    {other_rows, "data-order", "8 of the 8 rows that are read (index) are others", false},
    {rows_leak, "evaluation-leak", "2 of the 8 samples that b evaluates with", false},
    {parts_leak, "evaluation-leak", "4 of the 32 samples that b evaluates with", false},
    {labels_altered, "loss-target", "the same samples bring other targets", false},
    {history_of_the_closure, "optimizer-formula", "history_size of optimizer0.group0 is 100 | 20",
     false},
};

TESTS_OF_CLAIMS(claims)

/* A run of the engine beside a program that has none of its parameters; and beside itself. */
static void runs_that_have_nothing_to_do_with_each_other_are_said_to(void **state)
{
    static const claim other = {one_model_for_two, "", "", false};
    const recording how = {.level = FB_LEVEL_SKETCH};
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    const char *a = record(*state, "engine.fbt", &how);
    const char *b = play(*state, "other.fbt", &other, RIGHT);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, a, b, &options, &err));
    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
    assert_non_null(strstr(r.why, "no parameter of one begins as any of the other"));
    assert_false(r.has_first);
    fb_diff_report_free(&r);
    assert_ok(fb_diff(&r, a, a, &options, &err));
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRIES_OF_CLAIMS,
        cmocka_unit_test(runs_that_have_nothing_to_do_with_each_other_are_said_to),
    };

    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
