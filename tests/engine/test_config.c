/* SPDX-License-Identifier: Apache-2.0
 *
 * test_config.c - what a good configuration means: values, defaults, names, --set, resolved text.
 * The messages for bad ones are in test_config_messages.c.
 */
#include "engine/config/config.h"

#include <locale.h>
#include <math.h>

#include "scratch.h"

/* The example of the design document, as it stands there. */
static const char GPT[] =
    "{ \"seed\": 42,\n"
    "  \"data\": {\"text\": \"input.txt\", \"context\": 64, \"split\": [0.9, 0.1]},\n"
    "  \"model\": [\n"
    "    {\"embedding\": {\"dim\": 128, \"positions\": true}},\n"
    "    {\"repeat\": 4, \"name\": \"h\", \"layers\": [\n"
    "      {\"residual\": [{\"layernorm\": {}}, {\"attention\": {\"heads\": 4, \"causal\": "
    "true}}]},\n"
    "      {\"residual\": [{\"layernorm\": {}}, {\"linear\": {\"out\": 512}}, {\"gelu\": {}}, "
    "{\"linear\": {\"out\": 128}}]}]},\n"
    "    {\"layernorm\": {}},\n"
    "    {\"linear\": {\"out\": \"vocab\", \"bias\": false, \"tied\": \"embedding\"}}],\n"
    "  \"loss\": \"cross_entropy\",\n"
    "  \"optimizer\": {\"adamw\": {\"lr\": 3e-4, \"betas\": [0.9, 0.95], \"eps\": 1e-8, "
    "\"weight_decay\": 0.1}},\n"
    "  \"schedule\": {\"cosine\": {\"warmup\": 100}}, \"clip\": 1.0,\n"
    "  \"batch\": {\"size\": 16, \"micro\": 4}, \"steps\": 1000,\n"
    "  \"eval\": {\"every\": 100, \"batches\": 8}, \"checkpoint\": {\"every\": 250} }\n";

/* A configuration with as little in it as there can be. */
static const char SMALL[] = "{\"seed\":1,\"data\":{\"text\":\"t\",\"context\":4},"
                            "\"model\":[{\"relu\":{}}],\"loss\":\"mse\","
                            "\"optimizer\":{\"sgd\":{\"lr\":0.5}},\"batch\":{\"size\":2},"
                            "\"steps\":3}";

/* Parses SMALL with up to four changes; the caller frees. */
static fb_config small_with(const fb_config_set *sets, size_t count)
{
    fb_config config;
    fb_error err;

    if (fb_config_parse(&config, SMALL, "small", sets, count, &err) != FB_OK)
        fail_msg("%s", err.text);
    return config;
}

static fb_config small_with_one(const char *path, const char *value)
{
    const fb_config_set set = {path, value};
    return small_with(&set, 1);
}

static fb_config parsed(const char *text)
{
    fb_config config;
    fb_error err;

    if (fb_config_parse(&config, text, "text", NULL, 0, &err) != FB_OK)
        fail_msg("%s", err.text);
    return config;
}

/* --- Values ----------------------------------------------------------------------------------- */

