/* SPDX-License-Identifier: Apache-2.0
 *
 * test_carried_state.c - what a program carries from step to step, and what passes: an average of
 * the parameters, numbers of a generator that nothing of the training reads. Each fault has a
 * harmless neighbour.
 */
#include "recorded_run.h"

#include "diff/diff.h"

enum { N = 4, STEPS = 6, AT = 3 };

typedef enum twist {
    PLAIN,
    AVERAGED_BEFORE,   /* the average takes the parameters of the step before */
    AVERAGED_IN_TWO,   /* the same numbers by another order of ops */
    AVERAGE_MISSING,   /* one side keeps none */
    AVERAGE_SHARED,    /* it is the parameters themselves, of which no copy was made */
    SEEDED_MORE,       /* a generator is seeded between two steps, and put back */
    SEEDED_AND_READ,   /* as that, and what it draws behind that is trained with */
    LONGER_SAMPLE,     /* a longer draw is shown; the generator is put back */
    LONGER_SAMPLE_KEPT /* as that, and the generator goes on from there */
} twist;

typedef struct program {
    fb_recorder *recorder;
    twist twist;
    uint64_t step;
    float w[N], average[N];
    fb_ref weight, kept;
} program;

static fb_ref report(program *p, fb_site site, fb_event event)
{
    site.size = sizeof site;
    event.size = sizeof event;
    event.site = fb_recorder_site(p->recorder, &site);
    event.step = p->step;
    event.micro = FB_MICRO_NONE;
    fb_recorder_event(p->recorder, &event);
    return (fb_ref){.site = event.site, .micro = FB_MICRO_NONE, .step = p->step};
}

/* The occurrence tells two calls of one op apart. */
static fb_ref compute(program *p, const char *op, uint32_t occurrence, const float *data, size_t n,
                      const fb_ref *inputs, uint32_t count)
{
    return report(
        p,
        (fb_site){.kind = FB_KIND_TENSOR,
                  .phase = FB_PHASE_FORWARD,
                  .path = "",
                  .op = op,
                  .slot = "out",
                  .occurrence = occurrence,
                  .dtype = FB_DTYPE_F32,
                  .rank = n > 1,
                  .shape = {n}},
        (fb_event){
            .data = data, .data_bytes = n * sizeof *data, .inputs = inputs, .input_count = count});
}

static fb_ref draw(program *p, const char *op, uint32_t occurrence, uint64_t key, uint64_t count)
{
    return report(p,
                  (fb_site){.kind = FB_KIND_DRAW,
                            .phase = FB_PHASE_FORWARD,
                            .path = "torch",
                            .op = op,
                            .occurrence = occurrence,
                            .stream = "torch",
                            .algorithm = "mt19937",
                            .distribution = "randn"},
                  (fb_event){.key = key, .count = count});
}

/* What a model makes of random numbers, to be looked at. */
static void show_sample(program *p)
{
    const bool more = p->twist == LONGER_SAMPLE || p->twist == LONGER_SAMPLE_KEPT;
    const float shown = more ? 5 : 4;
    fb_ref made = draw(p, "draw", 0, 70 + p->step, more ? 8 : 4);

    made = compute(p, "randn", 0, &shown, 1, &made, 1);
    made = compute(p, "sigmoid", 0, &shown, 1, &made, 1);
    (void)compute(p, "mean", 0, &shown, 1, &made, 1);
}

/* Noise that is trained with, from where the generator stands. */
static fb_ref make_noise(program *p, float *noise)
{
    const bool moved = (p->twist == LONGER_SAMPLE_KEPT && p->step >= AT) ||
                       (p->twist == SEEDED_AND_READ && p->step > AT);
    fb_ref made = draw(p, "draw", 1, (moved ? 900 : 100) + p->step, 1);

    *noise = moved ? 2 : 1;
    return compute(p, "randn", 1, noise, 1, &made, 1);
}

/* A seed, and what the generator's state is at the end of the step: within what puts it back. */
static void end(program *p)
{
    const bool seeded = (p->twist == SEEDED_MORE || p->twist == SEEDED_AND_READ) && p->step == AT;

    if (seeded)
        (void)report(p,
                     (fb_site){.kind = FB_KIND_SEED,
                               .phase = FB_PHASE_DATA,
                               .path = "torch",
                               .op = "seed",
                               .slot = "seed",
                               .stream = "torch",
                               .algorithm = "mt19937"},
                     (fb_event){.key = 0});
    (void)draw(p, "state", 0, seeded ? 0 : 500 + p->step, 0);
}

/* average = average / 2 + w / 2, of tensors made anew: the way of a program without an optimizer,
 * whose parameters are sums too. */
