/* SPDX-License-Identifier: Apache-2.0
 *
 * test_replay.c - a replay is silent on what a run did, stops exactly where a trace says something
 * else, starts from checkpoints, refuses other data, and makes tensors again.
 */
#include "replay_fixture.h"

#include <inttypes.h>
#include <sys/stat.h>

static void assert_refused(const char *path, fb_replay_options options, fb_status status,
                           const char *says)
{
    fb_replay_report r;
    fb_error err = {.text = ""};

    options.size = sizeof options;
    if (fb_replay(&r, path, &options, &err) != status || strstr(err.text, says) == NULL)
        fail_msg("status %d: %s; expected %d: %s", err.status, err.text, status, says);
}

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

static void a_resumed_run_is_replayed_from_its_checkpoint(void **state)
{
    const fixture *f = *state;
    char checkpoint[192];
    fb_replay_report r;

    (void)snprintf(checkpoint, sizeof checkpoint, "%s/run.ckpt/step-00000006.safetensors",
                   f->folder.path);
    r = replay(record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, NULL),
               (fb_replay_options){0});
    assert_verified(&r);
    assert_int_equal(r.start, 6);
    assert_true(fb_hash_equal(r.final_hash, f->final_hash));
    fb_replay_report_free(&r);
}

/* Moves a file to where no search looks: a hidden folder. Returns its new path. */
static const char *hide(const fixture *f, const char *path)
{
    const char *hidden = in_folder(&f->folder, ".hidden/file");

    (void)mkdir(in_folder(&f->folder, ".hidden"), 0777);
    assert_int_equal(rename(path, hidden), 0);
    return hidden;
}

/* The checkpoint that it went on from is gone: its state is made again, and proven by the hashes of
 * what was loaded. */
static void a_resumed_run_without_its_checkpoint_is_replayed_from_the_beginning(void **state)
{
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 7,
                            .path = "ln",
                            .slot = "out",
                            .micro = 1,
                            .element = 2,
                            .bit = 3};
    const char *away, *resumed;
    char checkpoint[192];
    fb_replay_report r;

    (void)snprintf(checkpoint, sizeof checkpoint, "%s/run.ckpt/step-00000006.safetensors",
                   f->folder.path);
    resumed = record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, NULL);
    away = hide(f, checkpoint);
    r = replay(resumed, (fb_replay_options){0});
    assert_verified(&r);
    assert_true(fb_hash_equal(r.final_hash, f->final_hash));
    assert_int_equal(r.note_count, 1);
    assert_string_equal(r.notes[0], "the checkpoint of step 6 that the run goes on from is not "
                                    "there: made its state again from the beginning, with equal "
                                    "hashes");
    fb_replay_report_free(&r);
    assert_int_equal(rename(away, checkpoint), 0);

    resumed = record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, &fault);
    away = hide(f, checkpoint);
    r = replay(resumed, (fb_replay_options){0});
    assert_true(r.diverged);
    assert_int_equal(r.first.name.step, 7);
    assert_string_equal(r.first.name.path, "ln");
    fb_replay_report_free(&r);
    assert_int_equal(rename(away, checkpoint), 0);
}

/* What was loaded was not the state of this run: that cannot be made again, and is no divergence.
 */
static void a_state_that_cannot_be_proven_is_refused(void **state)
{
    const fixture *f = *state;
    const fb_fault early = {
        .kind = FB_FAULT_FLIP, .step = 2, .path = "ln", .slot = "out", .element = 2, .bit = 20};
    const recording damaged = {.checkpoints = true, .faults = &early, .fault_count = 1};
    char checkpoint[192];
    const char *resumed;

    (void)record(&f->folder, "damaged.fbt", &damaged);
    (void)snprintf(checkpoint, sizeof checkpoint, "%s/damaged.ckpt/step-00000006.safetensors",
                   f->folder.path);
    resumed = record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, NULL);
    (void)hide(f, checkpoint);
    assert_refused(resumed, (fb_replay_options){0}, FB_E_NOT_FOUND, "step-00000006.safetensors");
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

/* --- Steps and checkpoints -------------------------------------------------------------------- */

static char *checkpoint_path(const fixture *f, int step)
{
    static char path[192];

    (void)snprintf(path, sizeof path, "%s/run.ckpt/step-%08d.safetensors", f->folder.path, step);
    return path;
}

