/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorded_terms.c - rules for what an op of the forward pass adds up, and in which order it
 * reads its operands.
 */
#include "recorded_claims.h"

/* Ends a step in which `made` is what the loss is computed from. */
static void ends(tape *t, fb_ref made, uint64_t contents)
{
    const fb_ref loss = single(t, "add", (float)contents, &made, 1);

    scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)contents);
    (void)gradient(t, &loss, contents);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, contents);
}

/* --- Operands --------------------------------------------------------------------------------- */

/* a - b for b - a; the neighbour subtracts something else. */
static void operands_exchanged(tape *t, side s)
{
    fb_ref x[3];
    float data[N];

    next(t);
    for (int i = 0; i < 3; i++)
        x[i] = op(t, i == 0 ? "Net.left" : "Net.right", "addmm", 1 + (uint64_t)i, &t->weight, 1);
    numbers(data, 9);
    for (int i = 0; i < N; i++)
        data[i] *= s == WRONG ? -1 : s == NEIGHBOUR ? 0.5f : 1;
    x[0] = floats(t, FB_PHASE_FORWARD, "Net", "sub", "out", data,
                  s == WRONG ? (fb_ref[]){x[1], x[0]} : (fb_ref[]){x[0], x[s == RIGHT ? 1 : 2]}, 2);
    ends(t, x[0], 10 + (uint64_t)s);
}

/* Numbers that are equal yet: their difference is nothing either way. The neighbour has another
 * backward pass, and reads the operands as they are. */
static void operands_exchanged_of_nothing(tape *t, side s)
{
    fb_ref x[2], made;

    next(t);
    x[0] = op(t, "Net.now", "addmm", 1, &t->weight, 1);
    x[1] = op(t, "Net.before", "addmm", 1, &t->weight, 1);
    made = op(t, "", "sub", 2, s == WRONG ? (fb_ref[]){x[1], x[0]} : x, 2);
    made = op(t, "", "exp", 3, &made, 1);
    made = gives(t, FB_PHASE_BACKWARD, "", "mul", NULL, 4, &made, 1);
    if (s == WRONG)
        made = gives(t, FB_PHASE_BACKWARD, "", "neg", NULL, 5, &made, 1);
    made = gradient(t, &made, 6 + (uint64_t)s);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, 10 + (uint64_t)s);
}

/* Queries from what keys are to be made of; the neighbour makes both of one. */
static void readers_exchanged(tape *t, side s)
{
    const uint64_t k = (uint64_t)s;
    fb_ref x[2], made[2];

    next(t);
    x[0] = op(t, "Net.left", "relu", 1, &t->weight, 1);
    x[1] = op(t, "Net.right", "relu", 2, &t->weight, 1);
    made[0] = op(t, "Net.q", "addmm", 3 + k, &x[s == RIGHT ? 0 : 1], 1);
    made[1] = op(t, "Net.k", "addmm", 6 + (s == WRONG), &x[s == WRONG ? 0 : 1], 1);
    ends(t, op(t, "Net", "mm", 9 + k, made, 2), 12 + k);
}

/* The ends of edges, which are the two rows of one tensor; the neighbour reads one of them twice.
 */
static void edges_turned(tape *t, side s)
{
    static const char *const read[] = {"{}", "{\"in1.offset\":90}"};
    const uint64_t k = (uint64_t)s;
    fb_ref edges = (next(t), whole(t, "cat", 0, NULL, 0)), x[2] = {t->weight, edges};

    x[0] = gives(t, FB_PHASE_FORWARD, "Net", "index", read[s != RIGHT], 1 + k, x, 2);
    x[0] = gives(t, FB_PHASE_FORWARD, "Net", "index_add", read[s != WRONG], 4 + k, x, 2);
    ends(t, x[0], 7 + k);
}

/* --- Sums and means --------------------------------------------------------------------------- */

/* A term of the loss is a sum for a mean; the neighbour's is a weight of the tokens. */
static void summed_for_a_mean(tape *t, side s)
{
    const bool mean = s == RIGHT;
    fb_ref read[2] = {(next(t), op(t, "", "pow", 1, &t->weight, 1))};

    read[0] = single(t, mean ? "mean" : "sum", mean ? 2 : s == WRONG ? 64 : 60, read, 1);
    if (s == NEIGHBOUR) {
        read[1] = op(t, "", "log", 3, &t->weight, 1);
        read[0] = op(t, "", "mul", 4, read, 2);
    }
    read[1] = single(t, "nll_loss_forward", 5, &t->weight, 1);
    ends(t, single(t, "add", 7 + (float)s, read, 2), 10 + (uint64_t)s);
}

/* The sum of N numbers is not divided by N; the neighbour's is not divided by another number. */
static void sum_not_divided(tape *t, side s)
{
    const float n = s == NEIGHBOUR ? 7 : N;
    fb_ref read[2] = {(next(t), op(t, "", "pow", 1, &t->weight, 1))};

    read[0] = single(t, "sum", 64, read, 1);
    if (s != WRONG)
        read[0] = report(
            t,
            (fb_site){.kind = FB_KIND_TENSOR,
                      .phase = FB_PHASE_FORWARD,
                      .path = "",
                      .op = "div",
                      .slot = "out",
                      .arguments = s == RIGHT ? "{\"other\":32}" : "{\"other\":7}",
                      .dtype = FB_DTYPE_F32},
            (fb_event){
                .data = (float[]){64 / n}, .data_bytes = 4, .inputs = read, .input_count = 1});
    read[1] = single(t, "nll_loss_forward", 5, &t->weight, 1);
    ends(t, single(t, "add", 5 + 64 / (s == WRONG ? 1 : n), read, 2), 10 + (uint64_t)s);
}

