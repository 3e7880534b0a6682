/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run_micro.c - micro-batches: the tree that joins gradients and losses, and what a split
 * must not change.
 */
#include <math.h>

#include "base/bytes.h"
#include "run_fixture.h"

enum { MOST = 16, ELEMENTS = 2048 };

/* The gradients of one parameter, and the loss sums, of the micro-batches of step 1. */
typedef struct leaves {
    event_log log;
    const char *path;
    float grad[MOST][ELEMENTS];
    double loss[MOST];
    size_t count;
} leaves;

static fb_status keep_leaf(void *self, const fb_event *event, fb_error *err)
{
    leaves *l = self;
    const fb_status status = log_event(&l->log, event, err);
    const kept_event *e = &l->log.events[l->log.count - 1];

    if (e->phase == FB_PHASE_BACKWARD && strcmp(e->path, l->path) == 0 &&
        strcmp(e->slot, "grad") == 0) {
        assert_true(event->data_bytes <= sizeof l->grad[0]);
        memcpy(l->grad[event->micro], event->data, event->data_bytes);
        l->count++;
    }
    if (e->phase == FB_PHASE_LOSS && strcmp(e->slot, "sum") == 0)
        l->loss[event->micro] = event->value;
    return status;
}

/* No clipping, so that the joined gradient stays as it was joined. */
#define MICRO_RUN(dropout)                                                                         \
    "{\"seed\": 4, \"data\": {\"text\": \"text.txt\", \"context\": 6}, \"model\": ["               \
    "{\"embedding\": {\"dim\": 8}}, {\"dropout\": {\"p\": " dropout "}}, {\"layernorm\": {}},"     \
    "{\"linear\": {\"out\": 13, \"tied\": \"embedding\"}}], \"loss\": \"cross_entropy\","          \
    "\"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": {\"size\": 12}, \"steps\": 1}"

static void run_step(fixture *f, leaves *l, const char *json, const char *micro, const char *size)
{
    const fb_config_set sets[] = {{"batch.size", size}, {"batch.micro", micro}};

    memset(l, 0, sizeof *l);
    l->path = "embedding.weight";
    log_open(&l->log);
    l->log.observer.self = l;
    l->log.observer.wants = NULL;
    l->log.observer.on_event = keep_leaf;
    assert_ok(f, fixture_create(f, json, sets, 2, (fb_run_options){.threads = 2}));
    fb_run_observe(f->run, &l->log.observer);
    assert_ok(f, fb_run_begin(f->run, &f->error));
    assert_ok(f, fb_run_step(f->run, &f->error));
}

/* The tree of the contract, level by level, as its text says it. */
static float tree(const float *leaf, size_t n)
{
    float parts[MOST];

    memcpy(parts, leaf, n * sizeof *parts);
    while (n > 1) {
        for (size_t i = 0; i < n / 2; i++)
            parts[i] = parts[2 * i] + parts[2 * i + 1];
        if (n % 2 == 1)
            parts[n / 2] = parts[n - 1];
        n = (n + 1) / 2;
    }
    return parts[0];
}

static double tree_f64(const double *leaf, size_t n)
{
    double parts[MOST];

    memcpy(parts, leaf, n * sizeof *parts);
    while (n > 1) {
        for (size_t i = 0; i < n / 2; i++)
            parts[i] = parts[2 * i] + parts[2 * i + 1];
        if (n % 2 == 1)
            parts[n / 2] = parts[n - 1];
        n = (n + 1) / 2;
    }
    return parts[0];
}

static void gradients_and_losses_join_by_the_tree(void **state)
{
    leaves *l = calloc(1, sizeof *l);
    fixture f;
    size_t shape_matters = 0;

    (void)state;
    fixture_open(&f);
    for (size_t n = 1; n <= MOST; n++) {
        char micro[8], size[8];
        fb_run_tensor joined;

        (void)snprintf(micro, sizeof micro, "%zu", n);
        (void)snprintf(size, sizeof size, "%zu", 2 * n);
        run_step(&f, l, MICRO_RUN("0.2"), micro, size);
        assert_int_equal(l->count, n);
        joined = fb_run_parameter(f.run, 0);
        assert_string_equal(joined.path, l->path);
        for (size_t e = 0; e < joined.count; e++) {
            float leaf[MOST], in_line = l->grad[0][e];

            for (size_t m = 0; m < n; m++)
                leaf[m] = l->grad[m][e];
            for (size_t m = 1; m < n; m++)
                in_line += leaf[m];
            assert_int_equal(fb_float_bits(joined.grad[e]), fb_float_bits(tree(leaf, n)));
            shape_matters += fb_float_bits(joined.grad[e]) != fb_float_bits(in_line);
        }
        assert_int_equal(fb_float_bits(fb_run_loss(f.run)),
                         fb_float_bits((float)(tree_f64(l->loss, n) / (double)(2 * n * 6))));
        log_close(&l->log);
    }
    assert_true(shape_matters > 100); /* a sum from left to right would have failed */
    free(l);
    fixture_close(&f);
}

/* One batch, split differently: the samples, the masks and (by rounding only) the gradient stay. */
static void a_split_changes_no_sample_and_no_mask(void **state)
{
    leaves *whole = calloc(1, sizeof *whole), *split = calloc(1, sizeof *split);
    fixture f;
    float grads[ELEMENTS];
    fb_run_tensor joined;
    uint64_t position = 0;
    float loss, largest = 0;

    (void)state;
    fixture_open(&f);
    run_step(&f, whole, MICRO_RUN("0.2"), "1", "12");
    joined = fb_run_parameter(f.run, 0);
    memcpy(grads, joined.grad, joined.count * sizeof *grads);
    loss = fb_run_loss(f.run);
    log_close(&whole->log);

    run_step(&f, split, MICRO_RUN("0.2"), "4", "12");
    joined = fb_run_parameter(f.run, 0);
    for (size_t i = 0; i < split->log.count; i++) {
        const kept_event *e = &split->log.events[i];
        if (e->kind == FB_KIND_DRAW && strcmp(e->path, "dropout") == 0) {
            assert_int_equal(e->counter, position);
            position += e->count;
        }
    }
    assert_int_equal(position, 12 * 6 * 8);
    for (size_t e = 0; e < joined.count; e++)
        largest = fmaxf(largest, fabsf(grads[e]));
    /* the same sum in another order: a mask or a sample that moved would change it by its size */
    for (size_t e = 0; e < joined.count; e++)
        assert_true(fabsf(joined.grad[e] - grads[e]) <= 1e-6f * largest);
    assert_true(fabsf(fb_run_loss(f.run) - loss) <= 1e-6f * loss);
    log_close(&split->log);
    free(whole);
    free(split);
    fixture_close(&f);
}

/* Micro-batches with unequal numbers of ignored targets: the gradient is that of the mean over all
 * counted targets, not the mean of the means. */
static void the_loss_divides_by_the_targets_of_the_whole_batch(void **state)
{
    const fb_config_set sets[] = {
        {"batch.size", "12"}, {"batch.micro", "1"}, {"loss.cross_entropy.ignore_index", "12"}};
    const fb_config_set split[] = {
        {"batch.size", "12"}, {"batch.micro", "6"}, {"loss.cross_entropy.ignore_index", "12"}};
    static const char json[] =
        "{\"seed\": 4, \"data\": {\"text\": \"text.txt\", \"context\": 6}, \"model\": ["
        "{\"embedding\": {\"dim\": 8}}, {\"linear\": {\"out\": 13}}],"
        "\"loss\": {\"cross_entropy\": {\"ignore_index\": 0}},"
        "\"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": {\"size\": 12}, \"steps\": 1}";
    fixture f;
    float grads[ELEMENTS], loss;
    fb_run_tensor joined;

    (void)state;
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, json, sets, 3, (fb_run_options){.threads = 1}));
    (void)fixture_train(&f, NULL, 1);
    joined = fb_run_parameter(f.run, 0);
    memcpy(grads, joined.grad, joined.count * sizeof *grads);
    loss = fb_run_loss(f.run);
    assert_ok(&f, fixture_create(&f, json, split, 3, (fb_run_options){.threads = 1}));
    (void)fixture_train(&f, NULL, 1);
    joined = fb_run_parameter(f.run, 0);
    for (size_t e = 0; e < joined.count; e++)
        assert_true(fabsf(joined.grad[e] - grads[e]) <= 1e-8f);
    assert_true(fabsf(fb_run_loss(f.run) - loss) <= 1e-6f);
    fixture_close(&f);
}