static void the_designs_example_is_read_as_it_stands(void **state)
{
    (void)state;
    fb_config c = parsed(GPT);

    assert_int_equal(c.seed, 42);
    assert_int_equal(c.data.type, FB_DATA_TEXT);
    assert_string_equal(c.data.path, "input.txt");
    assert_null(c.data.labels);
    assert_int_equal(c.data.context, 64);
    assert_true(c.data.split[0] == 0.9 && c.data.split[1] == 0.1 && c.data.split[2] == 0);
    assert_int_equal(c.layer_count, 1 + 4 * 2 + 2);
    assert_int_equal(c.layers[0].dim, 128);
    assert_true(c.layers[0].positions);
    assert_int_equal(c.layers[1].children[1].heads, 4);
    assert_true(c.layers[1].children[1].causal);
    assert_int_equal(c.layers[2].children[1].out, 512);
    assert_false(c.layers[2].children[2].gelu_tanh);
    assert_int_equal(c.layers[10].out, FB_OUT_VOCAB);
    assert_false(c.layers[10].bias);
    assert_string_equal(c.layers[10].tied, "embedding");
    assert_int_equal(c.loss, FB_LOSS_CROSS_ENTROPY);
    assert_int_equal(c.ignore_index, -100);
    assert_int_equal(c.data.ignore_index, -100);
    assert_int_equal(c.optimizer.type, FB_OPTIMIZER_ADAMW);
    assert_true(c.optimizer.lr == 3e-4 && c.optimizer.beta1 == 0.9 && c.optimizer.beta2 == 0.95);
    assert_true(c.optimizer.eps == 1e-8 && c.optimizer.weight_decay == 0.1);
    assert_int_equal(c.schedule.type, FB_SCHEDULE_COSINE);
    assert_int_equal(c.schedule.warmup, 100);
    assert_int_equal(c.schedule.total, 1000);
    assert_true(c.clip == 1);
    assert_int_equal(c.batch_size, 16);
    assert_int_equal(c.micro, 4);
    assert_int_equal(c.steps, 1000);
    assert_int_equal(c.eval_every, 100);
    assert_int_equal(c.eval_batches, 8);
    assert_int_equal(c.checkpoint_every, 250);
    assert_null(c.weights);
    fb_config_free(&c);
    assert_null(c.memory);
}

static void defaults_are_pytorchs_where_it_has_them(void **state)
{
    (void)state;
    fb_config c = small_with_one("optimizer", "{\"adamw\":{\"lr\":1}}");

    assert_true(c.optimizer.beta1 == 0.9 && c.optimizer.beta2 == 0.999);
    assert_true(c.optimizer.eps == 1e-8 && c.optimizer.weight_decay == 0.01);
    fb_config_free(&c);
    c = small_with_one("optimizer", "{\"adam\":{\"lr\":1}}");
    assert_int_equal(c.optimizer.type, FB_OPTIMIZER_ADAM);
    assert_true(c.optimizer.weight_decay == 0);
    fb_config_free(&c);
    c = small_with_one("model", "[{\"embedding\":{\"dim\":2}},{\"linear\":{\"out\":3}},"
                                "{\"layernorm\":{}},{\"attention\":{\"heads\":1}},{\"gelu\":{}},"
                                "{\"dropout\":{}},{\"conv2d\":{\"out\":4,\"kernel\":3}},"
                                "{\"maxpool\":{\"kernel\":[3,2]}},{\"flatten\":{}}]");
    assert_false(c.layers[0].positions);
    assert_true(c.layers[1].bias);
    assert_null(c.layers[1].tied);
    assert_true(c.layers[2].eps == 1e-5 && c.layers[2].bias);
    assert_false(c.layers[3].causal);
    assert_true(c.layers[3].bias);
    assert_false(c.layers[4].gelu_tanh);
    assert_true(c.layers[5].p == 0.5);
    assert_true(c.layers[6].bias && c.layers[6].kernel[0] == 3 && c.layers[6].kernel[1] == 3);
    assert_true(c.layers[6].stride[0] == 1 && c.layers[6].stride[1] == 1);
    assert_true(c.layers[6].padding[0] == 0 && c.layers[6].padding[1] == 0);
    assert_true(c.layers[7].stride[0] == 3 && c.layers[7].stride[1] == 2); /* the kernel's */
    fb_config_free(&c);

    c = small_with(NULL, 0);
    assert_true(c.optimizer.momentum == 0 && c.optimizer.dampening == 0);
    assert_false(c.optimizer.nesterov);
    assert_int_equal(c.schedule.type, FB_SCHEDULE_CONSTANT);
    assert_true(c.clip == 0);
    assert_int_equal(c.micro, 1);
    assert_int_equal(c.eval_every, 0);
    assert_int_equal(c.eval_batches, 8);
    assert_int_equal(c.checkpoint_every, 0);
    assert_true(c.data.split[0] == 0.9 && c.data.split[1] == 0.1 && c.data.split[2] == 0);
    fb_config_free(&c);
}

