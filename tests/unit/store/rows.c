#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void *take(zeb_arena *arena, size_t count, size_t size) {
    void *memory = NULL;
    if (zeb_arena_alloc(arena, count, size, &memory, NULL) != ZEB_OK) abort();
    return memory;
}

static uint64_t next(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static zeb_row_quantile quantile(const uint64_t *sorted, size_t n, double q) {
    double at = q * (double)(n - 1);
    size_t k = (size_t)at, spread = n / 50 + 1;
    return (zeb_row_quantile){.value = zeb_f64((double)sorted[k]),
                              .lo = zeb_f64((double)sorted[k > spread ? k - spread : 0]),
                              .hi = zeb_f64((double)sorted[k + spread < n ? k + spread : n - 1])};
}

/* Latencies with a body around median_ns, and a tail. */
static void measure(zeb_arena *arena, zeb_row *row, size_t n, double median_ns, uint64_t seed) {
    uint64_t *sample = take(arena, n, sizeof *sample), *sorted = take(arena, n, sizeof *sorted);
    for (size_t i = 0; i < n; i++) {
        double noise = 0;
        for (int k = 0; k < 6; k++)
            noise += (double)(next(&seed) >> 11) / 9007199254740992.0 - 0.5;
        double tail = next(&seed) % 40 == 0 ? 1.0 + (double)(next(&seed) % 100) / 80.0 : 1.0;
        sample[i] = (uint64_t)(median_ns * (1.0 + 0.06 * noise) * tail);
    }
    memcpy(sorted, sample, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare);
    row->n = n;
    row->sample_ns = sample;
    row->sample_count = n;
    row->latency.p50 = quantile(sorted, n, 0.5);
    row->latency.p90 = quantile(sorted, n, 0.9);
    row->latency.p95 = quantile(sorted, n, 0.95);
    row->latency.p99 = quantile(sorted, n, 0.99);
    row->latency.mean = zeb_f64(median_ns * 1.02);
    row->latency.mad = zeb_f64(median_ns * 0.03);
    row->latency.min = zeb_f64((double)sorted[0]);
    row->latency.max = zeb_f64((double)sorted[n - 1]);
    row->latency.first = zeb_f64(median_ns * 4.5);
    row->throughput_per_s = zeb_f64(1e9 / (median_ns * 1.02));
}

static void name(zeb_row *row, const char *model, const char *backend, const char *policy, const char *scenario) {
    zeb_text_copy(row->model, sizeof row->model, model);
    zeb_text_copy(row->task, sizeof row->task, "glue/sst2");
    zeb_text_copy(row->split, sizeof row->split, "dev");
    zeb_text_copy(row->backend, sizeof row->backend, backend);
    zeb_text_copy(row->policy, sizeof row->policy, policy);
    zeb_text_copy(row->scenario, sizeof row->scenario, scenario);
    zeb_text_copy(row->precision, sizeof row->precision, "fp32");
    zeb_text_copy(row->device, sizeof row->device, "0");
}

static void score(zeb_arena *arena, zeb_row *row, double value) {
    zeb_row_metric *metric = take(arena, 1, sizeof *metric);
    zeb_text_copy(metric->name, sizeof metric->name, "accuracy");
    zeb_text_copy(metric->method, sizeof metric->method, "wilson");
    metric->defined = true;
    metric->value = zeb_f64(value);
    metric->lo = zeb_f64(value - 0.022);
    metric->hi = zeb_f64(value + 0.02);
    row->metric = metric;
    row->metric_count = 1;
    row->examples = 872;
}

static void energy(zeb_row *row, zeb_row_energy_kind kind, double uj_per_query) {
    zeb_row_energy *e = &row->energy;
    e->known = e->valid = true;
    e->kind = kind;
    zeb_text_copy(e->source, sizeof e->source, kind == ZEB_ROW_ENERGY_MEASURED ? "powercap" : "tdp");
    e->examples = zeb_u64(872);
    e->gross_uj = zeb_i64((int64_t)(uj_per_query * 872));
    e->idle_uj = zeb_i64((int64_t)(uj_per_query * 250));
    e->net_uj = zeb_i64((int64_t)(uj_per_query * 622));
    e->idle_watts = zeb_f64(11.2);
    e->idle_drift = zeb_f64(0.013);
    e->window_ns = zeb_u64(12000000000u);
    e->samples = zeb_u64(1200);
    e->gaps = zeb_u64(0);
    row->carbon.co2_ug = zeb_u64((uint64_t)(uj_per_query * 872 * 475.0 / 3.6e6));
    row->carbon.intensity_g_per_kwh = zeb_f64(475);
    row->carbon.year = zeb_i64(2019);
    row->carbon.pue = zeb_f64(1.0);
    zeb_text_copy(row->carbon.source, sizeof row->carbon.source, "IEA 2019");
    zeb_text_copy(row->carbon.place, sizeof row->carbon.place, "world");
}

static void settings(zeb_row_settings *s, int64_t threads, bool effective) {
    s->threads = zeb_i64(threads);
    s->pinned = zeb_i64(1);
    s->batch = zeb_i64(1);
    s->seq_max = zeb_i64(128);
    s->target_ci = zeb_f64(0.01);
    s->max_time_ns = zeb_u64(60000000000u);
    s->timeout_ns = zeb_u64(600000000000u);
    s->warmup = zeb_u64(32);
    zeb_text_copy(s->isa, sizeof s->isa, effective ? "avx2" : "");
    zeb_text_copy(s->precision, sizeof s->precision, "fp32");
    s->device = "cpu";
    s->policy = "/policies/half.json";
    s->data = "/data";
    s->tune = zeb_i64(0);
}

static void provenance(zeb_row *row) {
    row->model_path = "baselines/checkpoint";
    zeb_text_copy(row->model_hash, sizeof row->model_hash,
                  "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    zeb_text_copy(row->model_dtype, sizeof row->model_dtype, "F16");
    zeb_text_copy(row->family, sizeof row->family, "bert");
    row->parameters = zeb_u64(11171074);
    row->task_version = zeb_i64(1);
    zeb_text_copy(row->data_hash, sizeof row->data_hash,
                  "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752");
    row->rows_read = zeb_u64(872);
    row->rows_skipped = zeb_u64(0);
    row->rows_truncated = zeb_u64(3);
    zeb_text_copy(row->backend_version, sizeof row->backend_version, "0.1.0");
    zeb_text_copy(row->device_name, sizeof row->device_name, "An Example CPU @ 2.50GHz");
    zeb_text_copy(row->driver, sizeof row->driver, "none");
    row->seed = zeb_u64(42);
    row->order_seed = zeb_u64(7);
    row->ci_reached = zeb_f64(0.0088);
    row->startup_ns = zeb_u64(41000000);
    row->compile_ns = zeb_u64(9000000);
    row->tokens = zeb_u64(21987);
    row->flops_dense = row->flops_executed = zeb_f64(1.47e11);
    row->bytes_dense = row->bytes_executed = zeb_f64(2.2e10);
    row->peak_rss_bytes = zeb_u64(58u << 20);
    row->device_memory_bytes = zeb_u64(44u << 20);
    zeb_text_copy(row->started_utc, sizeof row->started_utc, "2026-11-23T21:00:00Z");
    row->duration_ns = zeb_u64(14200000000u);
}

static void keep_layers(zeb_arena *arena, zeb_row *row) {
    zeb_row_kept *kept = take(arena, 4, sizeof *kept);
    for (int i = 0; i < 4; i++) {
        kept[i] = (zeb_row_kept){.layer = i,
                                 .tokens_in = zeb_f64(21987.0 * (1 - 0.2 * i)),
                                 .tokens_kept = zeb_f64(21987.0 * (1 - 0.2 * (i + 1))),
                                 .heads_kept = zeb_f64(3.5),
                                 .exits = zeb_f64(0.125),
                                 .blocks_open = zeb_f64(0.5),
                                 .blocks_done = zeb_f64(0.75),
                                 .tokens_share_sd = zeb_f64(0.0625),
                                 .heads_kept_sd = zeb_f64(0.25)};
    }
    row->kept = kept;
    row->kept_count = 4;
    row->flops_executed = zeb_f64(0.9e11);
    row->flops_saved = zeb_f64(0.5);
    row->time_saved = zeb_f64(0.45);
    zeb_text_copy(row->skip_mode, sizeof row->skip_mode, "exact");
    row->bound_flops_per_s = zeb_f64(1.16e11);
    zeb_text_copy(row->bound_by, sizeof row->bound_by, "fp32");
    row->bound_share = zeb_f64(0.83);
}

static void channels(zeb_arena *arena, zeb_row *row) {
    zeb_row_channel *channel = take(arena, 2, sizeof *channel);
    for (int i = 0; i < 2; i++) {
        zeb_row_channel *c = &channel[i];
        zeb_text_copy(c->source, sizeof c->source, "powercap");
        zeb_text_copy(c->name, sizeof c->name, i == 0 ? "package-0" : "psys");
        zeb_text_copy(c->domain, sizeof c->domain, i == 0 ? "package" : "psys");
        zeb_text_copy(c->kind, sizeof c->kind, "counter");
        c->counted = i == 0;
        c->valid = true;
        c->gross_uj = zeb_i64(35000000 + 9000000 * i);
        c->idle_uj = zeb_i64(10000000);
        c->net_uj = zeb_i64(25000000);
        c->resolution_uj = zeb_f64(61.03515625);
        c->samples = zeb_u64(1200);
        c->gaps = zeb_u64(1);
    }
    row->energy.channel = channel;
    row->energy.channel_count = 2;
}

zeb_row test_row_full(zeb_arena *arena, uint64_t seed) {
    static const char *const flag[] = {"outliers", "governor-not-fixed"};
    zeb_row row = {.outcome = ZEB_OUTCOME_INVALID, .capped = true};
    name(&row, "bert-mini-sst2", "cpu", "topk-0.5", "single");
    zeb_text_copy(row.reason, sizeof row.reason, "window too short: 0.4 s of 1 s");
    row.signal_number = zeb_i64(11);
    row.exit_code = zeb_i64(1);
    row.last_words = "a line\nand \xff one that is not UTF-8";
    row.predictions_path = "predictions.jsonl";
    zeb_text_copy(row.policy_hash, sizeof row.policy_hash,
                  "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c");
    provenance(&row);
    settings(&row.requested, 8, false);
    settings(&row.effective, 4, true);
    row.requested.limit = zeb_i64(500);
    row.effective.limit = zeb_i64(500);
    zeb_text_copy(row.requested.isa, sizeof row.requested.isa, "avx512");
    zeb_text_copy(row.requested.note, sizeof row.requested.note, "warm=yes");
    zeb_text_copy(row.effective.note, sizeof row.effective.note, "huge_pages=no");
    measure(arena, &row, 500, 812345, seed);
    score(arena, &row, 0.8761);
    energy(&row, ZEB_ROW_ENERGY_MEASURED, 41234);
    channels(arena, &row);
    zeb_text_copy(row.energy.note, sizeof row.energy.note, "dram never moves: not metered, left out");
    keep_layers(arena, &row);
    row.flag = flag;
    row.flag_count = 2;
    return row;
}

zeb_row test_row_bare(zeb_outcome outcome) {
    zeb_row row = {.outcome = outcome};
    name(&row, "m", "ref", "dense", "single");
    if (outcome != ZEB_OUTCOME_OK) {
        zeb_text_copy(row.reason, sizeof row.reason, "because");
        return row;
    }
    row.n = 1;
    row.latency.p50.value = zeb_f64(1000);
    return row;
}

zeb_run_info test_run_info(void) {
    static const char *const argv[] = {"zeb", "run", "--device", "ref,cpu", ""};
    return (zeb_run_info){.zeb_version = "0.1.0",
                          .zeb_commit = "0df5c17",
                          .compiler = "gcc 12.2.0",
                          .build_flags = "-O3",
                          .host = "bench",
                          .os = "Debian GNU/Linux 12 (bookworm)",
                          .kernel = "6.1.0",
                          .cpu_model = "An Example CPU @ 2.50GHz",
                          .cpu_flags = "fpu sse2 avx avx2 fma",
                          .governor = "performance",
                          .cpu_count = zeb_i64(4),
                          .memory_bytes = zeb_u64(16u << 20),
                          .started_utc = "2026-11-23T21:00:00Z",
                          .argv = argv,
                          .argc = 5};
}

typedef struct demo {
    const char *model, *backend, *policy, *scenario;
    double latency_ns, accuracy, uj;
    zeb_row_energy_kind kind;
    int64_t threads;
} demo;

static zeb_row demo_row(zeb_arena *arena, const demo *d, uint64_t seed) {
    zeb_row row = {.outcome = ZEB_OUTCOME_OK};
    name(&row, d->model, d->backend, d->policy, d->scenario);
    provenance(&row);
    settings(&row.requested, d->threads, false);
    settings(&row.effective, d->threads, true);
    row.model_path = d->model;
    row.requested.device = d->backend;
    row.requested.policy = d->policy;
    measure(arena, &row, 1500, d->latency_ns, seed);
    score(arena, &row, d->accuracy);
    if (d->uj > 0) energy(&row, d->kind, d->uj);
    if (strcmp(d->policy, "dense") != 0) keep_layers(arena, &row);
    return row;
}

static zeb_row demo_bad(zeb_outcome outcome, const char *backend, const char *reason) {
    zeb_row row = {.outcome = outcome};
    name(&row, "bert-mini-sst2", backend, "dense", "single");
    zeb_text_copy(row.reason, sizeof row.reason, reason);
    provenance(&row);
    if (outcome == ZEB_OUTCOME_CRASHED) {
        row.signal_number = zeb_i64(11);
        row.last_words = "backend: </script><script>alert(1)</script> & \"quotes\"";
    }
    return row;
}

void test_rows_demo(zeb_arena *arena, zeb_row **row, size_t *count) {
    const zeb_row_energy_kind M = ZEB_ROW_ENERGY_MEASURED, E = ZEB_ROW_ENERGY_ESTIMATED;
    const demo good[] = {
        {"bert-mini-sst2", "ref", "dense", "single", 41e6, 0.8750, 410000, E, 1},
        {"bert-mini-sst2", "cpu", "dense", "single", 1.31e6, 0.8750, 41000, M, 1},
        {"bert-mini-sst2", "cpu", "dense", "single", 0.52e6, 0.8750, 33000, M, 4},
        {"bert-mini-sst2", "cpu", "topk-0.7", "single", 0.93e6, 0.8727, 29500, M, 1},
        {"bert-mini-sst2", "cpu", "topk-0.5", "single", 0.71e6, 0.8635, 23000, M, 1},
        {"bert-mini-sst2", "cpu", "topk-0.3", "single", 0.58e6, 0.8303, 20500, M, 1},
        {"bert-mini-sst2", "opencl", "dense", "single", 3.4e6, 0.8750, 92000, E, 4},
        {"minilm-l6-sst2", "cpu", "dense", "single", 7.2e6, 0.9117, 210000, M, 1},
        {"minilm-l6-sst2", "cpu", "dense", "single", 2.5e6, 0.9117, 160000, M, 4},
        {"minilm-l6-sst2", "opencl", "dense", "single", 11.1e6, 0.9117, 300000, E, 4},
        {"minilm-l6-sst2", "cpu", "topk-0.5", "single", 4.1e6, 0.9025, 121000, M, 1},
        {"bert-mini-sst2", "cpu", "dense", "offline", 0.44e6, 0.8750, 0, M, 4},
        {"bert-mini-sst2", "opencl", "dense", "offline", 1.9e6, 0.8750, 0, M, 4},
    };
    size_t goods = sizeof good / sizeof good[0];
    *row = take(arena, goods + 5, sizeof **row);
    for (size_t i = 0; i < goods; i++)
        (*row)[i] = demo_row(arena, &good[i], i + 1);
    *count = goods;
    (*row)[(*count)++] =
        demo_bad(ZEB_OUTCOME_UNSUPPORTED, "template", "layer.0.attention: op attention is not implemented");
    (*row)[(*count)++] = demo_bad(ZEB_OUTCOME_CRASHED, "vulkan", "the worker died of signal 11 (Segmentation fault)");
    (*row)[(*count)++] = demo_bad(ZEB_OUTCOME_TIMEOUT, "jetson", "no answer for 600 s");
    (*row)[(*count)++] = demo_bad(ZEB_OUTCOME_FAILED, "cuda", "device 0: out of memory while packing ffn.in");
    zeb_row invalid = demo_row(arena, &good[1], 99);
    invalid.outcome = ZEB_OUTCOME_INVALID;
    name(&invalid, "bert-mini-sst2", "null", "dense", "single");
    zeb_text_copy(invalid.reason, sizeof invalid.reason, "window too short: 0.4 s of powercap, 1 s are needed");
    invalid.energy = (zeb_row_energy){.known = true, .kind = ZEB_ROW_ENERGY_MEASURED};
    zeb_text_copy(invalid.energy.source, sizeof invalid.energy.source, "powercap");
    zeb_text_copy(invalid.energy.reason, sizeof invalid.energy.reason, "window too short");
    invalid.carbon.co2_ug.has = false;
    (*row)[(*count)++] = invalid;
}
