/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint_folder.h - the checkpoints that a run left in its folder.
 */
#ifndef FB_REPLAY_CHECKPOINT_FOLDER_H
#define FB_REPLAY_CHECKPOINT_FOLDER_H

#include "firstbit/status.h"

/*
 * The checkpoint of the latest step in a folder, by the names that runs give; half-written files
 * have other ones.
 *
 *   out  malloc'd path
 *
 * FB_E_NOT_FOUND   no folder, or none in it
 * FB_E_IO, FB_E_MEMORY
 */
FB_NODISCARD fb_status fb_newest_checkpoint(char **out, const char *folder, fb_error *err);

#endif
