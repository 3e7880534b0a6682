/* SPDX-License-Identifier: Apache-2.0
 *
 * family.h - the processes of one recorded program: what they are told of each other, and the main
 * trace that links theirs where the program's first process records nothing itself.
 */
#ifndef FB_CLI_FAMILY_H
#define FB_CLI_FAMILY_H

#include "base/hash.h"
#include "cli/args.h"

/* The folder is where Python processes announce themselves (recorders/python/firstbit/_follow.py):
 * a file "ROLE@..." for each that runs, "ROLE#N" for each that records. */
typedef struct cli_family {
    char folder[64]; /* "" where there is none */
    fb_hash id;      /* of the main trace */
} cli_family;

/* Makes the folder and an id, and sets the environment that leads to them. False, with errno, where
 * that is not possible. */
bool cli_family_begin(cli_family *out);

/* Takes the folder away. Where traces were begun, and not `*recorded` the main one, that is written
 * here, without events and with the program's arguments, so that the others are found: *recorded is
 * true then. */
void cli_family_end(cli_family *family, const cli_args *args, const char *trace, bool *recorded);

#endif
