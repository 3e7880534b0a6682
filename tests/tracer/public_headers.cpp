/* SPDX-License-Identifier: Apache-2.0
 *
 * public_headers.cpp - the public headers compile as C++, each of them first.
 */
#include "firstbit/recorder.h"
#include "firstbit/trace.h"

int main()
{
    return fb_status_text(FB_OK) == nullptr || fb_level_of("ops") != FB_LEVEL_OPS;
}
