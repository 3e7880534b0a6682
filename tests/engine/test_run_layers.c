/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run_layers.c - every layer of the list can be built and runs, and shapes that do not fit are
 * refused with the place in the configuration and both shapes.
 */
#include "run_fixture.h"

#define TEXT_RUN(layers, rest)                                                                     \
    "{\"seed\": 1, \"data\": {\"text\": \"text.txt\", \"context\": 8}, \"model\": [" layers        \
    "], \"loss\": \"cross_entropy\", \"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": "         \
    "{\"size\": 4, \"micro\": 2}, \"steps\": 2" rest "}"

#define IMAGE_RUN(layers)                                                                          \
    "{\"seed\": 1, \"data\": {\"idx\": {\"images\": \"images.idx\", \"labels\": \"labels.idx\"}}," \
    "\"model\": [" layers "], \"loss\": \"cross_entropy\", \"optimizer\": {\"sgd\": {\"lr\": "     \
    "0.1}}, \"batch\": {\"size\": 4, \"micro\": 2}, \"steps\": 2}"

#define EMBED "{\"embedding\": {\"dim\": 12}},"
#define HEAD  "{\"name\": \"head\", \"linear\": {\"out\": \"vocab\"}}"
#define CLASS "{\"flatten\": {}}, {\"name\": \"head\", \"linear\": {\"out\": \"classes\"}}"

static const struct {
    fb_layer_type type;
    const char *json;
} layers[] = {
    {FB_LAYER_EMBEDDING, TEXT_RUN(EMBED HEAD, "")},
    {FB_LAYER_LINEAR, TEXT_RUN(EMBED "{\"linear\": {\"out\": 3}}," HEAD, "")},
    {FB_LAYER_LAYERNORM, TEXT_RUN(EMBED "{\"layernorm\": {}}," HEAD, "")},
    {FB_LAYER_ATTENTION, TEXT_RUN(EMBED "{\"attention\": {\"heads\": 3}}," HEAD, "")},
    {FB_LAYER_GELU, TEXT_RUN(EMBED "{\"gelu\": {}}," HEAD, "")},
    {FB_LAYER_RELU, TEXT_RUN(EMBED "{\"relu\": {}}," HEAD, "")},
    {FB_LAYER_TANH, TEXT_RUN(EMBED "{\"tanh\": {}}," HEAD, "")},
    {FB_LAYER_SIGMOID, TEXT_RUN(EMBED "{\"sigmoid\": {}}," HEAD, "")},
    {FB_LAYER_SILU, TEXT_RUN(EMBED "{\"silu\": {}}," HEAD, "")},
    {FB_LAYER_SOFTPLUS, TEXT_RUN(EMBED "{\"softplus\": {}}," HEAD, "")},
    {FB_LAYER_DROPOUT, TEXT_RUN(EMBED "{\"dropout\": {\"p\": 0.5}}," HEAD, "")},
    {FB_LAYER_CONV2D, IMAGE_RUN("{\"conv2d\": {\"out\": 2, \"kernel\": 3}}," CLASS)},
    {FB_LAYER_MAXPOOL, IMAGE_RUN("{\"maxpool\": {\"kernel\": 2}}," CLASS)},
    {FB_LAYER_AVGPOOL, IMAGE_RUN("{\"avgpool\": {\"kernel\": 2}}," CLASS)},
    {FB_LAYER_FLATTEN, IMAGE_RUN(CLASS)},
    {FB_LAYER_RESIDUAL, TEXT_RUN(EMBED "{\"residual\": [{\"tanh\": {}}]}," HEAD, "")},
};

static void every_layer_of_the_list_runs(void **state)
{
    bool seen[FB_LAYER_COUNT] = {false};
    fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        event_log log;
        bool named = false;

        log_open(&log);
        log.check_inputs = true;
        assert_ok(&f, fixture_create(&f, layers[i].json, NULL, 0, (fb_run_options){.threads = 2}));
        (void)fixture_train(&f, &log, 2);
        assert_false(log.unknown_input);
        for (size_t e = 0; e < log.count; e++)
            named |= strcmp(log.events[e].op, fb_layer_type_name(layers[i].type)) == 0;
        assert_true(named);
        seen[layers[i].type] = true;
        log_close(&log);
    }
    for (int type = 0; type < FB_LAYER_COUNT; type++)
        if (!seen[type])
            fail_msg("layer %s is not in this test", fb_layer_type_name((fb_layer_type)type));
    fixture_close(&f);
}

