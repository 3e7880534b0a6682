/* SPDX-License-Identifier: Apache-2.0
 *
 * command.h - what a subcommand is. Each lives in one file, cli/cmd_NAME.c, which holds its
 * options, its help and its run function, and defines one fb_command named cli_NAME:
 *
 *     static const cli_option options[] = {
 *         {"threads", 0, "N", "how many threads compute; changes no bit", false},
 *         {"json", 0, NULL, "one JSON object on stdout", false},
 *         {0},
 *     };
 *     const cli_command cli_replay = {
 *         .name = "replay",
 *         .summary = "run a recorded run again and check every event",
 *         .synopsis = "RUN.fbt [--threads N] [--json]",
 *         .options = options, .positional_min = 1, .positional_max = 1,
 *         .details = "Stops at the first event that differs ...\n",
 *         .run = run,
 *     };
 *
 * To add one: write the file, add its name to FIRSTBIT_COMMANDS in cli/CMakeLists.txt.
 */
#ifndef FB_CLI_COMMAND_H
#define FB_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct cli_args;

/* Exit status, as diff(1). */
enum {
    CLI_SAME = 0,      /* same, verified, done */
    CLI_DIFFERENT = 1, /* different, diverged, torn */
    CLI_TROUBLE = 2,   /* bad usage, unreadable, corrupt */
    CLI_UNDECIDABLE = 3
};

typedef struct cli_option {
    const char *name;  /* without dashes: "threads" for --threads; NULL ends a list */
    char letter;       /* 'o' for -o, or 0 */
    const char *value; /* what help calls its value: "N"; NULL for a switch without one */
    const char *help;  /* one line, lower case, no full stop; '\n' starts a further line */
    bool repeatable;   /* may be given more than once */
} cli_option;

typedef struct cli_command {
    const char *name;
    const char *summary;       /* one line for the list of commands */
    const char *synopsis;      /* what follows "firstbit NAME" in a usage line, in one line: the
                                * printer breaks it */
    const cli_option *options; /* ends with an all-zero row; --help is added by itself */
    size_t positional_min, positional_max;
    const char *details; /* text after the options: what it does, exit status, examples; ends with
                          * '\n'; at most 80 columns; may be NULL */

    /* Does the work and returns an exit status. stdout is flushed and checked by the caller. */
    int (*run)(const struct cli_args *args);
} cli_command;

/* What --help prints. */
void cli_print_help(FILE *out, const cli_command *command);

#endif
