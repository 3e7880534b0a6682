/* SPDX-License-Identifier: Apache-2.0
 *
 * test_checkpoint.c - a run that goes on from a checkpoint is the uninterrupted run, bit for bit
 * and event for event; and whatever does not belong to the run is refused with its name.
 */
#include "engine/files/safetensors.h"
#include "run_fixture.h"

enum { STEPS = 14 };

/* Nine batches an epoch, so that the runs cross from one shuffle to the next. */
static const fb_config_set sets[] = {
    {"data.context", "64"},
    {"steps", "14"},
    {"checkpoint.every", "1"},
};
enum { SETS = sizeof sets / sizeof sets[0] };

static const char *checkpoint_path(fixture *f, int step)
{
    char name[64];

    (void)snprintf(name, sizeof name, "step-%08d.safetensors", step);
    return scratch_path(&f->checkpoints, name);
}

static fb_run_options options_of(fixture *f, unsigned threads)
{
    return (fb_run_options){
        .threads = threads,
        .checkpoint_folder = f->checkpoints.folder,
    };
}

/* The uninterrupted run, a checkpoint at every step. */
static fb_hash write_checkpoints(fixture *f, const char *json, event_log *log)
{
    log_open(log);
    assert_ok(f, fixture_create(f, json, sets, SETS, options_of(f, 2)));
    return fixture_train(f, log, STEPS);
}

static void compare_from(const event_log *whole, const event_log *resumed, uint64_t from)
{
    size_t at = 0;

    for (size_t i = 0; i < resumed->count; i++) {
        const kept_event *e = &resumed->events[i];

        if (e->step == from)
            continue;
        while (at < whole->count && whole->events[at].step <= from)
            at++;
        assert_true(at < whole->count);
        if (!fb_hash_equal(e->hash, whole->events[at].hash))
            fail_msg("from %" PRIu64 ": step %" PRIu64 " %s %s differs from %s %s", from, e->step,
                     e->path, e->slot, whole->events[at].path, whole->events[at].slot);
        at++;
    }
    assert_int_equal(at, whole->count);
}

/* The parameters that were read are those that the run had after that step. */
static void compare_loaded(const event_log *whole, const event_log *resumed, uint64_t step)
{
    size_t loaded = 0;

    for (size_t i = 0; i < resumed->count; i++) {
        const kept_event *e = &resumed->events[i];
        bool found = false;

        if (e->step != step || e->kind != FB_KIND_PARAM)
            continue;
        assert_int_equal(e->phase, FB_PHASE_INIT);
        assert_string_equal(e->op, "load");
        for (size_t w = 0; w < whole->count && !found; w++) {
            const kept_event *u = &whole->events[w];
            found = u->step == step && u->phase == FB_PHASE_OPTIMIZER &&
                    strcmp(u->path, e->path) == 0 && strcmp(u->slot, e->slot) == 0 &&
                    fb_hash_equal(u->content, e->content);
        }
        assert_true(found);
        loaded++;
    }
    assert_true(loaded > 0);
}

static void check_resuming(const char *json, uint64_t *resumes)
{
    event_log whole;
    fixture f;
    fb_hash want;

    fixture_open(&f);
    want = write_checkpoints(&f, json, &whole);
    for (int step = 1; step < STEPS; step++) {
        event_log log;

        log_open(&log);
        assert_ok(&f, fixture_create(&f, json, sets, SETS, options_of(&f, 1)));
        fb_run_observe(f.run, &log.observer);
        assert_ok(&f, fb_run_resume(f.run, checkpoint_path(&f, step), &f.error));
        assert_int_equal(fb_run_current_step(f.run), step);
        while (fb_run_current_step(f.run) < STEPS)
            assert_ok(&f, fb_run_step(f.run, &f.error));
        assert_ok(&f, fb_run_end(f.run, &f.error));
        assert_true(fb_hash_equal(fb_run_final_hash(f.run), want));
        compare_from(&whole, &log, (uint64_t)step);
        compare_loaded(&whole, &log, (uint64_t)step);
        log_close(&log);
        ++*resumes;
    }
    log_close(&whole);
    fixture_close(&f);
}

static void a_gpt_resumed_at_any_step_is_the_uninterrupted_run(void **state)
{
    uint64_t resumes = 0;

    (void)state;
    check_resuming(FIXTURE_GPT, &resumes);
    assert_int_equal(resumes, STEPS - 1);
}

