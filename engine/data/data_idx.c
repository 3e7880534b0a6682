/* SPDX-License-Identifier: Apache-2.0
 *
 * data_idx.c - images and labels in IDX files, plain or gzip: the format of the MNIST digits.
 *
 * IDX: two zero bytes, element type (8: unsigned byte), rank, a big-endian u32 for each dimension,
 * then the elements in row-major order.
 */
#include "engine/data/data_file.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/error.h"

enum {
    IDX_UNSIGNED_BYTE = 8,
    IDX_RANK_MAX = 4,
    IDX_HEADER_MAX = 4 + 4 * IDX_RANK_MAX,
    /* Deflate cannot expand more than 1032-fold (RFC 1951: 258 bytes from 2 bits), so a header
     * that claims more lies, and is refused before memory is asked for. */
    DEFLATE_RATIO_MAX = 1032
};

/* --- Header ----------------------------------------------------------------------------------- */

fb_status fb__idx_header(fb__idx *out, const uint8_t *bytes, size_t count, const char *path,
                         fb_error *err)
{
    *out = (fb__idx){.count = 1};
    if (count < 4 || bytes[0] != 0 || bytes[1] != 0)
        return fb__fail(err, FB_E_DATA, 0, "%s: not an IDX file", path);
    if (bytes[2] != IDX_UNSIGNED_BYTE)
        return fb__fail(err, FB_E_DATA, 2,
                        "%s: elements of IDX type 0x%02x, expected 0x08 (unsigned bytes)", path,
                        bytes[2]);
    out->rank = bytes[3];
    if (out->rank < 1 || out->rank > IDX_RANK_MAX)
        return fb__fail(err, FB_E_DATA, 3, "%s: rank %u, expected 1 to %d", path,
                        (unsigned)out->rank, IDX_RANK_MAX);
    out->offset = 4 + 4 * (size_t)out->rank;
    if (count < out->offset)
        return fb__fail(err, FB_E_DATA, count, "%s: ends in its header", path);
    for (uint32_t i = 0; i < out->rank; i++) {
        const uint8_t *b = bytes + 4 + 4 * i;

        out->shape[i] = (uint64_t)b[0] << 24 | (uint64_t)b[1] << 16 | (uint64_t)b[2] << 8 | b[3];
        if (out->shape[i] == 0)
            return fb__fail(err, FB_E_DATA, 4 + 4 * i, "%s: dimension %u is 0", path, (unsigned)i);
        if (__builtin_mul_overflow(out->count, out->shape[i], &out->count) ||
            out->count > SIZE_MAX / 2)
            return fb__fail(err, FB_E_DATA, 4 + 4 * i, "%s: dimensions overflow", path);
    }
    return FB_OK;
}

/* --- Gzip ------------------------------------------------------------------------------------- */

static fb_status gzip_fail(const z_stream *z, const char *path, fb_error *err, const char *what)
{
    return fb__fail(err, FB_E_DATA, z->total_in, "%s: gzip stream %s", path, what);
}

/* Fills [to, to+count) from the stream; the input is advanced in pieces that zlib can count. */
static int inflate_bytes(z_stream *z, const fb__file *file, uint8_t *to, size_t count)
{
    size_t done = 0;
    int result = Z_OK;

    while (done < count && result == Z_OK) {
        const size_t left = file->count - z->total_in, want = count - done;

        z->next_in = file->bytes + z->total_in;
        z->avail_in = left > 1u << 30 ? 1u << 30 : (uInt)left;
        z->next_out = to + done;
        z->avail_out = want > 1u << 30 ? 1u << 30 : (uInt)want;
        result = inflate(z, Z_NO_FLUSH);
        done = (size_t)(z->next_out - to);
    }
    return done == count && result == Z_BUF_ERROR ? Z_OK : result;
}

static fb_status gunzip(uint8_t **out, size_t *out_count, z_stream *z, const fb__file *file,
                        const char *path, fb_error *err)
{
    uint8_t head[IDX_HEADER_MAX], beyond;
    fb__idx idx;
    fb_status status;
    int result;
    size_t head_count;

    *out = NULL;
    result = inflate_bytes(z, file, head, sizeof head);
    head_count = z->total_out;
    if (result != Z_OK && result != Z_STREAM_END)
        return gzip_fail(z, path, err, result == Z_BUF_ERROR ? "ends early" : "is damaged");
    status = fb__idx_header(&idx, head, head_count, path, err);
    if (status != FB_OK)
        return status;
    *out_count = idx.offset + idx.count;
    if (*out_count / DEFLATE_RATIO_MAX > file->count)
        return fb__fail(err, FB_E_DATA, 4, "%s: the header claims more than the file can hold",
                        path);
    if (*out_count < head_count)
        return fb__fail(err, FB_E_DATA, 4, "%s: more data than the header says", path);

    *out = malloc(*out_count + 1);
    if (*out == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: no memory for %zu bytes", path,
                        *out_count);
    memcpy(*out, head, head_count);
    if (result == Z_OK)
        result = inflate_bytes(z, file, *out + head_count, *out_count - head_count);
    if (result == Z_OK) /* reads the check at the end, and finds what should not be there */
        result = inflate_bytes(z, file, &beyond, 1);
    if (z->total_out > *out_count)
        return gzip_fail(z, path, err, "holds more data than the IDX header says");
    if (result != Z_STREAM_END)
        return gzip_fail(z, path, err, result == Z_BUF_ERROR ? "ends early" : "is damaged");
    if (z->total_out < *out_count)
        return gzip_fail(z, path, err, "holds less data than the IDX header says");
    if (z->total_in != file->count)
        return gzip_fail(z, path, err, "is followed by further bytes");
    return FB_OK;
}

