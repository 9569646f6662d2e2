/* A pass is one queue of launches: nothing comes back to the host, and the host waits for nothing, before the last
 * kernel - while the counts of survivors differ from batch to batch and are made on the device. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph.h"
#include "intercept.h"
#include "plugins/devices.h"

enum { SPANS = 512, KERNEL = 1, TO_DEVICE = 2, TO_HOST = 3, WAIT = 4 };

typedef struct fixture {
    zeb_registry *registry;
    zeb_device_handle device;
    test_graph graph;
    zeb_plan *plan;
    zeb_error error;
} fixture;

static void require(const fixture *f, zeb_status status) {
    if (status != ZEB_OK) fail_msg("%s: %s", zeb_status_name(status), f->error.text);
}

static int open_plugin(fixture *f, const char *name) {
    static const char *const folder[] = {ZEB_PLUGIN_DIR};
    const zeb_registry_options options = {
        .folder = folder, .folder_count = 1, .wanted = &name, .wanted_count = 1, .probe = ZEB_PROBE_NEVER};
    *f = (fixture){0};
    if (zeb_registry_open_with(&options, &f->registry, &f->error) != ZEB_OK) return 0;
    zeb_status status = zeb_device_open(f->registry, name, NULL, &f->device, &f->error);
    if (status == ZEB_OK) return 1;
    print_message("no device to test: %s\n", f->error.text);
    zeb_registry_close(f->registry);
    if (status != ZEB_ERR_NOT_FOUND) fail_msg("%s", f->error.text);
    return 0;
}

static void compile(fixture *f) {
    test_graph_make(&f->graph);
    require(f, f->device.backend->compile(f->device.device, f->graph.graph, &f->plan, &f->error));
}

static void close_all(fixture *f) {
    f->device.backend->release(f->plan);
    if (f->graph.builder != NULL) test_graph_free(&f->graph);
    zeb_device_close(&f->device);
    zeb_registry_close(f->registry);
}

/* Batches of 0 to 4 sequences, empty ones among them. */
static const int32_t batches[][G_BATCH] = {{5, 1, 9, 3}, {16, 0, 8, 16}, {1, 0, 0, 0}, {0, 0, 0, 0}, {0, 7, 0, 2}};
enum { BATCHES = sizeof batches / sizeof batches[0] };

static void write_batch(fixture *f, const int32_t lengths[G_BATCH]) {
    int32_t offsets[G_BATCH + 1] = {0};
    int32_t ids[G_TOKENS];
    const zeb_backend *backend = f->device.backend;
    for (int b = 0; b < G_BATCH; b++)
        offsets[b + 1] = offsets[b] + lengths[b];
    for (int t = 0; t < G_TOKENS; t++)
        ids[t] = t < offsets[G_BATCH] ? (t * 7 + 3) % G_VOCABULARY : -12345;
    require(f, backend->write(f->plan, f->graph.offsets, offsets, sizeof offsets, &f->error));
    require(f, backend->write(f->plan, f->graph.count, &offsets[G_BATCH], sizeof offsets[0], &f->error));
    require(f, backend->write(f->plan, f->graph.ids, ids, sizeof ids, &f->error));
}

static void pass(fixture *f) {
    require(f, f->device.backend->submit(f->plan, &f->error));
    require(f, f->device.backend->wait(f->plan, &f->error));
}

typedef struct answer {
    float logits[G_BATCH * 2];
    int32_t kept[G_LAYERS];
} answer;

static answer read_answer(fixture *f) {
    answer a;
    const zeb_backend *backend = f->device.backend;
    require(f, backend->read(f->plan, f->graph.logits, a.logits, sizeof a.logits, &f->error));
    for (int l = 0; l < G_LAYERS; l++)
        require(f, backend->read(f->plan, f->graph.kept[l], &a.kept[l], sizeof a.kept[l], &f->error));
    return a;
}

