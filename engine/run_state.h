/* SPDX-License-Identifier: Apache-2.0
 *
 * run_state.h - what a training run holds. Shared by the files run*.c, optimizer.c, checkpoint.c.
 */
#ifndef FB_ENGINE_RUN_STATE_H
#define FB_ENGINE_RUN_STATE_H

#include "base/pool.h"
#include "engine/formulas.h"
#include "engine/model.h"
#include "engine/report.h"
#include "engine/run.h"
#include "engine/schedule.h"
#include "engine/streams.h"

enum {
    FB__GRAD_LEVELS = 64, /* buffers of the micro-batch tree: log2 of the leaves, and one */
    FB__STATES = 2,       /* optimizer states of a parameter, at most */
};

/* The whole batch of a step, read at its start: the loss divides by the targets of all of it. */
typedef struct fb__batch {
    size_t samples;     /* of the batch */
    size_t input_bytes; /* of one sample */
    size_t input_count, target_count, target_bytes;
    uint8_t *inputs;   /* [samples, input] as the dataset gives them */
    uint8_t *targets;  /* [samples, target] as the dataset gives them */
    int32_t *classes;  /* [samples, target]: ignored ones are -1 (cross-entropy) */
    uint64_t *indices; /* [samples] */
    uint64_t counted;  /* targets that count (cross-entropy), elements (mean squared error) */
} fb__batch;

/* The shuffled order of the training samples. */
typedef struct fb__order {
    uint64_t *indices; /* [samples of role train] */
    uint64_t count;
    uint64_t batches; /* whole batches of an epoch */
    uint64_t epoch;   /* that `indices` is of; UINT64_MAX before the first */
    size_t stream;
} fb__order;

/* The loss: what comes after the last op. */
typedef struct fb__loss {
    bool cross_entropy;
    int64_t ignore_index;
    size_t rows;              /* of one sample */
    size_t cols;              /* classes, or elements of a row */
    float *losses;            /* [B, rows] */
    float *row_max, *row_sum; /* [B, rows], saved by cross-entropy */
    double *parts;            /* sum of each micro-batch */
    uint64_t storage;
    uint32_t version;
    uint32_t count_site, rows_site, sum_site, step_site;
} fb__loss;

/* One optimizer state of every parameter: a vector laid out as the parameters. */
typedef struct fb__state_kind {
    const char *slot; /* "exp_avg" */
    float *vector;
    uint64_t first_storage; /* of parameter 0; parameter i has first_storage + i */
    uint32_t version;
    uint32_t first_site, first_load_site; /* of parameter 0, likewise */
} fb__state_kind;

typedef struct fb__optimizer {
    const char *name; /* "adamw": path of its scalars, op of its updates */
    fb__state_kind states[FB__STATES];
    size_t state_count;
    double beta_power[2]; /* beta^t by repeated multiplication */
    double *squares;      /* room for one sum a parameter */
    uint32_t norm_site, coefficient_site, lr_site, beta_site[2];
} fb__optimizer;

extern const fb__formulas fb__formulas_default;

/* A planted fault with the names resolved. */
typedef struct fb__planted {
    fb_fault fault;
    const fb__value *value; /* flip of out or grad */
    const fb__param *param; /* flip of a weight gradient or parameter */
    bool loss;              /* flip of the losses of a micro-batch */
    size_t stream;          /* draw */
    uint32_t draw_site;
} fb__planted;

typedef struct fb__evaluation {
    fb_role role;
    uint64_t chunks; /* micro-batches of one evaluation */
    double *parts;   /* loss sum of each */
    float loss;
    double accuracy;
    uint32_t mode_site, sample_site, out_site, sum_site, loss_site, accuracy_site;
} fb__evaluation;

struct fb_run {
    const fb_config *config;
    fb_pool *pool;
    const fb_kernels *kernels;
    unsigned threads;
    fb_dataset *dataset;
    const fb_dataset_info *data;
    fb_streams *streams;
    uint64_t *stream_shift; /* by stream: extra draws of this step */
    char *header;
    char *folder, *checkpoint_folder; /* NULL where none was given */
    char *weights_path;               /* where it was found; NULL: parameters are drawn */
    fb_hash weights_hash;
    uint64_t weights_bytes;

    fb__model model;
    fb__report report;
    fb__formulas formulas;
    fb__override_state override;
    fb__schedule schedule;
    fb__order order;
    fb__batch batch;
    fb__loss loss;
    fb__optimizer optimizer;
    fb__evaluation eval;

    size_t micros;
    fb_hash *hashes;                   /* room for one a parameter */
    float *vector;                     /* all parameters */
    float *gradients[FB__GRAD_LEVELS]; /* stack of subtrees of the micro-batch tree */
    unsigned gradient_levels[FB__GRAD_LEVELS];
    size_t gradient_count;

    fb__planted *planted;
    size_t planted_count;
    uint64_t noise; /* state of the noise's generator; 0: there is none */

    bool begun;
    uint64_t step;
    float step_loss;

