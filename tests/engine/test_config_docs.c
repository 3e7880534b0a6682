/* SPDX-License-Identifier: Apache-2.0
 *
 * test_config_docs.c - docs/configuration.md and the reader say the same: the example there is
 * read, and every key that a resolved configuration can have is described.
 */
#include "engine/config/config.h"

#include "scratch.h"

static char *read_docs(void)
{
    FILE *file = fopen(FB_SOURCE_DIR "/docs/configuration.md", "rb");
    char *text = calloc(1, 65536);

    assert_non_null(file);
    assert_non_null(text);
    assert_in_range(fread(text, 1, 65535, file), 1000, 65534);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void the_example_in_the_document_is_read(void **state)
{
    (void)state;
    char *docs = read_docs(), *begin = strstr(docs, "```json\n"), *end;
    fb_config config;
    fb_error err;

    assert_non_null(begin);
    begin += strlen("```json\n");
    end = strstr(begin, "```");
    assert_non_null(end);
    *end = '\0';
    if (fb_config_parse(&config, begin, "docs", NULL, 0, &err) != FB_OK)
        fail_msg("%s", err.text);
    assert_int_equal(config.layer_count, 11);
    fb_config_free(&config);
    free(docs);
}

/* Whether the document has `key`, `some.key` or `key.some` as code. */
static bool is_described(const char *docs, const char *key, size_t length)
{
    char code[80], dotted[80], above[80];

    (void)snprintf(code, sizeof code, "`%.*s`", (int)length, key);
    (void)snprintf(dotted, sizeof dotted, ".%.*s`", (int)length, key);
    (void)snprintf(above, sizeof above, "`%.*s.", (int)length, key);
    return strstr(docs, code) != NULL || strstr(docs, dotted) != NULL ||
           strstr(docs, above) != NULL;
}

/* Every "key": of a text. Names of layers are values there, so all keys are ours. */
static size_t expect_keys_described(const char *docs, const char *text)
{
    size_t count = 0;

    for (const char *at = text; (at = strchr(at, '"')) != NULL;) {
        const char *end = strchr(at + 1, '"');

        assert_non_null(end);
        if (end[1] == ':') {
            if (!is_described(docs, at + 1, (size_t)(end - at - 1)))
                fail_msg("docs/configuration.md lacks %.*s", (int)(end - at + 1), at);
            count++;
        }
        at = end + 1;
    }
    return count;
}

static void every_key_is_in_the_document(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value;
    } changes[] = {
        {"seed", "1"},
        {"data", "{\"tokens\":\"a\",\"context\":8}"},
        {"data", "{\"idx\":{\"images\":\"i\",\"labels\":\"l\"}}"},
        {"data", "{\"npy\":{\"inputs\":\"x\",\"targets\":\"y\"}}"},
        {"model", "[{\"embedding\":{\"dim\":4}},{\"repeat\":2,\"layers\":[{\"residual\":["
                  "{\"linear\":{\"out\":4}},{\"layernorm\":{}},{\"attention\":{\"heads\":1}}]}]},"
                  "{\"gelu\":{}},{\"relu\":{}},{\"tanh\":{}},{\"sigmoid\":{}},{\"silu\":{}},"
                  "{\"softplus\":{}},"
                  "{\"dropout\":{}},{\"conv2d\":{\"out\":8,\"kernel\":3}},"
                  "{\"maxpool\":{\"kernel\":2}},{\"avgpool\":{\"kernel\":2}},{\"flatten\":{}}]"},
        {"optimizer", "{\"sgd\":{\"lr\":1}}"},
        {"optimizer", "{\"adam\":{\"lr\":1}}"},
        {"optimizer", "{\"adamw\":{\"lr\":1}}"},
        {"schedule", "\"constant\""},
        {"schedule", "{\"warmup\":{\"steps\":4}}"},
        {"schedule", "\"cosine\""},
        {"schedule", "{\"step\":{\"every\":3}}"},
        {"loss", "\"cross_entropy\""},
    };
    static const char base[] = "{\"seed\":1,\"data\":{\"text\":\"t\",\"context\":4},"
                               "\"model\":[{\"relu\":{}}],\"loss\":\"mse\","
                               "\"optimizer\":{\"sgd\":{\"lr\":0.5}},\"batch\":{\"size\":2},"
                               "\"steps\":3}";
    char *docs = read_docs();

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const fb_config_set set = {changes[i].path, changes[i].value};
        fb_config config;
        fb_error err;

        if (fb_config_parse(&config, base, "base", &set, 1, &err) != FB_OK)
            fail_msg("%s", err.text);
        assert_in_range(expect_keys_described(docs, config.resolved), 20, 200);
        fb_config_free(&config);
    }
    assert_false(is_described(docs, "learning_rate", 13)); /* the search can say no */
    free(docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_in_the_document_is_read),
        cmocka_unit_test(every_key_is_in_the_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
