/* ReCoRD (Zhang et al. 2018): a passage, its entities, and sentences in which one of them is missing. */
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "suites/answer.h"
#include "suites/shapes.h"

/* More than any record has, and little enough that a hostile file costs neither time nor memory. */
enum { ENTITIES_MAX = 1000, ANSWERS_MAX = 100, ANSWER_BYTES_MAX = 1024 };

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

static zeb_status add_entity(zeb_entry *record, const char *text, size_t length, entities *all) {
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

static zeb_status read_entities(zeb_entry *record, const json_t *passage, const zeb_example *shared, entities *all) {
    const json_t *spans, *span;
    void *memory;
    size_t i;
    if (!zeb_entry_list(record, passage, "entities", &spans)) return ZEB_OK;
    if (json_array_size(spans) > ENTITIES_MAX) {
        (void)zeb_entry_malformed(record, "more than %d entities", ENTITIES_MAX);
        return ZEB_OK;
    }
    zeb_status status =
        zeb_arena_alloc(record->reader->arena, 2 * json_array_size(spans), sizeof(char *), &memory, record->error);
    if (status != ZEB_OK) return status;
    *all = (entities){.text = memory, .normal = (const char **)memory + json_array_size(spans)};
    json_array_foreach(spans, i, span) {
        size_t first, last;
        if (!zeb_entry_index(record, span, "start", &first) || !zeb_entry_index(record, span, "end", &last))
            return ZEB_OK;
        size_t begin = byte_of(shared->a, shared->a_len, first), end = byte_of(shared->a, shared->a_len, last + 1);
        if (end == SIZE_MAX || begin >= end || end - begin > ANSWER_BYTES_MAX) {
            (void)zeb_entry_malformed(record, "an entity at %zu to %zu is outside the passage or too long", first,
                                      last);
            return ZEB_OK;
        }
        status = add_entity(record, shared->a + begin, end - begin, all);
        if (status != ZEB_OK) return status;
    }
    return ZEB_OK;
}

/* The gold answers of a query, normalised, into gold. */
static zeb_status read_golds(zeb_entry *record, const json_t *query, entities *gold) {
    const json_t *answers, *answer;
    void *memory;
    size_t i;
    if (!zeb_entry_list(record, query, "answers", &answers)) return ZEB_OK;
    if (json_array_size(answers) > ANSWERS_MAX) {
        (void)zeb_entry_malformed(record, "more than %d answers", ANSWERS_MAX);
        return ZEB_OK;
    }
    zeb_status status =
        zeb_arena_alloc(record->reader->arena, json_array_size(answers), sizeof(char *), &memory, record->error);
    if (status != ZEB_OK) return status;
    *gold = (entities){.normal = memory};
    json_array_foreach(answers, i, answer) {
        const char *text;
        char *normal;
        if (!zeb_entry_text(record, answer, "text", &text)) return ZEB_OK;
        if (strlen(text) > ANSWER_BYTES_MAX) {
            (void)zeb_entry_malformed(record, "an answer of more than %d bytes", ANSWER_BYTES_MAX);
            return ZEB_OK;
        }
        status = zeb_answer_normalise(record->reader->arena, text, &normal, record->error);
        if (status != ZEB_OK) return status;
        gold->normal[gold->count++] = normal;
    }
    return ZEB_OK;
}

/* Label (exactly a gold answer) and target (F1 with the nearest) of a choice. */
static void grade(const entities *gold, const char *normal, zeb_example *example) {
    example->label = 0;
    for (size_t i = 0; i < gold->count; i++) {
        double f1 = zeb_answer_f1(normal, gold->normal[i]);
        if (f1 > example->target) example->target = f1;
        if (strcmp(normal, gold->normal[i]) == 0) example->label = 1;
    }
}

static zeb_status read_query(zeb_entry *record, const json_t *query, const zeb_example *shared, const entities *all) {
    static const char hole[] = "@placeholder";
    const char *text;
    entities gold = {0};
    bool labelled = record->reader->dataset->labelled;
    if (!zeb_entry_text(record, query, "query", &text)) return ZEB_OK;
    if (!zeb_entry_short(record, text)) return ZEB_OK;
    const char *place = strstr(text, hole);
    if (place == NULL) {
        (void)zeb_entry_malformed(record, "a query without %s", hole);
        return ZEB_OK;
    }
    int64_t group = zeb_entry_group(record->reader);
    zeb_status status = labelled ? read_golds(record, query, &gold) : ZEB_OK;
    for (size_t i = 0; i < all->count && status == ZEB_OK && record->problem[0] == '\0'; i++) {
        zeb_example example = *shared;
        char *filled;
        example.group = group;
        status = zeb_arena_format(record->reader->arena, &filled, record->error, "%.*s%s%s", (int)(place - text), text,
                                  all->text[i], place + sizeof hole - 1);
        if (status != ZEB_OK) return status;
        example.b = filled;
        example.b_len = strlen(filled);
        if (labelled) grade(&gold, all->normal[i], &example);
        status = zeb_entry_add(record, &example);
    }
    return status;
}

zeb_status zeb_shape_record(zeb_entry *record) {
    const char *text;
    const json_t *passage = json_object_get(record->root, "passage"), *queries, *query;
    zeb_example shared = zeb_entry_blank(record);
    entities all = {0};
    size_t i;
    if (!zeb_entry_text(record, passage, "text", &text) || !zeb_entry_list(record, record->root, "qas", &queries))
        return ZEB_OK;
    zeb_status status = zeb_entry_copy(record, text, &shared.a, &shared.a_len);
    if (status == ZEB_OK) status = read_entities(record, passage, &shared, &all);
    json_array_foreach(queries, i, query) {
        if (status != ZEB_OK || zeb_entry_full(record)) break;
        status = read_query(record, query, &shared, &all);
    }
    return status;
}