/* Momentum, a step schedule, Adam with decay in the gradient. */
static void every_optimizer_resumes(void **state)
{
    static const char *const optimizers[] = {
        "{\"sgd\": {\"lr\": 0.1}}",
        "{\"sgd\": {\"lr\": 0.1, \"momentum\": 0.9, \"weight_decay\": 0.01}}",
        "{\"adam\": {\"lr\": 0.01, \"weight_decay\": 0.01}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof optimizers[0]; i++) {
        uint64_t resumes = 0;
        char json[2048];

        (void)snprintf(json, sizeof json,
                       "{\"seed\": 1, \"data\": {\"text\": \"text.txt\", \"context\": 64},"
                       "\"model\": [{\"embedding\": {\"dim\": 8}}, {\"dropout\": {\"p\": 0.2}},"
                       "{\"linear\": {\"out\": 13}}], \"loss\": \"cross_entropy\","
                       "\"schedule\": {\"step\": {\"every\": 3, \"gamma\": 0.7}},"
                       "\"optimizer\": %s, \"batch\": {\"size\": 6, \"micro\": 2},"
                       "\"steps\": 14}",
                       optimizers[i]);
        check_resuming(json, &resumes);
        assert_int_equal(resumes, STEPS - 1);
    }
}

/* --- Files ------------------------------------------------------------------------------------ */

static void the_event_has_the_hash_of_the_file_written_or_not(void **state)
{
    fixture f;
    event_log with, without;
    fb_hash hash;
    size_t checkpoints = 0;

    (void)state;
    fixture_open(&f);
    (void)write_checkpoints(&f, FIXTURE_GPT, &with);
    log_open(&without);
    assert_ok(&f, fixture_create(&f, FIXTURE_GPT, sets, SETS, (fb_run_options){.threads = 2}));
    (void)fixture_train(&f, &without, STEPS);
    assert_true(fb_hash_equal(with.sequence, without.sequence));
    for (size_t i = 0; i < with.count; i++) {
        const kept_event *e = &with.events[i];

        if (e->kind != FB_KIND_CHECKPOINT)
            continue;
        checkpoints++;
        assert_ok(&f, fb_hash_file(&hash, NULL, checkpoint_path(&f, (int)e->step), &f.error));
        assert_true(fb_hash_equal(hash, e->content));
    }
    assert_int_equal(checkpoints, STEPS);
    log_close(&with);
    log_close(&without);
    fixture_close(&f);
}

static void a_folder_that_cannot_be_written_loses_the_checkpoint_and_no_step(void **state)
{
    fixture f;
    fb_run_options options = {.threads = 1};
    fb_hash want;

    (void)state;
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, sets + 1, 2, options));
    want = fixture_train(&f, NULL, 3);
    options.checkpoint_folder = "/proc/nowhere/ckpt";
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, sets + 1, 2, options));
    assert_ok(&f, fb_run_begin(f.run, &f.error));
    for (uint64_t step = 1; step <= 3; step++) {
        assert_int_equal(fb_run_step(f.run, &f.error), FB_E_NOT_FOUND);
        assert_non_null(strstr(f.error.text, "/proc/nowhere/ckpt: "));
        assert_int_equal(fb_run_current_step(f.run), step);
    }
    assert_true(fb_hash_equal(fb_run_final_hash(f.run), want));
    fixture_close(&f);
}

/* --- Refusals --------------------------------------------------------------------------------- */

static void refuse(fixture *f, const char *json, const fb_config_set *extra, const char *path,
                   fb_status status, const char *message)
{
    fb_config_set all[SETS + 1];
    size_t count = SETS;
    uint64_t step;
    fb_hash hash;

    memcpy(all, sets, sizeof sets);
    if (extra != NULL)
        all[count++] = *extra;
    assert_ok(f, fixture_create(f, json, all, count, (fb_run_options){.threads = 1}));
    assert_int_equal(fb_run_check_checkpoint(f->run, path, &step, &hash, &f->error), status);
    assert_int_equal(fb_run_resume(f->run, path, &f->error), status);
    if (strstr(f->error.text, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, f->error.text);
    assert_int_equal(fb_run_current_step(f->run), 0);
    assert_ok(f, fb_run_begin(f->run, &f->error)); /* nothing happened: the run can begin */
}

static void another_configuration_is_refused_by_the_key_that_differs(void **state)
{
    static const struct {
        fb_config_set set;
        const char *key;
    } cases[] = {
        {{"seed", "43"}, "another seed;"},
        {{"optimizer.adamw.lr", "0.01000000000000001"}, "another optimizer.adamw.lr;"},
        {{"batch.micro", "2"}, "another batch.micro;"},
        {{"clip", "0.25"}, "another clip;"},
        {{"schedule.cosine.total", "21"}, "another schedule.cosine.total;"},
        {{"data.split[0]", "0.8"}, "another data.split"},
        {{"model[0].embedding.positions", "false"}, "another model[0].embedding.positions;"},
    };
    event_log log;
    fixture f;

    (void)state;
    fixture_open(&f);
    (void)write_checkpoints(&f, FIXTURE_GPT, &log);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fb_config_set set = cases[i].set;

        if (strcmp(set.path, "data.split[0]") == 0)
            set = (fb_config_set){"data.split", "[0.8, 0.2]"};
        refuse(&f, FIXTURE_GPT, &set, checkpoint_path(&f, 3), FB_E_CHANGED, cases[i].key);
    }
    log_close(&log);
    fixture_close(&f);
}