    uint32_t seed_site, shuffle_site, mode_site, sample_site, checkpoint_site, resume_site,
        end_site;
};

/* --- Sites (run_sites.c) ---------------------------------------------------------------------- */

/* Makes the sites of all events of the run. FB_E_MEMORY, FB_E_LIMIT. */
FB_NODISCARD fb_status fb__run_make_sites(fb_run *run, fb_error *err);

/* --- Data (run_data.c) ------------------------------------------------------------------------ */

/* Checks that the data fits the batch and the loss. FB_E_DATA, FB_E_SHAPE, FB_E_CONFIG. */
FB_NODISCARD fb_status fb__run_check_data(fb_run *run, fb_error *err);
/* Once memory is placed: every target is a class of the model's. FB_E_DATA. */
FB_NODISCARD fb_status fb__run_check_targets(fb_run *run, fb_error *err);
void fb__batch_place(fb_run *run, fb__layout *layout);
/* The order of the epoch that holds `step`; reports the draw when the epoch begins with it. */
void fb__order_load(fb_run *run, uint64_t step);
/* Reads the batch of a step and reports its samples. */
void fb__batch_read(fb_run *run, uint64_t step);
/* Reads samples first .. first+count-1 of a role in their order, to the front of the batch. */
void fb__batch_read_in_order(fb_run *run, fb_role role, uint64_t first, size_t count);
/* Reports the samples of one micro-batch. */
void fb__batch_report(fb_run *run, uint32_t site, int32_t micro, size_t first, size_t count,
                      uint64_t epoch);

/* --- Forward, loss, backward (run_passes.c) --------------------------------------------------- */

/* A pass over `batch` samples, from sample `first` of the batch that was read. */
fb__pass fb__pass_of(fb_run *run, size_t first, size_t batch, bool train);
void fb__loss_place(fb_run *run, fb__layout *layout);
void fb__forward(fb_run *run, const fb__pass *pass, int32_t micro);
/* Sum of the losses of the rows of one pass. */
double fb__loss_forward(fb_run *run, const fb__pass *pass, int32_t micro);
/* All micro-batches: leaves the joined gradients in the parameters and the loss in run->step_loss.
 */
void fb__train_passes(fb_run *run);

/* --- Optimizer (optimizer.c) ------------------------------------------------------------------ */

void fb__optimizer_create(fb_run *run);
void fb__optimizer_place(fb_run *run, fb__layout *layout);
void fb__optimizer_step(fb_run *run, uint64_t step);

/* --- Evaluation (run_eval.c) ------------------------------------------------------------------ */

FB_NODISCARD fb_status fb__eval_create(fb_run *run, fb_error *err);
void fb__eval_place(fb_run *run, fb__layout *layout);
void fb__evaluate(fb_run *run);

/* --- Beginning (run_begin.c) ------------------------------------------------------------------ */

/* Checks config->weights against the parameters, without reading values. */
FB_NODISCARD fb_status fb__weights_check(fb_run *run, fb_error *err);

/* --- Checkpoints (checkpoint.c) --------------------------------------------------------------- */

FB_NODISCARD fb_status fb__checkpoint_write(fb_run *run, fb_error *err);

/* --- Faults (run_faults.c) -------------------------------------------------------------------- */

FB_NODISCARD fb_status fb__faults_plant(fb_run *run, const fb_fault *faults, size_t count,
                                        fb_error *err);
/* Sites of the extra draws. */
void fb__faults_make_sites(fb_run *run);
/* At the start of a step: extra draws. */
void fb__faults_draw(fb_run *run, uint64_t step);
/* Exchanges samples of the batch, before they are read. */
void fb__faults_swap(fb_run *run, uint64_t step);
/* Right after a tensor was computed; slot: "out", "grad", "param". */
void fb__faults_flip_value(fb_run *run, const fb__value *value, const char *slot, int32_t micro,
                           float *data);
void fb__faults_flip_param(fb_run *run, const fb__param *param, const char *slot, int32_t micro,
                           float *data);
void fb__faults_flip_losses(fb_run *run, int32_t micro);

/* --- Last-bit noise (run_noise.c) --------------------------------------------------------------
 */

/* Moves each number by up to one unit in the last place, where the run was asked for noise. */
void fb__noise_add(fb_run *run, float *data, size_t count);

/* --- Overrides (override.c) ------------------------------------------------------------------ */

/* Puts the formulas of an override into the run, whose memory is placed. FB_E_USAGE where the run
 * has nothing that it changes, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__override_install(fb_run *run, const fb_override_use *use, fb_error *err);
void fb__override_free(fb_run *run);
/* Whether the override of this run is for the layer or parameter `path`, or for all. */
bool fb__override_is_for(const fb_run *run, const char *path);

/* --- Together --------------------------------------------------------------------------------- */

/* The header of run.h; FB_E_MEMORY. */
FB_NODISCARD fb_status fb__run_make_header(fb_run *run, fb_error *err);

/* Hands the observer's failure, if there is one, to the caller. */
FB_NODISCARD fb_status fb__run_observer_status(fb_run *run, fb_error *err);

#endif