static void from_starts_at_the_newest_checkpoint_that_is_whole(void **state)
{
    const fixture *f = *state;
    const char *away;
    fb_replay_report r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});

    assert_verified(&r);
    assert_int_equal(r.start, 6);
    assert_int_equal(r.note_count, 0);
    assert_true(fb_hash_equal(r.final_hash, f->final_hash));
    fb_replay_report_free(&r);
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 6, .has_to = true, .to = 7});
    assert_verified(&r);
    assert_int_equal(r.start, 3); /* that of step 6 is after step 6 */
    assert_int_equal(r.end, 7);
    fb_replay_report_free(&r);

    away = hide(f, checkpoint_path(f, 6));
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
    assert_verified(&r);
    assert_int_equal(r.start, 3);
    assert_int_equal(r.note_count, 1);
    assert_string_equal(r.notes[0],
                        "the checkpoint of step 6 is not there: started from that of step 3");
    fb_replay_report_free(&r);

    write_file(checkpoint_path(f, 3), "changed", 7);
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
    assert_verified(&r);
    assert_int_equal(r.start, 0);
    assert_int_equal(r.note_count, 1);
    assert_string_equal(r.notes[0], "2 checkpoints of steps 3 to 6 are not there or changed: "
                                    "started from the beginning");
    assert_int_equal(r.events_checked, f->events);
    fb_replay_report_free(&r);
    assert_int_equal(rename(away, checkpoint_path(f, 6)), 0);
}

static void a_checkpoint_is_found_by_contents_wherever_it_went(void **state)
{
    static const char *const places[] = {"moved.bin", "deep/down/moved.bin", "run.ckpt/other"};
    const fixture *f = *state;

    assert_int_equal(mkdir(in_folder(&f->folder, "deep"), 0777), 0);
    assert_int_equal(mkdir(in_folder(&f->folder, "deep/down"), 0777), 0);
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        const char *place = in_folder(&f->folder, places[i]);
        fb_replay_report r;

        assert_int_equal(rename(checkpoint_path(f, 6), place), 0);
        r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
        assert_verified(&r);
        if (r.start != 6 || r.note_count != 0)
            fail_msg("%s: started from %" PRIu64, places[i], r.start);
        fb_replay_report_free(&r);
        assert_int_equal(rename(place, checkpoint_path(f, 6)), 0);
    }
}

/* Compared with the trace of another run, a replay starts from that run's checkpoints. */
static void checkpoints_are_those_of_the_trace_compared_with(void **state)
{
    static const recording how = {.checkpoints = true};
    const fixture *f = *state;
    const test_folder other = make_folder();
    const char *trace = record(&other, "other.fbt", &how);
    const char *hidden = hide(f, checkpoint_path(f, 6));
    fb_replay_report r =
        replay(f->trace, (fb_replay_options){.against = trace, .has_from = true, .from = 8});

    assert_verified(&r);
    assert_int_equal(r.start, 6);
    fb_replay_report_free(&r);
    assert_int_equal(rename(hidden, checkpoint_path(f, 6)), 0);
    drop_folder(&other);
}

/* A wrong file under the right name does not hide the right one under another. */
static void the_right_contents_win_over_the_right_name(void **state)
{
    const fixture *f = *state;
    const char *place = in_folder(&f->folder, "kept.bin");
    fb_replay_report r;

    assert_int_equal(rename(checkpoint_path(f, 6), place), 0);
    write_file(checkpoint_path(f, 6), "changed", 7);
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
    assert_verified(&r);
    assert_int_equal(r.start, 6);
    fb_replay_report_free(&r);
    assert_int_equal(rename(place, checkpoint_path(f, 6)), 0);
}

static void to_is_inclusive(void **state)
{
    const fixture *f = *state;
    fb_replay_report r = replay(f->trace, (fb_replay_options){.has_to = true, .to = 0});

    assert_verified(&r);
    assert_int_equal(r.end, 0);
    assert_true(r.events_checked > 10);
    fb_replay_report_free(&r);
    r = replay(f->trace, (fb_replay_options){.has_to = true, .to = 2});
    assert_verified(&r);
    assert_int_equal(r.end, 2);
    assert_false(r.at_end);
    fb_replay_report_free(&r);
}

static void steps_that_the_trace_lacks_are_refused(void **state)
{
    const fixture *f = *state;

    assert_refused(f->trace, (fb_replay_options){.has_to = true, .to = 9}, FB_E_USAGE,
                   "ends at step 8");
    assert_refused(f->trace, (fb_replay_options){.has_from = true, .from = 12}, FB_E_USAGE,
                   "ends at step 8");
    assert_refused(f->trace,
                   (fb_replay_options){.has_from = true, .from = 4, .has_to = true, .to = 3},
                   FB_E_USAGE, "before");
}

