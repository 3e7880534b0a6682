/* SPDX-License-Identifier: Apache-2.0
 *
 * test_replay.c - a replay is silent on what a run did, stops exactly where a trace says something
 * else, and refuses what it cannot replay.
 */
#include "replay_fixture.h"

#include <inttypes.h>
#include <sys/stat.h>

/* --- Verified --------------------------------------------------------------------------------- */

static void a_run_is_replayed_whole_on_other_threads_and_isas(void **state)
{
    const fixture *f = *state;

    for (unsigned threads = 1; threads <= 3; threads++)
        for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
            const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
            fb_replay_report r;

            if (kernels == NULL)
                continue;
            r = replay(f->trace, (fb_replay_options){.threads = threads, .kernels = kernels});
            assert_verified(&r);
            assert_int_equal(r.events_checked, f->events);
            assert_true(r.has_final_hash && fb_hash_equal(r.final_hash, f->final_hash));
            assert_true(r.at_end && !r.ended_early);
            fb_replay_report_free(&r);
        }
}

/* The checkpoint, which holds the configuration, and the data's split are those of the run: neither
 * number is that of its 15 digits. */
static void a_number_of_17_digits_is_replayed_to_the_last_bit(void **state)
{
    const fixture *f = *state;
    const fb_config_set sets[] = {{.path = "optimizer.adamw.lr", .value = "0.010000000000000002"},
                                  {.path = "data.split", .value = "[0.7,0.30000000000000004]"}};
    const recording how = {.sets = sets, .set_count = 2};
    fb_replay_report r = replay(record(&f->folder, "digits.fbt", &how), (fb_replay_options){0});

    assert_verified(&r);
    fb_replay_report_free(&r);
}

static void every_level_is_replayed(void **state)
{
    static const fb_level levels[] = {FB_LEVEL_STEPS, FB_LEVEL_DRAWS, FB_LEVEL_OPS};
    const fixture *f = *state;
    uint64_t checked = 0;

    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        const recording how = {.level = levels[i]};
        fb_replay_report r = replay(record(&f->folder, "x.fbt", &how), (fb_replay_options){0});

        assert_verified(&r);
        assert_true(r.events_checked > checked);
        checked = r.events_checked;
        assert_true(fb_hash_equal(r.final_hash, f->final_hash));
        fb_replay_report_free(&r);
    }
}

static void a_run_is_the_same_anywhere_in_memory(void **state)
{
    const fixture *f = *state;

    for (size_t offset = 16; offset <= 64; offset += 16) {
        fb_replay_report r = replay(f->trace, (fb_replay_options){.memory_offset = offset});

        assert_verified(&r);
        assert_true(fb_hash_equal(r.final_hash, f->final_hash));
        fb_replay_report_free(&r);
    }
}

static uint64_t events_of(const char *path)
{
    fb_trace *trace;
    fb_error err;
    uint64_t events;

    assert_ok(fb_trace_open(&trace, path, &err));
    events = fb_trace_get_info(trace)->events;
    fb_trace_close(trace);
    return events;
}

static void every_cut_of_a_trace_is_verified_to_its_end(void **state)
{
    const fixture *f = *state;
    const char *torn = in_folder(&f->folder, "torn.fbt");
    int opened = 0;
    struct stat s;

    assert_int_equal(stat(f->trace, &s), 0);
    for (long off = 1; off < s.st_size; off += 611) {
        const fb_replay_options options = {.size = sizeof options, .no_stack = true};
        fb_replay_report r;
        fb_error err;

        cut_file(f->trace, torn, off);
        if (fb_replay(&r, torn, &options, &err) != FB_OK)
            continue; /* the header itself is cut */
        opened++;
        assert_verified(&r);
        assert_true(r.at_end && r.torn);
        assert_int_equal(r.events_checked, events_of(torn));
        fb_replay_report_free(&r);
    }
    assert_true(opened > 0);
}

/* What recovery keeps may end inside a step: all of it is checked, and its end is not the run's. */
static void a_recovered_trace_is_verified_to_its_last_event(void **state)
{
    const fixture *f = *state;
    const char *torn = in_folder(&f->folder, "torn.fbt");
    const char *recovered = in_folder(&f->folder, "recovered.fbt");
    int tried = 0;
    struct stat s;

    assert_int_equal(stat(f->trace, &s), 0);
    for (long off = 0; off < s.st_size; off += 4096) {
        fb_recovered dropped;
        fb_replay_report r;
        fb_error err;

        cut_file(f->trace, torn, off);
        (void)unlink(recovered);
        if (fb_trace_recover(&dropped, torn, recovered, NULL, NULL, &err) != FB_OK ||
            events_of(recovered) == 0)
            continue;
        tried++;
        r = replay(recovered, (fb_replay_options){0});
        assert_verified(&r);
        assert_int_equal(r.events_checked, events_of(recovered));
        assert_true(r.at_end);
        assert_int_equal(r.torn, r.events_checked < f->events); /* else it has the run's end */
        fb_replay_report_free(&r);
    }
    assert_true(tried > 1);
}

