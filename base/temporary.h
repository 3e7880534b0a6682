/* SPDX-License-Identifier: Apache-2.0
 *
 * temporary.h - files under a temporary name, which a killed program leaves behind: the next one
 * that writes the same file takes them away; and folders for what is not to stay.
 *
 * A name is PATH + before + digits "." digits + after: "step-3.safetensors.tmp4711.0". Its writer
 * holds a lock on the file (flock(2)), which ends with the process however that ends, in whatever
 * container it runs; so what is locked, and what is younger than a minute, is left alone.
 */
#ifndef FB_BASE_TEMPORARY_H
#define FB_BASE_TEMPORARY_H

#include <stdbool.h>

enum {
    FB_TEMPORARY_AGE = 60,          /* seconds: between making a file and locking it */
    FB_TEMPORARY_FOLDER_BYTES = 512 /* of the name of a folder, with its final zero */
};

/* Says that the open file is being written. Failure is no failure: it is a courtesy to sweepers. */
void fb__temporary_hold(int descriptor);

/* Removes what is left of writes to `path` that nobody goes on with. Removes nothing where in
 * doubt, and never fails. */
void fb__temporary_sweep(const char *path, const char *before, const char *after);

/* Makes an empty folder of the caller's own in TMPDIR, else in /tmp. False: errno says why, and
 * `folder` holds the pattern of the name that was tried. */
bool fb__temporary_folder(char folder[FB_TEMPORARY_FOLDER_BYTES]);

#endif