/* Sum over sequences of ceil(n / 2), at least 2 (or all) of each. */
static int32_t half_of(const int32_t lengths[G_BATCH], int layers) {
    int32_t sum = 0;
    for (int b = 0; b < G_BATCH; b++) {
        int32_t n = lengths[b];
        for (int l = 0; l < layers; l++)
            n = n <= 2 ? n : (n + 1) / 2 < 2 ? 2 : (n + 1) / 2;
        sum += n;
    }
    return sum;
}

static void test_trace(void **state) {
    (void)state;
    fixture f;
    static zeb_profile_span span[SPANS];
    uint32_t count = 0;
    if (!open_plugin(&f, "opencl")) skip();
    compile(&f);
    zeb_profile_fn profile = zeb_backend_profile(f.device.backend);
    assert_true(profile != NULL);
    require(&f, profile(f.plan, span, SPANS, &count, &f.error));
    assert_int_equal(count, 0); /* the first call switches it on */
    for (int i = 0; i < BATCHES; i++) {
        write_batch(&f, batches[i]);
        unsigned before = seen.kernels;
        pass(&f);
        unsigned launched = seen.kernels - before;
        require(&f, profile(f.plan, span, SPANS, &count, &f.error));
        assert_in_range(count, 10, SPANS);
        uint64_t last_kernel = 0;
        unsigned kinds[5] = {0};
        for (uint32_t s = 0; s < count; s++) {
            assert_in_range(span[s].kind, KERNEL, WAIT);
            assert_true(span[s].begin_ns <= span[s].end_ns);
            if (s > 0) assert_true(span[s - 1].begin_ns <= span[s].begin_ns);
            kinds[span[s].kind]++;
            if (span[s].kind == KERNEL && span[s].end_ns > last_kernel) last_kernel = span[s].end_ns;
        }
        assert_int_equal(kinds[KERNEL], launched + 1); /* and the clearing of the range flag */
        assert_int_equal(kinds[TO_DEVICE], 3);
        assert_int_equal(kinds[TO_HOST], 1);
        assert_int_equal(kinds[WAIT], 1);
        for (uint32_t s = 0; s < count; s++) {
            if (span[s].kind == TO_HOST) assert_true(span[s].begin_ns >= last_kernel);
            if (span[s].kind == WAIT) assert_true(span[s].end_ns >= last_kernel);
        }
        answer a = read_answer(&f);
        for (int l = 0; l < G_LAYERS; l++)
            assert_int_equal(a.kept[l], half_of(batches[i], l + 1));
    }
    close_all(&f);
}

/* The whole pass is queued while the device is held back at its first command: had any launch needed a count from the
 * device, submit could not return. */
static void test_submit_needs_nothing_back(void **state) {
    (void)state;
    fixture f;
    if (!open_plugin(&f, "opencl")) skip();
    compile(&f);
    write_batch(&f, batches[0]);
    pass(&f);
    answer free_running = read_answer(&f);
    seen.waits = 0;
    seen.copies_to_host = 0;
    seen.kernels = 0;
    seen.hold = true;
    require(&f, f.device.backend->submit(f.plan, &f.error));
    assert_false(seen.hold); /* the gate stands */
    assert_int_equal(seen.waits, 0);
    assert_in_range(seen.copies_to_host, 0, 1);
    if (seen.copies_to_host == 1) assert_int_equal(seen.kernels_at_last_copy, seen.kernels); /* after the last kernel */
    assert_in_range(seen.kernels, 20, 200);
    assert_int_equal(clSetUserEventStatus(seen.gate, CL_COMPLETE), CL_SUCCESS);
    require(&f, f.device.backend->wait(f.plan, &f.error));
    assert_int_equal(seen.waits, 1);
    answer held = read_answer(&f);
    assert_memory_equal(&held, &free_running, sizeof held);
    assert_int_equal(clReleaseEvent(seen.gate), CL_SUCCESS);
    seen.gate = NULL;
    close_all(&f);
}

