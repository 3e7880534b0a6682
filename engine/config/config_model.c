/* SPDX-License-Identifier: Apache-2.0
 *
 * config_model.c - the model of a configuration: layers in lists, residuals that hold a list,
 * repeats that are unrolled. Names of layers become paths. Reference: docs/configuration.md.
 */
#include "engine/config/config_reader.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(fb_layer_config, member)

/* --- One table for each layer ----------------------------------------------------------------- */

#define SIZE(name, member, ...)                                                                    \
    {                                                                                              \
        .key = name, .type = FB__FIELD_INTEGER, .offset = AT(member), .low = 1, .high = INT32_MAX, \
        __VA_ARGS__                                                                                \
    }
#define FLAG(name, member, value)                                                                  \
    {                                                                                              \
        .key = name, .type = FB__FIELD_BOOL, .offset = AT(member), .fallback = value               \
    }
#define PAIR(name, member, ...)                                                                    \
    {                                                                                              \
        .key = name, .type = FB__FIELD_INTEGER_PAIR, .offset = AT(member), .high = 65536,          \
        __VA_ARGS__                                                                                \
    }
#define KERNEL  PAIR("kernel", kernel, .low = 1, .required = true)
#define PADDING PAIR("padding", padding, .low = 0)

static const fb__fields NOTHING = {0, NULL};

FB__FIELDS(EMBEDDING, SIZE("dim", dim, .required = true), FLAG("positions", positions, false));
FB__FIELDS(LINEAR,
           {.key = "out",
            .type = FB__FIELD_WIDTH,
            .offset = AT(out),
            .required = true,
            .low = 1,
            .high = INT32_MAX},
           FLAG("bias", bias, true),
           {.key = "tied", .type = FB__FIELD_OPTIONAL_TEXT, .offset = AT(tied)});
FB__FIELDS(
    LAYERNORM,
    {.key = "eps", .type = FB__FIELD_NUMBER, .offset = AT(eps), .fallback = 1e-5, .high = INFINITY},
    FLAG("bias", bias, true));
FB__FIELDS(ATTENTION, SIZE("heads", heads, .required = true), FLAG("causal", causal, false),
           FLAG("bias", bias, true));
FB__FIELDS(GELU, {.key = "approximate",
                  .type = FB__FIELD_FORM,
                  .offset = AT(gelu_tanh),
                  .words = {"none", "tanh"}});
FB__FIELDS(DROPOUT, {.key = "p",
                     .type = FB__FIELD_NUMBER,
                     .offset = AT(p),
                     .fallback = 0.5,
                     .high = 1,
                     .open_high = true});
FB__FIELDS(CONV2D, SIZE("out", out, .required = true), KERNEL,
           PAIR("stride", stride, .low = 1, .fallback = 1), PADDING, FLAG("bias", bias, true));
FB__FIELDS(POOL, KERNEL, PAIR("stride", stride, .low = 1, .same_as = AT(kernel)), PADDING);

static const fb__fields *const FIELDS[FB_LAYER_COUNT] = {
    [FB_LAYER_EMBEDDING] = &EMBEDDING, [FB_LAYER_LINEAR] = &LINEAR,
    [FB_LAYER_LAYERNORM] = &LAYERNORM, [FB_LAYER_ATTENTION] = &ATTENTION,
    [FB_LAYER_GELU] = &GELU,           [FB_LAYER_RELU] = &NOTHING,
    [FB_LAYER_TANH] = &NOTHING,        [FB_LAYER_SIGMOID] = &NOTHING,
    [FB_LAYER_SILU] = &NOTHING,        [FB_LAYER_SOFTPLUS] = &NOTHING,
    [FB_LAYER_DROPOUT] = &DROPOUT,     [FB_LAYER_CONV2D] = &CONV2D,
    [FB_LAYER_MAXPOOL] = &POOL,        [FB_LAYER_AVGPOOL] = &POOL,
    [FB_LAYER_FLATTEN] = &NOTHING,
};

/* --- Lists ------------------------------------------------------------------------------------ */

/* What an element of a list is: a layer type, or a repeat, which leaves no layer of its own. */
enum { REPEAT = FB_LAYER_COUNT, ELEMENT_COUNT };

