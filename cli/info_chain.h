/* SPDX-License-Identifier: Apache-2.0
 *
 * info_chain.h - what info says of the traces that a resumed run goes on from.
 */
#ifndef FB_CLI_INFO_CHAIN_H
#define FB_CLI_INFO_CHAIN_H

#include <cJSON.h>

#include "replay/trace_chain.h"

/* Prints one line for each file of a chain, oldest first, the first behind `label`, which is padded
 * to `width`; nothing for a run that began by itself. */
void cli_info_chain_print(const fb_trace_chain *chain, const char *label, int width);

/* Adds "chain": an array of objects, oldest first; of one for a run that began by itself. */
void cli_info_chain_json(cJSON *object, const fb_trace_chain *chain);

#endif
