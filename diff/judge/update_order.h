/* SPDX-License-Identifier: Apache-2.0
 *
 * update_order.h - two optimizers that make their updates in the other order.
 *
 * A step of a recorded program ends with the update of the optimizer that stepped first; that of
 * another one behind it stands in the next step. Where the two step in the other order, gradients
 * and updates stand in other steps, though each of them is the same.
 */
#ifndef FB_DIFF_JUDGE_UPDATE_ORDER_H
#define FB_DIFF_JUDGE_UPDATE_ORDER_H

#include "firstbit/trace.h"

/*
 * Whether from step `from` to the ends of both traces all that counts is the same, but that
 * gradients, updates and settings of optimizers stand one step earlier in one of them: equal sites,
 * as often, with equal contents. What an event is made from is not compared: it is made from
 * events that are.
 *
 * Memory is bounded: false where a step has more than 65,536 different events. Errors of the
 * readers, FB_E_MEMORY.
 */
FB_NODISCARD fb_status fb__is_other_update_order(bool *out, fb_trace *a, fb_trace *b, uint64_t from,
                                                 fb_error *err);

#endif
