/* SPDX-License-Identifier: Apache-2.0
 *
 * formulas.h - the table of formulas of a run, and what an override puts into it. The engine calls
 * an entry once a tensor or a step, never in an inner loop; where it is NULL the engine's own code,
 * beside the call, is the formula.
 */
#ifndef FB_ENGINE_FORMULAS_H
#define FB_ENGINE_FORMULAS_H

#include "engine/model.h"
#include "engine/override/override.h"
#include "engine/run.h"

typedef struct fb__formulas {
    /* Never NULL in a run. */
    double (*learning_rate)(fb_run *run, uint64_t step);
    double (*clip_coefficient)(const fb_run *run, double norm);
    double (*mean_loss)(const fb_run *run, double sum, uint64_t counted);

    /* NULL: as the engine does it. */
    bool (*applies)(const fb_run *run);                /* whether the run has what is changed */
    void (*initialize)(fb_run *run, fb__param *param); /* after it was drawn, before its event */
    void (*load_state)(fb_run *run, float *state, size_t count); /* from a checkpoint, likewise */
    void (*resume)(fb_run *run);                                 /* a checkpoint was loaded */
    void (*choose)(fb_run *run, uint64_t step); /* batch.indices, once they stand */
    void (*targets)(fb_run *run, size_t count); /* batch.classes of `count` samples, likewise */
    bool (*trains)(const fb_run *run);          /* what the mode of a training step says */
    bool (*drops)(const fb_run *run);           /* whether dropout is at work in it */
    uint64_t (*stream_step)(const fb_run *run, uint64_t step); /* that dropout draws with */
    void (*forward)(fb_run *run, const fb__op *op, const fb__pass *pass);
    void (*backward)(fb_run *run, const fb__op *op, const fb__pass *pass);
    uint64_t (*loss_divisor)(const fb_run *run, const fb__pass *pass); /* of the gradient */
    void (*begin_passes)(fb_run *run); /* gradients[0] is what the last step left */
    void (*end_pass)(fb_run *run, size_t micro, float *leaf);
    void (*end_passes)(fb_run *run); /* the joined gradients stand in gradients[0] */
    double (*norm)(fb_run *run);     /* of all gradients */
    bool (*clip)(fb_run *run, fb__param *param, double coefficient); /* false: left alone */
    void (*begin_update)(fb_run *run, uint64_t step);                /* beta powers stand */
    void (*update)(fb_run *run, const fb__param *param, double lr, uint64_t step);
} fb__formulas;

/* What an override of a run needs beside its entry. */
typedef struct fb__override_state {
    fb_override_use use; /* use.what NULL: none */
    float *kept[2];      /* vectors like that of all parameters, zeros at first */
    uint64_t *order;     /* room for a permutation of the training samples */
    uint64_t resumed;    /* step of the checkpoint that the run goes on from */
    bool dropped;        /* for formulas that remember one thing */
} fb__override_state;

/* The tables of the families; each ends with an entry without a name. */
extern const fb_override fb__overrides_adam[], fb__overrides_sgd[], fb__overrides_step[],
    fb__overrides_passes[], fb__overrides_ops[], fb__overrides_data[];

/* x with a lower precision's significand, to nearest even: bfloat16, or float16 with its range. */
float fb__round_bf16(float x);
float fb__round_f16(float x);

#endif
