#include "run/fill.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "run/stats.h"
#include "suites/metric.h"

#define KEEP(field, text) zeb_text_copy((field), sizeof(field), (text))

static zeb_row_quantile quantile(const zeb_quantile *from) {
    zeb_row_quantile to = {.value = zeb_f64(from->value_ns)};
    if (from->has_lo) to.lo = zeb_f64(from->lo_ns);
    if (from->has_hi) to.hi = zeb_f64(from->hi_ns);
    return to;
}

zeb_status zeb_fill_latency(zeb_row *row, const zeb_measurement *measured, zeb_latency *latency, zeb_error *error) {
    row->n = measured->samples;
    row->sample_ns = measured->sample_ns;
    row->sample_count = measured->samples;
    row->effective.warmup = zeb_u64(measured->warmup);
    row->capped = measured->capped;
    if (measured->ci >= 0) row->ci_reached = zeb_f64(measured->ci);
    if (measured->warmup > 0) row->latency.first = zeb_f64((double)measured->first_ns);
    if (measured->samples == 0) return ZEB_OK;
    zeb_status status = zeb_stats_describe(measured->sample_ns, measured->samples, latency, error);
    if (status != ZEB_OK) return status;
    zeb_row_latency *to = &row->latency;
    to->p50 = quantile(&latency->quantile[ZEB_P50]);
    to->p90 = quantile(&latency->quantile[ZEB_P90]);
    to->p95 = quantile(&latency->quantile[ZEB_P95]);
    to->p99 = quantile(&latency->quantile[ZEB_P99]);
    to->mean = zeb_f64(latency->mean_ns);
    to->mad = zeb_f64(latency->mad_ns);
    to->min = zeb_f64(latency->min_ns);
    to->max = zeb_f64(latency->max_ns);
    if (measured->timed_ns > 0)
        row->throughput_per_s = zeb_f64((double)measured->sequences * 1e9 / (double)measured->timed_ns);
    return ZEB_OK;
}

/* The class of the greatest logit (the first of equals), in the task's counting. */
static int32_t winner(const float *logits, int32_t labels, const int32_t *class_of, double *score) {
    int32_t best = 0;
    for (int32_t c = 1; c < labels; c++)
        if (logits[c] > logits[best]) best = c;
    *score = (double)logits[best];
    return class_of[best];
}

static zeb_status keep_metrics(zeb_row *row, const zeb_metric *metric, size_t count, zeb_arena *arena,
                               zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, count, sizeof(zeb_row_metric), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_row_metric *to = memory;
    for (size_t i = 0; i < count; i++) {
        KEEP(to[i].name, metric[i].name);
        KEEP(to[i].method, metric[i].method);
        to[i].defined = metric[i].defined;
        if (metric[i].defined) to[i].value = zeb_f64(metric[i].value);
        if (metric[i].defined && metric[i].has_interval) {
            to[i].lo = zeb_f64(metric[i].lo);
            to[i].hi = zeb_f64(metric[i].hi);
        }
    }
    row->metric = to;
    row->metric_count = count;
    return ZEB_OK;
}

/* How much class 1 is preferred to class 0: what tasks of choices compare. */
static double preference(const float *logits, int32_t labels, const int32_t *class_of) {
    if (labels != 2) return 0;
    double difference = (double)logits[1] - (double)logits[0];
    return class_of != NULL && class_of[0] == 1 ? -difference : difference;
}

