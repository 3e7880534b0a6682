/* SPDX-License-Identifier: Apache-2.0
 *
 * test_config_messages.c - every way to get a configuration wrong that we thought of, and the one
 * line that it gets. JSON is written with ' for " here.
 */
#include "engine/config/config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

static const char GOOD[] =
    "{'seed':1,'data':{'text':'t','context':4},"
    "'model':[{'embedding':{'dim':8}},"
    "{'repeat':2,'name':'h','layers':[{'residual':[{'layernorm':{}},{'linear':{'out':8}}]}]},"
    "{'linear':{'out':'vocab'}}],"
    "'loss':'cross_entropy','optimizer':{'adamw':{'lr':1e-3}},'batch':{'size':4},'steps':10}";

/* A copy with " for ', to be freed. */
static char *json_of(const char *quoted)
{
    char *text = strdup(quoted);

    assert_non_null(text);
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    return text;
}

/* Parses and expects "c.json: MESSAGE". */
static void expect_refusal(const char *quoted, const fb_config_set *set, const char *message)
{
    char *text = json_of(quoted);
    fb_config config = {.steps = 77};
    fb_error err;

    assert_int_equal(fb_config_parse(&config, text, "c.json", set, set == NULL ? 0 : 1, &err),
                     FB_E_CONFIG);
    assert_int_equal(err.status, FB_E_CONFIG);
    assert_memory_equal(err.text, "c.json: ", 8);
    assert_string_equal(err.text + 8, message);
    assert_int_equal(config.steps, 77); /* nothing was handed out */
    assert_int_equal(fb_config_parse(&config, text, "c.json", set, set == NULL ? 0 : 1, NULL),
                     FB_E_CONFIG);
    free(text);
}

