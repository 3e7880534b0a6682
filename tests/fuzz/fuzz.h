/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz.h - what fuzz targets share. A target defines LLVMFuzzerTestOneInput; libFuzzer drives it
 * (scripts/fuzz.sh), or drive.c, which needs no libFuzzer.
 */
#ifndef FB_TESTS_FUZZ_H
#define FB_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where a checksum would stop the fuzzer: changes an input and makes its checks right again. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* The fuzzer's own changes, which know nothing of formats. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

/* A file in memory; its path stays the same from call to call. number: 0 or 1. */
const char *fuzz_file(int number, const void *bytes, size_t count);

/* A folder in memory, removed at the end of the program. */
const char *fuzz_folder(void);

/* Writes a file of the folder. */
void fuzz_write(const char *path, const void *bytes, size_t count);

/* A claim that must hold whatever the input is. */
void fuzz_expect(bool holds, const char *claim);

/* fuzz_sign.c: makes the ids, offsets and checks right of whatever looks like part of a trace or of
 * a tail file; sizes and counts stay as they are. */
void fuzz_sign_trace(uint8_t *data, size_t size);
void fuzz_sign_tail(uint8_t *data, size_t size, const uint8_t id[16]);

/* A small trace, the same every time but for its id: for tests that need a second one. */
enum { FUZZ_TRACE_MAX = 1 << 16 };
size_t fuzz_make_trace(uint8_t out[FUZZ_TRACE_MAX], fb_level level);

#endif
