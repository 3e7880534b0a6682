/* SPDX-License-Identifier: Apache-2.0
 *
 * export_sqlite.h - a trace as an SQLite database. Schema: docs/export.md.
 */
#ifndef FB_CLI_EXPORT_SQLITE_H
#define FB_CLI_EXPORT_SQLITE_H

#include "cli/args.h"
#include "firstbit/trace.h"

/* Writes the trace into a new database file `path` in one transaction. Returns 0, or CLI_TROUBLE
 * after a line on stderr: also where this build has no SQLite. */
int cli_export_sqlite(const cli_args *args, fb_trace *t, const char *path);

#endif