/* GOOD with one change, and what is said about it. */
static const struct {
    const char *path, *value, *message;
} CHANGES[] = {
    {"seed", "-1", "seed: expected an integer from 0 to 9007199254740991, got -1"},
    {"seed", "1.5", "seed: expected an integer from 0 to 9007199254740991, got 1.5"},
    {"seed", "9007199254740992",
     "seed: expected an integer from 0 to 9007199254740991, got 9007199254740992"},
    {"seed", "9007199254740991.5",
     "seed: expected an integer from 0 to 9007199254740991, got 9007199254740992"},
    {"seed", "1e400", "seed: expected an integer from 0 to 9007199254740991, got inf"},
    {"seed", "'7'", "seed: expected an integer from 0 to 9007199254740991, got \"7\""},
    {"seed", "null", "seed: expected an integer from 0 to 9007199254740991, got null"},
    {"steps", "0", "steps: expected an integer from 1 to 4294967294, got 0"},
    {"steps", "4294967295", "steps: expected an integer from 1 to 4294967294, got 4294967295"},
    {"steps", "many", "steps: expected an integer from 1 to 4294967294, got \"many\""},
    {"batch.size", "0", "batch.size: expected an integer from 1 to 2147483647, got 0"},
    {"batch.micro", "3", "batch.micro: expected a divisor of batch.size = 4, got 3"},
    {"batch", "4", "batch: expected an object, got 4"},
    {"batch.sise", "4", "batch.sise: unknown key, did you mean \"size\"?"},
    {"clip", "-1", "clip: expected a number >= 0, got -1"},
    {"clip", "on", "clip: expected a number >= 0, got \"on\""},
    {"weights", "3", "weights: expected a string that is not empty, or null, got 3"},
    {"weights", "''", "weights: expected a string that is not empty, or null, got \"\""},
    {"eval.every", "-5", "eval.every: expected an integer from 0 to 4294967295, got -5"},
    {"eval.batches", "0", "eval.batches: expected an integer from 1 to 2147483647, got 0"},
    {"checkpoint.evry", "5", "checkpoint.evry: unknown key, did you mean \"every\"?"},
    {"evals", "{}", "evals: unknown key, did you mean \"eval\"?"},
    {"zzz", "1",
     "zzz: unknown key; expected \"seed\", \"data\", \"model\", \"weights\", \"loss\", \"batch\", "
     "\"steps\", \"optimizer\", \"schedule\", \"clip\", \"eval\" or \"checkpoint\""},
    {"data", "input.txt",
     "data: expected an object such as {\"text\": \"input.txt\", \"context\": 64}, got "
     "\"input.txt\""},
    {"data.context", "0", "data.context: expected an integer from 1 to 2147483647, got 0"},
    {"data.contxt", "8", "data.contxt: unknown key, did you mean \"context\"?"},
    {"data.tokens", "x",
     "data: expected only one of \"text\", \"tokens\", \"idx\" or \"npy\", got \"text\" and "
     "\"tokens\""},
    {"data.text", "7", "data.text: expected a string that is not empty, got 7"},
    {"data", "{}", "data: expected \"text\", \"tokens\", \"idx\" or \"npy\", got {}"},
    {"data", "{'txt':'a'}", "data.txt: unknown key, did you mean \"text\"?"},
    {"data", "{'idx':{'images':'a'}}",
     "data.idx.labels: missing; expected a string that is not empty"},
    {"data", "{'idx':'a'}", "data.idx: expected an object, got \"a\""},
    {"data", "{'idx':{'images':'a','labels':'b'},'context':4}",
     "data.context: unknown key; expected \"idx\", \"mean\", \"std\" or \"split\""},
    {"data", "{'idx':{'images':'a','labels':'b'},'std':0}",
     "data.std: expected a number > 0 and <= 1000000, got 0"},
    {"data", "{'npy':{'inputs':'a','targets':'b'},'mean':0}",
     "data.mean: unknown key; expected \"npy\" or \"split\""},
    {"data", "{'tokens':'a','context':4,'vocab':65537}",
     "data.vocab: expected an integer from 1 to 65536, got 65537"},
    {"data.split", "[0.5,0.4]",
     "data.split: expected a list of two or three shares from 0 to 1 that sum to 1, their sum is "
     "0.9"},
    {"data.split", "[1]",
     "data.split: expected a list of two or three shares from 0 to 1 that sum to 1, got a list"},
    {"data.split", "[1.5,-0.5]", "data.split[0]: expected a share from 0 to 1, got 1.5"},
    {"data.split", "0.9",
     "data.split: expected a list of two or three shares from 0 to 1 that sum to 1, got 0.9"},
    {"data.split", "[0.9,'x']", "data.split[1]: expected a share from 0 to 1, got \"x\""},
    {"loss", "l1", "loss: expected \"cross_entropy\" or \"mse\", got \"l1\""},
    {"loss", "mae", "loss: unknown name \"mae\", did you mean \"mse\"?"},
    {"loss", "mse_", "loss: unknown name \"mse_\", did you mean \"mse\"?"},
    {"loss", "{'mse':{'x':1}}", "loss.mse.x: unknown key; none is expected here"},
    {"loss", "{'cross_entropy':{'ignore':1}}",
     "loss.cross_entropy.ignore: unknown key; expected \"ignore_index\""},
    {"loss", "5", "loss: expected \"cross_entropy\" or \"mse\", got 5"},
    {"loss", "{'mse':{},'cross_entropy':{}}",
     "loss: expected only one of \"cross_entropy\" or \"mse\", got \"cross_entropy\" and \"mse\""},
    {"loss", "{'mse':3}", "loss.mse: expected an object, got 3"},
    {"optimizer", "adamw", "optimizer.adamw.lr: missing; expected a number > 0"},
    {"optimizer.adamw.lr", "fast", "optimizer.adamw.lr: expected a number > 0, got \"fast\""},
    {"optimizer.adamw.lr", "0", "optimizer.adamw.lr: expected a number > 0, got 0"},
    {"optimizer.adamw.betas", "[0.9]",
     "optimizer.adamw.betas: expected a list of two, each a number >= 0 and < 1, got a list"},
    {"optimizer.adamw.betas", "[0.9,1]",
     "optimizer.adamw.betas[1]: expected a number >= 0 and < 1, got 1"},
    {"optimizer.adamw.eps", "-1", "optimizer.adamw.eps: expected a number >= 0, got -1"},
    {"optimizer.adamw.momentum", "0.9",
     "optimizer.adamw.momentum: unknown key; expected \"lr\", \"betas\", \"eps\" or "
     "\"weight_decay\""},
    {"optimizer.adam.lr", "1",
     "optimizer: expected only one of \"sgd\", \"adam\" or \"adamw\", got \"adam\" and \"adamw\""},
    {"optimizer", "{'adamW':{'lr':1}}", "optimizer.adamW: unknown key, did you mean \"adamw\"?"},
    {"optimizer", "{}", "optimizer: expected \"sgd\", \"adam\" or \"adamw\", got {}"},
    {"optimizer", "{'sgd':{'lr':1,'nesterov':true}}",
     "optimizer.sgd.nesterov: expected momentum > 0 and dampening 0 beside it"},
    {"optimizer", "{'sgd':{'lr':1,'dampening':2}}",
     "optimizer.sgd.dampening: expected a number >= 0 and <= 1, got 2"},
    {"optimizer", "{'sgd':{'lr':1,'nesterov':1}}",
     "optimizer.sgd.nesterov: expected true or false, got 1"},
    {"schedule", "linear",
     "schedule: expected \"constant\", \"warmup\", \"cosine\" or \"step\", got \"linear\""},
    {"schedule", "warmup",
     "schedule.warmup.steps: missing; expected an integer from 1 to 4294967295"},
    {"schedule", "{'cosine':{'min_factor':2}}",
     "schedule.cosine.min_factor: expected a number >= 0 and <= 1, got 2"},
    {"schedule", "{'step':{'every':1,'gamma':0}}",
     "schedule.step.gamma: expected a number > 0, got 0"},
    {"schedule.cosine.totl", "9", "schedule.cosine.totl: unknown key, did you mean \"total\"?"},
    {"schedule", "{'cosine':{},'total':3}",
     "schedule.total: unknown key; expected \"constant\", \"warmup\", \"cosine\" or \"step\""},
    {"model", "[]", "model: expected a list of at least one layer, got []"},
    {"model", "{}", "model: expected a list of at least one layer, got {}"},
    {"model[0]", "{}", "model[0]: expected an object such as {\"linear\": {\"out\": 128}}, got {}"},
    {"model[0]", "gelu",
     "model[0]: expected an object such as {\"linear\": {\"out\": 128}}, got \"gelu\""},
    {"model[0]", "{'name':'x'}",
     "model[0]: expected an object such as {\"linear\": {\"out\": 128}}, got no layer's name"},
    {"model[0]", "{'embeding':{'dim':8}}",
     "model[0].embeding: unknown key, did you mean \"embedding\"?"},
    {"model[0].embedding", "8", "model[0].embedding: expected an object, got 8"},
    {"model[0].embedding.dim", "0",
     "model[0].embedding.dim: expected an integer from 1 to 2147483647, got 0"},
    {"model[0].embedding.positions", "1",
     "model[0].embedding.positions: expected true or false, got 1"},
    {"model[0].name", "a.b",
     "model[0].name: expected 1 to 64 letters, digits, '_' or '-', got \"a.b\""},
    {"model[0].name", "''",
     "model[0].name: expected 1 to 64 letters, digits, '_' or '-', got \"\""},
    {"model[0].layers", "[]", "model[0].layers: unknown key; only a repeat has layers"},
    {"model[0].linear", "{'out':3}",
     "model[0]: expected one layer, got \"embedding\" and \"linear\""},
    {"model[1].repeat", "0", "model[1].repeat: expected an integer from 1 to 100000, got 0"},
    {"model[1].repeat", "100001",
     "model[1].repeat: expected an integer from 1 to 100000, got 100001"},
    {"model[1].repeat", "100000", "model[1].layers[0]: more than 100000 layers after unrolling"},
    {"model[1].repeat", "2.5", "model[1].repeat: expected an integer from 1 to 100000, got 2.5"},
    {"model[1].layers", "[]", "model[1].layers: expected a list of at least one layer, got []"},
    {"model[1].layers[0].residual", "[]",
     "model[1].layers[0].residual: expected a list of at least one layer, got []"},
    {"model[1].layers[0].residual", "{}",
     "model[1].layers[0].residual: expected a list of at least one layer, got {}"},
    {"model[1].layers[0].residual[1].linear.out", "wide",
     "model[1].layers[0].residual[1].linear.out: expected an integer from 1 to 2147483647, "
     "\"vocab\" or \"classes\", got \"wide\""},
    {"model[1].layers[0].residual[1].linear.bias", "0",
     "model[1].layers[0].residual[1].linear.bias: expected true or false, got 0"},
    {"model[1].layers[0].residual[0].layernorm.eps", "-1",
     "model[1].layers[0].residual[0].layernorm.eps: expected a number >= 0, got -1"},
    {"model[2].linear.tied", "h",
     "model[2].linear.tied: expected the path of an embedding, got \"h\""},
    {"model[2].linear.tied", "linear",
     "model[2].linear.tied: expected the path of an embedding, got \"linear\""},
    {"model[2].linear.tied", "false",
     "model[2].linear.tied: expected a string that is not empty, or null, got false"},
    {"model[2].name", "embedding",
     "model[2]: the path \"embedding\" is taken; give the layer another name"},
    {"model[2]", "{'attention':{'heads':0}}",
     "model[2].attention.heads: expected an integer from 1 to 2147483647, got 0"},
    {"model[2]", "{'gelu':{'approximate':'erf'}}",
     "model[2].gelu.approximate: expected \"none\" or \"tanh\", got \"erf\""},
    {"model[2]", "{'relu':{'inplace':true}}",
     "model[2].relu.inplace: unknown key; none is expected here"},
    {"model[2]", "{'dropout':{'p':1}}",
     "model[2].dropout.p: expected a number >= 0 and < 1, got 1"},
    {"model[2]", "{'conv2d':{'out':'vocab','kernel':3}}",
     "model[2].conv2d.out: expected an integer from 1 to 2147483647, got \"vocab\""},
    {"model[2]", "{'conv2d':{'out':3,'kernel':[3]}}",
     "model[2].conv2d.kernel: expected an integer from 1 to 65536, or a list of two, got a list"},
    {"model[2]", "{'conv2d':{'out':3,'kernel':0}}",
     "model[2].conv2d.kernel: expected an integer from 1 to 65536, or a list of two, got 0"},
    {"model[2]", "{'maxpool':{'kernel':2,'padding':2}}",
     "model[2].maxpool: expected padding of at most half the kernel"},
    {"model[2]", "{'avgpool':{}}",
     "model[2].avgpool.kernel: missing; expected an integer from 1 to 65536, or a list of two"},
    {"model[3].linear.out", "3",
     "--set model[3].linear.out: the index is beyond the end of the list"},
    {"model[x].linear.out", "3",
     "--set model[x].linear.out: expected a path such as model[0].linear.out"},
    {"model..x", "3", "--set model..x: expected a path such as model[0].linear.out"},
    {"", "3", "--set : expected a path such as model[0].linear.out"},
    {"[0]", "3", "--set [0]: expected a path such as model[0].linear.out"},
    {"steps.x", "3", "--set steps.x: no such key: what stands before it is no object"},
    {"seed[0]", "3", "--set seed[0]: no such index: what stands before it is no list"},
};

