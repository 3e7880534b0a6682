/* SPDX-License-Identifier: Apache-2.0
 *
 * contents.h - everything that a trace discloses, for firstbit info --contents. Rules:
 * docs/privacy.md.
 */
#ifndef FB_CLI_CONTENTS_H
#define FB_CLI_CONTENTS_H

#include "cli/args.h"
#include "firstbit/trace.h"

/* Reads all of the trace and prints what is in it, as text or with --json as one object. Returns an
 * exit status. */
int cli_contents(const cli_args *args, fb_trace *t);

#endif
