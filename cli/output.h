/* SPDX-License-Identifier: Apache-2.0
 *
 * output.h - what a subcommand says: results on stdout, trouble and progress on stderr.
 */
#ifndef FB_CLI_OUTPUT_H
#define FB_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cJSON.h>

#include "cli/args.h"
#include "firstbit/event.h"
#include "firstbit/status.h"

/* --- Trouble: one line on stderr ---------------------------------------------------------------
 */

/* Prints "firstbit COMMAND: text" (escaped for a terminal) and returns CLI_TROUBLE:
 *     return cli_fail(args, "%s: expected a folder", path); */
int cli_fail(const cli_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with the text of a failed library call. */
int cli_fail_error(const cli_args *args, const fb_error *err);

/* --- Text --------------------------------------------------------------------------------------
 */

/* Copies text so that a terminal shows it and does nothing else: control characters, C1 controls,
 * direction overrides and broken UTF-8 become \xNN. Cut where `size` is too small. Returns out. */
const char *cli_escape(char *out, size_t size, const char *text);

/* Prints text escaped as above. NULL prints nothing. */
void cli_put(FILE *out, const char *text);

/* 18204 -> "18,204"; returns out. */
const char *cli_count(char out[32], uint64_t n);

/* 3145728 -> "3.1 MB"; returns out. */
const char *cli_bytes(char out[32], uint64_t n);

/* 32 lower-case hex digits; returns out. */
const char *cli_hash(char out[33], fb_hash hash);

/* --- JSON --------------------------------------------------------------------------------------
 *
 * Every object starts as cli_json_object(): {"schema": 1}. Steps, counts and sizes are numbers;
 * values that use all 64 bits (seeds, keys, counters) are strings; unknown is null.
 */
cJSON *cli_json_object(void);
void cli_json_count(cJSON *object, const char *key, uint64_t n);
void cli_json_u64(cJSON *object, const char *key, uint64_t n); /* "18446744073709551615" */
void cli_json_real(cJSON *object, const char *key, double x);  /* "nan", "inf", "-inf" as strings */
void cli_json_text(cJSON *object, const char *key, const char *text); /* NULL: null */
void cli_json_hash(cJSON *object, const char *key, fb_hash hash);
void cli_json_bits(cJSON *object, const char *key, float x); /* "0x3f8ccccd" */

/* Prints the object as one line on stdout and frees it. Returns 0, or CLI_TROUBLE where memory is
 * out. */
int cli_json_print(const cli_args *args, cJSON *object);

/* --- Progress: one line on stderr, rewritten in place, on a terminal only -----------------------
 *
 *     cli_progress progress = cli_progress_start();
 *     ... if (cli_progress_due(&progress)) cli_progress_show(&progress, "step %d", t); ...
 *     cli_progress_end(&progress);   before anything else is printed
 */
typedef struct cli_progress {
    bool on;      /* stderr is a terminal */
    bool visible; /* a line is there to be erased */
    struct timespec start, last;
    char left[32]; /* of cli_progress_left */
} cli_progress;

cli_progress cli_progress_start(void);
bool cli_progress_due(cli_progress *progress); /* at most ten times a second; false in a pipe */
void cli_progress_show(cli_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cli_progress_end(cli_progress *progress);
double cli_progress_seconds(const cli_progress *progress); /* since the start */

/* ", 3 min left", or "" while it is too early to say. Lives until the next call for `progress`. */
const char *cli_progress_left(cli_progress *progress, uint64_t done, uint64_t total);

/* For calls that tell their progress in bytes: argument is a cli_progress. */
void cli_progress_bytes(void *argument, uint64_t done, uint64_t total);

/* --- Ctrl-C ------------------------------------------------------------------------------------
 */

/* From now on the first SIGINT or SIGTERM only makes cli_interrupted() true, so that a loop can
 * stop between two steps and leave whole files; a second one ends the process as usual. When `run`
 * returns after a signal, the process ends by that signal, whatever run returned. */
void cli_catch_interrupts(void);
bool cli_interrupted(void);
int cli_interrupt_signal(void); /* the signal's number, or 0 */

/* A write beyond a limit of file sizes fails from now on, as one to a full disk does, and does not
 * end the process. A program that we become gets back what we were started with. */
void cli_survive_limits(void);
void cli_restore_limits(void);

#endif
