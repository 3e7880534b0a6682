/* SPDX-License-Identifier: Apache-2.0
 *
 * window.h - what convolution and pooling share: a window that slides over samples [C,H,W].
 */
#ifndef FB_ENGINE_LAYERS_WINDOW_H
#define FB_ENGINE_LAYERS_WINDOW_H

#include "engine/model.h"

/* Fills all but batch from the layer and the input's shape; out_channels is in_channels. FB_E_SHAPE
 * when the input is not [C,H,W] or the window does not fit it. */
FB_NODISCARD fb_status fb__window_shape(fb_conv2d *out, const fb_layer_config *layer,
                                        const fb__shape *in, fb_error *err);

#endif
