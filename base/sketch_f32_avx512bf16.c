/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch_f32_avx512bf16.c - the sketch of float32 elements on processors that round to bfloat16.
 */
#define SKETCH_F32 fb__sketch_f32_avx512bf16
#include "base/sketch_f32_avx512.inc"
