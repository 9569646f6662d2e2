/* Folders, cards, labels; configs that disagree with their weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../tokenizers/fixture.h"
#include "base/file.h"
#include "graph/cost.h"
#include "models/model.h"

#define GOLDEN ZEB_SOURCE_DIR "/tests/unit/models/golden"

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

static zeb_model *opened(const char *path) {
    zeb_error error = {{0}};
    zeb_model *model;
    if (zeb_model_open(path, &model, &error) != ZEB_OK) fail_msg("%s", error.text);
    return model;
}

static void assert_refused(const char *path, zeb_status status, const char *first, const char *second) {
    zeb_error error = {{0}};
    zeb_model *model;
    assert_int_equal(zeb_model_open(path, &model, &error), status);
    assert_null(model);
    if (strstr(error.text, first) == NULL || strstr(error.text, second) == NULL)
        fail_msg("'%s' does not speak of '%s' and '%s'", error.text, first, second);
}

/* Copies a golden checkpoint into the folder with every `from` in its config and weights' header replaced by `to`, of
 * the same length in the weights. */
static void copy(const char *name, const char *file, const char *from, const char *to) {
    char path[512];
    size_t size, changed = 0;
    (void)snprintf(path, sizeof path, GOLDEN "/%s/%s", name, file);
    char *bytes = fixture_read(path, &size);
    assert_non_null(bytes);
    size_t grow = from != NULL && strlen(to) > strlen(from) ? strlen(to) : 1;
    char *made = malloc(size * grow + 1);
    assert_non_null(made);
    size_t length = 0;
    for (size_t i = 0; i < size;) {
        if (from != NULL && i + strlen(from) <= size && memcmp(bytes + i, from, strlen(from)) == 0) {
            memcpy(made + length, to, strlen(to));
            length += strlen(to);
            i += strlen(from);
            changed++;
        } else {
            made[length++] = bytes[i++];
        }
    }
    if (from != NULL && changed == 0) fail_msg("%s does not hold '%s'", path, from);
    fixture_write(folder, file, made, length);
    free(made);
    free(bytes);
}

static void checkpoints_say_what_they_are(void **state) {
    (void)state;
    zeb_model *model = opened(GOLDEN "/relu-f16/");
    const zeb_model_info *about = zeb_model_about(model);
    assert_string_equal(about->name, "relu-f16");
    assert_string_equal(about->family, "bert");
    assert_string_equal(about->dtype, "F16");
    assert_string_equal(about->path, GOLDEN "/relu-f16/");
    assert_int_equal(about->layers, 3);
    assert_int_equal(about->heads, 4);
    assert_int_equal(about->hidden, 32);
    assert_int_equal(about->ffn, 64);
    assert_int_equal(about->vocab, 61);
    assert_int_equal(about->position_max, 24);
    assert_int_equal(about->labels, 2);
    assert_false(about->regression);
    /* embeddings (61+24+2)*32+64; a layer 4*(32*32+32) + 2*32*64+64+32 + 4*32; pooler 32*32+32; classifier 2*32+2 */
    assert_int_equal(about->parameters, 87 * 32 + 64 + 3 * (4 * 1056 + 4096 + 96 + 128) + 1056 + 66);
    zeb_model_close(model);
    model = opened(GOLDEN "/regression");
    assert_true(zeb_model_about(model)->regression);
    assert_string_equal(zeb_model_about(model)->label_name[0], "LABEL_0");
    zeb_model_close(model);
    model = opened(GOLDEN "/bf16");
    assert_string_equal(zeb_model_about(model)->dtype, "BF16");
    assert_int_equal(zeb_model_about(model)->labels, 3);
    zeb_model_close(model);
    model = opened(GOLDEN "/removed");
    assert_true(zeb_model_about(model)->removed);
    assert_int_equal(zeb_model_about(model)->heads, 3); /* the whole model's */
    assert_int_equal(zeb_model_about(model)->ffn, 56);
    zeb_model_close(model);
    zeb_model_close(NULL);
}

