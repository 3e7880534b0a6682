/* SPDX-License-Identifier: Apache-2.0
 *
 * environment.c - collects the environment of a recording.
 */
#include "tracer/environment.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "base/fpenv.h"

cJSON *fb__environment(void)
{
    cJSON *o = cJSON_CreateObject();
    char text[64];

    if (o == NULL)
        return NULL;
    (void)snprintf(text, sizeof text, "0x%08x", fb_fpenv_get());
    (void)cJSON_AddStringToObject(o, "fpcr", text);
    return o;
}
