/* SPDX-License-Identifier: Apache-2.0
 *
 * export_sqlite.h - a trace as an SQLite database. Schema: docs/export.md.
 */
#ifndef FB_CLI_EXPORT_SQLITE_H
#define FB_CLI_EXPORT_SQLITE_H

#include "cli/args.h"
#include "cli/processes.h"

/* Writes the traces of a run into a new database file `path` in one transaction. Returns 0, or
 * CLI_TROUBLE after a line on stderr: also where this build has no SQLite. */
int cli_export_sqlite(const cli_args *args, const cli_processes *processes, const char *path);

#endif
