/* SPDX-License-Identifier: Apache-2.0
 *
 * test_beginnings.c - rules for what stands before the first step: how parameters are filled, what
 * a checkpoint gives back, which generators stand elsewhere; and where an epoch ends.
 */
#include "recorded_claims.h"

/* A loader of one batch of these samples, in a program that tells how it chooses them. */
static void loads(tape *t, const char *arguments, uint64_t first)
{
    const uint64_t indices[4] = {first, first + 1, first + 2, first + 3};

    (void)report(
        t,
        (fb_site){.kind = FB_KIND_SAMPLE,
                  .phase = FB_PHASE_DATA,
                  .path = "Digits",
                  .op = "sample",
                  .dataset = "Digits",
                  .arguments = arguments},
        (fb_event){.count = 4, .indices = indices, .data = indices, .data_bytes = sizeof indices});
}

/* A draw of n numbers, and the tensor that it fills. */
static fb_ref filled(tape *t, const char *distribution, uint64_t key, uint64_t contents)
{
    const fb_ref from = drawn(t, "torch", distribution, key, contents + 100);

    return op(t, "", distribution, contents, &from, 1);
}

static void learn(tape *t, uint64_t contents)
{
    next(t);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)contents);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, contents);
}

/* --- Filling ---------------------------------------------------------------------------------- */

/* Two layers are filled in the other order; the neighbour fills the first from a wider range. */
static void other_order(tape *t, side s)
{
    const uint64_t first = s == NEIGHBOUR ? 5 : 1;

    (void)filled(t, "normal_", 10, s == WRONG ? 3 : first);
    (void)filled(t, "normal_", 11, s == WRONG ? 4 : 2);
    (void)parameter(t, FB_PHASE_INIT, "x.weight", N, s == WRONG ? 4 : first);
    (void)parameter(t, FB_PHASE_INIT, "y.weight", N, s == WRONG ? 3 : 2);
    learn(t, 20 + (uint64_t)s);
}

/* The last weights are filled from another distribution, behind which the generator stands
 * elsewhere, and an order is drawn; the neighbour draws the order from elsewhere alone. */
static void other_distribution(tape *t, side s)
{
    (void)filled(t, s == WRONG ? "uniform_" : "normal_", 10, s == WRONG ? 2 : 1);
    (void)filled(t, "random_", s == RIGHT ? 11 : 12, s == RIGHT ? 3 : 4);
    (void)parameter(t, FB_PHASE_INIT, "x.weight", N, s == WRONG ? 2 : 1);
    stands(t, "torch", s == RIGHT ? 13 : 14, 0);
    learn(t, 20 + (uint64_t)s);
}

/* What makes a first value is in front of it, and is another op; the neighbour's is on no record.
 */
static void other_maker(tape *t, side s)
{
    fb_ref made = enters(t, "sub", 1);

    (void)op(t, "", s == WRONG ? "exp" : "div", s == WRONG ? 4 : 3, &made, 1);
    (void)parameter(t, FB_PHASE_INIT, "x.weight", N, s == RIGHT ? 3 : 4);
    learn(t, 20 + (uint64_t)s);
}

/* An order is drawn in front of the layers; the neighbour fills them from another distribution. */
static void order_in_front(tape *t, side s)
{
    (void)filled(t,
                 s == RIGHT   ? "uniform_"
                 : s == WRONG ? "randperm"
                              : "normal_",
                 10, s == RIGHT ? 1 : 2);
    (void)parameter(t, FB_PHASE_INIT, "x.weight", N, s == RIGHT ? 1 : 2);
    learn(t, 20 + (uint64_t)s);
}

/* A generator whose key is a name gives other numbers; the neighbour is asked for others. */
static void seeded_out_of_sight(tape *t, side s)
{
    float data[N];

    numbers(data, s == RIGHT ? 1 : 2);
    (void)report(t,
                 (fb_site){.kind = FB_KIND_DRAW,
                           .phase = FB_PHASE_INIT,
                           .path = "main",
                           .op = "draw",
                           .stream = "main",
                           .algorithm = "xorshift",
                           .distribution = s == NEIGHBOUR ? "normal" : "uniform"},
                 (fb_event){.key = 7, .count = N, .data = data, .data_bytes = sizeof data});
    learn(t, 20 + (uint64_t)s);
}

/* --- Checkpoints ------------------------------------------------------------------------------ */

