/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run_conventions.c - what docs/numerics.md fixes around the sums: which samples a part has,
 * which step a mask is drawn for, how an evaluation is cut, how parameters are ordered, what
 * targets may be.
 */
#include <math.h>

#include "base/pool.h"
#include "engine/streams.h"
#include "run_fixture.h"

#define SMALL_RUN(layers, classes, more)                                                           \
    "{\"seed\": 9, \"data\": {\"text\": \"text.txt\", \"context\": 8, \"split\": [0.9, 0.1]},"     \
    " \"model\": [{\"embedding\": {\"dim\": 6}}, " layers " {\"linear\": {\"out\": " classes       \
    "}}], \"loss\": \"cross_entropy\", \"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"steps\": 4" more \
    "}"

#define BATCH_OF_2 ", \"batch\": {\"size\": 2}"

/* --- Parts ------------------------------------------------------------------------------------ */

typedef struct split_case {
    const char *split;
    uint64_t tokens[3]; /* of 4,000, of train, val and test */
} split_case;

/* A part ends at floor of the sum of the shares up to it; one without a share has nothing, and the
 * last one that has a share gets what rounding leaves. */
static void a_part_without_a_share_is_empty(void **state)
{
    static const split_case cases[] = {
        {"[1, 0]", {4000, 0, 0}},
        {"[0.70003, 0.29997]", {2800, 1200, 0}},
        {"[0.70003, 0.29997, 0]", {2800, 1200, 0}},
        {"[0.70003, 0, 0.29997]", {2800, 0, 1200}},
        {"[0.50003, 0.25, 0.24997]", {2000, 1000, 1000}},
    };
    fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const fb_config_set set = {"data.split", cases[i].split};
        const fb_dataset_info *data;

        assert_ok(&f, fixture_create(&f, SMALL_RUN("", "\"vocab\"", BATCH_OF_2), &set, 1,
                                     (fb_run_options){.threads = 1}));
        data = fb_run_data(f.run);
        for (size_t part = 0; part < 3; part++) {
            const uint64_t tokens = cases[i].tokens[part];
            const uint64_t samples = tokens == 0 ? 0 : (tokens - 1) / 8;

            if (data->samples[FB_ROLE_TRAIN + part] != samples)
                fail_msg("%s: part %zu has %" PRIu64 " samples, not %" PRIu64, cases[i].split, part,
                         data->samples[FB_ROLE_TRAIN + part], samples);
        }
    }
    fixture_close(&f);
}

/* --- Dropout ---------------------------------------------------------------------------------- */

static const kept_event *event_of(const event_log *log, uint64_t step, const char *path,
                                  const char *slot, fb_phase phase)
{
    for (size_t i = 0; i < log->count; i++) {
        const kept_event *e = &log->events[i];

        if (e->step == step && e->phase == phase && strcmp(e->path, path) == 0 &&
            strcmp(e->slot, slot) == 0)
            return e;
    }
    fail_msg("no event %s %s in step %" PRIu64, path, slot, step);
    return NULL;
}

/* An embedding whose rows are all alike: what dropout reads is known without the sample. */
static void fill_table(fb_run_tensor table)
{
    for (size_t i = 0; i < table.count; i++)
        table.data[i] = 1.0f + (float)(i % 6);
}

/* In training step t, counted from 1, the words are those of step t. */
static void masks_are_those_of_the_step_counted_from_1(void **state)
{
    enum { ELEMENTS = 2 * 8 * 6 };
    const fb_kernels *kernels = fb_kernels_best();
    fb_streams *streams;
    size_t stream;
    event_log log;
    fixture f;

    (void)state;
    fixture_open(&f);
    log_open(&log);
    assert_ok(&f, fixture_create(&f,
                                 SMALL_RUN("{\"name\": \"drop\", \"dropout\": {\"p\": 0.3}},",
                                           "\"vocab\"", BATCH_OF_2),
                                 NULL, 0, (fb_run_options){.threads = 1}));
    assert_int_equal(fb_streams_create(&streams, 9, NULL), FB_OK);
    assert_int_equal(fb_streams_add(&stream, streams, "drop", NULL), FB_OK);
    fb_run_observe(f.run, &log.observer);
    assert_ok(&f, fb_run_begin(f.run, &f.error));
    for (uint64_t step = 1; step <= 3; step++) {
        const fb_philox words = fb_streams_at(streams, stream, step);
        float y[ELEMENTS];
        fb_pool *pool;

        assert_int_equal(words.step, step);
        for (size_t i = 0; i < ELEMENTS; i++)
            y[i] = 1.0f + (float)(i % 6);
        assert_int_equal(fb_pool_create(&pool, 1, NULL), FB_OK);
        kernels->dropout(pool, y, y, ELEMENTS, 0.3, &words, 0);
        fill_table(fb_run_parameter(f.run, 0));
        assert_ok(&f, fb_run_step(f.run, &f.error));
        assert_true(fb_hash_equal(event_of(&log, step, "drop", "out", FB_PHASE_FORWARD)->content,
                                  fb_tensor_hash(pool, FB_DTYPE_F32, y, sizeof y, NULL)));
        fb_pool_destroy(pool);
    }
    fb_streams_destroy(streams);
    fixture_close(&f);
    log_close(&log);
}

