/* SPDX-License-Identifier: Apache-2.0
 *
 * test_replay_tensors.c - a replay makes any tensor again, and writes what the trace's hash proves.
 */
#include "replay_fixture.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "engine/files/safetensors.h"

/* The elements of an .npy file that fb_npy_write wrote: behind its header, aligned to 64. */
static void *read_npy(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t head[10];
    long size, start;
    void *data;

    if (file == NULL)
        fail_msg("%s: not there", path);
    assert_int_equal(fread(head, 1, 10, file), 10);
    start = 10 + head[8] + 256 * head[9];
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file) - start;
    assert_int_equal(fseek(file, start, SEEK_SET), 0);
    data = malloc((size_t)size);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)size, file), size);
    fclose(file);
    *bytes = (size_t)size;
    return data;
}

static void assert_file_has_hash_of_event(const fixture *f, const char *file,
                                          const fb_event_name *name)
{
    const fb_hash id = fb_event_name_hash(name);
    const fb_event *event;
    size_t bytes;
    void *data = read_npy(in_folder(&f->folder, file), &bytes);
    const fb_hash hash = fb_tensor_hash(NULL, FB_DTYPE_F32, data, bytes, NULL);
    fb_trace *trace;
    fb_error err;
    bool found = false;

    free(data);
    assert_ok(fb_trace_open(&trace, f->trace, &err));
    while (!found) {
        assert_ok(fb_trace_next(trace, &event, NULL, &err));
        assert_non_null(event);
        found = fb_hash_equal(id, fb_identity_hash(fb_site_hash(fb_trace_site(trace, event->site)),
                                                   event->step, event->micro));
    }
    assert_true(fb_hash_equal(event->hash, hash));
    fb_trace_close(trace);
}

static void made_tensors_have_the_hashes_of_the_trace(void **state)
{
    const fixture *f = *state;
    const fb_event_name out = {.step = 5,
                               .micro = 2,
                               .phase = FB_PHASE_FORWARD,
                               .path = "h.1.mlp.fc",
                               .op = "linear",
                               .slot = "out"};
    const fb_event_name param = {.step = 6,
                                 .micro = FB_MICRO_NONE,
                                 .phase = FB_PHASE_OPTIMIZER,
                                 .path = "h.1.mlp.fc.weight",
                                 .op = "adamw",
                                 .slot = "param"};
    fb_replay_report r =
        replay(f->trace, (fb_replay_options){.has_from = true,
                                             .from = 5,
                                             .has_to = true,
                                             .to = 6,
                                             .make = "h.1.mlp.fc*",
                                             .make_output = in_folder(&f->folder, "made/here")});

    assert_verified(&r);
    assert_int_equal(r.unchecked, 0);
    assert_true(r.made > 10);
    fb_replay_report_free(&r);
    assert_file_has_hash_of_event(f, "made/here/step-000005.micro-2.forward.h.1.mlp.fc.out.npy",
                                  &out);
    assert_file_has_hash_of_event(f, "made/here/step-000006.optimizer.h.1.mlp.fc.weight.param.npy",
                                  &param);
    assert_int_not_equal(
        access(in_folder(&f->folder, "made/here/step-000004.micro-2.forward.h.1.mlp.fc.out.npy"),
               F_OK),
        0);
}

static void make_matches_path_and_slot_either_way(void **state)
{
    static const char *const globs[] = {"ln:out", "ln.out", "ln:grad", "l?"};
    static const uint64_t counts[] = {3, 3, 3, 6}; /* three micro-batches */
    const fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(globs); i++) {
        fb_replay_report r =
            replay(f->trace, (fb_replay_options){.has_from = true,
                                                 .from = 2,
                                                 .has_to = true,
                                                 .to = 2,
                                                 .make = globs[i],
                                                 .make_output = in_folder(&f->folder, "made")});

        if (r.made != counts[i])
            fail_msg("%s: %" PRIu64 " tensors, expected %" PRIu64, globs[i], r.made, counts[i]);
        fb_replay_report_free(&r);
    }
}