static const char *const ELEMENTS[ELEMENT_COUNT] = {
#define ELEMENT_NAME(name, text) text,
    FB_LAYER_LIST(ELEMENT_NAME)
#undef ELEMENT_NAME
        "repeat"};

typedef struct element {
    size_t type;       /* index in ELEMENTS */
    const cJSON *json; /* {"linear": {...}, "name": "fc"} */
    const cJSON *body; /* {...} */
    char name[FB__CONFIG_LAYER_NAME_MAX + 24];
} element;

/* A list that grows while repeats are unrolled. */
typedef struct layer_list {
    fb_layer_config *layers;
    size_t count, capacity;
} layer_list;

static fb_status read_list(fb__reader *r, const cJSON *list, const char *prefix, layer_list *out);

static fb_layer_config *append(layer_list *list)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 8 : list->capacity * 2;
        fb_layer_config *grown = realloc(list->layers, capacity * sizeof *grown);

        if (grown == NULL)
            return NULL;
        list->layers = grown;
        list->capacity = capacity;
    }
    list->layers[list->count] = (fb_layer_config){0};
    return &list->layers[list->count++];
}

/* Reads a list into arena memory. */
static fb_status read_into(fb__reader *r, const cJSON *json, const char *prefix,
                           fb_layer_config **layers, size_t *count)
{
    layer_list list = {0};
    fb_status status = read_list(r, json, prefix, &list);

    if (status == FB_OK) {
        *layers = fb__arena_zeros(r->arena, list.count, sizeof **layers);
        *count = list.count;
        if (*layers == NULL)
            status = fb__config_no_memory(r);
        else if (list.count > 0)
            memcpy(*layers, list.layers, list.count * sizeof **layers);
    }
    free(list.layers);
    return status;
}

/* --- Names and paths -------------------------------------------------------------------------- */

static bool is_layer_name(const char *name)
{
    const size_t length = strlen(name);

    for (const char *c = name; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-')
            return false;
    return length >= 1 && length <= FB__CONFIG_LAYER_NAME_MAX;
}

/* Takes a given name; leaves "" where there is none. */
static fb_status read_name(fb__reader *r, element *e)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(e->json, "name");

    e->name[0] = '\0';
    if (name == NULL)
        return FB_OK;
    if (!cJSON_IsString(name) || !is_layer_name(name->valuestring)) {
        fb__where_push(r, ".name");
        return fb__config_expected(r, "1 to 64 letters, digits, '_' or '-'", name);
    }
    (void)snprintf(e->name, sizeof e->name, "%s", name->valuestring);
    return FB_OK;
}

/* A layer without a name has that of its type; where several in one list would, they count. */
static void give_names(element *elements, size_t count)
{
    size_t unnamed[ELEMENT_COUNT] = {0}, next[ELEMENT_COUNT] = {0};

    for (size_t i = 0; i < count; i++)
        unnamed[elements[i].type] += elements[i].name[0] == '\0';
    for (size_t i = 0; i < count; i++) {
        element *e = &elements[i];

        if (e->name[0] != '\0')
            continue;
        if (unnamed[e->type] == 1)
            (void)snprintf(e->name, sizeof e->name, "%s", ELEMENTS[e->type]);
        else
            (void)snprintf(e->name, sizeof e->name, "%s%zu", ELEMENTS[e->type], next[e->type]++);
    }
}

/* path = prefix.name, refused when it is too long or taken. */
static fb_status make_path(fb__reader *r, char path[FB__CONFIG_LAYER_PATH_MAX + 1],
                           const char *prefix, const char *name)
{
    const int length = snprintf(path, FB__CONFIG_LAYER_PATH_MAX + 1, "%s%s%s", prefix,
                                prefix[0] == '\0' ? "" : ".", name);
    bool is_new;

    if (length < 0 || length > FB__CONFIG_LAYER_PATH_MAX)
        return fb__config_fail(r, "the layer's path is longer than %d bytes",
                               FB__CONFIG_LAYER_PATH_MAX);
    if (fb_intern_put(r->paths, path, (size_t)length, &is_new) == FB_INTERN_NONE)
        return fb__config_no_memory(r);
    if (!is_new)
        return fb__config_fail(r, "the path \"%s\" is taken; give the layer another name", path);
    return FB_OK;
}

