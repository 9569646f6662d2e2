/* suites/entry.h - one JSON record on its way to examples: its values, and adding what was made of them; not for other
 * rooms. Functions that return bool leave the reason in record->problem when they return false; a status is for memory
 * alone. */
#ifndef ZEB_SUITES_ENTRY_H
#define ZEB_SUITES_ENTRY_H

#include <jansson.h>

#include "suites/reader.h"

typedef struct zeb_entry {
    zeb_reader *reader;
    const json_t *root;
    size_t first;      /* examples of the dataset before it */
    char problem[192]; /* why it is malformed; "" while it is not */
    zeb_error *error;
} zeb_entry;

/* Says why; always false. */
ZEB_PRINTF(2, 3) bool zeb_entry_malformed(zeb_entry *record, const char *format, ...);

/* The text at a key of an object, or at "outer.key" of the object in it. Lives as long as the record. */
bool zeb_entry_text(zeb_entry *record, const json_t *object, const char *key, const char **text);
bool zeb_entry_list(zeb_entry *record, const json_t *object, const char *key, const json_t **array);
bool zeb_entry_index(zeb_entry *record, const json_t *object, const char *key, size_t *index);
/* The task's label at its key, if the dataset is labelled. */
bool zeb_entry_label(zeb_entry *record, const json_t *object, zeb_example *example);
/* False for a question so long that writing it out for each answer would not do. */
bool zeb_entry_short(zeb_entry *record, const char *question);

/* An example of this record that has no text yet. */
zeb_example zeb_entry_blank(const zeb_entry *record);
/* A copy in the arena. */
ZEB_MUST_CHECK zeb_status zeb_entry_copy(zeb_entry *record, const char *text, const char **copy, size_t *length);
/* Adds an example whose texts are in the arena, or one of two texts that are not yet. */
ZEB_MUST_CHECK zeb_status zeb_entry_add(zeb_entry *record, zeb_example *example);
ZEB_MUST_CHECK zeb_status zeb_entry_add_pair(zeb_entry *record, const char *a, const char *b, zeb_example *example);

/* The group after the last example's, so that numbers go up through the file. */
int64_t zeb_entry_group(const zeb_reader *reader);
/* True when no further group may begin: the limit is reached, or something is wrong. */
bool zeb_entry_full(const zeb_entry *record);

#endif