/* --- Data ------------------------------------------------------------------------------------- */

static void other_data_is_refused_by_content(void **state)
{
    const fixture *f = *state;

    write_text(&f->folder, 310);
    assert_refused(f->trace, (fb_replay_options){0}, FB_E_CHANGED, "text.txt");
    write_text(&f->folder, SIZE_MAX);
}

static void renamed_data_beside_the_trace_is_found_by_contents(void **state)
{
    const fixture *f = *state;
    const char *text = in_folder(&f->folder, "text.txt"), *moved = in_folder(&f->folder, "t2");
    fb_replay_report r;

    assert_int_equal(rename(text, moved), 0);
    r = replay(f->trace, (fb_replay_options){0});
    assert_verified(&r);
    assert_int_equal(r.events_checked, f->events);
    fb_replay_report_free(&r);
    assert_int_equal(rename(moved, text), 0);
}

static void missing_data_is_looked_for_elsewhere(void **state)
{
    const fixture *f = *state;
    test_folder away = {"/tmp/fb-away-XXXXXX"};
    char from[192], folder[192], moved[256];
    fb_replay_report r;

    assert_non_null(mkdtemp(away.path));
    (void)snprintf(from, sizeof from, "%s/text.txt", f->folder.path);
    (void)snprintf(folder, sizeof folder, "%s/data", away.path);
    (void)snprintf(moved, sizeof moved, "%s/text.txt", folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(rename(from, moved), 0);
    assert_refused(f->trace, (fb_replay_options){0}, FB_E_NOT_FOUND, "text.txt: not found");
    r = replay(f->trace, (fb_replay_options){.data = folder});
    assert_verified(&r);
    fb_replay_report_free(&r);

    (void)snprintf(folder, sizeof folder, "%s/renamed.bin", away.path);
    assert_int_equal(rename(moved, folder), 0);
    for (int whole = 0; whole < 2; whole++) { /* the file itself, renamed; a folder that holds it */
        r = replay(f->trace, (fb_replay_options){.data = whole ? away.path : folder});
        assert_verified(&r);
        assert_int_equal(r.events_checked, f->events);
        fb_replay_report_free(&r);
    }
    assert_int_equal(rename(folder, from), 0);
    drop_folder(&away);
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
        cmocka_unit_test(a_resumed_run_is_replayed_from_its_checkpoint),
        cmocka_unit_test(a_replay_stops_at_the_flipped_tensor),
        cmocka_unit_test(a_draw_that_replay_does_not_make_is_missing),
        cmocka_unit_test(a_draw_that_the_trace_does_not_have_is_extra),
        cmocka_unit_test(a_replay_stops_at_the_swapped_samples),
        cmocka_unit_test(a_scalar_is_reported_with_its_bits),
        cmocka_unit_test(events_behind_the_end_of_a_whole_trace_are_extra),
        cmocka_unit_test(events_that_the_run_never_makes_are_missing),
        cmocka_unit_test(to_is_inclusive),
        cmocka_unit_test(steps_that_the_trace_lacks_are_refused),
        cmocka_unit_test(other_data_is_refused_by_content),
        cmocka_unit_test(missing_data_is_looked_for_elsewhere),
        cmocka_unit_test(another_contract_or_fingerprint_is_refused),
        cmocka_unit_test(a_trace_of_another_program_is_refused),
        cmocka_unit_test(a_run_of_openblas_kernels_is_replayed_with_them),
        cmocka_unit_test(a_divergence_under_contract_0_is_called_no_corruption),
        cmocka_unit_test(a_run_is_the_same_anywhere_in_memory),
        cmocka_unit_test(renamed_data_beside_the_trace_is_found_by_contents),
        cmocka_unit_test(a_checkpoint_is_found_by_contents_wherever_it_went),
        cmocka_unit_test(checkpoints_are_those_of_the_trace_compared_with),
        cmocka_unit_test(the_right_contents_win_over_the_right_name),
        cmocka_unit_test(a_resumed_run_without_its_checkpoint_is_replayed_from_the_beginning),
        cmocka_unit_test(a_state_that_cannot_be_proven_is_refused),
        cmocka_unit_test(from_starts_at_the_newest_checkpoint_that_is_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