static fb_ref total(tape *t, const char *name, int64_t value, const fb_ref *inputs, uint32_t count)
{
    return report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = FB_PHASE_FORWARD,
                  .path = "",
                  .op = name,
                  .slot = "out",
                  .dtype = FB_DTYPE_I64},
        (fb_event){
            .data = &value, .data_bytes = sizeof value, .inputs = inputs, .input_count = count});
}

/* The loss is divided by how many sequences there are, not by the sum of their lengths; the
 * neighbour divides something else by that. */
static void divided_by_rows(tape *t, side s)
{
    fb_ref lengths = (next(t), whole(t, "randint", 0, NULL, 0)), read[2];

    read[0] = single(t, "_ctc_loss", 64, &t->weight, 1);
    if (s != WRONG)
        read[1] = total(t, s == RIGHT ? "sum" : "prod", 16, &lengths, 1);
    read[0] = single(t, "div", s == WRONG ? 16 : 4 + (float)s, read, s == WRONG ? 1 : 2);
    ends(t, read[0], 10 + (uint64_t)s);
}

/* A number that is kept from step to step; the neighbour's op is on the loss. */
static void kept_average(tape *t, side s)
{
    static const char *const by[] = {"{\"other\":0.9}", "{\"other\":0.99}", "{\"other\":0.5}"};
    const char *name = s == NEIGHBOUR ? "mul" : "mul_";
    fb_ref made;

    next(t);
    made = single(t, "nll_loss_forward", 5, &t->weight, 1);
    made = report(
        t,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = FB_PHASE_FORWARD,
                  .path = "",
                  .op = name,
                  .slot = "out",
                  .arguments = by[s],
                  .dtype = FB_DTYPE_F32},
        (fb_event){
            .data = (float[]){5 + (float)s}, .data_bytes = 4, .inputs = &made, .input_count = 1});
    ends(t, made, 10 + (uint64_t)s);
}

/* Noise of another distribution from the same state; the neighbour's generator stands elsewhere. */
static void other_noise(tape *t, side s)
{
    fb_ref made;

    next(t);
    made = drawn(t, "torch", s == WRONG ? "rand_like" : "randn_like", s == NEIGHBOUR ? 6 : 5, 1);
    made = op(t, "", s == WRONG ? "rand_like" : "randn_like", 2 + (uint64_t)s, &made, 1);
    made = op(t, "Net", "mm", 5 + (uint64_t)s, &made, 1);
    ends(t, made, 8 + (uint64_t)s);
}

/* A slice of the data that the program gives to the model begins elsewhere; the neighbour's is of
 * what a module has made. */
static void sliced_elsewhere(tape *t, side s)
{
    fb_ref read[2] = {t->weight, op(t, "", "rand", 1, NULL, 0)};

    next(t);
    if (s == NEIGHBOUR)
        read[1] = op(t, "Net.other", "relu", 2, &read[1], 1);
    read[0] = gives(t, FB_PHASE_FORWARD, "Net.embed", "convolution",
                    s == RIGHT ? "{}" : "{\"in1.offset\":64}", 3 + (uint64_t)s, read, 2);
    ends(t, read[0], 6 + (uint64_t)s);
}

/* The classes weigh otherwise; the neighbour has other targets. */
static void positive_weight(tape *t, side s)
{
    const char *const loss = "binary_cross_entropy_with_logits";
    const float weight = s == WRONG ? 0.5f : 2;
    fb_ref read[3] = {(next(t), op(t, "Net", "mm", 1, &t->weight, 1))};

    read[1] = enters(t, "sub", s == NEIGHBOUR ? 3 : 2);
    read[2] = report(t,
                     (fb_site){.kind = FB_KIND_TENSOR,
                               .phase = FB_PHASE_FORWARD,
                               .path = "",
                               .op = loss,
                               .slot = "in2",
                               .dtype = FB_DTYPE_F32},
                     (fb_event){.data = &weight, .data_bytes = 4});
    ends(t, single(t, loss, 4 + (float)s, read, 3), 10 + (uint64_t)s);
}

static const claim claims[] = {
    {operands_exchanged, "forward-op", "sub at Net has its operands exchanged", false},
    {operands_exchanged_of_nothing, "forward-op", "the result is equal so far", false},
    {readers_exchanged, "forward-op", "have exchanged what they read", false},
    {edges_turned, "forward-op", "index and index_add at Net have exchanged the parts", false},
    {summed_for_a_mean, "loss-normalization", "is the mean of 32 numbers in a, their sum in b",
     false},
    {sum_not_divided, "loss-normalization", "only a divides this sum", false},
    {divided_by_rows, "loss-normalization", "only a counts what it divides", false},
    {kept_average, "forward-op", "calls mul_ with other 0.9 | 0.99", false},
    {other_noise, "forward-op", "numbers are drawn as randn_like | rand_like", false},
    {sliced_elsewhere, "data-content", "reads another part of the same data", false},
    {positive_weight, "loss-normalization", "the classes have other weights", false},
};

MAIN_OF_CLAIMS(claims)