/* --- Evaluation ------------------------------------------------------------------------------- */

/* Runs a step and its evaluation, and compares the loss with the tree of its chunks' sums. */
static void check_evaluation(const char *json, const char *split, const char *batches,
                             size_t chunks, size_t targets)
{
    const fb_config_set sets[] = {{"data.split", split}, {"eval.batches", batches}};
    double parts[64] = {0};
    size_t found = 0;
    event_log log;
    fixture f;

    fixture_open(&f);
    log_open(&log);
    assert_ok(&f, fixture_create(&f, json, sets, 2, (fb_run_options){.threads = 2}));
    (void)fixture_train(&f, &log, 1);
    for (size_t i = 0; i < log.count; i++) {
        const kept_event *e = &log.events[i];

        if (e->phase != FB_PHASE_EVAL || strcmp(e->slot, "sum") != 0)
            continue;
        assert_true(found < 64);
        assert_int_equal(e->micro, found);
        parts[found++] = e->value;
    }
    assert_int_equal(found, chunks);
    assert_true((float)(fb_tree_sum_f64(parts, found) / (double)targets) ==
                fb_run_eval_loss(f.run));
    fixture_close(&f);
    log_close(&log);
}

/* Chunks of size/micro samples, as many whole ones as the part has, at most batches·micro; joined
 * by the tree, divided by the targets that count. */
static void an_evaluation_is_cut_into_micro_batches(void **state)
{
    static const char json[] = SMALL_RUN(
        "", "\"vocab\"", ", \"batch\": {\"size\": 6, \"micro\": 3}, \"eval\": {\"every\": 1}");

    (void)state;
    check_evaluation(json, "[0.9, 0.1]", "3", 9, 9 * 2 * 8);
    check_evaluation(json, "[0.99, 0.01]", "3", 2, 2 * 2 * 8);       /* 4 of its 4 samples */
    check_evaluation(json, "[0.9875, 0.0125]", "3", 3, 3 * 2 * 8);   /* 6 samples */
    check_evaluation(json, "[0.98, 0, 0.02]", "9", 4, 4 * 2 * 8);    /* 9 of test: one is left */
    check_evaluation(json, "[0.97, 0.01, 0.02]", "9", 2, 2 * 2 * 8); /* val before test */
}

/* --- Parameters and targets ------------------------------------------------------------------- */

/* Layers as the configuration names them, depth first; in a layer the weight, then bias or
 * positions; a tied one where it is first. */
static void parameters_have_the_order_of_the_configuration(void **state)
{
    static const char *const want[] = {
        "embedding.weight",          "embedding.positions",
        "h.0.attn.ln.weight",        "h.0.attn.ln.bias",
        "h.0.attn.core.qkv.weight",  "h.0.attn.core.qkv.bias",
        "h.0.attn.core.proj.weight", "h.0.attn.core.proj.bias",
        "h.0.mlp.ln.weight",         "h.0.mlp.ln.bias",
        "h.0.mlp.fc.weight",         "h.0.mlp.fc.bias",
        "h.0.mlp.proj.weight",       "h.0.mlp.proj.bias",
        "h.1.attn.ln.weight",        "h.1.attn.ln.bias",
        "h.1.attn.core.qkv.weight",  "h.1.attn.core.qkv.bias",
        "h.1.attn.core.proj.weight", "h.1.attn.core.proj.bias",
        "h.1.mlp.ln.weight",         "h.1.mlp.ln.bias",
        "h.1.mlp.fc.weight",         "h.1.mlp.fc.bias",
        "h.1.mlp.proj.weight",       "h.1.mlp.proj.bias",
        "layernorm.weight",          "layernorm.bias",
    };
    size_t found = 0;
    fixture f;

    (void)state;
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, FIXTURE_GPT, NULL, 0, (fb_run_options){.threads = 1}));
    for (size_t i = 0; i < fb_run_parameter_count(f.run); i++) {
        const char *path = fb_run_parameter(f.run, i).path;

        assert_true(found < sizeof want / sizeof want[0]);
        assert_string_equal(path, want[found++]);
    }
    assert_int_equal(found, sizeof want / sizeof want[0]);
    fixture_close(&f);
}

/* A target that is no class and not the ignored one ends the run before it begins. */
static void a_target_of_no_class_is_refused(void **state)
{
    static const char beyond[] = SMALL_RUN("", "12", BATCH_OF_2);
    const fb_config_set ignore = {"loss.cross_entropy.ignore_index", "12"};
    fixture f;

    (void)state;
    fixture_open(&f);
    assert_int_equal(fixture_create(&f, beyond, NULL, 0, (fb_run_options){0}), FB_E_DATA);
    assert_non_null(strstr(f.error.text, "class 12, the model has 12"));
    assert_ok(&f, fixture_create(&f, beyond, &ignore, 1, (fb_run_options){.threads = 1}));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_without_a_share_is_empty),
        cmocka_unit_test(masks_are_those_of_the_step_counted_from_1),
        cmocka_unit_test(an_evaluation_is_cut_into_micro_batches),
        cmocka_unit_test(parameters_have_the_order_of_the_configuration),
        cmocka_unit_test(a_target_of_no_class_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