/* --- Elements --------------------------------------------------------------------------------- */

static fb_status expect_list(fb__reader *r, const cJSON *list)
{
    if (!cJSON_IsArray(list) || list->child == NULL)
        return fb__config_expected(r, "a list of at least one layer", list);
    return FB_OK;
}

static fb_status read_pooling(fb__reader *r, const fb_layer_config *layer)
{
    for (int i = 0; i < 2; i++) /* else a window could lie in the padding alone */
        if (layer->padding[i] > layer->kernel[i] / 2)
            return fb__config_fail(r, "expected padding of at most half the kernel");
    return FB_OK;
}

static fb_status read_layer(fb__reader *r, const element *e, const char *prefix, layer_list *out)
{
    const char *type = ELEMENTS[e->type];
    const size_t before = r->where_length;
    char path[FB__CONFIG_LAYER_PATH_MAX + 1];
    fb_layer_config *layer;
    fb_status status;

    if (++r->layer_total > FB__CONFIG_LAYERS_MAX)
        return fb__config_fail(r, "more than %d layers after unrolling", FB__CONFIG_LAYERS_MAX);
    status = make_path(r, path, prefix, e->name);
    if (status != FB_OK)
        return status;
    layer = append(out);
    if (layer == NULL)
        return fb__config_no_memory(r);
    layer->type = (fb_layer_type)e->type;
    layer->path = fb__arena_text(r->arena, path);
    layer->where = fb__arena_text(r->arena, r->where);
    if (layer->path == NULL || layer->where == NULL)
        return fb__config_no_memory(r);
    if (layer->type == FB_LAYER_EMBEDDING &&
        fb_intern_put(r->embeddings, path, strlen(path), NULL) == FB_INTERN_NONE)
        return fb__config_no_memory(r);

    fb__where_push(r, ".%s", type);
    fb__write_key(r, type);
    if (layer->type == FB_LAYER_RESIDUAL) {
        status = expect_list(r, e->body);
        if (status == FB_OK)
            status = read_into(r, e->body, path, &layer->children, &layer->child_count);
    } else {
        status = fb__read_object(r, e->body, FIELDS[e->type], layer);
        if (status == FB_OK && FIELDS[e->type] == &POOL)
            status = read_pooling(r, layer);
    }
    fb__where_pop(r, before);
    return status;
}

/* Copies share one place in the configuration, and are written once. */
static fb_status read_repeat(fb__reader *r, const element *e, const char *prefix, layer_list *out)
{
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(e->json, "layers");
    const size_t before = r->where_length;
    const bool was_silent = r->silent;
    char path[FB__CONFIG_LAYER_PATH_MAX + 1], copy[sizeof path + 24];
    fb_status status;
    double n;

    fb__where_push(r, ".repeat");
    n = cJSON_IsNumber(e->body) ? e->body->valuedouble : 0;
    if (!(n >= 1 && n <= FB__CONFIG_LAYERS_MAX && n == floor(n)))
        return fb__config_expected(r, "an integer from 1 to 100000", e->body);
    fb__where_pop(r, before);
    fb__write_key(r, "repeat");
    fb__write_number(r, n);
    fb__write_key(r, "layers");
    status = make_path(r, path, prefix, e->name);

    fb__where_push(r, ".layers");
    if (status == FB_OK)
        status = expect_list(r, layers);
    for (size_t i = 0; i < (size_t)n && status == FB_OK; i++) {
        (void)snprintf(copy, sizeof copy, "%s.%zu", path, i);
        status = read_list(r, layers, copy, out);
        r->silent = true;
    }
    r->silent = was_silent;
    if (status == FB_OK)
        fb__where_pop(r, before);
    return status;
}

