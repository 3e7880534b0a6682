/* SPDX-License-Identifier: Apache-2.0
 *
 * test_diff_parts.c - runs of several processes: a difference in any of them is found there, and
 * the earliest of all is told.
 */
#include "recorded_case.h"

#include <signal.h>
#include <sys/wait.h>

#include "diff/report/picture.h"
#include "tracer/read/linked.h"

/* What a program does that forks: each child draws samples for as many steps as its parent has. */
typedef struct plan {
    int children;
    bool backwards;     /* the children report first in the opposite order */
    int odd_child;      /* draws another number ... */
    uint64_t odd_step;  /* ... in this step; 0: none does */
    uint64_t odd_loss;  /* the step in which the parent's loss differs; 0: in none */
    bool with_note;     /* one more child, which records a remark and nothing else */
    int killed_child;   /* ends without a word after its events; 0: none does */
    uint64_t killed_in; /* ... or in this step; 0: after them */
    int silent_child;   /* asks what is wanted, reports nothing, ends without a word; 0: none */
    bool killed_parent; /* dies in its last step */
} plan;

enum { STEPS = 6, DRAWS = 40 };

static void report_child(fb_recorder *r, const plan *p, int number)
{
    for (uint64_t step = 1; step <= STEPS; step++) {
        fb_recorder_step(r, step);
        for (uint64_t i = 0; i < DRAWS; i++) {
            const bool odd = number == p->odd_child && step == p->odd_step && i == 7;

            (void)fb_recorder_draw(r, FB_PHASE_DATA, "worker", "philox4x32-10", (uint64_t)number,
                                   step * DRAWS + i + (odd ? 1 : 0), 1, "uniform", "shuffle",
                                   FB_DTYPE_F32, NULL);
        }
        if (number == p->killed_child && step == p->killed_in)
            (void)raise(SIGKILL);
    }
}