static const struct {
    const char *json;
    fb_status status;
    const char *message;
} refusals[] = {
    {TEXT_RUN("{\"linear\": {\"out\": 13}}", ""), FB_E_SHAPE,
     "model[0]: linear cannot read tokens; the first layer must be an embedding"},
    {TEXT_RUN("{\"residual\": [{\"embedding\": {\"dim\": 8}}]}," HEAD, ""), FB_E_SHAPE,
     "model[0]: residual cannot add to tokens"},
    {TEXT_RUN(EMBED "{\"name\": \"e2\", \"embedding\": {\"dim\": 8}}," HEAD, ""), FB_E_SHAPE,
     "model[1]: an embedding reads tokens: it must be the first layer, and the data text or "
     "tokens"},
    {IMAGE_RUN("{\"embedding\": {\"dim\": 8}}," CLASS), FB_E_SHAPE,
     "model[0]: an embedding reads tokens: it must be the first layer, and the data text or "
     "tokens"},
    {TEXT_RUN(EMBED "{\"attention\": {\"heads\": 5}}," HEAD, ""), FB_E_SHAPE,
     "model[1]: heads: 5 does not divide the 12 channels of [8,12]"},
    {IMAGE_RUN("{\"attention\": {\"heads\": 1}}," CLASS), FB_E_SHAPE,
     "model[0]: attention needs samples of shape [T,C], got [1,8,8]"},
    {TEXT_RUN(EMBED "{\"residual\": [{\"linear\": {\"out\": 5}}]}," HEAD, ""), FB_E_SHAPE,
     "model[1]: residual: the branch turns [8,12] into [8,5]; they must be equal"},
    {TEXT_RUN(EMBED
              "{\"repeat\": 2, \"layers\": [{\"residual\": [{\"linear\": {\"out\": 5}}]}]}," HEAD,
              ""),
     FB_E_SHAPE,
     "model[1].layers[0]: residual: the branch turns [8,12] into [8,5]; they must be equal"},
    {TEXT_RUN(EMBED "{\"linear\": {\"out\": 5}},"
                    "{\"name\": \"t\", \"linear\": {\"out\": 13, \"tied\": \"embedding\"}}",
              ""),
     FB_E_SHAPE, "model[2]: tied: embedding.weight is [13,12], this layer needs [13,5]"},
    {TEXT_RUN(EMBED "{\"conv2d\": {\"out\": 2, \"kernel\": 3}}," HEAD, ""), FB_E_SHAPE,
     "model[1]: conv2d needs samples of shape [C,H,W], got [8,12]"},
    {IMAGE_RUN("{\"conv2d\": {\"out\": 2, \"kernel\": [9, 3]}}," CLASS), FB_E_SHAPE,
     "model[0]: conv2d: a window height of 9 with padding 0 does not fit an input height of 8"},
    {IMAGE_RUN("{\"maxpool\": {\"kernel\": [2, 11]}}," CLASS), FB_E_SHAPE,
     "model[0]: maxpool: a window width of 11 with padding 0 does not fit an input width of 8"},
    {TEXT_RUN(EMBED "{\"linear\": {\"out\": 7}}", ""), FB_E_DATA,
     "text.txt: train sample 0: class "},
    {TEXT_RUN(EMBED "{\"flatten\": {}}, {\"linear\": {\"out\": 13}}", ""), FB_E_SHAPE,
     "loss: the model gives [13] for a sample: 1 predictions for 8 targets"},
    {IMAGE_RUN("{\"name\": \"head\", \"linear\": {\"out\": \"classes\"}}"), FB_E_SHAPE,
     "loss: the model gives [1,8,4] for a sample: 8 predictions for 1 targets"},
    {IMAGE_RUN("{\"flatten\": {}}"), FB_E_CONFIG, "model: there is nothing to train"},
    {TEXT_RUN(EMBED HEAD, ", \"eval\": {\"every\": 1}"), FB_E_CONFIG,
     "eval.every: text.txt has neither validation nor test samples"},
};

static void shapes_that_do_not_fit_are_refused_with_their_place(void **state)
{
    const fb_config_set whole = {"data.split", "[1, 0]"};
    fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const fb_status status =
            fixture_create(&f, refusals[i].json, &whole, 1, (fb_run_options){.threads = 1});

        if (status != refusals[i].status || strstr(f.error.text, refusals[i].message) == NULL)
            fail_msg("case %zu: expected \"%s\", got status %d \"%s\"", i, refusals[i].message,
                     (int)status, f.error.text);
    }
    fixture_close(&f);
}

static void a_batch_larger_than_the_data_is_refused(void **state)
{
    const fb_config_set size = {"batch.size", "600"};
    fixture f;

    (void)state;
    fixture_open(&f);
    assert_int_equal(fixture_create(&f, FIXTURE_GPT, &size, 1, (fb_run_options){.threads = 1}),
                     FB_E_DATA);
    assert_string_equal(f.error.text, "text.txt: 449 training samples, fewer than batch.size 600");
    fixture_close(&f);
}

static void missing_data_is_refused_by_name(void **state)
{
    const fb_config_set text = {"data.text", "nowhere.txt"};
    fixture f;

    (void)state;
    fixture_open(&f);
    assert_int_equal(fixture_create(&f, FIXTURE_GPT, &text, 1, (fb_run_options){.threads = 1}),
                     FB_E_NOT_FOUND);
    assert_non_null(strstr(f.error.text, "nowhere.txt"));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_of_the_list_runs),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused_with_their_place),
        cmocka_unit_test(a_batch_larger_than_the_data_is_refused),
        cmocka_unit_test(missing_data_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
