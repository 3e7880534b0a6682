/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.h - planted faults, the way to test replay and diff and to show what they do. A fault is no
 * configuration: nothing in the trace says that it was asked for.
 */
#ifndef FB_ENGINE_FAULT_H
#define FB_ENGINE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "firstbit/status.h"

typedef enum fb_fault_kind { FB_FAULT_FLIP, FB_FAULT_DRAW, FB_FAULT_SWAP } fb_fault_kind;

typedef struct fb_fault {
    fb_fault_kind kind;
    uint64_t step;
    char path[256];   /* flip: layer or parameter path, as `show` prints it */
    char slot[32];    /* flip: "out", "grad" or "param" */
    int64_t micro;    /* flip: which micro-batch; default 0 */
    uint64_t element; /* flip: index in the tensor */
    uint32_t bit;     /* flip: 0 (lowest) to 31 */
    char stream[256]; /* draw: extra numbers are taken from this stream at the start of the step */
    uint64_t count;   /* draw: how many; 0: one */
    bool silent;      /* draw: without an event, as a program draws that nobody records */
    uint64_t i, j;    /* swap: samples of the batch exchanged */
} fb_fault;

/* Reads "flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2[,micro=M]",
 * "draw:step=5,stream=NAME[,count=N][,silent=1]" or "swap:step=4,i=0,j=1". FB_E_USAGE names the
 * part that is wrong. That a path, slot, element, stream or sample exists is checked by
 * fb_run_create. */
FB_NODISCARD fb_status fb_fault_parse(fb_fault *out, const char *spec, fb_error *err);

#endif