static void labels_come_from_either_key(void **state) {
    (void)state;
    copy("relu-f16", "model.safetensors", NULL, NULL);
    copy("relu-f16", "config.json", NULL, NULL);
    zeb_model *model = opened(folder);
    assert_string_equal(zeb_model_about(model)->label_name[0], "bad");
    assert_string_equal(zeb_model_about(model)->label_name[1], "good");
    zeb_model_close(model);
    copy("relu-f16", "config.json", "\"vocab_size\"", "\"num_labels\": 3, \"vocab_size\"");
    assert_refused(folder, ZEB_ERR_FORMAT, "\"num_labels\" is 3", "\"id2label\" names 2");
    copy("relu-f16", "config.json", "\"vocab_size\"", "\"problem_type\": \"regression\", \"vocab_size\"");
    assert_refused(folder, ZEB_ERR_UNSUPPORTED, "regression with 2", "config.json");
    copy("relu-f16", "config.json", "\"vocab_size\"", "\"problem_type\": \"multi_label\", \"vocab_size\"");
    assert_refused(folder, ZEB_ERR_UNSUPPORTED, "multi_label", "problem_type");
    copy("relu-f16", "config.json", "\"1\":", "\"2\":");
    assert_refused(folder, ZEB_ERR_FORMAT, "id2label", "\"2\"");
}

static void configs_must_agree_with_weights(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *first, *second;
    } lie[] = {
        {"\"hidden_size\": 15", "\"hidden_size\": 18", "\"hidden_size\"", "18]"},
        {"\"vocab_size\": 53", "\"vocab_size\": 54", "\"vocab_size\" and \"hidden_size\" ask for", "[53,15]"},
        {"\"intermediate_size\": 37", "\"intermediate_size\": 38", "\"intermediate_size\"", "[37,15]"},
        {"\"max_position_embeddings\": 19", "\"max_position_embeddings\": 20", "\"max_position_embeddings\"",
         "F32 [19,15]"},
        {"\"type_vocab_size\": 2", "\"type_vocab_size\": 3", "\"type_vocab_size\"", "[2,15]"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "no tensor", "encoder.layer.2.attention.self.query"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "\"num_hidden_layers\" is 1", "encoder.layer.1."},
        {"\"num_attention_heads\": 3", "\"num_attention_heads\": 4", "no multiple", "num_attention_heads"},
        {"\"2\": \"LABEL_2\"", "\"2\": \"LABEL_2\", \"3\": \"X\"", "\"num_labels\"", "[3,15]"},
        {"\"hidden_size\": 15", "\"hidden_size\": \"15\"", "\"hidden_size\"", "not an integer"},
        {"\"hidden_size\": 15", "\"hidden_size\": 0", "\"hidden_size\" is 0", "1.."},
        {"\"hidden_size\": 15", "\"hidden\": 15", "\"hidden_size\"", "missing"},
        {"\"layer_norm_eps\": 0.02", "\"layer_norm_eps\": -1", "\"layer_norm_eps\"", "-1"},
        {"\"hidden_size\": 15", "\"vocab_size\": 53", "config.json", "duplicate"},
    };
    copy("odd", "model.safetensors", NULL, NULL);
    for (size_t i = 0; i < sizeof lie / sizeof lie[0]; i++) {
        copy("odd", "config.json", lie[i].from, lie[i].to);
        assert_refused(folder, ZEB_ERR_FORMAT, lie[i].first, lie[i].second);
        assert_refused(folder, ZEB_ERR_FORMAT, folder, lie[i].second);
    }
}