static void a_batch_in_which_nothing_counts_has_loss_0(void **state)
{
    fixture f;
    char text[400];

    (void)state;
    fixture_open(&f);
    memset(text, 'a', sizeof text);
    memcpy(text + 390, "bbbbbbbbbb", 10);
    (void)scratch_write(&f.scratch, "text.txt", text, sizeof text);
    assert_ok(&f, fixture_create(
                      &f,
                      "{\"seed\": 4, \"data\": {\"text\": \"text.txt\", \"context\": 6}, \"model\":"
                      "[{\"embedding\": {\"dim\": 8}}, {\"linear\": {\"out\": \"vocab\"}}],"
                      "\"loss\": {\"cross_entropy\": {\"ignore_index\": 0}},"
                      "\"optimizer\": {\"sgd\": {\"lr\": 0.1}}, \"batch\": {\"size\": 12},"
                      "\"steps\": 1}",
                      NULL, 0, (fb_run_options){.threads = 1}));
    (void)fixture_train(&f, NULL, 1);
    assert_int_equal(fb_float_bits(fb_run_loss(f.run)), 0);
    for (size_t i = 0; i < fb_run_parameter_count(f.run); i++) {
        const fb_run_tensor t = fb_run_parameter(f.run, i);
        for (size_t e = 0; e < t.count; e++)
            assert_true(t.grad[e] == 0);
    }
    assert_false(fb_run_first_nonfinite(f.run).found);
    fixture_close(&f);
}