static void steps_evaluation_and_checkpoints_may_change(void **state)
{
    static const fb_config_set free_sets[] = {
        {"data.context", "64"},
        {"steps", "30"},
        {"checkpoint.every", "7"},
        {"eval.every", "0"},
    };
    event_log log;
    fixture f;
    fb_hash want;

    (void)state;
    fixture_open(&f);
    want = write_checkpoints(&f, FIXTURE_GPT, &log);
    assert_ok(&f, fixture_create(&f, FIXTURE_GPT, free_sets, 4, (fb_run_options){.threads = 1}));
    assert_ok(&f, fb_run_resume(f.run, checkpoint_path(&f, 6), &f.error));
    while (fb_run_current_step(f.run) < STEPS)
        assert_ok(&f, fb_run_step(f.run, &f.error));
    assert_true(fb_hash_equal(fb_run_final_hash(f.run), want));
    log_close(&log);
    fixture_close(&f);
}

static void other_data_under_the_same_name_is_refused(void **state)
{
    event_log log;
    fixture f;
    char text[4000];

    (void)state;
    fixture_open(&f);
    (void)write_checkpoints(&f, FIXTURE_GPT, &log);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "abdeilmnorst "[i % 13];
    (void)scratch_write(&f.scratch, "text.txt", text, sizeof text);
    refuse(&f, FIXTURE_GPT, NULL, checkpoint_path(&f, 3), FB_E_CHANGED,
           "on other data than text.txt");
    log_close(&log);
    fixture_close(&f);
}

static void what_is_no_checkpoint_is_refused(void **state)
{
    const float one[1] = {1};
    const fb_safetensor tensor = {
        .name = "x", .dtype = FB_DTYPE_F32, .rank = 1, .shape = {1}, .data = one, .bytes = 4};
    event_log log;
    fixture f;
    const char *path;

    (void)state;
    fixture_open(&f);
    (void)write_checkpoints(&f, FIXTURE_GPT, &log);
    refuse(&f, FIXTURE_GPT, NULL, scratch_path(&f.scratch, "none"), FB_E_NOT_FOUND, "none: ");
    path = scratch_path(&f.scratch, "weights.safetensors");
    assert_ok(&f, fb_safetensors_write(path, &tensor, 1, NULL, NULL, 0, NULL, &f.error));
    refuse(&f, FIXTURE_GPT, NULL, path, FB_E_FORMAT, "not a checkpoint of firstbit");
    path = checkpoint_path(&f, 2);
    assert_int_equal(truncate(path, 5000), 0);
    refuse(&f, FIXTURE_GPT, NULL, path, FB_E_CORRUPT, "step-00000002.safetensors: ");
    log_close(&log);
    fixture_close(&f);
}

/* --- Weights ---------------------------------------------------------------------------------- */

#define LINEAR_RUN(weights)                                                                        \
    "{\"seed\": 1, \"data\": {\"text\": \"text.txt\", \"context\": 8}, \"weights\": " weights ","  \
    "\"model\": [{\"embedding\": {\"dim\": 4}}, {\"linear\": {\"out\": 13}}],"                     \
    "\"loss\": \"cross_entropy\", \"optimizer\": {\"sgd\": {\"lr\": 0.1}},"                        \
    "\"batch\": {\"size\": 4}, \"steps\": 3}"

/* Writes the parameters of a run as they are; `skip` of them, `extra` a name too many, `rows` a
 * wrong first dimension. */