static void each_form_of_data_is_read(void **state)
{
    (void)state;
    fb_config c = small_with_one("data", "{\"tokens\":\"a.bin\",\"context\":8}");

    assert_int_equal(c.data.type, FB_DATA_TOKENS);
    assert_int_equal(c.data.vocab, 50257);
    fb_config_free(&c);
    c = small_with_one("data", "{\"idx\":{\"images\":\"i.gz\",\"labels\":\"l.gz\"},\"mean\":0.13,"
                               "\"std\":0.31,\"split\":[0.5,0.25,0.25]}");
    assert_int_equal(c.data.type, FB_DATA_IDX);
    assert_string_equal(c.data.path, "i.gz");
    assert_string_equal(c.data.labels, "l.gz");
    assert_true(c.data.mean == 0.13 && c.data.std == 0.31 && c.data.split[2] == 0.25);
    fb_config_free(&c);
    c = small_with_one("data", "{\"npy\":{\"inputs\":\"x.npy\",\"targets\":\"y.npy\"}}");
    assert_int_equal(c.data.type, FB_DATA_NPY);
    assert_string_equal(c.data.labels, "y.npy");
    fb_config_free(&c);
}

static void each_schedule_and_loss_is_read(void **state)
{
    (void)state;
    const fb_config_set warmup = {"schedule.warmup.steps", "5"};
    const fb_config_set both[] = {{"schedule", "{\"step\":{\"every\":2}}"},
                                  {"loss", "{\"cross_entropy\":{\"ignore_index\":255}}"}};
    fb_config c = small_with(&warmup, 1);

    assert_int_equal(c.schedule.type, FB_SCHEDULE_WARMUP);
    assert_int_equal(c.schedule.warmup, 5);
    assert_int_equal(c.loss, FB_LOSS_MSE);
    fb_config_free(&c);
    c = small_with(both, 2);
    assert_int_equal(c.schedule.type, FB_SCHEDULE_STEP);
    assert_int_equal(c.schedule.every, 2);
    assert_true(c.schedule.gamma == 0.1);
    assert_int_equal(c.ignore_index, 255);
    assert_int_equal(c.data.ignore_index, 255);
    fb_config_free(&c);
}

/* --- Names ------------------------------------------------------------------------------------ */

