/* Checkpoints with I8 and U4 weights: tied to their scales, run only in the precision that they are made for, and
 * refused when scale and weight do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../tokenizers/fixture.h"
#include "models/model.h"
#include "models/quantise.h"

#define GOLDEN ZEB_SOURCE_DIR "/tests/unit/models/golden/relu-f16"
#define QUERY "bert.encoder.layer.0.attention.self.query.weight"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    fixture_folder(folder, sizeof folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    fixture_remove(folder);
    return 0;
}

static void quantised_to(zeb_quantise_format weights, zeb_quantise_format embeddings) {
    zeb_error error = {{0}};
    zeb_quantise_options options = {.weights = weights, .embeddings = embeddings, .group = 32, .percentile = 1.0};
    zeb_quantise_report report;
    static const char *const file[] = {"config.json", "model.safetensors"};
    for (size_t i = 0; i < 2; i++)
        fixture_write(folder, file[i], NULL, 0);
    if (zeb_quantise(GOLDEN, folder, &options, &report, &error) != ZEB_OK) fail_msg("%s", error.text);
}

static zeb_status graph_of(const zeb_model *model, uint32_t precision, zeb_error *error, uint32_t got[3]) {
    zeb_graph_options options = {.token_max = 4, .batch_max = 1, .precision = precision};
    zeb_builder *builder;
    const zeb_graph *graph;
    error->text[0] = '\0';
    assert_int_equal(zeb_builder_create(&builder, error), ZEB_OK);
    zeb_status status = zeb_model_graph(model, &options, builder, error);
    if (status == ZEB_OK) status = zeb_builder_finish(builder, &graph, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; i++) {
        const zeb_node *node = &graph->node[i];
        if (strcmp(node->name, "layer.0.q") == 0) got[0] = node->attr.linear.precision;
        if (strcmp(node->name, "layer.0.attention") == 0) got[1] = node->attr.attention.precision;
        if (strcmp(node->name, "logits") == 0) got[2] = node->attr.linear.precision;
    }
    zeb_builder_destroy(builder);
    return status;
}

/* The checkpoint in the folder draws with each precision of the mask and says what it is made for with the others. */
static void check_precisions(const char *path, const char *dtype, uint32_t mask, const char *made_for) {
    zeb_error error = {{0}};
    zeb_model *model;
    if (zeb_model_open(path, &model, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_string_equal(zeb_model_about(model)->dtype, dtype);
    for (uint32_t precision = 0; precision <= ZEB_PRECISION_W4A16; precision++) {
        uint32_t got[3] = {99, 99, 99};
        zeb_status status = graph_of(model, precision, &error, got);
        if ((mask >> precision & 1) != 0) {
            if (status != ZEB_OK) fail_msg("precision %u: %s", precision, error.text);
            assert_int_equal(got[0], precision);
            assert_in_range(got[1], ZEB_PRECISION_F32, ZEB_PRECISION_W8A8);
            assert_int_equal(got[2], ZEB_PRECISION_F32);
        } else {
            assert_int_equal(status, ZEB_ERR_UNSUPPORTED);
            if (strstr(error.text, made_for) == NULL) fail_msg("'%s' lacks '%s'", error.text, made_for);
        }
    }
    zeb_model_close(model);
}

static void checkpoints_run_in_what_they_are_made_for(void **state) {
    (void)state;
    check_precisions(GOLDEN, "F16", 31, "");
    quantised_to(ZEB_QUANTISE_I8, ZEB_QUANTISE_KEEP);
    check_precisions(folder, "I8", 1u << ZEB_PRECISION_W8A8, "w8a8");
    quantised_to(ZEB_QUANTISE_U4, ZEB_QUANTISE_KEEP);
    check_precisions(folder, "U4", 1u << ZEB_PRECISION_W4A8 | 1u << ZEB_PRECISION_W4A16, "w4a8 or w4a16");
}

static void weights_come_with_their_scales(void **state) {
    (void)state;
    zeb_error error = {{0}};
    zeb_model *model;
    zeb_weight weight;
    quantised_to(ZEB_QUANTISE_U4, ZEB_QUANTISE_KEEP);
    assert_int_equal(zeb_model_open(folder, &model, &error), ZEB_OK);
    assert_int_equal(zeb_model_tensor(model, QUERY, &weight, &error), ZEB_OK);
    assert_int_equal(weight.dtype, ZEB_U4);
    assert_int_equal(weight.extent[0], 32);
    assert_int_equal(weight.extent[1], 32); /* elements, not bytes */
    assert_int_equal(weight.group, 32);
    assert_string_equal(weight.scale_name, QUERY "_scale");
    assert_non_null(weight.scale);
    zeb_model_close(model);
}

/* Tables come with scales too, and do not say in which precision the matrices run. */
static void tables_are_quantised_by_themselves(void **state) {
    (void)state;
    static const struct {
        zeb_quantise_format format;
        zeb_dtype dtype;
        const char *scale;
    } as[] = {{ZEB_QUANTISE_I8, ZEB_I8, "embed.word_scale"}, {ZEB_QUANTISE_U4, ZEB_U4, "embed.word_scale"}};
    for (size_t i = 0; i < 2; i++) {
        zeb_error error = {{0}};
        zeb_model *model;
        zeb_builder *builder;
        const zeb_graph *graph;
        zeb_graph_options options = {.token_max = 4, .batch_max = 1};
        quantised_to(ZEB_QUANTISE_KEEP, as[i].format);
        check_precisions(folder, "F16", 31, "");
        assert_int_equal(zeb_model_open(folder, &model, &error), ZEB_OK);
        assert_int_equal(zeb_builder_create(&builder, &error), ZEB_OK);
        if (zeb_model_graph(model, &options, builder, &error) != ZEB_OK) fail_msg("%s", error.text);
        assert_int_equal(zeb_builder_finish(builder, &graph, &error), ZEB_OK);
        for (uint32_t p = ZEB_EMBED_WORD; p <= ZEB_EMBED_TYPE; p++) {
            const zeb_tensor *table = &graph->tensor[graph->node[0].input[p]];
            const zeb_dtype dtype = p == ZEB_EMBED_WORD ? as[i].dtype : ZEB_I8; /* small ones are never in 4 bits */
            assert_int_equal(table->dtype, dtype);
            assert_int_equal(table->extent[1].max, 32);
            assert_int_equal(table->group, dtype == ZEB_U4 ? 32 : 0);
        }
        assert_int_not_equal(zeb_graph_find(graph, as[i].scale), ZEB_NONE);
        zeb_builder_destroy(builder);
        zeb_model_close(model);
    }
}

static void a_stop_leaves_nothing(void **state) {
    (void)state;
    zeb_error error = {{0}};
    const _Atomic uint32_t stop = 1;
    const zeb_quantise_options options = {.weights = ZEB_QUANTISE_I8, .stop = &stop};
    zeb_quantise_report report;
    assert_int_equal(zeb_quantise(GOLDEN, folder, &options, &report, &error), ZEB_ERR_INTERRUPTED);
    char part[128];
    (void)snprintf(part, sizeof part, "%s.%ld.part", folder, (long)getpid());
    assert_int_equal(access(part, F_OK), -1);
    assert_int_equal(mkdir(folder, 0777), 0); /* nothing is in its place; the teardown wants it */
}

/* The folder that a process of the number leaves when it is killed. */
static void leave_part(long pid, char part[128]) {
    (void)snprintf(part, 128, "%s.%ld.part", folder, pid);
    assert_int_equal(mkdir(part, 0777), 0);
    fixture_write(part, "policy.safetensors", "x", 1);
}

static void a_killed_run_is_cleared_away(void **state) {
    (void)state;
    char dead[128], alive[128];
    const pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    leave_part(child, dead);
    leave_part(getppid(), alive);
    quantised_to(ZEB_QUANTISE_I8, ZEB_QUANTISE_KEEP);
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0); /* still at work */
    fixture_remove(alive);
}

/* Replaces text in the weights' header by as much other text, and opens. */
static void refuse_after(const char *from, const char *to, const char *first, const char *second) {
    char path[128];
    size_t size, length = strlen(from);
    zeb_error error = {{0}};
    zeb_model *model;
    assert_int_equal(length, strlen(to));
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    char *bytes = fixture_read(path, &size), *at = NULL;
    assert_non_null(bytes);
    for (size_t i = 0; i + length <= size && at == NULL; i++)
        if (memcmp(bytes + i, from, length) == 0) at = bytes + i;
    if (at == NULL) fail_msg("%s does not hold '%s'", path, from);
    for (size_t i = 0; i < length; i++)
        at[i] = to[i];
    fixture_write(folder, "model.safetensors", bytes, size);
    free(bytes);
    assert_int_equal(zeb_model_open(folder, &model, &error), ZEB_ERR_FORMAT);
    if (strstr(error.text, first) == NULL || strstr(error.text, second) == NULL)
        fail_msg("'%s' does not speak of '%s' and '%s'", error.text, first, second);
}

static void scales_must_fit(void **state) {
    (void)state;
    quantised_to(ZEB_QUANTISE_I8, ZEB_QUANTISE_KEEP);
    refuse_after("\"" QUERY "_scale\"", "\"" QUERY "_scalf\"", QUERY, "there is no \"" QUERY "_scale\"");
    quantised_to(ZEB_QUANTISE_I8, ZEB_QUANTISE_KEEP);
    refuse_after("\"" QUERY "_scale\":{\"dtype\":\"F32\"", "\"" QUERY "_scale\":{\"dtype\":\"I32\"",
                 QUERY "_scale\" I32", "F32 [N]");
    quantised_to(ZEB_QUANTISE_U4, ZEB_QUANTISE_KEEP);
    refuse_after("\"" QUERY "_scale\":{\"dtype\":\"F16\"", "\"" QUERY "_scale\":{\"dtype\":\"I16\"",
                 QUERY "_scale\" I16", "F16 [N,K/32]");
    quantised_to(ZEB_QUANTISE_U4, ZEB_QUANTISE_KEEP);
    refuse_after("\"" QUERY "_scale\":{\"dtype\":\"F16\",\"shape\":[32,1]",
                 "\"" QUERY "_scale\":{\"dtype\":\"F16\",\"shape\":[16,2]", "[16,2]", "[32,16]");
    quantised_to(ZEB_QUANTISE_U4, ZEB_QUANTISE_KEEP);
    refuse_after("\"" QUERY "\":{\"dtype\":\"U8\",\"shape\":[32,16]",
                 "\"" QUERY "\":{\"dtype\":\"U8\",\"shape\":[16,32]", "[16,32]", "F16");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(checkpoints_run_in_what_they_are_made_for),
        IN_FOLDER(weights_come_with_their_scales),
        IN_FOLDER(tables_are_quantised_by_themselves),
        IN_FOLDER(a_stop_leaves_nothing),
        IN_FOLDER(a_killed_run_is_cleared_away),
        IN_FOLDER(scales_must_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