/* Which element of a list this is, and that it holds nothing else. */
static fb_status read_element(fb__reader *r, const cJSON *json, element *e)
{
    static const char example[] = "an object such as {\"linear\": {\"out\": 128}}";
    const char *keys[ELEMENT_COUNT + 2];
    fb_status status;

    if (!cJSON_IsObject(json) || json->child == NULL)
        return fb__config_expected(r, example, json);
    memcpy(keys, ELEMENTS, sizeof ELEMENTS);
    keys[ELEMENT_COUNT] = "name";
    keys[ELEMENT_COUNT + 1] = "layers";
    status = fb__check_keys(r, json, keys, ELEMENT_COUNT + 2);
    if (status != FB_OK)
        return status;

    e->json = json;
    e->body = NULL;
    for (size_t i = 0; i < ELEMENT_COUNT; i++) {
        const cJSON *body = cJSON_GetObjectItemCaseSensitive(json, ELEMENTS[i]);

        if (body != NULL && e->body != NULL)
            return fb__config_fail(r, "expected one layer, got \"%s\" and \"%s\"",
                                   ELEMENTS[e->type], ELEMENTS[i]);
        if (body != NULL) {
            e->body = body;
            e->type = i;
        }
    }
    if (e->body == NULL)
        return fb__config_fail(r, "expected %s, got no layer's name", example);
    if (e->type != REPEAT && cJSON_GetObjectItemCaseSensitive(json, "layers") != NULL) {
        fb__where_push(r, ".layers");
        return fb__config_fail(r, "unknown key; only a repeat has layers");
    }
    return read_name(r, e);
}

static fb_status read_elements(fb__reader *r, const element *elements, size_t count,
                               const char *prefix, layer_list *out)
{
    fb_status status = FB_OK;

    fb__write_raw(r, "[");
    for (size_t i = 0; i < count && status == FB_OK; i++) {
        const size_t before = fb__where_push(r, "[%zu]", i);

        fb__write_raw(r, i == 0 ? "{" : ",{");
        status = elements[i].type == REPEAT ? read_repeat(r, &elements[i], prefix, out)
                                            : read_layer(r, &elements[i], prefix, out);
        fb__write_key(r, "name");
        fb__write_string(r, elements[i].name);
        fb__write_raw(r, "}");
        if (status == FB_OK)
            fb__where_pop(r, before);
    }
    fb__write_raw(r, "]");
    return status;
}

/* list: an array that is not empty; prefix: path of what holds it, "" at the top. */
static fb_status read_list(fb__reader *r, const cJSON *list, const char *prefix, layer_list *out)
{
    const size_t count = (size_t)cJSON_GetArraySize(list);
    element *elements;
    fb_status status = FB_OK;
    size_t i = 0;

    if (count > FB__CONFIG_LAYERS_MAX)
        return fb__config_fail(r, "more than %d layers", FB__CONFIG_LAYERS_MAX);
    elements = calloc(count, sizeof *elements);
    if (elements == NULL)
        return fb__config_no_memory(r);
    for (const cJSON *item = list->child; item != NULL && status == FB_OK; item = item->next, i++) {
        const size_t before = fb__where_push(r, "[%zu]", i);

        status = read_element(r, item, &elements[i]);
        if (status == FB_OK)
            fb__where_pop(r, before);
    }
    if (status == FB_OK) {
        give_names(elements, count);
        status = read_elements(r, elements, count, prefix, out);
    }
    free(elements);
    return status;
}

/* --- Ties ------------------------------------------------------------------------------------- */

static fb_status check_ties(fb__reader *r, const fb_layer_config *layers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const fb_layer_config *layer = &layers[i];
        fb_status status = check_ties(r, layer->children, layer->child_count);

        if (status != FB_OK)
            return status;
        if (layer->tied == NULL)
            continue;
        if (fb_intern_find(r->embeddings, layer->tied, strlen(layer->tied)) == FB_INTERN_NONE) {
            fb__where_pop(r, 0);
            fb__where_push(r, "%s.linear.tied", layer->where);
            return fb__config_fail(r, "expected the path of an embedding, got \"%s\"", layer->tied);
        }
    }
    return FB_OK;
}

fb_status fb__read_model(fb__reader *r, const cJSON *value, void *base)
{
    fb_config *config = base;
    fb_status status = expect_list(r, value);

    if (status == FB_OK)
        status = read_into(r, value, "", &config->layers, &config->layer_count);
    if (status == FB_OK)
        status = check_ties(r, config->layers, config->layer_count);
    return status;
}
