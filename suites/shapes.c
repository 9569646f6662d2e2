#include "suites/shapes.h"

#include <string.h>
#include <strings.h>

/* ---- one example a record ---- */

static zeb_status read_pair(zeb_entry *record) {
    const zeb_columns *columns = record->reader->columns;
    const char *a, *b;
    zeb_example example = zeb_entry_blank(record);
    if (!zeb_entry_text(record, record->root, columns->a, &a) ||
        !zeb_entry_text(record, record->root, columns->b, &b) || !zeb_entry_label(record, record->root, &example))
        return ZEB_OK;
    const zeb_metric_kind *metric = record->reader->task->metric;
    if (metric[1] == ZEB_METRIC_GENDER_PARITY) example.group = example.index / 2; /* AX-g: pairs stand together */
    return zeb_entry_add_pair(record, a, b, &example);
}

static zeb_status read_wic(zeb_entry *record) {
    const char *word, *first, *second;
    zeb_example example = zeb_entry_blank(record);
    if (!zeb_entry_text(record, record->root, "word", &word) ||
        !zeb_entry_text(record, record->root, "sentence1", &first) ||
        !zeb_entry_text(record, record->root, "sentence2", &second) || !zeb_entry_label(record, record->root, &example))
        return ZEB_OK;
    char *marked;
    zeb_status status = zeb_arena_format(record->reader->arena, &marked, record->error, "%s: %s", word, first);
    return status == ZEB_OK ? zeb_entry_add_pair(record, marked, second, &example) : status;
}

/* The index-th of the words between single blanks, or NULL. */
static const char *word_at(const char *text, size_t index) {
    for (; index > 0; index--) {
        text = strchr(text, ' ');
        if (text == NULL) return NULL;
        text++;
    }
    return text;
}

/* Where the pronoun stands: at its word, else (the official files miscount in places) at the nearest word like it. */
static const char *find_pronoun(const char *text, size_t index, const char *pronoun) {
    size_t length = strlen(pronoun);
    const char *nearest = NULL, *word;
    size_t nearest_away = SIZE_MAX, at = 0;
    for (word = text; word != NULL; word = word_at(word, 1), at++) {
        size_t away = at > index ? at - index : index - at;
        if (away >= nearest_away || strncasecmp(word, pronoun, length) != 0) continue;
        nearest = word;
        nearest_away = away;
    }
    return nearest;
}

static zeb_status read_wsc(zeb_entry *record) {
    const char *text, *noun, *pronoun;
    size_t index;
    zeb_example example = zeb_entry_blank(record);
    const json_t *target = json_object_get(record->root, "target");
    if (!zeb_entry_text(record, record->root, "text", &text) ||
        !zeb_entry_text(record, record->root, "target.span1_text", &noun) ||
        !zeb_entry_text(record, record->root, "target.span2_text", &pronoun) ||
        !zeb_entry_index(record, target, "span2_index", &index) || !zeb_entry_label(record, record->root, &example))
        return ZEB_OK;
    const char *place = pronoun[0] != '\0' ? find_pronoun(text, index, pronoun) : NULL;
    if (place == NULL) {
        (void)zeb_entry_malformed(record, "\"%.40s\" does not stand in the text", pronoun);
        return ZEB_OK;
    }
    size_t length = strlen(pronoun);
    char *marked;
    zeb_status status = zeb_arena_format(record->reader->arena, &marked, record->error, "%.*s*%.*s*%s",
                                         (int)(place - text), text, (int)length, place, place + length);
    return status == ZEB_OK ? zeb_entry_add_pair(record, marked, noun, &example) : status;
}

/* ---- several examples a record ---- */

/* "a, joint, b" in the arena, as the second text of an example. */
static zeb_status join_b(zeb_entry *record, const char *a, const char *joint, const char *b, zeb_example *example) {
    char *made;
    zeb_status status = zeb_arena_format(record->reader->arena, &made, record->error, "%s%s%s", a, joint, b);
    example->b = made;
    example->b_len = status == ZEB_OK ? strlen(made) : 0;
    return status;
}

