/* SPDX-License-Identifier: Apache-2.0
 *
 * test_learned.c - differences that begin in steps without recorded operations: they are found by
 * what they change and by what was learned, and nothing that merely shows them is blamed.
 */
#include "recorded_run.h"

#include "diff/diff.h"
#include "diff/report/picture.h"

enum { UPDATES = 8 };

typedef struct program {
    uint64_t wrong; /* from this update on the weight is another one; 0: never */
    uint64_t seen;  /* from this step on the loss shows it */
    const char *ops_steps;
    uint64_t kept;  /* gradients are not set to zero in this step; 0: always ... */
    uint64_t to;    /* ... up to this one; 0: in that one alone */
    uint64_t drawn; /* numbers are drawn in this step, and used */
    bool freed;     /* before the recording ends: nobody can say what it was */
    bool longer;
    fb_level level;
} program;

static void weight(fb_recorder *r, const program *p, fb_phase phase, uint64_t step, const char *op)
{
    const float values[2] = {(float)step, p->wrong != 0 && step >= p->wrong ? 2 : 1};

    (void)fb_recorder_tensor(r, FB_KIND_PARAM, phase, "fc.weight", op, "param", FB_DTYPE_F32, 1,
                             (const uint64_t[]){2}, values, NULL, 0);
}

static void report(fb_recorder *r, fb_site site, fb_event event)
{
    site.size = sizeof site;
    event.size = sizeof event;
    event.micro = FB_MICRO_NONE;
    event.site = fb_recorder_site(r, &site);
    fb_recorder_event(r, &event);
}

static void zero_grad(fb_recorder *r)
{
    report(r,
           (fb_site){.kind = FB_KIND_MODE,
                     .phase = FB_PHASE_BACKWARD,
                     .path = "optimizer0",
                     .op = "zero_grad",
                     .slot = "zero_grad"},
           (fb_event){.value = 1});
}

/* Where the generator stands at the end of a step. */
static void generator(fb_recorder *r, const program *p, uint64_t step)
{
    const uint64_t more = p->drawn != 0 && step >= p->drawn ? 4 : 0;

    report(r,
           (fb_site){.kind = FB_KIND_DRAW,
                     .phase = FB_PHASE_DATA,
                     .path = "torch",
                     .op = "state",
                     .stream = "torch",
                     .algorithm = "mt19937"},
           (fb_event){.key = 10 * step + more});
}

static void go(fb_recorder *r, const program *p)
{
    const uint64_t updates = UPDATES + p->longer;
    bool had_ops = true;

    for (uint64_t step = 1; step <= updates; step++) {
        const bool shows = p->wrong != 0 && step > p->wrong && step >= p->seen;
        const float out[1] = {shows || step == p->drawn ? 3 : (float)step};
        const bool keeps = p->kept != 0 && step >= p->kept && step <= (p->to > 0 ? p->to : p->kept);
        bool has_ops;

        fb_recorder_step(r, step);
        has_ops = (fb_recorder_wants(r) & 1u << FB_CLASS_OPS) != 0;
        if (has_ops && !had_ops)
            weight(r, p, FB_PHASE_CHECKPOINT, step - 1, "begin");
        had_ops = has_ops;
        if (!keeps)
            zero_grad(r);
        (void)fb_recorder_f32(r, FB_PHASE_FORWARD, "fc", "addmm", out, 1, 0);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "loss", FB_DTYPE_F32, out[0]);
        weight(r, p, FB_PHASE_OPTIMIZER, step, "sgd");
        generator(r, p, step);
    }
    fb_recorder_step(r, updates + 1);
    if (!p->freed)
        weight(r, p, FB_PHASE_CHECKPOINT, updates, "end");
}

static fb_diff_report compare(const test_folder *folder, const program *a, const program *b)
{
    const program *const sides[2] = {a, b};
    const fb_diff_options options = {.size = sizeof options};
    const char *paths[2];
    fb_diff_report report;
    fb_error err;

    for (int side = 0; side < 2; side++) {
        const fb_recorder_options how = {.size = sizeof how,
                                         .level = sides[side]->level,
                                         .ops_steps = sides[side]->ops_steps,
                                         .state_every = 6};
        fb_recorder *r;

        paths[side] = in_folder(folder, side == 0 ? "a.fbt" : "b.fbt");
        assert_ok(fb_recorder_open(&r, paths[side], &how, &err));
        go(r, sides[side]);
        assert_ok(fb_recorder_close(r, &err));
    }
    assert_ok(fb_diff(&report, paths[0], paths[1], &options, &err));
    return report;
}

