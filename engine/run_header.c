/* SPDX-License-Identifier: Apache-2.0
 *
 * run_header.c - what a trace's header says of a run, as JSON text.
 *
 * The resolved configuration goes in as its own text, so that no number loses a bit on the way.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fpenv.h"
#include "base/hash.h"
#include "engine/files/json.h"
#include "engine/run_state.h"

static void put(fb_buffer *out, const char *text)
{
    fb_buffer_append(out, text, strlen(text));
}

static void put_number(fb_buffer *out, const char *before, uint64_t number)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    put(out, before);
    put(out, text);
}

static void put_string(fb_buffer *out, const char *before, const char *text)
{
    put(out, before);
    fb__json_put_string(out, text);
}

static void put_file(fb_buffer *out, bool first, const char *path, uint64_t bytes, fb_hash hash)
{
    char hex[FB_HASH_HEX_BYTES];

    put_string(out, first ? "{\"path\":" : ",{\"path\":", path);
    put_number(out, ",\"bytes\":", bytes);
    put_string(out, ",\"hash\":", fb_hash_hex(hex, hash));
    put(out, "}");
}

static void put_files(fb_buffer *out, const fb_run *run)
{
    const fb_data_file *files = run->data->files;

    put(out, ",\"files\":[");
    for (size_t i = 0; i < run->data->file_count; i++)
        put_file(out, i == 0, files[i].path, files[i].bytes, files[i].hash);
    if (run->config->weights != NULL)
        put_file(out, run->data->file_count == 0, run->config->weights, run->weights_bytes,
                 run->weights_hash);
    put(out, "]");
}

/* The table names an instruction set, or a library on top of the best one. */
static const char *isa_name(const fb_run *run)
{
    return run->kernels->contract == FB_CONTRACT ? run->kernels->name : fb_kernels_best()->name;
}

static void put_environment(fb_buffer *out, const fb_run *run)
{
    char text[16];

    put_number(out, ",\"environment\":{\"threads\":", run->threads);
    put_string(out, ",\"isa\":", isa_name(run));
    put_string(out, ",\"kernels\":",
               run->kernels->contract == FB_CONTRACT ? "ordered" : run->kernels->name);
    (void)snprintf(text, sizeof text, "0x%04x", (unsigned)fb_fpenv_get());
    put_string(out, ",\"fpenv\":", text);
    put(out, "}");
}

fb_status fb__run_make_header(fb_run *run, fb_error *err)
{
    fb_buffer out = {0};
    char hex[FB_HASH_HEX_BYTES];

    put(&out, "{\"configuration\":");
    put(&out, run->config->resolved);
    put_files(&out, run);
    put_number(&out, ",\"seed\":", run->config->seed);
    put_number(&out, ",\"contract\":", run->kernels->contract);
    put_string(&out, ",\"fingerprint\":",
               fb_hash_hex(hex, fb_kernels_fingerprint(run->kernels, run->pool)));
    put_environment(&out, run);
    put_string(&out, ",\"version\":", FIRSTBIT_VERSION);
    fb_buffer_append(&out, "}", 2);
    run->header = (char *)out.data;
    if (!out.failed)
        return FB_OK;
    fb_buffer_free(&out);
    run->header = NULL;
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for the header");
}
