/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_files.c - inputs as files, in memory, since the readers read files.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "firstbit/recorder.h"

void fuzz_expect(bool holds, const char *claim)
{
    if (holds)
        return;
    fprintf(stderr, "this does not hold: %s\n", claim);
    abort();
}

const char *fuzz_file(int number, const void *bytes, size_t count)
{
    static int descriptor[2] = {-1, -1};
    static char path[2][32];
    int *d = &descriptor[number];

    if (*d < 0) {
        *d = memfd_create("fuzz", 0);
        fuzz_expect(*d >= 0, "there is memory for a file");
        (void)snprintf(path[number], sizeof path[number], "/proc/self/fd/%d", *d);
    }
    fuzz_expect(ftruncate(*d, 0) == 0 && pwrite(*d, bytes, count, 0) == (ssize_t)count,
                "a file in memory can be written");
    return path[number];
}

static char folder[64];

static void remove_folder(void)
{
    DIR *files = opendir(folder);

    for (const struct dirent *file; files != NULL && (file = readdir(files)) != NULL;)
        if (file->d_name[0] != '.')
            (void)unlinkat(dirfd(files), file->d_name, 0);
    if (files != NULL)
        (void)closedir(files);
    (void)rmdir(folder);
}

const char *fuzz_folder(void)
{
    if (folder[0] == '\0') {
        (void)snprintf(folder, sizeof folder, "%s/fb-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        fuzz_expect(mkdtemp(folder) != NULL, "there is room for a folder");
        (void)atexit(remove_folder);
    }
    return folder;
}

void fuzz_write(const char *path, const void *bytes, size_t count)
{
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    fuzz_expect(descriptor >= 0 && write(descriptor, bytes, count) == (ssize_t)count &&
                    close(descriptor) == 0,
                "a file of the folder can be written");
}

static void record_step(fb_recorder *r, uint64_t step)
{
    const uint64_t shape[2] = {2, 2}, indices[3] = {step, 7, 9};
    const float data[4] = {1, 2, 3, (float)step};
    fb_ref inputs[2];

    fb_recorder_step(r, step);
    inputs[0] = fb_recorder_sample(r, "text", FB_ROLE_TRAIN, 0, indices, 3, indices, 24);
    inputs[1] = fb_recorder_draw(r, FB_PHASE_FORWARD, "drop", "philox4x32-10", step << 32, 0, 4,
                                 "bernoulli", "drop", FB_DTYPE_F32, NULL);
    for (int micro = 0; micro < 2; micro++) {
        fb_recorder_micro(r, micro);
        inputs[0] = fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                       FB_DTYPE_F32, 2, shape, data, inputs, 2);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "out", FB_DTYPE_F32, 1.5);
    }
    fb_recorder_micro(r, FB_MICRO_NONE);
    (void)fb_recorder_tensor(r, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "fc.weight", "sgd", "param",
                             FB_DTYPE_F32, 2, shape, data, inputs, 1);
    fb_recorder_mark(r, "note");
}

size_t fuzz_make_trace(uint8_t out[FUZZ_TRACE_MAX], fb_level level)
{
    const fb_recorder_options options = {.size = sizeof options, .level = level};
    char path[96];
    fb_recorder *r;
    int descriptor;
    ssize_t count;

    (void)snprintf(path, sizeof path, "%s/made.fbt", fuzz_folder());
    fuzz_expect(fb_recorder_open(&r, path, &options, NULL) == FB_OK, "a trace can be recorded");
    for (uint64_t step = 1; step <= 3; step++)
        record_step(r, step);
    fuzz_expect(fb_recorder_close(r, NULL) == FB_OK, "a trace can be closed");
    descriptor = open(path, O_RDONLY);
    count = read(descriptor, out, FUZZ_TRACE_MAX);
    fuzz_expect(count > 0 && close(descriptor) == 0 && unlink(path) == 0, "it can be read");
    return (size_t)count;
}
