/* policy.json: what is accepted, and the sentence for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sparsity/rules.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD                                                                                                           \
    "{\"schema\":\"zeb-policy-1\",\"name\":\"test\",\"model_sha256\":\"" HASH "\",\"floor\":3,\"keep_last\":true,"
#define LAYER "{\"tokens\":null,\"score_threshold\":0.0,\"heads\":null,\"ffn\":null}"

static zeb_status open_layers(const char *text, const char *hash, int32_t layers, zeb_policy **policy,
                              zeb_error *error) {
    char path[] = "/tmp/zeb-policy-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(file), 0);
    zeb_status status = zeb_policy_open(path, hash, layers, policy, error);
    assert_int_equal(unlink(path), 0);
    return status;
}

static zeb_status open_text(const char *text, const char *hash, zeb_policy **policy, zeb_error *error) {
    return open_layers(text, hash, 2, policy, error);
}

static void reads_every_field(void **state) {
    zeb_policy *policy = NULL;
    zeb_error error = {""};
    (void)state;
    zeb_status status =
        open_text(HEAD "\"layers\":[{\"tokens\":{\"mode\":\"threshold\",\"value\":0.0125},"
                       "\"score_threshold\":0.01,\"heads\":{\"weight\":\"zeb.gate.0.weight\",\"bias\":"
                       "\"zeb.gate.0.bias\"},\"ffn\":null},{\"tokens\":{\"mode\":\"topk\",\"value\":7}}]}",
                  HASH, &policy, &error);
    if (status != ZEB_OK) fail_msg("%s", error.text);
    assert_string_equal(zeb_policy_name(policy), "test");
    assert_int_equal(policy->rule[0].tokens.mode, ZEB_SELECT_THRESHOLD);
    assert_true(policy->rule[0].tokens.value == 0.0125f);
    assert_int_equal(policy->rule[0].tokens.floor, 3);
    assert_int_equal(policy->rule[0].tokens.keep_last, 1);
    assert_true(policy->rule[0].score_threshold == 0.01f);
    assert_string_equal(policy->rule[0].gate_bias, "zeb.gate.0.bias");
    assert_int_equal(policy->rule[1].tokens.mode, ZEB_SELECT_TOPK);
    assert_int_equal(policy->rule[1].tokens.count, 7);
    assert_null(policy->rule[1].gate_weight);
    assert_null(policy->rule[0].exit_weight);
    assert_int_equal(zeb_policy_precisions(policy), 0);
    zeb_policy_close(policy);
    status =
        open_text(HEAD "\"precisions\":[\"w8a8\",\"fp32\"],\"layers\":[" LAYER "," LAYER "]}", HASH, &policy, &error);
    if (status != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_policy_precisions(policy), 1 << ZEB_PRECISION_F32 | 1 << ZEB_PRECISION_W8A8);
    zeb_policy_close(policy);
    zeb_policy_close(NULL);
    status = open_text(HEAD "\"weights\":{\"file\":\"exits.safetensors\",\"sha256\":\"" HASH "\"},\"layers\":["
                            "{\"exit\":{\"weight\":\"w\",\"bias\":\"b\",\"confidence\":0.9},"
                            "\"ffn\":{\"block\":32,\"threshold\":0.5}}," LAYER "]}",
                       HASH, &policy, &error);
    if (status != ZEB_OK) fail_msg("%s", error.text);
    const char *hash;
    assert_string_equal(zeb_policy_weights(policy, &hash), "/tmp/exits.safetensors");
    assert_string_equal(hash, HASH);
    assert_string_equal(policy->rule[0].exit_weight, "w");
    assert_true(policy->rule[0].confidence == 0.9f);
    assert_int_equal(policy->rule[0].ffn.size, 32);
    assert_true(policy->rule[0].ffn.threshold == 0.5f);
    zeb_policy_close(policy);
}

static void the_model_is_compared_when_both_are_known(void **state) {
    zeb_policy *policy = NULL;
    zeb_error error = {""};
    (void)state;
    const char *text = HEAD "\"layers\":[" LAYER "," LAYER "]}";
    assert_int_equal(open_text(text, NULL, &policy, &error), ZEB_OK);
    zeb_policy_close(policy);
    const char *other = "ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_int_equal(open_text(text, other, &policy, &error), ZEB_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "0123456789ab"));
    assert_non_null(strstr(error.text, "ffff456789ab"));
    assert_null(policy);
    text = "{\"schema\":\"zeb-policy-1\",\"name\":\"any\",\"model_sha256\":null,\"layers\":[" LAYER "," LAYER "]}";
    assert_int_equal(open_text(text, other, &policy, &error), ZEB_OK);
    assert_int_equal(policy->rule[0].tokens.floor, 2);
    zeb_policy_close(policy);
}

static void what_is_wrong_is_named(void **state) {
    static const struct {
        const char *text, *says;
        zeb_status status;
    } wrong[] = {
        {"[]", "object", ZEB_ERR_FORMAT},
        {"{\"schema\":\"zeb-policy-9\"}", "zeb-policy-9", ZEB_ERR_VERSION},
        {"{\"name\":\"x\"}", "schema", ZEB_ERR_FORMAT},
        {"{\"schema\":\"zeb-policy-1\",\"name\":7}", "name must be text", ZEB_ERR_FORMAT},
        {"{\"schema\":\"zeb-policy-1\",\"name\":\"dense\"}", "name must not be \"dense\"", ZEB_ERR_FORMAT},
        {"{\"schema\":\"zeb-policy-1\",\"name\":\"x\",\"model_sha256\":\"12\"}", "64 hexadecimal", ZEB_ERR_FORMAT},
        {"{\"schema\":\"zeb-policy-1\",\"name\":\"x\",\"floor\":0,\"layers\":[]}", "floor", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":{}}", "layers must be a list", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER "]}", "1 entries, but the model has 2", ZEB_ERR_ARGUMENT},
        {HEAD "\"layer\":[]}", "no key 'layer'", ZEB_ERR_FORMAT},
        {HEAD "\"precisions\":[\"int8\"],\"layers\":[]}", "precisions must be names", ZEB_ERR_FORMAT},
        {HEAD "\"precisions\":[],\"layers\":[]}", "precisions must be a list", ZEB_ERR_FORMAT},
        {HEAD "\"precisions\":[2],\"layers\":[]}", "precisions must be names", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",3]}", "layers[1] must be an object", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"token\":null}]}", "layers[1]. has no key 'token'", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"best\",\"value\":1}}]}", "layers[1].tokens.mode",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"ratio\"}}]}", "layers[1].tokens.value", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"ratio\",\"value\":0}}]}", "above 0 and at most 1",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"ratio\",\"value\":1.01}}]}", "above 0 and at most 1",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"topk\",\"value\":2.5}}]}", "whole number", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"topk\",\"value\":1e30}}]}", "whole number",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"threshold\",\"value\":-0.1}}]}", "within 0 and 1",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"tokens\":{\"mode\":\"relative\",\"value\":1001}}]}", "within 0 and 1000",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"score_threshold\":2}]}", "layers[1].score_threshold", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"score_threshold\":\"0\"}]}", "layers[1].score_threshold", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"heads\":{\"weight\":\"w\"}}]}", "layers[1].heads.bias", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"ffn\":{}}]}", "layers[1].ffn.block", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"ffn\":{\"block\":0,\"threshold\":0}}]}", "at least 1", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"ffn\":{\"block\":32,\"threshold\":-1}}]}", "layers[1].ffn.threshold",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"ffn\":{\"block\":32,\"theshold\":1}}]}", "no key 'theshold'", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[{\"exit\":{\"weight\":\"w\",\"bias\":\"b\",\"confidence\":0}}," LAYER "]}",
         "layers[0].exit.confidence", ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[{\"exit\":{\"weight\":\"w\",\"bias\":\"b\",\"confidence\":1.5}}," LAYER "]}", "at most 1",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[{\"exit\":{\"weight\":\"w\",\"confidence\":0.5}}," LAYER "]}", "layers[0].exit.bias",
         ZEB_ERR_FORMAT},
        {HEAD "\"layers\":[" LAYER ",{\"exit\":{\"weight\":\"w\",\"bias\":\"b\",\"confidence\":0.5}}]}",
         "the last layer", ZEB_ERR_FORMAT},
        {HEAD "\"weights\":{\"file\":\"../x\",\"sha256\":\"" HASH "\"},\"layers\":[]}", "weights.file", ZEB_ERR_FORMAT},
        {HEAD "\"weights\":{\"file\":\"x\",\"sha256\":\"12\"},\"layers\":[]}", "weights.sha256", ZEB_ERR_FORMAT},
        {HEAD "\"weights\":\"x\",\"layers\":[]}", "weights must be an object", ZEB_ERR_FORMAT},
        {"{\"schema\":", "line", ZEB_ERR_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        zeb_policy *policy = NULL;
        zeb_error error = {""};
        zeb_status status = open_text(wrong[i].text, HASH, &policy, &error);
        if (status != wrong[i].status || strstr(error.text, wrong[i].says) == NULL || policy != NULL)
            fail_msg("%s: status %s, '%s' does not say '%s'", wrong[i].text, zeb_status_name(status), error.text,
                     wrong[i].says);
    }
}

static void dropped_heads_stay_away(void **state) {
    static const char *const wrong[][2] = {
        {"{\"heads\":{\"keep\":4}}," LAYER "," LAYER, "layers[0].heads.keep comes too early"},
        {LAYER ",{\"heads\":{\"keep\":3}}," LAYER, "layers[2].heads.keep must be there"},
        {LAYER ",{\"heads\":{\"keep\":3}},{\"heads\":{\"keep\":4}}", "layers[2].heads.keep must be no more"},
        {LAYER ",{\"heads\":{\"keep\":0}}," LAYER, "layers[1].heads.keep must be a whole number"},
        {LAYER ",{\"heads\":{\"keep\":2.5}}," LAYER, "layers[1].heads.keep must be a whole number"},
        {LAYER ",{\"heads\":{\"keep\":2,\"bias\":\"b\"}}," LAYER, "no key 'bias'"}};
    zeb_policy *policy = NULL;
    zeb_error error = {""};
    char text[600];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        (void)snprintf(text, sizeof text, "%s\"layers\":[%s]}", HEAD, wrong[i][0]);
        assert_int_equal(open_layers(text, HASH, 3, &policy, &error), ZEB_ERR_FORMAT);
        if (strstr(error.text, wrong[i][1]) == NULL) fail_msg("'%s' does not say '%s'", error.text, wrong[i][1]);
    }
    (void)snprintf(text, sizeof text, "%s\"layers\":[%s]}", HEAD,
                   LAYER ",{\"heads\":{\"keep\":3}},{\"heads\":{\"keep\":2}}");
    if (open_layers(text, HASH, 3, &policy, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(policy->rule[0].heads_kept, 0);
    assert_int_equal(policy->rule[1].heads_kept, 3);
    assert_int_equal(policy->rule[2].heads_kept, 2);
    zeb_policy_close(policy);
}

static void a_missing_file_is_named(void **state) {
    zeb_policy *policy = NULL;
    zeb_error error = {""};
    (void)state;
    assert_int_equal(zeb_policy_open("/nowhere/policy.json", NULL, 2, &policy, &error), ZEB_ERR_IO);
    assert_non_null(strstr(error.text, "/nowhere/policy.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),       cmocka_unit_test(the_model_is_compared_when_both_are_known),
        cmocka_unit_test(what_is_wrong_is_named),  cmocka_unit_test(dropped_heads_stay_away),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
