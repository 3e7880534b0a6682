/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_rules.c - rules for the causes of recorded programs, each on the few events that it
 * looks at: a mechanism that it names, and a neighbour that it leaves alone.
 */
#include "recorded_claims.h"

/* --- Mechanisms ------------------------------------------------------------------------------- */

static void overwritten(tape *t, side s)
{
    fb_ref cached = enters(t, "sum", 1), copy, written;

    copy = s == WRONG ? cached : op(t, "", "clone", 1, &cached, 1);
    written = op(t, "", "index_put_", 2, &copy, 1);
    (void)op(t, "Net", "mul", 3, &written, 1);
    next(t);
    (void)op(t, "Net", "sum", s == RIGHT ? 4 : 5, s == WRONG ? &written : &cached, 1);
}

static void rounded(tape *t, side s)
{
    float data[N];

    next(t);
    restores(t, "run.pt", "load");
    restores(t, "optimizer0", "load_state_dict");
    numbers(data, 1);
    for (int i = 0; i < N; i++) {
        uint32_t bits;

        memcpy(&bits, &data[i], sizeof bits);
        if (s == WRONG)
            bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        memcpy(&data[i], &bits, sizeof bits);
        data[i] *= s == NEIGHBOUR ? 1.5f : 1;
    }
    (void)floats(t, FB_PHASE_FORWARD, "", "copy_", "out", data, &t->weight, 1);
}

static void listed(tape *t, side s)
{
    static const uint64_t orders[3][4] = {{1, 2, 3, 4}, {3, 1, 4, 2}, {1, 2, 9, 4}};

    for (int i = 0; i < 4; i++) {
        const fb_ref file = enters(t, "sum", orders[s][i]);
        (void)op(t, "Net", "sum", 100 + orders[s][i], &file, 1);
    }
    next(t);
}

static void shared_out(tape *t, side s)
{
    const uint64_t batches = s == WRONG ? 4 : 2;

    for (uint64_t epoch = 0; epoch < 2; epoch++)
        for (uint64_t i = 0; i < batches; i++) {
            next(t);
            batch(t, s == RIGHT ? 8 * i : 8 * i + 4, epoch, 8 * i + s);
        }
}

static void permuted(tape *t, side s)
{
    const fb_ref from =
        draw(t, "torch.generator0", "randperm", s == NEIGHBOUR ? 6 : 5, s == WRONG ? 22 : 30);
    const fb_ref order = whole(t, "randperm", s, &from, 1);

    next(t); /* what nothing reads in its own step is read in the next */
    (void)op(t, "Net", "index", 40 + (uint64_t)s, &order, 1);
}

static void repeated(tape *t, side s)
{
    next(t);
    (void)op(t, "Net", "addmm", s == RIGHT ? 1 : 2, &t->weight, 1);
    if (s == NEIGHBOUR)
        (void)op(t, "Net", "relu", 3, &t->weight, 1);
}

static void workers_seeded(tape *t, side s)
{
    (void)draw(t, "worker0.numpy", "fetch", 11, 1);
    (void)draw(t, "worker1.numpy", "fetch", s == WRONG ? 11 : s == NEIGHBOUR ? 13 : 12, 1);
    batch(t, 0, 0, s);
    next(t);
}

static void numpy_seeded(tape *t, side s)
{
    fb_ref x;

    if (s != WRONG)
        seed(t, "numpy", 3);
    next(t);
    x = enters(t, "mul", s == RIGHT ? 1 : 2);
    (void)op(t, "Net", "mul", s == RIGHT ? 3 : 4, &x, 1);
}

/* One program rolls its image by numbers of NumPy; the neighbour by those of another source,
 * NumPy's generator is as it was. */
static void rolled(tape *t, side s)
{
    fb_ref image = enters(t, "roll", 1);

    (void)gives(t, FB_PHASE_INIT, "", "roll", s == RIGHT ? "{\"shifts\":[1]}" : "{\"shifts\":[-2]}",
                2 + s, &image, 1);
    stands(t, "numpy", 0, s == NEIGHBOUR ? 623 : s == RIGHT ? 8 : 10);
    next(t);
}

/* A flip that a coin of Python decides, on an image of the second step; the neighbour's coin was
 * drawn in the first one. */
static void flipped_by_chance(tape *t, side s)
{
    fb_ref image;

    stands(t, "python", 0, 624);
    next(t);
    stands(t, "python", 0, s == NEIGHBOUR ? 2 : 624);
    next(t);
    image = enters(t, "add", 1);
    if (s == RIGHT)
        image = op(t, "", "flip", 2, &image, 1);
    (void)op(t, "Net", "add", 3 + s, &image, 1);
    if (s != NEIGHBOUR)
        stands(t, "python", 0, 2);
    next(t);
}