/* Heads and neurons removed layer by layer: the lists and the tensors must say the same. */
static void removed_structure_must_agree_with_weights(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *first, *second;
    } lie[] = {
        {"\"layer_ffn\"", "\"layer_ffm\"", "\"intermediate_size\"", "layer.0.intermediate.dense.weight\" [56,24]"},
        {"\"layer_heads\"", "\"layer_tails\"", "\"hidden_size\"", "layer.0.attention.self.query.weight\" [24,24]"},
        {"  37,\n  19", "  37,\n  20", "\"layer_ffn\"", "layer.1.intermediate.dense.weight\" [20,24]"},
        {"  1,\n  2", "  2,\n  2", "\"layer_heads\"", "layer.0.attention.self.query.weight\" [16,24]"},
        {"  1,\n  2", "  1", "\"layer_heads\"", "list of 2"},
        {"  37,\n  19", "  37,\n  19,\n  19", "\"layer_ffn\"", "list of 2"},
        {"  1,\n  2", "  0,\n  2", "\"layer_heads\"[0]", "1..3"},
        {"  37,\n  19", "  37,\n  57", "\"layer_ffn\"[1]", "1..56"},
        {"  37,\n  19", "  37,\n  1.5", "\"layer_ffn\"[1]", "1..56"},
    };
    copy("removed", "model.safetensors", NULL, NULL);
    for (size_t i = 0; i < sizeof lie / sizeof lie[0]; i++) {
        copy("removed", "config.json", lie[i].from, lie[i].to);
        assert_refused(folder, ZEB_ERR_FORMAT, lie[i].first, lie[i].second);
    }
}

static void what_zeb_does_not_know_is_refused(void **state) {
    (void)state;
    copy("odd", "model.safetensors", NULL, NULL);
    copy("odd", "config.json", "\"model_type\": \"bert\"", "\"model_type\": \"llama9\"");
    assert_refused(folder, ZEB_ERR_UNSUPPORTED, "llama9", "zeb knows: bert");
    copy("odd", "config.json", "gelu_new", "mish");
    assert_refused(folder, ZEB_ERR_UNSUPPORTED, "hidden_act", "mish");
    copy("odd", "config.json", "\"is_decoder\": false", "\"is_decoder\": true");
    assert_refused(folder, ZEB_ERR_UNSUPPORTED, "is_decoder", "encoder");
    copy("odd", "config.json", "\"use_cache\"", "\"position_embedding_type\": \"relative_key\", \"use_cache\"");
    assert_refused(folder, ZEB_ERR_UNSUPPORTED, "position_embedding_type", "relative_key");
    copy("odd", "config.json", NULL, NULL);
    copy("odd", "model.safetensors", "\"classifier.weight\"", "\"classifier.weighs\"");
    assert_refused(folder, ZEB_ERR_FORMAT, "classifier.weight", "config.json");
    copy("odd", "model.safetensors", "\"classifier.weight\":{\"dtype\":\"F32\"",
         "\"classifier.weight\":{\"dtype\":\"I32\"");
    assert_refused(folder, ZEB_ERR_UNSUPPORTED, "classifier.weight", "I32 [3,15]");
}

static void missing_parts_are_named(void **state) {
    (void)state;
    assert_refused("/nowhere/at/all", ZEB_ERR_NOT_FOUND, "/nowhere/at/all", "no such");
    assert_refused(folder, ZEB_ERR_IO, "config.json", "No such file");
    copy("odd", "config.json", NULL, NULL);
    assert_refused(folder, ZEB_ERR_NOT_FOUND, folder, "neither model.safetensors nor");
    fixture_write(folder, "config.json", "{\"model_type\": \"bert\"", 21);
    assert_refused(folder, ZEB_ERR_FORMAT, "config.json", "line 1");
}

static void cards_name_their_checkpoint(void **state) {
    (void)state;
    char card[128], json[1024], hex[65], wanted[65];
    zeb_error error = {{0}};
    /* relative to the card: up to the root and down again */
    int length = snprintf(json, sizeof json, "{\"name\": \"tiny\", \"checkpoint\": \"../..%s/odd\"}", GOLDEN);
    fixture_write(folder, "card.json", json, (size_t)length);
    (void)snprintf(card, sizeof card, "%s/card.json", folder);
    const char *const ways[] = {card, folder};
    for (size_t i = 0; i < 2; i++) {
        zeb_model *model = opened(ways[i]);
        assert_string_equal(zeb_model_about(model)->name, "tiny");
        assert_string_equal(zeb_model_about(model)->path, ways[i]);
        assert_non_null(strstr(zeb_model_folder(model), "/golden/odd"));
        assert_int_equal(zeb_model_hash(model, hex, &error), ZEB_OK);
        assert_int_equal(zeb_sha256_file(GOLDEN "/odd/model.safetensors", wanted, &error), ZEB_OK);
        assert_string_equal(hex, wanted);
        zeb_model_close(model);
    }
    fixture_write(folder, "card.json", "{\"checkpoint\": \"gone\"}", 22);
    assert_refused(card, ZEB_ERR_NOT_FOUND, "gone", "not a folder");
    fixture_write(folder, "card.json", "{}", 2);
    assert_refused(card, ZEB_ERR_FORMAT, "\"checkpoint\"", "missing");
}

