/* SPDX-License-Identifier: Apache-2.0
 *
 * environment.h - what a trace says about the machine and the program that made it: no host, no
 * user, no absolute path. Private to tracer.
 */
#ifndef FB_TRACER_RECORD_ENVIRONMENT_H
#define FB_TRACER_RECORD_ENVIRONMENT_H

#include <cjson/cJSON.h>

/* A new JSON object, see docs/trace-format.md, "Header document". NULL when memory is out. */
cJSON *fb__environment(void);

#endif