/* Another program rolls by other numbers, whatever else it draws; the neighbour computes otherwise.
 */
static void rolled_by_code(tape *t, side s)
{
    rolled(t, s == WRONG ? WRONG : RIGHT);
    (void)op(t, "Net", "add", s == NEIGHBOUR ? 2 : 1, &t->weight, 1);
}

/* Other noise enters; the neighbour has seeded what it is drawn from. */
static void noisy(tape *t, side s)
{
    fb_ref x;

    if (s == NEIGHBOUR)
        seed(t, "numpy", 3);
    next(t);
    x = enters(t, "mul", s == RIGHT ? 1 : 2);
    (void)op(t, "Net", "mul", s == RIGHT ? 3 : 4, &x, 1);
    stands(t, "numpy", 0, 70 + (uint64_t)s);
}

/* Another file is read by runs that seed what they draw from; the neighbour forgets to. */
static void other_file(tape *t, side s)
{
    fb_ref x;

    if (s != NEIGHBOUR)
        seed(t, "numpy", 3);
    next(t);
    x = enters(t, "mul", s == RIGHT ? 1 : 2);
    (void)op(t, "Net", "mul", s == RIGHT ? 3 : 4, &x, 1);
    stands(t, "numpy", 0, 70);
}

/* The loss is halved, as the norm of the gradients says; the neighbour's norm says something else.
 */