static void shards_must_be_what_the_index_says(void **state) {
    (void)state;
    static const char *const shard[] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
    static const char index[] = "model.safetensors.index.json";
    copy("sharded", "config.json", NULL, NULL);
    for (size_t i = 0; i < 2; i++)
        copy("sharded", shard[i], NULL, NULL);
    copy("sharded", index, NULL, NULL);
    zeb_model_close(opened(folder));
    copy("sharded", index, shard[1], shard[0]);
    assert_refused(folder, ZEB_ERR_FORMAT, "index.json", "is not in");
    static const char *const away[] = {"/x.safetensors",
                                       "../../x.safetensors",
                                       "a/../x.safetensors",
                                       "../../../../etc/hosts",
                                       "./x.safetensors",
                                       "..",
                                       "a//x.safetensors",
                                       "a/",
                                       ""};
    for (size_t i = 0; i < sizeof away / sizeof away[0]; i++) {
        copy("sharded", index, shard[1], away[i]);
        assert_refused(folder, ZEB_ERR_FORMAT, "index.json", "in this folder or beside it");
        assert_refused(folder, ZEB_ERR_FORMAT, away[i], "tensor \"");
    }
    copy("sharded", index, shard[1], "../none/x.safetensors");
    assert_refused(folder, ZEB_ERR_NOT_FOUND, "none/x.safetensors", "no such file");
    copy("sharded", index, "weight_map", "weights");
    assert_refused(folder, ZEB_ERR_FORMAT, "index.json", "weight_map");
    copy("sharded", index, NULL, NULL);
    fixture_write(folder, shard[1], NULL, 0);
    assert_refused(folder, ZEB_ERR_NOT_FOUND, shard[1], "no such file");
    copy("sharded", shard[0], NULL, NULL);
    char path[128];
    size_t size;
    (void)snprintf(path, sizeof path, "%s/%s", folder, shard[0]);
    char *bytes = fixture_read(path, &size);
    fixture_write(folder, shard[1], bytes, size);
    free(bytes);
    copy("sharded", index, NULL, NULL);
    assert_refused(folder, ZEB_ERR_FORMAT, "index.json", "is not in");
}

/* A shard in a folder beside that of the checkpoint; its name counts for the order in which hashes are hashed. */
static void a_shard_may_stand_beside_the_folder(void **state) {
    (void)state;
    static const char *const shard[] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
    char at[128], beside[64], name[128], hex[65], wanted[65], both[129];
    zeb_error error = {{0}};
    const char *last = strrchr(folder, '/') + 1;
    fixture_folder(beside, sizeof beside);
    (void)snprintf(name, sizeof name, "../%s/words.safetensors", strrchr(beside, '/') + 1);
    copy("sharded", "config.json", NULL, NULL);
    copy("sharded", shard[0], NULL, NULL);
    copy("sharded", "model.safetensors.index.json", shard[1], name);
    size_t size;
    char *bytes = fixture_read(GOLDEN "/sharded/model-00002-of-00002.safetensors", &size);
    assert_non_null(bytes);
    fixture_write(beside, "words.safetensors", bytes, size);
    zeb_model *model = opened(folder);
    assert_int_equal(zeb_model_hash(model, hex, &error), ZEB_OK);
    (void)snprintf(at, sizeof at, "%s/words.safetensors", beside);
    assert_int_equal(zeb_sha256_file(at, wanted, &error), ZEB_OK);
    (void)snprintf(both, sizeof both, "%s", wanted);
    assert_int_equal(zeb_sha256_file(GOLDEN "/sharded/model-00001-of-00002.safetensors", wanted, &error), ZEB_OK);
    (void)snprintf(both + 64, sizeof both - 64, "%s", wanted);
    zeb_sha256(both, 128, wanted);
    assert_string_equal(hex, wanted);
    zeb_model_close(model);
    /* two spellings of one file would be two files with the same tensors */
    (void)snprintf(name, sizeof name, "../%s/%s", last, shard[0]);
    copy("sharded", "model.safetensors.index.json", shard[1], name);
    assert_refused(folder, ZEB_ERR_FORMAT, "index.json", "is not in");
    fixture_remove(beside);
    free(bytes);
}