/* --- Diverged --------------------------------------------------------------------------------- */

static fb_replay_report replay_damaged(const fixture *f, const fb_fault *fault)
{
    const recording how = {.faults = fault, .fault_count = 1};

    return replay(record(&f->folder, "bad.fbt", &how), (fb_replay_options){0});
}

static void a_replay_stops_at_the_flipped_tensor(void **state)
{
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 4,
                            .path = "h.1.mlp.proj",
                            .slot = "grad",
                            .micro = 2,
                            .element = 9,
                            .bit = 1};
    fb_replay_report r = replay_damaged(*state, &fault);

    assert_true(r.diverged);
    assert_int_equal(r.first.what, FB_REPLAY_CONTENT);
    assert_int_equal(r.first.name.step, 4);
    assert_int_equal(r.first.name.micro, 2);
    assert_int_equal(r.first.name.phase, FB_PHASE_BACKWARD);
    assert_string_equal(r.first.name.path, "h.1.mlp.proj");
    assert_string_equal(r.first.name.slot, "grad");
    assert_int_equal(r.first.number, r.events_checked);
    assert_false(r.has_final_hash);
    fb_replay_report_free(&r);
}

static void a_draw_that_replay_does_not_make_is_missing(void **state)
{
    const fb_fault fault = {.kind = FB_FAULT_DRAW, .step = 2, .stream = "h.0.mlp.drop"};
    fb_replay_report r = replay_damaged(*state, &fault);

    assert_true(r.diverged);
    assert_int_equal(r.first.what, FB_REPLAY_MISSING);
    assert_int_equal(r.first.name.kind, FB_KIND_DRAW);
    assert_string_equal(r.first.name.op, "extra");
    assert_int_equal(r.first.name.step, 2);
    fb_replay_report_free(&r);
}

static void a_draw_that_the_trace_does_not_have_is_extra(void **state)
{
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_DRAW, .step = 2, .stream = "h.0.mlp.drop"};
    fb_replay_report r = replay(f->trace, (fb_replay_options){.faults = &fault, .fault_count = 1});

    assert_true(r.diverged);
    assert_int_equal(r.first.what, FB_REPLAY_EXTRA);
    assert_string_equal(r.first.name.op, "extra");
    assert_int_equal(r.first.name.step, 2);
    fb_replay_report_free(&r);
}

static void a_replay_stops_at_the_swapped_samples(void **state)
{
    const fb_fault fault = {.kind = FB_FAULT_SWAP, .step = 7, .i = 3, .j = 5};
    fb_replay_report r = replay_damaged(*state, &fault);

    assert_true(r.diverged);
    assert_int_equal(r.first.name.kind, FB_KIND_SAMPLE);
    assert_int_equal(r.first.name.step, 7);
    assert_int_equal(r.first.name.micro, 1);
    fb_replay_report_free(&r);
}

static void a_scalar_is_reported_with_its_bits(void **state)
{
    static const fb_config_set set = {"optimizer.adamw.lr", "0.011"};
    const fixture *f = *state;
    fb_replay_report r = replay(f->trace, (fb_replay_options){.sets = &set, .set_count = 1});
    char *json = fb_replay_report_json(&r);

    assert_true(r.diverged && r.first.is_scalar);
    assert_string_equal(r.first.name.path, "lr");
    assert_true(r.first.value_a == 0.005 && r.first.value_b == 0.0055);
    assert_non_null(json);
    assert_non_null(strstr(json, "\"verdict\":\"diverged\""));
    assert_non_null(strstr(json, "\"bits_a\":\"0x3f747ae147ae147b\""));
    free(json);
    fb_replay_report_free(&r);
}

/* An observer between a run and a recorder that drops the events of step 4 from one on. */
typedef struct filter {
    const fb_observer *to;
    int count, keep; /* events of step 4 */
    bool one_more;   /* a made-up one at the end of step 4 */
    uint32_t sites;
} filter;

static uint32_t filter_wants(void *self, uint64_t step)
{
    const fb_observer *to = ((filter *)self)->to;
    return to->wants == NULL ? UINT32_MAX : to->wants(to->self, step);
}