static void each_wrong_value_gets_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        char *value = json_of(CHANGES[i].value);
        const fb_config_set set = {CHANGES[i].path, value};

        expect_refusal(GOOD, &set, CHANGES[i].message);
        free(value);
    }
}

/* Replaces the one occurrence of `old` in GOOD. */
static void expect_edit(const char *old, const char *with, const char *message)
{
    char text[4096];
    const char *at = strstr(GOOD, old);

    assert_non_null(at);
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - GOOD), GOOD, with, at + strlen(old));
    expect_refusal(text, NULL, message);
}

static void each_missing_key_gets_its_line(void **state)
{
    (void)state;
    expect_edit("'seed':1,", "", "seed: missing; expected an integer from 0 to 9007199254740991");
    expect_edit(",'steps':10", "", "steps: missing; expected an integer from 1 to 4294967294");
    expect_edit("'batch':{'size':4},", "",
                "batch.size: missing; expected an integer from 1 to 2147483647");
    expect_edit("'loss':'cross_entropy',", "",
                "loss: missing; expected \"cross_entropy\" or \"mse\"");
    expect_edit("'optimizer':{'adamw':{'lr':1e-3}},", "",
                "optimizer: missing; expected \"sgd\", \"adam\" or \"adamw\"");
    expect_edit("'lr':1e-3", "", "optimizer.adamw.lr: missing; expected a number > 0");
    expect_edit("'data':{'text':'t','context':4},", "",
                "data: missing; expected an object such as {\"text\": \"input.txt\", \"context\": "
                "64}");
    expect_edit(",'context':4", "",
                "data.context: missing; expected an integer from 1 to 2147483647");
    expect_edit("'dim':8", "",
                "model[0].embedding.dim: missing; expected an integer from 1 to 2147483647");
    expect_edit("'layers'", "'name'", "model[1].name: given twice");
    expect_edit(",'layers':[{'residual':[{'layernorm':{}},{'linear':{'out':8}}]}]", "",
                "model[1].layers: missing; expected a list of at least one layer");
    expect_edit("{'out':8}", "{}",
                "model[1].layers[0].residual[1].linear.out: missing; expected an integer from 1 to "
                "2147483647, \"vocab\" or \"classes\"");
}

