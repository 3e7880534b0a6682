/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_safetensors.c - any file as safetensors: every tensor lies within it.
 */
#include "engine/files/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(0, data, size);
    fb_safetensors *file;
    volatile uint8_t sum = 0;

    if (fb_safetensors_open(&file, path, NULL) != FB_OK)
        return 0;
    for (size_t i = 0; i < fb_safetensors_count(file); i++) {
        const fb_safetensor *tensor = fb_safetensors_at(file, i);
        const uint8_t *bytes = tensor->data;

        for (size_t k = 0; k < tensor->bytes; k += 1 + tensor->bytes / 64)
            sum = (uint8_t)(sum + bytes[k]);
        if (tensor->bytes > 0)
            sum = (uint8_t)(sum + bytes[tensor->bytes - 1]);
        fuzz_expect(fb_safetensors_find(file, tensor->name) == tensor, "names are unique");
    }
    (void)fb_safetensors_metadata(file, "step");
    fb_safetensors_close(file);
    return 0;
}
