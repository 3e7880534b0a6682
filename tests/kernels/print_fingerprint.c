/* SPDX-License-Identifier: Apache-2.0
 *
 * print_fingerprint.c - the fingerprint of every table of this build, one a line; for builds.sh.
 */
#include <stdio.h>

#include "base/hash.h"
#include "kernels/kernels.h"

int main(void)
{
    char hex[FB_HASH_HEX_BYTES];
    fb_pool *pool;
    fb_error err;

    for (unsigned threads = 1; threads <= 3; threads += 2) {
        if (fb_pool_create(&pool, threads, &err) != FB_OK) {
            fprintf(stderr, "print_fingerprint: %s\n", err.text);
            return 2;
        }
        for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
            const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);

            if (kernels != NULL)
                printf("%s %u %s\n", kernels->name, threads,
                       fb_hash_hex(hex, fb_kernels_fingerprint(kernels, pool)));
        }
        fb_pool_destroy(pool);
    }
    return 0;
}
