/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_ref.c - probe.inc in ref.
 */
#define PROBE_ISA ref

#include "kernels/vec_ref.h"
#include "tests/kernels/probe.inc"
