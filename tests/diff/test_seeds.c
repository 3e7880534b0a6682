/* SPDX-License-Identifier: Apache-2.0
 *
 * test_seeds.c - rules for seeds and states that generators are put into: what the generator is for
 * names the cause.
 */
#include "recorded_claims.h"

static void puts_back(tape *t, const char *stream, uint64_t state)
{
    (void)report(t,
                 (fb_site){.kind = FB_KIND_SEED,
                           .phase = FB_PHASE_DATA,
                           .path = stream,
                           .op = "set_state",
                           .slot = "seed",
                           .stream = stream,
                           .algorithm = "mt19937"},
                 (fb_event){.key = state});
}

static void learn(tape *t, const char *stream, const char *distribution, uint64_t key)
{
    fb_ref from = drawn(t, stream, distribution, key, key);

    from = op(t, "", distribution, key, &from, 1);
    (void)op(t, "Net", "mm", 100 + key, &from, 1);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)key);
}

/* The order of an epoch is seeded alike in each; the neighbour makes noise of it. */
static void order_seeded(tape *t, side s)
{
    seed(t, "torch.generator0", 9);
    next(t);
    seed(t, "torch.generator0", s == WRONG ? 9 : 10);
    learn(t, "torch.generator0", s == NEIGHBOUR ? "randn" : "randperm", s == RIGHT ? 10 : 9);
}

/* Only one side has a generator for this; the neighbour leaves out the seed of one that both have.
 */
static void generator_of_its_own(tape *t, side s)
{
    const bool own = s != WRONG;

    next(t);
    if (s == RIGHT)
        seed(t, "torch.generator1", 5);
    (void)op(t, "", "zeros", 3, NULL, 0);
    learn(t, own ? "torch.generator1" : "torch", "randn", s == RIGHT ? 1 : 2);
}

/* Two generators begin with one number; the neighbour's with that of Python's. */
static void seeded_alike(tape *t, side s)
{
    seed(t, "python", 85);
    seed(t, "torch.generator0", 83);
    seed(t, "torch.generator1", s == RIGHT ? 84 : s == WRONG ? 83 : 85);
    next(t);
    learn(t, "torch.generator1", "randn", 10 + (uint64_t)s);
}

/* A state is not put back behind the checkpoint; the neighbour puts back one that it kept itself.
 */
static void state_not_restored(tape *t, side s)
{
    next(t);
    if (s != NEIGHBOUR) {
        restores(t, "", "load");
        restores(t, "optimizer0", "load_state_dict");
    }
    if (s == RIGHT)
        puts_back(t, "torch", 7);
    learn(t, "torch", "randn", 10 + (uint64_t)s);
}

/* A parameter is filled by a draw, before the first step. */
static void fills(tape *t, const char *distribution, uint64_t key)
{
    const uint64_t contents = key + 20 * (uint64_t)(distribution[0] == 'u');
    fb_ref from = drawn(t, "torch", distribution, key, key);

    (void)op(t, "", distribution, contents, &from, 1);
    (void)parameter(t, FB_PHASE_INIT, "out.weight", N, contents);
}

/* A step ends, and what training reads is NumPy's. */
static void ends(tape *t, uint64_t key)
{
    stands(t, "torch", key, 32);
    learn(t, "numpy", "choice", 9);
}

/* Nobody seeds torch; the neighbour does, before it draws. */
static void torch_never_seeded(tape *t, side s)
{
    if (s == NEIGHBOUR)
        seed(t, "torch", 5);
    fills(t, "normal_", s == RIGHT ? 1 : 2);
    ends(t, s == NEIGHBOUR ? 12 : 0);
    next(t);
}

/* It was seeded before the recording began, as its state shows; the neighbour fills otherwise. */
static void torch_seeded_before(tape *t, side s)
{
    fills(t, s == NEIGHBOUR ? "uniform_" : "normal_", s == WRONG ? 2 : 1);
    ends(t, s == WRONG ? 12 : 11);
    next(t);
}

/* The seed comes behind the first draw: what was before the recording is not known. */
static void torch_seeded_too_late(tape *t, side s)
{
    fills(t, s == NEIGHBOUR ? "uniform_" : "normal_", s == WRONG ? 2 : 1);
    seed(t, "torch", 5);
    ends(t, 11);
    next(t);
}

/* --- NumPy's and Python's --------------------------------------------------------------------- */

/* A draw from a generator of the program's own. Of one that the system has seeded it is a note. */
static void draws_own(tape *t, const char *stream, uint64_t key)
{
    float data[N];

    numbers(data, key);
    (void)report(t,
                 (fb_site){.kind = FB_KIND_DRAW,
                           .phase = phase_of(t),
                           .path = stream,
                           .op = "draw",
                           .stream = stream,
                           .algorithm = "pcg64",
                           .distribution = "normal",
                           .note = key == 0},
                 (fb_event){.key = key, .count = N, .data = data, .data_bytes = sizeof data});
}

static void begins(tape *t, const char *stream, uint64_t key)
{
    (void)report(t,
                 (fb_site){.kind = FB_KIND_SEED,
                           .phase = phase_of(t),
                           .path = stream,
                           .op = "begins",
                           .slot = "seed",
                           .stream = stream,
                           .algorithm = "pcg64"},
                 (fb_event){.key = key});
}

