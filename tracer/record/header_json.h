/* SPDX-License-Identifier: Apache-2.0
 *
 * header_json.h - the JSON document of a trace header. Private to tracer.
 */
#ifndef FB_TRACER_RECORD_HEADER_JSON_H
#define FB_TRACER_RECORD_HEADER_JSON_H

#include "firstbit/status.h"

/* The caller's object (text, or NULL for an empty one) with the environment added, malloc'd.
 * Members of the caller's own "environment" stay. recording: the member of that name, JSON text;
 * NULL: the caller's, if there is one. FB_E_USAGE where it is no JSON object, FB_E_LIMIT
 * where the header would be too long, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__header_json(char **out, const char *object, const char *recording,
                                       fb_error *err);

#endif
