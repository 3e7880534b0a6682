/* SPDX-License-Identifier: Apache-2.0
 *
 * machine.h - the options that say how a run computes: --threads, --isa and --kernels. Shared by
 * every subcommand that trains or replays; under contract 1 none of them changes a bit.
 */
#ifndef FB_CLI_MACHINE_H
#define FB_CLI_MACHINE_H

#include "cli/args.h"
#include "kernels/kernels.h"

/* Rows for the option table of such a command. */
#define CLI_THREADS_OPTION                                                                         \
    {                                                                                              \
        "threads", 0, "N", "compute with N threads (default: one a processor)", false              \
    }
#define CLI_ISA_OPTION                                                                             \
    {                                                                                              \
        "isa", 0, "NAME",                                                                          \
            "instruction set: ref, avx2, avx512 or neon\n(default: the fastest here)", false       \
    }
#define CLI_KERNELS_OPTION                                                                         \
    {                                                                                              \
        "kernels", 0, "TABLE", "ordered, or openblas, which promises no bits\n(default: ordered)", \
            false                                                                                  \
    }

/* *out: 0 for "as many as there are processors". */
int cli_threads(const cli_args *args, unsigned *out);

/* The table that --isa asks for, or without it the environment variable FIRSTBIT_ISA; NULL for "the
 * fastest here". Returns 0, or CLI_TROUBLE after a line that tells an unknown name from an
 * instruction set that this machine lacks. */
int cli_isa(const cli_args *args, const fb_kernels **out);

/* The table that --isa and --kernels ask for together; never NULL. */
int cli_kernels(const cli_args *args, unsigned threads, const fb_kernels **out);

#endif
