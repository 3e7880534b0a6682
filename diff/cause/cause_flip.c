/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_flip.c - causes that a repeat of the run shows: a flipped bit, a run that is not
 * reproducible.
 */
#include "diff/cause/causes.h"

/* Signature: one run's replay reproduces its trace at the event, the other's reproduces everything
 * before the event but not the event; and one flipped bit of what the replay gives has exactly the
 * recorded hash (128 bits: no accident). That is the confirmation too. */
bool fb__rule_bit_flip(fb_diff_cause *out, const fb__case *c)
{
    const fb__side_value *a = &c->values->a, *b = &c->values->b;
    const bool in_a = a->flipped && b->reproduced, in_b = b->flipped && a->reproduced;
    const char *side = in_a ? "a" : "b";

    if (!in_a && !in_b)
        return false;
    out->confirmed = true;
    fb__say(out, "one bit of one element differs, inputs equal; not reproduced on replay of %s",
            side);
    fb__say_fix(out, "suspect memory or hardware of run %s; run it again", side);
    return true;
}

static bool is_numeric(fb_kind kind)
{
    return kind == FB_KIND_TENSOR || kind == FB_KIND_PARAM || kind == FB_KIND_SCALAR;
}

/* Signature: a replay that follows its own trace up to the event gives another result there. The
 * replay is the repeat that confirms it. */
bool fb__rule_nondeterminism(fb_diff_cause *out, const fb__case *c)
{
    const bool a = c->values->a.replayed && !c->values->a.reproduced;
    const bool b = c->values->b.replayed && !c->values->b.reproduced;

    if ((!a && !b) || !is_numeric(c->report->first.name.kind))
        return false;
    out->confirmed = true;
    fb__say(out,
            "a repeat differs here: replay of %s gives other bits than its trace, and no single "
            "flipped bit explains it",
            a && b ? "a and of b"
            : a    ? "a"
                   : "b");
    fb__say_fix(out, "run it again; if the bits change from run to run, suspect hardware, a race, "
                     "or kernels that promise no order");
    return true;
}