static void each_key_given_twice_gets_its_line(void **state)
{
    (void)state;
    expect_edit("'seed':1", "'seed':1,'seed':1", "seed: given twice");
    expect_edit("'dim':8", "'dim':8,'dim':9", "model[0].embedding.dim: given twice");
    expect_edit("'lr':1e-3", "'lr':1e-3,'lr':1e-3", "optimizer.adamw.lr: given twice");
    expect_edit("{'adamw':{'lr':1e-3}}", "{'adamw':{'lr':1e-3},'adamw':{}}",
                "optimizer.adamw: given twice");
    expect_edit("{'embedding':{'dim':8}}", "{'embedding':{'dim':8},'name':'a','name':'a'}",
                "model[0].name: given twice");
    expect_edit("'text':'t'", "'text':'t','text':'u'", "data.text: given twice");
}

static void text_that_is_no_json_gets_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } texts[] = {
        {"", "line 1, column 1: the text ends, expected a value"},
        {"[]", "expected an object, got []"},
        {"7", "expected an object, got 7"},
        {"{", "line 1, column 2: the text ends, expected a key or '}'"},
        {"{'seed':1", "line 1, column 10: the text ends, expected ',' or the closing bracket"},
        {"{'seed':1,}", "line 1, column 11: expected a key, got '}'"},
        {"{'seed' 1}", "line 1, column 9: expected ':', got '1'"},
        {"{'seed':1}x", "line 1, column 11: expected the end, got 'x'"},
        {"{'seed':\n  x}", "line 2, column 3: expected a value, got 'x'"},
        {"{seed:1}", "line 1, column 2: expected a key or '}', got 's'"},
        {"{'model':[1,]}", "line 1, column 13: expected a value, got ']'"},
        {"{'model':[1}", "line 1, column 12: expected ',' or the closing bracket, got '}'"},
        {"nul", "line 1, column 1: expected a value, got 'n'"},
        {"{'a':NaN}", "line 1, column 6: expected a value, got 'N'"},
        {"{'a':01}", "line 1, column 6: not a JSON number"},
        {"{'a':1.}", "line 1, column 6: not a JSON number"},
        {"{'a':-}", "line 1, column 6: not a JSON number"},
        {"{'a':1e}", "line 1, column 6: not a JSON number"},
        {"{'a':+1}", "line 1, column 6: expected a value, got '+'"},
        {"{'a':1000000000000000000000000000000000000000000000000000000000000000000}",
         "line 1, column 6: a number of more than 63 characters"},
        {"{'a", "line 1, column 4: the text ends inside a string"},
        {"{'a\nb':1}", "line 1, column 4: a control character in a string"},
        {"{'a\\q':1}", "line 1, column 4: an unknown escape"},
        {"{'a\\u12g4':1}", "line 1, column 4: expected four hexadecimal digits after \\u"},
        {"{'a\\u0000b':1}", "line 1, column 4: a string with a zero character"},
        {"{'\\ud800':1}", "line 1, column 3: an unpaired surrogate"},
        {"{'\\udc00':1}", "line 1, column 3: an unpaired surrogate"},
        {"{'\\ud83d\\u0041':1}", "line 1, column 3: an unpaired surrogate"},
        {"{'\\ud83d\\ude00':1}",
         "\xf0\x9f\x98\x80: unknown key; expected \"seed\", \"data\", \"model\", \"weights\", "
         "\"loss\", \"batch\", \"steps\", \"optimizer\", \"schedule\", \"clip\", \"eval\" or "
         "\"checkpoint\""},
        {"{'\xff':1}", "line 1, column 3: not valid UTF-8"},
        {"{'\xc0\xaf':1}", "line 1, column 3: not valid UTF-8"},
        {"{'\xed\xa0\x80':1}", "line 1, column 3: not valid UTF-8"},
        {"\xef\xbb\xbf{}", "line 1, column 1: expected a value, got '\xef\xbb\xbf'"},
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_refusal(texts[i].text, NULL, texts[i].message);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char deep[70];

    memset(deep, '[', 65);
    deep[65] = '\0';
    expect_refusal(deep, NULL, "line 1, column 65: nested more than 64 deep");
}