static void write_weights(fixture *f, const char *path, size_t skip, const char *extra,
                          uint64_t rows)
{
    fb_safetensor tensors[8];
    size_t count = 0;

    for (size_t i = 0; i < fb_run_parameter_count(f->run); i++) {
        const fb_run_tensor t = fb_run_parameter(f->run, i);

        if (i == skip)
            continue;
        tensors[count] = (fb_safetensor){
            .name = t.path,
            .dtype = FB_DTYPE_F32,
            .rank = t.rank,
            .data = t.data,
            .bytes = t.count * sizeof(float),
        };
        memcpy(tensors[count].shape, t.shape, sizeof t.shape);
        if (i == 0 && rows != 0) {
            tensors[count].shape[0] = rows;
            tensors[count].bytes = rows * 4 * sizeof(float);
        }
        count++;
    }
    if (extra != NULL) {
        tensors[count] = tensors[0];
        tensors[count++].name = extra;
    }
    assert_ok(f, fb_safetensors_write(path, tensors, count, NULL, NULL, 0, NULL, &f->error));
}

static void initial_weights_come_from_a_file(void **state)
{
    fixture f;
    event_log log;
    fb_hash want;

    (void)state;
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, LINEAR_RUN("null"), NULL, 0, (fb_run_options){.threads = 1}));
    assert_ok(&f, fb_run_begin(f.run, &f.error));
    for (size_t i = 0; i < fb_run_parameter_count(f.run); i++) {
        const fb_run_tensor t = fb_run_parameter(f.run, i);
        for (size_t e = 0; e < t.count; e++)
            t.data[e] = t.data[e] * 0.5f + 0.125f;
    }
    want = fb_run_final_hash(f.run);
    write_weights(&f, scratch_path(&f.scratch, "w.safetensors"), SIZE_MAX, NULL, 0);
    log_open(&log);
    log.check_inputs = true;
    assert_ok(&f, fixture_create(&f, LINEAR_RUN("\"w.safetensors\""), NULL, 0,
                                 (fb_run_options){.threads = 1}));
    assert_non_null(strstr(fb_run_header(f.run), "w.safetensors"));
    fb_run_observe(f.run, &log.observer);
    assert_ok(&f, fb_run_begin(f.run, &f.error));
    assert_true(fb_hash_equal(fb_run_final_hash(f.run), want));
    for (size_t i = 0; i < log.count; i++)
        assert_int_not_equal(log.events[i].kind, FB_KIND_DRAW);
    assert_ok(&f, fb_run_step(f.run, &f.error));
    assert_false(log.unknown_input);
    log_close(&log);
    fixture_close(&f);
}

static void weights_that_do_not_fit_are_refused_by_name(void **state)
{
    static const struct {
        size_t skip;
        const char *extra;
        uint64_t rows;
        fb_status status;
        const char *message;
    } cases[] = {
        {1, NULL, 0, FB_E_DATA, "w.safetensors: tensor linear.weight is missing"},
        {SIZE_MAX, "h.9.x", 0, FB_E_DATA,
         "w.safetensors: tensor h.9.x belongs to no parameter of the model"},
        {SIZE_MAX, NULL, 12, FB_E_SHAPE,
         "w.safetensors: embedding.weight is f32[12,4], the model needs f32[13,4]"},
    };
    fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(&f,
                  fixture_create(&f, LINEAR_RUN("null"), NULL, 0, (fb_run_options){.threads = 1}));
        write_weights(&f, scratch_path(&f.scratch, "w.safetensors"), cases[i].skip, cases[i].extra,
                      cases[i].rows);
        assert_int_equal(fixture_create(&f, LINEAR_RUN("\"w.safetensors\""), NULL, 0,
                                        (fb_run_options){.threads = 1}),
                         cases[i].status);
        if (strstr(f.error.text, cases[i].message) == NULL)
            fail_msg("expected \"%s\" in \"%s\"", cases[i].message, f.error.text);
    }
    assert_int_equal(fixture_create(&f, LINEAR_RUN("\"none.safetensors\""), NULL, 0,
                                    (fb_run_options){.threads = 1}),
                     FB_E_NOT_FOUND);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gpt_resumed_at_any_step_is_the_uninterrupted_run),
        cmocka_unit_test(every_optimizer_resumes),
        cmocka_unit_test(the_event_has_the_hash_of_the_file_written_or_not),
        cmocka_unit_test(a_folder_that_cannot_be_written_loses_the_checkpoint_and_no_step),
        cmocka_unit_test(another_configuration_is_refused_by_the_key_that_differs),
        cmocka_unit_test(steps_evaluation_and_checkpoints_may_change),
        cmocka_unit_test(other_data_under_the_same_name_is_refused),
        cmocka_unit_test(what_is_no_checkpoint_is_refused),
        cmocka_unit_test(initial_weights_come_from_a_file),
        cmocka_unit_test(weights_that_do_not_fit_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
