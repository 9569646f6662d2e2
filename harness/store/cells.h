/* store/cells.h - what a person reads of a row: short texts with units. Private to the room. */
#ifndef ZEB_STORE_CELLS_H
#define ZEB_STORE_CELLS_H

#include "store/row.h"
#include "zeb/status.h"

typedef enum zeb_cell_id {
    ZEB_CELL_MODEL,
    ZEB_CELL_TASK,
    ZEB_CELL_DEVICE,
    ZEB_CELL_PRECISION,
    ZEB_CELL_POLICY,
    ZEB_CELL_SCENARIO,
    ZEB_CELL_SETTINGS, /* what else tells one case from another */
    ZEB_CELL_VERDICT,
    ZEB_CELL_METRIC,
    ZEB_CELL_P50,
    ZEB_CELL_P90,
    ZEB_CELL_P99,
    ZEB_CELL_THROUGHPUT,
    ZEB_CELL_SAVED,
    ZEB_CELL_MEMORY,
    ZEB_CELL_ENERGY,
    ZEB_CELL_CO2,
    ZEB_CELL_COUNT
} zeb_cell_id;

enum { ZEB_CELL_MAX = 160 };

typedef struct zeb_cells {
    char text[ZEB_CELL_COUNT][ZEB_CELL_MAX]; /* UTF-8, one line, no control characters; "-" for unknown */
} zeb_cells;

typedef struct zeb_cell_column {
    const char *title;
    bool number; /* aligned to the right */
    bool common; /* hoisted above the table when all rows agree */
} zeb_cell_column;

extern const zeb_cell_column zeb_cell_columns[ZEB_CELL_COUNT];

void zeb_cells_make(const zeb_row *row, zeb_cells *cells);

/* text with control characters as blanks, cut to capacity at a character's boundary. */
void zeb_cell_line(char *to, size_t capacity, const char *text);

#endif