static fb_status filter_site(void *self, uint32_t number, const fb_site *site, fb_error *err)
{
    filter *f = self;

    f->sites = number + 1;
    return f->to->on_site(f->to->self, number, site, err);
}

static fb_status filter_event(void *self, const fb_event *event, fb_error *err)
{
    filter *f = self;

    if (event->step == 4 && f->count++ >= f->keep)
        return FB_OK;
    return f->to->on_event(f->to->self, event, err);
}

static fb_status filter_end(void *self, uint64_t step, fb_error *err)
{
    static const fb_site site = {.size = sizeof site,
                                 .kind = FB_KIND_SCALAR,
                                 .phase = FB_PHASE_LOSS,
                                 .path = "another",
                                 .op = "loss",
                                 .slot = "loss",
                                 .dtype = FB_DTYPE_F64};
    const filter *f = self;
    const fb_event event = {
        .size = sizeof event, .site = f->sites, .step = step, .micro = FB_MICRO_NONE, .value = 1};

    if (step == 4 && f->one_more) {
        assert_int_equal(f->to->on_site(f->to->self, event.site, &site, err), FB_OK);
        assert_int_equal(f->to->on_event(f->to->self, &event, err), FB_OK);
    }
    return f->to->on_step_end(f->to->self, step, err);
}

/* A complete trace of four steps whose last one lacks events, or has one too many. */
static const char *record_filtered(const fixture *f, int keep, bool one_more)
{
    const char *path = in_folder(&f->folder, "filtered.fbt");
    const fb_run_options run_options = {
        .size = sizeof run_options, .threads = 1, .folder = f->folder.path};
    fb_recorder_options options = {.size = sizeof options};
    filter between = {.keep = keep, .one_more = one_more};
    const fb_observer observer = {.size = sizeof observer,
                                  .self = &between,
                                  .wants = filter_wants,
                                  .on_site = filter_site,
                                  .on_event = filter_event,
                                  .on_step_end = filter_end};
    fb_recorder *recorder;
    fb_config config;
    fb_run *run;
    fb_error err;

    assert_ok(fb_config_parse(&config, SMALL_GPT, "test", NULL, 0, &err));
    assert_ok(fb_run_create(&run, &config, &run_options, &err));
    options.header = fb_run_header(run);
    assert_ok(fb_recorder_open(&recorder, path, &options, &err));
    between.to = fb_recorder_observer(recorder);
    fb_run_observe(run, &observer);
    steps_through(run, 4);
    fb_run_destroy(run);
    assert_ok(fb_recorder_close(recorder, &err));
    fb_config_free(&config);
    return path;
}

static void events_behind_the_end_of_a_whole_trace_are_extra(void **state)
{
    fb_replay_report r = replay(record_filtered(*state, 20, false), (fb_replay_options){0});

    assert_true(r.diverged);
    assert_int_equal(r.first.what, FB_REPLAY_EXTRA);
    assert_int_equal(r.first.name.step, 4);
    fb_replay_report_free(&r);
}

static void events_that_the_run_never_makes_are_missing(void **state)
{
    fb_replay_report r = replay(record_filtered(*state, INT32_MAX, true), (fb_replay_options){0});

    assert_true(r.diverged);
    assert_int_equal(r.first.what, FB_REPLAY_MISSING);
    assert_string_equal(r.first.name.path, "another");
    fb_replay_report_free(&r);
}

/* --- What cannot be replayed ------------------------------------------------------------------ */

/* The header of a real run with one piece of text replaced, and no events worth mentioning. */
static const char *with_header(const fixture *f, const char *find, const char *put)
{
    const char *path = in_folder(&f->folder, "header.fbt");
    const fb_run_options run_options = {
        .size = sizeof run_options, .threads = 1, .folder = f->folder.path};
    fb_recorder_options options = {.size = sizeof options};
    char *header, *at;
    fb_recorder *recorder;
    fb_config config;
    fb_run *run;
    fb_error err;

    assert_ok(fb_config_parse(&config, SMALL_GPT, "test", NULL, 0, &err));
    assert_ok(fb_run_create(&run, &config, &run_options, &err));
    header = malloc(strlen(fb_run_header(run)) + 64);
    assert_non_null(header);
    strcpy(header, fb_run_header(run));
    at = strstr(header, find);
    assert_non_null(at);
    memmove(at + strlen(put), at + strlen(find), strlen(at + strlen(find)) + 1);
    memcpy(at, put, strlen(put));
    options.header = header;
    assert_ok(fb_recorder_open(&recorder, path, &options, &err));
    fb_recorder_mark(recorder, "nothing");
    assert_ok(fb_recorder_close(recorder, &err));
    free(header);
    fb_run_destroy(run);
    fb_config_free(&config);
    return path;
}

