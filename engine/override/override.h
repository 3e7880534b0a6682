/* SPDX-License-Identifier: Apache-2.0
 *
 * override.h - formulas that a run can use in place of its own: the mistakes that programs make,
 * each with a name. They are there to be tried by a diff, and planted to test it. Like a fault an
 * override is no configuration: nothing in the trace says that it was asked for. Text for users:
 * docs/diff.md, "Overrides".
 */
#ifndef FB_ENGINE_OVERRIDE_OVERRIDE_H
#define FB_ENGINE_OVERRIDE_OVERRIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"

struct fb__formulas;

/* One entry of the bank; static. */
typedef struct fb_override {
    const char *name;  /* "adam-eps-inside-root" */
    const char *cause; /* of docs/diff.md, "Causes": what a diff calls it */
    const char *words; /* what is done instead, after "run b: " */
    uint32_t phases;   /* bits 1u << FB_PHASE_...: where a run with it can first part from one
                        * without */
    bool takes_path;   /* NAME@PATH restricts it to one layer */
    bool takes_number; /* NAME=NUMBER */
    bool history;      /* needs what happened before: a checkpoint does not hold it */
    const struct fb__formulas *formulas; /* its entries replace the run's; NULL ones do not */
    const void *variant;                 /* what these formulas read */
} fb_override;

/* An override as one run uses it. */
typedef struct fb_override_use {
    const fb_override *what;
    char path[256];  /* "": everywhere */
    uint64_t number; /* of NAME=NUMBER, else 0 */
} fb_override_use;

size_t fb_override_count(void);
const fb_override *fb_override_at(size_t index); /* index < fb_override_count() */

/* Reads "NAME", "NAME=NUMBER", "NAME@PATH". FB_E_USAGE names what is wrong. That the run has what
 * the override changes is checked by fb_run_create. */
FB_NODISCARD fb_status fb_override_parse(fb_override_use *out, const char *spec, fb_error *err);

#endif
