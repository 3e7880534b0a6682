/* SPDX-License-Identifier: Apache-2.0
 *
 * test_gradients.c - the loss and every gradient of one training step, against central differences
 * of an independent model in float64 (reference_model.h).
 *
 * Tolerance: float32 rounds each of the ~20 steps from a parameter to the loss and back by 2^-24,
 * relative to operands that cancel by at most some hundred; 1e-4 of the largest gradient of the
 * tensor is above that. The difference quotient with h = 1e-5 errs by h²f'''/6 and 2^-52/h, below
 * 1e-9. A wrong factor, index, mask or missing term moves gradients by far more.
 */
#include <math.h>

#include "base/bytes.h"
#include "reference_model.h"
#include "engine/files/safetensors.h"
#include "run_fixture.h"

/* --- The batch that the engine saw ------------------------------------------------------------ */

typedef struct seen {
    event_log log;
    uint64_t indices[64];
    size_t count;
} seen;

static fb_status see_event(void *self, const fb_event *event, fb_error *err)
{
    seen *s = self;

    if (event->indices != NULL)
        for (uint64_t i = 0; i < event->count; i++)
            s->indices[s->count++] = event->indices[i];
    return log_event(&s->log, event, err);
}

/* Opens the data a second time and reads the samples that the events named. */
static void read_batch(ref_model *m, fixture *f, const seen *s)
{
    fb_dataset *dataset;
    const fb_dataset_info *info;
    uint32_t input[1024];
    float target[64];
    size_t inputs = 1;

    assert_ok(f, fb_dataset_open(&dataset, &f->config.data, f->scratch.folder, &f->error));
    info = fb_dataset_get_info(dataset);
    m->target_count = 1;
    m->input.rank = info->input_rank;
    for (uint32_t i = 0; i < info->input_rank; i++)
        inputs *= m->input.dims[i] = info->input_shape[i];
    for (uint32_t i = 0; i < info->target_rank; i++)
        m->target_count *= info->target_shape[i];
    m->input.count = inputs;
    m->batch = s->count;
    m->tokens = calloc(m->batch * inputs, sizeof *m->tokens);
    m->inputs = calloc(m->batch * inputs, sizeof *m->inputs);
    m->targets = calloc(m->batch * m->target_count, sizeof *m->targets);
    m->classes = calloc(m->batch * m->target_count, sizeof *m->classes);
    for (size_t b = 0; b < m->batch; b++) {
        fb_dataset_sample(dataset, FB_ROLE_TRAIN, s->indices[b], input, target);
        for (size_t i = 0; i < inputs; i++) {
            m->tokens[b * inputs + i] = input[i];
            m->inputs[b * inputs + i] = (double)fb_float_of_bits(input[i]);
        }
        for (size_t i = 0; i < m->target_count; i++) {
            m->targets[b * m->target_count + i] = (double)target[i];
            memcpy(&m->classes[b * m->target_count + i], &target[i], 4);
        }
    }
    if (info->target_dtype == FB_DTYPE_F32) {
        free(m->classes);
        m->classes = NULL;
    }
    fb_dataset_close(dataset);
}

static void free_model(ref_model *m)
{
    for (size_t i = 0; i < m->param_count; i++)
        free(m->params[i].x);
    free(m->tokens);
    free(m->inputs);
    free(m->targets);
    free(m->classes);
    free(m->arena);
}

/* --- The check -------------------------------------------------------------------------------- */

static void copy_params(ref_model *m, fb_run *run)
{
    for (size_t i = 0; i < fb_run_parameter_count(run); i++) {
        const fb_run_tensor t = fb_run_parameter(run, i);
        ref_param *p = &m->params[m->param_count++];

        assert_true(m->param_count <= REF_PARAMS);
        *p = (ref_param){.path = t.path, .count = t.count};
        p->x = calloc(t.count, sizeof *p->x);
        for (size_t e = 0; e < t.count; e++)
            p->x[e] = (double)t.data[e];
    }
}

/* Makes zeros and ones of the initialization into something that a wrong term cannot hide behind.
 */
static void scatter_params(fb_run *run)
{
    uint32_t state = 5;

    for (size_t i = 0; i < fb_run_parameter_count(run); i++) {
        const fb_run_tensor t = fb_run_parameter(run, i);
        for (size_t e = 0; e < t.count; e++)
            t.data[e] += ((float)(fixture_random(&state) % 2001) - 1000.0f) * 3e-4f;
    }
}

