/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_avx2.c - probe.inc in avx2.
 */
#define PROBE_ISA avx2

#include "kernels/vec_avx2.h"
#include "tests/kernels/probe.inc"