static void layers_are_named_by_type_number_and_place(void **state)
{
    (void)state;
    static const char *const want[] = {
        "embedding",     "h.0.residual0", "h.0.residual1", "h.1.residual0",
        "h.1.residual1", "h.2.residual0", "h.2.residual1", "h.3.residual0",
        "h.3.residual1", "layernorm",     "linear",
    };
    static const char *const inside[] = {"h.2.residual1.layernorm", "h.2.residual1.linear0",
                                         "h.2.residual1.gelu", "h.2.residual1.linear1"};
    fb_config c = parsed(GPT);

    assert_int_equal(c.layer_count, 11);
    for (size_t i = 0; i < 11; i++)
        assert_string_equal(c.layers[i].path, want[i]);
    assert_int_equal(c.layers[6].child_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(c.layers[6].children[i].path, inside[i]);
    assert_string_equal(c.layers[6].where, "model[1].layers[1]");
    assert_string_equal(c.layers[6].children[3].where, "model[1].layers[1].residual[3]");
    assert_string_equal(c.layers[10].where, "model[3]");
    fb_config_free(&c);
}

/* A given name takes no number from those that count. */
static void given_names_replace_default_ones(void **state)
{
    (void)state;
    fb_config c = small_with_one(
        "model", "[{\"linear\":{\"out\":1}},{\"linear\":{\"out\":2},\"name\":\"fc\"},"
                 "{\"name\":\"attn\",\"residual\":[{\"linear\":{\"out\":3}}]},"
                 "{\"linear\":{\"out\":4}},"
                 "{\"repeat\":1,\"layers\":[{\"repeat\":2,\"layers\":[{\"relu\":{}}]}]}]");
    static const char *const want[] = {
        "linear0", "fc", "attn", "linear1", "repeat.0.repeat.0.relu", "repeat.0.repeat.1.relu"};

    assert_int_equal(c.layer_count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(c.layers[i].path, want[i]);
    assert_string_equal(c.layers[2].children[0].path, "attn.linear");
    fb_config_free(&c);
}

/* --- Changes ---------------------------------------------------------------------------------- */

static void set_reaches_every_place(void **state)
{
    (void)state;
    const fb_config_set sets[] = {
        {"model[1].repeat", "2"},
        {"model[1].layers[1].residual[1].linear.out", "64"},
        {"optimizer.adamw.lr", "1e-3"},
        {"optimizer.adamw.betas[1]", "0.5"},
        {"loss.cross_entropy.ignore_index", "-1"},
        {"data.text", "other.txt"},
        {"data.split", "[1,0]"},
        {"weights", "init.safetensors"},
        {"model[0].name", "wte"},
        {"model[3].linear.tied", "wte"},
        {"steps", "7"},
        {"steps", "9"}, /* in order: the last one counts */
    };
    fb_config c;
    fb_error err;

    if (fb_config_parse(&c, GPT, "gpt", sets, sizeof sets / sizeof *sets, &err) != FB_OK)
        fail_msg("%s", err.text);
    assert_int_equal(c.layer_count, 1 + 2 * 2 + 2);
    assert_int_equal(c.layers[4].children[1].out, 64);
    assert_true(c.optimizer.lr == 1e-3 && c.optimizer.beta2 == 0.5);
    assert_int_equal(c.ignore_index, -1);
    assert_string_equal(c.data.path, "other.txt");
    assert_true(c.data.split[0] == 1);
    assert_string_equal(c.weights, "init.safetensors");
    assert_string_equal(c.layers[6].tied, "wte");
    assert_int_equal(c.steps, 9);
    assert_int_equal(c.schedule.total, 9); /* the default follows */
    fb_config_free(&c);
}

static void set_opens_what_is_a_word_or_missing(void **state)
{
    (void)state;
    const fb_config_set sets[] = {{"schedule", "cosine"},
                                  {"schedule.cosine.min_factor", "0.5"},
                                  {"eval.every", "2"},
                                  {"weights", "null"}};
    fb_config c = small_with(sets, 4);

    assert_int_equal(c.schedule.type, FB_SCHEDULE_COSINE);
    assert_true(c.schedule.min_factor == 0.5);
    assert_int_equal(c.eval_every, 2);
    assert_null(c.weights);
    fb_config_free(&c);
}

/* --- Resolved text ---------------------------------------------------------------------------- */

static void expect_equal_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        assert_true(a == b);
    else
        assert_string_equal(a, b);
}

static void expect_equal_layers(const fb_layer_config *a, const fb_layer_config *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(a[i].type, b[i].type);
        assert_string_equal(a[i].path, b[i].path);
        assert_string_equal(a[i].where, b[i].where);
        assert_int_equal(a[i].dim, b[i].dim);
        assert_int_equal(a[i].positions, b[i].positions);
        assert_int_equal(a[i].out, b[i].out);
        assert_int_equal(a[i].bias, b[i].bias);
        expect_equal_text(a[i].tied, b[i].tied);
        assert_true(a[i].eps == b[i].eps && a[i].p == b[i].p);
        assert_int_equal(a[i].heads, b[i].heads);
        assert_int_equal(a[i].causal, b[i].causal);
        assert_int_equal(a[i].gelu_tanh, b[i].gelu_tanh);
        assert_memory_equal(a[i].kernel, b[i].kernel, sizeof a[i].kernel);
        assert_memory_equal(a[i].stride, b[i].stride, sizeof a[i].stride);
        assert_memory_equal(a[i].padding, b[i].padding, sizeof a[i].padding);
        assert_int_equal(a[i].child_count, b[i].child_count);
        expect_equal_layers(a[i].children, b[i].children, a[i].child_count);
    }
}