static void tensors_of_a_trace_without_hashes_are_made_unchecked(void **state)
{
    static const recording how = {.level = FB_LEVEL_DRAWS};
    const fixture *f = *state;
    fb_replay_report r = replay(record(&f->folder, "x.fbt", &how),
                                (fb_replay_options){.has_to = true,
                                                    .to = 1,
                                                    .make = "ln:out",
                                                    .make_output = in_folder(&f->folder, "made")});

    assert_verified(&r);
    assert_int_equal(r.made, 3);
    assert_int_equal(r.unchecked, 3);
    fb_replay_report_free(&r);
}

/* --- One file --------------------------------------------------------------------------------- */

static fb_replay_options into(const fixture *f, const char *name)
{
    return (fb_replay_options){.has_from = true,
                               .from = 5,
                               .has_to = true,
                               .to = 6,
                               .make = "h.1.mlp.fc*",
                               .make_output = in_folder(&f->folder, name)};
}

static void one_file_holds_what_the_folder_holds(void **state)
{
    const fixture *f = *state;
    const char *path = in_folder(&f->folder, "all.safetensors");
    fb_replay_report in_one = replay(f->trace, into(f, "all.safetensors"));
    fb_replay_report in_folders = replay(f->trace, into(f, "each"));
    fb_safetensors *file;
    fb_error err;

    assert_verified(&in_one);
    assert_int_equal(in_one.made, in_folders.made);
    assert_int_equal(in_one.unchecked, 0);
    assert_ok(fb_safetensors_open(&file, path, &err));
    assert_int_equal(fb_safetensors_count(file), in_one.made);
    assert_string_equal(fb_safetensors_metadata(file, "format"), "firstbit-tensors-1");
    assert_int_equal(strlen(fb_safetensors_metadata(file, "trace")), 32);
    for (size_t i = 0; i < fb_safetensors_count(file); i++) {
        const fb_safetensor *t = fb_safetensors_at(file, i);
        char name[90];
        size_t bytes;
        void *data;

        (void)snprintf(name, sizeof name, "each/%s.npy", t->name);
        data = read_npy(in_folder(&f->folder, name), &bytes);
        assert_int_equal(bytes, t->bytes);
        assert_memory_equal(data, t->data, bytes);
        free(data);
    }
    fb_safetensors_close(file);
    fb_replay_report_free(&in_one);
    fb_replay_report_free(&in_folders);
}

/* Every tensor that the trace has a hash of is in the file, with that hash. */
static uint64_t count_proven(const char *path, fb_trace *trace)
{
    const fb_event *event;
    fb_safetensors *file;
    uint64_t tensors = 0;
    fb_error err;

    assert_ok(fb_safetensors_open(&file, path, &err));
    for (;;) {
        const fb_site *site;
        const fb_safetensor *t;
        char micro[24] = "", name[256];

        assert_ok(fb_trace_next(trace, &event, NULL, &err));
        if (event == NULL)
            break;
        site = fb_trace_site(trace, event->site);
        if (site->kind != FB_KIND_TENSOR && site->kind != FB_KIND_PARAM)
            continue;
        if (event->micro != FB_MICRO_NONE)
            (void)snprintf(micro, sizeof micro, ".micro-%d", (int)event->micro);
        (void)snprintf(name, sizeof name, "step-%06" PRIu64 "%s.%s.%.60s.%.20s", event->step, micro,
                       fb_phase_name(site->phase), site->path, site->slot);
        t = fb_safetensors_find(file, name);
        if (t == NULL)
            fail_msg("%s was not made", name);
        assert_true(
            fb_hash_equal(event->hash, fb_tensor_hash(NULL, t->dtype, t->data, t->bytes, NULL)));
        tensors++;
    }
    assert_int_equal(tensors, fb_safetensors_count(file));
    fb_safetensors_close(file);
    return tensors;
}