/* What such numbers are made into enters as contents from outside. */
static void becomes(tape *t, uint64_t contents)
{
    fb_ref from = enters(t, "mm", contents);
    float data[N];

    from = op(t, "", "mm", contents, &from, 1);
    numbers(data, contents);
    (void)floats(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", data, &from, 1);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, contents);
}

/* Both make it without a seed; the neighbour seeds it otherwise. */
static void made_without_a_seed(tape *t, side s)
{
    next(t);
    if (s == NEIGHBOUR)
        seed(t, "numpy.generator0", 5);
    draws_own(t, "numpy.generator0", s == NEIGHBOUR ? 3 : 0);
    becomes(t, 10 + (uint64_t)s);
}

/* It begins in another state; the neighbour seeds it with a number. */
static void begins_otherwise(tape *t, side s)
{
    const uint64_t key = s == RIGHT ? 1 : 2;

    if (s == NEIGHBOUR)
        seed(t, "numpy.generator0", 8);
    else
        begins(t, "numpy.generator0", key);
    next(t);
    draws_own(t, "numpy.generator0", key);
    becomes(t, 10 + key);
}

/* Only one side seeds it, whatever else both seed alike; the neighbour reads other contents. */
static void seeds_one_more(tape *t, side s)
{
    seed(t, "numpy", 1);
    if (s != WRONG)
        seed(t, "numpy.generator0", 5);
    next(t);
    draws_own(t, "numpy.generator0", s == WRONG ? 0 : 3);
    becomes(t, 10 + (uint64_t)s);
}

/* One side draws once more, so that the next draw comes from another state; the neighbour's
 * generator stands elsewhere by itself. */
static void draws_once_more(tape *t, side s)
{
    seed(t, "numpy.generator0", 5);
    next(t);
    draws_own(t, "numpy.generator0", 3);
    if (s == WRONG)
        draws_own(t, "numpy.generator0", 4);
    draws_own(t, "numpy.generator0", s == RIGHT ? 4 : 5);
    becomes(t, 10 + (uint64_t)s);
    stands(t, "numpy.generator0", s == RIGHT ? 5 : 6, 32);
}

/* --- Made and drawn --------------------------------------------------------------------------- */

/* A generator is made anew with one seed in each step; the neighbour's have seeds of their own. */
static void made_in_each_step(tape *t, side s)
{
    char stream[] = "torch.generator0";

    seed(t, stream, 9);
    for (uint64_t step = 1; step <= 3; step++) {
        next(t);
        if (s != RIGHT) {
            stream[sizeof stream - 2] = (char)('0' + step);
            seed(t, stream, s == WRONG ? 9 : 10 + step);
        }
        learn(t, stream, "randn", 4 * step + (uint64_t)s);
    }
}

/* From one state another distribution; the neighbour draws from another state. */
static void drawn_as_another(tape *t, side s)
{
    fb_ref from;

    next(t);
    from = drawn(t, "torch", s == RIGHT ? "randn_like" : "rand_like", s == NEIGHBOUR ? 6 : 5,
                 10 + (uint64_t)s);
    from = op(t, "", s == RIGHT ? "randn_like" : "rand_like", 20 + (uint64_t)s, &from, 1);
    (void)op(t, "Net", "mm", 30 + (uint64_t)s, &from, 1);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)s);
}

/* A number becomes a parameter of a distribution; the neighbour's is one of the program's. */
static void parameter_of_a_distribution(tape *t, side s)
{
    float data[N];
    fb_ref from;

    next(t);
    numbers(data, 3 + (uint64_t)s);
    from = report(t,
                  (fb_site){.kind = FB_KIND_TENSOR,
                            .phase = FB_PHASE_FORWARD,
                            .path = "",
                            .op = "gt",
                            .slot = "in0",
                            .dtype = FB_DTYPE_F32,
                            .rank = 1,
                            .shape = {N},
                            .source = s == NEIGHBOUR ? "mix at train.py:8"
                                                     : "mix at train.py:8 (in __init__ at "
                                                       "distributions/beta.py:38)"},
                  (fb_event){.data = data, .data_bytes = sizeof data});
    from = op(t, "", "gt", 6 + (uint64_t)s, &from, 1);
    (void)floats(t, FB_PHASE_BACKWARD, "fc.weight", "grad", "grad", data, &from, 1);
    (void)parameter(t, FB_PHASE_OPTIMIZER, "fc.weight", N, 9 + (uint64_t)s);
}

static const claim claims[] = {
    {made_in_each_step, "rng-key-reuse", "b makes 4 generators with the seed 9", false},
    {drawn_as_another, "forward-op", "drawn as randn_like | rand_like", false},
    {parameter_of_a_distribution, "forward-op", "torch.distributions.beta", false},
    {made_without_a_seed, "rng-seed", "made without a seed (numpy.random.default_rng())", false},
    {begins_otherwise, "rng-seed", "begins in another state", false},
    {seeds_one_more, "rng-seed", "only a seeds numpy.generator0 with 5", false},
    {draws_once_more, "rng-offset", "extra draw of 32 numbers from stream numpy.generator0 in b",
     false},
    {torch_never_seeded, "rng-seed", "neither run seeds torch", false},
    {torch_seeded_before, "rng-seed", "seeded otherwise, or not at all", false},
    {torch_seeded_too_late, "rng-seed", "seeded otherwise, or not at all", false},
    {order_seeded, "data-order", "the order is drawn by torch.generator0", false},
    {generator_of_its_own, "rng-offset", "only a has a generator of its own", false},
    {seeded_alike, "rng-key-reuse", "b seeds torch.generator1 with", false},
    {state_not_restored, "checkpoint-resume", "a random generator", false},
};

MAIN_OF_CLAIMS(claims)
