/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_recover.c - any file recovered: what comes out is whole, or there is nothing.
 */
#include <stdio.h>
#include <unistd.h>

#include "firstbit/trace.h"
#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 8 != 0)
        fuzz_sign_trace(data, size);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(0, data, size);
    fb_trace_info info;
    fb_recovered dropped;
    char to[96];
    fb_trace *t;
    fb_error err;

    (void)snprintf(to, sizeof to, "%s/out.fbt", fuzz_folder());
    if (fb_trace_recover(&dropped, path, to, NULL, NULL, &err) != FB_OK) {
        fuzz_expect(access(to, F_OK) != 0, "a failed recovery leaves no file");
        return 0;
    }
    fuzz_expect(fb_trace_open(&t, to, NULL) == FB_OK, "a recovered trace opens");
    fuzz_expect(fb_trace_verify(&info, t, NULL, NULL, NULL) == FB_OK &&
                    info.status == FB_TRACE_COMPLETE,
                "a recovered trace is complete");
    fb_trace_close(t);
    fuzz_expect(unlink(to) == 0, "it can be removed");
    return 0;
}
