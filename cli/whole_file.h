/* SPDX-License-Identifier: Apache-2.0
 *
 * whole_file.h - a file of text that is whole or not there.
 */
#ifndef FB_CLI_WHOLE_FILE_H
#define FB_CLI_WHOLE_FILE_H

#include "cli/args.h"

/* Writes the text under a temporary name beside `path`, syncs and renames it; what is no regular
 * file (a device, a pipe) is written in place. Returns 0, or CLI_TROUBLE after one line on stderr;
 * then an older file of that name is as it was. */
int cli_write_whole(const cli_args *args, const char *path, const char *text);

#endif
