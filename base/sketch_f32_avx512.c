/* SPDX-License-Identifier: Apache-2.0
 *
 * sketch_f32_avx512.c - the sketch of float32 elements on processors with AVX-512.
 */
#define SKETCH_F32 fb__sketch_f32_avx512
#include "base/sketch_f32_avx512.inc"
