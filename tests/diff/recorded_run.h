/* SPDX-License-Identifier: Apache-2.0
 *
 * recorded_run.h - what the tests of replay and diff share: a folder of their own, a small data
 * file, small configurations, and runs recorded to traces.
 */
#ifndef FB_TESTS_DIFF_RECORDED_RUN_H
#define FB_TESTS_DIFF_RECORDED_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "engine/run.h"
#include "firstbit/recorder.h"
#include "firstbit/trace.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Dropout, ties, micro-batches, clipping; an epoch of 5 steps. */
#define SMALL_GPT                                                                                  \
    "{\"seed\": 42, \"data\": {\"text\": \"text.txt\", \"context\": 8, \"split\": [0.9, 0.1]},"    \
    " \"model\": [{\"name\": \"embedding\", \"embedding\": {\"dim\": 8, \"positions\": true}},"    \
    "  {\"repeat\": 2, \"name\": \"h\", \"layers\": ["                                             \
    "   {\"name\": \"attn\", \"residual\": [{\"name\": \"ln\", \"layernorm\": {}},"                \
    "     {\"name\": \"core\", \"attention\": {\"heads\": 2, \"causal\": true}}]},"                \
    "   {\"name\": \"mlp\", \"residual\": [{\"name\": \"ln\", \"layernorm\": {}},"                 \
    "     {\"name\": \"fc\", \"linear\": {\"out\": 16}}, {\"name\": \"gelu\", \"gelu\": {}},"      \
    "     {\"name\": \"proj\", \"linear\": {\"out\": 8}},"                                         \
    "     {\"name\": \"drop\", \"dropout\": {\"p\": 0.25}}]}]},"                                   \
    "  {\"name\": \"ln\", \"layernorm\": {}},"                                                     \
    "  {\"name\": \"head\", \"linear\": {\"out\": \"vocab\", \"bias\": false,"                     \
    "   \"tied\": \"embedding\"}}],"                                                               \
    " \"loss\": \"cross_entropy\","                                                                \
    " \"optimizer\": {\"adamw\": {\"lr\": 0.01, \"weight_decay\": 0.1}},"                          \
    " \"schedule\": {\"cosine\": {\"warmup\": 2, \"total\": 12, \"min_factor\": 0.1}},"            \
    " \"clip\": 0.5, \"batch\": {\"size\": 6, \"micro\": 3}, \"steps\": 8,"                        \
    " \"eval\": {\"every\": 4, \"batches\": 1}, \"checkpoint\": {\"every\": 3}}"

/* No dropout, no clipping, SGD with momentum, one micro-batch. */
#define SMALL_MLP                                                                                  \
    "{\"seed\": 7, \"data\": {\"text\": \"text.txt\", \"context\": 4, \"split\": [0.9, 0.1]},"     \
    " \"model\": [{\"name\": \"embedding\", \"embedding\": {\"dim\": 6}},"                         \
    "  {\"name\": \"fc\", \"linear\": {\"out\": 10}}, {\"name\": \"act\", \"silu\": {}},"          \
    "  {\"name\": \"drop\", \"dropout\": {\"p\": 0.1}},"                                           \
    "  {\"name\": \"head\", \"linear\": {\"out\": \"vocab\"}}],"                                   \
    " \"loss\": \"cross_entropy\","                                                                \
    " \"optimizer\": {\"sgd\": {\"lr\": 0.1, \"momentum\": 0.9}},"                                 \
    " \"batch\": {\"size\": 4, \"micro\": 1}, \"steps\": 6}"

typedef struct test_folder {
    char path[64];
} test_folder;

/* "FOLDER/name", in one of several buffers used in turn. */
static inline const char *in_folder(const test_folder *folder, const char *name)
{
    static char buffers[8][160];
    static int next;
    char *out = buffers[next++ % 8];

    (void)snprintf(out, sizeof buffers[0], "%s/%s", folder->path, name);
    return out;
}

static inline void write_file(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

enum { TEXT_BYTES = 320 }; /* 288 of them to train on: 35 windows of 8 */

/* changed: this byte holds another letter; SIZE_MAX: none does. */
static inline void write_text(const test_folder *folder, size_t changed)
{
    static const char letters[] = "abdeilmnorst ";
    char text[TEXT_BYTES];
    uint64_t state = 7;

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = letters[i < 13 ? i : next_random(&state) % 13];
    if (changed < sizeof text)
        text[changed] = text[changed] == 'e' ? 'a' : 'e';
    write_file(in_folder(folder, "text.txt"), text, sizeof text);
}

static inline test_folder make_folder(void)
{
    test_folder folder = {"/tmp/fb-diff-XXXXXX"};

    assert_non_null(mkdtemp(folder.path));
    write_text(&folder, SIZE_MAX);
    return folder;
}

static inline void drop_folder(const test_folder *folder)
{
    char command[96];

    (void)snprintf(command, sizeof command, "rm -rf %s", folder->path);
    assert_int_equal(system(command), 0);
}

/* How a run is recorded; all zeros: as configured, on one thread. */
typedef struct recording {
    const char *config; /* NULL: SMALL_GPT */
    const fb_config_set *sets;
    size_t set_count;
    const fb_fault *faults;
    size_t fault_count;
    const fb_override_use *override;
    unsigned threads;
    const fb_kernels *kernels;
    fb_level level;
    uint64_t steps;   /* 0: as configured */
    bool checkpoints; /* write them to "<stem>.ckpt" */
} recording;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != FB_OK)                                                                       \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

