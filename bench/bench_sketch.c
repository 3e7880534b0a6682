/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_sketch.c - what a sketch costs beside the tensor hash alone, for tensors in and out of
 * cache, one thread.
 *
 * usage: bench_sketch [--json]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/sketch.h"

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Nanoseconds a byte: the best of several rounds of some 50 ms. */
static double measure(int with_sketch, const float *x, size_t bytes)
{
    double best = 1e9;

    for (int round = 0; round < 7; round++) {
        const size_t times = ((size_t)64 << 20) / bytes + 1;
        const double start = now();
        uint64_t sink = 0;

        for (size_t i = 0; i < times; i++) {
            fb_sketch sketch;

            sink += with_sketch
                        ? fb_tensor_sketch(&sketch, NULL, NULL, FB_DTYPE_F32, x, bytes, NULL).lo
                        : fb_tensor_hash(NULL, FB_DTYPE_F32, x, bytes, NULL).lo;
        }
        const double ns = (now() - start) * 1e9 / ((double)times * (double)bytes);
        if (sink != 1 && ns < best)
            best = ns;
    }
    return best;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {1536, 65536, 1 << 20, 8 << 20, 64 << 20};
    const int json = argc > 1 && strcmp(argv[1], "--json") == 0;
    float *x = malloc((size_t)64 << 20);

    if (x == NULL)
        return 2;
    for (size_t i = 0; i < (size_t)16 << 20; i++)
        x[i] = (float)(i * 2654435761u % 1000003) * 1e-6f - 0.5f;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const double hash = measure(0, x, sizes[i]), sketch = measure(1, x, sizes[i]);

        if (json)
            (void)printf("{\"bench\":\"sketch\",\"case\":\"%zu bytes\",\"this\":%.4f,"
                         "\"peer\":%.4f,\"peer_name\":\"tensor hash alone\",\"unit\":\"ns/byte\","
                         "\"ratio\":%.3f}\n",
                         sizes[i], sketch, hash, hash / sketch);
        else
            (void)printf("%9zu bytes   hash %.4f ns/byte   hash and sketch %.4f ns/byte\n",
                         sizes[i], hash, sketch);
    }
    free(x);
    return 0;
}
