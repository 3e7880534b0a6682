/* SPDX-License-Identifier: Apache-2.0
 *
 * make_corpus.c - writes the seeds of the fuzz targets: usage: make_corpus FOLDER
 *
 * FOLDER/trace gets a whole trace, the same with plain chunks (so that changes reach what lies
 * behind the codec) and a torn one, and two with sketches and contents; FOLDER/tail a tail of a few
 * rows; FOLDER/safetensors one file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

#include "engine/files/safetensors.h"
#include "firstbit/recorder.h"
#include "tests/fuzz/fuzz.h"
#include "tracer/format/format.h"
#include "tracer/format/tail.h"

static void save(const char *folder, const char *name, const void *bytes, size_t count)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    fuzz_write(path, bytes, count);
}

/* The trace again, its chunks not compressed. Returns its size. */
static size_t make_plain(uint8_t *out, const uint8_t *trace, size_t count)
{
    size_t from, to;
    uint64_t span;
    fb_hash id;

    memcpy(&id, trace + 40, sizeof id);
    memcpy(&span, trace + 64, sizeof span);
    memcpy(out, trace, (size_t)span);
    for (from = to = (size_t)span; from < count;) {
        fb_chunk_header h;
        const char *why;
        const uint8_t *body = trace + from + FB_CHUNK_HEADER_BYTES;
        uint8_t *at = out + to + FB_CHUNK_HEADER_BYTES;

        fuzz_expect(fb__get_chunk_header(&h, trace + from, id, from, &why), "a chunk is sound");
        from += (size_t)fb__align_up(fb__chunk_bytes(&h));
        memcpy(at, body, h.steps_bytes);
        if (h.codec == FB_CODEC_ZSTD) {
            fuzz_expect(ZSTD_decompress(at + h.steps_bytes, h.packed_raw, body + h.steps_bytes,
                                        h.packed_stored) == h.packed_raw,
                        "a chunk can be unpacked");
        } else {
            memcpy(at + h.steps_bytes, body + h.steps_bytes, h.packed_stored);
        }
        memcpy(at + h.steps_bytes + h.packed_raw, body + h.steps_bytes + h.packed_stored,
               h.hash_bytes);
        h.codec = FB_CODEC_NONE;
        h.packed_stored = h.packed_raw;
        h.offset = to;
        fb__put_chunk_header(out + to, &h);
        to += (size_t)fb__align_up(fb__chunk_bytes(&h));
    }
    fuzz_sign_trace(out, to);
    return to;
}

/* A header that says nothing of this machine. */
static void replace_header(uint8_t *trace)
{
    static const char json[] = "{\"configuration\":{\"seed\":1},\"files\":[],\"seed\":1}";
    const uint64_t bytes = sizeof json - 1;

    memset(trace + FB_HEADER_BYTES, 0, FB_FORMAT_ALIGN - FB_HEADER_BYTES);
    memcpy(trace + FB_HEADER_BYTES, json, sizeof json - 1);
    memcpy(trace + 56, &bytes, sizeof bytes);
    fuzz_sign_trace(trace, FB_FORMAT_ALIGN);
}

/* What a program leaves that is killed, in halves of 4 KiB. */
static size_t make_tail(uint8_t *out, const char *folder)
{
    enum { HALF = 4096 };
    static uint8_t tail[FB_TAIL_HEAD_BYTES + 2 * FB_TAIL_HALF_MAX];
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    const uint64_t shape[1] = {2};
    const float data[2] = {1, 2};
    char path[512];
    fb_recorder *r;
    int descriptor;

    (void)snprintf(path, sizeof path, "%s/made.fbt", folder);
    fuzz_expect(fb_recorder_open(&r, path, &options, NULL) == FB_OK, "a trace can be recorded");
    for (uint64_t step = 1; step <= 3; step++) {
        fb_recorder_step(r, step);
        (void)fb_recorder_sample(r, "text", FB_ROLE_TRAIN, 0, &step, 1, data, sizeof data);
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                 FB_DTYPE_F32, 1, shape, data, NULL, 0);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "out", FB_DTYPE_F32, 0.5);
        fb_recorder_mark(r, "note");
    }
    (void)strcat(path, "-tail");
    descriptor = open(path, O_RDONLY);
    fuzz_expect(read(descriptor, tail, sizeof tail) == (ssize_t)sizeof tail &&
                    close(descriptor) == 0,
                "a tail can be read");
    (void)fb_recorder_close(r, NULL);
    memset(out, 0, FB_TAIL_HEAD_BYTES + 2 * HALF);
    memcpy(out + FB_TAIL_HEAD_BYTES, tail + FB_TAIL_HEAD_BYTES, HALF);
    const uint64_t half = HALF;
    memcpy(out + 24, &half, sizeof half);
    const fb_hash id = {1, 2};
    fuzz_sign_tail(out, FB_TAIL_HEAD_BYTES + 2 * HALF, (const uint8_t *)&id);
    return FB_TAIL_HEAD_BYTES + 2 * HALF;
}

int main(int argc, char **argv)
{
    static uint8_t trace[FUZZ_TRACE_MAX], made[8 * FUZZ_TRACE_MAX];
    const float values[6] = {1, 2, 3, 4, 5, 6};
    const fb_safetensor tensors[2] = {
        {.name = "a",
         .dtype = FB_DTYPE_F32,
         .rank = 2,
         .shape = {2, 2},
         .data = values,
         .bytes = 16},
        {.name = "b", .dtype = FB_DTYPE_F32, .rank = 1, .shape = {2}, .data = values, .bytes = 8}};
    const char *key = "step", *value = "3";
    char path[256];
    size_t count;

    if (argc != 2)
        return 2;
    count = fuzz_make_trace(trace, FB_LEVEL_VALUES);
    replace_header(trace);
    save(argv[1], "trace/values", trace, count);
    save(argv[1], "trace/plain_values", made, make_plain(made, trace, count));
    count = fuzz_make_trace(trace, FB_LEVEL_OPS);
    replace_header(trace);
    save(argv[1], "trace/whole", trace, count);
    save(argv[1], "trace/torn", trace, count - FB_FORMAT_ALIGN);
    save(argv[1], "trace/plain", made, make_plain(made, trace, count));
    save(argv[1], "tail/rows", made, make_tail(made, fuzz_folder()));
    (void)snprintf(path, sizeof path, "%s/safetensors/two", argv[1]);
    return fb_safetensors_write(path, tensors, 2, &key, &value, 1, NULL, NULL) == FB_OK ? 0 : 1;
}
