/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_header.c - reading the header of a trace.
 */
#include "replay/trace_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

static const char *text_of(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

/* A number, or a string of decimal digits: 64-bit integers are written so. */
static bool count_of(uint64_t *out, const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    char *end;

    if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 9007199254740992.0) {
        *out = (uint64_t)item->valuedouble;
        return true;
    }
    if (!cJSON_IsString(item) || item->valuestring[0] < '0' || item->valuestring[0] > '9')
        return false;
    *out = strtoull(item->valuestring, &end, 10);
    return *end == '\0';
}

static fb_status read_files(fb__run_header *out, const char *name, fb_error *err)
{
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(out->json, "files");
    const cJSON *file;
    const int count = cJSON_IsArray(files) ? cJSON_GetArraySize(files) : 0;

    if (count == 0)
        return FB_OK;
    out->files = calloc((size_t)count, sizeof *out->files);
    if (out->files == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: header: out of memory", name);
    cJSON_ArrayForEach(file, files)
    {
        fb__run_file *f = &out->files[out->file_count];
        const char *hash = text_of(file, "hash");

        f->path = text_of(file, "path");
        if (f->path == NULL || hash == NULL || !fb_hash_of_hex(&f->hash, hash))
            return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                            "%s: header: files[%zu]: expected a path and a hash", name,
                            out->file_count);
        (void)count_of(&f->bytes, file, "bytes");
        out->file_count++;
    }
    return FB_OK;
}

/* Traces of the first version call it `resume` and know no trace before. */
static void read_resume(fb__run_header *out)
{
    const cJSON *from = cJSON_GetObjectItemCaseSensitive(out->json, "resumed_from");
    const cJSON *old = cJSON_GetObjectItemCaseSensitive(out->json, "resume");
    const char *trace = text_of(from, "trace");
    const char *hash = from != NULL ? text_of(from, "checkpoint") : text_of(old, "hash");

    out->resume_file = from != NULL ? text_of(from, "checkpoint_file") : text_of(old, "file");
    out->has_resume = out->resume_file != NULL && hash != NULL &&
                      count_of(&out->resume_step, from != NULL ? from : old, "step") &&
                      fb_hash_of_hex(&out->resume_hash, hash);
    out->has_before = out->has_resume && trace != NULL && fb_hash_of_hex(&out->before, trace);
    out->before_file = out->has_resume ? text_of(from, "file") : NULL;
}

fb_status fb__run_header_read(fb__run_header *out, const char *text, const char *name,
                              fb_error *err)
{
    const cJSON *environment;
    uint64_t number;
    fb_status status;

    *out = (fb__run_header){0};
    out->json = cJSON_Parse(text);
    if (!cJSON_IsObject(out->json)) {
        fb__run_header_free(out);
        return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: the header is no JSON object", name);
    }
    out->configuration = cJSON_GetObjectItemCaseSensitive(out->json, "configuration");
    if (!cJSON_IsObject(out->configuration))
        out->configuration = NULL;
    if (count_of(&number, out->json, "contract") && number <= UINT32_MAX) {
        out->has_contract = true;
        out->contract = (uint32_t)number;
    }
    out->fingerprint = text_of(out->json, "fingerprint");
    environment = cJSON_GetObjectItemCaseSensitive(out->json, "environment");
    if (count_of(&number, environment, "threads") && number <= 65536)
        out->threads = (unsigned)number;
    out->isa = text_of(environment, "isa");
    out->kernels = text_of(environment, "kernels");
    read_resume(out);
    status = read_files(out, name, err);
    if (status != FB_OK)
        fb__run_header_free(out);
    return status;
}

void fb__run_header_free(fb__run_header *header)
{
    cJSON_Delete(header->json);
    free(header->files);
    *header = (fb__run_header){0};
}

bool fb__run_header_is_openblas(const fb__run_header *header)
{
    return header->kernels != NULL && strcmp(header->kernels, "openblas") == 0;
}

bool fb__may_end_early(const fb_trace_info *info)
{
    return info->status != FB_TRACE_COMPLETE || info->recovered;
}