static void loss_halved(tape *t, side s)
{
    fb_ref loss = (next(t), single(t, "nll_loss_forward", 3, &t->weight, 1));
    float data[N];

    if (s == RIGHT)
        loss = report(t,
                      (fb_site){.kind = FB_KIND_TENSOR,
                                .phase = FB_PHASE_FORWARD,
                                .path = "",
                                .op = "div",
                                .slot = "out",
                                .arguments = "{\"other\":2}",
                                .dtype = FB_DTYPE_F32},
                      (fb_event){.data = &(float){1.5f},
                                 .data_bytes = sizeof(float),
                                 .inputs = &loss,
                                 .input_count = 1});
    numbers(data, 2 + s);
    loss = floats(t, FB_PHASE_BACKWARD, "", "mm", "out", data, &loss, 1);
    (void)floats(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", data, &loss, 1);
    scalar(t, FB_PHASE_OPTIMIZER, "clip", "grad_norm", s == RIGHT ? 3 : s == WRONG ? 6 : 7);
}

static void layers_exchanged(tape *t, side s)
{
    (void)parameter(t, FB_PHASE_INIT, "Net.0.weight", s == WRONG ? 2 * N : N,
                    s == NEIGHBOUR ? 9 : 8);
    next(t);
}

static void other_net_held(tape *t, side s)
{
    (void)parameter(t, FB_PHASE_INIT, "optimizer0.group0.param0", s == WRONG ? 2 * N : N,
                    s == NEIGHBOUR ? 9 : 8);
    next(t);
}

static void synchronized(tape *t, side s)
{
    float data[N];
    fb_ref made;

    next(t);
    numbers(data, 1);
    made = floats(t, FB_PHASE_BACKWARD, "", "mm", "out", data, &t->weight, 1);
    numbers(data, s == RIGHT ? 2 : 3);
    if (s != WRONG) {
        made = floats(t, FB_PHASE_BACKWARD, "", "mul", "out", data, &made, 1);
        made = floats(t, FB_PHASE_BACKWARD, "", "copy_", "out", data, &made, 1);
    }
    (void)floats(t, FB_PHASE_BACKWARD, "DistributedDataParallel.module.weight", "grad", "grad",
                 data, &made, 1);
}

static void accumulated(tape *t, side s)
{
    float data[N];
    fb_ref made;

    next(t);
    made = op(t, "Net", "addmm", 1, &t->weight, 1);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", 1);
    if (s == NEIGHBOUR)
        made = op(t, "Net.new", "addmm", 2, &made, 1);
    if (s != WRONG) {
        made = op(t, "Net", "addmm", 2 + s, &made, 1);
        scalar(t, FB_PHASE_LOSS, "loss", "loss", 2);
    }
    numbers(data, 20 + s);
    (void)floats(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", data, &made, 1);
}

static void column_picked(tape *t, side s)
{
    const fb_ref out = (next(t), op(t, "Net", "softmax", s == NEIGHBOUR ? 2 : 1, &t->weight, 1));
    const fb_ref targets = whole(t, "remainder", s == WRONG ? 1 : 0, NULL, 0);

    (void)op(t, "", "index", 4 + s, (fb_ref[]){out, targets}, 2);
}

static void classes_weighted(tape *t, side s)
{
    fb_ref from[3];

    next(t);
    from[0] = op(t, "Net", "_log_softmax", 1, &t->weight, 1);
    from[1] = whole(t, "randint", 0, NULL, 0);
    from[2] = t->weight;
    (void)op(t, "", "nll_loss_forward", s == RIGHT ? 2 : 3, from, s == WRONG ? 3 : 2);
}

static void masked(tape *t, side s)
{
    float mask[N], scores[N];
    fb_ref from[2];

    next(t);
    numbers(scores, 1);
    for (int i = 0; i < N; i++) {
        mask[i] = i % 4 == (s == WRONG ? 2 : 3) ? -3.4e38f : 0;
        scores[i] = (mask[i] < 0 ? 0 : scores[i]) + mask[i];
    }
    from[0] = t->weight;
    from[1] = floats(t, FB_PHASE_FORWARD, "attn", "mul", "out", mask, NULL, 0);
    from[0] = floats(t, FB_PHASE_FORWARD, "attn", "add", "out", scores, from, 2);
    (void)op(t, "attn", "_softmax", 2 + s, from, 1);
}

/* A target network that follows is no checkpoint; one that is read from a file is. */
static void followed(tape *t, side s)
{
    next(t);
    restores(t, "Target", "load_state_dict");
    if (s == NEIGHBOUR)
        restores(t, "run.pt", "load");
    (void)op(t, "Target", "gelu", s == RIGHT ? 1 : 2, &t->weight, 1);
}

static void ordered_anew(tape *t, side s)
{
    fb_ref from = draw(t, "torch", "randperm", 5, N), order = whole(t, "randperm", 3, &from, 1);

    next(t);
    if (s != WRONG) {
        from = draw(t, "torch", "randperm", 6, N);
        order = whole(t, "randperm", 4, &from, 1);
    }
    (void)op(t, "", "index", 7 + s, &order, 1);
}

/* --- What changes nothing --------------------------------------------------------------------- */

static void drawn_by_another_call(tape *t, side s)
{
    const fb_ref from = draw(t, "torch", s == WRONG ? "normal_" : "randn_like", 5, N);
    const fb_ref made = op(t, "", s == WRONG ? "normal_" : "randn_like", 1, &from, 1);

    (void)op(t, "Net", "mul", 2, &made, 1);
    next(t);
}

static void buffer_of_a_module(tape *t, side s)
{
    if (s == WRONG)
        (void)report(t,
                     (fb_site){.kind = FB_KIND_PARAM,
                               .phase = FB_PHASE_INIT,
                               .path = "CrossEntropyLoss.weight",
                               .op = "buffer",
                               .slot = "buffer",
                               .dtype = FB_DTYPE_F32,
                               .rank = 1,
                               .shape = {1}},
                     (fb_event){.data = &(float){1}, .data_bytes = 4});
    next(t);
}

static void epoch_counted_otherwise(tape *t, side s)
{
    next(t);
    batch(t, 0, s == WRONG ? 7 : 0, 1);
}

/* j <= i against j <= i + 1; the neighbour looks it up instead. */
static void index_shifted(tape *t, side s)
{
    fb_ref j = (next(t), whole(t, "arange", 0, NULL, 0)), read[2];

    if (s != RIGHT)
        j = whole(t, "add", 1, &j, 1);
    read[0] = t->weight;
    read[1] = whole(t, "le", s == RIGHT ? 2 : 3, &j, 1);
    read[0] = op(t, "attn", s == NEIGHBOUR ? "embedding" : "masked_fill", 4 + s, read, 2);
    (void)op(t, "attn", "mm", 8 + s, read, 1);
}

/* The loss times the number of its own targets; the neighbour hides with what it compares. */
static void tokens_counted(tape *t, side s)
{
    fb_ref labels = (next(t), whole(t, "randint", 0, NULL, 0)), read[2];

    read[0] = single(t, "nll_loss_forward", 1, (fb_ref[]){t->weight, labels}, 2);
    if (s != RIGHT) {
        read[1] = whole(t, "ne", 1, &labels, 1);
        read[0] =
            s == NEIGHBOUR ? op(t, "", "masked_fill", 2, read, 2) : single(t, "mul", 4, read, 2);
    }
    (void)single(t, "exp", 5 + (float)s, read, 1);
}

/* A function that fills the weights is not called; the neighbour calls it twice. */
static void weights_left(tape *t, side s)
{
    fb_ref from = draw(t, "torch", "uniform_", 5, N);

    (void)op(t, "", "uniform_", 1, &from, 1);
    for (int i = 0; i < (s == WRONG ? 0 : s == NEIGHBOUR ? 2 : 1); i++) {
        from = draw(t, "torch", "normal_", 6 + (uint64_t)i, N);
        (void)op(t, "", "normal_", 2 + (uint64_t)i, &from, 1);
    }
    (void)draw(t, "torch", "bernoulli_", 20 + s, 3);
    (void)parameter(t, FB_PHASE_INIT, "Net.weight", N, s == WRONG ? 1 : s == NEIGHBOUR ? 3 : 2);
    next(t);
}

/* Clipped after each of two backward passes; the neighbour lacks a pass, and clips once. */
static void clipped_often(tape *t, side s)
{
    float data[N];
    fb_ref made;

    next(t);
    numbers(data, 1);
    made = floats(t, FB_PHASE_BACKWARD, "", "mm", "out", data, &t->weight, 1);
    numbers(data, 2 + s);
    if (s == RIGHT)
        made = floats(t, FB_PHASE_BACKWARD, "", "add_", "out", data, &made, 1);
    (void)floats(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", data, &made, 1);
    for (int i = 0; i < (s == WRONG ? 2 : 1); i++)
        scalar(t, FB_PHASE_OPTIMIZER, "clip", "grad_norm", 3);
}

/* The same calls in another order. */
static void called_in_another_order(tape *t, side s)
{
    fb_ref from[2], made[2];

    next(t);
    from[0] = enters(t, "pad", 1);
    from[1] = enters(t, "pad", 2);
    for (int i = 0; i < 2; i++) {
        const int k = s == WRONG ? 1 - i : i;

        made[k] = op(t, "", "stack", 5 + (uint64_t)k, &from[k], 1);
    }
    (void)op(t, "Net", "mul", 7, made, 2);
}

/* --- Claims ----------------------------------------------------------------------------------- */

static const claim claims[] = {
    {overwritten, "aliasing-or-tying", "writes into a copy", false},
    {rounded, "precision-cast", "rounded to bf16", false},
    {listed, "data-order", "the 4 tensors that enter at sum are the same", false},
    {shared_out, "sample-duplicated-or-missing", "8 | 16 samples", false},
    {permuted, "sample-duplicated-or-missing", "30 | 22 samples", false},
    {repeated, "nondeterminism", "does not repeat itself", true},
    {workers_seeded, "rng-key-reuse", "the workers of b begin with one state of numpy", false},
    {numpy_seeded, "rng-seed", "only a seeds numpy with 3", false},
    {rolled, "rng-seed", "both runs draw from numpy.random, which neither seeds", true},
    {flipped_by_chance, "rng-seed", "both runs draw from Python's random", true},
    {rolled_by_code, "data-content", "is made otherwise before it begins (roll)", false},
    {noisy, "rng-seed", "both runs draw from numpy.random", false},
    {other_file, "data-content", "what enters from outside differs", false},
    {loss_halved, "loss-normalization", "only a scales its loss (div)", false},
    {layers_exchanged, "forward-op", "Net.0.weight has another shape", false},
    {other_net_held, "optimizer-formula", "hold other parameters", false},
    {synchronized, "collective", "they are not synchronized", false},
    {accumulated, "grad-accumulation", "2 | 1 backward passes", false},
    {column_picked, "loss-target", "targets", false},
    {classes_weighted, "loss-normalization", "only b weights the terms", false},
    {masked, "mask-or-position", "the mask at attn", false},
    {index_shifted, "mask-or-position", "only b has the mask's op add", false},
    {tokens_counted, "loss-normalization", "only b counts what it divides", false},
    {weights_left, "init", "a fills Net.weight from normal_", false},
    {clipped_often, "clipping", "1 times in the step, b 2 times", false},
    {ordered_anew, "data-order", "draws the order of its samples anew", false},
};

static void each_rule_names_its_mechanism(void **state)
{
    static const claim target = {followed, "forward-op", "Target", false};

    assert_int_equal(count_unnamed(*state, claims, COUNT_OF(claims)), 0);
    assert_int_equal(count_unnamed(*state, &target, 1), 0);
}

/* The neighbour differs too, and must not be given this name for this reason. */
static void each_rule_leaves_its_neighbour_alone(void **state)
{
    assert_int_equal(count_misnamed(*state, claims, COUNT_OF(claims)), 0);
}

static void what_is_only_told_otherwise_is_a_note(void **state)
{
    static const claim harmless[] = {{drawn_by_another_call, "", "", false},
                                     {buffer_of_a_module, "", "", false},
                                     {epoch_counted_otherwise, "", "", false},
                                     {called_in_another_order, "", "", false}};

    assert_int_equal(count_alarms(*state, harmless, COUNT_OF(harmless)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_names_its_mechanism),
        cmocka_unit_test(each_rule_leaves_its_neighbour_alone),
        cmocka_unit_test(what_is_only_told_otherwise_is_a_note),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
