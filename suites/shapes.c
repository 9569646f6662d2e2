#include "suites/shapes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "suites/answer.h"

/* More than any record of these tasks has, and little enough that a hostile file costs neither time nor memory. */
enum { RECORD_EXAMPLES_MAX = 10000, ENTITIES_MAX = 1000, ANSWER_BYTES_MAX = 4096 };

/* ---- values of a record ---- */

ZEB_PRINTF(2, 3) static bool malformed(zeb_record *record, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(record->problem, sizeof record->problem, format, args);
    va_end(args);
    return false;
}

/* The text at a key; "passage.text" goes one object deeper. */
static bool text_at(zeb_record *record, const json_t *object, const char *key, const char **text) {
    const char *dot = strchr(key, '.'), *last = dot != NULL ? dot + 1 : key;
    char outer[32] = "";
    if (dot != NULL) {
        (void)snprintf(outer, sizeof outer, "%.*s", (int)(dot - key), key);
        object = json_object_get(object, outer);
    }
    *text = json_string_value(json_object_get(object, last));
    return *text != NULL || malformed(record, "no text \"%s\"", key);
}

static bool array_at(zeb_record *record, const json_t *object, const char *key, const json_t **array) {
    *array = json_object_get(object, key);
    return json_is_array(*array) || malformed(record, "no list \"%s\"", key);
}

static bool index_at(zeb_record *record, const json_t *object, const char *key, size_t *index) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return malformed(record, "no position \"%s\"", key);
    *index = (size_t)json_integer_value(value);
    return true;
}

