/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors.c - reads safetensors files: 8 bytes of header length, a JSON header, the data.
 *
 * Nothing in a file is trusted: a tensor is handed out only after the names, shapes, dtypes and
 * offsets of all of them have been checked against each other and against the file's size.
 */
#include "engine/files/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/intern.h"
#include "engine/files/json.h"

enum { PREFIX_BYTES = 8, HEADER_MAX = 100000000 }; /* the limit of the format's own library */

#define INTEGER_MAX 9007199254740991.0 /* 2^53 - 1: what cJSON's doubles hold exactly */

typedef struct span {
    uint64_t begin, end; /* in the data */
    size_t tensor;
} span;

struct fb_safetensors {
    void *map;
    size_t map_bytes;
    cJSON *json; /* owns names and metadata */
    fb_safetensor *tensors;
    size_t count;
    fb_intern *names;      /* number of a name = index of its tensor */
    const cJSON *metadata; /* an object of strings, or NULL */
};

/* --- Mapping ---------------------------------------------------------------------------------- */

static fb_status map_file(fb_safetensors *file, const char *path, fb_error *err)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    fb_status status = FB_OK;

    if (descriptor < 0)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", path,
                        strerror(errno));
    if (fstat(descriptor, &info) != 0) {
        status = fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: not a regular file", path);
    } else if (info.st_size < PREFIX_BYTES + 2) {
        status = fb__fail(err, FB_E_FORMAT, 0, "%s: not a safetensors file: %lld bytes", path,
                          (long long)info.st_size);
    } else {
        file->map_bytes = (size_t)info.st_size;
        file->map = mmap(NULL, file->map_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (file->map == MAP_FAILED) {
            file->map = NULL;
            status = fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: cannot map: %s",
                              path, strerror(errno));
        }
    }
    (void)close(descriptor);
    return status;
}

