/* SPDX-License-Identifier: Apache-2.0
 *
 * config_train.c - data, loss, optimizer and schedule of a configuration: one table for each form.
 * Defaults follow PyTorch where it has them. Reference: docs/configuration.md.
 */
#include "engine/config/config_reader.h"

#include <assert.h>
#include <math.h>

#define AT(member) offsetof(fb_config, member)

static_assert(AT(optimizer.beta2) == AT(optimizer.beta1) + sizeof(double), "betas are a pair");

/* --- Data ------------------------------------------------------------------------------------- */

static fb_status bad_share(fb__reader *r, int i, const cJSON *item)
{
    fb__where_push(r, "[%d]", i);
    return fb__config_expected(r, "a share from 0 to 1", item);
}

/* 2 or 3 shares of train, val and test; a missing third one is 0. */
static fb_status read_split(fb__reader *r, const cJSON *value, void *base)
{
    static const char expected[] = "a list of two or three shares from 0 to 1 that sum to 1";
    double *split = ((fb_config *)base)->data.split;
    const int count = cJSON_GetArraySize(value);
    const cJSON *item = value == NULL ? NULL : value->child;

    split[0] = 0.9;
    split[1] = 0.1;
    split[2] = 0;
    if (value != NULL) {
        if (!cJSON_IsArray(value) || (count != 2 && count != 3))
            return fb__config_expected(r, expected, value);
        for (int i = 0; i < 3; i++, item = item == NULL ? NULL : item->next) {
            if (item != NULL &&
                !(cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 1))
                return bad_share(r, i, item);
            split[i] = item == NULL ? 0 : item->valuedouble;
        }
        /* 0.7 + 0.2 + 0.1 need not be 1 in float64; 1e-9 of any file is less than a byte. */
        if (fabs(split[0] + split[1] + split[2] - 1) > 1e-9)
            return fb__config_fail(r, "expected %s, their sum is %.12g", expected,
                                   split[0] + split[1] + split[2]);
    }
    fb__write_raw(r, "[");
    for (int i = 0; i < 3; i++) {
        fb__write_raw(r, i == 0 ? "" : ",");
        fb__write_number(r, split[i]);
    }
    fb__write_raw(r, "]");
    return FB_OK;
}

#define SPLIT                                                                                      \
    {                                                                                              \
        .key = "split", .type = FB__FIELD_CUSTOM, .read = read_split                               \
    }
#define CONTEXT                                                                                    \
    {                                                                                              \
        .key = "context", .type = FB__FIELD_INTEGER, .offset = AT(data.context), .required = true, \
        .low = 1, .high = INT32_MAX                                                                \
    }
#define FILE_FIELD(name, member)                                                                   \
    {                                                                                              \
        .key = name, .type = FB__FIELD_STRING, .offset = AT(data.member), .required = true         \
    }

FB__FIELDS(TEXT, FILE_FIELD("text", path), CONTEXT, SPLIT);

FB__FIELDS(TOKENS, FILE_FIELD("tokens", path), CONTEXT,
           {.key = "vocab",
            .type = FB__FIELD_INTEGER,
            .offset = AT(data.vocab),
            .fallback = 50257,
            .low = 1,
            .high = 65536},
           SPLIT);

FB__FIELDS(IDX_FILES, FILE_FIELD("images", path), FILE_FIELD("labels", labels));
FB__FIELDS(
    IDX, {.key = "idx", .type = FB__FIELD_OBJECT, .fields = &IDX_FILES},
    {.key = "mean", .type = FB__FIELD_NUMBER, .offset = AT(data.mean), .low = -1e6, .high = 1e6},
    {.key = "std",
     .type = FB__FIELD_NUMBER,
     .offset = AT(data.std),
     .fallback = 1,
     .open_low = true,
     .high = 1e6},
    SPLIT);

FB__FIELDS(NPY_FILES, FILE_FIELD("inputs", path), FILE_FIELD("targets", labels));
FB__FIELDS(NPY, {.key = "npy", .type = FB__FIELD_OBJECT, .fields = &NPY_FILES}, SPLIT);

fb_status fb__read_data(fb__reader *r, const cJSON *value, void *base)
{
    static const char *const names[] = {"text", "tokens", "idx", "npy"};
    static const fb__fields *const fields[] = {&TEXT, &TOKENS, &IDX, &NPY};
    fb_config *config = base;
    const cJSON *body;
    size_t i;
    fb_status status;

    if (!cJSON_IsObject(value))
        return fb__config_expected(
            r, "an object such as {\"text\": \"input.txt\", \"context\": 64}", value);
    status = fb__read_choice(r, value, names, 4, &i, &body);
    if (status != FB_OK)
        return status;
    config->data.type = (fb_data_type)i;
    config->data.std = 1;
    return fb__read_object(r, value, fields[i], base);
}

/* --- Loss ------------------------------------------------------------------------------------- */

/* Writes {"NAME": {...}} for a choice with parameters. */
static fb_status read_parameters(fb__reader *r, const char *name, const cJSON *body,
                                 const fb__fields *fields, void *base)
{
    const size_t before = fb__where_push(r, ".%s", name);
    fb_status status;

    fb__write_raw(r, "{");
    fb__write_key(r, name);
    status = fb__read_object(r, body, fields, base);
    fb__write_raw(r, "}");
    fb__where_pop(r, before);
    return status;
}

