/* SPDX-License-Identifier: Apache-2.0
 *
 * test_own_update.c - rules for programs that compute their updates themselves: rates, formulas,
 * gradients that are kept from one backward pass to the next.
 */
#include "recorded_claims.h"

/* The gradient of fc.weight, of a pass that reads `from`. */
/* The new parameter, as the recorder tells it at the end of a step: with its gradient, and with
 * what wrote it. */
static void written(tape *t, fb_ref grad, fb_ref writer, uint64_t contents)
{
    const fb_ref from[] = {grad, writer};
    float data[N];

    numbers(data, contents);
    t->weight = report(t,
                       (fb_site){.kind = FB_KIND_PARAM,
                                 .phase = FB_PHASE_OPTIMIZER,
                                 .path = "leaf0",
                                 .op = "update",
                                 .slot = "param",
                                 .dtype = FB_DTYPE_F32,
                                 .rank = 1,
                                 .shape = {N}},
                       (fb_event){.data = data,
                                  .data_bytes = sizeof data,
                                  .inputs = from,
                                  .input_count = COUNT_OF(from)});
}

/* w = w - rate·g; the neighbour multiplies something else by another number. */
static void another_rate(tape *t, side s)
{
    fb_ref grad, read[2];

    next(t);
    grad = gradient(t, &t->weight, 1);
    read[1] =
        gives(t, FB_PHASE_FORWARD, "", "mul", s == WRONG ? "{\"other\":0.25}" : "{\"other\":0.5}",
              s == WRONG ? 3 : 2, &grad, 1);
    read[0] = t->weight;
    read[0] = gives(t, FB_PHASE_FORWARD, "", "sub_", NULL, s == WRONG ? 5 : 4, read, 2);
    if (s != WRONG)
        read[1] =
            gives(t, FB_PHASE_FORWARD, "", "mul",
                  s == NEIGHBOUR ? "{\"other\":3}" : "{\"other\":4}", 6 + (uint64_t)s, read, 1);
    (void)gives(t, FB_PHASE_FORWARD, "", "mse_loss", NULL, 9 + (uint64_t)s, &read[1], 1);
    written(t, grad, read[0], s == WRONG ? 15 : 14);
}

/* A state of the update, by the square of the gradient; the neighbour is a penalty on a gradient,
 * which is differentiated again. */
static void another_formula(tape *t, side s)
{
    const char *const other = s == RIGHT ? "{\"value\":0.01}" : "{\"value\":0.1}";
    fb_ref grad, read[2] = {t->weight};

    next(t);
    grad = gradient(t, &t->weight, 1);
    if (s == NEIGHBOUR) {
        read[1] = gives(t, FB_PHASE_FORWARD, "", "addcmul_", other, 2, &grad, 1);
        (void)gives(t, FB_PHASE_FORWARD, "", "mse_loss", NULL, 6, &read[1], 1);
        grad = gradient(t, &read[1], 7);
        read[1] = grad;
    } else {
        read[1] = gives(t, FB_PHASE_FORWARD, "", "addcmul_", other, 4 + (uint64_t)s, &grad, 1);
        read[1] = gives(t, FB_PHASE_FORWARD, "", "sqrt", NULL, 6 + (uint64_t)s, &read[1], 1);
    }
    read[0] = gives(t, FB_PHASE_FORWARD, "", "addcdiv_", NULL, 9 + (uint64_t)s, read, 2);
    written(t, grad, read[0], 12 + (uint64_t)s);
}

/* Two parameters, of which one is written no more; the neighbour leaves out what only the loss of
 * the next pass reads. */
static void not_written(tape *t, side s)
{
    fb_ref grad, read[2], kept;

    next(t);
    grad = gradient(t, &t->weight, 1);
    read[0] = kept = gives(t, FB_PHASE_FORWARD, "", "add_", "{\"alpha\":-1}", 2, &grad, 1);
    if (s != WRONG)
        kept = gives(t, FB_PHASE_FORWARD, "", "mul", "{\"other\":0.5}", 3, &grad, 1);
    if (s != NEIGHBOUR)
        read[0] = gives(t, FB_PHASE_FORWARD, "", "exp", NULL, 4, read, 1);
    read[1] = gives(t, FB_PHASE_FORWARD, "", "mse_loss", NULL, s == NEIGHBOUR ? 6 : 5, read, 1);
    written(t, grad, kept, s == WRONG ? 8 : 7);
    (void)read[1];
}

/* The sum with the gradient of the step before; the neighbour adds two of one pass. */
static void kept_from_a_step(tape *t, side s)
{
    fb_ref read[2], grad;

    next(t);
    read[0] = gradient(t, &t->weight, 1);
    written(t, read[0], read[0], 2);
    next(t);
    (void)gives(t, FB_PHASE_FORWARD, "", "mse_loss", NULL, 3, &t->weight, 1);
    read[1] = gradient(t, &t->weight, 4);
    if (s == NEIGHBOUR)
        read[0] = gradient(t, &t->weight, 5);
    grad = read[1];
    if (s != RIGHT)
        grad = gives(t, FB_PHASE_BACKWARD, "", "add_", NULL, 6 + (uint64_t)s, read, 2);
    written(t, grad, grad, 9 + (uint64_t)s);
}

/* The sum over the micro-batches of a step, of which one side keeps the last alone; the neighbour
 * leaves out a sum within the second pass. */
static void kept_from_a_pass(tape *t, side s)
{
    fb_ref first, read[2];

    next(t);
    first = gradient(t, &t->weight, 1);
    (void)gives(t, FB_PHASE_FORWARD, "", "mse_loss", NULL, 3, &t->weight, 1);
    read[0] = gradient(t, &t->weight, 4);
    read[1] = gradient(t, &t->weight, 5);
    if (s != NEIGHBOUR)
        read[1] = gives(t, FB_PHASE_BACKWARD, "", "add", NULL, 6, read, 2);
    read[0] = first;
    if (s != WRONG)
        read[1] = gives(t, FB_PHASE_BACKWARD, "", "add_", NULL, 7 + (uint64_t)s, read, 2);
    written(t, read[1], read[1], 10 + (uint64_t)s);
}

static const claim claims[] = {
    {another_rate, "schedule", "multiplies its update by 0.5 | 0.25", false},
    {another_formula, "optimizer-formula", "computes itself calls addcmul_ with value 0.01 | 0.1",
     false},
    {not_written, "optimizer-formula", "only a has mul in the update", false},
    {kept_from_a_step, "grad-accumulation", "only b adds to gradients that it has kept from step 1",
     false},
    {kept_from_a_pass, "grad-accumulation", "only a adds to the gradients that an earlier", false},
};

MAIN_OF_CLAIMS(claims)