static inline void steps_through(fb_run *run, uint64_t steps)
{
    fb_error err;

    assert_ok(fb_run_begin(run, &err));
    while (fb_run_current_step(run) < steps)
        assert_ok(fb_run_step(run, &err));
}

/* Trains and records to "FOLDER/name". Returns its path (see in_folder). */
static inline const char *record(const test_folder *folder, const char *name, const recording *how)
{
    const char *path = in_folder(folder, name);
    char ckpt[192];
    fb_recorder_options options = {.size = sizeof options, .level = how->level};
    fb_run_options run_options = {.size = sizeof run_options,
                                  .threads = how->threads == 0 ? 1 : how->threads,
                                  .kernels = how->kernels,
                                  .folder = folder->path,
                                  .faults = how->faults,
                                  .fault_count = how->fault_count,
                                  .override = how->override};
    fb_recorder *recorder;
    fb_config config;
    fb_run *run;
    fb_error err;

    (void)snprintf(ckpt, sizeof ckpt, "%.*s.ckpt", (int)(strlen(path) - 4), path);
    if (how->checkpoints)
        run_options.checkpoint_folder = ckpt;
    assert_ok(fb_config_parse(&config, how->config == NULL ? SMALL_GPT : how->config, "test",
                              how->sets, how->set_count, &err));
    assert_ok(fb_run_create(&run, &config, &run_options, &err));
    options.header = fb_run_header(run);
    assert_ok(fb_recorder_open(&recorder, path, &options, &err));
    fb_run_observe(run, fb_recorder_observer(recorder));
    steps_through(run, how->steps > 0 ? how->steps : (uint64_t)config.steps);
    assert_ok(fb_run_end(run, &err));
    fb_run_destroy(run);
    assert_ok(fb_recorder_close(recorder, &err));
    fb_config_free(&config);
    return path;
}

/* Goes on from a checkpoint of `from_step`, to the end of SMALL_GPT, and records that as `train
 * --resume` does. */
static inline const char *record_resumed_as(const test_folder *folder, const char *name,
                                            const char *checkpoint, int from_step,
                                            const fb_fault *fault, const fb_override_use *override,
                                            const fb_config_set *sets, size_t set_count)
{
    const char *path = in_folder(folder, name), *file = strrchr(checkpoint, '/') + 1;
    const fb_run_options run_options = {.size = sizeof run_options,
                                        .threads = 1,
                                        .folder = folder->path,
                                        .faults = fault,
                                        .fault_count = fault != NULL,
                                        .override = override};
    fb_recorder_options options = {.size = sizeof options};
    char hex[FB_HASH_HEX_BYTES], *header;
    fb_recorder *recorder;
    fb_config config;
    fb_hash hash;
    fb_run *run;
    fb_error err;

    assert_ok(fb_config_parse(&config, SMALL_GPT, "test", sets, set_count, &err));
    assert_ok(fb_run_create(&run, &config, &run_options, &err));
    assert_ok(fb_hash_file(&hash, NULL, checkpoint, &err));
    assert_true(asprintf(&header, "%.*s,\"resume\":{\"file\":\"%s\",\"step\":%d,\"hash\":\"%s\"}}",
                         (int)strlen(fb_run_header(run)) - 1, fb_run_header(run), file, from_step,
                         fb_hash_hex(hex, hash)) > 0);
    options.header = header;
    assert_ok(fb_recorder_open(&recorder, path, &options, &err));
    fb_run_observe(run, fb_recorder_observer(recorder));
    assert_ok(fb_run_resume(run, checkpoint, &err));
    while (fb_run_current_step(run) < (uint64_t)config.steps)
        assert_ok(fb_run_step(run, &err));
    assert_ok(fb_run_end(run, &err));
    fb_run_destroy(run);
    assert_ok(fb_recorder_close(recorder, &err));
    fb_config_free(&config);
    free(header);
    return path;
}

static inline const char *record_resumed_with(const test_folder *folder, const char *name,
                                              const char *checkpoint, int from_step,
                                              const fb_fault *fault, const fb_config_set *sets,
                                              size_t set_count)
{
    return record_resumed_as(folder, name, checkpoint, from_step, fault, NULL, sets, set_count);
}

static inline const char *record_resumed(const test_folder *folder, const char *name,
                                         const char *checkpoint, int from_step,
                                         const fb_fault *fault)
{
    return record_resumed_with(folder, name, checkpoint, from_step, fault, NULL, 0);
}

/* All of a file, malloc'd. */
static inline uint8_t *read_file(const char *path, long *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = ftell(file);
    rewind(file);
    bytes = malloc((size_t)*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)*size, file), *size);
    fclose(file);
    return bytes;
}

/* Cuts the last bytes off a file: what a kill leaves. */
static inline void cut_file(const char *from, const char *to, long bytes_off)
{
    long size;
    uint8_t *bytes = read_file(from, &size);

    assert_true(size > bytes_off);
    write_file(to, bytes, (size_t)(size - bytes_off));
    free(bytes);
}

/* --- A folder for a group of tests ------------------------------------------------------------ */

static inline int set_up_folder(void **state)
{
    test_folder *folder = malloc(sizeof *folder);

    assert_non_null(folder);
    *folder = make_folder();
    *state = folder;
    return 0;
}

static inline int tear_down_folder(void **state)
{
    drop_folder(*state);
    free(*state);
    return 0;
}

#endif