static void another_contract_or_fingerprint_is_refused(void **state)
{
    const fixture *f = *state;

    assert_refused(with_header(f, "\"contract\":1", "\"contract\":2"), (fb_replay_options){0},
                   FB_E_UNSUPPORTED, "contract 2");
    assert_refused(with_header(f, "\"fingerprint\":\"", "\"fingerprint\":\"0"),
                   (fb_replay_options){0}, FB_E_UNSUPPORTED, "fingerprint");
}

static void a_trace_of_another_program_is_refused(void **state)
{
    const fixture *f = *state;

    assert_refused(with_header(f, "\"configuration\":", "\"elsewhere\":"), (fb_replay_options){0},
                   FB_E_UNSUPPORTED, "firstbit train");
    assert_refused(in_folder(&f->folder, "text.txt"), (fb_replay_options){0}, FB_E_FORMAT, "");
    assert_refused(in_folder(&f->folder, "none.fbt"), (fb_replay_options){0}, FB_E_NOT_FOUND, "");
}

/* A table that promises no bits, whose layernorm is off by one bit from some call on. */
static int calls_left;

static void drifting_layernorm(fb_pool *pool, float *y, float *mean, float *rstd, const float *x,
                               const float *gain, const float *bias, size_t rows, size_t cols,
                               double eps)
{
    fb_kernels_best()->layernorm(pool, y, mean, rstd, x, gain, bias, rows, cols, eps);
    if (--calls_left < 0)
        y[0] = y[0] * 1.0000002f + 1e-30f;
}

static void a_divergence_under_contract_0_is_called_no_corruption(void **state)
{
    const fixture *f = *state;
    fb_kernels drifting = *fb_kernels_best();
    fb_replay_report r;

    drifting.name = "openblas"; /* what a trace calls the only table of contract 0 */
    drifting.contract = 0;
    drifting.layernorm = drifting_layernorm;
    calls_left = INT32_MAX;
    const recording how = {.kernels = &drifting};
    const char *trace = record(&f->folder, "drift.fbt", &how);
    r = replay(trace, (fb_replay_options){.kernels = &drifting});
    assert_verified(&r);
    assert_int_equal(r.note_count, 1);
    assert_non_null(strstr(r.notes[0], "promised by nobody"));
    fb_replay_report_free(&r);
    calls_left = 100;
    r = replay(trace, (fb_replay_options){.kernels = &drifting});
    assert_true(r.diverged);
    assert_string_equal(r.first.name.op, "layernorm");
    assert_int_equal(r.note_count, 1);
    assert_non_null(strstr(r.notes[0], "not deterministic"));
    fb_replay_report_free(&r);
}

static void a_run_of_openblas_kernels_is_replayed_with_them(void **state)
{
    const fixture *f = *state;
    const fb_kernels *openblas;
    fb_replay_report r;
    fb_error err;

    if (fb_kernels_openblas(&openblas, fb_kernels_best(), 1, &err) != FB_OK)
        skip();
    const recording how = {.kernels = openblas};
    r = replay(record(&f->folder, "x.fbt", &how), (fb_replay_options){0});
    assert_verified(&r);
    fb_replay_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_replayed_whole_on_other_threads_and_isas),
        cmocka_unit_test(a_number_of_17_digits_is_replayed_to_the_last_bit),
        cmocka_unit_test(every_level_is_replayed),
        cmocka_unit_test(every_cut_of_a_trace_is_verified_to_its_end),
        cmocka_unit_test(a_recovered_trace_is_verified_to_its_last_event),
        cmocka_unit_test(a_replay_stops_at_the_flipped_tensor),
        cmocka_unit_test(a_draw_that_replay_does_not_make_is_missing),
        cmocka_unit_test(a_draw_that_the_trace_does_not_have_is_extra),
        cmocka_unit_test(a_replay_stops_at_the_swapped_samples),
        cmocka_unit_test(a_scalar_is_reported_with_its_bits),
        cmocka_unit_test(events_behind_the_end_of_a_whole_trace_are_extra),
        cmocka_unit_test(events_that_the_run_never_makes_are_missing),
        cmocka_unit_test(another_contract_or_fingerprint_is_refused),
        cmocka_unit_test(a_trace_of_another_program_is_refused),
        cmocka_unit_test(a_run_of_openblas_kernels_is_replayed_with_them),
        cmocka_unit_test(a_divergence_under_contract_0_is_called_no_corruption),
        cmocka_unit_test(a_run_is_the_same_anywhere_in_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
