/* store/columns.h - which member of which struct stands in which column: one description that writing, reading and CSV
 * share, so that a column is named once in C. Private to the room. */
#ifndef ZEB_STORE_COLUMNS_H
#define ZEB_STORE_COLUMNS_H

#include <sqlite3.h>

#include "base/arena.h"
#include "store/row.h"

typedef enum zeb_column_kind {
    ZEB_COLUMN_TEXT,    /* char[size]; "" is NULL */
    ZEB_COLUMN_STRING,  /* const char *; NULL and "" are NULL */
    ZEB_COLUMN_OUTCOME, /* zeb_outcome as its name */
    ZEB_COLUMN_ENERGY,  /* zeb_row_energy_kind as its name; 0 is NULL */
    ZEB_COLUMN_BOOL,
    ZEB_COLUMN_I32,
    ZEB_COLUMN_U64, /* always known */
    ZEB_COLUMN_MAYBE_U64,
    ZEB_COLUMN_MAYBE_I64,
    ZEB_COLUMN_MAYBE_F64
} zeb_column_kind;

typedef struct zeb_column {
    const char *name;
    zeb_column_kind kind;
    size_t offset, size;
} zeb_column;

/* A table whose lines are keys (integers that are no member: row_id, position) and then columns of one struct. */
typedef struct zeb_table {
    const char *name;
    const char *key[2];
    const zeb_column *column;
    size_t column_count;
} zeb_table;

typedef enum zeb_table_id {
    ZEB_TABLE_RUN,
    ZEB_TABLE_ROW,
    ZEB_TABLE_SETTINGS,
    ZEB_TABLE_METRIC,
    ZEB_TABLE_ENERGY,
    ZEB_TABLE_CHANNEL,
    ZEB_TABLE_CARBON,
    ZEB_TABLE_KEPT,
    ZEB_TABLE_COUNT
} zeb_table_id;

const zeb_table *zeb_table_get(zeb_table_id id);

/* The value of a column in a struct, in the three shapes that it can have. */
typedef enum zeb_value_kind { ZEB_VALUE_NULL, ZEB_VALUE_INT, ZEB_VALUE_REAL, ZEB_VALUE_TEXT } zeb_value_kind;

typedef struct zeb_value {
    zeb_value_kind kind;
    int64_t integer;
    double real;
    const char *text; /* the struct's own or static */
} zeb_value;

zeb_value zeb_column_get(const zeb_column *column, const void *record);

/* Puts a value from column `index` of a statement's current line into the struct; strings go to the arena. */
ZEB_MUST_CHECK zeb_status zeb_column_set(const zeb_column *column, void *record, sqlite3_stmt *from, int index,
                                         zeb_arena *arena, zeb_error *error);

/* Binds a value; text that is not UTF-8 is bound with its bad bytes replaced by '?'. Returns an SQLite code. */
int zeb_value_bind(sqlite3_stmt *statement, int index, zeb_value value);

/* A malloc'ed copy of text with every byte that is not part of well-formed UTF-8 replaced by '?'; NULL: no memory. */
char *zeb_utf8_clean(const char *text);

#endif