/* A label as the task's table spells it: JSON has it as text, number or truth value. */
static bool label_at(zeb_record *record, const json_t *object, zeb_example *example) {
    const char *key = record->reader->columns->label;
    const json_t *value = json_object_get(object, key);
    if (!record->reader->dataset->labelled) return true;
    char spelled[32] = "";
    if (json_is_string(value))
        (void)snprintf(spelled, sizeof spelled, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(spelled, sizeof spelled, json_is_true(value) ? "true" : "false");
    else if (json_is_integer(value))
        (void)snprintf(spelled, sizeof spelled, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        return malformed(record, "no \"%s\"", key);
    return zeb_reader_label(record->reader->task, spelled, example, record->problem, sizeof record->problem);
}

static zeb_status copy_text(zeb_record *record, const char *text, const char **copy, size_t *length) {
    char *made;
    *length = strlen(text);
    zeb_status status = zeb_arena_copy(record->reader->arena, text, *length, &made, record->error);
    *copy = made;
    return status;
}

static zeb_status add(zeb_record *record, zeb_example *example) {
    if (example->a_len + example->b_len == 0) {
        (void)malformed(record, "no text");
        return ZEB_OK;
    }
    if (record->reader->dataset->count - record->first == RECORD_EXAMPLES_MAX) {
        (void)malformed(record, "more than %d examples in one record", RECORD_EXAMPLES_MAX);
        return ZEB_OK;
    }
    /* Rows with several examples have no number of their own for each. */
    if (record->reader->task->shape >= ZEB_SHAPE_COPA) example->index = (int64_t)record->reader->dataset->count;
    return zeb_reader_add(record->reader, example, record->error);
}

/* An example of this record that has no text yet. */
static zeb_example blank(const zeb_record *record) {
    return (zeb_example){.label = -1, .index = (int64_t)record->reader->dataset->rows_read - 1, .group = -1};
}

/* Adds an example of two texts that are not in the arena yet. */
static zeb_status add_pair(zeb_record *record, const char *a, const char *b, zeb_example *example) {
    zeb_status status = copy_text(record, a, &example->a, &example->a_len);
    if (status == ZEB_OK) status = copy_text(record, b, &example->b, &example->b_len);
    return status == ZEB_OK ? add(record, example) : status;
}

/* "a, joint, b" in the arena, as the second text of an example. */
static zeb_status join_b(zeb_record *record, const char *a, const char *joint, const char *b, zeb_example *example) {
    char *made;
    zeb_status status = zeb_arena_format(record->reader->arena, &made, record->error, "%s%s%s", a, joint, b);
    example->b = made;
    example->b_len = status == ZEB_OK ? strlen(made) : 0;
    return status;
}

/* ---- one example a record ---- */

static zeb_status read_pair(zeb_record *record) {
    const zeb_columns *columns = record->reader->columns;
    const char *a, *b;
    zeb_example example = blank(record);
    if (!text_at(record, record->root, columns->a, &a) || !text_at(record, record->root, columns->b, &b) ||
        !label_at(record, record->root, &example))
        return ZEB_OK;
    const zeb_metric_kind *metric = record->reader->task->metric;
    if (metric[1] == ZEB_METRIC_GENDER_PARITY) example.group = example.index / 2; /* AX-g: pairs stand together */
    return add_pair(record, a, b, &example);
}

static zeb_status read_wic(zeb_record *record) {
    const char *word, *first, *second;
    zeb_example example = blank(record);
    if (!text_at(record, record->root, "word", &word) || !text_at(record, record->root, "sentence1", &first) ||
        !text_at(record, record->root, "sentence2", &second) || !label_at(record, record->root, &example))
        return ZEB_OK;
    char *marked;
    zeb_status status = zeb_arena_format(record->reader->arena, &marked, record->error, "%s: %s", word, first);
    return status == ZEB_OK ? add_pair(record, marked, second, &example) : status;
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

static zeb_status read_wsc(zeb_record *record) {
    const char *text, *noun, *pronoun;
    size_t index;
    zeb_example example = blank(record);
    const json_t *target = json_object_get(record->root, "target");
    if (!text_at(record, record->root, "text", &text) || !text_at(record, record->root, "target.span1_text", &noun) ||
        !text_at(record, record->root, "target.span2_text", &pronoun) ||
        !index_at(record, target, "span2_index", &index) || !label_at(record, record->root, &example))
        return ZEB_OK;
    const char *place = pronoun[0] != '\0' ? find_pronoun(text, index, pronoun) : NULL;
    if (place == NULL) {
        (void)malformed(record, "\"%.40s\" does not stand in the text", pronoun);
        return ZEB_OK;
    }
    size_t length = strlen(pronoun);
    char *marked;
    zeb_status status = zeb_arena_format(record->reader->arena, &marked, record->error, "%.*s*%.*s*%s",
                                         (int)(place - text), text, (int)length, place, place + length);
    return status == ZEB_OK ? add_pair(record, marked, noun, &example) : status;
}

/* ---- several examples a record ---- */

static zeb_status read_copa(zeb_record *record) {
    static const char *const key[2] = {"choice1", "choice2"};
    const char *premise, *question, *choice[2];
    zeb_example gold = blank(record);
    if (!text_at(record, record->root, "premise", &premise) || !text_at(record, record->root, "question", &question) ||
        !text_at(record, record->root, key[0], &choice[0]) || !text_at(record, record->root, key[1], &choice[1]) ||
        !label_at(record, record->root, &gold))
        return ZEB_OK;
    bool cause = strcmp(question, "cause") == 0;
    if (!cause && strcmp(question, "effect") != 0) {
        (void)malformed(record, "question \"%.40s\" is neither cause nor effect", question);
        return ZEB_OK;
    }
    const char *asked = cause ? "What was the cause?" : "What happened?";
    char *whole;
    zeb_status status = zeb_arena_format(record->reader->arena, &whole, record->error, "%s %s", premise, asked);
    int64_t group = (int64_t)record->reader->dataset->rows_read - 1;
    for (int32_t i = 0; i < 2 && status == ZEB_OK; i++) {
        zeb_example example = blank(record);
        example.group = group;
        if (gold.label >= 0) example.label = gold.label == i;
        example.target = example.label > 0;
        status = add_pair(record, whole, choice[i], &example);
    }
    return status;
}

/* The group after the last example's, so that numbers go up through the file. */
static int64_t next_group(const zeb_reader *reader) {
    size_t count = reader->dataset->count;
    return count == 0 ? 0 : reader->example[count - 1].group + 1;
}

/* True when no further group may begin. */
static bool is_full(const zeb_record *record) {
    return record->reader->dataset->count >= record->reader->limit || record->problem[0] != '\0';
}

static zeb_status read_answers(zeb_record *record, const json_t *question, const zeb_example *passage) {
    const char *asked, *text;
    const json_t *answers, *answer;
    size_t i;
    if (!text_at(record, question, "question", &asked) || !array_at(record, question, "answers", &answers))
        return ZEB_OK;
    int64_t group = next_group(record->reader);
    json_array_foreach(answers, i, answer) {
        zeb_example example = *passage;
        example.group = group;
        if (!text_at(record, answer, "text", &text) || !label_at(record, answer, &example)) return ZEB_OK;
        zeb_status status = join_b(record, asked, " ", text, &example);
        if (status == ZEB_OK) status = add(record, &example);
        if (status != ZEB_OK || record->problem[0] != '\0') return status;
    }
    return ZEB_OK;
}

static zeb_status read_multirc(zeb_record *record) {
    const char *text;
    const json_t *passage = json_object_get(record->root, "passage"), *questions, *question;
    zeb_example shared = blank(record);
    size_t i;
    if (!text_at(record, passage, "text", &text) || !array_at(record, passage, "questions", &questions)) return ZEB_OK;
    zeb_status status = copy_text(record, text, &shared.a, &shared.a_len);
    json_array_foreach(questions, i, question) {
        if (status != ZEB_OK || is_full(record)) break;
        status = read_answers(record, question, &shared);
    }
    return status;
}

/* ---- ReCoRD ---- */

/* The distinct entities of a passage, as normalised and as they stand there. */
typedef struct entities {
    const char **text, **normal;
    size_t count;
} entities;

/* The byte at which the character-th character starts; length for the end, SIZE_MAX beyond it. */
static size_t byte_of(const char *text, size_t length, size_t character) {
    size_t at = 0;
    for (; character > 0 && at < length; character--) {
        utf8proc_int32_t code;
        utf8proc_ssize_t taken =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at), &code);
        at += taken > 0 ? (size_t)taken : 1;
    }
    return character == 0 ? at : SIZE_MAX;
}

static zeb_status add_entity(zeb_record *record, const char *text, size_t length, entities *all) {
    char *copy, *normal;
    for (size_t i = 0; i < all->count; i++)
        if (strlen(all->text[i]) == length && memcmp(all->text[i], text, length) == 0) return ZEB_OK;
    zeb_status status = zeb_arena_copy(record->reader->arena, text, length, &copy, record->error);
    if (status == ZEB_OK) status = zeb_answer_normalise(record->reader->arena, copy, &normal, record->error);
    if (status != ZEB_OK) return status;
    all->text[all->count] = copy;
    all->normal[all->count++] = normal;
    return ZEB_OK;
}

static zeb_status read_entities(zeb_record *record, const json_t *passage, const zeb_example *shared, entities *all) {
    const json_t *spans, *span;
    void *memory;
    size_t i;
    if (!array_at(record, passage, "entities", &spans)) return ZEB_OK;
    if (json_array_size(spans) > ENTITIES_MAX) {
        (void)malformed(record, "more than %d entities", ENTITIES_MAX);
        return ZEB_OK;
    }
    zeb_status status =
        zeb_arena_alloc(record->reader->arena, 2 * json_array_size(spans), sizeof(char *), &memory, record->error);
    if (status != ZEB_OK) return status;
    *all = (entities){.text = memory, .normal = (const char **)memory + json_array_size(spans)};
    json_array_foreach(spans, i, span) {
        size_t first, last;
        if (!index_at(record, span, "start", &first) || !index_at(record, span, "end", &last)) return ZEB_OK;
        size_t begin = byte_of(shared->a, shared->a_len, first), end = byte_of(shared->a, shared->a_len, last + 1);
        if (end == SIZE_MAX || begin >= end || end - begin > ANSWER_BYTES_MAX) {
            (void)malformed(record, "an entity at %zu to %zu is outside the passage or too long", first, last);
            return ZEB_OK;
        }
        status = add_entity(record, shared->a + begin, end - begin, all);
        if (status != ZEB_OK) return status;
    }
    return ZEB_OK;
}

/* Label (exactly a gold answer) and target (F1 with the nearest) of a choice. */
static zeb_status grade(zeb_record *record, const json_t *answers, const char *normal, zeb_example *example) {
    const json_t *answer;
    size_t i;
    example->label = 0;
    json_array_foreach(answers, i, answer) {
        const char *text;
        char *gold;
        if (!text_at(record, answer, "text", &text)) return ZEB_OK;
        if (strlen(text) > ANSWER_BYTES_MAX) {
            (void)malformed(record, "an answer of more than %d bytes", ANSWER_BYTES_MAX);
            return ZEB_OK;
        }
        zeb_status status = zeb_answer_normalise(record->reader->arena, text, &gold, record->error);
        if (status != ZEB_OK) return status;
        double f1 = zeb_answer_f1(normal, gold);
        if (f1 > example->target) example->target = f1;
        if (strcmp(normal, gold) == 0) example->label = 1;
    }
    return ZEB_OK;
}

static zeb_status read_query(zeb_record *record, const json_t *query, const zeb_example *shared, const entities *all) {
    static const char hole[] = "@placeholder";
    const char *text;
    const json_t *answers = NULL;
    if (!text_at(record, query, "query", &text)) return ZEB_OK;
    if (record->reader->dataset->labelled && !array_at(record, query, "answers", &answers)) return ZEB_OK;
    const char *place = strstr(text, hole);
    if (place == NULL) {
        (void)malformed(record, "a query without %s", hole);
        return ZEB_OK;
    }
    int64_t group = next_group(record->reader);
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < all->count && status == ZEB_OK && record->problem[0] == '\0'; i++) {
        zeb_example example = *shared;
        char *filled;
        example.group = group;
        status = zeb_arena_format(record->reader->arena, &filled, record->error, "%.*s%s%s", (int)(place - text), text,
                                  all->text[i], place + sizeof hole - 1);
        if (status != ZEB_OK) return status;
        example.b = filled;
        example.b_len = strlen(filled);
        if (answers != NULL) status = grade(record, answers, all->normal[i], &example);
        if (status == ZEB_OK) status = add(record, &example);
    }
    return status;
}

static zeb_status read_record(zeb_record *record) {
    const char *text;
    const json_t *passage = json_object_get(record->root, "passage"), *queries, *query;
    zeb_example shared = blank(record);
    entities all = {0};
    size_t i;
    if (!text_at(record, passage, "text", &text) || !array_at(record, record->root, "qas", &queries)) return ZEB_OK;
    zeb_status status = copy_text(record, text, &shared.a, &shared.a_len);
    if (status == ZEB_OK) status = read_entities(record, passage, &shared, &all);
    json_array_foreach(queries, i, query) {
        if (status != ZEB_OK || is_full(record)) break;
        status = read_query(record, query, &shared, &all);
    }
    return status;
}

/* ---- which ---- */

zeb_status zeb_shape_read(zeb_record *record) {
    switch (record->reader->task->shape) {
        case ZEB_SHAPE_PAIR: return read_pair(record);
        case ZEB_SHAPE_WIC: return read_wic(record);
        case ZEB_SHAPE_WSC: return read_wsc(record);
        case ZEB_SHAPE_COPA: return read_copa(record);
        case ZEB_SHAPE_MULTIRC: return read_multirc(record);
        case ZEB_SHAPE_RECORD: return read_record(record);
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
