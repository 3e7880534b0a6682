/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_avx512.c - probe.inc in avx512.
 */
#define PROBE_ISA avx512

#include "kernels/vec_avx512.h"
#include "tests/kernels/probe.inc"
