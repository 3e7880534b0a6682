/* SPDX-License-Identifier: Apache-2.0
 *
 * linked.h - the parts of a run that lie beside its main trace: run.child1.fbt, run.rank1.fbt,
 * run.worker0.fbt beside run.fbt, each naming the main trace's id as "parent" in its header; and
 * one file that holds them all. Rules: docs/trace-format.md, "Linked files".
 */
#ifndef FB_TRACER_READ_LINKED_H
#define FB_TRACER_READ_LINKED_H

#include "firstbit/trace.h"

enum {
    FB_LINKED_MAX = 256,        /* parts of one run */
    FB_LINKED_LOOKED_MAX = 4096 /* files of a folder that are looked into */
};

typedef struct fb_linked_part {
    char name[256]; /* of the file, without folder */
    char role[64];  /* "child1": as its header says, else as its name does; a word */
    bool inside;    /* of a packed trace: it is not opened, and what follows but `bytes` is zero */
    uint64_t bytes, events;
    fb_hash id;
    fb_trace_status status;
} fb_linked_part;

typedef struct fb_linked {
    fb_linked_part *parts; /* by name, numbers in it as numbers */
    size_t count;
    bool more; /* a limit was reached: there may be others */
} fb_linked;

/* The parts of the open trace `main`, which was opened as `path`. A file that is no trace, or of
 * another run, is passed over. FB_E_MEMORY; FB_E_IO where the folder cannot be read. */
FB_NODISCARD fb_status fb_linked_find(fb_linked *out, const fb_trace *main, const char *path,
                                      fb_error *err);

/* The parts inside a packed trace; none in any other. FB_E_CORRUPT, FB_E_MEMORY. */
FB_NODISCARD fb_status fb_packed_find(fb_linked *out, fb_trace *packed, fb_error *err);

/* Those inside where it is packed, else those beside it: what a command goes through after `main`.
 * As the two above. */
FB_NODISCARD fb_status fb_linked_parts(fb_linked *out, fb_trace *main, const char *path,
                                       fb_error *err);

/* What fb_trace_open takes for a part of the run at `main`: "FOLDER/run.child1.fbt" of one beside
 * it, "FOLDER/packed.fbt/run.child1.fbt" of one inside. malloc'd; NULL when memory is out. */
char *fb_linked_path(const fb_linked_part *part, const char *main);

/* Bytes of a file's name without ".fbt"; replaces what is no letter, digit or . _ - + by '?'.
 * Private to tracer. */
size_t fb__linked_stem(const char *name);
void fb__make_word(char *text);

void fb_linked_free(fb_linked *linked);

#endif