static void check_param(ref_model *m, size_t index, const fb_run_tensor *tensor, const char *what)
{
    const double h = 1e-5;
    ref_param *p = &m->params[index];
    double *want = calloc(p->count, sizeof *want);
    double largest = 0;

    for (size_t e = 0; e < p->count; e++) {
        const double kept = p->x[e];
        double up, down;

        p->x[e] = kept + h;
        up = ref_loss(m);
        p->x[e] = kept - h;
        down = ref_loss(m);
        p->x[e] = kept;
        want[e] = (up - down) / (2 * h);
        largest = fmax(largest, fabs(want[e]));
    }
    for (size_t e = 0; e < p->count; e++)
        if (!(fabs((double)tensor->grad[e] - want[e]) <= 1e-4 * largest + 1e-8))
            fail_msg("%s: %s[%zu]: gradient %.9g, differences give %.9g (largest %.3g)", what,
                     p->path, e, (double)tensor->grad[e], want[e], largest);
    free(want);
}

static void check(fixture *f, const char *what, const char *json)
{
    seen s = {.count = 0};
    ref_model m = {.step = 1, .config = &f->config};
    double loss;

    assert_ok(f, fixture_create(f, json, NULL, 0, (fb_run_options){.threads = 2}));
    log_open(&s.log);
    s.log.observer.self = &s;
    s.log.observer.wants = NULL;
    s.log.observer.on_event = see_event;
    fb_run_observe(f->run, &s.log.observer);
    assert_ok(f, fb_run_begin(f->run, &f->error));
    scatter_params(f->run);
    copy_params(&m, f->run);
    assert_ok(f, fb_run_step(f->run, &f->error));
    read_batch(&m, f, &s);
    m.arena = calloc(REF_ARENA, sizeof *m.arena);
    loss = ref_loss(&m);
    if (!(fabs((double)fb_run_loss(f->run) - loss) <= 1e-5 * fabs(loss)))
        fail_msg("%s: loss %.9g, reference %.9g", what, (double)fb_run_loss(f->run), loss);
    for (size_t i = 0; i < m.param_count; i++) {
        const fb_run_tensor tensor = fb_run_parameter(f->run, i);
        check_param(&m, i, &tensor, what);
    }
    free_model(&m);
    log_close(&s.log);
}

/* --- Models ----------------------------------------------------------------------------------- */