/* Reading what was resolved gives the same configuration and the same text. */
static void expect_fixed_point(const fb_config *a)
{
    fb_config b = parsed(a->resolved);

    assert_string_equal(a->resolved, b.resolved);
    assert_int_equal(a->seed, b.seed);
    assert_int_equal(a->data.type, b.data.type);
    assert_string_equal(a->data.path, b.data.path);
    expect_equal_text(a->data.labels, b.data.labels);
    assert_int_equal(a->data.context, b.data.context);
    assert_int_equal(a->data.vocab, b.data.vocab);
    assert_memory_equal(a->data.split, b.data.split, sizeof a->data.split);
    assert_true(a->data.mean == b.data.mean && a->data.std == b.data.std);
    assert_int_equal(a->data.ignore_index, b.data.ignore_index);
    assert_int_equal(a->layer_count, b.layer_count);
    expect_equal_layers(a->layers, b.layers, a->layer_count);
    expect_equal_text(a->weights, b.weights);
    assert_int_equal(a->loss, b.loss);
    assert_int_equal(a->ignore_index, b.ignore_index);
    assert_int_equal(a->optimizer.type, b.optimizer.type);
    assert_memory_equal(&a->optimizer.lr, &b.optimizer.lr, 7 * sizeof(double));
    assert_int_equal(a->optimizer.nesterov, b.optimizer.nesterov);
    assert_int_equal(a->schedule.type, b.schedule.type);
    assert_memory_equal(&a->schedule.warmup, &b.schedule.warmup, 5 * sizeof(double));
    assert_memory_equal(&a->clip, &b.clip, sizeof a->clip);
    assert_int_equal(a->batch_size, b.batch_size);
    assert_int_equal(a->micro, b.micro);
    assert_int_equal(a->steps, b.steps);
    assert_int_equal(a->eval_every, b.eval_every);
    assert_int_equal(a->eval_batches, b.eval_batches);
    assert_int_equal(a->checkpoint_every, b.checkpoint_every);
    fb_config_free(&b);
}

static void the_resolved_text_is_a_fixed_point(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value;
    } changes[] = {
        {"seed", "9007199254740991"},
        {"data", "{\"tokens\":\"a \\\"b\\\\c\\u0001\\u00e9.bin\",\"context\":8}"},
        {"data", "{\"idx\":{\"images\":\"i\",\"labels\":\"l\"},\"mean\":0.1307}"},
        {"data", "{\"npy\":{\"inputs\":\"x\",\"targets\":\"y\"},\"split\":[0.7,0.2,0.1]}"},
        {"model",
         "[{\"conv2d\":{\"out\":8,\"kernel\":[3,5],\"stride\":2,\"padding\":[1,2]}},"
         "{\"maxpool\":{\"kernel\":2}},{\"avgpool\":{\"kernel\":2,\"stride\":1}},"
         "{\"flatten\":{}},{\"dropout\":{\"p\":0.1}},{\"gelu\":{\"approximate\":\"tanh\"}},"
         "{\"tanh\":{}},{\"sigmoid\":{}},{\"silu\":{}},{\"softplus\":{}},{\"linear\":{\"out\":"
         "\"classes\"}}]"},
        {"optimizer", "{\"sgd\":{\"lr\":0.1,\"momentum\":0.9,\"nesterov\":true}}"},
        {"optimizer", "{\"adam\":{\"lr\":5e-324,\"eps\":1.7976931348623157e308}}"},
        {"optimizer", "{\"adam\":{\"lr\":0.30000000000000004,\"eps\":0}}"},
        {"schedule", "{\"step\":{\"every\":3,\"gamma\":0.333333333333333333333}}"},
        {"schedule", "{\"warmup\":{\"steps\":4}}"},
        {"schedule", "{\"cosine\":{\"warmup\":2,\"min_factor\":0.1}}"},
        {"loss", "{\"cross_entropy\":{\"ignore_index\":-1}}"},
        {"weights", "w.safetensors"},
        {"clip", "123456789012345680000"},
    };
    fb_config c = parsed(GPT);

    expect_fixed_point(&c);
    fb_config_free(&c);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        c = small_with_one(changes[i].path, changes[i].value);
        expect_fixed_point(&c);
        fb_config_free(&c);
    }
}

