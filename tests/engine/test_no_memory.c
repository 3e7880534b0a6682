/* SPDX-License-Identifier: Apache-2.0
 *
 * test_no_memory.c - every single allocation of configuration, data, streams and safetensors fails
 * once: the call says FB_E_MEMORY, and all that it had allocated is free again.
 *
 * The linker routes allocations here (--wrap), cJSON's come through its hooks.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>

#include "engine/config/config.h"
#include "engine/data/data.h"
#include "engine/files/safetensors.h"
#include "engine/streams.h"
#include "scratch.h"

/* --- Allocations that fail -------------------------------------------------------------------- */

static long countdown; /* the allocation that fails, counted down to 0; negative: none */
static long live;      /* blocks that have not been freed, while counting */
static bool counting;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fails_now(void)
{
    return counting && countdown > 0 && --countdown == 0;
}

static void *counted(void *block)
{
    live += counting && block != NULL;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (fails_now())
        return NULL;
    return block == NULL ? counted(__real_realloc(NULL, size)) : __real_realloc(block, size);
}

void __wrap_free(void *block)
{
    live -= counting && block != NULL;
    __real_free(block);
}

char *__wrap_strndup(const char *text, size_t most)
{
    const size_t length = strnlen(text, most);
    char *copy = __wrap_malloc(length + 1);

    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    char text[512];
    int length;

    va_start(args, format);
    length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *out = __wrap_strdup(text);
    return *out == NULL ? -1 : length;
}

/* Runs `work` with the first allocation failing, then with the second, until it gets through. */
static void expect_every_failure_told(fb_status (*work)(void *self, fb_error *err), void *self)
{
    cJSON_Hooks hooks = {__wrap_malloc, __wrap_free};
    fb_status status = FB_E_MEMORY;
    long failures = 0;

    cJSON_InitHooks(&hooks);
    for (long k = 1; status != FB_OK; k++) {
        fb_error err = {.text = ""};

        live = 0;
        countdown = k;
        counting = true;
        status = work(self, &err);
        counting = false;
        assert_int_equal(live, 0);
        if (status == FB_OK)
            break;
        assert_int_equal(status, FB_E_MEMORY);
        assert_int_equal(err.status, FB_E_MEMORY);
        assert_string_not_equal(err.text, "");
        failures++;
        assert_in_range(failures, 1, 10000);
    }
    assert_int_not_equal(countdown, 0); /* the last run had fewer allocations than k */
    assert_in_range(failures, 1, 10000);
    cJSON_InitHooks(NULL);
}

/* --- Work ------------------------------------------------------------------------------------- */

static fb_status parse(void *self, fb_error *err)
{
    static const char text[] =
        "{\"seed\":1,\"data\":{\"text\":\"t\",\"context\":4},\"model\":[{\"embedding\":{\"dim\":8}}"
        ","
        "{\"repeat\":9,\"name\":\"h\",\"layers\":[{\"residual\":[{\"layernorm\":{}},{\"relu\":{}}]}"
        "]},"
        "{\"linear\":{\"out\":\"vocab\",\"tied\":\"embedding\"}}],\"loss\":\"cross_entropy\","
        "\"optimizer\":\"sgd\",\"schedule\":\"cosine\",\"batch\":{\"size\":4},\"steps\":10}";
    const fb_config_set sets[] = {{"optimizer.sgd.lr", "0.5"},
                                  {"data.text", "other.txt"},
                                  {"schedule.cosine.warmup", "3"},
                                  {"model[0].embedding.dim", "16"},
                                  {"model[1].layers[0].residual[1]", "{\"tanh\":{}}"}};
    fb_config config;
    const fb_status status = fb_config_parse(&config, text, "c", sets, 5, err);

    (void)self;
    if (status == FB_OK)
        fb_config_free(&config);
    return status;
}

static void configurations_survive_without_memory(void **state)
{
    (void)state;
    expect_every_failure_told(parse, NULL);
}

static fb_status open_data(void *self, fb_error *err)
{
    fb_dataset *dataset;
    const fb_status status = fb_dataset_open(&dataset, self, "/", err);

    if (status == FB_OK)
        fb_dataset_close(dataset);
    return status;
}

static void datasets_survive_without_memory(void **state)
{
    (void)state;
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};
    /* two images of one pixel, as gzip makes them */
    static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 9};
    scratch s;
    scratch_open(&s);
    fb_data_config config = {.type = FB_DATA_IDX,
                             .path = scratch_write(&s, "images", images, sizeof images),
                             .labels = scratch_write(&s, "labels", labels, sizeof labels),
                             .split = {0.5, 0.5, 0},
                             .std = 1,
                             .ignore_index = -100};

    expect_every_failure_told(open_data, &config);
    config = (fb_data_config){.type = FB_DATA_TEXT,
                              .path = scratch_path(&s, "labels") + 1, /* relative to "/" */
                              .context = 2,
                              .split = {1, 0, 0}};
    expect_every_failure_told(open_data, &config);
    scratch_close(&s);
}

static const float ONE = 1;
static const fb_safetensor TENSORS[] = {{"a", FB_DTYPE_F32, 0, {0}, &ONE, 4},
                                        {"b", FB_DTYPE_F32, 1, {1}, &ONE, 4}};

static fb_status write_tensors(void *self, fb_error *err)
{
    const char *const key = "k", *const value = "v";
    return fb_safetensors_write(self, TENSORS, 2, &key, &value, 1, NULL, err);
}

static fb_status open_tensors(void *self, fb_error *err)
{
    fb_safetensors *file;
    const fb_status status = fb_safetensors_open(&file, self, err);

    if (status == FB_OK)
        fb_safetensors_close(file);
    return status;
}

static void safetensors_survive_without_memory(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    char path[320];

    (void)snprintf(path, sizeof path, "%s", scratch_path(&s, "a"));
    expect_every_failure_told(write_tensors, path);
    assert_int_equal(scratch_count(&s), 1); /* nothing temporary is left */
    expect_every_failure_told(open_tensors, path);
    scratch_close(&s);
}

static fb_status add_streams(void *self, fb_error *err)
{
    fb_streams *streams = NULL;
    fb_status status = fb_streams_create(&streams, 1, err);

    (void)self;
    for (int i = 0; i < 40 && status == FB_OK; i++) {
        char name[16];
        size_t index;

        (void)snprintf(name, sizeof name, "s%d", i);
        status = fb_streams_add(&index, streams, name, err);
    }
    fb_streams_destroy(streams);
    return status;
}

static void streams_survive_without_memory(void **state)
{
    (void)state;
    expect_every_failure_told(add_streams, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_survive_without_memory),
        cmocka_unit_test(datasets_survive_without_memory),
        cmocka_unit_test(safetensors_survive_without_memory),
        cmocka_unit_test(streams_survive_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
