#include "suites/entry.h"

#include <stdio.h>
#include <string.h>

/* More than any record of these tasks has, and little enough that a hostile file costs neither time nor memory. */
enum { RECORD_EXAMPLES_MAX = 10000, QUESTION_BYTES_MAX = 1 << 14 };

bool zeb_entry_malformed(zeb_entry *record, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(record->problem, sizeof record->problem, format, args);
    va_end(args);
    return false;
}

/* The text at a key; "passage.text" goes one object deeper. */
bool zeb_entry_text(zeb_entry *record, const json_t *object, const char *key, const char **text) {
    const char *dot = strchr(key, '.'), *last = dot != NULL ? dot + 1 : key;
    char outer[32] = "";
    if (dot != NULL) {
        (void)snprintf(outer, sizeof outer, "%.*s", (int)(dot - key), key);
        object = json_object_get(object, outer);
    }
    *text = json_string_value(json_object_get(object, last));
    return *text != NULL || zeb_entry_malformed(record, "no text \"%s\"", key);
}

bool zeb_entry_list(zeb_entry *record, const json_t *object, const char *key, const json_t **array) {
    *array = json_object_get(object, key);
    return json_is_array(*array) || zeb_entry_malformed(record, "no list \"%s\"", key);
}

bool zeb_entry_index(zeb_entry *record, const json_t *object, const char *key, size_t *index) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return zeb_entry_malformed(record, "no position \"%s\"", key);
    *index = (size_t)json_integer_value(value);
    return true;
}

/* A label as the task's table spells it: JSON has it as text, number or truth value. */
bool zeb_entry_label(zeb_entry *record, const json_t *object, zeb_example *example) {
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
        return zeb_entry_malformed(record, "no \"%s\"", key);
    return zeb_reader_label(record->reader->task, spelled, example, record->problem, sizeof record->problem);
}

zeb_status zeb_entry_copy(zeb_entry *record, const char *text, const char **copy, size_t *length) {
    char *made;
    *length = strlen(text);
    zeb_status status = zeb_arena_copy(record->reader->arena, text, *length, &made, record->error);
    *copy = made;
    return status;
}

zeb_status zeb_entry_add(zeb_entry *record, zeb_example *example) {
    if (example->a_len + example->b_len == 0) {
        (void)zeb_entry_malformed(record, "no text");
        return ZEB_OK;
    }
    if (record->reader->dataset->count - record->first == RECORD_EXAMPLES_MAX) {
        (void)zeb_entry_malformed(record, "more than %d examples in one record", RECORD_EXAMPLES_MAX);
        return ZEB_OK;
    }
    /* Rows with several examples have no number of their own for each. */
    if (record->reader->task->shape >= ZEB_SHAPE_COPA) example->index = (int64_t)record->reader->dataset->count;
    return zeb_reader_add(record->reader, example, record->error);
}

/* An example of this record that has no text yet. */
zeb_example zeb_entry_blank(const zeb_entry *record) {
    return (zeb_example){.label = -1, .index = (int64_t)record->reader->dataset->rows_read - 1, .group = -1};
}

/* Adds an example of two texts that are not in the arena yet. */
zeb_status zeb_entry_add_pair(zeb_entry *record, const char *a, const char *b, zeb_example *example) {
    zeb_status status = zeb_entry_copy(record, a, &example->a, &example->a_len);
    if (status == ZEB_OK) status = zeb_entry_copy(record, b, &example->b, &example->b_len);
    return status == ZEB_OK ? zeb_entry_add(record, example) : status;
}

/* The group after the last example's, so that numbers go up through the file. */
int64_t zeb_entry_group(const zeb_reader *reader) {
    size_t count = reader->dataset->count;
    return count == 0 ? 0 : reader->example[count - 1].group + 1;
}

/* True when no further group may begin. */
bool zeb_entry_full(const zeb_entry *record) {
    return record->reader->dataset->count >= record->reader->limit || record->problem[0] != '\0';
}

bool zeb_entry_short(zeb_entry *record, const char *question) {
    return strlen(question) <= QUESTION_BYTES_MAX ||
           zeb_entry_malformed(record, "a question of more than %d bytes", QUESTION_BYTES_MAX);
}