/* Both read a file, and one leaves a parameter as it was made; the neighbour restores the same, and
 * makes another parameter otherwise, which no file has. */
static void left_out(tape *t, side s)
{
    fb_ref made = enters(t, "clone", 1);

    restores(t, "", "load");
    if (s != WRONG)
        (void)op(t, "", "copy_", 2, NULL, 0);
    (void)op(t, "", "mul", s == NEIGHBOUR ? 4 : 3, &made, 1);
    (void)parameter(t, FB_PHASE_INIT, "x.weight", N, s == WRONG ? 1 : 2);
    (void)parameter(t, FB_PHASE_INIT, "head.weight", N, s == NEIGHBOUR ? 4 : 3);
    learn(t, 20 + (uint64_t)s);
}

/* The same of a generator; the neighbour draws from it behind the file. */
static void generator_left_out(tape *t, side s)
{
    restores(t, "", "load");
    (void)filled(t, "normal_", s == NEIGHBOUR ? 9 : 10, s == NEIGHBOUR ? 2 : 1);
    stands(t, "torch", s == RIGHT ? 13 : 14, 0);
    next(t);
    batch(t, s == RIGHT ? 0 : 4, 0, 3 + (uint64_t)s);
    (void)op(t, "Net", "mm", 3 + (uint64_t)s, &t->weight, 1);
    stands(t, "torch", s == RIGHT ? 15 : 16, 0);
}

/* --- Epochs ----------------------------------------------------------------------------------- */

/* An epoch has a batch less in one run, which goes on to another loader; the neighbour goes through
 * that loader once more behind the epoch. */
static void shorter_epoch(tape *t, side s)
{
    const char *const train = s == WRONG ? "{\"sampler\":\"RandomSampler\",\"drop_last\":true}"
                                         : "{\"sampler\":\"RandomSampler\",\"drop_last\":false}";
    const char *const test = "{\"sampler\":\"SequentialSampler\",\"drop_last\":false}";

    for (uint64_t i = 0; i < 4; i++) {
        next(t);
        for (uint64_t k = 0; i == (s == WRONG ? 2 : 3) && k < (s == NEIGHBOUR ? 2 : 1); k++) {
            (void)report(t,
                         (fb_site){.kind = FB_KIND_DRAW,
                                   .phase = FB_PHASE_FORWARD,
                                   .path = "torch",
                                   .op = "draw",
                                   .stream = "torch",
                                   .algorithm = "mt19937",
                                   .distribution = "random_"},
                         (fb_event){.key = 20 + k, .count = 1, .data = &k, .data_bytes = sizeof k});
            loads(t, test, 40);
        }
        if (i < (s == WRONG ? 2 : 3))
            loads(t, train, 4 * i);
        scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)(i < 2 ? i : i + 10 * (uint64_t)s));
        (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, i < 2 ? i : i + 10 * (uint64_t)s);
        stands(t, "torch", 30 + i + (i < 2 ? 0 : 10 * (uint64_t)s), 0);
    }
}

/* --- Optimizers ------------------------------------------------------------------------------- */

static void holds(tape *t, const char *path, char number)
{
    const char slot[] = {'h', 'e', 'l', 'd', ' ', 'b', 'y', ' ',    'o', 'p',
                         't', 'i', 'm', 'i', 'z', 'e', 'r', number, '\0'};

    (void)report(
        t,
        (fb_site){
            .kind = FB_KIND_MODE, .phase = FB_PHASE_INIT, .path = path, .op = "adam", .slot = slot},
        (fb_event){.value = 1});
}

/* Two optimizers are made in the other order, one of them for what no module names. rate: of the
 * first; third: what holds a third parameter. */
static void two_optimizers(tape *t, bool other_order, double rate, char third)
{
    static const char *const paths[] = {"optimizer0.group0", "optimizer1.group0"};
    static const char *const unnamed[] = {"optimizer0.group0.param0", "optimizer1.group0.param0"};
    const int first = other_order ? 1 : 0, second = 1 - first;

    for (int i = 0; i < 2; i++)
        if (i == first)
            holds(t, "fc.weight", (char)('0' + i));
        else
            holds(t, unnamed[i], (char)('0' + i));
    holds(t, "fc.bias", third);
    (void)parameter(t, FB_PHASE_INIT, unnamed[second], N, 3);
    next(t);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", 1);
    scalar(t, FB_PHASE_OPTIMIZER, paths[first], "lr", rate);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, 4 + (uint64_t)(rate > 1));
    scalar(t, FB_PHASE_OPTIMIZER, paths[second], "lr", 0.5);
    (void)parameter(t, FB_PHASE_OPTIMIZER, unnamed[second], N, 5);
}

