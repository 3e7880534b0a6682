/* SPDX-License-Identifier: Apache-2.0
 *
 * data_file.h - a data file, read whole, and what the readers of its formats share. For data*.c and
 * npy.c only.
 *
 * Files are read, not mapped: what was hashed and checked is what is trained on, even when
 * somebody writes to the file meanwhile, and a file that shrinks is an error and no SIGBUS.
 */
#ifndef FB_ENGINE_DATA_DATA_FILE_H
#define FB_ENGINE_DATA_DATA_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/config/config.h"
#include "engine/data/data.h"
#include "firstbit/event.h"
#include "firstbit/status.h"

typedef struct fb__file {
    uint8_t *bytes; /* owned; aligned for any type */
    size_t count;
    fb_hash hash;
} fb__file;

/* Reads a regular file. A relative path that does not exist is looked for in `folder` too, when
 * that is not NULL. FB_E_NOT_FOUND, FB_E_IO, FB_E_MEMORY; messages name `path`. */
FB_NODISCARD fb_status fb__file_read(fb__file *out, const char *path, const char *folder,
                                     fb_error *err);
void fb__file_free(fb__file *file);

/* Replaces gzip contents by what they decompress to, of which the IDX header in front tells the
 * size; other contents stay. The hash stays that of the file. */
FB_NODISCARD fb_status fb__file_gunzip_idx(fb__file *file, const char *path, fb_error *err);

/* A parsed IDX header: unsigned bytes in `rank` dimensions, `offset` bytes into the contents. */
typedef struct fb__idx {
    uint32_t rank;
    uint64_t shape[4];
    size_t offset, count; /* count: elements */
} fb__idx;

/* Reads a header from the first `count` bytes. FB_E_DATA. The size of the contents is not checked:
 * compare out->offset + out->count. */
FB_NODISCARD fb_status fb__idx_header(fb__idx *out, const uint8_t *bytes, size_t count,
                                      const char *path, fb_error *err);

/* A parsed .npy file. */
typedef struct fb__npy {
    fb_dtype dtype; /* F32, I32, I64 or U8 */
    uint32_t rank;
    uint64_t shape[FB_RANK_MAX];
    const uint8_t *data; /* in the contents */
    size_t count;        /* elements */
} fb__npy;

/* Reads .npy version 1 or 2: little-endian f4, i4, i8 or u1 in C order. Data must fill the file to
 * its end. FB_E_DATA. */
FB_NODISCARD fb_status fb__npy_read(fb__npy *out, const fb__file *file, const char *path,
                                    fb_error *err);

/* --- A dataset -------------------------------------------------------------------------------- */

struct fb_dataset {
    fb_dataset_info info;
    fb_data_file files[2];
    fb__file contents[2];
    char *text; /* owns paths and name */

    /* Copies the sample that starts at item `at`: a token of a sequence, else a sample. */
    void (*copy)(const fb_dataset *dataset, uint64_t at, void *input, void *target);
    uint64_t first[4]; /* first item of each role, by fb_role */
    uint64_t stride;   /* items from sample to sample */

    uint64_t context;       /* text, tokens: T */
    uint32_t token_of[256]; /* text: byte -> token */
    float pixel_of[256];    /* idx: byte -> input */

    const uint8_t *inputs, *targets; /* elements in contents */
    fb_dtype input_stored, target_stored;
    uint64_t input_count, target_count; /* elements of one sample */
};

/* Shares `items` out to the roles at floor(f·n). A sample takes `needs` items of its part and
 * moves on by `stride`. FB_E_DATA where a role with a share gets no sample. */
FB_NODISCARD fb_status fb__data_split(fb_dataset *dataset, const fb_data_config *config,
                                      uint64_t items, uint64_t needs, uint64_t stride,
                                      fb_error *err);

/* Readers of each format: contents are there, all the rest of `dataset` is to be filled. */
FB_NODISCARD fb_status fb__data_open_text(fb_dataset *dataset, const fb_data_config *config,
                                          fb_error *err);
FB_NODISCARD fb_status fb__data_open_tokens(fb_dataset *dataset, const fb_data_config *config,
                                            fb_error *err);
FB_NODISCARD fb_status fb__data_open_idx(fb_dataset *dataset, const fb_data_config *config,
                                         fb_error *err);
FB_NODISCARD fb_status fb__data_open_npy(fb_dataset *dataset, const fb_data_config *config,
                                         fb_error *err);

#endif
