/* SPDX-License-Identifier: Apache-2.0
 *
 * test_replicas.c - the ranks of one run: the step and the parameter in which they part, and ranks
 * that are as they should be.
 */
#include "recorded_run.h"

#include "diff/diff.h"
#include "diff/replicas.h"

enum { STEPS = 8 };

/* What one rank does. */
typedef struct plan {
    uint64_t odd_step;    /* from here on fc.bias has other values; 0: never */
    bool own_shard;       /* a parameter of the rank's own, in every step */
    bool own_start;       /* other values before the first step, which begins with a broadcast */
    bool own_statistics;  /* a running mean, which ranks do not share */
    uint64_t state_every; /* parameters are recorded in each step that this divides; 0: in all */
} plan;

static void put(fb_recorder *r, fb_phase phase, const char *path, const char *slot, uint64_t step,
                bool other)
{
    const uint64_t shape[1] = {2};
    const float data[2] = {(float)step, other ? 9 : 1};

    (void)fb_recorder_tensor(r, FB_KIND_PARAM, phase, path, "sgd", slot, FB_DTYPE_F32, 1, shape,
                             data, NULL, 0);
}

static void play(const char *path, const char *parent, int rank, const plan *p)
{
    char header[160];
    fb_recorder_options options = {.size = sizeof options, .header = header};
    fb_recorder *r;
    fb_error err;

    if (parent == NULL)
        (void)snprintf(header, sizeof header, "{\"rank\":0,\"world_size\":3}");
    else
        (void)snprintf(header, sizeof header, "{\"rank\":%d,\"parent\":\"%s\",\"role\":\"rank%d\"}",
                       rank, parent, rank);
    assert_ok(fb_recorder_open(&r, path, &options, &err));
    put(r, FB_PHASE_INIT, "fc.weight", "param", 0, p->own_start && rank > 0);
    for (uint64_t step = 1; step <= STEPS; step++) {
        fb_recorder_step(r, step);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "loss", FB_DTYPE_F32, rank);
        if (p->state_every > 0 && step % p->state_every != 0)
            continue;
        put(r, FB_PHASE_OPTIMIZER, "fc.weight", "param", step, false);
        put(r, FB_PHASE_OPTIMIZER, "fc.bias", "param", step,
            p->odd_step > 0 && step >= p->odd_step);
        if (p->own_shard)
            put(r, FB_PHASE_OPTIMIZER, "expert", "param", step, rank > 0);
        if (p->own_statistics)
            put(r, FB_PHASE_FORWARD, "norm.running_mean", "buffer", step, rank > 0);
    }
    assert_ok(fb_recorder_close(r, &err));
}

/* Three ranks; the last follows `odd`, the others `p`. */
static const char *record_ranks(const test_folder *folder, const char *stem, const plan *p,
                                const plan *odd)
{
    static char path[160], part[2][200];
    char id[FB_HASH_HEX_BYTES];
    fb_trace *t;
    fb_error err;

    (void)snprintf(path, sizeof path, "%s/%s.fbt", folder->path, stem);
    play(path, NULL, 0, p);
    assert_ok(fb_trace_open(&t, path, &err));
    (void)fb_hash_hex(id, fb_trace_get_info(t)->id);
    fb_trace_close(t);
    for (int rank = 1; rank <= 2; rank++) {
        (void)snprintf(part[rank - 1], sizeof part[0], "%s/%s.rank%d.fbt", folder->path, stem,
                       rank);
        play(part[rank - 1], id, rank, rank == 2 ? odd : p);
    }
    return path;
}

static fb_replicas find(const test_folder *folder, const char *stem, const plan *p, const plan *odd)
{
    fb_replicas out;
    fb_error err;

    assert_ok(fb_replicas_find(&out, record_ranks(folder, stem, p, odd), &err));
    return out;
}

static void ranks_that_are_alike_are_alike_to_the_end(void **state)
{
    const plan plans[] = {{0},
                          {.own_start = true},
                          {.own_shard = true},
                          {.own_statistics = true},
                          {.state_every = 4}};

    for (size_t i = 0; i < COUNT_OF(plans); i++) {
        const fb_replicas r = find(*state, "clean", &plans[i], &plans[i]);

        assert_int_equal(r.ranks, 2);
        assert_false(r.parted);
        assert_int_equal(r.equal_through, STEPS);
        assert_int_equal(r.own, plans[i].own_shard ? 1 : 0);
    }
}

static void the_first_step_and_parameter_that_part_are_named(void **state)
{
    for (uint64_t step = 1; step <= STEPS; step++)
        for (int kind = 0; kind < 3; kind++) {
            const plan p = {.own_shard = kind == 1, .own_statistics = kind == 2};
            plan odd = p;
            fb_replicas r;

            odd.odd_step = step;
            r = find(*state, "odd", &p, &odd);
            if (step == 1) { /* never alike: of its own, as far as anybody can say */
                assert_false(r.parted);
                continue;
            }
            assert_true(r.parted);
            assert_string_equal(r.role, "rank2");
            assert_int_equal(r.step, step);
            assert_string_equal(r.path, "fc.bias");
        }
}

static void a_diff_notes_the_run_whose_ranks_part(void **state)
{
    const plan p = {0}, odd = {.odd_step = 5};
    char a[160];
    fb_diff_report r;
    fb_error err;
    bool noted = false;

    (void)snprintf(a, sizeof a, "%s", record_ranks(*state, "a", &p, &p));
    assert_ok(fb_diff(&r, a, record_ranks(*state, "b", &p, &odd), NULL, &err));
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 5);
    for (size_t i = 0; i < r.notes.count; i++)
        noted |= strcmp(r.notes.at[i], "within b rank2 parts from rank0 in step 5: fc.bias") == 0;
    assert_true(noted);
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_that_are_alike_are_alike_to_the_end),
        cmocka_unit_test(the_first_step_and_parameter_that_part_are_named),
        cmocka_unit_test(a_diff_notes_the_run_whose_ranks_part),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