static void optimizers_exchanged(tape *t, side s)
{
    two_optimizers(t, s == WRONG, 1, s == WRONG ? '1' : '0');
}

static void optimizers_exchanged_and_faster(tape *t, side s)
{
    two_optimizers(t, s == WRONG, s == RIGHT ? 1 : 2, s == WRONG ? '1' : '0');
}

static const claim harmless[] = {
    {optimizers_exchanged, "", "", false},
};

static void optimizers_are_paired_by_what_they_hold(void **state)
{
    const claim faster = {optimizers_exchanged_and_faster, "schedule", "is 2 times that of a",
                          false};

    assert_int_equal(count_alarms(*state, harmless, COUNT_OF(harmless)), 0);
    assert_int_equal(count_unnamed(*state, &faster, 1), 0);
}

/* One of two optimizers: the gradient that it takes, and what it makes of it. */
static void makes_update(tape *t, const char *path, uint64_t contents)
{
    float data[N];

    numbers(data, contents);
    (void)floats(t, FB_PHASE_BACKWARD, path, "grad", "grad", data, NULL, 0);
    (void)parameter(t, FB_PHASE_OPTIMIZER, path, N, contents + 1);
}

/* Steps of two optimizers, the first of which ends a step of the run: that of the other one stands
 * behind it. */
static void make_updates(tape *t, bool other_order, uint64_t odd)
{
    next(t);
    for (uint64_t i = 0; i < 3; i++) {
        (void)op(t, "Net", "mm", 10 * i, &t->weight, 1);
        makes_update(t, other_order ? "y.weight" : "x.weight", 10 * i + (other_order ? 5 : 2));
        next(t);
        makes_update(t, other_order ? "x.weight" : "y.weight",
                     10 * i + (other_order ? 2 : 5) + (i == 1 ? odd : 0));
    }
    next(t);
}

static void updates_exchanged(tape *t, side s)
{
    make_updates(t, s == WRONG, 0);
}

static void updates_exchanged_and_one_is_another(tape *t, side s)
{
    make_updates(t, s == WRONG, s == WRONG ? 40 : 0);
}

static void the_order_of_updates_is_a_note(void **state)
{
    static const claim harmless_order = {updates_exchanged, "", "", false};
    static const claim wrong = {updates_exchanged_and_one_is_another, "", "", false};
    fb_diff_report r = compare(*state, &harmless_order, WRONG);

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.notes.count, 1);
    assert_non_null(strstr(r.notes.at[0], "the optimizers step in another order from step 1 on"));
    fb_diff_report_free(&r);
    r = compare(*state, &wrong, WRONG);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    fb_diff_report_free(&r);
}

/* One run alone goes on from a checkpoint; the neighbour reads weights that others have trained. */
static void goes_on_alone(tape *t, side s)
{
    if (s != RIGHT) {
        restores(t, "run.pt", "load");
        restores(t, "Net", "load_state_dict");
        if (s == WRONG)
            restores(t, "optimizer0", "load_state_dict");
    }
    (void)parameter(t, FB_PHASE_INIT, "Net.weight", N, s == RIGHT ? 8 : 9);
    next(t);
}

static const claim claims[] = {
    {goes_on_alone, "checkpoint-resume",
     "only b goes on from a checkpoint, which restores optimizer0", false},
    {other_order, "init", "the same numbers of torch fill x.weight in a, y.weight in b", false},
    {other_distribution, "init", "x.weight starts from another value: the same state", false},
    {other_maker, "init", "x.weight starts from another value (exp)", false},
    {order_in_front, "data-order", "b draws an order of samples (randperm)", false},
    {seeded_out_of_sight, "rng-seed", "generator main is in another state", false},
    {left_out, "checkpoint-resume", "only a restores x.weight", false},
    {shorter_epoch, "sample-duplicated-or-missing",
     "an epoch of Digits has 3 | 2 batches (drop_last false | true): b ends it here", false},
    {generator_left_out, "checkpoint-resume", "generator torch stands elsewhere", false},
};

TESTS_OF_CLAIMS(claims)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRIES_OF_CLAIMS,
        cmocka_unit_test(the_order_of_updates_is_a_note),
        cmocka_unit_test(optimizers_are_paired_by_what_they_hold),
    };

    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
