#include <jansson.h>

#include "cli/compare_parts.h"
#include "cli/compare_write.h"

static json_t *text_json(const char *text) {
    json_t *value = text != NULL && text[0] != '\0' ? json_string(text) : NULL;
    return value != NULL ? value : json_null();
}

static json_t *real_json(bool has, double value) {
    return has && isfinite(value) ? json_real(value) : json_null();
}

static json_t *maybe_json(zeb_maybe_f64 value) {
    return real_json(value.has, value.value);
}

static json_t *bytes_json(zeb_maybe_u64 value) {
    return value.has ? json_integer((json_int_t)value.value) : json_null();
}

static json_t *metric_json(const zeb_row_metric *m) {
    static const zeb_row_metric none;
    if (m == NULL) m = &none;
    return json_pack("{s:o, s:o, s:o, s:o}", "name", text_json(m->name), "value", maybe_json(m->value), "lo",
                     maybe_json(m->lo), "hi", maybe_json(m->hi));
}

static json_t *side_json(const zeb_record *record) {
    if (record == NULL) return json_null();
    const zeb_row *row = &record->row;
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "row", (json_int_t)record->id, "run",
                     (json_int_t)record->run_id, "verdict", text_json(zeb_outcome_name(row->outcome)), "reason",
                     text_json(row->reason), "p50_ns", maybe_json(row->latency.p50.value), "score",
                     metric_json(zeb_compare_headline(row)), "uj_per_query", maybe_json(zeb_compare_energy(row)),
                     "peak_rss_bytes", bytes_json(row->peak_rss_bytes), "device_memory_bytes",
                     bytes_json(row->device_memory_bytes));
}

static json_t *time_json(const zeb_change *c) {
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "trend", zeb_trend_name(c->time), "ratio",
                     real_json(c->has_ratio, c->ratio.value), "lo", real_json(c->has_ratio, c->ratio.lo), "hi",
                     real_json(c->has_ratio, c->ratio.hi), "p", real_json(c->has_ratio, c->time_p), "p_holm",
                     real_json(c->has_ratio && c->comparable, c->time_holm), "histogram", c->binned);
}

static json_t *score_json(const zeb_change *c) {
    bool tested = c->score_test >= ZEB_SCORE_PROPORTIONS, paired = c->score_test == ZEB_SCORE_MCNEMAR;
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "trend", zeb_trend_name(c->score), "test",
                     zeb_score_test_name(c->score_test), "p", real_json(tested, c->score_p), "p_holm",
                     real_json(tested, c->score_holm), "became_right",
                     paired ? json_integer((json_int_t)c->pairs.only_b) : json_null(), "became_wrong",
                     paired ? json_integer((json_int_t)c->pairs.only_a) : json_null());
}

static json_t *differences_json(const zeb_change *c) {
    zeb_difference difference[ZEB_DIFFERENCES_MAX];
    size_t count = zeb_change_differences(c, difference);
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array,
                                    json_pack("{s:s, s:o, s:o}", "what", difference[i].what, "then",
                                              text_json(difference[i].then), "now", text_json(difference[i].now)));
    return array;
}

static json_t *case_json(const zeb_change *c) {
    const zeb_row *row = &zeb_compare_record(c)->row;
    const char *device = row->device[0] == '\0' && c->then != NULL ? c->then->row.device : row->device;
    return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "verdict",
                     zeb_change_name(c->kind), "loss", zeb_change_is_loss(c->kind), "model", text_json(row->model),
                     "task", text_json(row->task), "backend", text_json(row->backend), "device", text_json(device),
                     "precision", text_json(zeb_change_precision(row)), "policy", text_json(row->policy), "scenario",
                     text_json(row->scenario), "changed", differences_json(c), "comparable", c->comparable, "then",
                     side_json(c->then), "now", side_json(c->now), "latency", time_json(c));
}

zeb_status zeb_compare_write_json(FILE *out, const zeb_changes *changes, double tolerance, zeb_error *error) {
    json_t *cases = json_array(), *tally = json_object();
    bool whole = cases != NULL && tally != NULL;
    for (size_t i = 0; whole && i < changes->count; i++) {
        json_t *object = case_json(&changes->change[i]);
        whole = object != NULL && json_object_set_new(object, "score", score_json(&changes->change[i])) == 0;
        if (json_array_append_new(cases, object) != 0) whole = false;
    }
    for (int k = 0; whole && k < ZEB_CHANGE_KINDS; k++)
        whole = json_object_set_new(tally, zeb_change_name((zeb_change_kind)k),
                                    json_integer((json_int_t)changes->tally[k])) == 0;
    json_t *root = json_pack("{s:I, s:o, s:o, s:f, s:I, s:o, s:o}", "run", (json_int_t)changes->run.id, "base",
                             changes->base != NULL ? json_integer(changes->base->id) : json_null(), "expected_run",
                             changes->expected != NULL ? json_integer(changes->expected->id) : json_null(), "tolerance",
                             tolerance, "losses", (json_int_t)changes->losses, "verdicts", tally, "cases", cases);
    if (whole && root != NULL && json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0)
        (void)fputc('\n', out);
    else
        whole = false;
    json_decref(root);
    if (!whole && ferror(out) == 0) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write the comparison");
    return whole ? ZEB_OK : zeb_fail(error, ZEB_ERR_IO, "could not write the comparison");
}
