/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors_write.c - writes safetensors files and single tensors as .npy.
 */
#include "engine/files/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/files/json.h"
#include "engine/files/safetensors_save.h"

/* --- safetensors ------------------------------------------------------------------------------ */

static const char *format_name(fb_dtype dtype)
{
    switch (dtype) {
#define DTYPE_CASE(ours, number, text, bytes)                                                      \
    case FB_DTYPE_##ours:                                                                          \
        return #ours;
        FB_DTYPE_LIST(DTYPE_CASE)
#undef DTYPE_CASE
    case FB_DTYPE_NONE:
        break;
    }
    return "?";
}

static void put_text(fb_buffer *b, const char *text)
{
    fb_buffer_append(b, text, strlen(text));
}

static void put_number(fb_buffer *b, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    put_text(b, text);
}

static void put_metadata(fb_buffer *b, const char *const *keys, const char *const *values,
                         size_t count)
{
    if (count == 0)
        return;
    put_text(b, "\"__metadata__\":{");
    for (size_t i = 0; i < count; i++) {
        put_text(b, i == 0 ? "" : ",");
        fb__json_put_string(b, keys[i]);
        put_text(b, ":");
        fb__json_put_string(b, values[i]);
    }
    put_text(b, "}");
}

static void put_tensor(fb_buffer *b, const fb_safetensor *tensor, uint64_t *offset)
{
    fb__json_put_string(b, tensor->name);
    put_text(b, ":{\"dtype\":\"");
    put_text(b, format_name(tensor->dtype));
    put_text(b, "\",\"shape\":[");
    for (uint32_t i = 0; i < tensor->rank; i++) {
        put_text(b, i == 0 ? "" : ",");
        put_number(b, tensor->shape[i]);
    }
    put_text(b, "],\"data_offsets\":[");
    put_number(b, *offset);
    *offset += tensor->bytes;
    put_text(b, ",");
    put_number(b, *offset);
    put_text(b, "]}");
}

/* Spaces after the JSON, so that the data begin at a multiple of 8. */
static void put_padding(fb_buffer *b)
{
    while (b->count % 8 != 0 && !b->failed)
        fb_buffer_u8(b, ' ');
}

/* float32 with one form of NaN: processors make different ones, and the file of a run is to have
 * the same bytes on all. */
static void put_floats(fb__save *save, const void *data, size_t bytes)
{
    const uint32_t nan = UINT32_C(0x7fc00000), infinity = UINT32_C(0x7f800000);
    uint32_t block[4096];

    for (size_t at = 0; at < bytes; at += sizeof block) {
        const size_t part = bytes - at < sizeof block ? bytes - at : sizeof block;

        memcpy(block, (const char *)data + at, part);
        for (size_t i = 0; i < part / sizeof *block; i++)
            if ((block[i] & INT32_MAX) > infinity)
                block[i] = nan;
        fb__save_put(save, block, part);
    }
}

fb_status fb_safetensors_write(const char *path, const fb_safetensor *tensors, size_t count,
                               const char *const *keys, const char *const *values,
                               size_t metadata_count, fb_hash *hash, fb_error *err)
{
    fb_buffer header = {0};
    fb__save *save = NULL;
    uint64_t offset = 0, length;
    fb_status status;

    put_text(&header, "{");
    put_metadata(&header, keys, values, metadata_count);
    for (size_t i = 0; i < count; i++) {
        put_text(&header, i == 0 && metadata_count == 0 ? "" : ",");
        put_tensor(&header, &tensors[i], &offset);
    }
    put_text(&header, "}");
    put_padding(&header);
    if (header.failed) {
        fb_buffer_free(&header);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory",
                        path == NULL ? "safetensors" : path);
    }
    status = fb__save_open(&save, path, err);
    if (status == FB_OK) {
        length = header.count;
        fb__save_put(save, &length, sizeof length);
        fb__save_put(save, header.data, header.count);
        for (size_t i = 0; i < count; i++) {
            if (tensors[i].dtype == FB_DTYPE_F32)
                put_floats(save, tensors[i].data, tensors[i].bytes);
            else
                fb__save_put(save, tensors[i].data, tensors[i].bytes);
        }
        status = fb__save_close(save, hash, err);
    }
    fb_buffer_free(&header);
    return status;
}

/* --- .npy ------------------------------------------------------------------------------------- */

/* NumPy's name of a dtype, NULL where it has none. */
static const char *npy_descr(fb_dtype dtype)
{
    static const char *const names[] = {
        [FB_DTYPE_F64] = "<f8", [FB_DTYPE_F32] = "<f4",   [FB_DTYPE_F16] = "<f2",
        [FB_DTYPE_C64] = "<c8", [FB_DTYPE_C128] = "<c16", [FB_DTYPE_I8] = "|i1",
        [FB_DTYPE_I16] = "<i2", [FB_DTYPE_I32] = "<i4",   [FB_DTYPE_I64] = "<i8",
        [FB_DTYPE_U8] = "|u1",  [FB_DTYPE_U16] = "<u2",   [FB_DTYPE_U32] = "<u4",
        [FB_DTYPE_U64] = "<u8", [FB_DTYPE_BOOL] = "|b1",
    };
    return (size_t)dtype < sizeof names / sizeof *names ? names[dtype] : NULL;
}

enum { NPY_ALIGN = 64, NPY_PREFIX_BYTES = 10 };

fb_status fb_npy_write(const char *path, fb_dtype dtype, uint32_t rank, const uint64_t *shape,
                       const void *data, fb_error *err)
{
    const char *descr = npy_descr(dtype);
    char text[512];
    size_t length, bytes = fb_dtype_bytes(dtype), padded;
    uint16_t stored;
    fb__save *save = NULL;
    fb_status status;

    if (descr == NULL || rank > FB_RANK_MAX)
        return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET, "%s: .npy has no %s of rank %u", path,
                        fb_dtype_name(dtype), (unsigned)rank);
    length = (size_t)snprintf(text, sizeof text,
                              "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (uint32_t i = 0; i < rank; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%" PRIu64 "%s", shape[i],
                                   rank == 1      ? ","
                                   : i + 1 < rank ? ", "
                                                  : "");
        if (__builtin_mul_overflow(bytes, shape[i], &bytes))
            return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: the shape overflows", path);
    }
    length += (size_t)snprintf(text + length, sizeof text - length, "), }");
    padded = (NPY_PREFIX_BYTES + length + NPY_ALIGN) / NPY_ALIGN * NPY_ALIGN - NPY_PREFIX_BYTES;
    memset(text + length, ' ', padded - length);
    text[padded - 1] = '\n';
    stored = (uint16_t)padded;

    status = fb__save_open(&save, path, err);
    if (status != FB_OK)
        return status;
    fb__save_put(save, "\x93NUMPY\x01\x00", 8);
    fb__save_put(save, &stored, sizeof stored);
    fb__save_put(save, text, padded);
    fb__save_put(save, data, bytes);
    return fb__save_close(save, NULL, err);
}
