/* policy.json of a calibration. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/calibrate.h"

static const char *mode_name(uint32_t mode) {
    static const char *const name[] = {"none", "first", "threshold", "topk", "ratio", "relative"};
    return mode < sizeof name / sizeof name[0] ? name[mode] : "?";
}

static json_t *layers_json(const zeb_calibration *c) {
    json_t *list = json_array();
    for (int32_t l = 0; l < c->layers; l++) {
        const zeb_select *select = &c->tokens[l];
        json_t *tokens = json_null();
        json_t *heads = c->heads[l] > 0 ? json_pack("{s:i}", "keep", c->heads[l]) : json_null();
        if (select->mode != ZEB_SELECT_NONE) {
            json_t *value =
                select->mode == ZEB_SELECT_TOPK ? json_integer(select->count) : json_real((double)select->value);
            tokens = json_pack("{s:s, s:o}", "mode", mode_name(select->mode), "value", value);
        }
        (void)json_array_append_new(
            list, json_pack("{s:o, s:i, s:o, s:n}", "tokens", tokens, "score_threshold", 0, "heads", heads, "ffn"));
    }
    return list;
}

static json_t *metric_json(const zeb_metric *m) {
    if (!m->defined) return json_null();
    if (!m->has_interval) return json_pack("{s:f}", "value", m->value);
    return json_pack("{s:f, s:f, s:f}", "value", m->value, "lo", m->lo, "hi", m->hi);
}

static json_t *provenance_json(const zeb_calibration_options *o, const zeb_calibration *c) {
    json_t *kept = json_array();
    for (int32_t l = 0; l < c->layers; l++)
        (void)json_array_append_new(kept, json_real(c->kept[l]));
    json_t *slice =
        json_pack("{s:s, s:s, s:f, s:i, s:I, s:I}", "split", o->what.split, "salt", "zeb-calib-1", "share", o->share,
                  "min_tokens", o->min_tokens, "examples", (json_int_t)c->examples, "tokens", (json_int_t)c->rows);
    json_t *wanted = o->flops > 0 ? json_pack("{s:f}", "flops", o->flops) : json_pack("{s:f}", "max_drop", o->max_drop);
    json_t *flops = json_pack("{s:f, s:f, s:f}", "dense", c->flops_dense, "executed", c->flops_executed, "share",
                              c->flops_executed / c->flops_dense);
    json_t *score = json_pack("{s:s, s:o, s:o}", "metric", c->dense.name, "dense", metric_json(&c->dense), "sparse",
                              metric_json(&c->sparse));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:b, s:o, s:o, s:i}", "made_by", o->made_by,
                     "model", c->model, "task", o->what.task, "device", c->device, "shape",
                     zeb_calibration_shape_name(c->shape), "data_sha256", c->data_hash, "rows_skipped",
                     (json_int_t)c->rows_skipped, "slice", slice, "wanted", wanted, "flops", flops, "reached",
                     c->reached, "kept", kept, "score", score, "trials", (int)c->trials);
}

static zeb_status write_text(FILE *out, void *user, zeb_error *error) {
    if (fprintf(out, "%s\n", (const char *)user) >= 0) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_IO, "could not write the policy");
}

zeb_status zeb_calibration_write(const zeb_calibration_options *options, const zeb_calibration *c, const char *path,
                                 zeb_error *error) {
    json_t *root = json_pack("{s:s, s:s, s:s, s:i, s:b, s:o, s:o}", "schema", "zeb-policy-1", "name", options->name,
                             "model_sha256", c->model_hash, "floor", options->floor, "keep_last", options->keep_last,
                             "layers", layers_json(c), "provenance", provenance_json(options, c));
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (text == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write %s", path);
    zeb_status status = zeb_file_replace(path, write_text, text, error);
    free(text); /* json_dumps gives it with malloc */
    return status;
}
