/* SPDX-License-Identifier: Apache-2.0
 *
 * compare.h - fails a CMocka test where two tables give different bits for a case.
 */
#ifndef FB_TEST_COMPARE_H
#define FB_TEST_COMPARE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/kernels/cases.h"

/* One pool of each size, made on first use, for the length of a test program. */
static inline fb_pool *pool_of(unsigned threads)
{
    static fb_pool *pools[8];

    assert_true(threads < 8);
    if (pools[threads] == NULL)
        assert_int_equal(fb_pool_create(&pools[threads], threads, NULL), FB_OK);
    return pools[threads];
}

static inline void check_guards(const outputs *out, const kernel_case *c, const char *name)
{
    char text[256];

    if (out->damaged != NULL)
        fail_msg("%s: %s: wrote %s", name, case_text(text, c), out->damaged);
}

/* kernels, on so many threads, gives the bits of `want`. */
static inline void check_case(const kernel_case *c, const outputs *want, const char *want_name,
                              const fb_kernels *kernels, unsigned threads)
{
    outputs got = {0};
    char text[256];
    size_t at;

    run_case(&got, c, kernels, pool_of(threads));
    check_guards(&got, c, kernels->name);
    at = first_difference(want, &got);
    if (at != SIZE_MAX)
        fail_msg("%s on %u threads differs from %s in output %zu of %zu: %a, not %a: %s",
                 kernels->name, threads, want_name, at, want->count, (double)got.values[at],
                 (double)want->values[at], case_text(text, c));
    free_outputs(&got);
}

#endif