static void fork_child(fb_recorder *r, const plan *p, int number)
{
    int status;
    const pid_t child = fork();

    if (child == 0) {
        if (number == p->silent_child) {
            (void)fb_recorder_wants(r);
            _exit(0);
        }
        if (number > p->children)
            fb_recorder_mark(r, "looked around");
        else
            report_child(r, p, number);
        if (number == p->killed_child)
            (void)raise(SIGKILL);
        _exit(fb_recorder_close(r, NULL) == FB_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(number == p->killed_child ? WTERMSIG(status) : WEXITSTATUS(status),
                     number == p->killed_child ? SIGKILL : 0);
}

static void run_parent(const char *path, const plan *p)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    fb_recorder *r;

    assert_int_equal(fb_recorder_open(&r, path, &options, NULL), FB_OK);
    fb_recorder_mark(r, "begin");
    for (int i = 1; i <= p->children; i++)
        fork_child(r, p, p->backwards ? p->children + 1 - i : i);
    if (p->with_note)
        fork_child(r, p, p->children + 1);
    for (uint64_t step = 1; step <= STEPS; step++) {
        fb_recorder_step(r, step);
        for (int i = 0; i < 20; i++)
            (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "model", "loss", FB_DTYPE_F32,
                                     (double)step + (step == p->odd_loss && i == 3 ? 0.5 : 0));
        if (p->killed_parent && step == STEPS)
            (void)raise(SIGKILL);
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
}

static const char *record_program(const test_folder *folder, const char *name, plan p)
{
    const char *path = in_folder(folder, name);
    int status;
    const pid_t program = fork();

    if (program == 0) {
        run_parent(path, &p);
        _exit(0);
    }
    assert_int_equal(waitpid(program, &status, 0), program);
    assert_true(p.killed_parent ? WIFSIGNALED(status)
                                : WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return path;
}

static fb_diff_report compare(const char *a, const char *b, const fb_diff_options *options)
{
    fb_diff_report r;
    fb_error err;

    if (fb_diff(&r, a, b, options, &err) != FB_OK)
        fail_msg("%s", err.text);
    return r;
}

static void expect_part(const fb_diff_report *r, const char *role, uint64_t step)
{
    assert_int_equal(r->verdict, FB_DIFF_DIFFER);
    assert_true(r->has_first);
    assert_int_equal(r->first.name.step, step);
    assert_string_equal(r->part == 0 ? "main" : r->parts[r->part - 1].role, role);
}

static const plan clean = {.children = 3};

static void equal_processes_are_the_same(void **state)
{
    test_folder folder = make_folder();
    fb_diff_report r = compare(record_program(&folder, "a.fbt", clean),
                               record_program(&folder, "b.fbt", clean), NULL);

    (void)state;
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.part, 0);
    assert_int_equal(r.part_count, 3);
    for (size_t i = 0; i < r.part_count; i++) {
        assert_int_equal(r.parts[i].verdict, FB_DIFF_SAME);
        assert_int_equal(r.parts[i].events_a, STEPS * DRAWS);
        assert_int_equal(r.parts[i].events_b, STEPS * DRAWS);
    }
    assert_int_equal(r.notes.count, 0);
    assert_int_equal(r.left_out.count, 0);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_difference_in_a_child_is_found_there(void **state)
{
    test_folder folder = make_folder();
    const plan odd = {.children = 3, .odd_child = 2, .odd_step = 4};
    fb_diff_report r = compare(record_program(&folder, "a.fbt", clean),
                               record_program(&folder, "b.fbt", odd), NULL);
    char *text = fb_diff_report_text(&r), *json = fb_diff_report_json(&r);

    (void)state;
    expect_part(&r, "child2", 4);
    assert_int_equal(r.first.name.kind, FB_KIND_DRAW);
    assert_int_equal(r.first.number_a, 3 * DRAWS + 7);
    assert_non_null(strstr(r.name_a, "/a.child2.fbt"));
    assert_int_equal(r.parts[0].verdict, FB_DIFF_SAME);
    assert_int_equal(r.parts[2].verdict, FB_DIFF_SAME);
    assert_non_null(strstr(text, "in      process child2\n"));
    assert_non_null(strstr(text, "child1, child3: same; child2: differs, first at step 4\n"));
    assert_non_null(strstr(json, "\"part\":\"child2\""));
    free(text);
    free(json);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void the_earliest_difference_of_all_is_told(void **state)
{
    test_folder folder = make_folder();
    const plan child_first = {.children = 3, .odd_child = 3, .odd_step = 2, .odd_loss = 3};
    const plan main_first = {.children = 3, .odd_child = 3, .odd_step = 3, .odd_loss = 2};
    const plan together = {.children = 3, .odd_child = 1, .odd_step = 5, .odd_loss = 5};
    const char *a = record_program(&folder, "a.fbt", clean);
    fb_diff_report r = compare(a, record_program(&folder, "b.fbt", child_first), NULL);

    (void)state;
    expect_part(&r, "child3", 2);
    fb_diff_report_free(&r);
    r = compare(a, record_program(&folder, "c.fbt", main_first), NULL);
    expect_part(&r, "main", 2);
    assert_int_equal(r.parts[2].first_step, 3);
    fb_diff_report_free(&r);
    r = compare(a, record_program(&folder, "d.fbt", together), NULL);
    expect_part(&r, "main", 5);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

/* Which of several children reports first may be a matter of time. */
static void children_are_paired_by_what_they_did(void **state)
{
    test_folder folder = make_folder();
    const plan backwards = {.children = 3, .backwards = true};
    const plan odd = {.children = 3, .backwards = true, .odd_child = 1, .odd_step = 6};
    const char *a = record_program(&folder, "a.fbt", clean);
    fb_diff_report r = compare(a, record_program(&folder, "b.fbt", backwards), NULL);

    (void)state;
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.notes.count, 1);
    assert_non_null(strstr(r.parts[0].a, "a.child1.fbt"));
    assert_non_null(strstr(r.parts[0].b, "b.child3.fbt"));
    fb_diff_report_free(&r);
    r = compare(a, record_program(&folder, "c.fbt", odd), NULL);
    expect_part(&r, "child1", 6);
    assert_non_null(strstr(r.name_b, "c.child3.fbt"));
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_missing_process_counts_if_it_held_training_state(void **state)
{
    test_folder folder = make_folder();
    const plan fewer = {.children = 2}, noting = {.children = 3, .with_note = true};
    const fb_diff_options strict = {.size = sizeof strict, .strict = true};
    const char *a = record_program(&folder, "a.fbt", clean);
    const char *less = record_program(&folder, "b.fbt", fewer),
               *more = record_program(&folder, "c.fbt", noting);
    fb_diff_report r = compare(a, less, NULL);
    fb_picture picture;
    char *page;

    (void)state;
    expect_part(&r, "child3", 1);
    assert_int_equal(r.first.what, FB_DIFF_ONLY_A);
    assert_string_equal(r.cause.text, "a has a process that b lacks: child3");
    assert_int_equal(fb_picture_gather(&picture, &r, NULL, NULL), FB_OK);
    page = fb_diff_report_html(&r, &picture);
    assert_non_null(strstr(page, "The difference lies in process child3"));
    free(page);
    fb_picture_free(&picture);
    fb_diff_report_free(&r);
    r = compare(less, a, NULL);
    expect_part(&r, "child3", 1);
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    fb_diff_report_free(&r);
    r = compare(a, more, NULL);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.notes.count, 1);
    assert_string_equal(r.notes.at[0], "process child4, in b only, recorded no training");
    fb_diff_report_free(&r);
    r = compare(a, more, &strict);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

/* The line about child2 among what was left out. */
static bool leaves_out(const fb_diff_report *r, const char *words)
{
    for (size_t i = 0; i < r->left_out.count; i++)
        if (strstr(r->left_out.at[i], "child2") != NULL && strstr(r->left_out.at[i], words) != NULL)
            return true;
    return false;
}

static void a_killed_child_is_compared_as_far_as_it_goes(void **state)
{
    test_folder folder = make_folder();
    const plan killed = {.children = 3, .killed_child = 2, .killed_in = 4};
    const plan odd = {
        .children = 3, .killed_child = 2, .killed_in = 4, .odd_child = 2, .odd_step = 2};
    const fb_diff_options strict = {.size = sizeof strict, .strict = true};
    const char *a = record_program(&folder, "a.fbt", clean),
               *b = record_program(&folder, "b.fbt", killed),
               *c = record_program(&folder, "c.fbt", odd);
    fb_diff_report r = compare(a, b, NULL);

    (void)state;
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_true(leaves_out(&r, "b is torn; equal through step 3"));
    fb_diff_report_free(&r);
    r = compare(a, b, &strict);
    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
    assert_non_null(strstr(r.why, "child2: b is torn"));
    fb_diff_report_free(&r);
    r = compare(a, c, NULL);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    expect_part(&r, "child2", 2);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_child_without_a_step_leaves_the_verdict_of_the_rest(void **state)
{
    test_folder folder = make_folder();
    const plan early = {.children = 3, .killed_child = 2, .killed_in = 1};
    const plan silent = {.children = 3, .silent_child = 2};
    const plan odd = {.children = 3, .silent_child = 2, .odd_loss = 3};
    const char *a = record_program(&folder, "a.fbt", clean),
               *b = record_program(&folder, "b.fbt", early),
               *c = record_program(&folder, "c.fbt", silent),
               *d = record_program(&folder, "d.fbt", odd);
    const char *const short_ones[] = {b, c};
    const char *const words[] = {"b is torn; equal through step 0", "no finished step in b"};
    fb_diff_report r;

    (void)state;
    for (int i = 0; i < 2; i++) {
        r = compare(a, short_ones[i], NULL);
        assert_int_equal(r.verdict, FB_DIFF_SAME);
        assert_true(leaves_out(&r, words[i]));
        fb_diff_report_free(&r);
    }
    r = compare(c, c, NULL);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.left_out.count, 0);
    fb_diff_report_free(&r);
    r = compare(c, d, NULL);
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 3);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_main_trace_that_ends_early_is_not_called_the_same(void **state)
{
    test_folder folder = make_folder();
    const plan dying = {.children = 2, .killed_parent = true};
    const fb_diff_options prefix = {.size = sizeof prefix, .prefix = true};
    const char *a = record_program(&folder, "a.fbt", clean),
               *c = record_program(&folder, "c.fbt", dying);
    fb_diff_report r = compare(a, c, NULL);

    (void)state;
    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE); /* child3 may have come later */
    fb_diff_report_free(&r);
    r = compare(c, a, &prefix);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_packed_run_compares_as_its_files_do(void **state)
{
    test_folder folder = make_folder();
    const plan odd = {.children = 3, .odd_child = 2, .odd_step = 4};
    const char *a = record_program(&folder, "a.fbt", clean),
               *b = record_program(&folder, "b.fbt", odd);
    const char *packed_a = in_folder(&folder, "pa.fbt"), *packed_b = in_folder(&folder, "pb.fbt");
    fb_diff_report r;
    size_t parts;

    (void)state;
    assert_int_equal(fb_trace_pack(&parts, a, packed_a, NULL, NULL, NULL), FB_OK);
    assert_int_equal(fb_trace_pack(&parts, b, packed_b, NULL, NULL, NULL), FB_OK);
    r = compare(a, packed_a, NULL);
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.part_count, 3);
    fb_diff_report_free(&r);
    r = compare(packed_a, packed_b, NULL);
    expect_part(&r, "child2", 4);
    assert_non_null(strstr(r.name_b, "/pb.fbt/b.child2.fbt"));
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

/* --- Ranks ------------------------------------------------------------------------------------ */

/* What differs in a run of two ranks that add up their gradients in buckets, from a step on. */
typedef struct training {
    uint64_t odd_step;  /* 0: nothing */
    fb_phase odd_phase; /* of the op that rank1 has more; none: it has none, the sum differs */
    int logs;           /* the rank that computes more before everything else; none: -1 */
    bool hidden;        /* nothing says that the sum is what others have told */
} training;

static fb_ref gives(tape *t, fb_phase phase, const char *path, const char *op, uint64_t contents,
                    const fb_ref *inputs)
{
    const float data[2] = {(float)contents, 1};
    const bool is_gradient = strcmp(op, "grad") == 0;

    return report(t,
                  (fb_site){.kind = phase == FB_PHASE_OPTIMIZER ? FB_KIND_PARAM : FB_KIND_TENSOR,
                            .phase = phase,
                            .path = path,
                            .op = op,
                            .slot = is_gradient ? "grad" : "out",
                            .dtype = FB_DTYPE_F32,
                            .rank = 1,
                            .shape = {2}},
                  (fb_event){.data = data,
                             .data_bytes = sizeof data,
                             .inputs = inputs,
                             .input_count = inputs != NULL});
}

static void learn(tape *t, int rank, const training *p)
{
    const bool differs = p->odd_step > 0 && t->step >= p->odd_step, odd = differs && rank == 1;
    const uint64_t own = 100 * t->step + 10 * (uint64_t)rank, more = differs ? 50 : 0;
    fb_ref made;

    for (int i = 0; rank == p->logs && i < 9; i++)
        (void)gives(t, FB_PHASE_FORWARD, "", "log", own + (uint64_t)i, NULL);
    made = gives(t, FB_PHASE_FORWARD, "Net", "mm", own, NULL);
    if (odd && p->odd_phase == FB_PHASE_FORWARD)
        made = gives(t, FB_PHASE_FORWARD, "", "mul", own + 1, &made);
    scalar(t, FB_PHASE_LOSS, "loss", "loss", (double)own + (odd && p->odd_phase != 0));
    made = gives(t, FB_PHASE_BACKWARD, "Net", "mm_backward", own + 2, &made);
    if (odd && p->odd_phase == FB_PHASE_BACKWARD)
        made = gives(t, FB_PHASE_BACKWARD, "", "mul", own + 3, &made);
    made =
        gives(t, FB_PHASE_BACKWARD, "", p->hidden ? "div" : "copy_", 100 * t->step + more, &made);
    made = gives(t, FB_PHASE_BACKWARD,
                 p->hidden ? "fc.weight" : "DistributedDataParallel.module.fc.weight", "grad",
                 100 * t->step + more, &made);
    (void)gives(t, FB_PHASE_OPTIMIZER, "fc.weight", "sgd", 100 * t->step + more, &made);
}

static void record_rank(const char *path, const char *parent, int rank, const training *p)
{
    char header[200];
    const fb_recorder_options options = {.size = sizeof options, .header = header};
    tape *t = calloc(1, sizeof *t);
    fb_error err;

    assert_non_null(t);
    (void)snprintf(header, sizeof header,
                   "{\"rank\":%d,\"parent\":\"%s\",\"role\":\"rank%d\","
                   "\"sources\":{\"train.py\":\"0123\"}}",
                   rank, parent, rank);
    assert_ok(fb_recorder_open(&t->recorder, path, &options, &err));
    for (t->step = 1; t->step <= STEPS; t->step++) {
        fb_recorder_step(t->recorder, t->step);
        t->known_count = 0;
        learn(t, rank, p);
    }
    assert_ok(fb_recorder_close(t->recorder, &err));
    free(t);
}

/* A launcher, which records nothing itself, and its two ranks. */
static const char *record_ranks(const test_folder *folder, const char *stem, training p)
{
    char name[64], id[FB_HASH_HEX_BYTES];
    const fb_recorder_options options = {.size = sizeof options, .id = {1, 2}};
    fb_recorder *launcher;
    const char *path;
    fb_error err;

    (void)snprintf(name, sizeof name, "%s.fbt", stem);
    path = in_folder(folder, name);
    assert_ok(fb_recorder_open(&launcher, path, &options, &err));
    assert_ok(fb_recorder_close(launcher, &err));
    (void)fb_hash_hex(id, options.id);
    for (int rank = 0; rank < 2; rank++) {
        (void)snprintf(name, sizeof name, "%s.rank%d.fbt", stem, rank);
        record_rank(in_folder(folder, name), id, rank, &p);
    }
    return path;
}

static fb_diff_report compare_ranks(const test_folder *folder, training right, training wrong)
{
    const char *a = record_ranks(folder, "a", right);

    return compare(a, record_ranks(folder, "b", wrong), NULL);
}

/* What a rank alone does shows in the same step in all of them, once gradients are added up. */
static void the_rank_that_began_is_told_not_one_that_was_told(void **state)
{
    static const training wrong[] = {{3, FB_PHASE_FORWARD, -1, false},
                                     {3, FB_PHASE_BACKWARD, -1, false},
                                     {3, FB_PHASE_BACKWARD, 1, false},
                                     {3, FB_PHASE_FORWARD, 1, true},
                                     {3, FB_PHASE_BACKWARD, 0, true}};
    test_folder folder = make_folder();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        const training right = {.logs = wrong[i].logs, .hidden = wrong[i].hidden};
        fb_diff_report r = compare_ranks(&folder, right, wrong[i]);

        expect_part(&r, "rank1", 3);
        assert_string_equal(r.first.name.op, "mul");
        assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
        assert_string_not_equal(r.cause.name, "nondeterminism");
        assert_int_equal(r.parts[0].first_step, 3);
        fb_diff_report_free(&r);
    }
    drop_folder(&folder);
}

static void a_sum_that_differs_alone_is_told_of_the_first_rank(void **state)
{
    test_folder folder = make_folder();
    fb_diff_report r =
        compare_ranks(&folder, (training){.logs = -1}, (training){.odd_step = 3, .logs = -1});

    (void)state;
    expect_part(&r, "rank0", 3);
    assert_string_equal(r.first.name.op, "copy_");
    assert_string_equal(r.cause.name, "nondeterminism");
    fb_diff_report_free(&r);
    r = compare_ranks(&folder, (training){.logs = 0}, (training){.logs = 0});
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_processes_are_the_same),
        cmocka_unit_test(a_difference_in_a_child_is_found_there),
        cmocka_unit_test(the_earliest_difference_of_all_is_told),
        cmocka_unit_test(children_are_paired_by_what_they_did),
        cmocka_unit_test(a_missing_process_counts_if_it_held_training_state),
        cmocka_unit_test(a_killed_child_is_compared_as_far_as_it_goes),
        cmocka_unit_test(a_child_without_a_step_leaves_the_verdict_of_the_rest),
        cmocka_unit_test(a_main_trace_that_ends_early_is_not_called_the_same),
        cmocka_unit_test(a_packed_run_compares_as_its_files_do),
        cmocka_unit_test(the_rank_that_began_is_told_not_one_that_was_told),
        cmocka_unit_test(a_sum_that_differs_alone_is_told_of_the_first_rank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
