/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c - the top level of a configuration and the calls that read one.
 *
 * The table's order is the order of the resolved text: a field may take its default from one above.
 */
#include "engine/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "engine/config/config_reader.h"

enum { FILE_MAX = 16 << 20 };

#define AT(member) offsetof(fb_config, member)

const char *fb_layer_type_name(fb_layer_type type)
{
    static const char *const names[] = {
#define LAYER_NAME(name, text) text,
        FB_LAYER_LIST(LAYER_NAME)
#undef LAYER_NAME
    };
    return (unsigned)type < FB_LAYER_COUNT ? names[type] : "?";
}

/* --- The top level ---------------------------------------------------------------------------- */

#define COUNT(name, member, ...)                                                                   \
    {                                                                                              \
        .key = name, .type = FB__FIELD_INTEGER, .offset = AT(member), __VA_ARGS__                  \
    }

FB__FIELDS(BATCH, COUNT("size", batch_size, .required = true, .low = 1, .high = INT32_MAX),
           COUNT("micro", micro, .fallback = 1, .low = 1, .high = INT32_MAX));
FB__FIELDS(EVAL, COUNT("every", eval_every, .low = 0, .high = UINT32_MAX),
           COUNT("batches", eval_batches, .fallback = 8, .low = 1, .high = INT32_MAX));
FB__FIELDS(CHECKPOINT, COUNT("every", checkpoint_every, .low = 0, .high = UINT32_MAX));

FB__FIELDS(TOP, COUNT("seed", seed, .required = true, .low = 0, .high = FB__INTEGER_MAX),
           {.key = "data", .type = FB__FIELD_CUSTOM, .read = fb__read_data},
           {.key = "model", .type = FB__FIELD_CUSTOM, .read = fb__read_model},
           {.key = "weights", .type = FB__FIELD_OPTIONAL_TEXT, .offset = AT(weights)},
           {.key = "loss", .type = FB__FIELD_CUSTOM, .read = fb__read_loss},
           {.key = "batch", .type = FB__FIELD_OBJECT, .fields = &BATCH},
           /* a stream's counter has 32 bits for the step */
           COUNT("steps", steps, .required = true, .low = 1, .high = UINT32_MAX - 1),
           {.key = "optimizer", .type = FB__FIELD_CUSTOM, .read = fb__read_optimizer},
           {.key = "schedule", .type = FB__FIELD_CUSTOM, .read = fb__read_schedule},
           {.key = "clip", .type = FB__FIELD_NUMBER, .offset = AT(clip), .high = INFINITY},
           {.key = "eval", .type = FB__FIELD_OBJECT, .fields = &EVAL},
           {.key = "checkpoint", .type = FB__FIELD_OBJECT, .fields = &CHECKPOINT});

/* What two keys say together. */
static fb_status check_together(fb__reader *r, fb_config *config)
{
    config->data.ignore_index = config->ignore_index;
    if (config->batch_size % config->micro != 0) {
        fb__where_push(r, "batch.micro");
        return fb__config_fail(r, "expected a divisor of batch.size = %lld, got %lld",
                               (long long)config->batch_size, (long long)config->micro);
    }
    return FB_OK;
}

static fb_status read_tree(fb__reader *r, const cJSON *tree)
{
    fb_status status;

    if (!cJSON_IsObject(tree))
        return fb__config_expected(r, "an object", tree);
    status = fb__read_object(r, tree, &TOP, r->config);
    if (status == FB_OK)
        status = check_together(r, r->config);
    fb_buffer_u8(&r->out, 0);
    if (status == FB_OK && r->out.failed)
        status = fb__config_no_memory(r);
    if (status == FB_OK) {
        r->config->resolved = fb__arena_text(r->arena, (const char *)r->out.data);
        if (r->config->resolved == NULL)
            status = fb__config_no_memory(r);
    }
    return status;
}

fb_status fb_config_parse(fb_config *out, const char *text, const char *name,
                          const fb_config_set *sets, size_t set_count, fb_error *err)
{
    fb_config config = {0};
    fb__reader r = {.name = name, .err = err, .config = &config};
    cJSON *tree = NULL;
    fb_status status;

    r.arena = fb__arena_create();
    r.paths = fb_intern_create();
    r.embeddings = fb_intern_create();
    config.memory = r.arena;
    status = r.arena == NULL || r.paths == NULL || r.embeddings == NULL
                 ? fb__config_no_memory(&r)
                 : fb__config_tree(&tree, &r, text);
    for (size_t i = 0; i < set_count && status == FB_OK; i++)
        status = fb__config_set_apply(&r, tree, &sets[i]);
    if (status == FB_OK)
        status = read_tree(&r, tree);

    cJSON_Delete(tree);
    fb_buffer_free(&r.out);
    fb_intern_destroy(r.paths);
    fb_intern_destroy(r.embeddings);
    if (status != FB_OK)
        fb__arena_destroy(r.arena);
    else
        *out = config;
    return status;
}

void fb_config_free(fb_config *config)
{
    if (config == NULL)
        return;
    fb__arena_destroy(config->memory);
    *config = (fb_config){0};
}

/* --- Files ------------------------------------------------------------------------------------ */

static fb_status read_all(char **out, int file, const char *path, fb_error *err)
{
    struct stat info;
    char *text;
    size_t size, got = 0;

    if (fstat(file, &info) != 0)
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: not a regular file", path);
    if (info.st_size > FILE_MAX)
        return fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET, "%s: larger than 16 MiB", path);

    size = (size_t)info.st_size;
    text = malloc(size + 1);
    if (text == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    while (got < size) {
        const ssize_t n = read(file, text + got, size - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            free(text);
            return fb__fail(err, FB_E_IO, got, "%s: %s", path,
                            n < 0 ? strerror(errno) : "ends while it is read");
        }
        got += (size_t)n;
    }
    text[size] = '\0';
    if (strlen(text) != size) {
        const uint64_t offset = strlen(text);
        free(text);
        return fb__fail(err, FB_E_CONFIG, offset, "%s: a zero byte at %llu: not a JSON text", path,
                        (unsigned long long)offset);
    }
    *out = text;
    return FB_OK;
}

fb_status fb_config_read(fb_config *out, const char *path, const fb_config_set *sets,
                         size_t set_count, fb_error *err)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    fb_status status;

    if (file < 0)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", path,
                        strerror(errno));
    status = read_all(&text, file, path, err);
    (void)close(file);
    if (status == FB_OK)
        status = fb_config_parse(out, text, path, sets, set_count, err);
    free(text);
    return status;
}
