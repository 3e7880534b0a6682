/* SPDX-License-Identifier: Apache-2.0
 *
 * proof.h - whether the first difference is rounding, from the contents of what the operation was
 * computed from: a proof, where sketches only estimate. docs/diff.md, "Proof from contents".
 */
#ifndef FB_DIFF_ROUNDING_PROOF_H
#define FB_DIFF_ROUNDING_PROOF_H

#include "diff/diff.h"
#include "diff/rounding/evaluation.h"

/* Fills report->proof where both traces have the contents of the first difference, and one of them
 * those of its inputs; and report->window_..., what to record for it. Nothing where the
 * operation is not one of evaluation.h. Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__proof_find(fb_diff_report *report, fb_trace *a, fb_trace *b,
                                      fb_error *err);

/* Judges the results a and b of an operation whose operands are known. */
void fb__proof_judge(fb_diff_proof *out, fb__operation *o, const double *a, const double *b);

/* One line for people: "" where there is no proof. */
void fb__proof_text(char *out, size_t size, const fb_diff_proof *proof);

/* Adds the member "proof": an object, or null. */
void fb__proof_json(cJSON *object, const fb_diff_proof *proof);

#endif