static void assert_first(const fb_diff_report *r, uint64_t step, fb_phase phase, const char *op,
                         const char *cause)
{
    assert_int_equal(r->verdict, FB_DIFF_DIFFER);
    assert_int_equal(r->first.name.step, step);
    assert_int_equal(r->first.name.phase, phase);
    assert_string_equal(r->first.name.op, op);
    assert_string_equal(r->cause.name, cause);
}

/* --- Claims ----------------------------------------------------------------------------------- */

static void the_last_update_is_seen_at_every_level(void **state)
{
    const program right[] = {{.level = FB_LEVEL_STEPS},
                             {.level = FB_LEVEL_DRAWS},
                             {.level = FB_LEVEL_OPS, .ops_steps = "0:3"},
                             {.level = FB_LEVEL_OPS}};

    for (size_t x = 0; x < COUNT_OF(right); x++)
        for (size_t y = 0; y < 3; y++) {
            program wrong = right[y];
            fb_diff_report r;

            wrong.wrong = UPDATES;
            r = compare(*state, &right[x], &wrong);
            assert_first(&r, UPDATES + 1, FB_PHASE_CHECKPOINT, "end", "unknown");
            assert_string_equal(r.window_steps, "8:9");
            assert_int_equal(r.equal_through, UPDATES);
            fb_diff_report_free(&r);
            r = compare(*state, &right[x], &right[y]);
            assert_int_equal(r.verdict, FB_DIFF_SAME);
            assert_int_equal(r.notes.count, 0);
            fb_diff_report_free(&r);
        }
}

/* A note of the end is no event of a step, and is told among those in front of it all the same. */
static void a_page_has_what_was_learned_by_the_end(void **state)
{
    const program right = {.level = FB_LEVEL_DRAWS},
                  wrong = {.level = FB_LEVEL_DRAWS, .wrong = UPDATES};
    fb_diff_report r = compare(*state, &right, &wrong);
    fb_picture *p = calloc(1, sizeof *p);
    const fb_picture_row *last;
    char *page;
    fb_error err;

    assert_non_null(p);
    assert_ok(fb_picture_gather(p, &r, NULL, &err));
    assert_true(p->row_count > 0);
    last = &p->rows[p->row_count - 1];
    assert_true(last->first);
    assert_int_equal(last->mark, FB_PICTURE_ROW_DIFFERS);
    assert_string_equal(last->name.op, "end");
    assert_string_not_equal(last->a, last->b);
    for (size_t i = 0; i + 1 < p->row_count; i++)
        assert_false(p->rows[i].first);
    page = fb_diff_report_html(&r, p);
    assert_non_null(page);
    assert_non_null(strstr(page, "parameter or buffer, at the end of the recording"));
    free(page);
    fb_picture_free(p);
    free(p);
    fb_diff_report_free(&r);
}

static void what_shows_a_difference_is_not_blamed_for_it(void **state)
{
    const program right = {.level = FB_LEVEL_OPS, .ops_steps = "0:3"};
    const program late = {.level = FB_LEVEL_OPS, .ops_steps = "0:3", .wrong = 4};
    const program state_only = {
        .level = FB_LEVEL_OPS, .ops_steps = "0:3", .wrong = 4, .seen = UPDATES + 1};
    const program early = {.level = FB_LEVEL_OPS, .ops_steps = "0:3", .wrong = 1};
    fb_diff_report r = compare(*state, &right, &late);

    assert_first(&r, 5, FB_PHASE_LOSS, "", "unknown");
    assert_string_equal(r.window_steps, "4:5");
    fb_diff_report_free(&r);
    r = compare(*state, &right, &state_only);
    assert_first(&r, 6, FB_PHASE_OPTIMIZER, "sgd", "unknown");
    assert_string_equal(r.window_steps, "5:6");
    fb_diff_report_free(&r);
    r = compare(*state, &right, &early); /* where operations are on record */
    assert_first(&r, 1, FB_PHASE_OPTIMIZER, "sgd", "optimizer-formula");
    assert_null(r.window_steps);
    fb_diff_report_free(&r);
}