/* The same numbers as ref, whose arithmetic is binary64, in passes of every kind of batch. */
static void test_against_ref(void **state) {
    (void)state;
    fixture f;
    fixture ref;
    if (!open_plugin(&f, "opencl")) skip();
    if (!open_plugin(&ref, "ref")) {
        zeb_device_close(&f.device);
        zeb_registry_close(f.registry);
        skip();
    }
    compile(&f);
    compile(&ref);
    for (int i = 0; i < BATCHES; i++) {
        write_batch(&f, batches[i]);
        write_batch(&ref, batches[i]);
        pass(&f);
        pass(&ref);
        answer a = read_answer(&f);
        answer b = read_answer(&ref);
        assert_memory_equal(a.kept, b.kept, sizeof a.kept);
        for (int k = 0; k < G_BATCH * 2; k++)
            assert_true(fabsf(a.logits[k] - b.logits[k]) <= 2e-5f);
    }
    close_all(&f);
    close_all(&ref);
}

/* Lies in what the harness writes are sentences, and the plan goes on working. */
static void test_bad_writes(void **state) {
    (void)state;
    fixture f;
    if (!open_plugin(&f, "opencl")) skip();
    compile(&f);
    const zeb_backend *backend = f.device.backend;
    int32_t offsets[G_BATCH + 1] = {0, 3, 2, 5, 5};
    int32_t big[G_TOKENS + 1] = {0};
    write_batch(&f, batches[0]);
    require(&f, backend->write(f.plan, f.graph.offsets, offsets, sizeof offsets, &f.error));
    assert_int_equal(backend->submit(f.plan, &f.error), ZEB_ERR_RANGE);
    assert_non_null(strstr(f.error.text, "tokens.offsets"));
    assert_int_equal(backend->write(f.plan, f.graph.ids, big, sizeof big, &f.error), ZEB_ERR_RANGE);
    assert_int_equal(backend->write(f.plan, 100000, big, 4, &f.error), ZEB_ERR_ARGUMENT);
    assert_int_equal(backend->read(f.plan, -1, big, 4, &f.error), ZEB_ERR_ARGUMENT);
    write_batch(&f, batches[0]);
    big[2] = G_VOCABULARY;
    require(&f, backend->write(f.plan, f.graph.ids, big, sizeof(int32_t) * G_TOKENS, &f.error));
    require(&f, backend->submit(f.plan, &f.error));
    assert_int_equal(backend->wait(f.plan, &f.error), ZEB_ERR_RANGE);
    assert_non_null(strstr(f.error.text, "layer.9.embed"));
    write_batch(&f, batches[0]);
    pass(&f);
    close_all(&f);
}

/* What it cannot do it says before, with the reason, and compile says the same. */
static void test_unsupported(void **state) {
    (void)state;
    fixture f;
    if (!open_plugin(&f, "opencl")) skip();
    test_graph_make(&f.graph);
    zeb_graph graph = *f.graph.graph;
    zeb_node *node = calloc(graph.node_count, sizeof *node);
    zeb_verdict *verdict = calloc(graph.node_count, sizeof *verdict);
    assert_non_null(node);
    assert_non_null(verdict);
    memcpy(node, graph.node, graph.node_count * sizeof *node);
    graph.node = node;
    uint32_t changed = 0;
    while (node[changed].op != ZEB_OP_LINEAR)
        changed++;
    node[changed].attr.linear.precision = ZEB_PRECISION_BF16;
    require(&f, f.device.backend->check(f.device.device, &graph, verdict, &f.error));
    for (uint32_t i = 0; i < graph.node_count; i++)
        assert_int_equal(verdict[i].supported, i != changed);
    assert_non_null(strstr(verdict[changed].reason, "precision bf16"));
    assert_int_equal(f.device.backend->compile(f.device.device, &graph, &f.plan, &f.error), ZEB_ERR_UNSUPPORTED);
    assert_null(f.plan);
    assert_non_null(strstr(f.error.text, node[changed].name));
    free(node);
    free(verdict);
    close_all(&f);
}

int main(void) {
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_trace),       cmocka_unit_test(test_submit_needs_nothing_back),
        cmocka_unit_test(test_against_ref), cmocka_unit_test(test_bad_writes),
        cmocka_unit_test(test_unsupported),
    };
    return cmocka_run_group_tests(test, NULL, NULL);
}