fb_status fb__file_gunzip_idx(fb__file *file, const char *path, fb_error *err)
{
    z_stream z = {0};
    uint8_t *bytes = NULL;
    size_t count = 0;
    fb_status status;

    if (file->count < 2 || file->bytes[0] != 0x1f || file->bytes[1] != 0x8b)
        return FB_OK;
    if (inflateInit2(&z, 15 + 16) != Z_OK) /* largest window; 16: gzip wrapper only */
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    status = gunzip(&bytes, &count, &z, file, path, err);
    (void)inflateEnd(&z);
    if (status != FB_OK) {
        free(bytes);
        return status;
    }
    free(file->bytes);
    file->bytes = bytes;
    file->count = count;
    return FB_OK;
}

/* --- Images and labels ------------------------------------------------------------------------ */

static void copy_image(const fb_dataset *dataset, uint64_t at, void *input, void *target)
{
    const uint8_t *bytes = dataset->inputs + at * dataset->input_count;
    const int32_t label = dataset->targets[at];
    float *x = input;

    for (uint64_t i = 0; i < dataset->input_count; i++)
        x[i] = dataset->pixel_of[bytes[i]];
    memcpy(target, &label, sizeof label);
}

static fb_status open_idx(fb__idx *out, fb__file *file, const char *path, fb_error *err)
{
    fb_status status = fb__file_gunzip_idx(file, path, err);

    if (status == FB_OK)
        status = fb__idx_header(out, file->bytes, file->count, path, err);
    if (status == FB_OK && file->count != out->offset + out->count)
        status = fb__fail(err, FB_E_DATA, file->count,
                          "%s: the header counts %zu elements, %zu bytes follow", path, out->count,
                          file->count - out->offset);
    return status;
}

/* The image's shape: [n,H,W] gains a channel, [n,D] and [n,C,H,W] stay. */
static void image_shape(fb_dataset *dataset, const fb__idx *images)
{
    fb_dataset_info *info = &dataset->info;
    uint32_t rank = 0;

    if (images->rank == 3)
        info->input_shape[rank++] = 1;
    for (uint32_t i = 1; i < images->rank; i++)
        info->input_shape[rank++] = images->shape[i];
    info->input_rank = rank;
    info->input_dtype = FB_DTYPE_F32;
    info->target_dtype = FB_DTYPE_I32;
    info->target_rank = 0;
    dataset->input_count = images->count / images->shape[0];
    dataset->target_count = 1;
}

fb_status fb__data_open_idx(fb_dataset *dataset, const fb_data_config *config, fb_error *err)
{
    const float mean = (float)config->mean, std = (float)config->std;
    fb__idx images, labels;
    fb_status status = open_idx(&images, &dataset->contents[0], config->path, err);

    if (status == FB_OK)
        status = open_idx(&labels, &dataset->contents[1], config->labels, err);
    if (status != FB_OK)
        return status;
    if (images.rank < 2)
        return fb__fail(err, FB_E_DATA, 3, "%s: rank 1, expected images of rank 2 to 4",
                        config->path);
    if (labels.rank != 1)
        return fb__fail(err, FB_E_DATA, 3, "%s: rank %u, expected labels of rank 1", config->labels,
                        (unsigned)labels.rank);
    if (images.shape[0] != labels.shape[0])
        return fb__fail(err, FB_E_DATA, 4, "%s: %llu labels for %llu images", config->labels,
                        (unsigned long long)labels.shape[0], (unsigned long long)images.shape[0]);

    dataset->inputs = dataset->contents[0].bytes + images.offset;
    dataset->targets = dataset->contents[1].bytes + labels.offset;
    for (size_t i = 0; i < labels.count; i++)
        if (dataset->targets[i] != config->ignore_index &&
            dataset->targets[i] >= dataset->info.classes)
            dataset->info.classes = dataset->targets[i] + 1u;
    if (dataset->info.classes == 0)
        return fb__fail(err, FB_E_DATA, labels.offset, "%s: every label is ignored (%lld)",
                        config->labels, (long long)config->ignore_index);
    for (int byte = 0; byte < 256; byte++)
        dataset->pixel_of[byte] = ((float)byte / 255.0f - mean) / std;
    image_shape(dataset, &images);
    dataset->copy = copy_image;
    return fb__data_split(dataset, config, images.shape[0], 1, 1, err);
}