/* Both files hold every tensor: whichever the index means, the other one holds it too. */
static void a_tensor_in_two_shards_is_refused(void **state) {
    (void)state;
    size_t size;
    char *bytes = fixture_read(GOLDEN "/odd/model.safetensors", &size);
    assert_non_null(bytes);
    copy("odd", "config.json", NULL, NULL);
    fixture_write(folder, "a.safetensors", bytes, size);
    fixture_write(folder, "b.safetensors", bytes, size);
    static const char index[] =
        "{\"weight_map\": {\"classifier.weight\": \"a.safetensors\", \"classifier.bias\": \"b.safetensors\"}}";
    fixture_write(folder, "model.safetensors.index.json", index, sizeof index - 1);
    assert_refused(folder, ZEB_ERR_FORMAT, "a.safetensors and ", "b.safetensors both hold tensor \"");
    free(bytes);
}

static void weights_are_found_by_name(void **state) {
    (void)state;
    zeb_error error = {{0}};
    zeb_weight weight;
    zeb_model *model = opened(GOLDEN "/legacy");
    assert_int_equal(zeb_model_tensor(model, "classifier.weight", &weight, &error), ZEB_OK);
    assert_int_equal(weight.dtype, ZEB_F32);
    assert_int_equal(weight.extent[0], 2);
    assert_int_equal(weight.extent[1], 22);
    assert_int_equal((uintptr_t)weight.data % 4, 0);
    assert_int_equal(zeb_model_tensor(model, "nothing", &weight, &error), ZEB_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "nothing"));
    assert_int_equal(zeb_model_tensor(model, "embeddings.position_ids", &weight, &error), ZEB_ERR_UNSUPPORTED);
    zeb_model_close(model);
}