static void a_call_left_out_in_the_step_before_is_blamed(void **state)
{
    const program right = {.level = FB_LEVEL_OPS, .ops_steps = "0:3"};
    const program kept = {.level = FB_LEVEL_OPS, .ops_steps = "0:3", .wrong = 5, .kept = 5};
    const program habit = {.level = FB_LEVEL_OPS, .ops_steps = "0:3", .wrong = 7, .kept = 5};
    fb_diff_report r = compare(*state, &right, &kept);

    assert_first(&r, 5, FB_PHASE_BACKWARD, "zero_grad", "grad-accumulation");
    assert_int_equal(r.first.what, FB_DIFF_ONLY_A);
    assert_int_equal(r.equal_through, 4);
    assert_int_equal(r.notes.count, 0);
    fb_diff_report_free(&r);
    r = compare(*state, &kept, &right);
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    assert_int_equal(r.first.name.step, 5);
    fb_diff_report_free(&r);
    r = compare(*state, &right, &habit); /* a step passed in which it changed nothing */
    assert_first(&r, 8, FB_PHASE_LOSS, "", "unknown");
    fb_diff_report_free(&r);
}

/* What a run has left out twice, and which changed nothing the first time, did not do it now. */
static void a_call_that_was_left_out_before_is_not_blamed(void **state)
{
    const program right = {.level = FB_LEVEL_OPS, .ops_steps = "0:3"};
    const program habit = {
        .level = FB_LEVEL_OPS, .ops_steps = "0:3", .wrong = 5, .kept = 4, .to = 5};
    fb_diff_report r = compare(*state, &right, &habit);

    assert_first(&r, 6, FB_PHASE_LOSS, "", "unknown");
    fb_diff_report_free(&r);
    r = compare(*state, &habit, &right);
    assert_first(&r, 6, FB_PHASE_LOSS, "", "unknown");
    fb_diff_report_free(&r);
}

static void draws_on_no_record_are_told_by_their_generator(void **state)
{
    const program right = {.level = FB_LEVEL_OPS, .ops_steps = "0:3"};
    const program drawn = {.level = FB_LEVEL_OPS, .ops_steps = "0:3", .drawn = 5};
    fb_diff_report r = compare(*state, &right, &drawn);

    assert_first(&r, 5, FB_PHASE_LOSS, "", "rng-offset");
    assert_string_equal(r.window_steps, "4:5");
    fb_diff_report_free(&r);
}

static void operations_are_not_blamed_for_what_they_begin_with(void **state)
{
    const program right = {.level = FB_LEVEL_OPS, .ops_steps = "5:7"};
    const program before = {.level = FB_LEVEL_OPS, .ops_steps = "5:7", .wrong = 2, .seen = 6};
    const program within = {.level = FB_LEVEL_OPS, .ops_steps = "5:7", .wrong = 5, .seen = 6};
    fb_diff_report r = compare(*state, &right, &before);

    assert_first(&r, 5, FB_PHASE_CHECKPOINT, "begin", "unknown");
    assert_string_equal(r.window_steps, "0:5");
    assert_int_equal(r.equal_through, 4);
    fb_diff_report_free(&r);
    r = compare(*state, &right, &within);
    assert_first(&r, 5, FB_PHASE_OPTIMIZER, "sgd", "optimizer-formula");
    fb_diff_report_free(&r);
}

static void notes_of_one_side_or_of_runs_that_go_on_say_nothing(void **state)
{
    const program right = {.level = FB_LEVEL_DRAWS};
    const program freed = {.level = FB_LEVEL_DRAWS, .freed = true};
    const program longer = {.level = FB_LEVEL_DRAWS, .longer = true};
    const program window = {.level = FB_LEVEL_OPS, .ops_steps = "4:5"};
    fb_diff_report r = compare(*state, &right, &freed);

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.notes.count, 0);
    fb_diff_report_free(&r);
    r = compare(*state, &right, &longer);
    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
    fb_diff_report_free(&r);
    r = compare(*state, &right, &window);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.notes.count, 0);
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_update_is_seen_at_every_level),
        cmocka_unit_test(a_page_has_what_was_learned_by_the_end),
        cmocka_unit_test(what_shows_a_difference_is_not_blamed_for_it),
        cmocka_unit_test(a_call_left_out_in_the_step_before_is_blamed),
        cmocka_unit_test(a_call_that_was_left_out_before_is_not_blamed),
        cmocka_unit_test(draws_on_no_record_are_told_by_their_generator),
        cmocka_unit_test(operations_are_not_blamed_for_what_they_begin_with),
        cmocka_unit_test(notes_of_one_side_or_of_runs_that_go_on_say_nothing),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