zeb_status zeb_fill_scores(zeb_outcome_record *record, const zeb_session *session, const zeb_measurement *measured,
                           zeb_arena *arena, zeb_error *error) {
    const zeb_dataset *data = &session->data;
    bool regression = data->task->kind == ZEB_TASK_REGRESSION;
    size_t n = measured->scored;
    size_t labels = (size_t)session->labels;
    void *answers, *predictions;
    zeb_status status = zeb_arena_alloc(arena, n, sizeof(zeb_answer), &answers, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(session->arena, n, sizeof(zeb_prediction), &predictions, error);
    if (status != ZEB_OK) return status;
    zeb_answer *answer = answers;
    zeb_prediction *prediction = predictions;
    for (size_t i = 0; i < n; i++) {
        const zeb_example *example = &data->example[i];
        const float *logits = measured->logits + i * labels;
        answer[i] = (zeb_answer){.index = example->index,
                                 .label = example->label,
                                 .target = example->target,
                                 .predicted = -1,
                                 .score = (double)logits[0]};
        if (!regression) answer[i].predicted = winner(logits, session->labels, session->class_of, &answer[i].score);
        prediction[i] = (zeb_prediction){.label = answer[i].predicted,
                                         .score = answer[i].score,
                                         .choice = preference(logits, session->labels, session->class_of)};
    }
    record->answer = answer;
    record->answer_count = n;
    record->logits = measured->logits;
    record->labels = session->labels;
    record->row.examples = n;
    zeb_metric metric[ZEB_METRICS_MAX];
    size_t count;
    status =
        zeb_task_score(data->task, data, prediction, n, session->what->seed, metric, ZEB_METRICS_MAX, &count, error);
    return status == ZEB_OK ? keep_metrics(&record->row, metric, count, arena, error) : status;
}

static void fill_channel(zeb_row_channel *to, const zeb_energy *energy, const zeb_energy_channel *from) {
    static const char *const kind[] = {"", "counter", "power", "temperature"};
    KEEP(to->source, energy->source);
    KEEP(to->name, from->name);
    KEEP(to->domain, from->domain);
    KEEP(to->kind, (unsigned)from->kind < 4 ? kind[from->kind] : "");
    to->counted = from->counted;
    to->valid = from->known;
    KEEP(to->reason, from->reason);
    if (from->known) to->gross_uj = zeb_i64(from->gross_uj);
    if (from->known && from->idle_known) {
        double idle_uj = from->idle_watts * energy->seconds * 1e6;
        to->idle_uj = zeb_i64((int64_t)idle_uj);
        to->net_uj = zeb_i64(from->gross_uj - (int64_t)idle_uj);
    }
    if (from->resolution_uj > 0) to->resolution_uj = zeb_f64(from->resolution_uj);
    to->samples = zeb_u64(from->samples);
    to->gaps = zeb_u64(from->gaps);
}

static void fill_carbon(zeb_row *row, const zeb_energy *energy, const zeb_carbon *carbon) {
    uint64_t co2_ug;
    if (!zeb_carbon_ug(carbon, energy->gross_uj, &co2_ug)) return;
    row->carbon.co2_ug = zeb_u64(co2_ug);
    row->carbon.intensity_g_per_kwh = zeb_f64(carbon->g_per_kwh);
    if (carbon->year > 0) row->carbon.year = zeb_i64(carbon->year);
    row->carbon.pue = zeb_f64(carbon->pue);
    KEEP(row->carbon.source, carbon->source);
    KEEP(row->carbon.place, carbon->place);
}

zeb_status zeb_fill_energy(zeb_row *row, const zeb_energy *energy, const zeb_carbon *carbon, zeb_arena *arena,
                           zeb_error *error) {
    zeb_row_energy *to = &row->energy;
    to->known = energy->known || !energy->valid;
    to->valid = energy->known;
    if (to->known) to->kind = energy->kind == ZEB_ENERGY_MEASURED ? ZEB_ROW_ENERGY_MEASURED : ZEB_ROW_ENERGY_ESTIMATED;
    KEEP(to->source, energy->source);
    KEEP(to->reason, energy->reason);
    KEEP(to->note, energy->note);
    if (!to->known) return ZEB_OK;
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, energy->channel_count, sizeof(zeb_row_channel), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_row_channel *channel = memory;
    for (uint32_t i = 0; i < energy->channel_count; i++)
        fill_channel(&channel[i], energy, &energy->channel[i]);
    to->channel = channel;
    to->channel_count = energy->channel_count;
    to->window_ns = zeb_u64((uint64_t)(energy->seconds * 1e9));
    to->samples = zeb_u64(energy->samples);
    to->gaps = zeb_u64(energy->gaps);
    if (!energy->known) return ZEB_OK;
    to->gross_uj = zeb_i64(energy->gross_uj);
    if (energy->idle_known) {
        to->idle_uj = zeb_i64(energy->idle_uj);
        to->net_uj = zeb_i64(energy->net_uj);
        to->idle_watts = zeb_f64(energy->idle_watts);
    }
    if (energy->drift_known) to->idle_drift = zeb_f64(energy->idle_drift);
    fill_carbon(row, energy, carbon);
    return ZEB_OK;
}

/* Standard deviation of n numbers, from their sum and the sum of their squares. */
static zeb_maybe_f64 deviation(double sum, double squares, double n) {
    double variance = squares / n - sum / n * (sum / n);
    return zeb_f64(variance > 0 ? sqrt(variance) : 0);
}

zeb_status zeb_fill_work(zeb_row *row, const zeb_session *session, const zeb_measurement *measured, zeb_arena *arena,
                         zeb_error *error) {
    const zeb_case *what = session->what;
    row->effective.batch = zeb_i64(session->batch.sequence_max);
    row->effective.limit = zeb_i64((int64_t)session->data.count);
    row->effective.seq_max = zeb_i64((int64_t)what->seq_max);
    row->effective.target_ci = zeb_f64(what->target_ci);
    row->effective.max_time_ns = zeb_u64(what->max_time_ns);
    if (row->effective.precision[0] == '\0') /* tuning chose; check would have refused another */
        KEEP(row->effective.precision, row->precision);
    if (row->energy.known) row->energy.examples = zeb_u64_nonzero(measured->sequences); /* stopped while idling: 0 */
    row->tokens = zeb_u64(measured->tokens);
    if (measured->scored < session->data.count) return ZEB_OK; /* interrupted: the work of a part says nothing */
    row->flops_dense = zeb_f64(measured->flops_dense);
    row->flops_executed = zeb_f64(measured->flops_executed);
    row->bytes_dense = zeb_f64(measured->bytes_dense);
    row->bytes_executed = zeb_f64(measured->bytes_executed);
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, (size_t)session->layers, sizeof(zeb_row_kept), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_row_kept *kept = memory;
    int64_t in = (int64_t)measured->tokens, stay = (int64_t)measured->scored;
    for (int32_t layer = 0; layer < session->layers; layer++) {
        const zeb_kept *sum = &measured->kept[layer];
        int64_t out = sum->tokens >= 0 ? sum->tokens : in;
        kept[layer] =
            (zeb_row_kept){.layer = layer, .tokens_in = zeb_f64((double)in), .tokens_kept = zeb_f64((double)out)};
        double n = (double)measured->scored;
        if (sum->tokens >= 0) kept[layer].tokens_share_sd = deviation(sum->share, sum->share_squared, n);
        if (sum->heads >= 0) {
            kept[layer].heads_kept = zeb_f64((double)sum->heads / n);
            kept[layer].heads_kept_sd = deviation((double)sum->heads, sum->heads_squared, n);
        }
        if (sum->sequences >= 0) {
            kept[layer].exits = zeb_f64((double)(stay - sum->sequences) / n);
            stay = sum->sequences;
        }
        if (sum->blocks > 0) kept[layer].blocks_open = zeb_f64((double)sum->blocks_open / (double)sum->blocks);
        if (sum->blocks > 0 && sum->blocks_done >= 0)
            kept[layer].blocks_done = zeb_f64((double)sum->blocks_done / (double)sum->blocks);
        in = out;
    }
    row->kept = kept;
    row->kept_count = (size_t)session->layers;
    return ZEB_OK;
}

enum { FLAGS_MAX = 24 };

typedef struct flag_list {
    const char **flag;
    size_t count;
} flag_list;

static void raise_flag(flag_list *list, bool on, const char *name) {
    if (on && list->count < FLAGS_MAX) list->flag[list->count++] = name;
}

zeb_status zeb_fill_flags(zeb_row *row, const zeb_session *session, const zeb_measurement *measured,
                          const zeb_latency *latency, const zeb_energy *energy, const zeb_host_delta *host,
                          zeb_arena *arena, zeb_error *error) {
    const zeb_case *what = session->what;
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, FLAGS_MAX, sizeof(char *), &memory, error);
    if (status != ZEB_OK) return status;
    flag_list list = {.flag = memory};
    double median = latency->quantile[ZEB_P50].value_ns;
    raise_flag(&list, session->device.info.kind == ZEB_DEVICE_NONE, "no-compute"); /* reports don't rank these */
    const zeb_dataset *data =
        &session->data; /* a limit, a fixture, a subset: the score is not that of the official split */
    uint64_t usable = data->rows_read - data->rows_skipped;
    raise_flag(&list, data->rows_official > 0 && usable < data->rows_official, "partial-data");
    raise_flag(&list, data->rows_skipped > 0, "rows-skipped");
    raise_flag(&list, session->other_task, "other-task");
    raise_flag(&list, session->words_cut, "vocabulary-cut");
    raise_flag(&list, measured->capped, "time-cap");
    raise_flag(&list, latency->outliers > 0, "outliers");
    raise_flag(&list, median > 0 && (double)measured->first_ns > 5 * median, "slow-first-run");
    raise_flag(&list, host->has_throttled && host->throttled > 0, "throttled");
    raise_flag(&list, host->has_foreign_load && host->is_loaded, "foreign-load");
    raise_flag(&list, host->is_crowded, "oversubscribed");
    raise_flag(&list, host->has_quota_stops && host->quota_stops > 0, "quota-throttled");
    raise_flag(&list, host->has_steal && host->is_stolen, "steal-time");
    raise_flag(&list, host->has_governor && !host->governor_fixed, "governor-not-fixed");
    raise_flag(&list, what->threads > 0 && row->effective.threads.has && row->effective.threads.value != what->threads,
               "threads-clamped");
    raise_flag(&list, what->isa != NULL && strcmp(what->isa, row->effective.isa) != 0, "isa-clamped");
    raise_flag(&list, energy->known && energy->kind == ZEB_ENERGY_ESTIMATED, "energy-estimated");
    raise_flag(&list, energy->idle_drifted, "idle-drift");
    raise_flag(&list, energy->known && energy->kind == ZEB_ENERGY_MEASURED && energy->idle_short, "idle-short");
    row->flag = list.flag;
    row->flag_count = list.count;
    return ZEB_OK;
}

void zeb_fill_memory(zeb_row *row) {
    uint64_t bytes;
    if (zeb_host_peak_rss(&bytes)) row->peak_rss_bytes = zeb_u64(bytes);
}