/* 1000 × 1000 × 1000 layers are refused in the time of a hundred thousand. */
static void unrolling_is_bounded(void **state)
{
    (void)state;
    expect_edit("{'embedding':{'dim':8}}",
                "{'repeat':1000,'name':'a','layers':[{'repeat':1000,'name':'b','layers':["
                "{'repeat':1000,'name':'c','layers':[{'relu':{}}]}]}]}",
                "model[0].layers[0].layers[0].layers[0]: more than 100000 layers after unrolling");
}

static void paths_are_bounded(void **state)
{
    (void)state;
    static const char name[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    char layers[900];

    (void)snprintf(layers, sizeof layers,
                   "{'name':'%s','residual':[{'name':'%s','residual':[{'name':'%s','residual':["
                   "{'name':'%s','relu':{}}]}]}]}",
                   name, name, name, name);
    expect_edit("{'embedding':{'dim':8}}", layers,
                "model[0].residual[0].residual[0].residual[0]: the layer's path is longer than 200 "
                "bytes");
    expect_edit("'embedding'",
                "'name':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9','relu'",
                "model[0].name: expected 1 to 64 letters, digits, '_' or '-', got "
                "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"");
    (void)snprintf(layers, sizeof layers, "{'name':'%sa','relu':{}}", name);
    expect_edit("{'embedding':{'dim':8}}", layers,
                "model[0].name: expected 1 to 64 letters, digits, '_' or '-', got "
                "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wrong_value_gets_its_line),
        cmocka_unit_test(each_missing_key_gets_its_line),
        cmocka_unit_test(each_key_given_twice_gets_its_line),
        cmocka_unit_test(text_that_is_no_json_gets_its_place),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(unrolling_is_bounded),
        cmocka_unit_test(paths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