/* A choice with nothing beside it: refuses a second key, fills base, writes. */
static fb_status read_tagged(fb__reader *r, const cJSON *value, const char *const *names,
                             const fb__fields *const *fields, size_t count, size_t *index,
                             void *base)
{
    const cJSON *body = NULL;
    fb_status status = fb__read_choice(r, value, names, count, index, &body);

    if (status == FB_OK && body != NULL)
        status = fb__check_keys(r, value, names, count);
    if (status != FB_OK)
        return status;
    return read_parameters(r, names[*index], body, fields[*index], base);
}

static const fb__fields NOTHING = {0, NULL};

FB__FIELDS(CROSS_ENTROPY, {.key = "ignore_index",
                           .type = FB__FIELD_INTEGER,
                           .offset = AT(ignore_index),
                           .fallback = -100,
                           .low = INT32_MIN,
                           .high = INT32_MAX});

fb_status fb__read_loss(fb__reader *r, const cJSON *value, void *base)
{
    static const char *const names[] = {"cross_entropy", "mse"};
    static const fb__fields *const fields[] = {&CROSS_ENTROPY, &NOTHING};
    fb_config *config = base;
    size_t i = 0;
    fb_status status;

    config->ignore_index = -100;
    status = read_tagged(r, value, names, fields, 2, &i, base);
    config->loss = (fb_loss_type)i;
    return status;
}

/* --- Optimizer -------------------------------------------------------------------------------- */

#define LR                                                                                         \
    {                                                                                              \
        .key = "lr", .type = FB__FIELD_NUMBER, .offset = AT(optimizer.lr), .required = true,       \
        .open_low = true, .high = INFINITY                                                         \
    }
#define DECAY(value)                                                                               \
    {                                                                                              \
        .key = "weight_decay", .type = FB__FIELD_NUMBER, .offset = AT(optimizer.weight_decay),     \
        .fallback = value, .high = INFINITY                                                        \
    }
#define BETAS                                                                                      \
    {                                                                                              \
        .key = "betas", .type = FB__FIELD_NUMBER_PAIR, .offset = AT(optimizer.beta1),              \
        .fallback = 0.9, .fallback2 = 0.999, .high = 1, .open_high = true                          \
    }
#define EPS                                                                                        \
    {                                                                                              \
        .key = "eps", .type = FB__FIELD_NUMBER, .offset = AT(optimizer.eps), .fallback = 1e-8,     \
        .high = INFINITY                                                                           \
    }

FB__FIELDS(
    SGD, LR,
    {.key = "momentum",
     .type = FB__FIELD_NUMBER,
     .offset = AT(optimizer.momentum),
     .high = INFINITY},
    {.key = "dampening", .type = FB__FIELD_NUMBER, .offset = AT(optimizer.dampening), .high = 1},
    DECAY(0), {.key = "nesterov", .type = FB__FIELD_BOOL, .offset = AT(optimizer.nesterov)});
FB__FIELDS(ADAM, LR, BETAS, EPS, DECAY(0));
FB__FIELDS(ADAMW, LR, BETAS, EPS, DECAY(0.01));

fb_status fb__read_optimizer(fb__reader *r, const cJSON *value, void *base)
{
    static const char *const names[] = {"sgd", "adam", "adamw"};
    static const fb__fields *const fields[] = {&SGD, &ADAM, &ADAMW};
    fb_optimizer_config *optimizer = &((fb_config *)base)->optimizer;
    size_t i = 0;
    fb_status status = read_tagged(r, value, names, fields, 3, &i, base);

    optimizer->type = (fb_optimizer_type)i;
    if (status == FB_OK && optimizer->nesterov &&
        (optimizer->momentum <= 0 || optimizer->dampening != 0)) {
        fb__where_push(r, ".sgd.nesterov");
        return fb__config_fail(r, "expected momentum > 0 and dampening 0 beside it");
    }
    return status;
}

/* --- Schedule --------------------------------------------------------------------------------- */

#define STEPS(name, member, ...)                                                                   \
    {                                                                                              \
        .key = name, .type = FB__FIELD_INTEGER, .offset = AT(schedule.member), .high = UINT32_MAX, \
        __VA_ARGS__                                                                                \
    }

FB__FIELDS(WARMUP, STEPS("steps", warmup, .low = 1, .required = true));
FB__FIELDS(
    COSINE, STEPS("warmup", warmup, .low = 0),
    STEPS("total", total, .low = 1, .same_as = AT(steps)),
    {.key = "min_factor", .type = FB__FIELD_NUMBER, .offset = AT(schedule.min_factor), .high = 1});
FB__FIELDS(STEP, STEPS("every", every, .low = 1, .required = true),
           {.key = "gamma",
            .type = FB__FIELD_NUMBER,
            .offset = AT(schedule.gamma),
            .fallback = 0.1,
            .open_low = true,
            .high = INFINITY});

fb_status fb__read_schedule(fb__reader *r, const cJSON *value, void *base)
{
    static const char *const names[] = {"constant", "warmup", "cosine", "step"};
    static const fb__fields *const fields[] = {&NOTHING, &WARMUP, &COSINE, &STEP};
    fb_config *config = base;
    size_t i = 0;
    fb_status status;

    if (value == NULL)
        return read_parameters(r, names[0], NULL, fields[0], base);
    status = read_tagged(r, value, names, fields, 4, &i, base);
    config->schedule.type = (fb_schedule_type)i;
    return status;
}
