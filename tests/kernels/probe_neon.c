/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_neon.c - probe.inc in neon.
 */
#define PROBE_ISA neon

#include "kernels/vec_neon.h"
#include "tests/kernels/probe.inc"
