/* SPDX-License-Identifier: Apache-2.0
 *
 * run_files.h - the files that a run reads: weights and checkpoints, found and checked.
 */
#ifndef FB_ENGINE_RUN_FILES_H
#define FB_ENGINE_RUN_FILES_H

#include "engine/run_state.h"
#include "engine/files/safetensors.h"

/* A path that exists: `path` itself, else folder/path where folder is not NULL. malloc'd.
 * FB_E_NOT_FOUND, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__find_file(char **out, const char *path, const char *folder,
                                     fb_error *err);

/* The tensor `name` of a file, with the dtype and shape of a parameter. FB_E_DATA, FB_E_SHAPE. */
FB_NODISCARD fb_status fb__tensor_of_param(const fb_safetensor **out, const fb_safetensors *file,
                                           const char *name, const fb__param *param,
                                           const char *file_name, fb_error *err);

/* Copies a checked tensor to a parameter and reports it as loaded. */
void fb__load_param(fb_run *run, fb__param *param, const fb_safetensor *tensor);

#endif