static void average(program *p, const float *w, fb_ref weight, uint32_t occurrence)
{
    float half[N], other[N];
    fb_ref parts[2], swapped[2];

    if (p->twist == AVERAGE_SHARED) {
        memcpy(p->average, w, sizeof p->average);
        p->kept = weight;
    }
    for (int i = 0; i < N; i++) {
        half[i] = p->average[i] / 2;
        other[i] = w[i] / 2;
        p->average[i] = half[i] + other[i];
    }
    parts[0] = compute(p, "mul", 0, half, N, &p->kept, 1);
    parts[1] = compute(p, "mul", 1, other, N, &weight, 1);
    swapped[0] = parts[1];
    swapped[1] = parts[0];
    p->kept = compute(p, "add", occurrence, p->average, N,
                      p->twist == AVERAGED_IN_TWO ? swapped : parts, 2);
    if (p->twist == AVERAGE_SHARED)
        p->weight = p->kept; /* written in place, with the numbers that stood there */
}

static void update(program *p, const float *change, fb_ref made, uint32_t occurrence)
{
    for (int i = 0; i < N; i++)
        p->w[i] += change[i];
    p->weight = compute(p, "add", occurrence, p->w, N, (fb_ref[]){p->weight, made}, 2);
}

static void step(program *p)
{
    const bool before = p->twist == AVERAGED_BEFORE;
    float change[N], loss, noise;
    fb_ref made;

    show_sample(p);
    made = make_noise(p, &noise);
    loss = p->w[0] * (float)p->step * noise;
    made = compute(p, "mv", 0, &loss, 1, (fb_ref[]){p->weight, made}, 2);
    for (int i = 0; i < N; i++)
        change[i] = loss / (float)(8 + i);
    made = compute(p, "neg", 0, change, N, &made, 1);
    if (before)
        average(p, p->w, p->weight, 0);
    update(p, change, made, before);
    if (!before && p->twist != AVERAGE_MISSING)
        average(p, p->w, p->weight, 1);
    (void)compute(p, "mv", 1, p->w, 1, &p->weight, 1); /* the next forward pass begins */
    end(p);
}

static void begin(program *p)
{
    for (int i = 0; i < N; i++)
        p->w[i] = p->average[i] = (float)(i + 1) / 8;
    p->weight = p->kept = compute(p, "empty", 0, p->w, N, NULL, 0);
}

static const char *play(const test_folder *folder, const char *name, twist t)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {.size = sizeof options,
                                         .level = FB_LEVEL_SKETCH,
                                         .no_stacks = true,
                                         .header = "{\"environment\":{\"argv\":[\"t.py\"]}}"};
    program p = {.twist = t};
    fb_error err;

    assert_ok(fb_recorder_open(&p.recorder, path, &options, &err));
    begin(&p);
    for (p.step = 1; p.step <= STEPS; p.step++) {
        fb_recorder_step(p.recorder, p.step);
        step(&p);
    }
    assert_ok(fb_recorder_close(p.recorder, &err));
    return path;
}

static fb_diff_report compare(const test_folder *folder, twist a, twist b)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    const char *x = play(folder, "a.fbt", a);
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, x, play(folder, "b.fbt", b), &options, &err));
    return r;
}

/* --- Claims ----------------------------------------------------------------------------------- */

static void an_average_of_the_parameters_that_differs_makes_the_runs_differ(void **state)
{
    const test_folder folder = make_folder();
    fb_diff_report r = compare(&folder, PLAIN, AVERAGED_BEFORE);

    (void)state;
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_string_equal(r.first.name.op, "mul"); /* of the weights of the step before */
    fb_diff_report_free(&r);
    r = compare(&folder, PLAIN, AVERAGE_SHARED);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void what_is_carried_in_equal_or_by_one_side_alone_changes_nothing(void **state)
{
    static const twist harmless[] = {AVERAGED_IN_TWO, AVERAGE_MISSING};
    const test_folder folder = make_folder();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(harmless); i++) {
        fb_diff_report r = compare(&folder, PLAIN, harmless[i]);

        assert_int_equal(r.verdict, FB_DIFF_SAME);
        fb_diff_report_free(&r);
    }
    drop_folder(&folder);
}

static void a_seed_counts_only_where_training_reads_the_generator_behind_it(void **state)
{
    const test_folder folder = make_folder();
    fb_diff_report r = compare(&folder, PLAIN, SEEDED_MORE);

    (void)state;
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_true(r.notes.count > 0);
    fb_diff_report_free(&r);
    r = compare(&folder, PLAIN, SEEDED_AND_READ);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, AT);
    assert_string_equal(r.first.name.op, "seed");
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_sample_that_is_shown_counts_only_where_its_generator_goes_on_from_there(void **state)
{
    const test_folder folder = make_folder();
    fb_diff_report r = compare(&folder, PLAIN, LONGER_SAMPLE);

    (void)state;
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    r = compare(&folder, PLAIN, LONGER_SAMPLE_KEPT);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_string_equal(r.first.name.op, "draw");
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_average_of_the_parameters_that_differs_makes_the_runs_differ),
        cmocka_unit_test(what_is_carried_in_equal_or_by_one_side_alone_changes_nothing),
        cmocka_unit_test(a_seed_counts_only_where_training_reads_the_generator_behind_it),
        cmocka_unit_test(a_sample_that_is_shown_counts_only_where_its_generator_goes_on_from_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