/* A header one byte longer puts every weight off its alignment. */
static void misaligned_weights_still_work(void **state) {
    (void)state;
    char path[512];
    size_t size;
    zeb_error error = {{0}};
    zeb_weight weight;
    copy("odd", "config.json", NULL, NULL);
    (void)snprintf(path, sizeof path, GOLDEN "/odd/model.safetensors");
    char *bytes = fixture_read(path, &size);
    assert_non_null(bytes);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | (unsigned char)bytes[i];
    char *made = malloc(size + 1);
    assert_non_null(made);
    memcpy(made, bytes, 8 + header);
    made[8 + header] = ' ';
    memcpy(made + 9 + header, bytes + 8 + header, size - 8 - header);
    made[0] = (char)(made[0] + 1); /* the length's low byte: the fixture's is no 255 */
    assert_int_not_equal((unsigned char)bytes[0], 255);
    fixture_write(folder, "model.safetensors", made, size + 1);
    zeb_model *model = opened(folder), *plain = opened(GOLDEN "/odd");
    zeb_graph_options options = {.token_max = 8, .batch_max = 2};
    zeb_builder *builder;
    const zeb_graph *graph;
    assert_int_equal(zeb_builder_create(&builder, &error), ZEB_OK);
    if (zeb_model_graph(model, &options, builder, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_builder_finish(builder, &graph, &error), ZEB_OK);
    const zeb_tensor *tensor = &graph->tensor[zeb_graph_find(graph, "layer.1.ffn.in.weight")];
    assert_int_equal((uintptr_t)tensor->data % 4, 0);
    assert_int_equal(zeb_model_tensor(plain, "bert.encoder.layer.1.intermediate.dense.weight", &weight, &error),
                     ZEB_OK);
    assert_memory_equal(tensor->data, weight.data, tensor->bytes);
    assert_int_equal(zeb_model_tensor(model, "classifier.weight", &weight, &error), ZEB_ERR_UNSUPPORTED);
    zeb_builder_destroy(builder);
    zeb_model_close(model);
    zeb_model_close(plain);
    free(made);
    free(bytes);
}

static uint64_t dense_flops(const zeb_model *model, bool whole) {
    zeb_error error = {{0}};
    zeb_graph_options options = {.token_max = 9, .batch_max = 1, .whole = whole};
    zeb_builder *builder;
    const zeb_graph *graph;
    zeb_cost *cost;
    zeb_work work;
    int32_t length = 9;
    assert_int_equal(zeb_builder_create(&builder, &error), ZEB_OK);
    if (zeb_model_graph(model, &options, builder, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_builder_finish(builder, &graph, &error), ZEB_OK);
    assert_int_equal(zeb_cost_create(graph, &cost, &error), ZEB_OK);
    assert_int_equal(zeb_cost_dense(cost, &length, 1, NULL, &work, &error), ZEB_OK);
    zeb_cost_destroy(cost);
    zeb_builder_destroy(builder);
    return work.flops;
}

/* The work of the whole model is known from what is left of it; of one that lost nothing it is its own. */
static void the_whole_model_is_counted(void **state) {
    (void)state;
    zeb_model *odd = opened(GOLDEN "/odd"), *removed = opened(GOLDEN "/removed");
    assert_int_equal(dense_flops(odd, true), dense_flops(odd, false));
    /* Products alone, 9 rows: 3 of 6 heads of 8 and 56 of 112 neurons are gone. */
    const uint64_t heads = 3 * (4 * 2 * 9 * 24 * 8 + 2 * 2 * 9 * 9 * 8), neurons = 56 * 2 * 2 * 9 * 24;
    uint64_t less = dense_flops(removed, true) - dense_flops(removed, false);
    assert_in_range(less, heads + neurons, (heads + neurons) * 12 / 10);
    zeb_model_close(odd);
    zeb_model_close(removed);
}

static void graphs_refuse_what_cannot_be(void **state) {
    (void)state;
    static const struct {
        zeb_graph_options options;
        zeb_status status;
        const char *word;
    } ask[] = {{{0, 1, ZEB_PRECISION_F32, false}, ZEB_ERR_ARGUMENT, "0 tokens"},
               {{1, 0, ZEB_PRECISION_F32, false}, ZEB_ERR_ARGUMENT, "0 sequences"},
               {{1, 1, 99, false}, ZEB_ERR_ARGUMENT, "precision 99"},
               {{1, 1, ZEB_PRECISION_W4A16, false}, ZEB_ERR_UNSUPPORTED, "groups of 32"}};
    zeb_model *model = opened(GOLDEN "/odd");
    for (size_t i = 0; i < sizeof ask / sizeof ask[0]; i++) {
        zeb_error error = {{0}};
        zeb_builder *builder;
        assert_int_equal(zeb_builder_create(&builder, &error), ZEB_OK);
        assert_int_equal(zeb_model_graph(model, &ask[i].options, builder, &error), ask[i].status);
        if (strstr(error.text, ask[i].word) == NULL) fail_msg("'%s' lacks '%s'", error.text, ask[i].word);
        zeb_builder_destroy(builder);
    }
    zeb_model_close(model);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_say_what_they_are), IN_FOLDER(labels_come_from_either_key),
        IN_FOLDER(configs_must_agree_with_weights),      IN_FOLDER(removed_structure_must_agree_with_weights),
        IN_FOLDER(what_zeb_does_not_know_is_refused),    IN_FOLDER(missing_parts_are_named),
        IN_FOLDER(cards_name_their_checkpoint),          IN_FOLDER(shards_must_be_what_the_index_says),
        IN_FOLDER(a_shard_may_stand_beside_the_folder),  IN_FOLDER(a_tensor_in_two_shards_is_refused),
        cmocka_unit_test(weights_are_found_by_name),     IN_FOLDER(misaligned_weights_still_work),
        cmocka_unit_test(the_whole_model_is_counted),    cmocka_unit_test(graphs_refuse_what_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