/* Parses the header; *data_at is where the data begin. */
static fb_status parse_header(fb_safetensors *file, size_t *data_at, const char *path,
                              fb_error *err)
{
    const char *bytes = file->map;
    fb__json_fault fault;
    uint64_t length;
    char *text;

    memcpy(&length, bytes, sizeof length);
    if (bytes[PREFIX_BYTES] != '{')
        return fb__fail(err, FB_E_FORMAT, PREFIX_BYTES,
                        "%s: not a safetensors file: byte 8 is no '{'", path);
    if (length > HEADER_MAX || length > file->map_bytes - PREFIX_BYTES)
        return fb__fail(err, FB_E_CORRUPT, 0, "%s: a header of %llu bytes in a file of %zu", path,
                        (unsigned long long)length, file->map_bytes);
    *data_at = PREFIX_BYTES + (size_t)length;

    text = strndup(bytes + PREFIX_BYTES, (size_t)length);
    if (text == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (strlen(text) != length)
        fault = (fb__json_fault){.offset = strlen(text), .what = "a zero byte"};
    else
        file->json = fb__json_parse(text, &fault);
    free(text);
    if (file->json == NULL && fault.no_memory)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (file->json == NULL)
        return fb__fail(err, FB_E_CORRUPT, PREFIX_BYTES + fault.offset, "%s: header, byte %zu: %s",
                        path, PREFIX_BYTES + fault.offset, fault.what);
    return FB_OK;
}

/* --- Tensors ---------------------------------------------------------------------------------- */

static fb_dtype dtype_named(const char *name)
{
#define DTYPE_MATCH(ours, number, text, bytes)                                                     \
    if (strcmp(name, #ours) == 0)                                                                  \
        return FB_DTYPE_##ours;
    FB_DTYPE_LIST(DTYPE_MATCH)
#undef DTYPE_MATCH
    return FB_DTYPE_NONE;
}

static bool take_size(uint64_t *out, const cJSON *number)
{
    if (!cJSON_IsNumber(number) || !(number->valuedouble >= 0) ||
        number->valuedouble > INTEGER_MAX || number->valuedouble != floor(number->valuedouble))
        return false;
    *out = (uint64_t)number->valuedouble;
    return true;
}

/* The three keys of a tensor, each once and nothing else. */
static bool find_keys(const cJSON *tensor, const cJSON **dtype, const cJSON **shape,
                      const cJSON **offsets)
{
    *dtype = cJSON_GetObjectItemCaseSensitive(tensor, "dtype");
    *shape = cJSON_GetObjectItemCaseSensitive(tensor, "shape");
    *offsets = cJSON_GetObjectItemCaseSensitive(tensor, "data_offsets");
    return cJSON_IsObject(tensor) && cJSON_IsString(*dtype) && cJSON_IsArray(*shape) &&
           cJSON_IsArray(*offsets) && cJSON_GetArraySize(tensor) == 3 &&
           cJSON_GetArraySize(*offsets) == 2;
}

static fb_status read_tensor(fb_safetensor *out, span *at, const cJSON *json, const char *path,
                             fb_error *err)
{
    const cJSON *dtype, *shape, *offsets;
    uint64_t bytes;

    if (!find_keys(json, &dtype, &shape, &offsets))
        return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                        "%s: tensor \"%s\": expected dtype, shape and two data_offsets", path,
                        json->string);
    out->name = json->string;
    out->dtype = dtype_named(dtype->valuestring);
    if (out->dtype == FB_DTYPE_NONE)
        return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET, "%s: tensor \"%s\": dtype %s", path,
                        out->name, dtype->valuestring);
    if (cJSON_GetArraySize(shape) > FB_RANK_MAX)
        return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                        "%s: tensor \"%s\": rank %d, at most %d are supported", path, out->name,
                        cJSON_GetArraySize(shape), FB_RANK_MAX);
    if (!take_size(&at->begin, offsets->child) || !take_size(&at->end, offsets->child->next) ||
        at->begin > at->end)
        return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: tensor \"%s\": impossible offsets",
                        path, out->name);

    bytes = fb_dtype_bytes(out->dtype);
    for (const cJSON *item = shape->child; item != NULL; item = item->next) {
        uint64_t size;

        if (!take_size(&size, item) || __builtin_mul_overflow(bytes, size, &bytes))
            return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: tensor \"%s\": impossible shape",
                            path, out->name);
        out->shape[out->rank++] = size;
    }
    if (bytes != at->end - at->begin)
        return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                        "%s: tensor \"%s\": its shape needs %llu bytes, its offsets span %llu",
                        path, out->name, (unsigned long long)bytes,
                        (unsigned long long)(at->end - at->begin));
    out->bytes = (size_t)bytes;
    return FB_OK;
}

static fb_status read_metadata(fb_safetensors *file, const cJSON *json, const char *path,
                               fb_error *err)
{
    fb_intern *keys = fb_intern_create();
    fb_status status = FB_OK;

    if (keys == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (!cJSON_IsObject(json) || file->metadata != NULL)
        status = fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                          "%s: expected one object as __metadata__", path);
    for (const cJSON *i = json->child; i != NULL && status == FB_OK; i = i->next) {
        bool is_new = true;

        if (!cJSON_IsString(i))
            status = fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                              "%s: __metadata__ \"%s\": expected a string", path, i->string);
        else if (fb_intern_put(keys, i->string, strlen(i->string), &is_new) == FB_INTERN_NONE)
            status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
        else if (!is_new)
            status = fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                              "%s: __metadata__ \"%s\" is given twice", path, i->string);
    }
    fb_intern_destroy(keys);
    file->metadata = json;
    return status;
}

static fb_status read_tensors(fb_safetensors *file, span *spans, const char *path, fb_error *err)
{
    for (const cJSON *item = file->json->child; item != NULL; item = item->next) {
        fb_status status;
        bool is_new;

        if (strcmp(item->string, "__metadata__") == 0) {
            status = read_metadata(file, item, path, err);
            if (status != FB_OK)
                return status;
            continue;
        }
        if (fb_intern_put(file->names, item->string, strlen(item->string), &is_new) ==
            FB_INTERN_NONE)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
        if (!is_new)
            return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: tensor \"%s\" is given twice",
                            path, item->string);
        status = read_tensor(&file->tensors[file->count], &spans[file->count], item, path, err);
        if (status != FB_OK)
            return status;
        spans[file->count].tensor = file->count;
        file->count++;
    }
    return FB_OK;
}