/* --- Several consumers ------------------------------------------------------------------------ */

/* What the embedding's output gets its gradient from, of the only micro-batch of step 1. */
typedef struct nested {
    event_log log;
    float x_grad[1024], inner_grad[1024], outer_grad[1024], weight[64];
    size_t count;
} nested;

static fb_status keep_nested(void *self, const fb_event *event, fb_error *err)
{
    nested *n = self;
    const fb_status status = log_event(&n->log, event, err);
    const kept_event *e = &n->log.events[n->log.count - 1];
    const bool gradient = e->phase == FB_PHASE_BACKWARD && strcmp(e->slot, "grad") == 0;
    float *to = NULL;

    if (gradient && strcmp(e->path, "embedding") == 0)
        to = n->x_grad;
    if (gradient && strcmp(e->path, "outer.inner") == 0)
        to = n->inner_grad;
    if (gradient && strcmp(e->path, "outer") == 0)
        to = n->outer_grad;
    if (e->phase == FB_PHASE_INIT && strcmp(e->path, "outer.inner.linear.weight") == 0)
        to = n->weight;
    if (to != NULL && event->data != NULL) {
        memcpy(to, event->data, event->data_bytes);
        if (to == n->x_grad)
            n->count = event->data_bytes / sizeof(float);
    }
    return status;
}

/* x has three consumers: the linear layer, the inner sum, the outer sum. The sums hand their own
 * gradients on, so that of x is (inner·W + inner) + outer, in this order. */
static void contributions_are_added_in_forward_order_of_the_consumers(void **state)
{
    enum { C = 8 };
    const fb_kernels *k = fb_kernels_for(FB_ISA_REF);
    nested *n = calloc(1, sizeof *n);
    float dx[1024];
    size_t order_matters = 0;
    fb_pool *pool;
    fixture f;

    (void)state;
    fixture_open(&f);
    log_open(&n->log);
    n->log.observer.self = n;
    n->log.observer.wants = NULL;
    n->log.observer.on_event = keep_nested;
    assert_ok(&f, fixture_create(&f,
                                 "{\"seed\": 4, \"data\": {\"text\": \"text.txt\", \"context\":"
                                 "6}, \"model\": [{\"embedding\": {\"dim\": 8}},"
                                 "{\"name\": \"outer\", \"residual\": [{\"name\": \"inner\","
                                 "\"residual\": [{\"linear\": {\"out\": 8}}]},"
                                 "{\"name\": \"last\", \"linear\": {\"out\": 8}}]},"
                                 "{\"name\": \"head\", \"linear\": {\"out\": 13}}],"
                                 "\"loss\": \"cross_entropy\", \"optimizer\": {\"sgd\":"
                                 "{\"lr\": 0.1}}, \"batch\": {\"size\": 8}, \"steps\": 1}",
                                 NULL, 0, (fb_run_options){.threads = 2}));
    fb_run_observe(f.run, &n->log.observer);
    assert_ok(&f, fb_run_begin(f.run, &f.error));
    assert_ok(&f, fb_run_step(f.run, &f.error));
    assert_int_equal(n->count, 8 * 6 * C);
    assert_ok(&f, fb_pool_create(&pool, 1, &f.error));
    k->matmul(pool, &(fb_matmul){.c = dx,
                                 .a = n->inner_grad,
                                 .b = n->weight,
                                 .m = n->count / C,
                                 .n = C,
                                 .k = C,
                                 .lda = C,
                                 .ldb = C,
                                 .ldc = C,
                                 .batch = 1});
    fb_pool_destroy(pool);
    for (size_t i = 0; i < n->count; i++) {
        const float inner = n->inner_grad[i], outer = n->outer_grad[i];
        const float want = (dx[i] + inner) + outer;

        assert_int_equal(fb_float_bits(n->x_grad[i]), fb_float_bits(want));
        order_matters += fb_float_bits(want) != fb_float_bits((dx[i] + outer) + inner) &&
                         fb_float_bits(want) != fb_float_bits((inner + outer) + dx[i]);
    }
    assert_true(order_matters > 10);
    log_close(&n->log);
    free(n);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_and_losses_join_by_the_tree),
        cmocka_unit_test(a_split_changes_no_sample_and_no_mask),
        cmocka_unit_test(the_loss_divides_by_the_targets_of_the_whole_batch),
        cmocka_unit_test(a_batch_in_which_nothing_counts_has_loss_0),
        cmocka_unit_test(contributions_are_added_in_forward_order_of_the_consumers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