static void the_resolved_text_has_every_default(void **state)
{
    (void)state;
    fb_config c = small_with(NULL, 0);

    assert_string_equal(
        c.resolved,
        "{\"seed\":1,\"data\":{\"text\":\"t\",\"context\":4,\"split\":[0.9,0.1,0]},"
        "\"model\":[{\"relu\":{},\"name\":\"relu\"}],\"weights\":null,\"loss\":{\"mse\":{}},"
        "\"batch\":{\"size\":2,\"micro\":1},\"steps\":3,"
        "\"optimizer\":{\"sgd\":{\"lr\":0.5,\"momentum\":0,\"dampening\":0,\"weight_decay\":0,"
        "\"nesterov\":false}},\"schedule\":{\"constant\":{}},\"clip\":0,"
        "\"eval\":{\"every\":0,\"batches\":8},\"checkpoint\":{\"every\":0}}");
    fb_config_free(&c);
}

/* Text of a number: the shortest that reads back equal, and no comma in any locale. */
static void numbers_keep_their_bits_in_every_locale(void **state)
{
    (void)state;
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"};
    uint64_t random = 7;

    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++) {
        if (setlocale(LC_NUMERIC, locales[i]) == NULL)
            continue; /* not installed here */
        for (int n = 0; n < 500; n++) {
            const uint64_t bits = scratch_random(&random) >> 1;
            double lr;
            char text[512];
            fb_config c;

            memcpy(&lr, &bits, sizeof lr);
            if (!isfinite(lr) || lr == 0)
                continue;
            (void)setlocale(LC_NUMERIC, "C");
            (void)snprintf(text, sizeof text, "{\"adam\":{\"lr\":%.17g}}", lr);
            (void)setlocale(LC_NUMERIC, locales[i]);
            c = small_with_one("optimizer", text);
            assert_memory_equal(&c.optimizer.lr, &lr, sizeof lr);
            expect_fixed_point(&c);
            fb_config_free(&c);
        }
    }
    (void)setlocale(LC_NUMERIC, "C");
}

/* --- Files ------------------------------------------------------------------------------------ */

static void expect_unreadable(const char *path, fb_status want, const char *ending)
{
    fb_config c;
    fb_error err;
    const size_t length = strlen(path);

    assert_int_equal(fb_config_read(&c, path, NULL, 0, &err), want);
    assert_memory_equal(err.text, path, length);
    assert_string_equal(err.text + length, ending);
}

