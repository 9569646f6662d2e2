/* suites/reader.h - what the file readers of this room share; not for other rooms. */
#ifndef ZEB_SUITES_READER_H
#define ZEB_SUITES_READER_H

#include "suites/task.h"

/* One pass over one file. Examples grow in `example` on the heap and end in the dataset's arena. */
typedef struct zeb_reader {
    const zeb_task *task;
    const zeb_columns *columns;
    bool must_be_labelled;
    size_t limit; /* good rows at most */
    zeb_arena *arena;
    char *text; /* the file's bytes, in the arena, size of them and a NUL; readers may cut it up in place */
    size_t size;
    zeb_example *example;
    size_t capacity;
    zeb_dataset *dataset;
} zeb_reader;

/* Counts a malformed row and keeps "path:line: problem" of the first ones. */
ZEB_MUST_CHECK zeb_status zeb_reader_skip(zeb_reader *reader, uint64_t line, const char *problem, zeb_error *error);

/* Appends to the examples. */
ZEB_MUST_CHECK zeb_status zeb_reader_add(zeb_reader *reader, const zeb_example *example, zeb_error *error);

/* Reads a label or score as the task spells it into *example; false with the reason in problem[capacity]. */
bool zeb_reader_label(const zeb_task *task, const char *value, zeb_example *example, char *problem, size_t capacity);

/* The readers: fill the dataset's counts, labelled flag and the reader's examples. */
ZEB_MUST_CHECK zeb_status zeb_reader_tsv(zeb_reader *reader, zeb_error *error);
ZEB_MUST_CHECK zeb_status zeb_reader_jsonl(zeb_reader *reader, zeb_error *error);

#endif
