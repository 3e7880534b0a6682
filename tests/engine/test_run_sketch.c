/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run_sketch.c - the engine sketches what an observer asks for: right, only then, and without
 * changing the run.
 */
#include "base/sketch.h"
#include "run_fixture.h"

/* Checks each tensor against its own contents. */
typedef struct sketch_log {
    event_log log;
    bool wanted;
    size_t tensors, blocks;
} sketch_log;

static fb_status check_sketch(void *self, const fb_event *event, fb_error *err)
{
    sketch_log *l = self;
    const fb_site *site = &l->log.sites[event->site];
    const bool tensor = site->kind == FB_KIND_TENSOR || site->kind == FB_KIND_PARAM;
    static fb_hash blocks[64];
    fb_sketch want;

    assert_int_equal(event->sketch != NULL, tensor && l->wanted);
    if (event->sketch != NULL) {
        const fb_hash hash = fb_tensor_sketch(&want, blocks, NULL, site->dtype, event->data,
                                              event->data_bytes, NULL);

        assert_true(fb_hash_equal(hash, event->hash));
        assert_memory_equal(event->sketch, &want, sizeof want);
        assert_int_equal(event->block_count, fb_sketch_blocks(event->data_bytes));
        if (event->block_count > 0)
            assert_memory_equal(event->blocks, blocks, event->block_count * sizeof *blocks);
        l->tensors++;
        l->blocks += event->block_count;
    } else {
        assert_null(event->blocks);
        assert_int_equal(event->block_count, 0);
    }
    return log_event(&l->log, event, err);
}

/* A tensor of several blocks; with one micro-batch, and as nothing is clipped, gradients whose
 * contents are reported three times. */
static const char json[] =
    "{\"seed\": 4, \"data\": {\"text\": \"text.txt\", \"context\": 8, \"split\": [0.9, 0.1]},"
    "\"model\": [{\"embedding\": {\"dim\": 96}}, {\"residual\": [{\"layernorm\": {}},"
    "{\"linear\": {\"out\": 384}}, {\"gelu\": {}}, {\"linear\": {\"out\": 96}}]},"
    "{\"layernorm\": {}}, {\"linear\": {\"out\": \"vocab\", \"bias\": false}}],"
    "\"loss\": \"cross_entropy\", \"optimizer\": {\"adamw\": {\"lr\": 0.01}}, \"clip\": 1000.0,"
    "\"batch\": {\"size\": 8}, \"steps\": 3, \"eval\": {\"every\": 2, \"batches\": 1}}";

static fb_hash train(fixture *f, sketch_log *l, const char *micro, uint32_t wants, unsigned threads)
{
    const fb_config_set sets[] = {{"batch.micro", micro}};

    memset(l, 0, sizeof *l);
    log_open(&l->log);
    l->log.observer.self = l;
    l->log.observer.on_event = check_sketch;
    l->log.classes = wants;
    l->wanted = (wants & FB_WANT_SKETCH) != 0;
    assert_ok(f, fixture_create(f, json, sets, 1, (fb_run_options){.threads = threads}));
    return fixture_train(f, &l->log, 3);
}

static void every_tensor_is_sketched_when_asked_and_the_run_is_the_same(void **state)
{
    const uint32_t classes = (1u << FB_CLASS_COUNT) - 1;
    fixture f;

    (void)state;
    fixture_open(&f);
    for (int split = 0; split < 2; split++) {
        const char *micro = split == 0 ? "1" : "2";
        sketch_log with, without, threads;
        const fb_hash want = train(&f, &without, micro, classes, 1);

        assert_true(fb_hash_equal(want, train(&f, &with, micro, classes | FB_WANT_SKETCH, 1)));
        assert_true(fb_hash_equal(want, train(&f, &threads, micro, classes | FB_WANT_SKETCH, 3)));
        assert_true(fb_hash_equal(with.log.sequence, without.log.sequence));
        assert_true(fb_hash_equal(threads.log.sequence, without.log.sequence));
        assert_true(with.tensors > 100 && with.blocks > 4 && without.tensors == 0);
        log_close(&with.log);
        log_close(&without.log);
        log_close(&threads.log);
    }
    fixture_close(&f);
}

/* Without wants() an observer gets what it always got. */
static void who_does_not_ask_gets_no_sketch(void **state)
{
    const fb_config_set sets[] = {{"batch.micro", "1"}};
    sketch_log l = {.wanted = false};
    fixture f;

    (void)state;
    fixture_open(&f);
    log_open(&l.log);
    l.log.observer.self = &l;
    l.log.observer.wants = NULL;
    l.log.observer.on_event = check_sketch;
    assert_ok(&f, fixture_create(&f, json, sets, 1, (fb_run_options){.threads = 1}));
    (void)fixture_train(&f, &l.log, 1);
    log_close(&l.log);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_is_sketched_when_asked_and_the_run_is_the_same),
        cmocka_unit_test(who_does_not_ask_gets_no_sketch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