static int compare_spans(const void *a, const void *b)
{
    const span *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The tensors tile the data: no hole, no overlap, nothing left over. Then they get their bytes. */
static fb_status place_tensors(fb_safetensors *file, span *spans, size_t data_at, const char *path,
                               fb_error *err)
{
    const uint64_t data_bytes = file->map_bytes - data_at;
    uint64_t at = 0;

    qsort(spans, file->count, sizeof *spans, compare_spans);
    for (size_t i = 0; i < file->count; i++) {
        fb_safetensor *tensor = &file->tensors[spans[i].tensor];

        if (spans[i].end > data_bytes)
            return fb__fail(err, FB_E_CORRUPT, file->map_bytes,
                            "%s: tensor \"%s\" ends at byte %llu of the data, there are %llu", path,
                            tensor->name, (unsigned long long)spans[i].end,
                            (unsigned long long)data_bytes);
        if (spans[i].begin != at)
            return fb__fail(err, FB_E_CORRUPT, data_at + at, "%s: %s before tensor \"%s\"", path,
                            spans[i].begin < at ? "overlap" : "unused bytes", tensor->name);
        tensor->data = (const char *)file->map + data_at + at;
        at = spans[i].end;
    }
    if (at != data_bytes)
        return fb__fail(err, FB_E_CORRUPT, data_at + at, "%s: %llu unused bytes at the end", path,
                        (unsigned long long)(data_bytes - at));
    return FB_OK;
}

/* --- Calls ------------------------------------------------------------------------------------ */

static fb_status open_checked(fb_safetensors *file, const char *path, fb_error *err)
{
    size_t data_at = 0, most;
    span *spans = NULL;
    fb_status status = map_file(file, path, err);

    if (status == FB_OK)
        status = parse_header(file, &data_at, path, err);
    if (status != FB_OK)
        return status;
    most = (size_t)cJSON_GetArraySize(file->json) + 1;
    file->tensors = calloc(most, sizeof *file->tensors);
    file->names = fb_intern_create();
    spans = calloc(most, sizeof *spans);
    if (file->tensors == NULL || file->names == NULL || spans == NULL)
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (status == FB_OK)
        status = read_tensors(file, spans, path, err);
    if (status == FB_OK)
        status = place_tensors(file, spans, data_at, path, err);
    free(spans);
    return status;
}

fb_status fb_safetensors_open(fb_safetensors **out, const char *path, fb_error *err)
{
    fb_safetensors *file = calloc(1, sizeof *file);
    fb_status status;

    if (file == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    status = open_checked(file, path, err);
    if (status != FB_OK) {
        fb_safetensors_close(file);
        return status;
    }
    *out = file;
    return FB_OK;
}

void fb_safetensors_close(fb_safetensors *file)
{
    if (file == NULL)
        return;
    if (file->map != NULL)
        (void)munmap(file->map, file->map_bytes);
    cJSON_Delete(file->json);
    fb_intern_destroy(file->names);
    free(file->tensors);
    free(file);
}

size_t fb_safetensors_count(const fb_safetensors *file)
{
    return file->count;
}

const fb_safetensor *fb_safetensors_at(const fb_safetensors *file, size_t index)
{
    return &file->tensors[index];
}

const fb_safetensor *fb_safetensors_find(const fb_safetensors *file, const char *name)
{
    const uint32_t number = fb_intern_find(file->names, name, strlen(name));
    return number == FB_INTERN_NONE ? NULL : &file->tensors[number];
}

const char *fb_safetensors_metadata(const fb_safetensors *file, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(file->metadata, key);
    return item == NULL ? NULL : item->valuestring;
}
