/* SPDX-License-Identifier: Apache-2.0
 *
 * args.h - the arguments of a subcommand, checked against its table of options.
 *
 * "--opt VALUE" and "--opt=VALUE" are the same, so are "-o FILE" and "-oFILE"; options and
 * positional arguments mix; "--" ends the options. Whatever is wrong gets one line on stderr.
 */
#ifndef FB_CLI_ARGS_H
#define FB_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/command.h"

typedef struct cli_given {
    const cli_option *option;
    const char *value; /* NULL for a switch */
} cli_given;

typedef struct cli_args {
    const cli_command *command;
    const char **positional;
    size_t positional_count;
    size_t positional_options; /* how many of them stood before "--"; all, where there was none */
    cli_given *given;          /* in the order of the command line */
    size_t given_count;
    bool help; /* --help or -h was there: nothing else was checked */
} cli_args;

/* Parses what follows the subcommand's name. Returns 0, or CLI_TROUBLE after a line on stderr.
 * argv is borrowed. Free with cli_args_free in either case. */
int cli_args_parse(cli_args *out, const cli_command *command, int argc, char **argv);
void cli_args_free(cli_args *args);

/* Whether an option of the table was given. A name that is not in the table is a bug (asserted). */
bool cli_has(const cli_args *args, const char *option);

/* The value of an option, the last one where it was repeated; NULL where it was not given. */
const char *cli_value(const cli_args *args, const char *option);

/* Goes through the values of a repeatable option in order: start with *at = 0; NULL at the end. */
const char *cli_next_value(const cli_args *args, const char *option, size_t *at);

/* The three below leave *out alone where the option was not given, and return 0, or CLI_TROUBLE
 * after a line on stderr that says what was expected. */

/* A decimal integer from min to max. */
int cli_number(const cli_args *args, const char *option, uint64_t min, uint64_t max, uint64_t *out);

/* "N" or "N:M", inclusive, N <= M; "N" alone sets both. */
int cli_range(const cli_args *args, const char *option, uint64_t *first, uint64_t *last);

/* One of `count` words; *out is its index. */
int cli_choice(const cli_args *args, const char *option, const char *const *words, size_t count,
               size_t *out);

/* The word of a list most like `word`, or NULL where none is close: for "did you mean". */
const char *cli_suggest(const char *word, const char *const *list, size_t count);

#endif