static zeb_status read_copa(zeb_entry *record) {
    static const char *const key[2] = {"choice1", "choice2"};
    const char *premise, *question, *choice[2];
    zeb_example gold = zeb_entry_blank(record);
    if (!zeb_entry_text(record, record->root, "premise", &premise) ||
        !zeb_entry_text(record, record->root, "question", &question) ||
        !zeb_entry_text(record, record->root, key[0], &choice[0]) ||
        !zeb_entry_text(record, record->root, key[1], &choice[1]) || !zeb_entry_label(record, record->root, &gold))
        return ZEB_OK;
    bool cause = strcmp(question, "cause") == 0;
    if (!cause && strcmp(question, "effect") != 0) {
        (void)zeb_entry_malformed(record, "question \"%.40s\" is neither cause nor effect", question);
        return ZEB_OK;
    }
    const char *asked = cause ? "What was the cause?" : "What happened?";
    char *whole;
    zeb_status status = zeb_arena_format(record->reader->arena, &whole, record->error, "%s %s", premise, asked);
    int64_t group = (int64_t)record->reader->dataset->rows_read - 1;
    for (int32_t i = 0; i < 2 && status == ZEB_OK; i++) {
        zeb_example example = zeb_entry_blank(record);
        example.group = group;
        if (gold.label >= 0) example.label = gold.label == i;
        example.target = example.label > 0;
        status = zeb_entry_add_pair(record, whole, choice[i], &example);
    }
    return status;
}

static zeb_status read_answers(zeb_entry *record, const json_t *question, const zeb_example *passage) {
    const char *asked, *text;
    const json_t *answers, *answer;
    size_t i;
    if (!zeb_entry_text(record, question, "question", &asked) ||
        !zeb_entry_list(record, question, "answers", &answers) || !zeb_entry_short(record, asked))
        return ZEB_OK;
    int64_t group = zeb_entry_group(record->reader);
    json_array_foreach(answers, i, answer) {
        zeb_example example = *passage;
        example.group = group;
        if (!zeb_entry_text(record, answer, "text", &text) || !zeb_entry_label(record, answer, &example)) return ZEB_OK;
        zeb_status status = join_b(record, asked, " ", text, &example);
        if (status == ZEB_OK) status = zeb_entry_add(record, &example);
        if (status != ZEB_OK || record->problem[0] != '\0') return status;
    }
    return ZEB_OK;
}

static zeb_status read_multirc(zeb_entry *record) {
    const char *text;
    const json_t *passage = json_object_get(record->root, "passage"), *questions, *question;
    zeb_example shared = zeb_entry_blank(record);
    size_t i;
    if (!zeb_entry_text(record, passage, "text", &text) || !zeb_entry_list(record, passage, "questions", &questions))
        return ZEB_OK;
    zeb_status status = zeb_entry_copy(record, text, &shared.a, &shared.a_len);
    json_array_foreach(questions, i, question) {
        if (status != ZEB_OK || zeb_entry_full(record)) break;
        status = read_answers(record, question, &shared);
    }
    return status;
}

/* ---- which ---- */

zeb_status zeb_shape_read(zeb_entry *record) {
    switch (record->reader->task->shape) {
        case ZEB_SHAPE_PAIR: return read_pair(record);
        case ZEB_SHAPE_WIC: return read_wic(record);
        case ZEB_SHAPE_WSC: return read_wsc(record);
        case ZEB_SHAPE_COPA: return read_copa(record);
        case ZEB_SHAPE_MULTIRC: return read_multirc(record);
        case ZEB_SHAPE_RECORD: return zeb_shape_record(record);
    }
    return zeb_fail(record->error, ZEB_ERR_INTERNAL, "a task of unknown shape");
}

bool zeb_shape_has_label(const zeb_task *task, const zeb_columns *columns, const json_t *root) {
    if (task->shape == ZEB_SHAPE_RECORD) root = json_array_get(json_object_get(root, "qas"), 0);
    if (task->shape == ZEB_SHAPE_MULTIRC) {
        const json_t *questions = json_object_get(json_object_get(root, "passage"), "questions");
        root = json_array_get(json_object_get(json_array_get(questions, 0), "answers"), 0);
    }
    return json_object_get(root, columns->label) != NULL;
}
