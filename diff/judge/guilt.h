/* SPDX-License-Identifier: Apache-2.0
 *
 * guilt.h - which differences of an aligned step reach training state, and which are only notes.
 *
 * Training state: samples, draws that move their generator, losses, gradients, parameters, the
 * optimizer, what is carried from step to step (carried.h), and whatever is computed otherwise from
 * equal inputs. An event that one side lacks
 * counts where something of that reads it, through as many others as there are. What nobody reads,
 * what is read and changes nothing, and numbers that entered from outside and reach nothing (a
 * clock) do not count.
 */
#ifndef FB_DIFF_JUDGE_GUILT_H
#define FB_DIFF_JUDGE_GUILT_H

#include "diff/align/align.h"
#include "diff/judge/draw_streams.h"
#include "diff/read/step_events.h"

enum {
    FB__DIFFERS = 1,   /* an event that differs or that the other side lacks */
    FB__COUNTS = 2,    /* it reaches training state */
    FB__SOURCE = 4,    /* nothing recorded made it, nor what it is made from */
    FB__OUTSIDE = 8,   /* as that, and what entered there differs */
    FB__CONSTANT = 16, /* the other side lacks it and all that it is made from: a mask, a range */
    FB__RESET = 32,    /* a call of zero_grad that the other side lacks: see judge.c */
    FB__READ = 64,     /* another event of the step is made from it */
    FB__PASSING = 128, /* differs by numbers of a generator that is put back behind them */
    FB__MODEL = 256,   /* what a module, a draw, a gradient or a parameter gave went into it */
};

typedef struct fb__guilt {
    const fb__step_pair *pair;
    fb__key_index in_a, in_b;
    fb__draw_streams streams;
    uint16_t *a, *b; /* bits as above of each event */
    bool trailing;   /* behind the last update of both runs */
    bool told_equal; /* what the step tells of losses and updates is equal in numbers */
    bool has_model;  /* both sides have modules or gradients in the step */
} fb__guilt;

/* What events of one step read of the steps before it: identities. */
typedef struct fb__earlier {
    fb_hash *keys;
    size_t count;
    bool alone; /* what one side alone made is wanted too */
} fb__earlier;

/* wanted: what a later step has read, which counts where it differs; NULL: nothing. FB_E_MEMORY.
 * Free it in either case. */
FB_NODISCARD fb_status fb__guilt_find(fb__guilt *out, const fb__step_pair *pair,
                                      const fb__earlier *wanted, fb_error *err);
void fb__guilt_free(fb__guilt *guilt);

#endif
