#include "suites/superglue/superglue.h"

/* Label names and their order are those of the Hugging Face `super_glue` dataset. */
static const char *const yes_no[] = {"False", "True"};
static const char *const yes_no_value[] = {"false", "true"};
static const char *const zero_one[] = {"0", "1"};
static const char *const commitment[] = {"entailment", "contradiction", "neutral"};
static const char *const two_way[] = {"entailment", "not_entailment"};

/* What all of them have in common: JSON lines, and a val.jsonl that zeb calls dev, as it calls GLUE's. */
#define SUPERGLUE(short_name, folder_name, what)                                                                       \
    .name = "superglue/" short_name, .suite = "superglue", .folder = folder_name, .title = what, .version = 1,         \
    .kind = ZEB_TASK_CLASSIFICATION, .format = ZEB_FILE_JSONL, .pair = true
#define SPLITS(train_rows, dev_rows, test_rows)                                                                        \
    .split = {{"train", "train.jsonl", train_rows, true, NULL},                                                        \
              {"dev", "val.jsonl", dev_rows, true, NULL},                                                              \
              {"test", "test.jsonl", test_rows, false, NULL}},                                                         \
    .default_split = "dev"
#define LABELS(count, names, values) .labels = (count), .label_name = (names), .label_value = (values)

const zeb_task zeb_superglue_task[] = {
    {SUPERGLUE("boolq", "BoolQ", "yes or no to a question about a passage"), LABELS(2, yes_no, yes_no_value),
     .columns = {.a = "passage", .b = "question", .label = "label"}, SPLITS(9427, 3270, 3245),
     .metric = {ZEB_METRIC_ACCURACY}},
    {SUPERGLUE("cb", "CB", "is the writer committed to a clause"), LABELS(3, commitment, commitment),
     .columns = {.a = "premise", .b = "hypothesis", .label = "label"}, SPLITS(250, 56, 250),
     .metric = {ZEB_METRIC_ACCURACY, ZEB_METRIC_MACRO_F1}, .headline_mean = true},
    {SUPERGLUE("copa", "COPA", "which of two is the cause or the effect"), LABELS(2, yes_no, zero_one),
     .shape = ZEB_SHAPE_COPA, .columns = {.label = "label"}, SPLITS(400, 100, 500),
     .metric = {ZEB_METRIC_CHOICE_ACCURACY}},
    {SUPERGLUE("multirc", "MultiRC", "which answers to a question about a passage are right"),
     LABELS(2, yes_no, zero_one), .shape = ZEB_SHAPE_MULTIRC, .columns = {.label = "label"}, SPLITS(456, 83, 166),
     .metric = {ZEB_METRIC_EXACT_QUESTIONS, ZEB_METRIC_F1_ANSWERS}, .headline_mean = true},
    {SUPERGLUE("record", "ReCoRD", "which entity a news sentence is about"), LABELS(2, yes_no, zero_one),
     .shape = ZEB_SHAPE_RECORD, .columns = {.label = "answers"}, SPLITS(0, 0, 0),
     .metric = {ZEB_METRIC_CHOICE_EXACT, ZEB_METRIC_CHOICE_F1}, .headline_mean = true},
    {SUPERGLUE("rte", "RTE", "entailment in two ways"), LABELS(2, two_way, two_way),
     .columns = {.a = "premise", .b = "hypothesis", .label = "label"}, SPLITS(2490, 277, 3000),
     .metric = {ZEB_METRIC_ACCURACY}},
    {SUPERGLUE("wic", "WiC", "has a word the same meaning in two sentences"), LABELS(2, yes_no, yes_no_value),
     .shape = ZEB_SHAPE_WIC, .columns = {.label = "label"}, SPLITS(5428, 638, 1400), .metric = {ZEB_METRIC_ACCURACY}},
    {SUPERGLUE("wsc", "WSC", "does a pronoun stand for a noun phrase"), LABELS(2, yes_no, yes_no_value),
     .shape = ZEB_SHAPE_WSC, .columns = {.label = "label"}, SPLITS(554, 104, 146), .metric = {ZEB_METRIC_ACCURACY}},
    {SUPERGLUE("ax-b", "AX-b", "diagnostic set of entailment phenomena, two ways"), LABELS(2, two_way, two_way),
     .columns = {.a = "sentence1", .b = "sentence2", .label = "label"},
     .split = {{"diagnostic", "AX-b.jsonl", 1104, true, NULL}}, .default_split = "diagnostic",
     .metric = {ZEB_METRIC_MATTHEWS}},
    {SUPERGLUE("ax-g", "AX-g", "entailment with pronouns of either gender"), LABELS(2, two_way, two_way),
     .columns = {.a = "premise", .b = "hypothesis", .label = "label"},
     .split = {{"diagnostic", "AX-g.jsonl", 356, true, NULL}}, .default_split = "diagnostic",
     .metric = {ZEB_METRIC_ACCURACY, ZEB_METRIC_GENDER_PARITY}},
};

const size_t zeb_superglue_count = sizeof zeb_superglue_task / sizeof zeb_superglue_task[0];
