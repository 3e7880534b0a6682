/* SPDX-License-Identifier: Apache-2.0
 *
 * machine.c - reads --threads, --isa and --kernels.
 */
#include "cli/machine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/pool.h"
#include "cli/output.h"

int cli_threads(const cli_args *args, unsigned *out)
{
    uint64_t threads = 0;
    const int failed = cli_number(args, "threads", 1, FB_POOL_THREADS_MAX, &threads);

    *out = (unsigned)threads;
    return failed;
}

int cli_isa(const cli_args *args, const fb_kernels **out)
{
#define NAME(id, text) text,
    static const char *const names[FB_ISA_COUNT] = {FB_ISA_LIST(NAME)};
#undef NAME
    const char *environment = getenv("FIRSTBIT_ISA");
    size_t isa = 0;

    *out = NULL;
    if (cli_value(args, "isa") == NULL) {
        if (environment == NULL || environment[0] == '\0')
            return 0;
        *out = fb_kernels_named(environment);
        if (*out == NULL)
            return cli_fail(args, "FIRSTBIT_ISA: this machine or build has no %s", environment);
        return 0;
    }
    if (cli_choice(args, "isa", names, FB_ISA_COUNT, &isa) != 0)
        return CLI_TROUBLE;
    *out = fb_kernels_for((fb_isa)isa);
    if (*out == NULL)
        return cli_fail(args, "--isa: this machine or build has no %s", names[isa]);
    return 0;
}

int cli_kernels(const cli_args *args, unsigned threads, const fb_kernels **out)
{
    static const char *const tables[] = {"ordered", "openblas"};
    const fb_kernels *ordered = NULL;
    size_t table = 0;
    fb_error err;

    if (cli_isa(args, &ordered) != 0 || cli_choice(args, "kernels", tables, 2, &table) != 0)
        return CLI_TROUBLE;
    if (ordered == NULL)
        ordered = fb_kernels_best();
    *out = ordered;
    if (table == 0)
        return 0;

    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (threads == 0)
        threads = processors > 0 ? (unsigned)processors : 1;
    if (fb_kernels_openblas(out, ordered, threads, &err) != FB_OK)
        return cli_fail_error(args, &err);
    return 0;
}