static void every_tensor_of_every_step_comes_back(void **state)
{
    const fixture *f = *state;
    const char *path = in_folder(&f->folder, "everything.safetensors");
    fb_replay_report r = replay(f->trace, (fb_replay_options){.make = "*", .make_output = path});
    fb_trace *trace;
    fb_error err;

    assert_verified(&r);
    assert_int_equal(r.unchecked, 0);
    assert_ok(fb_trace_open(&trace, f->trace, &err));
    assert_int_equal(r.made, count_proven(path, trace));
    assert_true(r.made > 1000);
    fb_trace_close(trace);
    fb_replay_report_free(&r);
}

static void no_file_is_begun_where_nothing_matches_or_no_folder_is(void **state)
{
    const fixture *f = *state;
    fb_replay_options options = into(f, "none.safetensors");
    fb_replay_report r;
    fb_error err;

    options.make = "nothing";
    r = replay(f->trace, options);
    assert_int_equal(r.made, 0);
    fb_replay_report_free(&r);
    assert_int_not_equal(access(in_folder(&f->folder, "none.safetensors"), F_OK), 0);
    options = into(f, "nowhere/none.safetensors");
    options.size = sizeof options;
    assert_int_equal(fb_replay(&r, f->trace, &options, &err), FB_E_NOT_FOUND);
    assert_non_null(strstr(err.text, "nowhere/none.safetensors"));
    options.make_output = in_folder(&f->folder, "folder.safetensors");
    assert_int_equal(mkdir(options.make_output, 0777), 0);
    assert_int_equal(fb_replay(&r, f->trace, &options, &err), FB_E_IO);
}

/* What was proven before the difference is kept; what came after is not there. */
static void one_file_of_a_diverged_replay_holds_what_was_proven(void **state)
{
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 2,
                            .path = "ln",
                            .slot = "out",
                            .micro = 1,
                            .element = 9,
                            .bit = 1};
    const char *path = in_folder(&f->folder, "part.safetensors");
    fb_replay_report r = replay(f->trace, (fb_replay_options){.has_from = true,
                                                              .from = 2,
                                                              .make = "ln:out",
                                                              .make_output = path,
                                                              .faults = &fault,
                                                              .fault_count = 1});
    fb_safetensors *file;
    fb_error err;

    assert_true(r.diverged);
    assert_int_equal(r.made, 1);
    fb_replay_report_free(&r);
    assert_ok(fb_safetensors_open(&file, path, &err));
    assert_int_equal(fb_safetensors_count(file), 1);
    assert_string_equal(fb_safetensors_at(file, 0)->name, "step-000002.micro-0.forward.ln.out");
    fb_safetensors_close(file);
}

static void a_tensor_that_differs_is_not_written(void **state)
{
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 2,
                            .path = "ln",
                            .slot = "out",
                            .micro = 1,
                            .element = 9,
                            .bit = 1};
    fb_replay_report r =
        replay(f->trace, (fb_replay_options){.has_from = true,
                                             .from = 2,
                                             .make = "ln:out",
                                             .make_output = in_folder(&f->folder, "diverged"),
                                             .faults = &fault,
                                             .fault_count = 1});

    assert_true(r.diverged);
    assert_int_equal(r.made, 1); /* micro-batch 0 */
    fb_replay_report_free(&r);
    assert_int_equal(
        access(in_folder(&f->folder, "diverged/step-000002.micro-0.forward.ln.out.npy"), F_OK), 0);
    assert_int_not_equal(
        access(in_folder(&f->folder, "diverged/step-000002.micro-1.forward.ln.out.npy"), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_tensors_have_the_hashes_of_the_trace),
        cmocka_unit_test(make_matches_path_and_slot_either_way),
        cmocka_unit_test(tensors_of_a_trace_without_hashes_are_made_unchecked),
        cmocka_unit_test(a_tensor_that_differs_is_not_written),
        cmocka_unit_test(one_file_holds_what_the_folder_holds),
        cmocka_unit_test(every_tensor_of_every_step_comes_back),
        cmocka_unit_test(no_file_is_begun_where_nothing_matches_or_no_folder_is),
        cmocka_unit_test(one_file_of_a_diverged_replay_holds_what_was_proven),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