#define TEXT_RUN(layers)                                                                           \
    "{\"seed\": 9, \"data\": {\"text\": \"text.txt\", \"context\": 5, \"split\": [1, 0]}, "        \
    "\"model\":"                                                                                   \
    "[{\"embedding\": {\"dim\": 6, \"positions\": true}}," layers                                  \
    "{\"name\": \"out\", \"linear\": {\"out\": 13}}], \"loss\": \"cross_entropy\","                \
    " \"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": {\"size\": 4, \"micro\": 2}, "           \
    "\"steps\": 1}"

#define IMAGE_RUN(layers)                                                                          \
    "{\"seed\": 9, \"data\": {\"idx\": {\"images\": \"images.idx\", \"labels\": \"labels.idx\"},"  \
    " \"split\": [1, 0]}, \"model\": [" layers                                                     \
    "{\"flatten\": {}}, {\"name\": \"out\", \"linear\": {\"out\": 4}}],"                           \
    " \"loss\": \"cross_entropy\", \"optimizer\": {\"sgd\": {\"lr\": 0.1}},"                       \
    " \"batch\": {\"size\": 4, \"micro\": 2}, \"steps\": 1}"

static const struct {
    const char *name, *json;
} models[] = {
    {"embedding and linear", TEXT_RUN("")},
    {"linear without bias", TEXT_RUN("{\"linear\": {\"out\": 7, \"bias\": false}},")},
    {"layernorm", TEXT_RUN("{\"layernorm\": {}},")},
    {"layernorm without bias", TEXT_RUN("{\"layernorm\": {\"bias\": false, \"eps\": 0.1}},")},
    {"causal attention", TEXT_RUN("{\"attention\": {\"heads\": 2, \"causal\": true}},")},
    {"full attention",
     TEXT_RUN("{\"attention\": {\"heads\": 3, \"causal\": false, \"bias\": false}},")},
    {"gelu", TEXT_RUN("{\"linear\": {\"out\": 6}}, {\"gelu\": {}},")},
    {"gelu, tanh form",
     TEXT_RUN("{\"linear\": {\"out\": 6}}, {\"gelu\": {\"approximate\": \"tanh\"}},")},
    {"relu", TEXT_RUN("{\"linear\": {\"out\": 6}}, {\"relu\": {}},")},
    {"tanh", TEXT_RUN("{\"linear\": {\"out\": 6}}, {\"tanh\": {}},")},
    {"sigmoid", TEXT_RUN("{\"linear\": {\"out\": 6}}, {\"sigmoid\": {}},")},
    {"silu", TEXT_RUN("{\"linear\": {\"out\": 6}}, {\"silu\": {}},")},
    {"softplus", TEXT_RUN("{\"linear\": {\"out\": 6}}, {\"softplus\": {}},")},
    {"dropout", TEXT_RUN("{\"dropout\": {\"p\": 0.3}}, {\"linear\": {\"out\": 6}},"
                         "{\"name\": \"d2\", \"dropout\": {\"p\": 0.5}},")},
    {"residual", TEXT_RUN("{\"residual\": [{\"linear\": {\"out\": 6}}, {\"tanh\": {}}]},")},
    {"residual in residual",
     TEXT_RUN("{\"residual\": [{\"residual\": [{\"linear\": {\"out\": 6}}, {\"tanh\": {}}]},"
              "{\"name\": \"l2\", \"linear\": {\"out\": 6}}]},")},
    {"residual that begins with one",
     TEXT_RUN("{\"residual\": [{\"residual\": [{\"linear\": {\"out\": 6}}]}]},")},
    {"conv2d", IMAGE_RUN("{\"conv2d\": {\"out\": 3, \"kernel\": 3, \"stride\": 2, \"padding\": 1}},"
                         "{\"tanh\": {}},"
                         "{\"name\": \"c2\", \"conv2d\": {\"out\": 2, \"kernel\": 2}},")},
    {"maxpool", IMAGE_RUN("{\"conv2d\": {\"out\": 2, \"kernel\": 3}},"
                          "{\"maxpool\": {\"kernel\": 3, \"stride\": 2, \"padding\": 1}},")},
    {"avgpool", IMAGE_RUN("{\"conv2d\": {\"out\": 2, \"kernel\": 3}},"
                          "{\"avgpool\": {\"kernel\": 3, \"stride\": 2, \"padding\": 1}},")},
    {"layernorm as the first layer", IMAGE_RUN("{\"layernorm\": {}},")},
};

static void every_layer_has_the_gradients_of_its_formula(void **state)
{
    fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        check(&f, models[i].name, models[i].json);
    fixture_close(&f);
}

static void a_tied_weight_has_the_gradient_of_both_uses(void **state)
{
    fixture f;

    (void)state;
    fixture_open(&f);
    check(&f, "tied",
          "{\"seed\": 9, \"data\": {\"text\": \"text.txt\", \"context\": 5, \"split\": [1, 0]},"
          "\"model\": [{\"embedding\": {\"dim\": 6}}, {\"layernorm\": {}}, {\"linear\":"
          "{\"out\": 13, \"bias\": false, \"tied\": \"embedding\"}}],"
          "\"loss\": \"cross_entropy\", \"optimizer\": {\"sgd\": {\"lr\": 0.1}},"
          "\"batch\": {\"size\": 4, \"micro\": 2}, \"steps\": 1}");
    fixture_close(&f);
}

static void ignored_targets_do_not_count(void **state)
{
    fixture f;

    (void)state;
    fixture_open(&f);
    check(&f, "ignore_index",
          "{\"seed\": 9, \"data\": {\"text\": \"text.txt\", \"context\": 5, \"split\": [1, 0]},"
          "\"model\": [{\"embedding\": {\"dim\": 6}}, {\"linear\": {\"out\": 13}}],"
          "\"loss\": {\"cross_entropy\": {\"ignore_index\": 4}},"
          "\"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": {\"size\": 4, \"micro\": 2},"
          "\"steps\": 1}");
    fixture_close(&f);
}

static void write_npy(fixture *f, const char *name, size_t rows, size_t cols, uint32_t seed)
{
    const uint64_t shape[2] = {rows, cols};
    float *x = calloc(rows * cols, sizeof *x);

    for (size_t i = 0; i < rows * cols; i++)
        x[i] = (float)(fixture_random(&seed) % 2001) * 1e-3f - 1.0f;
    assert_ok(f,
              fb_npy_write(scratch_path(&f->scratch, name), FB_DTYPE_F32, 2, shape, x, &f->error));
    free(x);
}

static void mean_squared_error_divides_by_the_elements_of_the_whole_batch(void **state)
{
    fixture f;

    (void)state;
    fixture_open(&f);
    write_npy(&f, "x.npy", 20, 5, 1);
    write_npy(&f, "y.npy", 20, 3, 2);
    check(&f, "mse",
          "{\"seed\": 9, \"data\": {\"npy\": {\"inputs\": \"x.npy\", \"targets\": \"y.npy\"},"
          "\"split\": [1, 0]}, \"model\": [{\"linear\": {\"out\": 6}}, {\"tanh\": {}},"
          "{\"name\": \"out\", \"linear\": {\"out\": 3}}], \"loss\": \"mse\","
          "\"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": {\"size\": 6, \"micro\": 3},"
          "\"steps\": 1}");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_has_the_gradients_of_its_formula),
        cmocka_unit_test(a_tied_weight_has_the_gradient_of_both_uses),
        cmocka_unit_test(ignored_targets_do_not_count),
        cmocka_unit_test(mean_squared_error_divides_by_the_elements_of_the_whole_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