static void files_are_read_or_refused(void **state)
{
    (void)state;
    scratch s;
    fb_config c;
    fb_error err;
    const char *path;
    char *large = malloc((16u << 20) + 1);

    assert_non_null(large);
    memset(large, ' ', (16u << 20) + 1);
    scratch_open(&s);
    path = scratch_write(&s, "small.json", SMALL, strlen(SMALL));
    assert_int_equal(fb_config_read(&c, path, NULL, 0, &err), FB_OK);
    assert_int_equal(c.steps, 3);
    fb_config_free(&c);
    expect_unreadable(scratch_path(&s, "none.json"), FB_E_NOT_FOUND, ": No such file or directory");
    expect_unreadable(s.folder, FB_E_IO, ": not a regular file");
    expect_unreadable(scratch_write(&s, "empty.json", "", 0), FB_E_CONFIG,
                      ": line 1, column 1: the text ends, expected a value");
    expect_unreadable(scratch_write(&s, "zero.json", "{}\0{}", 5), FB_E_CONFIG,
                      ": a zero byte at 2: not a JSON text");
    expect_unreadable(scratch_write(&s, "large.json", large, (16u << 20) + 1), FB_E_CONFIG,
                      ": larger than 16 MiB");
    free(large);
    scratch_close(&s);
}

static void freeing_nothing_is_fine(void **state)
{
    (void)state;
    fb_config none = {0};

    fb_config_free(NULL);
    fb_config_free(&none);
}

/* --- Damage ----------------------------------------------------------------------------------- */

/* Whatever the text: refused with a line, or read and then a fixed point. */
static void damaged_text_is_refused_or_read_whole(void **state)
{
    (void)state;
    uint64_t random = 42;
    size_t read = 0;

    for (int n = 0; n < 20000; n++) {
        char text[sizeof GPT];
        fb_config c;
        fb_error err = {.text = ""};
        size_t count = sizeof GPT - 1;

        memcpy(text, GPT, sizeof GPT);
        count = scratch_mutate((uint8_t *)text, count, &random);
        text[count] = '\0';
        if (fb_config_parse(&c, text, "damaged", NULL, 0, &err) == FB_OK) {
            expect_fixed_point(&c);
            fb_config_free(&c);
            read++;
        } else {
            assert_memory_equal(err.text, "damaged: ", 9);
        }
    }
    assert_in_range(read, 100, 10000); /* some spaces and digits may change */
}

static void damaged_set_paths_are_refused_or_read_whole(void **state)
{
    (void)state;
    static const char *const paths[] = {"model[1].layers[0].residual[1].attention.heads",
                                        "schedule.cosine.total", "optimizer.adamw.betas[1]"};
    uint64_t random = 11;

    for (int n = 0; n < 6000; n++) {
        char path[64], value[] = "{\"a\":[1,2]}";
        const fb_config_set set = {path, value};
        fb_config c;
        fb_error err = {.text = ""};
        size_t count = strlen(paths[n % 3]);

        memcpy(path, paths[n % 3], count);
        path[scratch_mutate((uint8_t *)path, count, &random)] = '\0';
        value[scratch_mutate((uint8_t *)value, sizeof value - 1, &random)] = '\0';
        if (fb_config_parse(&c, GPT, "gpt", &set, 1, &err) == FB_OK) {
            expect_fixed_point(&c);
            fb_config_free(&c);
        } else {
            assert_memory_equal(err.text, "gpt: ", 5);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_designs_example_is_read_as_it_stands),
        cmocka_unit_test(defaults_are_pytorchs_where_it_has_them),
        cmocka_unit_test(each_form_of_data_is_read),
        cmocka_unit_test(each_schedule_and_loss_is_read),
        cmocka_unit_test(layers_are_named_by_type_number_and_place),
        cmocka_unit_test(given_names_replace_default_ones),
        cmocka_unit_test(set_reaches_every_place),
        cmocka_unit_test(set_opens_what_is_a_word_or_missing),
        cmocka_unit_test(the_resolved_text_is_a_fixed_point),
        cmocka_unit_test(the_resolved_text_has_every_default),
        cmocka_unit_test(numbers_keep_their_bits_in_every_locale),
        cmocka_unit_test(files_are_read_or_refused),
        cmocka_unit_test(freeing_nothing_is_fine),
        cmocka_unit_test(damaged_text_is_refused_or_read_whole),
        cmocka_unit_test(damaged_set_paths_are_refused_or_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
