/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run_watch.c - hashes that are made while kernels write are those of the contents that are
 * reported, for every layer, optimizer and thread count, and with planted faults.
 */
#include "base/sketch.h"
#include "run_fixture.h"

typedef struct watch_log {
    event_log log;
    size_t large; /* tensors of several blocks */
} watch_log;

static fb_status check_contents(void *self, const fb_event *event, fb_error *err)
{
    watch_log *l = self;
    const fb_site *site = &l->log.sites[event->site];

    (void)err;
    if (event->data == NULL || (site->kind != FB_KIND_TENSOR && site->kind != FB_KIND_PARAM))
        return FB_OK;
    if (!fb_hash_equal(event->hash,
                       fb_tensor_hash(NULL, site->dtype, event->data, event->data_bytes, NULL)))
        fail_msg("%s %s %s in step %d: the hash is of other contents", site->path, site->op,
                 site->slot, (int)event->step);
    if (event->sketch != NULL) {
        static fb_sketch want;

        fb_tensor_sketch(&want, NULL, NULL, site->dtype, event->data, event->data_bytes, NULL);
        assert_memory_equal(event->sketch, &want, sizeof want);
    }
    l->large += event->data_bytes > FB_HASH_BLOCK_BYTES;
    return FB_OK;
}

#define TEXT_RUN(layers, optimizer, micro)                                                         \
    "{\"seed\": 5, \"data\": {\"text\": \"text.txt\", \"context\": 16, \"split\": [1, 0]},"        \
    "\"model\": [{\"embedding\": {\"dim\": 192, \"positions\": true}, \"name\": \"emb\"}," layers  \
    ", {\"linear\": {\"out\": \"vocab\", \"bias\": false, \"tied\": \"emb\"}}],"                   \
    "\"loss\": \"cross_entropy\", \"optimizer\": {" optimizer "}, \"clip\": 0.01,"                 \
    "\"batch\": {\"size\": 16, \"micro\": " micro "}, \"steps\": 2}"

static const char *const runs[] = {
    TEXT_RUN("{\"dropout\": {\"p\": 0.1}}, {\"residual\": [{\"layernorm\": {}},"
             "{\"attention\": {\"heads\": 4}}]}, {\"residual\": [{\"linear\": {\"out\": 256}},"
             "{\"gelu\": {\"approximate\": \"tanh\"}}, {\"linear\": {\"out\": 192}}]}",
             "\"adamw\": {\"lr\": 0.01}", "1"),
    TEXT_RUN("{\"tanh\": {}}, {\"residual\": [{\"sigmoid\": {}}]}, {\"silu\": {}},"
             "{\"residual\": [{\"residual\": [{\"gelu\": {}}]}, {\"relu\": {}}]},"
             "{\"softplus\": {}},"
             "{\"linear\": {\"out\": 192}, \"name\": \"last\"}",
             "\"sgd\": {\"lr\": 0.01, \"momentum\": 0.9, \"nesterov\": true}", "1"),
    TEXT_RUN("{\"linear\": {\"out\": 192}}, {\"layernorm\": {\"bias\": false}}",
             "\"adam\": {\"lr\": 0.01}", "2"),
    "{\"seed\": 1, \"data\": {\"idx\": {\"images\": \"images.idx\", \"labels\": \"labels.idx\"}},"
    "\"model\": [{\"conv2d\": {\"out\": 48, \"kernel\": 3, \"padding\": 1}}, {\"relu\": {}},"
    "{\"conv2d\": {\"out\": 64, \"kernel\": 3, \"padding\": 1}}, {\"maxpool\": {\"kernel\": 2}},"
    "{\"flatten\": {}}, {\"linear\": {\"out\": \"classes\"}}], \"loss\": \"cross_entropy\","
    "\"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": {\"size\": 16}, \"steps\": 2}",
};

static void check_run(const char *json, unsigned threads, uint32_t wants, const fb_fault *faults,
                      size_t fault_count)
{
    watch_log l = {.large = 0};
    fixture f;

    fixture_open(&f);
    log_open(&l.log);
    l.log.observer.self = &l;
    l.log.observer.on_event = check_contents;
    l.log.classes = (1u << FB_CLASS_COUNT) - 1;
    l.log.classes |= wants;
    assert_ok(&f, fixture_create(&f, json, NULL, 0,
                                 (fb_run_options){.threads = threads,
                                                  .faults = faults,
                                                  .fault_count = fault_count}));
    (void)fixture_train(&f, &l.log, 2);
    if (l.large <= 10)
        fail_msg("only %zu large tensors: %s", l.large, json);
    log_close(&l.log);
    fixture_close(&f);
}

static void hashes_are_of_the_contents_reported(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        for (unsigned threads = 1; threads <= 3; threads++)
            check_run(runs[i], threads, threads == 2 ? FB_WANT_SKETCH : 0, NULL, 0);
}

static void a_bit_flipped_after_the_kernel_is_in_the_hash(void **state)
{
    const fb_fault faults[] = {
        {.kind = FB_FAULT_FLIP, .step = 1, .path = "last", .slot = "out", .element = 9, .bit = 4},
        {.kind = FB_FAULT_FLIP, .step = 2, .path = "last", .slot = "grad", .bit = 7},
    };

    (void)state;
    check_run(runs[1], 2, 0, faults, sizeof faults / sizeof faults[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_of_the_contents_reported),
        cmocka_unit_test(a_bit_flipped_after_the_kernel_is_in_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
